"""So many rows of each source, domain, difficulty or length: quotas by number, by weight, or as the rows come.

DeepSeek-R1 trained on 600,000 reasoning rows and 200,000 others, dolphin-r1 on 3:3:2; the paper's own table of domains is in arXiv
2501.12948v2. Numeric columns are cut into buckets first.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from itertools import pairwise
from math import inf
from typing import Any

import polars as pl

from curation.errors import UserError
from curation.records import content_id
from curation.selection import Selection, selection, stages_of


def mixture(
    table: pl.DataFrame,
    *,
    by: str,
    size: int | None = None,
    weights: Mapping[str, float] | None = None,
    quotas: Mapping[str, int] | None = None,
    edges: Sequence[float] = (),
    seed: int = 0,
) -> Selection:
    """Rows by groups of column `by`, drawn at random inside each; columns id and `by`.

    `quotas` give rows for a group, at most; else `size` is shared out by `weights` (alike where there are none), and what a small
    group cannot give goes to the others. A group that is not named is dropped. `edges` cut a number: 0.2, 0.8 make the groups
    "<0.2", "0.2-0.8" and ">=0.8". Raises UserError for a name that no row has, for weights that share nothing out, and for edges
    that do not ascend or that are to cut a column of text.
    """
    _refuse_weights(weights or {})
    groups = bucketed(table[by], edges)
    named = dict(quotas or weights or {})
    for name in named:
        if groups and name not in groups:
            has = ", ".join(sorted({g for g in groups if g is not None})[:20])
            raise UserError(f"the mixture names {by} {name!r}, which no row has; there are {has}")
    rows: dict[str, list[int]] = {}
    for row, group in enumerate(groups):
        if group is not None and (not named or group in named):
            rows.setdefault(group, []).append(row)
    sizes = {name: len(found) for name, found in sorted(rows.items())}
    wanted = _limits(sizes, quotas) if quotas else shares(sizes, size, weights or {})
    taken = {row for name, found in rows.items() for row in _drawn(table, found, wanted[name], seed)}
    reasons = [_reason(row, group, taken, named) for row, group in enumerate(groups)]
    final, stages = stages_of([("mixture", reasons)], table.height)
    state: dict[str, Any] = {"rule": "mixture", "by": by, "seed": seed, "offered": sizes, "wanted": wanted, "edges": list(edges)}
    return selection(final, state, stages, [f"group {group}" if group is not None else "" for group in groups])


def bucketed(values: pl.Series, edges: Sequence[float]) -> list[str | None]:
    """Each value's group: itself as text, or the bucket between `edges` that holds it. Raises UserError as `mixture` does."""
    if not edges:
        return [None if v is None else str(v) for v in values]
    if not all(low < high for low, high in pairwise(edges)):
        raise UserError(f"the mixture's edges are {', '.join(f'{e:g}' for e in edges)}: wanted each above the one before it")
    if not values.dtype.is_numeric() and values.null_count() < len(values):
        first = values.drop_nulls()[0]
        raise UserError(
            f"the mixture's edges cut a number, and {values.name} holds others, such as {str(first)[:80]!r}: drop edges"
        )
    names = [f"<{edges[0]:g}", *(f"{a:g}-{b:g}" for a, b in pairwise(edges)), f">={edges[-1]:g}"]
    return [None if v is None else names[bisect_right(edges, v)] for v in values]


def _refuse_weights(weights: Mapping[str, float]) -> None:
    if weights and not (all(0 <= weight < inf for weight in weights.values()) and any(weights.values())):
        said = ", ".join(f"{name}: {weight:g}" for name, weight in weights.items())
        raise UserError(f"the mixture's weights are {said}: wanted numbers from 0 up, and one above 0")


def _limits(sizes: Mapping[str, int], quotas: Mapping[str, int]) -> dict[str, int]:
    return {name: min(have, quotas[name]) for name, have in sizes.items()}


def shares(sizes: Mapping[str, int], size: int | None, weights: Mapping[str, float]) -> dict[str, int]:
    """`size` rows shared out by weight among groups of `sizes` rows; None: as many as the scarcest group allows.

    What a group cannot give goes to the others, by their weights; the remainders of rounding go to the largest fractions.
    """
    weight = {name: weights.get(name, 1.0) if weights else 1.0 for name in sizes}
    if size is None:
        unit = min((sizes[name] / weight[name] for name in sizes if weight[name]), default=0.0)
        return {name: int(unit * weight[name] + 1e-9) for name in sizes}
    given: dict[str, int] = {}
    left, open_ = min(size, sum(sizes[n] for n in sizes if weight[n])), [n for n in sizes if weight[n]]
    while open_:
        total = sum(weight[n] for n in open_)
        full = [n for n in open_ if left * weight[n] / total >= sizes[n]]
        if not full:
            break
        for name in full:
            given[name] = sizes[name]
        left -= sum(sizes[n] for n in full)
        open_ = [n for n in open_ if n not in full]
    total = sum(weight[n] for n in open_)
    exact = {n: left * weight[n] / total for n in open_}
    given |= {n: int(e) for n, e in exact.items()}
    rest = left - sum(int(e) for e in exact.values())
    for name in sorted(exact, key=lambda n: (int(exact[n]) - exact[n], n))[:rest]:
        given[name] += 1
    return {name: given.get(name, 0) for name in sizes}


def _drawn(table: pl.DataFrame, rows: list[int], count: int, seed: int) -> list[int]:
    """`count` of `rows`: each row's place in the draw is a hash of the seed and its id, so that more rows move few others."""
    if count >= len(rows):
        return rows
    ids = table["id"]
    return sorted(rows, key=lambda row: content_id(seed, ids[row]))[:count]


def _reason(row: int, group: str | None, taken: set[int], named: Mapping[str, float]) -> str | None:
    if row in taken:
        return None
    if group is None:
        return "no_group"
    return "group_not_wanted" if named and group not in named else "over_quota"
