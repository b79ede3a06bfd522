"""Rewards that look at how long an answer is and how often it repeats itself; lengths are tokens, of TRL's `completion_ids`."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from training.reward_reading import Completion, texts
from training.rewards import accuracy_reward

Ids = Sequence[Sequence[int]]


def cosine_reward(
    completions: Sequence[Completion],
    completion_ids: Ids,
    *,
    max_tokens: float = 1000.0,
    min_correct: float = 0.5,
    max_correct: float = 1.0,
    min_wrong: float = 0.0,
    max_wrong: float = -0.5,
    exceed: float | None = None,
    **columns: Any,
) -> list[float | None]:
    """Short right answers earn more than long ones, long wrong ones more than short ones, along half a cosine; None in doubt.

    lo + (hi - lo) / 2 * (1 + cos(pi * tokens / max_tokens)); right: from max_correct down to min_correct, wrong: from max_wrong to
    min_wrong. `exceed`, where given, is the reward from 16 tokens before max_tokens on. demystify-long-cot (arXiv 2502.03373);
    defaults are those of open-r1's script, which counts characters and does not stop at max_tokens.
    """
    judged = accuracy_reward(completions, **columns)

    def one(point: float | None, tokens: int) -> float | None:
        if point is None:
            return None
        if exceed is not None and tokens + 16 >= max_tokens:
            return exceed
        low, high = (min_correct, max_correct) if point else (min_wrong, max_wrong)
        return low + (high - low) / 2 * (1 + math.cos(math.pi * min(tokens / max_tokens, 1.0)))

    return [one(point, len(ids)) for point, ids in zip(judged, completion_ids, strict=True)]


def overlong_reward(
    completions: Sequence[Completion], completion_ids: Ids, *, max_tokens: float = 20480.0, buffer_tokens: float = 0.0, **_: Any
) -> list[float]:
    """0 up to max_tokens - buffer_tokens, then falling in a line to -1 at max_tokens: DAPO's soft overlong punishment.

    arXiv 2503.14476, equation 13; there 4,096 of 20,480, so the buffer is a fifth of max_tokens where none is given.
    """
    buffer = buffer_tokens or max_tokens / 5
    return [max(-1.0, min(0.0, (max_tokens - buffer - len(ids)) / buffer)) for ids in completion_ids]


def length_reward(completions: Sequence[Completion], completion_ids: Ids, **columns: Any) -> list[float | None]:
    """0.5 for the shortest of a prompt's answers down to -0.5 for the longest; wrong ones at most 0: Kimi k1.5's, arXiv 2501.12599.

    Lengths are compared within a prompt, whichever prompts come in one call; all of one length earn 0. None in doubt.
    """
    judged = accuracy_reward(completions, **columns)
    groups: dict[str, list[int]] = defaultdict(list)
    prompts = [str(p) for p in columns.get("prompts") or [""] * len(completions)]
    for prompt, ids in zip(prompts, completion_ids, strict=True):
        groups[prompt].append(len(ids))

    def one(point: float | None, prompt: str, tokens: int) -> float | None:
        shortest, longest = min(groups[prompt]), max(groups[prompt])
        if point is None or shortest == longest:
            return None if point is None else 0.0
        share = 0.5 - (tokens - shortest) / (longest - shortest)
        return share if point else min(0.0, share)

    return [one(point, prompt, len(ids)) for point, prompt, ids in zip(judged, prompts, completion_ids, strict=True)]


def repetition_reward(
    completions: Sequence[Completion], *, words: float = 3.0, max_penalty: float = -1.0, **columns: Any
) -> list[float]:
    """max_penalty times the share of n-grams of `words` words that are repeats: open-r1's repetition penalty, 3 and -1."""
    return [_repeated(text.lower().split(), int(words)) * max_penalty for text in texts(completions, columns)]


def _repeated(said: list[str], n: int) -> float:
    total = len(said) - n + 1
    return 1 - len({tuple(said[i : i + n]) for i in range(total)}) / total if total > 0 else 0.0
