"""s1K: quality, difficulty, then a draw over domains that prefers long traces (arXiv 2501.19393, simplescaling/s1 77272c6).

The paper's Algorithm 1 draws domains uniformly; the notebook that made the set (data/filter.ipynb, cells 7 and 14 to 21) takes the
last 300 from domains weighted by how often AIME and GPQA are in them. The original has no seed, so its rows cannot be drawn
again; the law of the draw can. A domain that runs empty leaves the draw, as there.
"""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple

import polars as pl

from curation.problem_filters import s1_format
from curation.selection import Selection, selection, stages_of

UNIFORM_SHARE = 0.7  # of the rows wanted, until the notebook turns to weighted domains: 700 of 1,000


class Hard(NamedTuple):
    """A row that is left when quality and difficulty have spoken."""

    row: int
    domain: str
    source: str


def s1k(
    table: pl.DataFrame,
    *,
    size: int,
    mode: Literal["paper", "notebook"],
    seed: int,
    keep_sources: Sequence[str] = (),
    keep_longer: dict[str, float] | None = None,
    benchmark_sources: Sequence[str] = (),
) -> Selection:
    """`size` rows of `table`, fewer where the domains run dry. Independent of the order of the rows.

    Columns: id, problem, source, domain (a label such as an MSC class, or null), length (of the thinking, any unit), correct and
    easy (whether one of the two small models solves the problem); null in the last four drops a row, as in the original.
    Correct rows of `keep_sources` (AIME and GPQA there) are taken before the draw, those of the sources in `keep_longer` when
    longer than the number beside it (5,600 tokens for MATH there). `benchmark_sources` (AIME, GPQA) weigh the domains at last.
    """
    rows = table.to_dicts()
    missing = [None if all(r[k] is not None for k in ("domain", "length", "correct", "easy")) else "missing_feature" for r in rows]
    quality = ["bad_format" if s1_format(r["problem"], r["source"]) else None for r in rows]
    easy = ["solved_by_a_small_model" if r["easy"] else None for r in rows]
    reasons, stages = stages_of([("features", missing), ("quality", quality), ("difficulty", easy)], len(rows))
    hard = [row for row, reason in enumerate(reasons) if reason is None]
    before = _preselected(rows, hard, keep_sources, keep_longer or {})
    ranked = sorted(hard, key=lambda row: (-rows[row]["length"], rows[row]["id"]))
    left = [Hard(row, rows[row]["domain"], rows[row]["source"]) for row in ranked]
    weights = _benchmark_weights(left, benchmark_sources) if mode == "notebook" else {}
    drawn = _draw(left, set(before), size, weights, random.Random(seed))
    wanted = {*before, *drawn}
    not_drawn = ["not_drawn" if row not in wanted else None for row in range(len(rows))]
    reasons, stages = stages_of([("features", missing), ("quality", quality), ("difficulty", easy), ("draw", not_drawn)], len(rows))
    state: dict[str, Any] = {
        "rule": "s1k",
        "mode": mode,
        "seed": seed,
        "size": size,
        "preselected": [rows[row]["id"] for row in sorted(before, key=lambda row: rows[row]["id"])],
        "drawn": [rows[row]["id"] for row in drawn],  # in the order of the draw
        "domain_weights": weights,
    }
    return selection(reasons, state, stages)


def _preselected(
    rows: Sequence[dict[str, Any]], hard: Sequence[int], keep_sources: Sequence[str], keep_longer: dict[str, float]
) -> list[int]:
    def wanted(row: dict[str, Any]) -> bool:
        longer = row["length"] > keep_longer.get(row["source"], math.inf)
        return bool(row["correct"]) and (row["source"] in keep_sources or longer)

    return [row for row in hard if wanted(rows[row])]


def _benchmark_weights(hard: Sequence[Hard], sources: Sequence[str]) -> dict[str, int]:
    """How many rows of the first source are in each domain, plus those of each other one scaled to half as many in all."""
    counts = [Counter(h.domain for h in hard if h.source == source) for source in sources]
    first = counts[0] if counts else Counter[str]()
    weights = Counter(first)
    for other in counts[1:]:
        scale = 0.5 * first.total() / other.total() if other.total() else 0.0
        weights.update({domain: int(count * scale) for domain, count in other.items()})
    return {domain: weight for domain, weight in sorted(weights.items()) if weight}


def _draw(hard: Sequence[Hard], preselected: set[int], size: int, weights: dict[str, int], random_: random.Random) -> list[int]:
    """Rows in the order they were drawn; a preselected row may come up too and does not count twice, as in the original."""
    left: dict[str, list[int]] = {}
    for h in hard:  # longest first
        left.setdefault(h.domain, []).append(h.row)
    left = dict(sorted(left.items()))
    taken, drawn = set(preselected), list[int]()
    while len(taken) < size and left:
        weighted = {d: w for d, w in weights.items() if d in left} if len(taken) >= UNIFORM_SHARE * size else {}
        names = list(weighted or left)
        domain = random_.choices(names, list(weighted.values()) or None)[0]
        row = left[domain].pop(_rank(len(left[domain]), random_.random))
        if not left[domain]:
            del left[domain]
        if row not in taken:
            taken.add(row)
            drawn.append(row)
    return drawn


def _rank(count: int, uniform: Callable[[], float]) -> int:
    """A rank in [0, count) with chance proportional to 2^-rank: 0, the longest, with about a half."""
    whole = 1 - 2.0**-count
    return min(int(-math.log2(1 - uniform() * whole)), count - 1)
