"""Is a training by reinforcement still one that teaches? Read from its metrics, rollout by rollout, against the settings' limits.

The median of the last `health_window` rollouts is held against each limit: one bad batch stops nothing, and the k3 estimate of the
KL, which has spikes of thousands, moves it little.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import median
from typing import NamedTuple

from training.grpo_settings import GrpoSettings


class Sign(NamedTuple):
    """One thing that is watched."""

    metric: str  # in a line of metrics.jsonl
    limit: str  # in the settings
    at_most: bool  # the metric must stay at or below the limit, else at or above it
    means: str  # what it says of the training, and what helps


SIGNS = (
    Sign(
        "silent_groups",
        "max_silent_groups",
        True,
        "samples of a prompt earn the same (with dynamic_sampling, are judged the same), so nothing is learned: choose prompts of "
        "middling pass rate or more samples_per_prompt",
    ),
    Sign("truncated", "max_truncated", True, "answers are cut before their end: raise max_completion_tokens or punish length"),
    Sign("reward_std", "min_reward_std", False, "rewards hardly differ: choose other prompts or rewards"),
    Sign("entropy", "min_entropy", False, "the policy has collapsed: raise epsilon_high, temperature or entropy_coef"),
    Sign("entropy", "max_entropy", True, "the policy writes noise: lower learning_rate or entropy_coef"),
    Sign("kl", "max_kl", True, "the policy has run away from the reference: lower learning_rate or raise beta"),
    Sign("mean_tokens", "min_mean_tokens", False, "answers have shrunk: look at what the rewards pay for"),
    Sign("mismatch", "max_mismatch", True, "vLLM and the student do not agree on probabilities: weights or precision differ"),
)


def illness(lines: Sequence[Mapping[str, float | None]], settings: GrpoSettings) -> str | None:
    """One sentence on the first limit that the last `health_window` rollouts cross; None where all is well, or too early to say.

    `lines` are those of metrics.jsonl, in order; a step without a new rollout has no sampling metrics and is passed over.
    The limits of a share of 1 are crossed by reaching them: every group silent, every answer cut.
    """
    for sign in SIGNS:
        limit = getattr(settings, sign.limit)
        seen = [value for line in lines if (value := line.get(sign.metric)) is not None and math.isfinite(value)]
        seen = seen[-settings.health_window :]
        if limit is None or len(seen) < settings.health_window:
            continue
        found = median(seen)
        if (found >= limit if limit == 1 else found > limit) if sign.at_most else found < limit:
            return f"{sign.metric} is {found:.3g} over the last {len(seen)} rollouts, {sign.limit} is {limit:g}: {sign.means}"
    return None
