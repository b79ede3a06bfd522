"""Benchmark questions in other words: the nearest one by the cosine of vectors (curation.vectors), if the numbers agree.

DeepScaleR drops problems of cosine over 0.90 to a test question (all-MiniLM-L6-v2). A cosine hardly sees numbers: by it every
problem of a template such as "find the greatest common divisor of" is every other. With the same numbers TF-IDF finds, of 15,922
problems of MATH, GSM8K and AIME, 75 at 0.7 and 31 at 0.9 near a question of AIME24, AMC, GSM8K test, MATH-500, Minerva and
OlympiadBench, among them paraphrases that share no phrase with it ("find PM" for "find the length of median QM"); from 0.65 to 0.7
all that were read are other questions. Questions with other numbers are left to coverage.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from curation.benchmarks import Benchmark
from curation.deciding import deciding
from curation.decontaminate import Hit, Rule, together
from curation.normalise import tokens
from curation.vectors import COSINE_DIGITS, one_thread, vectors_of

_BLOCK_ROWS = 4_096


@one_thread()
def neighbours(
    texts: Sequence[str],
    benchmarks: Sequence[Benchmark],
    *,
    threshold: float,
    model: str | None = None,
    revision: str | None = None,
) -> list[Hit | None]:
    """For each row the nearest benchmark question with the same numbers, if their cosine is at least `threshold`; None if clean.

    `model` is an embedding model by name (at `revision`) or folder; without one both sides get hashed TF-IDF with SVD, fitted on
    them together. The hit's rule is "embedding" or "tfidf", its score the cosine, its overlap empty. Ties go to the question that
    comes first; `also` has the nearest of each other benchmark.
    """
    names = [(b.name, number) for b in benchmarks for number in range(len(b.questions))]
    questions = [question for b in benchmarks for question in b.questions]
    found: list[tuple[int, Hit]] = []
    entries, rows = _by_numbers(questions), _by_numbers(texts)
    if not entries.keys() & rows.keys():
        return together(found, len(texts))
    vectors = vectors_of([*questions, *texts], model, revision)
    known, mine = vectors[: len(questions)], vectors[len(questions) :]
    for numbers in entries.keys() & rows.keys():
        some = entries[numbers]
        for start in range(0, len(rows[numbers]), _BLOCK_ROWS):
            block = rows[numbers][start : start + _BLOCK_ROWS]
            likeness = mine[block] @ known[some].T
            at, place = np.nonzero(likeness >= threshold)
            close = zip((-likeness[at, place]).tolist(), at.tolist(), place.tolist(), strict=True)
            for score, one, other in sorted(close):
                name, number = names[some[other]]
                rule: Rule = "embedding" if model else "tfidf"
                found.append(
                    (block[one], Hit(name, number, questions[some[other]], rule, "", min(round(-score, COSINE_DIGITS), 1.0)))
                )
    return together(found, len(texts))


def _by_numbers(texts: Sequence[str]) -> dict[tuple[str, ...], list[int]]:
    """Rows by the numbers in them, "three" and 3 alike, in any order."""
    groups: dict[tuple[str, ...], list[int]] = {}
    for row, text in enumerate(texts):
        groups.setdefault(tuple(sorted(t for t in deciding(tokens(text)) if t[0].isdigit())), []).append(row)
    return groups
