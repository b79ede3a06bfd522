"""s1K: quality, difficulty, then a draw over domains that prefers long traces (arXiv 2501.19393, simplescaling/s1 77272c6).

The paper's Algorithm 1 draws domains uniformly; the notebook that made the set (data/filter.ipynb, cells 7 and 14 to 21) takes the
last 300 from domains weighted by how often AIME and GPQA are in them. The original has no seed, so its rows cannot be drawn
again; the law of the draw can. A domain that runs empty leaves the draw, as there.
"""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import polars as pl

from curation.errors import UserError
from curation.problem_filters import s1_format
from curation.selection import Selection, selection, stages_of

UNIFORM_SHARE = 0.7  # of the rows wanted, until the notebook turns to weighted domains: 700 of 1,000


class Hard(NamedTuple):
    """A row that is left when quality and difficulty have spoken."""

    row: int
    domain: str
    source: str


class Rows(NamedTuple):
    """The columns of the table."""

    id: list[str]
    problem: list[str]
    source: list[str]
    domain: list[str]
    length: list[float]
    correct: list[bool]
    easy: list[bool]


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
    """`size` rows of `table`, fewer where the domains run dry, and all that are taken before the draw where those are more: the
    original draws while it has fewer than `size` and gives none back. Independent of the order of the rows.

    Columns: id, problem, source, domain (a label such as an MSC class, or null), length (of the thinking, any unit), correct and
    easy (whether one of the two small models solves the problem); null in the last four drops a row, as in the original.
    Correct rows of `keep_sources` (AIME and GPQA there) are taken before the draw, those of the sources in `keep_longer` when
    longer than the number beside it (5,600 tokens for MATH there). `benchmark_sources` (AIME, GPQA) weigh the domains at last, in
    the notebook's mode. Each names a source, or all that begin with it and a slash. Raises UserError for a name that no row comes
    from, and for the notebook's mode where none of `benchmark_sources` has a hard row.
    """
    rows = Rows(*(table[name].to_list() for name in Rows._fields))
    named = {"keep_sources": keep_sources, "keep_longer": keep_longer or {}, "benchmark_sources": benchmark_sources}
    _refuse_unknown(rows.source, named)
    known = table.select(pl.all_horizontal(pl.col("domain", "length", "correct", "easy").is_not_null())).to_series().to_list()
    missing = [None if there else "missing_feature" for there in known]
    quality = ["bad_format" if s1_format(p, s) else None for p, s in zip(rows.problem, rows.source, strict=True)]
    easy = ["solved_by_a_small_model" if solved else None for solved in rows.easy]
    reasons, stages = stages_of([("features", missing), ("quality", quality), ("difficulty", easy)], table.height)
    hard = [row for row, reason in enumerate(reasons) if reason is None]
    before = _preselected(rows, hard, keep_sources, keep_longer or {})
    ranked = sorted(hard, key=lambda row: (-rows.length[row], rows.id[row]))
    left = [Hard(row, rows.domain[row], rows.source[row]) for row in ranked]
    weights = _benchmark_weights(left, benchmark_sources) if mode == "notebook" else {}
    if mode == "notebook" and left and not weights:
        raise UserError(
            f"s1k: mode notebook weighs domains by the hard rows of benchmark_sources; {', '.join(benchmark_sources) or 'none'} "
            "has none: wanted benchmark_sources with hard rows, the one with most of them first, or mode: paper"
        )
    drawn = _draw(left, set(before), size, weights, random.Random(seed))
    wanted = {*before, *drawn}
    not_drawn = ["not_drawn" if row not in wanted else None for row in range(table.height)]
    reasons, stages = stages_of(
        [("features", missing), ("quality", quality), ("difficulty", easy), ("draw", not_drawn)], table.height
    )
    state: dict[str, Any] = {
        "rule": "s1k",
        "mode": mode,
        "seed": seed,
        "size": size,
        "funnel": {
            "offered": table.height,
            **{s.name: sum(r is None for r in s.reasons) for s in stages},
            "preselected": len(before),
        },
        "preselected": sorted(rows.id[row] for row in before),
        "drawn": [rows.id[row] for row in drawn],  # in the order of the draw
        "domain_weights": weights,
    }
    return selection(reasons, state, stages, _details(rows, left))


def _details(rows: Rows, hard: Sequence[Hard]) -> list[str]:
    """Of a hard row its rank among those of its domain, by length; of another what is missing, or its domain and length."""
    seen, of_domain = Counter[str](), Counter(h.domain for h in hard)
    names = ("domain", "length", "correct", "easy")
    features = list(zip(rows.domain, rows.length, rows.correct, rows.easy, strict=True))
    missing = [", ".join(name for name, value in zip(names, row, strict=True) if value is None) for row in features]
    details = [f"no {gone}" if gone else f"domain {row[0]}, length {row[1]}" for gone, row in zip(missing, features, strict=True)]
    for h in hard:
        seen[h.domain] += 1
        details[h.row] += f", rank {seen[h.domain]} of {of_domain[h.domain]}"
    return details


def _refuse_unknown(sources: Sequence[str], named: Mapping[str, Iterable[str]]) -> None:
    """A name that no row comes from would take nothing before the draw and weigh nothing, in silence."""
    there = sorted(set(sources))
    for setting, names in named.items():
        for name in names:
            if there and not any(_is_of(source, name) for source in there):
                raise UserError(
                    f"s1k: {setting} names {name!r}, which no row comes from; there are {', '.join(there[:20])}: name those, or "
                    "say in source.columns.source which column holds the source"
                )


def _is_of(source: str, name: str) -> bool:
    """MATH is in s1's pool as qfq/openaimath/Algebra and so on, and the notebook looks for qfq/openaimath inside."""
    return source == name or source.startswith(f"{name}/")


def _preselected(rows: Rows, hard: Sequence[int], keep_sources: Sequence[str], keep_longer: dict[str, float]) -> list[int]:
    def wanted(row: int) -> bool:
        source = rows.source[row]
        least = min((n for name, n in keep_longer.items() if _is_of(source, name)), default=math.inf)
        return bool(rows.correct[row]) and (any(_is_of(source, name) for name in keep_sources) or rows.length[row] > least)

    return [row for row in hard if wanted(row)]


def _benchmark_weights(hard: Sequence[Hard], sources: Sequence[str]) -> dict[str, int]:
    """How many rows of the first source are in each domain, plus those of each other one scaled to half as many in all."""
    counts = [Counter(h.domain for h in hard if _is_of(h.source, source)) for source in sources]
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
