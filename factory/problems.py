"""Where the problems come from: the Hub, local files, or a generator; and the benchmarks they are checked against."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

from curation.benchmarks import Benchmark, questions, read_benchmark
from curation.errors import UserError
from curation.files import Row, read_rows
from curation.puzzles import countdown, knights
from curation.records import Problem
from curation.sources import Refused, read_problems
from factory.recipe import FileSource, HubSource, Source
from factory.rules import BenchmarkFrom
from factory.steps import file_digest


class Part(NamedTuple):
    """One file, data set or generator of a source."""

    name: str
    path_or_repo: str  # as the recipe names it
    license: str
    revision: str
    problems: Iterator[Problem | Refused]


class Opened(NamedTuple):
    """A source ready to read."""

    identity: dict[str, Any]  # what its bytes are: file digests, or repository and commit; part of the step's key
    parts: list[Part]


def open_source(source: Source, *, needs_gold: bool = True) -> Opened:
    """Open the source of a recipe. Raises UserError for a file that is not there or a Hub that does not answer."""
    if isinstance(source, FileSource):
        return _open_files(source, needs_gold)
    if isinstance(source, HubSource):
        return _open_hub(source, needs_gold)
    generate = countdown.generate if source.kind == "countdown" else knights.generate
    problems = generate(**source.model_dump(exclude={"kind"}))
    return Opened({}, [Part(source.kind, source.kind, "apache-2.0", f"seed {source.seed}", problems)])


def _open_files(source: FileSource, needs_gold: bool) -> Opened:
    paths = [Path(p) for p in source.paths]
    for path in paths:
        if not path.is_file():
            raise UserError(f"no file {str(path)!r}: --problems and source.paths take files that exist")
    digests = [file_digest(p) for p in paths]
    parts = [
        Part(_stem(p), str(p), source.license, f"sha256:{digest}", _read(_some(read_rows(p), p.name), source, _stem(p), needs_gold))
        for p, digest in zip(paths, digests, strict=True)
    ]
    return Opened({"files": digests}, parts)


def _open_hub(source: HubSource, needs_gold: bool) -> Opened:
    commit = hub_commit(source.repo, source.revision)
    rows = hub_rows(source.repo, source.config, source.split, commit)
    problems = _read(_some(rows, source.repo), source, source.repo, needs_gold)
    part = Part(source.repo, source.repo, source.license, commit, problems)
    return Opened({"repo": source.repo, "commit": commit}, [part])


def _some(rows: Iterable[Row], name: str) -> Iterator[Row]:
    """The rows. Raises UserError where there is none: it would be a finished build of nothing."""
    row = None
    for row in rows:
        yield row
    if row is None:
        raise UserError(f"{name} has no rows: wanted one for each problem")


def _read(rows: Iterable[Row], source: FileSource | HubSource, name: str, needs_gold: bool) -> Iterator[Problem | Refused]:
    return read_problems(
        rows,
        source.columns.model_dump(),
        domain=source.domain,
        name=name,
        license=source.license,
        only=source.only,
        without=source.without,
        needs_gold=needs_gold,
    )


def _stem(path: Path) -> str:
    return path.name.split(".")[0]


def hub_commit(repo: str, revision: str | None, kind: Literal["dataset", "model"] = "dataset") -> str:
    """The commit a revision names now; a full commit id is taken as it is, so that a pinned recipe needs no look-up."""
    if revision and re.fullmatch(r"[0-9a-f]{40}", revision):
        return revision
    from huggingface_hub import HfApi

    remedy = "check the name, the network and `hf auth login`, or use a local file or folder instead"
    with asking_the_hub(f"{kind} {repo!r}", remedy):
        return str(HfApi().repo_info(repo, revision=revision, repo_type=kind).sha)


@contextlib.contextmanager
def asking_the_hub(what: str, remedy: str) -> Iterator[None]:
    """Raises UserError where the Hub refuses, breaks off or does not answer."""
    from httpx import HTTPError
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    try:
        yield
    except (HfHubHTTPError, HFValidationError, HTTPError, OSError) as error:
        said = str(error).strip().partition("\n")[0] or "without a word"  # as a time-out may be
        raise UserError(f"the Hub did not give {what} ({type(error).__name__}: {said}): {remedy}") from None


def hub_rows(repo: str, config: str | None, split: str, commit: str) -> Iterator[Row]:
    """Stream the rows of a Hub data set at a commit.

    Raises UserError, when read, for a configuration or split it does not have, and for a Hub that breaks off.
    """
    from datasets import load_dataset

    try:
        with asking_the_hub(f"all rows of {repo!r}", "run the same command again, or use a local file instead"):
            yield from load_dataset(repo, config, split=split, revision=commit, streaming=True)
    except ValueError as error:  # an unknown config or split; datasets lists those it has
        raise UserError(_refusal(repo, config, commit, str(error).strip())) from None


def _refusal(repo: str, config: str | None, commit: str, said: str) -> str:
    """What a person is told where datasets has refused a configuration or a split."""
    from datasets import get_dataset_config_names

    if not said.startswith(("Config name is missing", "BuilderConfig")):
        return f"data set {repo!r}: {said.splitlines()[0]}"
    known = get_dataset_config_names(repo, revision=commit)
    got = f"no configuration {config!r}" if config else "several configurations, and none is named"
    return (
        f"data set {repo!r} has {got}: wanted one of {', '.join(known)}; write {repo}:{known[0]}, "
        f"replay:{repo}:{known[0]}:train for a teacher, or config: {known[0]} in a recipe"
    )


def benchmark_digests(benchmarks: Sequence[BenchmarkFrom]) -> list[dict[str, Any]]:
    """What the bytes of each benchmark are, and what of them is read, without reading it: part of the step's key."""
    return [
        {"name": b.name, "digest": file_digest(_benchmark_path(b)) if b.path else hub_commit(str(b.repo), b.revision)}
        | b.model_dump(include={"config", "split", "files", "column"})
        for b in benchmarks
    ]


def _benchmark_path(benchmark: BenchmarkFrom) -> Path:
    path = Path(str(benchmark.path))
    if not path.is_file():
        raise UserError(
            f"no benchmark file {str(path)!r}: clean.benchmarks and --benchmarks take files that exist, or a folder of them"
        )
    return path


def load_benchmark(benchmark: BenchmarkFrom) -> Benchmark:
    if benchmark.path:
        return read_benchmark(_benchmark_path(benchmark), benchmark.column)._replace(name=benchmark.name)
    if not benchmark.repo:
        raise UserError(f"clean.benchmarks: {benchmark.name} has neither path nor repo: give one of them")
    commit = hub_commit(benchmark.repo, benchmark.revision)
    if benchmark.files:
        rows = list(_rows_of_files(benchmark, benchmark.repo, commit))
    else:
        rows = list(hub_rows(benchmark.repo, benchmark.config, benchmark.split, commit))
    return Benchmark(benchmark.name, questions(rows, benchmark.repo, benchmark.column), commit)


def _rows_of_files(benchmark: BenchmarkFrom, repo: str, commit: str) -> Iterator[Row]:
    """The rows of a repository's own files; of large ones the questions alone are kept (LiveCodeBench's hold its tests too)."""
    from huggingface_hub import HfApi

    for name in benchmark.files:
        with asking_the_hub(f"{name} of {repo}", "check both names"):
            path = HfApi().hf_hub_download(repo, name, repo_type="dataset", revision=commit)
        for row in read_rows(Path(path)):
            yield {benchmark.column: row.get(benchmark.column)} if benchmark.column else row
