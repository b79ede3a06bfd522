"""Correct traces compete to become examples; everything else of a shard gets its reason."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from curation.dedup_semantic import first_of_meaning, repeated_traces
from curation.files import write_table
from curation.records import Problem, Trace, content_id
from curation.selection.per_problem import preference
from curation.thinking import JOINED, join_thinking
from curation.thought_glance import looks
from curation.trace_filters import UNREAD, Look, trace_filter
from curation.vectors import F32, vectors_of
from factory.cleaning import PAIRS
from factory.embedding import embedding, embedding_facts
from factory.judging import is_correct, table_of, traces_of
from factory.ledger import count
from factory.rules import Choose
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
    "outcome": pl.String,  # of the trace in `messages`
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
    models = embedding_facts(how.semantic_model, "choose") if how.semantic_duplicates is not None else {}
    settings = how.model_dump() | models

    def work(folder: Path) -> Facts:
        problems, every, found = problems_of(shard), table_of(traces), traces_of(traces)
        judged = {row["trace_id"]: row for row in pl.read_parquet(verdicts.folder / "verdicts.parquet").iter_rows(named=True)}
        of_problem: dict[str, list[Trace]] = {p.id: [] for p in problems}
        for t in found:
            of_problem[t.problem_id].append(t)
        vectors = _vectors(found, judged, how) if how.semantic_duplicates is not None else None
        seen = dict(zip(every["id"], looks(every["reasoning"]), strict=True)) if how.filters else {}
        decided = [_decide(p, of_problem[p.id], judged, how, vectors, seen) for p in problems]
        why = {trace: reason for one in decided for trace, reason in one.why.items()}
        if how.near_duplicates is not None or how.semantic_duplicates is not None:
            pairs = [pair for one in decided for pair in one.repeated]
            write_table(pl.DataFrame(pairs, schema=PAIRS, orient="row"), folder / "pairs.parquet")
        examples = [_example(p, t, of_problem[p.id], judged) for p in problems for t in of_problem[p.id] if why[t.id] is None]
        write_table(_with_texts(examples, found, every), folder / "examples.parquet")
        reasons = [why[t.id] for t in found]
        write_table(_with_place(reasons), folder / "traces.parquet")
        unsolved = [_problem_reason([why[t.id] for t in of_problem[p.id]]) for p in problems]
        _reject(folder / "problems.parquet", pl.read_parquet(shard.problems), unsolved)
        rescued = sum(is_correct(row) and row["outcome"] != "correct" for row in judged.values())
        return {
            "funnel": [*_trace_funnel(reasons, rescued), count("solve", "problems", [why and why[1] for why in unsolved])],
            "examples": len(examples),
            **models,
        }

    return once(store, "examples", settings, [shard.digest, traces.digest, verdicts.digest], work)


Why = tuple[str, str, str]  # step, reason and detail of a trace that is not an example


class _Decided(NamedTuple):
    why: dict[str, Why | None]  # of each trace of a problem why it is no example; None for those that are
    repeated: list[tuple[str, str, str, float]]  # rows of PAIRS


class _Vectors(NamedTuple):
    table: F32  # a row of length 1 for each sound trace of a shard: of all together, since words are weighted by rarity
    row_of: dict[str, int]  # trace id -> row


def _vectors(found: Sequence[Trace], judged: dict[str, Any], how: Choose) -> _Vectors:
    sound = [t for t in found if not judged[t.id]["fault"]]
    table = vectors_of([join_thinking(t.reasoning, t.answer_text) for t in sound], *embedding(how.semantic_model))
    return _Vectors(table, {t.id: row for row, t in enumerate(sound)})


def _decide(
    problem: Problem,
    traces: Sequence[Trace],
    judged: dict[str, Any],
    how: Choose,
    vectors: _Vectors | None,
    seen: Mapping[str, Look],
) -> _Decided:
    why = {t.id: _unfit(problem, t, judged[t.id], how, seen.get(t.id, UNREAD)) for t in traces}
    repeated: list[tuple[str, str, str, float]] = []
    fit = ordered([t for t in traces if why[t.id] is None], how)
    if how.near_duplicates is not None:
        texts = [join_thinking(t.reasoning, t.answer_text) for t in fit]
        for t, match in zip(fit, repeated_traces(texts, [problem.id] * len(fit), how.near_duplicates), strict=True):
            if match:
                kept = fit[match.kept].id
                why[t.id] = "choose", "near_duplicate_trace", f"of {kept}, Jaccard {match.similarity:.3f}"
                repeated.append((kept, t.id, "near", match.similarity))
    if how.semantic_duplicates is not None and vectors:
        left = {vectors.row_of[t.id]: t.id for t in fit if why[t.id] is None}
        for row, first, cosine in first_of_meaning(vectors.table, list(left), how.semantic_duplicates):
            kept, dropped = left[first], left[row]
            why[dropped] = "choose", "semantic_duplicate_trace", f"of {kept}, cosine {cosine:.3f}"
            repeated.append((kept, dropped, "semantic", cosine))
    for t in [t for t in fit if why[t.id] is None][how.per_problem :]:
        why[t.id] = "choose", "not_chosen", ""
    return _Decided(why, repeated)


def _unfit(problem: Problem, trace: Trace, row: dict[str, Any], how: Choose, look: Look) -> Why | None:
    """Why a trace cannot be chosen at all."""
    if row["fault"]:
        return "sound", str(row["fault"]), ""
    unjudged = how.without_gold and problem.answer is None
    if not unjudged and not ("correct" in how.outcomes and is_correct(row)) and row["outcome"] not in how.outcomes:
        return "verify", f"{row['outcome']}_{row['why']}", ""
    if how.teachers and trace.teacher not in how.teachers:
        return "choose", "other_teacher", trace.teacher
    broken = trace_filter(tuple(how.filters), problem.prompt, trace.reasoning, trace.answer_text, look)
    return ("choose", broken, "") if broken else None


def ordered(fit: Sequence[Trace], how: Choose) -> list[Trace]:
    """A problem's traces in the order in which the recipe's rule prefers them."""
    rule = how.rule
    if rule == "first":
        return list(fit)
    return sorted(fit, key=lambda t: preference(rule, how.seed, t.id, len(t.reasoning or "") + len(t.answer_text)))


def _example(problem: Problem, chosen: Trace, every: Sequence[Trace], judged: dict[str, Any]) -> dict[str, Any]:
    """All columns but the texts of traces."""
    rows = [judged[t.id] for t in every]
    return {
        "id": content_id(problem.id, chosen.id),
        "problem_id": problem.id,
        "trace_id": chosen.id,
        "problem": problem.prompt,
        **{k: getattr(problem, k) for k in ("answer", "solution", "domain", "source", "source_id", "license", "meta")},
        "teacher": chosen.teacher,
        "outcome": "correct" if is_correct(judged[chosen.id]) else judged[chosen.id]["outcome"],
        "trace_ids": [t.id for t in every],
        "finish_reasons": [t.finish for t in every],
        "verdicts": [row["outcome"] for row in rows],
        "verdict_reasons": [row["fault"] or row["why"] for row in rows],
        **{name: [row[name] for row in rows] for name in ("extracted", "judge", "judge_reason")},
        "correctness_count": sum(map(is_correct, rows)),
    }


def _with_texts(examples: Sequence[dict[str, Any]], found: Sequence[Trace], every: pl.DataFrame) -> pl.DataFrame:
    """The table of examples, with the training texts of their traces, which are columns from end to end: Python makes none.

    `found` are the traces of `every`, in order.
    """
    row_of = {t.id: row for row, t in enumerate(found)}
    joined = pl.format(JOINED, "reasoning", "answer_text")  # null without reasoning
    texts = every.select(pl.coalesce(joined, "answer_text")).to_series()
    table = pl.DataFrame(
        examples, schema={name: kind for name, kind in EXAMPLES.items() if name not in ("messages", "generations")}
    )
    rows = [[row_of[t] for t in example["trace_ids"]] for example in examples]
    flat = pl.DataFrame(
        {"example": [n for n, some in enumerate(rows) for _ in some], "text": texts[[row for some in rows for row in some]]}
    )
    generations = flat.group_by("example", maintain_order=True).agg("text")["text"]
    said = pl.struct(role=pl.lit("assistant"), content=texts[[row_of[example["trace_id"]] for example in examples]])
    # The student sees the bare problem, not the instruction the teacher was given: as OpenR1-Math-220k has it.
    messages = pl.concat_list(pl.struct(role=pl.lit("user"), content="problem"), said)
    whole = table.with_columns(messages.alias("messages"), generations.alias("generations"))
    return whole.select(list(EXAMPLES)).rechunk()


def _trace_funnel(reasons: Sequence[Why | None], rescued: int) -> list[dict[str, Any]]:
    lines = []
    for step in ("sound", "verify", "choose"):
        kept = {"rescued": rescued} if step == "verify" and rescued else {}
        lines.append(count(step, "traces", [r[1] if r and r[0] == step else None for r in reasons]) | kept)
        reasons = [r for r in reasons if not (r and r[0] == step)]
    return lines


def _problem_reason(reasons: Sequence[Why | None]) -> Why | None:
    """Why a problem has no example: the step that the last of its traces got to."""
    if None in reasons:
        return None
    steps = {why[0] for why in reasons if why}
    if not steps:
        return "solve", "no_trace", ""
    last = next(step for step in ("choose", "verify", "sound") if step in steps)
    return "solve", {"choose": "no_trace_chosen", "verify": "no_correct_trace", "sound": "no_sound_trace"}[last], ""


def _with_place(reasons: Sequence[Why | None]) -> pl.DataFrame:
    """The rows that have a reason, by their place in a table."""
    rows = [(place, *why) for place, why in enumerate(reasons) if why]
    return pl.DataFrame(rows, schema={"place": pl.Int64, "step": pl.String, "reason": pl.String, "detail": pl.String}, orient="row")


def with_rows(reasons: Path, rows: Path) -> pl.DataFrame:
    """The rows of a table that a file of reasons tells the places of, with their reasons: no text is stored twice."""
    why = pl.read_parquet(reasons)
    return pl.read_parquet(rows)[why["place"]].hstack(why.drop("place"))


def _reject(path: Path, rows: pl.DataFrame, reasons: Sequence[Why | None]) -> None:
    """Write the rows of a table that have a reason, with it."""
    why = _with_place(reasons)
    # Read once, when the rejected rows of all shards come together: packed lightly.
    write_table(rows[why["place"]].hstack(why.drop("place")), path, level=1)
