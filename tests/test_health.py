"""When a training by reinforcement is stopped, and on what grounds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from training.grpo_lines import _stopped, needed
from training.grpo_settings import GrpoSettings
from training.health import SIGNS, illness
from training.settings import load

WELL = {
    "silent_groups": 0.3,
    "truncated": 0.1,
    "reward_std": 0.4,
    "entropy": 1.0,
    "kl": 0.01,
    "mean_tokens": 300.0,
    "mismatch": 0.02,
}


def settings(*assignments: str) -> GrpoSettings:
    return load(GrpoSettings, ("health_window=3", *assignments))


def lines(name: str, *values: float | None) -> list[dict[str, Any]]:
    return [{**WELL, name: value} for value in values]


@pytest.mark.parametrize(
    ("limit", "name", "sick"),
    [
        ("max_silent_groups=0.9", "silent_groups", 0.95),
        ("max_truncated=0.5", "truncated", 0.6),
        ("min_reward_std=0.05", "reward_std", 0.01),
        ("min_entropy=0.1", "entropy", 0.05),
        ("max_entropy=4", "entropy", 5.0),
        ("max_kl=1", "kl", 2.0),
        ("min_mean_tokens=20", "mean_tokens", 3.0),
        ("max_mismatch=0.1", "mismatch", 0.3),
    ],
)
def test_each_limit_stops_with_its_sentence(limit: str, name: str, sick: float) -> None:
    found = illness(lines(name, sick, sick, sick), settings(limit))
    assert found is not None and found.startswith(f"{name} is {sick:.3g} over the last 3 rollouts, {limit.split('=')[0]} is ")
    assert illness(lines(name, WELL[name], WELL[name], WELL[name]), settings(limit)) is None


def test_every_sign_has_a_setting_and_a_remedy() -> None:
    assert {sign.limit for sign in SIGNS} == {k for k in GrpoSettings.model_fields if k.startswith(("min_", "max_"))} - {
        *("min_pass_rate", "max_pass_rate", "max_refills", "max_grad_norm", "max_prompt_tokens", "max_completion_tokens")
    }
    assert all(": " in sign.means for sign in SIGNS)


DEAD = {
    "reward_std": 1e-9,  # of a tiny student that had come to write to the limit, whatever it was asked
    "entropy": 1e-4,
    "kl": 50.0,
    "mean_tokens": 1.0,  # nothing but the end of the turn
    "silent_groups": 1.0,
    "truncated": 1.0,
    "mismatch": 1.0,
}
# The lowest of 30 trainings of tiny students, each of which had learned.
LEAN = {"reward_std": 0.157, "entropy": 0.0798, "mean_tokens": 29.7, "kl": 1.5, "silent_groups": 0.99}


@pytest.mark.parametrize("name", DEAD)
def test_a_dead_training_stops_without_a_setting_and_a_lean_one_goes_on(name: str) -> None:
    found = illness(lines(name, *[DEAD[name]] * 3), settings())
    assert found is not None and found.startswith(f"{name} is {DEAD[name]:.3g} over")
    assert illness([{**WELL, **LEAN}] * 3, settings()) is None


def test_noise_over_a_large_vocabulary_stops_and_over_a_tiny_one_does_not() -> None:
    assert "the policy writes noise" in str(illness(lines("entropy", 11.9, 11.9, 11.9), settings()))
    assert illness(lines("entropy", 6.3, 6.3, 6.3), settings()) is None  # a student of 600 words, from random weights


def test_one_bad_batch_a_young_training_and_a_limit_of_null_stop_nothing() -> None:
    limited = settings("max_kl=1")
    assert illness(lines("kl", 0.1, 5000.0, 0.1), limited) is None
    assert illness(lines("kl", 5.0, 5.0), limited) is None
    assert illness(lines("kl", 5.0, 5.0, 5.0), settings("max_kl=null")) is None
    assert illness(lines("kl", 5.0, 5.0, 5.0, 0.1, 0.1), limited) is None


def test_steps_without_a_rollout_and_values_that_are_no_numbers_are_passed_over() -> None:
    found = lines("truncated", 0.99, None, 0.99, float("nan"), None, 0.99)
    assert illness(found, settings()) is not None
    assert illness(found[:-1], settings()) is None


def test_a_share_of_one_is_crossed_by_reaching_it() -> None:
    assert "nothing is learned" in str(illness(lines("silent_groups", 1.0, 1.0, 1.0), settings()))
    assert illness(lines("silent_groups", 1.0, 0.99, 0.99), settings()) is None


def test_four_checkpoints_are_enough_to_go_back_to_before_an_illness() -> None:
    """Whenever the training stops, one is there from at least a window and at most two before."""
    kept: set[int] = set()
    for step in range(1, 200):
        kept = needed({*kept, step}, 20)
        assert {step, max(1, step - 1)} <= kept and len(kept) <= 4
        if step > 21:
            assert any(step - 40 <= k <= step - 20 for k in kept), (step, kept)
    assert needed([10, 20, 30, 40], 0) == {30, 40}


def test_only_a_checkpoint_from_before_the_illness_is_one_to_go_on_from(tmp_path: Path) -> None:
    seen = [{**WELL, "step": 6}]
    for step in (4, 5):
        (tmp_path / f"checkpoint-{step}").mkdir()
    none = _stopped("it is ill", seen, settings(), tmp_path)
    assert none.endswith("; there is no checkpoint from before it: begin anew with the same student and changed settings")
    (tmp_path / "checkpoint-3").mkdir()
    some = _stopped("it is ill", seen, settings(), tmp_path)
    assert some.endswith("/checkpoint-3 is from before it: go on from there with --student and changed settings")
