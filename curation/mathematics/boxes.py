"""The boxes of LaTeX, found in one pass whatever the braces do."""

from __future__ import annotations

import re
from typing import NamedTuple

_BRACES = re.compile(r"\\.|[{}]", re.DOTALL)
# The slash may be missing or doubled: JSON and broken escapes do that (`\beginboxed{...}`, `\\boxed{...}`).
_OPENING = re.compile(r"(?:\\?begin)?(?:boxed|fbox)\s{0,3}(\{)")
_BARE = re.compile(r"\\boxed\s{1,3}([^\s{}$\\]{1,40})")
# What may stand between two boxes of one list of answers.
_CONNECTOR = re.compile(
    r"[\s$]{0,4}(?:,|;|and|or|\\text\{\s{0,3}(?:and|or)\s{0,3}\}|,\s{0,3}(?:and|or))[\s$]{0,4}(?:[A-Za-z]\w{0,3}\s{0,2}=\s{0,2})?"
)


LIST_LIMIT = 64  # boxes of one list


class Box(NamedTuple):
    content: str
    start: int
    end: int  # just behind the closing brace


def last_boxes(text: str) -> list[Box]:
    """The last box, preceded by those that one list joins to it ("\\boxed{2} and \\boxed{3}").

    An unclosed box is no box: the text was cut inside it. Of nested boxes the innermost counts. Linear in the text.
    """
    if "box" not in text:
        return []
    openings = {m.start(1): m.start() for m in _OPENING.finditer(text)}
    boxes = _closed(text, openings)
    if not boxes:
        return [Box(m[1], m.start(), m.end()) for m in _BARE.finditer(text)][-1:]
    chosen = [boxes[-1]]
    for box in boxes[-2 : -LIST_LIMIT - 1 : -1]:
        between = text[box.end : chosen[-1].start]
        if len(between) > 40 or not _CONNECTOR.fullmatch(between.rstrip("\\")):
            break
        chosen.append(box)
    return chosen[::-1]


def _closed(text: str, openings: dict[int, int]) -> list[Box]:
    stack: list[int] = []
    boxes: list[Box] = []
    for match in _BRACES.finditer(text, min(openings, default=len(text))):
        if match[0] == "{":
            stack.append(match.start())
        elif match[0] == "}" and stack:
            opened = stack.pop()
            blank = not text[opened + 1 : match.start()].strip()
            if opened in openings and not blank and not (boxes and boxes[-1].start > opened):
                start = openings[opened]
                boxes.append(Box(text[opened + 1 : match.start()], start, match.end()))
    return boxes
