"""Repeated questions: word for word, and nearly so, with number twins kept.

MinHash with LSH, then connected components with one row kept, as datatrove and text-dedup do. Which one is for the caller to
say: the first, or the first of the highest worth. Two things are ours. A candidate pair is confirmed by its true Jaccard
similarity, not by the estimate. And a second look asks what differs: only rows that agree in all tokens that decide an answer
(curation.deciding), and in their golds, are one question. That agreement is an equivalence, so it joins the LSH key, and the
thousand twins of one template never become candidates.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from curation.deciding import same_question
from curation.minhash import Plan, Rows, bands, jaccards, plan, read_rows
from curation.normalise import normalise_question
from curation.processes import Mapped, processes
from curation.shingles import BLOCK_CHARACTERS, I64, U64, mix

Bools = npt.NDArray[np.bool_]
F64 = npt.NDArray[np.float64]
_PAIRS_AT_ONCE = 250  # 20 ms of second looks
_CODES_AT_ONCE = 4_000_000  # of candidate pairs, found in several bands, before those found again are thrown out: 32 MB
_WINDOW = 32  # in a larger LSH bucket a row is compared with so many before it, and with the bucket's first


class Match(NamedTuple):
    kept: int  # the row kept in this row's place
    similarity: float  # Jaccard similarity of the two rows' shingle sets, in [0, 1]


def exact_duplicates(
    texts: Sequence[str],
    golds: Sequence[str | None] | None = None,
    *,
    worth: Sequence[int] | None = None,
    found: Rows | None = None,
) -> list[int | None]:
    """For each row the index of the row that is kept of its normalised text and gold, None for rows that stay.

    The row of the highest worth is kept, of several the first.

    None agrees with any gold: such a row goes with the first gold that its text has. Texts without any token (only punctuation) are
    compared as they are. With `found`, the texts as numbers (read_rows), only those are normalised that have all their letters in
    common with another: the result is the same.
    """
    same: dict[str, list[int]] = {}
    for row in range(len(texts)) if found is None else _shared(found.letters).tolist():
        same.setdefault(normalise_question(texts[row]) or f"\0{texts[row]}", []).append(row)
    matches: list[int | None] = [None] * len(texts)
    for rows in same.values():
        for group in _of_one_gold(rows, golds) if golds and len(rows) > 1 else [rows]:
            kept = max(group, key=worth.__getitem__) if worth else group[0]
            for row in group:
                matches[row] = kept if row != kept else None
    return matches


def _of_one_gold(rows: list[int], golds: Sequence[str | None]) -> Iterable[list[int]]:
    """Rows of one text by their golds; those without are of the first that there is."""
    known = [None if (gold := golds[row]) is None else _gold(gold) for row in rows]
    first = next((gold for gold in known if gold is not None), "")
    groups: dict[str, list[int]] = {}
    for row, gold in zip(rows, known, strict=True):
        groups.setdefault(first if gold is None else gold, []).append(row)
    return groups.values()


def _gold(gold: str) -> str:
    return normalise_question(gold) or gold


def _shared(values: U64) -> I64:
    """Indices of the values that occur more than once, ascending."""
    _, group, size = np.unique(values, return_inverse=True, return_counts=True)
    return np.flatnonzero(size[group] > 1)


def near_duplicates(
    texts: Sequence[str],
    golds: Sequence[str | None] | None = None,
    *,
    worth: Sequence[int] | None = None,
    threshold: float = 0.8,
    num_perm: int = 64,
    shingle: int = 2,
    seed: int = 0,
    block_characters: int = BLOCK_CHARACTERS,
    workers: int = 1,
    found: Rows | None = None,
) -> list[Match | None]:
    """For each row the row that is kept of its group of near duplicates and their similarity, None for rows that stay.

    Rows are linked when the Jaccard similarity of their sets of `shingle`-word runs is at least `threshold`, the tokens
    that decide the answer agree and no two golds differ; None agrees with any gold. A group is a connected component, so
    `similarity` lies under the threshold for a row linked through another; its row of the highest worth is kept, of several the
    first. The result does not depend on `block_characters`, which bounds what is held beside the texts and about 250 bytes a row,
    nor on `workers`, the processes, nor on `found`, the texts as numbers where read_rows has read them already.
    """
    how = plan(threshold, num_perm, shingle, seed)
    answers = _gold_numbers(golds, len(texts))
    with processes(workers) as mapped:
        if found is None:
            found = read_rows(texts, block_characters, mapped)
        equal, single = _equal(found, answers)
        candidates = _candidates(found, single, how, workers)
        measured = jaccards(found, candidates, shingle, workers)
        close = candidates[measured >= threshold]
        first = _components(equal, close, answers, lambda unsure: _same_questions(texts, unsure, answers, mapped))
    stays = first if worth is None else _worthiest(first, np.array(worth, np.int64))
    removed = np.flatnonzero(stays != np.arange(len(texts)))
    pairs = np.stack([stays[removed], removed], axis=1)
    similar, unknown = _looked_up(np.sort(pairs, axis=1), candidates, measured, len(texts))
    similar[unknown] = jaccards(found, pairs[unknown], shingle, workers)
    matches: list[Match | None] = [None] * len(texts)
    for (kept, row), similarity in zip(pairs.tolist(), similar.tolist(), strict=True):
        matches[row] = Match(kept, similarity)
    return matches


def _looked_up(pairs: I64, known: I64, values: F64, rows: int) -> tuple[F64, Bools]:
    """Of each pair the value that it has among the `known`, which are sorted; and for which there is none."""
    codes, wanted = (both[:, 0] * rows + both[:, 1] for both in (known, pairs))
    at = np.searchsorted(codes, wanted)
    there = at < len(codes)
    there[there] = codes[at[there]] == wanted[there]
    found = np.zeros(len(pairs))
    found[there] = values[at[there]]
    return found, ~there


def _worthiest(first: I64, worth: I64) -> I64:
    """For each row the row of the highest worth in its component, which `first` names by its first row."""
    again = np.flatnonzero(first != np.arange(len(first)))
    rows = np.union1d(again, first[again])
    order = rows[np.lexsort((-worth[rows], first[rows]))]
    named, at = np.unique(first[order], return_index=True)
    best = first.copy()
    best[rows] = order[at][np.searchsorted(named, first[rows])]
    return best


class _Pairs(NamedTuple):
    """Texts side by side: lists, which are sent to another process in a fraction of the time of a tuple for each pair."""

    ones: list[str]
    others: list[str]
    golds_agree: list[bool]


def _same_questions(texts: Sequence[str], pairs: I64, answers: I64, mapped: Mapped) -> Bools:
    """For each pair whether the second look finds one question."""
    golds = answers[pairs]
    agree = (golds[:, 0] == golds[:, 1]) & (golds[:, 0] != 0)

    def some(first: int) -> _Pairs:
        part = slice(first, first + _PAIRS_AT_ONCE)
        ones, others = ([texts[row] for row in side] for side in pairs[part].T.tolist())
        return _Pairs(ones, others, agree[part].tolist())

    looked = map(some, range(0, len(pairs), _PAIRS_AT_ONCE))
    return np.fromiter(chain.from_iterable(mapped(_same, looked)), np.bool_, len(pairs))


def _same(pairs: _Pairs) -> list[bool]:
    return [same_question(one, other, golds_agree=agree) for one, other, agree in zip(*pairs, strict=True)]


def _gold_numbers(golds: Sequence[str | None] | None, rows: int) -> I64:
    """Golds as numbers, equal where the golds are after normalisation; 0 for None."""
    if golds is None:
        return np.zeros(rows, np.int64)
    seen: dict[str, int] = {}
    return np.array([0 if g is None else seen.setdefault(_gold(g), len(seen) + 1) for g in golds], np.int64)


def _equal(found: Rows, answers: I64) -> tuple[I64, I64]:
    """(first, row) of each row equal token for token and in its gold to an earlier one, k x 2; and the rows equal to none.

    Rows without words are in neither.
    """
    rows = np.flatnonzero(np.diff(found.starts))
    same = mix(found.identity[rows] + mix(answers[rows].astype(np.uint64)))
    _, position, group = np.unique(same, return_index=True, return_inverse=True)
    first = rows[position][group]
    again = first != rows
    return np.stack([first[again], rows[again]], axis=1), rows[~again]


def _candidates(found: Rows, rows: I64, how: Plan, workers: int) -> I64:
    """Pairs of `rows` worth measuring, k x 2, sorted, the earlier row first.

    Only rows that share their deciding tokens with another need a signature: in a set of number problems, few.
    """
    rows = rows[_shared(found.deciding[rows])]
    together = mix(found.deciding[rows])
    keys = bands(found, rows, how, workers)
    codes, more = np.zeros(0, np.int64), [np.zeros(0, np.int64)]
    with ThreadPoolExecutor(workers) as pool:  # sorting needs no Python
        for first in range(0, how.bands, workers):
            pairs_of = pool.map(lambda band: _bucket_pairs(mix(band + together)), keys.T[first : first + workers])
            more += [(one * len(rows) + other)[one != other] for one, other in pairs_of]
            if sum(map(len, more)) > _CODES_AT_ONCE:
                codes, more = np.unique(np.concatenate([codes, *more])), []
    codes = np.unique(np.concatenate([codes, *more]))
    pairs: I64 = rows[np.stack(np.divmod(codes, max(len(rows), 1)), axis=1)]
    return pairs


def _bucket_pairs(band: U64) -> tuple[I64, I64]:
    """Positions of rows that share a bucket: each with up to _WINDOW before it and with the first."""
    order = np.argsort(band, kind="stable")
    ranked = band[order]
    fresh = np.ones(len(ranked), bool)
    fresh[1:] = ranked[1:] != ranked[:-1]
    leader = np.maximum.accumulate(np.where(fresh, np.arange(len(ranked)), 0))
    ones, others = [order[leader]], [order]
    for distance in range(1, min(_WINDOW, len(ranked) - 1) + 1):
        same = np.flatnonzero(ranked[distance:] == ranked[:-distance])
        if not len(same):
            break
        ones.append(order[same])
        others.append(order[same + distance])
    return np.concatenate(ones), np.concatenate(others)


def _components(equal: I64, close: I64, answers: I64, confirm: Callable[[I64], Bools]) -> I64:
    """For each row the first row of its component; a link that would join two different golds is not made.

    Of the close pairs, that of each row and the first it is close to is looked at before the others: of k copies, k - 1 pairs
    are confirmed and the rest need no look.
    """
    parent = list(range(len(answers)))
    gold = answers.tolist()

    def root(row: int) -> int:
        while parent[row] != row:
            parent[row] = parent[parent[row]]
            row = parent[row]
        return row

    def link(pairs: I64) -> None:
        for one, other in pairs.tolist():
            first, second = sorted((root(one), root(other)))
            if gold[first] == gold[second] or 0 in (gold[first], gold[second]):
                parent[second] = first
                gold[first] = gold[first] or gold[second]

    link(equal)
    nearest = np.zeros(len(close), np.bool_)
    nearest[np.unique(close[:, 1], return_index=True)[1]] = True
    for pairs in (close[nearest], close[~nearest]):
        apart = pairs[np.array([root(one) != root(other) for one, other in pairs.tolist()], np.bool_)]
        link(apart[confirm(apart)])
    roots = np.array(parent, np.int64)
    while not np.array_equal(roots, further := roots[roots]):
        roots = further
    return roots
