"""OpenThoughts' rule of contamination: the whole text is nearly a benchmark's whole question, by edit distance.

open_thoughts/decontaminate.py and deduplicate.py: rapidfuzz.fuzz.ratio of the texts as they are, 95 or more. It finds a question
typed slightly otherwise, of any length, and nothing that has a sentence before or after it.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence

import numpy as np

from curation.benchmarks import Benchmark
from curation.decontaminate import Hit, together

_BLOCK_ROWS = 256  # of nearly one length, since rows go by their length
RATIO = 95.0


def fuzzy_contamination(texts: Sequence[str], benchmarks: Sequence[Benchmark], *, ratio: float = RATIO) -> list[Hit | None]:
    """For each row the benchmark question with the highest ratio, if that is at least `ratio` (0 to 100); None for a clean row.

    The hit's score is the ratio divided by 100 and its overlap the question. Ties go to the question that comes first; `also` has
    the best of each other benchmark. Time grows with the pairs of a row and a question whose lengths allow the ratio.
    """
    names = [(b.name, number) for b in benchmarks for number in range(len(b.questions))]
    questions = [question for b in benchmarks for question in b.questions]
    order = sorted(range(len(questions)), key=lambda entry: len(questions[entry]))
    ranked = [questions[entry] for entry in order]
    lengths = [len(question) for question in ranked]
    # A ratio is at most twice the shorter length over the sum: at 95 the lengths differ by less than a tenth.
    shortest = ratio / (200 - ratio)
    found: list[tuple[int, Hit]] = []
    rows = sorted(range(len(texts)), key=lambda row: len(texts[row]))
    for start in range(0, len(rows), _BLOCK_ROWS):
        block = rows[start : start + _BLOCK_ROWS]
        first = bisect_left(lengths, len(texts[block[0]]) * shortest - 1)
        last = bisect_right(lengths, len(texts[block[-1]]) / shortest + 1)
        for row, place, score in _closest([texts[row] for row in block], ranked[first:last], order[first:last], ratio):
            name, number = names[place]
            found.append((block[row], Hit(name, number, questions[place], "fuzzy", questions[place], score / 100)))
    return together(found, len(texts))


def _closest(block: list[str], ranked: list[str], order: list[int], ratio: float) -> Iterator[tuple[int, int, float]]:
    """(row of the block, question, ratio) of each row's questions from the best on; of several alike the first comes first."""
    from rapidfuzz import fuzz, process

    if not ranked:
        return
    scores = process.cdist(block, ranked, scorer=fuzz.ratio, score_cutoff=ratio, dtype=np.float32, workers=-1)
    for row in np.flatnonzero(scores.max(axis=1) >= ratio).tolist():
        near = [(-float(scores[row, at]), order[at]) for at in np.flatnonzero(scores[row] >= ratio).tolist()]
        for score, place in sorted(near):
            yield row, place, -score
