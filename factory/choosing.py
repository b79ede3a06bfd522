"""Correct traces compete to become examples; everything else of a shard gets its reason."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl

from curation.files import write_table
from curation.records import Problem, Trace, content_id
from curation.thinking import join_thinking
from factory.judging import is_correct, traces_of
from factory.ledger import count
from factory.recipe import Choose
from factory.steps import Facts, Piece, once
from factory.tracing import Shard, problems_of

# One row for each example, in the style of OpenR1-Math-220k: `messages` to train on, and beside it every generation for
# the problem with what became of it, in the order of `trace_ids`.
_MESSAGE = pl.List(pl.Struct({"role": pl.String, "content": pl.String}))
EXAMPLES: dict[str, Any] = {
    "id": pl.String,
    "problem_id": pl.String,
    "trace_id": pl.String,
    "messages": _MESSAGE,
    "problem": pl.String,
    "answer": pl.String,
    "solution": pl.String,
    "domain": pl.String,
    "source": pl.String,
    "source_id": pl.String,
    "license": pl.String,
    "teacher": pl.String,
    "generations": pl.List(pl.String),
    "trace_ids": pl.List(pl.String),
    "finish_reasons": pl.List(pl.String),
    "verdicts": pl.List(pl.String),
    "verdict_reasons": pl.List(pl.String),
    "extracted": pl.List(pl.String),
    "judge": pl.List(pl.String),
    "judge_reason": pl.List(pl.String),
    "correctness_count": pl.Int64,
    "meta": pl.String,
}


def choose_shard(store: Path, how: Choose, shard: Shard, traces: Piece, verdicts: Piece) -> Piece:
    """The examples of one shard, and why every other trace and problem is not among them."""
    settings = how.model_dump()

    def work(folder: Path) -> Facts:
        problems, found = problems_of(shard), traces_of(traces)
        judged = {row["trace_id"]: row for row in pl.read_parquet(verdicts.folder / "verdicts.parquet").iter_rows(named=True)}
        of_problem: dict[str, list[Trace]] = {p.id: [] for p in problems}
        for t in found:
            of_problem[t.problem_id].append(t)
        correct = {p: [t for t in ts if is_correct(judged[t.id])] for p, ts in of_problem.items()}
        chosen = {t.id for p, ts in correct.items() for t in choose(ts, how, p)}
        examples = [_example(p, t, of_problem[p.id], judged) for p in problems for t in of_problem[p.id] if t.id in chosen]
        write_table(pl.DataFrame(examples, schema=EXAMPLES), folder / "examples.parquet")
        reasons = [_trace_reason(judged[t.id], t.id in chosen) for t in found]
        _reject(folder / "traces.parquet", traces.folder / "traces.parquet", reasons)
        unsolved = [_problem_reason(of_problem[p.id], judged, bool(correct[p.id])) for p in problems]
        _reject(folder / "problems.parquet", shard.problems, unsolved)
        rescued = sum(is_correct(row) and row["outcome"] != "correct" for row in judged.values())
        return {"funnel": [*_trace_funnel(reasons, rescued), count("solve", "problems", unsolved)], "examples": len(examples)}

    return once(store, "examples", settings, [shard.digest, traces.digest, verdicts.digest], work)


def choose(correct: Sequence[Trace], how: Choose, problem_id: str) -> list[Trace]:
    """Up to `how.per_problem` of a problem's correct traces.

    The random rule depends on the seed and the problem alone, so it is the same whatever other problems are there.
    """
    if how.rule == "shortest":
        correct = sorted(correct, key=lambda t: (len(t.reasoning or "") + len(t.answer_text), t.id))
    elif how.rule == "random":
        correct = sorted(correct, key=lambda t: t.id)
        random.Random(content_id(how.seed, problem_id)).shuffle(correct)
    return list(correct[: how.per_problem])


def _example(problem: Problem, chosen: Trace, every: Sequence[Trace], judged: dict[str, Any]) -> dict[str, Any]:
    # The student sees the bare problem, not the instruction the teacher was given: as OpenR1-Math-220k has it.
    user = [{"role": "user", "content": problem.prompt}]
    said = {"role": "assistant", "content": join_thinking(chosen.reasoning, chosen.answer_text)}
    rows = [judged[t.id] for t in every]
    return {
        "id": content_id(problem.id, chosen.id),
        "problem_id": problem.id,
        "trace_id": chosen.id,
        "messages": [*user, said],
        "problem": problem.prompt,
        **{k: getattr(problem, k) for k in ("answer", "solution", "domain", "source", "source_id", "license", "meta")},
        "teacher": chosen.teacher,
        "generations": [join_thinking(t.reasoning, t.answer_text) for t in every],
        "trace_ids": [t.id for t in every],
        "finish_reasons": [t.finish for t in every],
        "verdicts": [row["outcome"] for row in rows],
        "verdict_reasons": [row["fault"] or row["why"] for row in rows],
        **{name: [row[name] for row in rows] for name in ("extracted", "judge", "judge_reason")},
        "correctness_count": sum(map(is_correct, rows)),
    }


def _trace_reason(row: dict[str, Any], chosen: bool) -> tuple[str, str] | None:
    """(step, reason) of a trace that is not an example."""
    if chosen:
        return None
    if row["fault"]:
        return "sound", str(row["fault"])
    if not is_correct(row):
        return "verify", f"{row['outcome']}_{row['why']}"
    return "choose", "not_chosen"


def _trace_funnel(reasons: Sequence[tuple[str, str] | None], rescued: int) -> list[dict[str, Any]]:
    lines = []
    for step in ("sound", "verify", "choose"):
        kept = {"rescued": rescued} if step == "verify" and rescued else {}
        lines.append(count(step, "traces", [r[1] if r and r[0] == step else None for r in reasons]) | kept)
        reasons = [r for r in reasons if not (r and r[0] == step)]
    return lines


def _problem_reason(traces: Sequence[Trace], judged: dict[str, Any], solved: bool) -> str | None:
    if solved:
        return None
    if not traces:
        return "no_trace"
    return "no_sound_trace" if all(judged[t.id]["fault"] for t in traces) else "no_correct_trace"


def _reject(path: Path, source: Path, reasons: Sequence[tuple[str, str] | str | None]) -> None:
    """Write the rows of a table that have a reason, with it."""
    pairs = [("solve", r) if isinstance(r, str) else r or (None, None) for r in reasons]
    named = pl.read_parquet(source).with_columns(
        pl.Series("step", [p[0] for p in pairs], pl.String),
        pl.Series("reason", [p[1] for p in pairs], pl.String),
        pl.lit("", pl.String).alias("detail"),
    )
    write_table(named.filter(pl.col("reason").is_not_null()), path)
