"""The figures of a run, counted in its files: what a card prints is what the Parquet and JSON files hold."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from curation.errors import UserError


class Lengths(NamedTuple):
    what: str
    measured: int  # how many
    median: float
    p90: float
    longest: int


class Difficulty(NamedTuple):
    model: str
    problems: list[int]  # solved by none of its traces, by under 25, 50, 75, 100 percent of them, by all


class RunFacts(NamedTuple):
    recipe: dict[str, Any]
    manifest: dict[str, Any]
    funnel: list[dict[str, Any]]
    schema: pl.Schema  # of the examples
    examples: int
    problems: int  # distinct problems among the examples
    generations: int  # of those problems, each problem's counted once
    by: dict[str, list[tuple[str, int]]]  # counts of a column's values, most frequent first; "chosen": verdicts in `messages`
    rejected: dict[str, int]  # rows of each table in rejected/
    lengths: list[Lengths]
    example: list[dict[str, str]]  # messages of the first example; none where the set is empty
    matches: pl.DataFrame | None  # contamination.parquet; None where the run has none
    matches_in_set: int  # problems of `matches` that are in the set all the same
    difficulty: list[Difficulty]  # a line for each model of difficulty.parquet; empty where the run has none


COUNTED = ("domain", "source", "license", "teacher")  # one value for each example
COUNTED_LISTS = ("verdicts", "verdict_reasons", "finish_reasons")  # one value for each generation


def read_facts(run: Path) -> RunFacts:
    """Everything a card says about `run`. Reads the text columns in streaming batches, so memory stays small.

    Raises UserError where the folder is no finished run.
    """
    recipe, manifest, funnel = (read_json(run, name) for name in ("recipe.json", "manifest.json", "funnel.json"))
    if not any((run / "dataset").glob("*.parquet")):
        raise UserError(f"{run} holds no dataset/*.parquet: finish it with `factory build`")
    rows = pl.scan_parquet(run / "dataset" / "*.parquet")
    counts = {name: _counts(rows.select(name)) for name in COUNTED}
    counts |= {name: _counts(_once_a_problem(rows, pl.col(name))) for name in COUNTED_LISTS}
    counts["chosen"] = _counts(_chosen_verdicts(rows))
    matches = pl.read_parquet(path) if (path := run / "contamination.parquet").is_file() else None
    return RunFacts(
        recipe,
        manifest,
        funnel,
        rows.collect_schema(),
        _one(rows.select(pl.len())),
        _one(rows.select(pl.col("problem_id").n_unique())),
        sum(n for _, n in counts["verdicts"]),
        counts,
        {path.stem: _one(pl.scan_parquet(path).select(pl.len())) for path in sorted((run / "rejected").glob("*.parquet"))},
        _lengths(run, rows),
        _first_messages(rows),
        matches,
        0
        if matches is None
        else _one(rows.select(pl.col("problem_id").filter(pl.col("problem_id").is_in(matches["problem_id"].implode())).n_unique())),
        _difficulty(run / "difficulty.parquet"),
    )


@contextlib.contextmanager
def whole(*runs: Path) -> Iterator[None]:
    """Raises UserError where a table of a finished run is missing or damaged, as in half a copy of it."""
    try:
        yield
    except (FileNotFoundError, pl.exceptions.ComputeError) as error:
        if "parquet" not in str(error):
            raise
        said = str(error).partition("\n")[0]
        raise UserError(f"{' or '.join(map(str, runs))} is not whole ({said}): copy it again, or build it again") from None


def read_json(run: Path, name: str) -> Any:
    """The JSON file `name` of a run. Raises UserError where it is missing or broken: the run is not finished."""
    path = run / name
    if not path.is_file():
        raise UserError(f"{run} is not a finished run: it has no {name}; finish it with `factory build`")
    try:
        return json.loads(path.read_text("utf-8"))
    except ValueError as error:
        raise UserError(f"{path} is not JSON ({error}); build the run again") from None


def _once_a_problem(rows: pl.LazyFrame, lists: pl.Expr) -> pl.LazyFrame:
    """The values of a list column, each problem's once: examples of one problem repeat its lists."""
    first = rows.select("problem_id", lists).unique("problem_id", keep="any").select(lists.meta.output_name())
    return first.explode(lists.meta.output_name(), empty_as_null=False)


def _difficulty(path: Path) -> list[Difficulty]:
    if not path.is_file():
        return []
    rate = pl.col("pass_rate")
    between = [((rate > 0) & (rate < 1) & (rate >= low) & (rate < low + 0.25)) for low in (0.0, 0.25, 0.5, 0.75)]
    wanted = [(rate == 0), *between, (rate == 1)]
    counted = pl.scan_parquet(path).group_by("model").agg(pl.concat_list(c.sum() for c in wanted).alias("problems"))
    return [Difficulty(model, list(counts)) for model, counts in counted.sort("model").collect().iter_rows()]


def _chosen_verdicts(rows: pl.LazyFrame) -> pl.LazyFrame:
    pairs = rows.select("trace_id", "trace_ids", "verdicts").explode("trace_ids", "verdicts", empty_as_null=False)
    return pairs.filter(pl.col("trace_id") == pl.col("trace_ids")).select("verdicts")


def _counts(column: pl.LazyFrame) -> list[tuple[str, int]]:
    name = column.collect_schema().names()[0]
    # An equal count is ordered by name, so that two renderings of one run are the same bytes.
    counted = column.group_by(name).agg(n=pl.len()).sort(["n", name], descending=[True, False]).collect(engine="streaming")
    return [("" if value is None else str(value), n) for value, n in counted.iter_rows()]


def _one(frame: pl.LazyFrame) -> int:
    return int(frame.collect(engine="streaming").item())


def _first_messages(rows: pl.LazyFrame) -> list[dict[str, str]]:
    first = rows.select("messages").head(1).collect()["messages"].to_list()
    return first[0] if first else []


def _lengths(run: Path, rows: pl.LazyFrame) -> list[Lengths]:
    chosen = rows.select(n=pl.col("messages").list.last().struct.field("content").str.len_chars())
    # Lengths are taken before the lists are told apart by problem: only integers are held, never the text.
    every = _once_a_problem(rows, pl.col("generations").list.eval(pl.element().str.len_chars()).alias("n"))
    measured = [_length("chosen answer, characters", chosen), _length("every generation, characters", every)]
    if any((run / "traces").glob("*.parquet")):
        tokens = pl.scan_parquet(run / "traces" / "*.parquet").select(n=pl.col("completion_tokens"))
        measured.append(_length("every sampled trace, tokens as the teacher counted them", tokens))
    return [m for m in measured if m is not None]


def _length(what: str, lengths: pl.LazyFrame) -> Lengths | None:
    n = pl.col("n")
    row = (
        lengths.drop_nulls()
        .select(measured=pl.len(), median=n.median(), p90=n.quantile(0.9, "nearest"), longest=n.max())
        .collect(engine="streaming")
        .row(0)
    )
    return Lengths(what, *row) if row[0] else None
