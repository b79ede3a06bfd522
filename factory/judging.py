"""Each trace of a shard gets a fault, or a verdict."""

from __future__ import annotations

from pathlib import Path

import polars as pl
from curation.quality import trace_fault

from curation.files import write_table
from curation.records import Trace, Verdict, from_frame
from curation.verify import verifier_version, verify_all
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
    }
)


def judge_shard(store: Path, wanted: Traces, shard: Shard, traces: Piece, workers: int) -> Piece:
    """Faults first, since they cost nothing; then verdicts for the traces that have none."""
    settings = {"traces": wanted.model_dump(), "verifier": verifier_version()}

    def work(folder: Path) -> Facts:
        golds = {p.id: (p.answer, p.domain) for p in problems_of(shard)}
        found = traces_of(traces)
        faults = [_fault(t, wanted) for t in found]
        sound = [t for t, fault in zip(found, faults, strict=True) if fault is None]
        items = ((golds[t.problem_id][0], t.answer_text, golds[t.problem_id][1]) for t in sound)
        verdicts = track(verify_all(items, workers=workers), "verify", len(sound), "traces")
        by_trace = {t.id: v for t, v in zip(sound, verdicts, strict=True)}
        rows = [_row(t, fault, by_trace.get(t.id)) for t, fault in zip(found, faults, strict=True)]
        write_table(pl.DataFrame(rows, schema=VERDICTS, orient="row"), folder / "verdicts.parquet")
        return {}

    return once(store, "verdicts", settings, [shard.digest, traces.digest], work)


def _fault(trace: Trace, wanted: Traces) -> str | None:
    if wanted.max_characters and len(trace.reasoning or "") + len(trace.answer_text) > wanted.max_characters:
        return "too_long"
    return trace_fault(trace.reasoning, trace.answer_text, trace.finish, trace.error, require_thinking=wanted.require_thinking)


def _row(trace: Trace, fault: str | None, verdict: Verdict | None) -> tuple[str | None, ...]:
    judged = (verdict.outcome, verdict.why, verdict.extracted, verdict.rule, verdict.verifier) if verdict else (None,) * 5
    return (trace.id, trace.problem_id, trace.teacher, fault, *judged)


def traces_of(piece: Piece) -> list[Trace]:
    return from_frame(pl.read_parquet(piece.folder / "traces.parquet"), Trace)
