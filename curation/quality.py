"""Why a trace must not be in a training set, whatever its answer.

Each fault names its source. The thresholds were set on 2,536 published good traces, none of which is dropped (their highest
share of repeated runs is 0.06), and on 23,000 outputs of weaker models, whose loops begin near 0.2.
"""

from __future__ import annotations

import re
from collections import Counter

_RUN = 20  # words; open-r1's repetition penalty counts runs too (rewards.py), Demystifying Long CoT uses 40 tokens
_MAX_REPEATED_RUNS = 0.2  # share of runs seen before
_MAX_REPEATED_LINES = 0.3  # share of characters in lines seen before; Gopher (2112.11446, table A1) has 0.2, for prose
_LINE_CHARACTERS = 20  # shorter lines repeat by nature: \[, "So", a sum's next step
_LEAST_WORDS = 100  # under this a share says little
_TAIL_WORDS = 3_000  # how much of the end is searched for a loop; the longest period seen was 636 words
_TAIL_REPEATS = 3
_TAIL_LEAST_WORDS = 60

_ERROR_TEXT = re.compile(  # responses that are a client's error message, as curator and home-made loops store them
    r"\s*(?:error after \d+ attempts|(?:api|openai|litellm|internal server|request|rate ?limit) ?error\b|error code: \d{3}\b"
    r"|traceback \(most recent call last\)|<html>|\{\s*['\"](?:error|detail)['\"]\s*:)",
    re.IGNORECASE,
)
_SPECIAL = re.compile(
    r"<\|(?:im_start|im_end|im_sep|endoftext|end_of_text|eot_id|eom_id|begin_of_text|start_header_id|end_header_id|end|user"
    r"|assistant|system|begin_of_thought|end_of_thought|begin_of_solution|end_of_solution)\|>"
    r"|<｜[^｜>]{1,40}｜>|<(?:start|end)_of_turn>|\[/?INST\]|<</?SYS>>"
)
_THINK_TAG = re.compile(r"</?think>")
_ONE_CHARACTER = re.compile(r"([^\s\-=_*.#~|&+])\1{199}")


def trace_fault(
    reasoning: str | None,
    answer_text: str,
    finish: str,
    error: str | None,
    *,
    require_thinking: bool,
    max_repeated_runs: float = _MAX_REPEATED_RUNS,
    max_repeated_lines: float = _MAX_REPEATED_LINES,
) -> str | None:
    """A short reason why a trace must not be trained on, None if nothing is wrong; in time linear in the text.

    request_failed: there is no answer, only an error, or its message stored as the answer (open-r1's generator keeps those).
    truncated: cut at the token limit (OpenR1-Math drops finish_reason "length"). unclosed_thought: thinking without an end,
    so nothing was answered (OpenR1-Math's is_reasoning_complete). empty_answer. missing_thinking: where `require_thinking`.
    broken_text: undecodable characters or special tokens left in the text. repetitive: the same runs of words or lines over
    and over, or an end that loops (R1 2501.12948, section 2.3.3, drops such traces by readability).
    """
    if finish == "error" or error is not None or (reasoning is None and _ERROR_TEXT.match(answer_text)):
        return "request_failed"
    if finish == "length":
        return "truncated"
    if not answer_text.strip():
        return "empty_answer" if reasoning is None or not reasoning.strip() else "unclosed_thought"
    if require_thinking and (reasoning is None or not reasoning.strip()):
        return "missing_thinking"
    text = answer_text if reasoning is None else f"{reasoning}\n{answer_text}"
    if "\ufffd\ufffd" in text or "\0" in text or _SPECIAL.search(text) or _THINK_TAG.search(answer_text):
        return "broken_text"
    if _loops(text, max_repeated_runs, max_repeated_lines):
        return "repetitive"
    return None


def _loops(text: str, max_runs: float, max_lines: float) -> bool:
    if _ONE_CHARACTER.search(text):
        return True
    units = _units(text)
    if _tail_loops(units):
        return True
    return len(units) >= _LEAST_WORDS and (repeated_runs(units) >= max_runs or repeated_lines(text) >= max_lines)


def _units(text: str) -> list[str]:
    """Words, or characters where hardly anything is divided by spaces (Chinese, one endless formula)."""
    found = text.split()
    return found if len(text) < 15 * len(found) else list(text)


def repeated_runs(units: list[str]) -> float:
    """Share of the runs of _RUN words that stood in the text before, in [0, 1]."""
    runs = list(zip(*(units[start:] for start in range(_RUN)), strict=False))
    return 1 - len(set(runs)) / len(runs) if runs else 0.0


def repeated_lines(text: str) -> float:
    """Share of the characters of lines that stood in the text before, in [0, 1]; short lines do not count."""
    lines = Counter(line for raw in text.split("\n") if len(line := raw.strip()) >= _LINE_CHARACTERS)
    total = sum(len(line) * count for line, count in lines.items())
    return sum(len(line) * (count - 1) for line, count in lines.items()) / total if total else 0.0


def _tail_loops(units: list[str]) -> bool:
    """Whether the text ends in one passage repeated: the prefix function of Knuth, Morris and Pratt, read backwards."""
    tail = units[: -_TAIL_WORDS - 1 : -1]
    border = [0] * len(tail)
    for at in range(1, len(tail)):
        length = border[at - 1]
        while length and tail[at] != tail[length]:
            length = border[length - 1]
        border[at] = length + (tail[at] == tail[length])
        if border[at] and at + 1 >= _TAIL_LEAST_WORDS and at + 1 >= _TAIL_REPEATS * (at + 1 - border[at]):
            return True
    return False
