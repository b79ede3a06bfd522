"""Scores of a student from its judged samples: pass@1, pass@k, majority, rates and lengths, with intervals; and two compared.

Everything is over a table of questions by samples. Sources: pass@k is the unbiased estimator of Chen et al. 2021
(arXiv 2107.03374), majority is self-consistency (Wang et al., arXiv 2203.11171).

Two intervals, both 95 percent percentile bootstraps with a seed. `questions` resamples questions, each with all its samples: how
much the score would move with other questions and other samples. Samples are not resampled again inside a question drawn: a
question's mean carries its sampling noise already, and twice would be too wide (Davison and Hinkley 1997, section 3.8).
`samples` keeps the questions and resamples inside each: how much the same suite moves from run to run.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from curation.difficulty import Z_95

Floats = NDArray[np.float64]
RESAMPLES = 10_000  # the ends of an interval then repeat to about 1 percent of its width
_CHUNK = 500  # resamples at a time: 500 x 10,000 questions are 40 MB


class Interval(NamedTuple):
    low: float
    high: float


class Sampled(NamedTuple):
    """One judged sample; `group` is the same for answers of a question that the verifier takes for equal."""

    problem_id: str
    correct: bool
    undetermined: bool
    truncated: bool
    no_answer: bool
    tokens: int | None
    group: int | None  # None: no answer, or a domain in which answers cannot be compared


class Difference(NamedTuple):
    """How much better the first of two models is on the same questions."""

    method: str
    questions: int
    difference: float  # of pass@1
    interval: Interval
    p_value: float  # two-sided


def pass_at_k(samples: int, correct: int, k: int) -> float:
    """Chance that at least one of k samples drawn from these without replacement is correct; unbiased, in [0, 1]."""
    if samples - correct < k:
        return 1.0
    return 1.0 - math.prod(1.0 - k / n for n in range(samples - correct + 1, samples + 1))


def majority(samples: Sequence[Sampled]) -> float:
    """Is the most frequent answer of one question correct? Of answers that are level, one is drawn: hence a share.

    A sample without an answer has no vote, and a question without votes counts 0.
    """
    votes: dict[int, list[bool]] = {}
    for s in samples:
        if s.group is not None:
            votes.setdefault(s.group, []).append(s.correct)
    most = max(map(len, votes.values()), default=0)
    level = [any(group) for group in votes.values() if len(group) == most]
    return sum(level) / len(level) if level else 0.0


def scores(questions: Sequence[Sequence[Sampled]], *, seed: int = 0) -> dict[str, Any]:
    """All scores of a suite as JSON values; `questions` holds the samples of each, the same number everywhere and at least one.

    pass@k for k = 1, 2, 4, ... up to the number of samples. A sample that nobody could decide counts as not correct, and its rate
    is told. `maj@n` is over all n samples, and absent where one sample is taken or the answers cannot be compared.
    """
    count = len(questions[0])
    every = [s for q in questions for s in q]
    right = np.array([[s.correct for s in q] for q in questions], dtype=np.float64)
    ks = [2**p for p in range(count.bit_length()) if 2**p <= count]
    found: dict[str, Any] = {"questions": len(questions), "samples": count}
    for k in ks:
        found[f"pass@{k}"] = scored(np.array([pass_at_k(count, int(c), k) for c in right.sum(axis=1)]), seed)
    if count > 1:
        found["pass@1"]["samples_interval"] = over_samples(right, seed)
        if any(s.group is not None for s in every):
            found[f"maj@{count}"] = scored(np.array([majority(q) for q in questions]), seed)
    for name in ("truncated", "no_answer", "undetermined"):
        found[name] = scored(np.array([[getattr(s, name) for s in q] for q in questions], dtype=np.float64).mean(axis=1), seed)
    found["tokens"] = _lengths(every)
    return found


def scored(by_question: Sequence[float] | Floats, seed: int) -> dict[str, Any]:
    """The mean of a value for each question, with its interval over questions."""
    by_question = np.asarray(by_question, dtype=np.float64)
    return {"value": float(by_question.mean()), "questions_interval": over_questions(by_question, seed)}


def over_questions(by_question: Floats, seed: int, *, resamples: int = RESAMPLES) -> Interval:
    """95 percent interval of a mean over questions.

    Where all questions score 0, or all 1, a bootstrap sees no spread and would claim certainty: there it is Wilson's.
    """
    if by_question.min() == by_question.max() and by_question[0] in (0.0, 1.0):
        edge = Z_95**2 / (len(by_question) + Z_95**2)
        return Interval(0.0, edge) if by_question[0] == 0.0 else Interval(1.0 - edge, 1.0)
    return _percentiles(_resampled_means(by_question, seed, resamples))


def over_samples(right: Floats, seed: int, *, resamples: int = RESAMPLES) -> Interval:
    """95 percent interval of pass@1 on these very questions; `right` is questions x at least two samples, 0 or 1.

    Where no question has both right and wrong samples a bootstrap sees no spread: there it is Wilson's, of the samples of the
    questions that have none right, and of those that have all right.
    """
    draw = np.random.default_rng(seed)
    count, rates = right.shape[1], right.mean(axis=1)
    if np.isin(rates, (0.0, 1.0)).all():
        up, down = (share * Z_95**2 / (share * right.size + Z_95**2) for share in (1.0 - rates.mean(), rates.mean()))
        return Interval(float(rates.mean() - down), float(rates.mean() + up))
    # Drawing n of n answers with replacement, of which c are right, gives a binomial number of right ones. c/n in the place of
    # the true rate makes the variance too small by (n - 1)/n on average: hence the factor.
    means = draw.binomial(count, rates, size=(resamples, len(right))).mean(axis=1) / count
    spread = (means - rates.mean()) * math.sqrt(count / (count - 1))
    return _percentiles(np.clip(rates.mean() + spread, 0.0, 1.0))


def compare(first: Sequence[Sequence[bool]], second: Sequence[Sequence[bool]], *, seed: int = 0) -> Difference:
    """pass@1 of two models on the same questions in the same order; each question holds its samples.

    With one sample each, McNemar's exact test on the questions that only one of them solves; else a paired bootstrap over
    questions, whose p-value is the share of resampled differences, moved to 0, that are as far out as the one seen.
    """
    gaps = np.array([np.mean(a) - np.mean(b) for a, b in zip(first, second, strict=True)])
    seen = float(gaps.mean())
    means = _resampled_means(gaps, seed, RESAMPLES)
    if all(len(q) == 1 for q in (*first, *second)):
        return Difference("mcnemar_exact", len(gaps), seen, _percentiles(means), _mcnemar(gaps))
    beyond = int((np.abs(means - seen) >= abs(seen) - 1e-12).sum())
    return Difference("paired_bootstrap", len(gaps), seen, _percentiles(means), (1 + beyond) / (1 + RESAMPLES))


def _mcnemar(gaps: Floats) -> float:
    won, lost = int((gaps > 0).sum()), int((gaps < 0).sum())
    tail = sum(math.comb(won + lost, i) for i in range(min(won, lost) + 1))
    return min(1.0, float(2 * tail / 2 ** (won + lost)))  # of whole numbers, so exact however many there are


def _resampled_means(values: Floats, seed: int, resamples: int) -> Floats:
    draw = np.random.default_rng(seed)
    sizes = [min(_CHUNK, resamples - done) for done in range(0, resamples, _CHUNK)]
    return np.concatenate([values[draw.integers(len(values), size=(n, len(values)))].mean(axis=1) for n in sizes])


def _percentiles(means: Floats) -> Interval:
    low, high = np.quantile(means, (0.025, 0.975))
    return Interval(float(low), float(high))


def _lengths(every: Sequence[Sampled]) -> dict[str, float] | None:
    tokens = [s.tokens for s in every if s.tokens is not None]
    if not tokens:
        return None
    return {"mean": float(np.mean(tokens)), "median": float(np.median(tokens)), "p95": float(np.quantile(tokens, 0.95))}
