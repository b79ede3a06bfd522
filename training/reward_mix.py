"""The rewards of a training by name, with weights and parameters from the settings."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from curation.errors import UserError
from training import reward_language, reward_lengths, reward_logic, rewards
from training.grpo_settings import GrpoSettings

Reward = Callable[..., list[float | None]] | Callable[..., list[float]]


class Mixed(NamedTuple):
    """What TRL is given, in one order."""

    functions: tuple[Reward, ...]
    weights: tuple[float, ...]
    judging: tuple[int, ...]  # places of those that ask the verifier: where one gives None, no other counts


DOUBTFUL = ("accuracy", "cosine", "length", "thoughtful_accuracy")  # whose doubt may be of the answer, not of the gold alone
# These ask the verifier.
JUDGED: dict[str, Reward] = {
    "accuracy": rewards.accuracy_reward,
    "countdown": rewards.countdown_reward,
    "code": rewards.code_reward,
    "cosine": reward_lengths.cosine_reward,
    "length": reward_lengths.length_reward,
    "logic": reward_logic.logic_reward,
    "thoughtful_accuracy": reward_logic.thoughtful_accuracy_reward,
}
PLAIN: dict[str, Reward] = {
    "format": rewards.format_reward,
    "tag_count": rewards.tag_count_reward,
    "thought": reward_logic.thought_reward,
    "closing_line": reward_logic.closing_line_reward,
    "overlong": reward_lengths.overlong_reward,
    "repetition": reward_lengths.repetition_reward,
    "language": reward_language.language_reward,
}


def mixed(settings: GrpoSettings) -> Mixed:
    """Functions and weights in the order of the settings. Raises UserError for a reward or a parameter that there is not."""
    names = list(settings.rewards)
    functions, weights = zip(*(_one(name, settings) for name in names), strict=True)
    return Mixed(functions, weights, tuple(n for n, name in enumerate(names) if name in JUDGED))


def _one(name: str, settings: GrpoSettings) -> tuple[Reward, float]:
    known = JUDGED | PLAIN
    if name not in known:
        raise UserError(f"no reward {name!r}: wanted one of {', '.join(known)}")
    said = settings.rewards[name]
    values = dict(said) if isinstance(said, dict) else {"weight": said}
    weight = values.pop("weight", 1.0)
    parameters = [
        p.name for p in inspect.signature(known[name]).parameters.values() if p.kind is p.KEYWORD_ONLY and p.name != "doubt"
    ]
    if wrong := [key for key in values if key not in parameters]:
        raise UserError(f"reward {name} has no parameter {wrong[0]!r}: it has weight{''.join(f', {p}' for p in parameters)}")
    if "max_tokens" in parameters:
        values.setdefault("max_tokens", settings.max_completion_tokens)
    if settings.doubt == "wrong" and name in DOUBTFUL:
        values["doubt"] = 0.0
    return (partial(known[name], **values) if values else known[name]), float(weight)
