"""Benchmark questions in other words: the nearest one by the cosine of vectors (curation.vectors).

DeepScaleR drops problems of cosine over 0.90 to a test question (all-MiniLM-L6-v2). With a model this finds paraphrases that share
no phrase with the question; TF-IDF with SVD knows words alone, and what it finds is named after it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from curation.benchmarks import Benchmark
from curation.decontaminate import Hit
from curation.vectors import vectors_of

_BLOCK_ROWS = 4_096


def neighbours(
    texts: Sequence[str], benchmarks: Sequence[Benchmark], *, threshold: float, model: str | None = None
) -> list[Hit | None]:
    """For each row the nearest benchmark question, if their cosine is at least `threshold`; None for a clean row.

    `model` is an embedding model by name or folder; without one both sides get hashed TF-IDF with SVD, fitted on them together.
    The hit's rule is "embedding" or "tfidf", its score the cosine, its overlap empty. Ties go to the question that comes first.
    """
    names = [(b.name, number) for b in benchmarks for number in range(len(b.questions))]
    questions = [question for b in benchmarks for question in b.questions]
    hits: list[Hit | None] = [None] * len(texts)
    if not texts or not questions:
        return hits
    vectors = vectors_of([*questions, *texts], model)
    known, rows = vectors[: len(questions)], vectors[len(questions) :]
    for start in range(0, len(rows), _BLOCK_ROWS):
        likeness = rows[start : start + _BLOCK_ROWS] @ known.T
        nearest = likeness.argmax(axis=1)
        scores = likeness[np.arange(len(nearest)), nearest]
        for row in np.flatnonzero(scores >= threshold).tolist():
            entry = int(nearest[row])
            score = min(float(scores[row]), 1.0)
            hits[start + row] = Hit(*names[entry], questions[entry], "embedding" if model else "tfidf", "", score)
    return hits
