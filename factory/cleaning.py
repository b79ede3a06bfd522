"""From a source's rows to the problems worth a teacher's time. Four pieces, in this order; each settles every row.

read            rows that are no problem, or that the recipe does not want
duplicates      exact after normalisation, then near ones, then those in other words; one row stays
decontaminate   questions of the named benchmarks
check gold      golds that their own verifier refuses, and problems outside the recipe's window of pass rates
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from curation.benchmarks import Benchmark
from curation.decontaminate import Hit, contamination, together
from curation.dedup import Match, exact_duplicates, near_duplicates
from curation.dedup_semantic import semantic_duplicates
from curation.errors import UserError
from curation.files import write_table
from curation.fuzzy import fuzzy_contamination
from curation.minhash import Rows, read_rows, some_rows
from curation.net import Caught, of_rows
from curation.normalise import normalise_question
from curation.problem_filters import problem_fault
from curation.processes import processes
from curation.records import Problem, from_frame, to_frame
from curation.sources import Refused
from curation.verbatim import verbatim_contamination
from curation.verify import check_golds, verifier_versions
from factory.embedding import embedding, embedding_facts
from factory.evidence import pairs, write_evidence
from factory.ledger import settle
from factory.measuring import rates, refuse_strange, table_digest
from factory.problems import benchmark_digests, load_benchmark, open_source
from factory.progress import track
from factory.recipe import Recipe
from factory.rules import Clean
from factory.steps import Facts, Piece, once


def read(store: Path, recipe: Recipe) -> Piece:
    opened = open_source(recipe.source, needs_gold=recipe.clean.require_gold)
    settings = {
        "source": recipe.source.model_dump(mode="json", exclude={"paths"}),
        "limit": recipe.limit,
        **recipe.clean.model_dump(include={"filters", "require_gold"}),
        **opened.identity,
    }

    def work(folder: Path) -> Facts:
        problems: list[Problem] = []
        refusals: list[Refused | None] = []
        rows = [0] * len(opened.parts)
        numbered = ((n, item) for n, part in enumerate(opened.parts) for item in part.problems)
        for n, item in track(itertools.islice(numbered, recipe.limit), "read", recipe.limit, "problems"):
            rows[n] += 1
            problems.append(item.problem if isinstance(item, Refused) else item)
            refusals.append(_refusal(item, recipe.clean))
        reasons = [r and r.reason for r in refusals]
        details = [r.detail if r else "" for r in refusals]
        line = settle(folder, "read", "problems", to_frame(problems, Problem), reasons, details)
        sources = [
            {key: value for key, value in part._asdict().items() if key != "problems"} | {"rows": count}
            for part, count in zip(opened.parts, rows, strict=True)
        ]
        return {"funnel": [line], "sources": sources}

    return once(store, "read", settings, [], work)


def _refusal(item: Problem | Refused, clean: Clean) -> Refused | None:
    """Why a row is no problem for this recipe: the source's reason, or the first filter that it breaks."""
    if isinstance(item, Refused) and (item.reason != "no_gold" or clean.require_gold):
        return item
    found = item.problem if isinstance(item, Refused) else item
    broken = problem_fault(tuple(clean.filters), found.prompt, found.answer, found.solution, found.source)
    return Refused(found, broken, "") if broken else None


LARGE = 20_000  # problems; under it a process takes as long to start as it saves
PAIRS = {"kept_id": pl.String, "dropped_id": pl.String, "method": pl.String, "similarity": pl.Float64}


class Scanned(NamedTuple):
    """What factory.scanning has found in the rows of `read`, or parts of it elsewhere."""

    ids: list[str]  # of these rows
    words: Rows | None
    caught: Caught | None  # where the rule of contamination needs all rows together
    hits: list[Hit | None] | None  # where it looks at each row by itself


Scan = Callable[[], Scanned | None]  # asked where the step is not finished already; None: look here


def nowhere() -> None:
    """A Scan of a build without an executor."""


def deduplicate(store: Path, clean: Clean, source: Piece, workers: int = 1, scan: Scan = nowhere) -> Piece:
    """Problems that repeat another; the pairs, with what joined them, are in `duplicates.parquet`."""
    names = {"exact_duplicates", "near_duplicates", "semantic_duplicates", "semantic_model"}
    meaning = embedding_facts(clean.semantic_model, "duplicates") if clean.semantic_duplicates else {}
    settings = clean.model_dump(include=names) | meaning

    def work(folder: Path) -> Facts:
        frame = kept(source)
        prompts, golds, ids = frame["prompt"].to_list(), frame["answer"].to_list(), frame["id"].to_list()
        worth = [2 * bool(gold) + bool(solution) for gold, solution in zip(golds, frame["solution"], strict=True)]
        found = _repeats(prompts, golds, worth, clean, workers if len(prompts) >= LARGE else 1, scan())
        reasons = [f and f"{f[0]}_duplicate" for f in found]
        details = [f"of {ids[f[1].kept]}, similarity {f[1].similarity:.3f}" if f else "" for f in found]
        joined = [(ids[f[1].kept], ids[row], f[0], f[1].similarity) for row, f in enumerate(found) if f]
        write_table(pl.DataFrame(joined, schema=PAIRS, orient="row"), folder / "duplicates.parquet")
        return {"funnel": [settle(folder, "duplicates", "problems", frame, reasons, details)], **meaning}

    return once(store, "duplicates", settings, [source.digest], work)


