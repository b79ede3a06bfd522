"""One row of the page with its texts: the problem, the trace, its verdict, and what each step did with it."""

from __future__ import annotations

from typing import Any

import polars as pl

from cards.view.rows import IN_THE_SET, Rows

# Columns of a data set row that the page shows elsewhere, or that repeat every generation of the problem.
_SHOWN_ELSEWHERE = [
    *("id", "problem_id", "trace_id", "messages", "problem", "answer", "solution", "domain", "source", "source_id", "license"),
    *(
        "teacher",
        "meta",
        "generations",
        "trace_ids",
        "finish_reasons",
        "verdicts",
        "verdict_reasons",
        "extracted",
        "correctness_count",
        *("outcome", "judge", "judge_reason"),
    ),
]


def row(view: Rows, row_id: str) -> dict[str, Any] | None:
    """Everything about the trace or dropped problem with this id; None where the run has no such row.

    Keys: row (as listed), problem, trace, verdict, example (columns of its data set row that are not shown elsewhere),
    siblings (the other traces of the problem) and ledger (one entry a step, in order).
    """
    found = view.rows.filter(pl.col("id") == row_id)
    if found.is_empty():
        return None
    (light,) = found.head(1).to_dicts()
    stored = pl.scan_parquet(view.files[light["file"]]).slice(light["row"], 1).collect().to_dicts()[0]
    is_trace = light["kind"] == "trace"
    verdict = _verdict(view, light) if is_trace else None
    return {
        "row": {name: light[name] for name in light if name not in ("file", "row", "problem")},
        "problem": _problem(view, light) if is_trace else stored,
        "trace": stored if is_trace else None,
        "verdict": verdict,
        "example": _example(view, row_id) if light["fate"] == IN_THE_SET else None,
        "siblings": _siblings(view, light["problem_id"]),
        "ledger": ledger(view.funnel, light),
    }


def _one(frame: pl.LazyFrame) -> dict[str, Any] | None:
    rows = frame.head(1).collect().to_dicts()
    return rows[0] if rows else None


def _problem(view: Rows, light: dict[str, Any]) -> dict[str, Any] | None:
    # problems/ has the same shards as traces/; a trace that is only among the rejected may answer a problem of any.
    shard = view.run / "problems" / view.files[light["file"]].name
    places = [shard] if shard.is_file() else [view.run / "problems" / "*.parquet", view.run / "rejected" / "problems.parquet"]
    for place in places:
        if found := _one(pl.scan_parquet(place).filter(pl.col("id") == light["problem_id"])):
            return found
    return None


def _verdict(view: Rows, light: dict[str, Any]) -> dict[str, Any] | None:
    # verdicts/ has the same shards as traces/; a trace that is only among the rejected was never judged.
    file = view.run / "verdicts" / view.files[light["file"]].name
    return _one(pl.scan_parquet(file).filter(pl.col("trace_id") == light["id"])) if file.is_file() else None


def _example(view: Rows, trace_id: str) -> dict[str, Any] | None:
    scan = pl.scan_parquet(view.run / "dataset" / "*.parquet")
    more = [name for name in scan.collect_schema().names() if name not in _SHOWN_ELSEWHERE]
    return _one(scan.filter(pl.col("trace_id") == trace_id).select(*more)) if more else None


def _siblings(view: Rows, problem_id: str, limit: int = 64) -> list[dict[str, Any]]:
    same = view.rows.filter(pl.col("problem_id") == problem_id, pl.col("kind") == "trace")
    return same.select("id", "teacher", "verdict", "fate", "length").head(limit).to_dicts()


def ledger(funnel: list[dict[str, Any]], light: dict[str, Any]) -> list[dict[str, str]]:
    """What became of a row at each step of the funnel: passed, dropped (with reason and detail), or never reached."""
    step, _, reason = light["fate"].partition(": ")
    if light["kind"] == "problem":
        steps = [line["step"] for line in funnel if line["unit"] == "problems"]
    else:  # the last step, solve, settles problems after their traces
        last = max((n for n, line in enumerate(funnel) if line["unit"] == "traces"), default=-1)
        steps = [line["step"] for line in funnel[: last + 1]]
    fallen = steps.index(step) if step in steps else len(steps)
    entries = [{"step": name, "outcome": "passed"} for name in steps[:fallen]]
    if fallen < len(steps):
        entries.append({"step": step, "outcome": "dropped", "reason": reason, "detail": light["detail"] or ""})
    return entries + [{"step": name, "outcome": "not reached"} for name in steps[fallen + 1 :]]
