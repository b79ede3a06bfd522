"""From a source's rows to the problems worth a teacher's time. Four pieces, in this order; each settles every row.

read            rows that are no problem, or that the recipe does not want
duplicates      exact after normalisation, then near ones; the first row stays
decontaminate   questions of the named benchmarks
check gold      golds that their own verifier refuses
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path

import polars as pl

from curation.decontaminate import Hit, contamination
from curation.dedup import exact_duplicates, near_duplicates
from curation.files import write_table
from curation.normalise import normalise_question
from curation.records import Problem, from_frame, to_frame
from curation.sources import Refused
from curation.verify import check_golds, verifier_version
from factory.ledger import settle
from factory.problems import benchmark_digests, load_benchmark, open_source
from factory.progress import track
from factory.recipe import Clean, Recipe
from factory.steps import Facts, Piece, once


def read(store: Path, recipe: Recipe) -> Piece:
    opened = open_source(recipe.source)
    settings = {
        "source": recipe.source.model_dump(mode="json", exclude={"paths"}),
        "limit": recipe.limit,
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
            refusals.append(item if isinstance(item, Refused) else None)
        reasons = [r and r.reason for r in refusals]
        details = [r.detail if r else "" for r in refusals]
        line = settle(folder, "read", "problems", to_frame(problems, Problem), reasons, details)
        sources = [
            {key: value for key, value in part._asdict().items() if key != "problems"} | {"rows": count}
            for part, count in zip(opened.parts, rows, strict=True)
        ]
        return {"funnel": [line], "sources": sources}

    return once(store, "read", settings, [], work)


def deduplicate(store: Path, clean: Clean, source: Piece) -> Piece:
    settings = clean.model_dump(include={"exact_duplicates", "near_duplicates"})

    def work(folder: Path) -> Facts:
        frame = kept(source)
        prompts, golds, ids = frame["prompt"].to_list(), frame["answer"].to_list(), frame["id"].to_list()
        reasons: list[str | None] = [None] * len(prompts)
        details = [""] * len(prompts)
        if clean.exact_duplicates:
            for row, earlier in enumerate(exact_duplicates(prompts)):
                if earlier is not None:
                    reasons[row], details[row] = "exact_duplicate", f"of {ids[earlier]}"
        if clean.near_duplicates is not None:
            left = [row for row, reason in enumerate(reasons) if reason is None]
            matches = near_duplicates([prompts[r] for r in left], [golds[r] for r in left], threshold=clean.near_duplicates)
            for row, found in zip(left, matches, strict=True):
                if found is not None:
                    reasons[row], details[row] = (
                        "near_duplicate",
                        f"of {ids[left[found.earlier]]}, Jaccard {found.similarity:.3f}",
                    )
        return {"funnel": [settle(folder, "duplicates", "problems", frame, reasons, details)]}

    return once(store, "duplicates", settings, [source.digest], work)


def decontaminate(store: Path, clean: Clean, source: Piece) -> Piece:
    settings = {"rule": clean.rule, "ngram": clean.ngram, "benchmarks": benchmark_digests(clean.benchmarks)}

    def work(folder: Path) -> Facts:
        frame = kept(source)
        benchmarks = [load_benchmark(b) for b in clean.benchmarks]
        hits = contamination(frame["prompt"].to_list(), benchmarks, n=clean.ngram, rule=clean.rule)
        reasons = [f"in_{hit.benchmark}" if hit else None for hit in hits]
        details = [f"question {hit.benchmark_index}, {hit.rule}, score {hit.score:.2f}" if hit else "" for hit in hits]
        line = settle(folder, "decontaminate", "problems", frame, reasons, details)
        _write_evidence(folder / "contamination.parquet", frame, hits)
        listed = [{"name": b.name, "questions": len(b.questions), "revision": b.revision} for b in benchmarks]
        return {"funnel": [line], "benchmarks": listed}

    return once(store, "decontaminate", settings, [source.digest], work)


def _write_evidence(path: Path, frame: pl.DataFrame, hits: list[Hit | None]) -> None:
    rows = [
        (problem_id, prompt, hit.benchmark, hit.benchmark_index, hit.question, hit.rule, hit.overlap, hit.score)
        for problem_id, prompt, hit in zip(frame["id"], frame["prompt"], hits, strict=True)
        if hit
    ]
    schema = {
        "problem_id": pl.String,
        "prompt": pl.String,
        "benchmark": pl.String,
        "benchmark_index": pl.Int64,
        "question": pl.String,
        "rule": pl.String,
        "overlap": pl.String,
        "score": pl.Float64,
    }
    write_table(pl.DataFrame(rows, schema=schema, orient="row"), path)


def check_gold(store: Path, clean: Clean, source: Piece, workers: int) -> Piece:
    settings = {"check_gold": clean.check_gold, "verifier": verifier_version()}

    def work(folder: Path) -> Facts:
        frame = kept(source)
        problems = from_frame(frame, Problem)
        reasons: list[str | None] = [None] * len(problems)
        details = [""] * len(problems)
        if clean.check_gold:
            verdicts = check_golds(((p.answer, p.domain) for p in problems), workers=workers)
            for row, verdict in enumerate(track(verdicts, "check gold", len(problems), "golds")):
                if verdict.outcome != "correct":
                    reasons[row], details[row] = f"gold_{verdict.why}", str(problems[row].answer)[:200]
        return {"funnel": [settle(folder, "check gold", "problems", frame, reasons, details)]}

    return once(store, "check-gold", settings, [source.digest], work)


def kept(piece: Piece) -> pl.DataFrame:
    return pl.read_parquet(piece.folder / "kept-*.parquet")


def turned_away(pieces: Sequence[Piece], clean: Clean) -> dict[str, str]:
    """Why a question is not among the problems: normalised question -> reason, for dropped problems and benchmark questions.

    Replayed traces that find no problem are explained with it: a published trace set often answers test questions.
    """
    reasons = {normalise_question(q): f"in_{b.name}" for b in map(load_benchmark, clean.benchmarks) for q in b.questions}
    for piece in pieces:
        for prompt, reason in pl.read_parquet(piece.folder / "rejected.parquet").select("prompt", "reason").iter_rows():
            reasons.setdefault(normalise_question(prompt), f"problem_{reason}")
    return reasons
