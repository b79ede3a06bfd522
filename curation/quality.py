"""Why a trace must not be in a training set, whatever its answer.

Each fault names its source. The thresholds on repetition were set by reading: none of 2,536 published good traces comes
near (their highest share of repeated runs is 0.06), and of 23,000 outputs of weaker models those above were read by hand.
Short answers that state a solution twice, tables and lists of cases stay; an answer of a thousand words that says a quarter
of it again does not.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from curation.glance import DIVIDERS, LINE_CHARACTERS, RUN, STRETCH, UNREAD, Glance, run_hashes

_MAX_REPEATED = 0.5  # share of runs, or of characters in lines, that stood before; a solution stated twice is just under
_MAX_REPEATED_LONG = 0.25  # share of runs, in a text of _LONG_WORDS or more
_LONG_WORDS = 600
_MAX_TIMES = 8  # one run so often, with _LEAST_REPEATED of all runs repeated, is a loop that the model left again
_LEAST_REPEATED = 0.15
_WORD_CHARACTERS = 15  # on average; longer ones are Chinese or one endless formula, and characters are counted instead
_LEAST_WORDS = 100  # under this a share says little
_TAIL_WORDS = 3_000  # how much of the end is searched for a loop; the longest period seen was 636 words
_TAIL_REPEATS = 3
_TAIL_LEAST_WORDS = 60
_TAIL_CHARACTERS = 40

_ERROR_CHARACTERS = 2_000  # longer texts are answers about errors
_ERROR_TEXT = re.compile(  # responses that are a client's error message, as curator and home-made loops store them
    r"\s*(?:error after \d+ attempts|(?:api|openai|litellm|internal server|request|rate ?limit) ?error\b|error code: \d{3}\b"
    r"|traceback \(most recent call last\)|<html>|\{\s*['\"]error['\"]\s*:)",
    re.IGNORECASE,
)
_SPECIAL = re.compile(
    r"<\|(?:im_start|im_end|im_sep|endoftext|end_of_text|eot_id|eom_id|begin_of_text|start_header_id|end_header_id|end|user"
    r"|assistant|system|begin_of_thought|end_of_thought|begin_of_solution|end_of_solution)\|>"
    r"|<｜[^｜>]{1,40}｜>|<(?:start|end)_of_turn>|\[/?INST\]|<</?SYS>>"
)
_SPECIAL_STARTS = ("<|", "<｜", "_of_turn>", "INST]", "SYS>")  # looked for first, which is ten times as fast
_THINK_TAG = re.compile(r"</?think>")


def trace_fault(
    reasoning: str | None,
    answer_text: str,
    finish: str,
    error: str | None,
    *,
    require_thinking: bool,
    max_repeated: float = _MAX_REPEATED,
    max_repeated_long: float = _MAX_REPEATED_LONG,
    glance: Glance = UNREAD,
) -> str | None:
    """A short reason why a trace must not be trained on, None if nothing is wrong; in time linear in the text.

    request_failed: there is no answer, only an error, or its message stored as the answer (open-r1's generator keeps those).
    truncated: cut at the token limit (OpenR1-Math drops finish_reason "length"). unclosed_thought: thinking without an end,
    so nothing was answered (OpenR1-Math's is_reasoning_complete). empty_answer. missing_thinking: where `require_thinking`.
    broken_text: undecodable characters or special tokens left in the text. repetitive: the same runs of words or lines over
    and over, or an end that loops (R1 2501.12948, section 2.3.3, drops such traces by readability).
    """
    if finish == "error" or error is not None or (reasoning is None and _is_error(answer_text)):
        return "request_failed"
    if finish == "length":
        return "truncated"
    if not answer_text.strip():
        return "empty_answer" if reasoning is None or not reasoning.strip() else "unclosed_thought"
    if require_thinking and (reasoning is None or not reasoning.strip()):
        return "missing_thinking"
    if (glance.marks and _is_marked(whole_text(reasoning, answer_text))) or _THINK_TAG.search(answer_text):
        return "broken_text"
    if _tail_loops_in(reasoning, answer_text, glance) or (glance.stretch and _one_character(whole_text(reasoning, answer_text))):
        return "repetitive"
    if _is_calm(reasoning, answer_text, glance, max_repeated, max_repeated_long):
        return None
    return "repetitive" if _loops(whole_text(reasoning, answer_text), max_repeated, max_repeated_long) else None


def whole_text(reasoning: str | None, answer_text: str) -> str:
    """What is searched for faults."""
    return answer_text if reasoning is None else f"{reasoning}\n{answer_text}"


def _is_calm(reasoning: str | None, answer_text: str, glance: Glance, most: float, most_long: float) -> bool:
    """Whether what a glance tells is enough to say that nothing loops."""
    length = len(answer_text) if reasoning is None else len(reasoning) + 1 + len(answer_text)
    if length >= _WORD_CHARACTERS * glance.words:  # characters are counted then
        return False
    return glance.words < _LEAST_WORDS or (glance.runs < min(most, most_long, _LEAST_REPEATED) and glance.lines < most)


def _tail_loops_in(reasoning: str | None, answer_text: str, glance: Glance) -> bool:
    """A passage of words that stands three times, 60 words in all, holds runs of 20 words that stood before."""
    thought = reasoning or ""
    words = glance.words - (len(answer_text) + 1) // 2  # of the thought, at least
    calm = not glance.runs and len(thought) < _WORD_CHARACTERS * words
    return (not calm and _tail_loops(thought)) or _tail_loops(answer_text)


def _is_marked(text: str) -> bool:
    special = any(sign in text for sign in _SPECIAL_STARTS) and _SPECIAL.search(text) is not None
    return special or "\ufffd\ufffd" in text or "\0" in text


def _is_error(text: str) -> bool:
    return len(text) < _ERROR_CHARACTERS and _ERROR_TEXT.match(text) is not None


def _loops(text: str, most: float, most_long: float) -> bool:
    units = _units(text)
    if len(units) < _LEAST_WORDS:
        return False
    share, times = repeated_runs(units)
    limit = min(most, most_long) if len(units) >= _LONG_WORDS else most
    return share > limit or (share > _LEAST_REPEATED and times >= _MAX_TIMES) or repeated_lines(text) > most


def _one_character(text: str) -> bool:
    if not any(map(operator.eq, text[::STRETCH], text[STRETCH - 1 :: STRETCH])):
        return False
    ends = enumerate(zip(text[::STRETCH], text[STRETCH - 1 :: STRETCH], strict=False))
    alike = (number * STRETCH for number, (first, last) in ends if first == last and first not in DIVIDERS)
    return any(len(set(text[at : at + STRETCH])) == 1 for at in alike)


def _units(text: str) -> list[str]:
    """Words, or characters where hardly anything is divided by spaces (Chinese, one endless formula)."""
    found = text.split()
    return found if len(text) < _WORD_CHARACTERS * len(found) else [character for character in text if character not in DIVIDERS]


class Runs(NamedTuple):
    share: float  # of the runs that stood in the text before, in [0, 1]
    times: int  # how often the most frequent one stands


def repeated_runs(units: Sequence[str]) -> Runs:
    """How much of a text consists of runs of 20 words that stood in it before.

    Runs are compared by 64-bit hashes.
    """
    if len(units) < RUN:
        return Runs(0.0, 0)
    one = np.fromiter(map(hash, units), np.int64, count=len(units)).view(np.uint64)
    runs = run_hashes(one)
    runs.sort()
    fresh = np.flatnonzero(runs[1:] != runs[:-1]) + 1
    if len(fresh) == len(runs) - 1:
        return Runs(0.0, 1)
    times = np.diff(fresh, prepend=0, append=len(runs))
    return Runs(1 - len(times) / len(runs), int(times.max()))


def repeated_lines(text: str) -> float:
    """Share of the characters of lines that stood in the text before, in [0, 1]; short lines do not count."""
    lines = [line for line in map(str.strip, text.split("\n")) if len(line) >= LINE_CHARACTERS]
    total = sum(map(len, lines))
    return 1 - sum(map(len, set(lines))) / total if total else 0.0


def _tail_loops(part: str) -> bool:
    """Whether a part ends in one passage repeated: the prefix function of Knuth, Morris and Pratt, read backwards.

    In such an end its last characters stand twice, which is looked for first because it is a hundred times as fast.
    """
    end = part.rstrip()
    if end.rfind(end[-_TAIL_CHARACTERS:], 0, len(end) - 1) < 0:
        return False
    tail = _units(end)[: -_TAIL_WORDS - 1 : -1]
    border = [0] * len(tail)
    for at in range(1, len(tail)):
        length = border[at - 1]
        while length and tail[at] != tail[length]:
            length = border[length - 1]
        border[at] = length + (tail[at] == tail[length])
        if border[at] and at + 1 >= _TAIL_LEAST_WORDS and at + 1 >= _TAIL_REPEATS * (at + 1 - border[at]):
            return True
    return False
