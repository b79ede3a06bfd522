"""Best-of-n: of the samples of a question one is handed in, chosen without looking at the gold."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from training.reward_language import language_reward
from training.reward_lengths import repetition_reward
from training.rewards import format_reward, tag_count_reward

Choice = Literal["shortest", "longest", "format", "tag_count", "repetition", "language"]  # the last four: rewards of factory grpo
REWARDS = {
    "format": format_reward,
    "tag_count": tag_count_reward,
    "repetition": repetition_reward,
    "language": language_reward,
}


def choice_values(choice: Choice, texts: Sequence[str], tokens: Sequence[int | None]) -> list[float]:
    """A value for each sample; the highest is handed in. A sample whose length the server did not say is never the one."""
    if choice in ("shortest", "longest"):
        sign = -1.0 if choice == "shortest" else 1.0
        return [sign * count if count is not None else float("-inf") for count in tokens]
    return REWARDS[choice](list(texts))


def handed_in(values: Sequence[float], correct: Sequence[bool], answered: Sequence[bool]) -> float:
    """Is the chosen sample correct? Of samples that are level one is drawn: hence a share. Unanswered ones are not chosen."""
    rows = [(value, right) for value, right, has in zip(values, correct, answered, strict=True) if has]
    if not rows:
        return 0.0
    best = [right for value, right in rows if value == max(v for v, _ in rows)]
    return sum(best) / len(best)
