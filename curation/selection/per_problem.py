"""k traces of each problem: the shortest, the longest, those of the highest score, or at random."""

from __future__ import annotations

import random
from typing import Literal

import polars as pl

from curation.records import content_id
from curation.selection import Selection, selection, stages_of
from curation.selection.limo import WEIGHTS, score

By = Literal["first", "shortest", "longest", "random", "score"]


def per_problem(table: pl.DataFrame, *, k: int, by: By, seed: int = 0) -> Selection:
    """Up to `k` rows of each problem. Columns: id, problem_id, characters for a length, the features for the score.

    "first" goes by the order of the rows. The random rule depends on the seed and the problem alone, so it is the same whatever
    other problems are there. Ties go to the lower id.
    """
    order = preferred(table, by=by, seed=seed)
    problems, seen = table["problem_id"].to_list(), dict[str, int]()
    final: list[str | None] = ["not_chosen"] * table.height
    for row in order:
        seen[problems[row]] = seen.get(problems[row], 0) + 1
        if seen[problems[row]] <= k:
            final[row] = None
    final, stages = stages_of([("per problem", final)], table.height)
    return selection(final, {"rule": "per_problem", "k": k, "by": by, "seed": seed}, stages)


def preferred(table: pl.DataFrame, *, by: By, seed: int) -> list[int]:
    """All rows, those of one problem in the order in which `by` prefers them."""
    frame = table.with_columns(pl.int_range(pl.len()).alias("row"))
    if by == "random":
        return [row for _, group in frame.group_by("problem_id", maintain_order=True) for row in _shuffled(group, seed)]
    if by == "first":
        return frame["row"].to_list()
    key = score(WEIGHTS) if by == "score" else pl.col("characters")
    return frame.sort([key, pl.col("id")], descending=[by != "shortest", False])["row"].to_list()


def _shuffled(group: pl.DataFrame, seed: int) -> list[int]:
    """The rows of one problem in an order that its id and the seed decide."""
    rows: list[int] = group.sort("id")["row"].to_list()
    random.Random(content_id(seed, group["problem_id"][0])).shuffle(rows)
    return rows
