"""The table of matched pairs of a problem and a benchmark question: what was compared, how, and how near they are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from curation.decontaminate import Hit
from curation.files import write_table
from factory.rules import Clean

EVIDENCE = {
    "problem_id": pl.String,
    "prompt": pl.String,
    "benchmark": pl.String,
    "revision": pl.String,  # of the benchmark: a Hub commit, or sha256: of the file
    "benchmark_index": pl.Int64,
    "question": pl.String,
    "method": pl.String,  # clean.rule, or neighbours
    "rule": pl.String,  # what of the method matched
    "threshold": pl.Float64,  # least score of the method
    "overlap": pl.String,
    "score": pl.Float64,
}


def pairs(hits: Sequence[Hit | None]) -> Iterator[tuple[int, Hit]]:
    """(row, hit) of every benchmark that a row was found in."""
    return ((row, one) for row, hit in enumerate(hits) if hit for one in (hit._replace(also=()), *hit.also))


def write_evidence(path: Path, frame: pl.DataFrame, hits: list[Hit | None], clean: Clean, revisions: dict[str, str]) -> None:
    ids, prompts = frame["id"].to_list(), frame["prompt"].to_list()
    rows = [
        hit._asdict() | _method(hit, clean) | {"problem_id": ids[row], "prompt": prompts[row], "revision": revisions[hit.benchmark]}
        for row, hit in pairs(hits)
    ]
    write_table(pl.DataFrame([{name: row[name] for name in EVIDENCE} for row in rows], schema=EVIDENCE), path)


def _method(hit: Hit, clean: Clean) -> dict[str, Any]:
    """How a hit was found, and the score from which on: any shared run, of whatever score, is enough for n-grams and verbatim."""
    if hit.rule in ("tfidf", "embedding"):
        return {"method": "neighbours", "threshold": clean.neighbours}
    least = {"coverage": clean.min_coverage, "fuzzy": clean.fuzzy_ratio / 100}
    return {"method": clean.rule, "threshold": least.get(clean.rule, 0.0)}
