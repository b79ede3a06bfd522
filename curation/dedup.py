"""Repeated questions: word for word, and nearly so, with number twins kept.

MinHash with LSH, then connected components with the first row kept, as datatrove and text-dedup do. Two things are
ours. A candidate pair is confirmed by its true Jaccard similarity, not by the estimate. And a second look asks what differs:
only rows that agree in all tokens that decide an answer (curation.deciding), and in their golds, are one question. That
agreement is an equivalence, so it joins the LSH key, and the thousand twins of one template never become candidates.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain, islice
from typing import NamedTuple

import numpy as np

from curation.deciding import same_question
from curation.minhash import Keys, keys, plan, similarities
from curation.normalise import normalise_question
from curation.processes import in_order
from curation.shingles import BLOCK_CHARACTERS, I64, U64, mix

_PAIRS_AT_ONCE = 500  # 0.5 s of second looks
_WINDOW = 32  # in a larger LSH bucket a row is compared with so many before it, and with the bucket's first


class Match(NamedTuple):
    earlier: int  # the row kept in this row's place
    similarity: float  # Jaccard similarity of the two rows' shingle sets, in [0, 1]


def exact_duplicates(texts: Sequence[str]) -> list[int | None]:
    """For each row the index of the first row with the same normalised text, None for the first of its kind.

    Texts without any token (only punctuation) are compared as they are.
    """
    first: dict[str, int] = {}
    found: list[int | None] = []
    for row, text in enumerate(texts):
        earliest = first.setdefault(normalise_question(text) or f"\0{text}", row)
        found.append(None if earliest == row else earliest)
    return found


def near_duplicates(
    texts: Sequence[str],
    golds: Sequence[str | None] | None = None,
    *,
    threshold: float = 0.8,
    num_perm: int = 64,
    shingle: int = 2,
    seed: int = 0,
    block_characters: int = BLOCK_CHARACTERS,
    workers: int = 1,
) -> list[Match | None]:
    """For each row the first row of its group of near duplicates and their similarity, None for rows that stay.

    Rows are linked when the Jaccard similarity of their sets of `shingle`-word runs is at least `threshold`, the tokens
    that decide the answer agree and no two golds differ; None agrees with any gold. A group is a connected component, so
    `similarity` lies under the threshold for a row linked through another. The result does not depend on
    `block_characters`, which bounds what is held beside the texts and about 200 bytes a row, nor on `workers`, the processes.
    """
    how = plan(threshold, num_perm, shingle, seed)
    answers = _gold_numbers(golds, len(texts))
    found = keys(texts, how, block_characters, workers)
    pairs = _candidates(found, answers)
    measured = similarities(texts, pairs, shingle, block_characters)
    close = measured >= threshold
    linked = _linked(texts, pairs[close], found, answers, workers)
    first = _components(linked, answers)
    removed = np.flatnonzero(first != np.arange(len(texts)))
    known = dict(zip(map(tuple, pairs.tolist()), measured.tolist(), strict=True))
    kept = list(zip(first[removed].tolist(), removed.tolist(), strict=True))
    chained = np.array([pair for pair in kept if pair not in known], np.int64).reshape(-1, 2)
    distant = similarities(texts, chained, shingle, block_characters)
    known.update(zip(map(tuple, chained.tolist()), distant.tolist(), strict=True))
    matches: list[Match | None] = [None] * len(texts)
    for earlier, row in kept:
        matches[row] = Match(earlier, known[earlier, row])
    return matches


class _Pair(NamedTuple):
    one: str
    other: str
    golds_agree: bool


def _linked(texts: Sequence[str], close: I64, found: Keys, answers: I64, workers: int) -> list[tuple[int, int]]:
    """The pairs that ask the same question: those equal token for token, and those that the second look confirms."""
    pairs: list[tuple[int, int]] = [(one, other) for one, other in close.tolist()]
    unequal = [pair for pair in pairs if found.identity[pair[0]] != found.identity[pair[1]]]
    looked = (_Pair(texts[a], texts[b], bool(answers[a] and answers[a] == answers[b])) for a, b in unequal)
    chunks = iter(lambda: list(islice(looked, _PAIRS_AT_ONCE)), [])
    answered = chain.from_iterable(in_order(_same, chunks, workers))
    different = {pair for pair, same in zip(unequal, answered, strict=True) if not same}
    return [pair for pair in pairs if pair not in different]


def _same(pairs: list[_Pair]) -> list[bool]:
    return [same_question(pair.one, pair.other, golds_agree=pair.golds_agree) for pair in pairs]


def _gold_numbers(golds: Sequence[str | None] | None, rows: int) -> I64:
    """Golds as numbers, equal where the golds are after normalisation; 0 for None."""
    if golds is None:
        return np.zeros(rows, np.int64)
    seen: dict[str, int] = {}
    return np.array([0 if g is None else seen.setdefault(normalise_question(g) or g, len(seen) + 1) for g in golds], np.int64)


def _candidates(found: Keys, answers: I64) -> I64:
    """Pairs of rows worth measuring, k x 2, sorted, the earlier row first.

    Rows equal token for token with one gold need no LSH: each is paired with the first of them, which alone goes on.
    """
    rows = np.flatnonzero(found.bands[:, 0])
    same = mix(found.identity[rows] + mix(answers[rows].astype(np.uint64)))
    _, position, group = np.unique(same, return_index=True, return_inverse=True)
    codes = _codes(rows[position][group], rows, len(answers))
    chosen = rows[np.sort(position)]
    for band in range(found.bands.shape[1]):
        one, other = _bucket_pairs(found.bands[chosen, band])
        codes = np.union1d(codes, _codes(chosen[one], chosen[other], len(answers)))
    return np.stack(np.divmod(codes, max(len(answers), 1)), axis=1)


def _codes(one: I64, other: I64, rows: int) -> I64:
    codes: I64 = (one * rows + other)[one != other]
    return codes


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


def _components(pairs: list[tuple[int, int]], answers: I64) -> I64:
    """For each row the first row of its component; a link that would join two different golds is not made."""
    parent = list(range(len(answers)))
    gold = answers.tolist()

    def root(row: int) -> int:
        while parent[row] != row:
            parent[row] = parent[parent[row]]
            row = parent[row]
        return row

    for one, other in pairs:
        first, second = sorted((root(one), root(other)))
        if gold[first] == gold[second] or 0 in (gold[first], gold[second]):
            parent[second] = first
            gold[first] = gold[first] or gold[second]
    return np.array([root(row) for row in range(len(parent))], np.int64)
