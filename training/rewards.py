"""Rewards for TRL's GRPO, RLOO and online trainers; every judgement is that of curation.verify.

A reward takes TRL 1.16's keyword arguments: `completions`, each a text or a list of messages, and the columns of the data set as
lists; it returns one float for each completion in order, or None where the verifier cannot tell: TRL leaves None out of the sum,
so that doubt teaches nothing. Plain functions, so that they can be sent to other processes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from curation.records import canonical_json
from training.reward_reading import Completion, golds, point, texts, verdicts, verdicts_against

ATTEMPTED = 0.1  # TinyZero and oat-zero: an expression that does not solve a countdown


def accuracy_reward(completions: Sequence[Completion], *, doubt: float | None = None, **columns: Any) -> list[float | None]:
    """1 where the answer verifies, 0 where it does not, None, or `doubt` where it is given, where the verifier cannot tell.

    The gold is column `answer`, or `solution` as TRL's own reward has it; column `domain`, where there is one, says which
    verifier judges a row (math without it). Raises UserError where there is no gold column.
    """
    domains = columns.get("domain") or ["math"] * len(completions)
    points = [point(v) for v in verdicts(completions, domains, columns)]
    return [doubt if p is None else p for p in points]


def countdown_reward(completions: Sequence[Completion], **columns: Any) -> list[float | None]:
    """1 for a solution, 0.1 for an expression that is none, 0 without one; None where the gold cannot be read.

    The formula of TinyZero (verl/utils/reward_score/countdown.py). The gold is column `answer` or `solution`, or the columns
    `nums` (or `numbers`) and `target` of Countdown-Tasks-3to4.
    """
    found = verdicts_against(completions, _countdown_golds(columns), ["countdown"] * len(completions), columns)
    return [point(v) if v.outcome != "incorrect" or v.why == "no_answer" else ATTEMPTED for v in found]


def code_reward(completions: Sequence[Completion], **columns: Any) -> list[float | None]:
    """1 where the program passes all tests of the gold in column `answer` or `solution`, 0 where it fails one, None in doubt.

    The `binary_code` of open-r1; programs run in the sandbox of curation.verify's domain code.
    """
    return [point(v) for v in verdicts(completions, ["code"] * len(completions), columns)]


def format_reward(completions: Sequence[Completion], **columns: Any) -> list[float]:
    """1 where the whole text is `<think>\\n...\\n</think>\\n<answer>\\n...\\n</answer>`, else 0, as open-r1's format reward.

    Stricter than its regular expression: nothing but blanks may follow. Found by position, so linear in the text.
    """
    return [float(_has_format(text)) for text in texts(completions, columns)]


def tag_count_reward(completions: Sequence[Completion], **columns: Any) -> list[float]:
    """A quarter for each of the four tags that stands exactly once with its line breaks, as open-r1's tag_count_reward."""
    tags = ("<think>\n", "\n</think>\n", "\n<answer>\n", "\n</answer>")
    return [sum(text.count(tag) == 1 for tag in tags) / len(tags) for text in texts(completions, columns)]


def _has_format(text: str) -> bool:
    head, between, tail = text.rstrip().partition("\n</think>\n<answer>\n")
    return bool(between) and head.startswith("<think>\n") and tail.endswith("\n</answer>")


def _countdown_golds(columns: dict[str, Any]) -> list[str | None]:
    numbers = columns.get("nums") or columns.get("numbers")
    if columns.get("answer") or not numbers or not columns.get("target"):
        return golds(columns)
    puzzles = zip(numbers, columns["target"], strict=True)
    return [canonical_json({"numbers": [int(n) for n in given], "target": int(target)}) for given, target in puzzles]
