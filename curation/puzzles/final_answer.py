"""Where a puzzle's final answer stands in a response: the part that the prompt asked to set apart.

Every pass is linear in the response, because the text is a model's and may be megabytes long.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from curation.thinking import split_thinking

_TAG = re.compile(r"<(/?)answer>", re.IGNORECASE)
_BOX = "\\boxed{"


class Final(NamedTuple):
    """A text that may be the final answer, and the rule that found it."""

    text: str  # what was set apart, or the whole answer part
    rule: str  # answer_tag, answer_tag_unclosed, boxed, last_line


def final_answers(response: str) -> list[Final]:
    """What may be the final answer, most explicit first: `<answer>`, `\\boxed`, the text itself; blanks are left out.

    Only what follows the thinking counts; a thought that never closed has no answer and gives an empty list.
    """
    text = split_thinking(response).answer
    tagged = _tagged(text)
    if tagged and (inner := _boxed(tagged.text)):
        tagged = Final(inner.text, tagged.rule)
    found = [tagged, _boxed(text), Final(text, "last_line")]
    return [final for final in found if final and final.text.strip()]


def _tagged(text: str) -> Final | None:
    """Inside the last pair of tags. A stop string or a token limit often swallows the closing one."""
    opening, pair = None, None
    for tag in _TAG.finditer(text):
        if not tag[1]:
            opening = tag.end()
        elif opening is not None:
            pair, opening = Final(text[opening : tag.start()], "answer_tag"), None
    if pair is None and opening is not None:
        return Final(text[opening:], "answer_tag_unclosed")
    return pair


def _boxed(text: str) -> Final | None:
    start = text.rfind(_BOX)
    if start < 0:
        return None
    depth = 1
    for brace in re.finditer(r"[{}]", text[start + len(_BOX) :]):
        depth += 1 if brace[0] == "{" else -1
        if depth == 0:
            return Final(text[start + len(_BOX) : start + len(_BOX) + brace.start()], "boxed")
    return None
