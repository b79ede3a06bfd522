"""Scores against numbers worked out by hand or by enumeration."""

from __future__ import annotations

import itertools
import random

import numpy as np
import pytest

from training.scores import Sampled, compare, majority, over_questions, over_samples, pass_at_k, scores
from training.votes import groups


def sampled(correct: bool, group: int | None = None, tokens: int | None = 10, **fields: bool) -> Sampled:
    return Sampled("p", correct, fields.get("undetermined", False), fields.get("truncated", False), group is None, tokens, group)


@pytest.mark.parametrize(("n", "c"), [(1, 0), (1, 1), (5, 0), (5, 2), (5, 5), (6, 1)])
def test_pass_at_k_is_the_mean_over_all_choices_of_k(n: int, c: int) -> None:
    for k in range(1, n + 1):
        draws = list(itertools.combinations([True] * c + [False] * (n - c), k))
        assert pass_at_k(n, c, k) == pytest.approx(sum(map(any, draws)) / len(draws))


def test_pass_at_k_is_stable_for_many_samples() -> None:
    assert pass_at_k(100_000, 1, 1) == pytest.approx(1e-5)


def test_majority_counts_votes_and_shares_ties() -> None:
    assert majority([sampled(True, 0), sampled(True, 0), sampled(False, 1)]) == 1.0
    assert majority([sampled(True, 0), sampled(False, 1)]) == 0.5
    assert majority([sampled(True, 0), sampled(False, 1), sampled(False, 1), sampled(False)]) == 0.0
    assert majority([sampled(False), sampled(False)]) == 0.0


def test_scores_of_a_small_suite() -> None:
    questions = [
        [sampled(True, 0, 10), sampled(True, 0, 20), sampled(False, 1, 30), sampled(False, None, 40, truncated=True)],
        [sampled(False, 1, None), sampled(False, 2, None), sampled(False, 2, None), sampled(False, 3, None, undetermined=True)],
    ]
    found = scores(questions)
    assert (found["questions"], found["samples"]) == (2, 4)
    assert found["pass@1"]["value"] == 0.25
    assert found["pass@2"]["value"] == pytest.approx((1 - 1 / 6) / 2)
    assert found["pass@4"]["value"] == 0.5
    assert found["maj@4"]["value"] == 0.5
    assert (found["truncated"]["value"], found["no_answer"]["value"], found["undetermined"]["value"]) == (0.125,) * 3
    assert found["tokens"]["median"] == 25
    assert found == scores(questions)  # seeded
    low, high = found["pass@1"]["samples_interval"]
    assert 0 <= low < 0.25 < high < 0.6  # the second question never moves


def test_one_sample_has_no_majority_and_no_interval_over_samples() -> None:
    found = scores([[sampled(True, 0)], [sampled(False, 1)]])
    assert "maj@1" not in found and "samples_interval" not in found["pass@1"]


def test_intervals_hold_what_they_promise() -> None:
    """Coverage by simulation: 60 questions of varying difficulty, 4 samples each; 300 suites."""
    draw = np.random.default_rng(1)
    hits_questions = hits_samples = 0
    for _ in range(300):
        difficulty = draw.beta(1, 1, size=60)
        right = (draw.random((60, 4)) < difficulty[:, None]).astype(float)
        low, high = over_questions(right.mean(axis=1), 0, resamples=1000)
        hits_questions += low <= 0.5 <= high
        low, high = over_samples(right, 0, resamples=1000)
        hits_samples += low <= difficulty.mean() <= high
    assert 0.91 <= hits_questions / 300 <= 0.98
    assert 0.91 <= hits_samples / 300 <= 0.98


def test_nothing_is_certain_after_a_clean_sweep() -> None:
    assert over_questions(np.ones(30), 0).low == pytest.approx(0.886, abs=0.002)  # Wilson
    low, high = over_samples(np.zeros((10, 3)), 0)
    assert low == 0.0 and high == pytest.approx(0.114, abs=0.002)
    low, high = over_samples(np.repeat([[0.0], [1.0]], 15, axis=1).repeat(2, axis=0), 0)  # of 30 samples each
    assert (low, high) == (pytest.approx(0.5 - 0.114 / 2, abs=0.001), pytest.approx(0.5 + 0.114 / 2, abs=0.001))
    assert over_questions(np.zeros(30), 0).high == pytest.approx(0.114, abs=0.002)


def test_mcnemar_on_single_samples() -> None:
    first = [[True]] * 9 + [[False]] * 1 + [[True]] * 20
    second = [[False]] * 9 + [[True]] * 1 + [[True]] * 20
    found = compare(first, second)
    assert (found.method, found.questions) == ("mcnemar_exact", 30)
    assert found.difference == pytest.approx(8 / 30)
    assert found.p_value == pytest.approx(22 / 1024)  # 2 * (C(10,0) + C(10,1)) / 2^10
    assert compare(first, first).p_value == 1.0


def test_paired_bootstrap_tells_a_rise_from_noise() -> None:
    draw = random.Random(3)
    weak = [[draw.random() < 0.4 for _ in range(4)] for _ in range(200)]
    same = [[draw.random() < 0.4 for _ in range(4)] for _ in range(200)]
    strong = [[draw.random() < 0.6 for _ in range(4)] for _ in range(200)]
    rise, noise = compare(strong, weak), compare(same, weak)
    assert rise.method == "paired_bootstrap" and rise.interval.low > 0 and rise.p_value < 0.001
    assert noise.interval.low < 0 < noise.interval.high and noise.p_value > 0.05


def test_equal_answers_share_a_group_however_they_are_written() -> None:
    found = groups(["1/2", "0.5", "3", "3.0", None, "4"], [True, True, False, False, False, False], "math")
    assert found[0] == found[1] == 0 and found[2] == found[3] and found[4] is None
    assert len({found[0], found[2], found[5]}) == 3
    assert groups(["1+2", "2+1"], [True, True], "countdown") == [None, None]
