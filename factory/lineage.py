"""The ledger of one row: from its source through cleaning, samples, verdicts and choice to the data set, or to its reason.

Everything is read from the run's own tables, so a run that was copied to another machine explains itself too.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl

from cards.run_facts import read_json, whole
from curation.errors import UserError

_CLEANING = ("read", "duplicates", "decontaminate", "check gold", "labels")
_SHOWN = 300  # characters of a text


def row_history(run: Path, row_id: str) -> str:
    """What happened to a problem, trace or example of a run, and to everything that belongs to it, as text.

    `row_id` is an id, or the first digits of one that no other id shares. Raises UserError for a folder that is no run, or an id
    that is not in it.
    """
    manifest = read_json(run, "manifest.json")
    with whole(run):
        problem_id, trace_id = _resolve(run, row_id)
        unmatched = [f"problem    none: trace {trace_id} found no problem here"]
        asked = list(_problem(run, problem_id, _origin(manifest))) if problem_id else unmatched
        return "\n".join([*asked, *_traces(run, problem_id, trace_id), *_examples(run, problem_id, trace_id)])


def _rows(run: Path, pattern: str, condition: pl.Expr) -> list[dict[str, Any]]:
    """The rows of a run's table that meet a condition; none where the run has no such table."""
    files = sorted(run.glob(pattern))
    return pl.scan_parquet(files).filter(condition).collect().to_dicts() if files else []


def _resolve(run: Path, row_id: str) -> tuple[str, str | None]:
    """(problem id, trace id or None) of what an id names."""
    found: set[tuple[str, str | None]] = set()
    same = pl.col("id").str.starts_with(row_id)
    for pattern in ("problems/*.parquet", "rejected/problems.parquet"):
        found |= {(row["id"], None) for row in _rows(run, pattern, same)}
    if not found:
        for pattern in ("traces/*.parquet", "rejected/traces.parquet"):
            found |= {(row["problem_id"], row["id"]) for row in _rows(run, pattern, same)}
    if not found:
        found = {(row["problem_id"], row["trace_id"]) for row in _rows(run, "dataset/*.parquet", same)}
    if not row_id or len(found) != 1:
        what = f"{len(found)} ids begin with {row_id!r}" if found else f"no problem, trace or example has the id {row_id!r}"
        raise UserError(f"{run.name}: {what}; ids are in the Parquet files of the run, give one of them or more of its digits")
    return found.pop()


def _problem(run: Path, problem_id: str, origin: str) -> Iterator[str]:
    same = pl.col("id") == problem_id
    rejected = _rows(run, "rejected/problems.parquet", same)
    kept = _rows(run, "problems/*.parquet", same)
    row = (kept or rejected)[0]
    yield f"problem    {problem_id}"
    yield _text("question", row["prompt"])
    yield f"gold       {row['answer']}"
    yield f"source     {row['source']} row {row['source_id']} ({row['license']}), read from {origin}"
    # A row that repeats this one word for word has its id too: only a problem of which nothing is left was dropped for that.
    copies = [r for r in rejected if r["reason"] == "exact_duplicate"]
    dropped = {r["step"]: r for r in rejected if r not in copies} or ({} if kept else {r["step"]: r for r in copies})
    if copies:
        yield f"{'':<14} {len(copies):,} more rows of the source are the same"
    labels = _rows(run, "labels.parquet", pl.col("problem_id") == problem_id)
    yield from _cleaned(dropped, labels)
    yield from _likenesses(run, problem_id)
    for rate in _rows(run, "difficulty.parquet", pl.col("problem_id") == problem_id):
        yield f"pass rate      {rate['model']}: {rate['correct']} of {rate['judged']}, {rate['low']:.2f} to {rate['high']:.2f}"
    for step, why in dropped.items():
        if step not in _CLEANING:
            yield _dropped(step, why)


