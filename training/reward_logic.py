"""Rewards of single recipes: Logic-RL's for puzzles, DeepScaleR's, and GSM8K-RLVR's closing line."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from training.reward_reading import Completion, texts, verdicts
from training.rewards import accuracy_reward

_TAGS = ("<think>", "</think>", "<answer>", "</answer>")
# Whys of a verdict that mean: there is no answer in the form asked for.
_MISSING = ("no_answer", "unclosed_thought", "unparseable_answer", "missing_names")
_CLOSING_LINE = re.compile(r"#### The final answer is \S[^\n]{0,200}")


def logic_reward(completions: Sequence[Completion], **columns: Any) -> list[float | None]:
    """Logic-RL's (its verl/utils/reward_score/kk.py): format 1 or -1, plus the answer's 2, -1.5 where wrong, -2 where missing.

    The format is right where each of the four tags stands once and in order; where it is not, the answer counts as missing, so a
    completion earns 3, -0.5, -1 or -3. None where the verifier cannot tell. Columns as in accuracy_reward; the domain is
    knights-and-knaves where there is no column of domains.
    """
    domains = columns.get("domain") or ["knights-and-knaves"] * len(completions)
    said = list(texts(completions, columns))
    found = verdicts(completions, domains, columns)
    return [_logic(text, v.outcome, v.why) for text, v in zip(said, found, strict=True)]


def _logic(text: str, outcome: str, why: str) -> float | None:
    if not in_order(text):
        return -1.0 - 2.0
    if outcome == "undetermined" and why not in _MISSING:
        return None
    return 1.0 + (2.0 if outcome == "correct" else -2.0 if why in _MISSING else -1.5)


def in_order(text: str) -> bool:
    """Does each of the four tags stand exactly once, in order?"""
    places = [text.find(tag) for tag in _TAGS]
    return all(text.count(tag) == 1 for tag in _TAGS) and places == sorted(places)


def thought_reward(completions: Sequence[Completion], **columns: Any) -> list[float]:
    """1 where the completion opens with a thought and closes it once, else 0: R1-Zero's format, without answer tags."""
    return [float(_thought(text)) for text in texts(completions, columns)]


def _thought(text: str) -> bool:
    return text.lstrip().startswith("<think>") and text.count("<think>") == text.count("</think>") == 1


def thoughtful_accuracy_reward(completions: Sequence[Completion], **columns: Any) -> list[float | None]:
    """1 where a closed thought is followed by an answer that verifies, else 0, None in doubt: DeepScaleR's reward."""
    points = accuracy_reward(completions, **columns)
    return [p if "</think>" in text else 0.0 for p, text in zip(points, texts(completions, columns), strict=True)]


def closing_line_reward(completions: Sequence[Completion], **columns: Any) -> list[float]:
    """1 where the last line is "#### The final answer is ...", else 0; GSM8K-RLVR weighs it 0.5."""
    lasts = (text.rstrip().rpartition("\n")[2] for text in texts(completions, columns))
    return [float(bool(_CLOSING_LINE.fullmatch(last))) for last in lasts]