def _repeats(
    prompts: list[str], golds: list[str | None], worth: list[int], clean: Clean, workers: int, scanned: Scanned | None
) -> list[tuple[str, Match] | None]:
    """For each problem the method that found it to be a repetition, and of which: the methods in turn, each over what is left."""
    found: list[tuple[str, Match] | None] = [None] * len(prompts)
    words = scanned and scanned.words
    if words is None and by_words(clean):
        with processes(workers) as mapped:
            words = read_rows(prompts, mapped=mapped)

    def note(method: str, rows: list[int], matches: Sequence[Match | None]) -> None:
        for row, match in zip(rows, matches, strict=True):
            if match is not None:
                found[row] = method, match._replace(kept=rows[match.kept])

    if clean.exact_duplicates:
        exact = exact_duplicates(prompts, golds, worth=worth, found=words)
        note("exact", list(range(len(prompts))), [None if e is None else Match(e, 1.0) for e in exact])
    if clean.near_duplicates is not None and words is not None:
        left = [row for row, match in enumerate(found) if match is None]
        texts, answers, worths = [prompts[r] for r in left], [golds[r] for r in left], [worth[r] for r in left]
        known, close = some_rows(words, np.array(left, np.int64)), clean.near_duplicates
        note("near", left, near_duplicates(texts, answers, worth=worths, threshold=close, workers=workers, found=known))
    if clean.semantic_duplicates is not None:
        from curation.vectors import vectors_of

        left = [row for row, match in enumerate(found) if match is None]
        texts, answers, worths = [prompts[r] for r in left], [golds[r] for r in left], [worth[r] for r in left]
        vectors = vectors_of(texts, *embedding(clean.semantic_model))
        note("semantic", left, semantic_duplicates(texts, answers, vectors, clean.semantic_duplicates, worths))
    return found


def by_words(clean: Clean) -> bool:
    """Whether problems are compared word by word."""
    return clean.exact_duplicates or clean.near_duplicates is not None


def rule_of(clean: Clean) -> dict[str, Any]:
    """What decides which benchmark questions a row is found to hold."""
    names = {"rule", "ngram", "min_coverage", "fuzzy_ratio"}
    return clean.model_dump(include=names) | {"benchmarks": benchmark_digests(clean.benchmarks)}


def decontaminate(store: Path, clean: Clean, source: Piece, workers: int = 1, scan: Scan = nowhere) -> Piece:
    near_by = embedding_facts(clean.semantic_model, "neighbours") if clean.neighbours else {}
    settings = rule_of(clean) | (clean.model_dump(include={"neighbours", "semantic_model"}) if clean.neighbours else {}) | near_by

    def work(folder: Path) -> Facts:
        frame = kept(source)
        benchmarks = [load_benchmark(b) for b in clean.benchmarks]
        texts = frame["prompt"].to_list()
        hits = _hits(texts, frame["id"].to_list(), clean, benchmarks, workers if len(texts) >= LARGE else 1, scan())
        if clean.neighbours:
            from curation.neighbours import neighbours

            model, revision = embedding(clean.semantic_model)
            near = neighbours(texts, benchmarks, threshold=clean.neighbours, model=model, revision=revision)
            hits = together(itertools.chain(pairs(hits), pairs(near)), len(texts))
        reasons = [f"in_{hit.benchmark}" if hit else None for hit in hits]
        details = [f"question {hit.benchmark_index}, {hit.rule}, score {hit.score:.2f}" if hit else "" for hit in hits]
        line = settle(folder, "decontaminate", "problems", frame, reasons, details)
        write_evidence(folder / "contamination.parquet", frame, hits, clean, {b.name: b.revision for b in benchmarks})
        listed = [{"name": b.name, "questions": len(b.questions), "revision": b.revision} for b in benchmarks]
        return {"funnel": [line], "benchmarks": listed, **near_by}

    return once(store, "decontaminate", settings, [source.digest], work)


