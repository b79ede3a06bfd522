"""Where the thinking ends and the answer begins, in the formats that models and data sets really use.

Seen in published traces: DeepSeek-R1 and QwQ print no opening tag, only `</think>` (the template opened it); Sky-T1 and
OpenThoughts wrap both parts in `<|begin_of_thought|>` and `<|begin_of_solution|>`; s1 writes a line `think`, and later a line
`answer`; medical-o1 writes the headings `## Thinking` and `## Final Response`.
"""

from __future__ import annotations

import re
from typing import Literal, NamedTuple

Form = Literal["think", "begin_of_thought", "s1", "headings", "none"]


class Thought(NamedTuple):
    reasoning: str | None  # the thinking without its tags; None where the text has no thinking part
    answer: str  # what follows; empty where the thinking never closed
    form: Form
    closed: bool  # False: a thought was opened and never ended, so the text was cut


# (form, opening tag, closing tag, opening and closing tag of the answer)
_TAGGED: tuple[tuple[Form, str, str, str, str], ...] = (
    ("think", "<think>", "</think>", "<answer>", "</answer>"),
    ("begin_of_thought", "<|begin_of_thought|>", "<|end_of_thought|>", "<|begin_of_solution|>", "<|end_of_solution|>"),
)
_S1_OPEN = re.compile(r"\s*(?:<\|im_start\|>)?think\n")
_S1_CLOSE = re.compile(r"\n(?:<\|im_start\|>)?answer\n")
_HEADINGS_OPEN = re.compile(r"\s*## Thinking\s*\n")
_HEADINGS_CLOSE = re.compile(r"\n## Final Response\s*\n")


def split_thinking(text: str) -> Thought:
    """Split a model's whole output into thinking and answer.

    The last closing tag ends the thinking: models quote the tag while they think. Runs in time linear in the text.
    """
    for form, opening, closing, answer_opening, answer_closing in _TAGGED:
        head, found, tail = text.rpartition(closing)
        if found:
            answer = tail
            if form == "begin_of_thought":
                answer = answer.replace(answer_opening, "", 1).replace(answer_closing, "", 1)
            return Thought(_without_opening(head, opening), answer.strip(), form, True)
        if text.lstrip().startswith(opening):
            return Thought(_without_opening(text, opening), "", form, False)
    for form, start, end in (("s1", _S1_OPEN, _S1_CLOSE), ("headings", _HEADINGS_OPEN, _HEADINGS_CLOSE)):
        if opened := start.match(text):
            ends = list(end.finditer(text, opened.end()))
            if not ends:
                return Thought(text[opened.end() :].strip(), "", form, False)
            return Thought(text[opened.end() : ends[-1].start()].strip(), text[ends[-1].end() :].strip(), form, True)
    return Thought(None, text.strip(), "none", True)


def _without_opening(text: str, opening: str) -> str:
    return text.lstrip().removeprefix(opening).strip()


JOINED = "<think>\n{}\n</think>\n\n{}"  # thinking, answer


def join_thinking(reasoning: str | None, answer: str) -> str:
    """The training text of a trace, as DeepSeek-R1 prints it: the thinking in `<think>` tags, then the answer."""
    return answer if reasoning is None else JOINED.format(reasoning, answer)
