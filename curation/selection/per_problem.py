"""k traces of each problem: the shortest, the longest, those of the highest score, or at random."""

from __future__ import annotations

from typing import Literal

import polars as pl

from curation.records import content_id
from curation.selection import Selection, selection, stages_of
from curation.selection.limo import WEIGHTS, score

By = Literal["first", "shortest", "longest", "random", "score"]


def per_problem(table: pl.DataFrame, *, k: int, by: By, seed: int = 0) -> Selection:
    """Up to `k` rows of each problem. Columns: id, problem_id, characters for a length, the features for the score.

    "first" goes by the order of the rows. The random rule goes by a hash of the seed and the id, so it is the same whatever other
    rows are there. Ties go to the lower id.
    """
    order = preferred(table, by=by, seed=seed)
    problems, seen = table["problem_id"].to_list(), dict[str, int]()
    final: list[str | None] = ["not_chosen"] * table.height
    details = [""] * table.height
    for row in order:
        seen[problems[row]] = seen.get(problems[row], 0) + 1
        details[row] = f"rank {seen[problems[row]]} of its problem by {by}"
        if seen[problems[row]] <= k:
            final[row] = None
    final, stages = stages_of([("per problem", final)], table.height)
    return selection(final, {"rule": "per_problem", "k": k, "by": by, "seed": seed}, stages, details)


def preferred(table: pl.DataFrame, *, by: By, seed: int) -> list[int]:
    """All rows, those of one problem in the order in which `by` prefers them."""
    if by == "first":
        return list(range(table.height))
    if by == "score":
        scored = table.select("id", score(WEIGHTS).alias("score"), pl.int_range(pl.len()).alias("row"))
        return scored.sort(["score", "id"], descending=[True, False])["row"].to_list()
    ids = table["id"].to_list()
    lengths = table["characters"].to_list() if by != "random" else [0] * len(ids)
    return sorted(range(len(ids)), key=lambda row: preference(by, seed, ids[row], lengths[row]))


def preference(by: Literal["shortest", "longest", "random"], seed: int, row_id: str, characters: int) -> tuple[int, str]:
    """What the rows of one problem are sorted by; for the random rule a hash, which other rows do not change."""
    if by == "random":
        return 0, content_id(seed, row_id)
    return (characters if by == "shortest" else -characters), row_id