def _hits(
    texts: list[str], ids: list[str], clean: Clean, benchmarks: Sequence[Benchmark], workers: int, scanned: Scanned | None
) -> list[Hit | None]:
    rows = _places(ids, scanned.ids) if scanned else []
    if clean.rule == "coverage" or clean.rule == "ngram":
        caught = of_rows(scanned.caught, np.array(rows, np.int64)) if scanned and scanned.caught else None
        return contamination(
            texts, benchmarks, n=clean.ngram, rule=clean.rule, min_coverage=clean.min_coverage, workers=workers, found=caught
        )
    if scanned and scanned.hits is not None:
        return [scanned.hits[row] for row in rows]
    return row_hits(texts, clean, benchmarks, workers)


def _places(some: Sequence[str], every: Sequence[str]) -> list[int]:
    """Where the ids of rows that stayed, in order, stand among those of all rows; rows of one id have one text."""
    rest = enumerate(every)
    return [next(at for at, one in rest if one == wanted) for wanted in some]


def row_hits(texts: Sequence[str], clean: Clean, benchmarks: Sequence[Benchmark], workers: int) -> list[Hit | None]:
    """The hits of the rules that look at each row by itself."""
    if clean.rule == "fuzzy":
        return fuzzy_contamination(texts, benchmarks, ratio=clean.fuzzy_ratio)
    return verbatim_contamination(texts, benchmarks, n=clean.ngram, workers=workers)


def check_gold(store: Path, clean: Clean, source: Piece, workers: int) -> Piece:
    window = clean.pass_rate.model_dump() | {"digest": _table(clean)} if clean.pass_rate else None
    settings = {"check_gold": clean.check_gold, "verifier": verifier_versions(), "pass_rate": window}

    def work(folder: Path) -> Facts:
        frame = kept(source)
        problems = from_frame(frame, Problem)
        reasons: list[str | None] = [None] * len(problems)
        details = [""] * len(problems)
        if clean.check_gold:
            rows = [row for row, p in enumerate(problems) if p.answer is not None]
            verdicts = check_golds(((problems[row].answer, problems[row].domain) for row in rows), workers=workers)
            for row, verdict in zip(rows, track(verdicts, "check gold", len(rows), "golds"), strict=True):
                if verdict.outcome != "correct":
                    reasons[row], details[row] = f"gold_{verdict.why}", str(problems[row].answer)[:200]
        if clean.pass_rate:
            for row, (reason, detail) in enumerate(_windowed(frame["id"].to_list(), clean)):
                if reason and not reasons[row]:
                    reasons[row], details[row] = reason, detail
        return {"funnel": [settle(folder, "check gold", "problems", frame, reasons, details)]}

    return once(store, "check-gold", settings, [source.digest], work)


def _table(clean: Clean) -> str | None:
    assert clean.pass_rate is not None
    if clean.pass_rate.table is None:
        raise UserError(
            "clean.pass_rate has no table: nothing is measured before sampling; set clean.pass_rate.table to another run's "
            "difficulty.parquet, or put a pass_rate rule into select"
        )
    return table_digest(clean.pass_rate.table)


def _windowed(ids: list[str], clean: Clean) -> Iterator[tuple[str | None, str]]:
    """(reason, detail) of each problem that another run's pass rates keep from being sampled."""
    assert clean.pass_rate is not None and clean.pass_rate.table is not None
    measured = rates(clean.pass_rate.table, clean.pass_rate.models)
    refuse_strange(clean.pass_rate.table, measured["problem_id"], pl.Series(ids, dtype=pl.String))
    known = {row["problem_id"]: row for row in measured.iter_rows(named=True)}
    for problem_id in ids:
        row = known.get(problem_id)
        if row is None or row["pass_rate"] is None:
            yield "no_pass_rate", ""
        elif clean.pass_rate.low <= row["pass_rate"] <= clean.pass_rate.high:
            yield None, ""
        else:
            reason = "too_easy" if row["pass_rate"] > clean.pass_rate.high else "too_hard"
            yield reason, f"{row['correct']} of {row['judged']}"


def kept(piece: Piece) -> pl.DataFrame:
    return pl.read_parquet(piece.folder / "kept-*.parquet")


def turned_away(pieces: Sequence[Piece], clean: Clean) -> dict[str, str]:
    """Why a question is not among the problems: normalised question -> reason, for dropped problems and benchmark questions.

    Replayed traces that find no problem are explained with it: a published trace set often answers test questions.
    """
    reasons = {normalise_question(q): f"in_{b.name}" for b in map(load_benchmark, clean.benchmarks) for q in b.questions}
    for piece in reversed(pieces):  # the row kept of several that are the same may have gone later, and that is why none is there
        for prompt, reason in pl.read_parquet(piece.folder / "rejected.parquet").select("prompt", "reason").iter_rows():
            reasons.setdefault(normalise_question(prompt), f"problem_{reason}")
    return reasons
