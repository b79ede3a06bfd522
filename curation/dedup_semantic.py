"""Repeated questions in other words, by the likeness of vectors; and repeated traces of one problem.

Vectors come from curation.vectors: hashed TF-IDF with SVD, which needs no download, or an embedding model. DeepScaleR drops a
problem of cosine 0.90 or 0.93 to another (all-MiniLM-L6-v2). A candidate is confirmed here by what must not differ: numbers,
symbols and words in capitals, and the golds, both known and equal.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import combinations

import numpy as np

from curation.deciding import deciding
from curation.dedup import Match
from curation.minhash import similarities
from curation.normalise import normalise_question, tokens
from curation.shingles import BLOCK_CHARACTERS, I64, hash_text
from curation.vectors import COSINE_DIGITS, F32, one_thread

_CAPITALS = re.compile(r"\b[A-Z]{2,}\b")
_BLOCK_ROWS = 1_024
_KEPT_ROWS = 8_192  # a block of likenesses takes 32 MB


@one_thread()
def semantic_duplicates(
    texts: Sequence[str],
    golds: Sequence[str | None],
    vectors: F32,
    threshold: float,
    worth: Sequence[int] | None = None,
) -> list[Match | None]:
    """For each row the first kept row that it repeats in other words and their cosine; None for rows that stay.

    `vectors` has a row of length 1 for each text. Rows are looked at from the highest worth to the lowest, those of one worth in
    order. A row that goes never makes another go, so chains of ever different rows do not form. Only rows that agree in gold,
    numbers, symbols and capitals can be duplicates, and only such rows are compared: exact, and among a million problems groups
    stay small. A row without a gold is no duplicate.
    """
    found: list[Match | None] = [None] * len(texts)
    for rows in _alike(texts, golds):
        ordered = sorted(rows, key=worth.__getitem__, reverse=True) if worth else rows
        for row, kept, cosine in _repeats(vectors, ordered, threshold):
            found[row] = Match(kept, cosine)
    return found


@one_thread()
def first_of_meaning(vectors: F32, rows: Sequence[int], threshold: float) -> list[tuple[int, int, float]]:
    """(row, first kept row that it is like, cosine) of those of `rows`, in the order of preference, that repeat another."""
    return list(_repeats(vectors, rows, threshold))


def _alike(texts: Sequence[str], golds: Sequence[str | None]) -> Iterator[list[int]]:
    """Rows that may be one question, in groups of two and more, each ascending."""
    for same_gold in _groups((row, normalise_question(gold)) for row, gold in enumerate(golds) if gold):
        yield from _groups((row, _symbols(texts[row])) for row in same_gold)


def _groups(keyed: Iterable[tuple[int, str]]) -> list[list[int]]:
    groups: dict[int, list[int]] = {}
    for row, key in keyed:
        if key:
            groups.setdefault(hash_text(key), []).append(row)
    return [rows for rows in groups.values() if len(rows) > 1]


def _symbols(text: str) -> str:
    signs = [token for token in deciding(tokens(text)) if len(token) == 1 or not token.isalpha()]
    return " ".join(["=", *sorted([*signs, *_CAPITALS.findall(text)])])


def _repeats(vectors: F32, rows: Sequence[int], threshold: float) -> Iterator[tuple[int, int, float]]:
    """(row, first kept row, cosine) of those rows of a group that go: blocks against the kept ones, then within the block."""
    kept: list[int] = []
    for start in range(0, len(rows), _BLOCK_ROWS):
        block = list(rows[start : start + _BLOCK_ROWS])
        within = vectors[block] @ vectors[block].T
        before = _earliest(vectors, block, kept, threshold)
        fresh: list[int] = []  # places of the block's own kept rows
        for place, row in enumerate(block):
            earlier = before[place]
            if earlier is None and (close := np.flatnonzero(within[place, fresh] >= threshold)).size:
                earlier = block[fresh[close[0]]]
            if earlier is None:
                fresh.append(place)
            else:
                yield row, earlier, round(float(vectors[row] @ vectors[earlier]), COSINE_DIGITS)
        kept += [block[place] for place in fresh]


def _earliest(vectors: F32, block: Sequence[int], kept: Sequence[int], threshold: float) -> list[int | None]:
    found: list[int | None] = [None] * len(block)
    open_ = np.arange(len(block))
    for start in range(0, len(kept), _KEPT_ROWS):
        some = kept[start : start + _KEPT_ROWS]
        close = vectors[[block[place] for place in open_.tolist()]] @ vectors[some].T >= threshold
        hit = close.any(axis=1)
        for place, first in zip(open_[hit].tolist(), close[hit].argmax(axis=1).tolist(), strict=True):
            found[place] = some[first]
        open_ = open_[~hit]
    return found


def repeated_traces(texts: Sequence[str], problems: Sequence[str], threshold: float) -> list[Match | None]:
    """For each trace the first kept trace of the same problem that it repeats, and their similarity; None for those that stay.

    Similarity is the Jaccard similarity of the sets of 5-word runs. `texts` in the order of preference.
    """
    groups: dict[str, list[int]] = {}
    for row, problem in enumerate(problems):
        groups.setdefault(problem, []).append(row)
    pairs = np.array([pair for rows in groups.values() for pair in combinations(rows, 2)], np.int64).reshape(-1, 2)
    measured = similarities(texts, pairs, 5, BLOCK_CHARACTERS)
    found: list[Match | None] = [None] * len(texts)
    for (earlier, row), similarity in _ordered(pairs, measured, threshold):
        if not found[earlier] and not found[row]:
            found[row] = Match(earlier, similarity)
    return found


def _ordered(pairs: I64, measured: np.ndarray, threshold: float) -> list[tuple[tuple[int, int], float]]:
    close = measured >= threshold
    named = zip(map(tuple, pairs[close].tolist()), measured[close].tolist(), strict=True)
    return sorted(named, key=lambda item: (item[0][1], item[0][0]))