def _cleaned(dropped: dict[str, dict[str, Any]], labels: list[dict[str, Any]]) -> Iterator[str]:
    """The steps before sampling, up to the one that dropped it, and its labels."""
    for step in _CLEANING if labels else _CLEANING[:-1]:
        if step in dropped:
            yield _dropped(step, dropped[step])
            break
        yield f"{step:<14} kept"
    for label in labels:
        yield f"{'':<14} {label['name']}: {label['label'] or 'undetermined'} ({label['origin']})"


def _dropped(step: str, why: dict[str, Any]) -> str:
    return f"{step:<14} dropped: {why['reason']} {why['detail']}".rstrip()


def _likenesses(run: Path, problem_id: str) -> Iterator[str]:
    """The problems that it repeats or stands for, and the benchmark questions that it is like."""
    either = (pl.col("kept_id") == problem_id) != (pl.col("dropped_id") == problem_id)
    for pair in _rows(run, "duplicates.parquet", either):
        other = f"stands for {pair['dropped_id']}" if pair["kept_id"] == problem_id else f"repeats {pair['kept_id']}"
        yield f"{'':<14} {other} ({pair['method']}, {pair['similarity']:.3f})"
    for hit in _rows(run, "contamination.parquet", pl.col("problem_id") == problem_id):
        score = f"{hit['score']:.2f}, {hit['method']} from {hit['threshold']:.2f}"
        yield f"{'':<14} like {hit['benchmark']} question {hit['benchmark_index']} ({hit['rule']}, {score})"


def _origin(manifest: dict[str, Any]) -> str:
    return ", ".join(f"{s['path_or_repo']} at {s['revision']}" for s in manifest["sources"])


def _traces(run: Path, problem_id: str, trace_id: str | None) -> Iterator[str]:
    mine = (pl.col("problem_id") == problem_id) if trace_id is None else (pl.col("id") == trace_id)
    rejected = {row["id"]: row for row in _rows(run, "rejected/traces.parquet", mine)}
    traces = {row["id"]: row for row in _rows(run, "traces/*.parquet", mine)}
    judged = {row["trace_id"]: row for row in _rows(run, "verdicts/*.parquet", pl.col("problem_id") == problem_id)}
    for key, row in {**rejected, **traces}.items():
        yield f"trace      {key}  {row['teacher']} sample {row['index']}, {row['finish']}, {_size(row)}"
        if key in judged:
            yield f"  verdict    {_verdict(judged[key])}"
        if key in rejected:
            yield f"  {rejected[key]['step']:<10} dropped: {rejected[key]['reason']} {rejected[key]['detail']}".rstrip()
        if trace_id is not None:
            yield _text("  thinking", row["reasoning"] or "none")
            yield _text("  answer", row["answer_text"])


def _size(row: dict[str, Any]) -> str:
    tokens = f", {row['completion_tokens']:,} tokens" if row["completion_tokens"] is not None else ""
    return f"{len(row['reasoning'] or '') + len(row['answer_text']):,} characters{tokens}"


def _verdict(row: dict[str, Any]) -> str:
    if row["fault"]:
        return f"not judged: {row['fault']}"
    judge = f"; the judge says {row['judge']}: {row['judge_reason']}" if row.get("judge") else ""
    return f"{row['outcome']} ({row['why']}), extracted {row['extracted']!r} by {row['rule']}{judge}"


def _examples(run: Path, problem_id: str, trace_id: str | None) -> Iterator[str]:
    mine = (pl.col("problem_id") == problem_id) if trace_id is None else (pl.col("trace_id") == trace_id)
    found = False
    for file in sorted((run / "dataset").glob("*.parquet")):
        for row in pl.scan_parquet(file).filter(mine).select("id", "trace_id").collect().to_dicts():
            found = True
            yield f"example    {row['id']} of trace {row['trace_id']}, in dataset/{file.name}"
    if not found:
        yield "example    none"


def _text(name: str, text: str) -> str:
    short = " ".join(text[: 4 * _SHOWN].split())[:_SHOWN] + (" ..." if len(text) > _SHOWN else "")
    return textwrap.fill(short, 120, initial_indent=f"{name:<11}", subsequent_indent=" " * 11)
