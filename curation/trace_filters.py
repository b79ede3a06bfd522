"""Traces that are right and still no good example: DeepSeek-R1's rules for readable reasoning, and two for the answer.

R1 (arXiv 2501.12948, 2.3.3) drops chains of thought with mixed languages, long paragraphs and code blocks; it publishes no
thresholds, so those here are ours. A recipe switches rules on by name (choose.filters).
"""

from __future__ import annotations

import re
from typing import Literal, get_args

import numpy as np

TraceRule = Literal["language_mixing", "code_in_thought", "long_paragraph", "several_boxes", "no_box"]
TRACE_RULES: tuple[TraceRule, ...] = get_args(TraceRule)

_SCRIPTS = {
    "cjk": re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af\uf900-\ufaff]"),
    "cyrillic": re.compile(r"[\u0400-\u04ff]"),
    "arabic": re.compile(r"[\u0600-\u06ff]"),
    "hebrew": re.compile(r"[\u0590-\u05ff]"),
    "devanagari": re.compile(r"[\u0900-\u097f]"),
    "thai": re.compile(r"[\u0e00-\u0e7f]"),
}
_LATIN = re.compile(r"[A-Za-z]{2,}")
# One foreign character can be a name or a unit; three in a thought are a word of another language.
_FOREIGN_CHARACTERS = 3
# Shares of words: a thought in another language than its question still holds English names and LaTeX.
_LATIN_WORDS_IN_FOREIGN = 0.5
_PARAGRAPH_CHARACTERS = 3_000
_BOX = "\\boxed{"


def trace_filter(rules: tuple[TraceRule, ...], question: str, reasoning: str | None, answer_text: str) -> str | None:
    """The first of `rules` that a trace breaks, as the reason to leave it; None if it breaks none. Linear in the texts.

    language_mixing: the thought has words in a script that the question has not, or, where the question is not in Latin
    letters, mostly English words. code_in_thought: a fenced block in the thought. long_paragraph: more than 3,000 characters
    without an empty line. several_boxes: the answer boxes different things. no_box: it boxes nothing.
    """
    thought = reasoning or ""
    checks = {
        "language_mixing": lambda: mixes_languages(question, f"{thought}\n{answer_text}"),
        "code_in_thought": lambda: "```" in thought,
        "long_paragraph": lambda: has_long_paragraph(thought),
        "several_boxes": lambda: len(set(boxes(answer_text))) > 1,
        "no_box": lambda: not boxes(answer_text),
    }
    return next((rule for rule in rules if checks[rule]()), None)


def mixes_languages(question: str, text: str) -> bool:
    letters = "" if text.isascii() else _not_ascii(text)
    own = {name for name, script in _SCRIPTS.items() if script.search(question)} if letters or not question.isascii() else set()
    found = {name: len(script.findall(letters)) for name, script in _SCRIPTS.items()}
    if any(found[name] >= _FOREIGN_CHARACTERS for name in _SCRIPTS if name not in own):
        return True
    if not own:
        return False
    latin = sum(1 for _ in _LATIN.finditer(text))
    other = sum(found[name] for name in own)
    return latin > _LATIN_WORDS_IN_FOREIGN * (latin + other)


def _not_ascii(text: str) -> str:
    """The characters of `text` outside ASCII; in UTF-8 all their bytes are, so that one look at the bytes picks them out."""
    held = np.frombuffer(text.encode("utf-8", "surrogatepass"), np.uint8)
    return held[held > 0x7F].tobytes().decode("utf-8", "surrogatepass")


def longest_paragraph(text: str) -> int:
    """Characters of the longest stretch between empty lines."""
    return max(map(len, text.split("\n\n")))


def has_long_paragraph(text: str) -> bool:
    """Whether the longest one has more than 3,000 characters, looked for only where an empty line would end it in time."""
    if "\n\n\n" in text:  # where several divide, it matters at which one begins
        return longest_paragraph(text) > _PARAGRAPH_CHARACTERS
    start = 0
    while len(text) - start > _PARAGRAPH_CHARACTERS:
        end = text.rfind("\n\n", start, start + _PARAGRAPH_CHARACTERS + 2)
        if end < 0:
            return True
        start = end + 2
    return False


def boxes(text: str) -> list[str]:
    """What stands in each \\boxed{...}, without spaces; an unclosed one is left out."""
    found = []
    at = text.find(_BOX)
    while at >= 0:
        start = end = at + len(_BOX)
        depth = 1
        while end < len(text) and depth:
            depth += (text[end] == "{") - (text[end] == "}")
            end += 1
        if depth:  # none after this one closes either
            break
        found.append("".join(text[start : end - 1].split()))
        at = text.find(_BOX, end)
    return found
