"""OpenThoughts' rule of contamination: the whole text is nearly a benchmark's whole question, by edit distance.

open_thoughts/decontaminate.py and deduplicate.py: rapidfuzz.fuzz.ratio of the texts as they are, 95 or more. It finds a question
typed slightly otherwise, of any length, and nothing that has a sentence before or after it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from curation.benchmarks import Benchmark
from curation.decontaminate import Hit

_BLOCK_ROWS = 2_000  # rows x questions scores of a byte each: 12 MB with 6,000 questions
RATIO = 95.0


def fuzzy_contamination(texts: Sequence[str], benchmarks: Sequence[Benchmark], *, ratio: float = RATIO) -> list[Hit | None]:
    """For each row the benchmark question with the highest ratio, if that is at least `ratio` (0 to 100); None for a clean row.

    The hit's score is the ratio divided by 100 and its overlap the question. Ties go to the question that comes first. Time grows
    with rows x questions; a pair whose lengths alone forbid the ratio costs almost nothing.
    """
    from rapidfuzz import fuzz, process

    names = [(b.name, number) for b in benchmarks for number in range(len(b.questions))]
    questions = [question for b in benchmarks for question in b.questions]
    if not questions:
        return [None] * len(texts)
    hits: list[Hit | None] = []
    for start in range(0, len(texts), _BLOCK_ROWS):
        block = texts[start : start + _BLOCK_ROWS]
        scores = process.cdist(block, questions, scorer=fuzz.ratio, score_cutoff=ratio, dtype=np.float32, workers=-1)
        best = scores.argmax(axis=1)
        for row, entry in enumerate(best.tolist()):
            score = float(scores[row, entry])
            name, number = names[entry]
            hits.append(Hit(name, number, questions[entry], "fuzzy", questions[entry], score / 100) if score >= ratio else None)
    return hits
