"""Questions with golds for `factory eval`: of a run, of a file, or by a name of configs/suites.yaml or configs/benchmarks.yaml."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl
from pydantic import TypeAdapter

from curation.errors import UserError
from curation.files import Row, read_rows, read_yaml
from curation.records import Problem, content_id, from_frame
from curation.sources import Refused, read_problems
from curation.verify import check_golds
from factory.problems import open_source
from factory.recipe import CONFIGS, HubSource, Source
from factory.resolving import nearest

UNREADABLE = ("no_gold", "unparseable_gold", "too_long")  # whys of a gold that nothing can be held against


class Columns(NamedTuple):
    """How the rows of a file are read; None: found by its usual names."""

    prompt: str | None
    answer: str | None
    domain: str


class Suite(NamedTuple):
    name: str
    digest: str  # of the questions and golds in use
    problems: list[Problem]
    left_out: int  # without a gold, or with one that the verifier cannot read


def suite_names() -> list[str]:
    named = read_yaml(CONFIGS / "benchmarks.yaml")
    return [*read_yaml(CONFIGS / "suites.yaml"), *(name for name, entry in named.items() if "get" not in entry)]


def load_suite(where: str, columns: Columns, limit: int | None, workers: int) -> Suite:
    """The questions of a suite, each once. Raises UserError where there is no such suite, or none of them has a gold."""
    path = Path(where)
    if path.is_dir():
        name, found = path.name, _of_run(path)
    elif path.is_file() or "." in path.name or len(path.parts) > 1:
        name, found = path.name.split(".")[0], _of_file(path, columns)
    else:
        name, found = where, _named(where)
    taken = list(found)
    unique = list({p.id: p for p in taken if isinstance(p, Problem)}.values())[:limit]
    refused = sum(not isinstance(p, Problem) for p in taken)
    golds = check_golds([(p.answer, p.domain) for p in unique], workers=workers)
    problems = [p for p, verdict in zip(unique, golds, strict=True) if p.answer is not None and verdict.why not in UNREADABLE]
    if not problems:
        raise UserError(f"{where} has no question with a gold that the verifier can read: wanted a column of answers")
    digest = content_id([(p.id, p.answer) for p in problems])
    return Suite(name, digest, problems, len(unique) - len(problems) + refused)


def _of_run(folder: Path) -> Iterable[Problem | Refused]:
    files = sorted((folder / "problems").glob("*.parquet"))
    if not files:
        raise UserError(f"{folder} is no finished run: it has no problems/*.parquet; give a run or a file of questions")
    return (p for f in files for p in from_frame(pl.read_parquet(f), Problem))


def _of_file(path: Path, columns: Columns) -> Iterable[Problem | Refused]:
    return read_questions(read_rows(path), columns, path.name.split(".")[0])


def read_questions(rows: Iterable[Row], columns: Columns, name: str) -> Iterator[Problem | Refused]:
    """The rows of a file or of a data set as problems. Raises UserError for a column that is not there."""
    wanted = {"prompt": columns.prompt, "answer": columns.answer}
    try:
        yield from read_problems(rows, wanted, domain=columns.domain, name=name, license="", only={}, without={})
    except UserError as error:  # its remedy is the key of a recipe
        said = str(error).replace("source.columns.prompt", "prompt_column").replace("source.columns.answer", "answer_column")
        raise UserError(said) from None


def _named(name: str) -> Iterable[Problem | Refused]:
    made, benchmarks = read_yaml(CONFIGS / "suites.yaml"), read_yaml(CONFIGS / "benchmarks.yaml")
    if name not in made and name not in benchmarks:
        known = suite_names()
        raise UserError(f"no suite {name!r}{nearest(name, known)}: wanted a file, a run, or one of {', '.join(known)}")
    if where := benchmarks.get(name, {}).get("get"):
        raise UserError(f"suite {name} cannot be read from the Hub: get {where} and give the file instead of the name")
    source = suite_source(made[name]) if name in made else _benchmark(benchmarks[name])
    return (p for part in open_source(source).parts for p in part.problems)


def suite_source(entry: dict[str, Any]) -> Source:
    """An entry of configs/suites.yaml as the source of a recipe. Raises pydantic's ValidationError."""
    source: Source = TypeAdapter(Source).validate_python(entry)
    return source


def _benchmark(entry: dict[str, Any]) -> HubSource:
    values = {key: entry[key] for key in ("repo", "config", "split", "revision") if key in entry}
    return HubSource.model_validate({"split": "test", **values, "columns": {"prompt": entry.get("column")}})
