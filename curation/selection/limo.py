"""LIMO v2's choice of traces: a score of four signs of good reasoning, the best trace of each problem, the best problems.

arXiv 2502.03387v3: length 0.30, self-verification 0.20, exploration 0.25, connectives 0.25, counts divided by the length. How the
four share a scale is not published; z-scores over all traces are the choice of a later re-implementation, and ours.
"""

from __future__ import annotations

from typing import Any

import polars as pl

from curation.selection import Selection, selection, stages_of

WEIGHTS = {"words": 0.30, "verifying": 0.20, "tentative": 0.25, "connective": 0.25}


def limo(table: pl.DataFrame, *, size: int, weights: dict[str, float] | None = None) -> Selection:
    """The `size` problems with the highest score, each with its best trace.

    Columns: id, problem_id, and the features that `weights` names (curation.features). Ties go to the lower id.
    """
    weights = weights or WEIGHTS
    scored = table.select("id", "problem_id", score(weights).alias("score"), pl.int_range(pl.len()).alias("row"))
    ranked = scored.sort(["score", "id"], descending=[True, False])
    best = ranked.unique("problem_id", keep="first", maintain_order=True)
    chosen = best.head(size)
    first, top = set(best["row"]), set(chosen["row"])
    reasons, stages = stages_of(
        [
            ("best trace", [None if row in first else "not_best_of_problem" for row in range(table.height)]),
            ("top", [None if row in top else "score_too_low" for row in range(table.height)]),
        ],
        table.height,
    )
    state: dict[str, Any] = {"rule": "limo", "size": size, "weights": weights, "scale": _scale(table, weights)}
    state["scores"] = dict(zip(chosen["id"], chosen["score"], strict=True))  # of the rows taken, the best first
    return selection(reasons, state, stages, _ranks(ranked))


def _ranks(ranked: pl.DataFrame) -> list[str]:
    """The score and the rank of each row of the table, from columns score and row of its rows in the order of the score."""
    numbered = ranked.with_row_index("rank", 1).sort("row")
    return [f"score {s:.4f}, rank {r} of {ranked.height}" for s, r in zip(numbered["score"], numbered["rank"], strict=True)]


def score(weights: dict[str, float]) -> pl.Expr:
    """Weighted sum of z-scores over the table; a feature that is the same in all rows counts 0."""
    return pl.sum_horizontal(weight * z_score(name) for name, weight in sorted(weights.items()))


def z_score(name: str) -> pl.Expr:
    spread = pl.col(name).std(ddof=0).fill_null(0.0)
    return pl.when(spread > 0).then((pl.col(name) - pl.col(name).mean()) / spread).otherwise(0.0)


def _scale(table: pl.DataFrame, weights: dict[str, float]) -> dict[str, list[float | None]]:
    """Mean and standard deviation of each feature: with them a single trace can be scored again."""
    names = sorted(weights)
    values = table.select(*(pl.col(n).mean().alias(f"{n} mean") for n in names), *(pl.col(n).std(ddof=0).alias(n) for n in names))
    row = values.row(0, named=True)
    return {name: [row[f"{name} mean"], row[name]] for name in names}
