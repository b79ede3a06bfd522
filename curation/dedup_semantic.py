"""Repeated questions in other words, by the likeness of vectors; and repeated traces of one problem.

Vectors come from curation.vectors: hashed TF-IDF with SVD, which needs no download, or an embedding model. DeepScaleR drops a
problem of cosine 0.90 or 0.93 to another (all-MiniLM-L6-v2). A candidate is confirmed here by what must not differ: numbers,
symbols and words in capitals, and the golds, both known and equal.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from itertools import combinations

import numpy as np

from curation.deciding import deciding
from curation.dedup import Match
from curation.minhash import similarities
from curation.normalise import normalise_question, tokens
from curation.shingles import BLOCK_CHARACTERS, I64
from curation.vectors import F32

_CAPITALS = re.compile(r"\b[A-Z]{2,}\b")
_BLOCK_ROWS = 2_048  # a block of likenesses with 100,000 rows takes 0.8 GB


def semantic_duplicates(texts: Sequence[str], golds: Sequence[str | None], vectors: F32, threshold: float) -> list[Match | None]:
    """For each row the earliest kept row that it repeats in other words and their cosine; None for rows that stay.

    `vectors` has a row of length 1 for each text. Every pair is looked at, rows x rows: 20,000 rows take seconds, 200,000 minutes.
    A row that goes never makes another go, so chains of ever different rows do not form.
    """
    answers = [normalise_question(g) if g else "" for g in golds]
    symbols: dict[int, Counter[str]] = {}
    found: list[Match | None] = [None] * len(texts)
    for row, earlier, cosine in _close(vectors, threshold):
        if found[row] or found[earlier] or not answers[row] or answers[row] != answers[earlier]:
            continue
        if _symbols(texts, row, symbols) == _symbols(texts, earlier, symbols):
            found[row] = Match(earlier, cosine)
    return found


def _close(vectors: F32, threshold: float) -> list[tuple[int, int, float]]:
    """(row, earlier row, cosine) of all pairs at the threshold, sorted by the rows."""
    pairs: list[tuple[int, int, float]] = []
    for start in range(0, len(vectors), _BLOCK_ROWS):
        block = vectors[start : start + _BLOCK_ROWS]
        likeness = block @ vectors[: start + len(block)].T
        rows, earlier = np.nonzero(likeness >= threshold)
        before = earlier < rows + start
        values = likeness[rows[before], earlier[before]]
        pairs += zip((rows[before] + start).tolist(), earlier[before].tolist(), values.tolist(), strict=True)
    return pairs


def _symbols(texts: Sequence[str], row: int, known: dict[int, Counter[str]]) -> Counter[str]:
    if row not in known:
        signs = (token for token in deciding(tokens(texts[row])) if len(token) == 1 or not token.isalpha())
        known[row] = Counter([*signs, *_CAPITALS.findall(texts[row])])
    return known[row]


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
