"""The run directory out of finished pieces: links to their files, the funnel, the manifest and the card."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from cards.dataset_card import write_card
from cards.view.report import write_report
from curation.files import GROUP_ROWS, read_ahead, write_atomic
from curation.records import Problem, Trace, content_id, schema
from factory.by_source import Published, by_source
from factory.choosing import with_rows
from factory.cleaning import PAIRS
from factory.ledger import Count, total
from factory.manifest import manifest
from factory.recipe import Recipe
from factory.run import Run, replace_folder
from factory.steps import Facts, Piece, link, once

if TYPE_CHECKING:
    from factory.build import Pieces
    from factory.one_shard import Judged

_REASONS = {"step": pl.String, "reason": pl.String, "detail": pl.String}


def assemble(run: Run, recipe: Recipe, pieces: Pieces, command: str) -> None:
    """Bring the run directory up to the pieces; nothing is written when it is there already."""
    rejected = _rejected(run.store, pieces)
    state = content_id(recipe.model_dump(mode="json"), [p.digest for p in all_pieces(pieces)], rejected.digest)
    if _state(run.folder) == state:
        return
    (run.folder / "manifest.json").unlink(missing_ok=True)  # without it this is no finished run
    examples = by_source(run.store, _example_files(pieces), [p.digest for p in example_pieces(pieces)])
    _link(run.folder, pieces, rejected, examples)
    funnel = funnel_of(pieces)
    write_atomic(run.folder / "funnel.json", json.dumps(funnel, indent=1, ensure_ascii=False) + "\n")
    record = manifest(run.folder, recipe, pieces, list(all_pieces(pieces)), command) | {"state": state}
    record["dataset"]["configs"] = examples.configs
    write_atomic(run.folder / "manifest.json", json.dumps(record, indent=1, ensure_ascii=False) + "\n")
    write_card(run.folder)
    write_report(run.folder)


def _state(folder: Path) -> str | None:
    if not all((folder / name).is_file() for name in ("manifest.json", "README.md", "report.html")):
        return None
    return str(json.loads((folder / "manifest.json").read_text("utf-8"))["state"])


def all_pieces(pieces: Pieces) -> Iterator[Piece]:
    yield from pieces.cleaning
    if pieces.replay:
        yield pieces.replay
    for one in pieces.judged:
        second = (one.verdicts,) if one.verdicts is not one.ruled else ()
        yield from (one.traces, one.ruled, *second, one.examples)
    yield from (pieces.audit, pieces.difficulty)
    if pieces.selected:
        yield pieces.selected


def funnel_of(pieces: Pieces) -> list[Count]:
    """One line for each step in call order, summed over shards, each checked to add up."""
    lines: dict[str, list[Count]] = defaultdict(list)
    for piece in all_pieces(pieces):
        for line in piece.facts.get("funnel", []):
            lines[line["step"]].append(line)
    return [total(same) for same in lines.values()]


def example_pieces(pieces: Pieces) -> list[Piece]:
    """The pieces that hold the examples of the set."""
    return [pieces.selected] if pieces.selected else [j.examples for j in pieces.judged]


def _link(folder: Path, pieces: Pieces, rejected: Piece, examples: Published) -> None:
    replace_folder(folder / "problems", {f"{j.shard.number:05}.parquet": j.shard.problems for j in pieces.judged})
    for name in ("traces", "verdicts"):
        files = {f"{j.shard.number:05}.parquet": getattr(j, name).folder / f"{name}.parquet" for j in pieces.judged}
        replace_folder(folder / name, files)
    replace_folder(folder / "dataset", examples.files)
    replace_folder(folder / "rejected", {f"{n}.parquet": rejected.folder / f"{n}.parquet" for n in ("problems", "traces")})
    evidence = next(p for p in pieces.cleaning if p.name == "decontaminate")
    link(evidence.folder / "contamination.parquet", folder / "contamination.parquet")
    repeats = next(p for p in pieces.cleaning if p.name == "duplicates")
    link(repeats.folder / "duplicates.parquet", folder / "duplicates.parquet")
    _link_or_remove(rejected, "trace_duplicates.parquet", folder)
    link(pieces.difficulty.folder / "difficulty.parquet", folder / "difficulty.parquet")
    _link_or_remove(next((p for p in pieces.cleaning if p.name == "labels"), None), "labels.parquet", folder)
    _link_or_remove(pieces.selected, "selection.json", folder)
    link(pieces.audit.folder / "audit.parquet", folder / "audit.parquet")


def _link_or_remove(piece: Piece | None, name: str, folder: Path) -> None:
    """A file that not every build has; an earlier build may have left its own in a folder named with --out."""
    if piece and (piece.folder / name).is_file():
        link(piece.folder / name, folder / name)
    else:
        (folder / name).unlink(missing_ok=True)


def _example_files(pieces: Pieces) -> Sequence[Path]:
    """The shards that have examples, or the first where none has."""
    if pieces.selected:
        sizes = pieces.selected.facts["examples"]
        files = [pieces.selected.folder / f"examples-{j.shard.number:05}.parquet" for j in pieces.judged]
    else:
        sizes = [j.examples.facts["examples"] for j in pieces.judged]
        files = [j.examples.folder / "examples.parquet" for j in pieces.judged]
    return [file for file, size in zip(files, sizes, strict=True) if size] or files[:1]


def _rejected(store: Path, pieces: Pieces) -> Piece:
    """Every dropped row of the build in two tables, streamed shard by shard; and the pairs of traces that repeat each other."""
    problems = [p.folder / "rejected.parquet" for p in pieces.cleaning]
    problems += [j.examples.folder / "problems.parquet" for j in pieces.judged]
    traces: list[Path] = []
    repeated = [file for j in pieces.judged if (file := j.examples.folder / "pairs.parquet").is_file()]
    if pieces.selected:
        problems += sorted(pieces.selected.folder.glob("problems-*.parquet"))
        traces += sorted(pieces.selected.folder.glob("traces-*.parquet"))
    if pieces.replay:
        traces += sorted(pieces.replay.folder.glob("rejected-*.parquet"))

    def work(folder: Path) -> Facts:
        _write(_row_groups(problems), folder / "problems.parquet", {**schema(Problem), **_REASONS})
        _write(chain(_unchosen(pieces.judged), _row_groups(traces)), folder / "traces.parquet", {**schema(Trace), **_REASONS})
        if repeated:
            _write(_row_groups(repeated), folder / "trace_duplicates.parquet", PAIRS)
        return {}

    return once(store, "rejected", [], [p.digest for p in all_pieces(pieces)], work)


def _write(tables: Iterator[Any], target: Path, wanted: dict[str, Any]) -> None:
    import pyarrow.parquet as pq

    # One row group at a time: the rejected rows of a big build do not fit in memory, and the order stays. The next one is read
    # while one is written, for which neither Polars nor pyarrow needs Python.
    arrow = pl.DataFrame(schema=wanted).to_arrow().schema
    with pq.ParquetWriter(target, arrow, compression="zstd") as writer:
        for rows in read_ahead(tables):
            writer.write_table(rows.select(arrow.names).cast(arrow))


def _unchosen(judged: Sequence[Judged]) -> Iterator[Any]:
    """The traces of all shards that are no examples, as Arrow tables."""
    for j in judged:
        rows = with_rows(j.examples.folder / "traces.parquet", j.traces.folder / "traces.parquet")
        yield from (part.rechunk().to_arrow() for part in rows.iter_slices(GROUP_ROWS))


def _row_groups(files: Sequence[Path]) -> Iterator[Any]:
    import pyarrow.parquet as pq

    for file in files:
        with pq.ParquetFile(file) as source:
            for group in range(source.num_row_groups):
                yield source.read_row_group(group)
