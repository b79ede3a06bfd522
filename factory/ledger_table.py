"""The ledger of all rows of a run in one table: each problem and each trace once, with where it came from and what became of it."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from cards.run_facts import read_json, whole
from curation.errors import UserError

_PROBLEM = ("id", "source", "source_id")
_TRACE = ("id", "problem_id", "teacher", "revision", "endpoint", "index", "finish", "prompt_tokens", "completion_tokens", "seconds")
_END = ("step", "reason", "detail")
_VERDICT = ("fault", "outcome", "why", "extracted", "rule", "judge", "judge_reason")


def write_ledger(run: Path, target: Path) -> int:
    """Write the table to `target`, .parquet or .csv; return how many rows it has.

    Columns: unit (problem or trace), id, problem_id, source and source_id of the problem, the request of a trace (teacher,
    revision, endpoint, index, finish, tokens, seconds), its verdict (fault, outcome, why, extracted, rule, judge, judge_reason),
    state (kept or dropped), the step, reason and detail that dropped it, and example_id, that of the example made of a trace.
    Raises UserError for a folder that is no finished run, and for another ending.
    """
    read_json(run, "manifest.json")
    if target.suffix not in (".parquet", ".csv"):
        raise UserError(f"the ledger's table is .parquet or .csv, got {target.name!r}")
    with whole(run):
        table = _table(run)
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.suffix == ".csv":
        table.write_csv(target)
    else:
        table.write_parquet(target, compression="zstd")
    return table.height


def _table(run: Path) -> pl.DataFrame:
    problems = _problems(run)
    source = problems.select(problem_id="id", source="source", source_id="source_id").unique("problem_id", maintain_order=True)
    traces = _traces(run).join(source, on="problem_id", how="left", maintain_order="left")
    rows = pl.concat(
        [
            problems.with_columns(unit=pl.lit("problem"), problem_id=pl.col("id")),
            traces.with_columns(unit=pl.lit("trace")),
        ],
        how="diagonal",
    )
    state = pl.when(pl.col("step").is_null()).then(pl.lit("kept")).otherwise(pl.lit("dropped"))
    first = ("unit", "id", "problem_id", "source", "source_id", *_TRACE[2:], *_VERDICT)
    return rows.with_columns(state=state).select(*first, "state", *_END, "example_id").collect()


def _problems(run: Path) -> pl.LazyFrame:
    """Those that were asked, and those that were dropped before or after; a copy of one word for word has the same id as it."""
    kept = pl.scan_parquet(sorted(run.glob("problems/*.parquet"))).select(_PROBLEM)
    dropped = pl.scan_parquet(run / "rejected" / "problems.parquet").select(*_PROBLEM, *_END)
    others = dropped.filter(pl.col("reason") != "exact_duplicate")
    return pl.concat([kept.join(others, on="id", how="anti", maintain_order="left"), dropped], how="diagonal")


def _traces(run: Path) -> pl.LazyFrame:
    every = pl.scan_parquet(sorted(run.glob("traces/*.parquet"))).select(_TRACE)
    dropped = pl.scan_parquet(run / "rejected" / "traces.parquet").select(*_TRACE, *_END)
    verdicts = pl.scan_parquet(sorted(run.glob("verdicts/*.parquet"))).select("trace_id", *_VERDICT)
    examples = pl.scan_parquet(sorted(run.glob("dataset/*.parquet"))).select("trace_id", example_id="id")
    rows = pl.concat([every.join(dropped, on="id", how="anti", maintain_order="left"), dropped], how="diagonal")
    for table in (verdicts, examples):
        rows = rows.join(table.unique("trace_id"), left_on="id", right_on="trace_id", how="left", maintain_order="left")
    return rows
