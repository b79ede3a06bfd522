"""Each trace of a shard gets a fault, or a verdict, and a rejected one a second opinion where the recipe asks for it."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from curation.files import write_table
from curation.glance import Glance, glances
from curation.quality import trace_fault, whole_text
from curation.records import Problem, Trace, Verdict, from_frame
from curation.verify import verifier_versions, verify_all
from factory.judge import PROMPT_VERSION, Case, Judge, opinions
from factory.meter import Meter
from factory.progress import track
from factory.recipe import Traces
from factory.steps import Facts, Piece, once
from factory.tracing import Shard, problems_of

VERDICTS = pl.Schema(
    {
        "trace_id": pl.String,
        "problem_id": pl.String,
        "teacher": pl.String,
        "fault": pl.String,  # why the trace was not judged; null for a sound one
        "outcome": pl.String,
        "why": pl.String,
        "extracted": pl.String,
        "rule": pl.String,
        "verifier": pl.String,
        "judge": pl.String,  # a factory.judge.Word; null where no judge was asked
        "judge_reason": pl.String,
    }
)
# Where a model may overrule the rule: puzzles and code are checked exactly, and nobody's opinion changes that.
JUDGED_DOMAINS = ("math", "text")


def judge_shard(store: Path, wanted: Traces, shard: Shard, traces: Piece, workers: int) -> Piece:
    """Faults first, since they cost nothing; then verdicts for the traces that have none."""
    settings = {"traces": wanted.model_dump(), "verifier": verifier_versions()}

    def work(folder: Path) -> Facts:
        golds = {p.id: (p.answer, p.domain) for p in problems_of(shard)}
        found = traces_of(traces)
        seen = glances(whole_text(t.reasoning, t.answer_text) for t in found)
        faults = [_fault(t, wanted, glance) for t, glance in zip(found, seen, strict=True)]
        sound = [t for t, fault in zip(found, faults, strict=True) if fault is None]
        items = ((golds[t.problem_id][0], t.answer_text, golds[t.problem_id][1]) for t in sound)
        verdicts = track(verify_all(items, workers=workers), "verify", len(sound), "traces")
        by_trace = {t.id: v for t, v in zip(sound, verdicts, strict=True)}
        rows = [(*_row(t, fault, by_trace.get(t.id)), None, None) for t, fault in zip(found, faults, strict=True)]
        write_table(pl.DataFrame(rows, schema=VERDICTS, orient="row"), folder / "verdicts.parquet")
        return {}

    return once(store, "verdicts", settings, [shard.digest, traces.digest], work)


def second_opinions(store: Path, samples: Path, judge: Judge, shard: Shard, traces: Piece, ruled: Piece, meter: Meter) -> Piece:
    """The verdicts of the rule with the judge's columns beside them. Asked again by the next build where requests failed.

    Raises UserError when the budget that `meter` keeps is reached; the opinions until then are kept.
    """
    settings = {"judge": judge.identity, "prompt": PROMPT_VERSION}

    def work(folder: Path) -> Facts:
        problems = {p.id: p for p in problems_of(shard)}
        answers = {t.id: t.answer_text for t in traces_of(traces)}
        frame = pl.read_parquet(ruled.folder / "verdicts.parquet")
        cases = {row["trace_id"]: _case(row, problems, answers) for row in frame.iter_rows(named=True)}
        asked = {case for case in cases.values() if case}
        said = dict(track(opinions(asked, judge, samples, meter), "judge", len(asked), "answers"))
        found = [said[case] if (case := cases[t]) else None for t in frame["trace_id"]]
        frame = frame.with_columns(
            pl.Series("judge", [f and f.word for f in found], pl.String),
            pl.Series("judge_reason", [f and f.reason for f in found], pl.String),
        )
        write_table(frame, folder / "verdicts.parquet")
        words = dict(sorted(Counter(f.word for f in found if f).items()))
        failed = sum(f.reason == "request_failed" for f in found if f)
        return {"judge": judge.identity, "judged": words, "failed": failed}

    inputs = [shard.digest, traces.digest, ruled.digest]
    return once(store, "judgements", settings, inputs, work, stale=lambda facts: facts["failed"] > 0)


def _case(row: dict[str, Any], problems: Mapping[str, Problem], answers: Mapping[str, str]) -> Case | None:
    """What the judge is asked about a verdict: finished, answered and rejected, with a gold to hold it against."""
    problem = problems[row["problem_id"]]
    rejected = row["outcome"] in ("incorrect", "undetermined") and row["extracted"]
    if not rejected or not problem.answer or problem.domain not in JUDGED_DOMAINS:
        return None
    return Case(problem.prompt, problem.answer, row["extracted"], answers[row["trace_id"]])


def is_correct(row: Mapping[str, Any]) -> bool:
    """Does a row of the verdicts count as correct: for the rule, or for the judge?"""
    return bool(row["outcome"] == "correct" or row["judge"] == "equivalent")


def _fault(trace: Trace, wanted: Traces, glance: Glance) -> str | None:
    if wanted.max_characters and len(trace.reasoning or "") + len(trace.answer_text) > wanted.max_characters:
        return "too_long"
    texts = trace.reasoning, trace.answer_text
    return trace_fault(*texts, trace.finish, trace.error, require_thinking=wanted.require_thinking, glance=glance)


def _row(trace: Trace, fault: str | None, verdict: Verdict | None) -> tuple[str | None, ...]:
    judged = (verdict.outcome, verdict.why, verdict.extracted, verdict.rule, verdict.verifier) if verdict else (None,) * 5
    return (trace.id, trace.problem_id, trace.teacher, fault, *judged)


def traces_of(piece: Piece) -> Sequence[Trace]:
    return _held(piece.folder, piece.digest)[1]


def table_of(piece: Piece) -> pl.DataFrame:
    """The same as a table."""
    return _held(piece.folder, piece.digest)[0]


@functools.lru_cache(maxsize=1)
def _held(folder: Path, digest: str) -> tuple[pl.DataFrame, tuple[Trace, ...]]:
    # Each step of a shard wants them: read once, and held until the next shard's are read.
    table = pl.read_parquet(folder / "traces.parquet")
    return table, tuple(from_frame(table, Trace))
