"""Traces that are right and still no good example: DeepSeek-R1's rules for readable reasoning, and two for the answer.

R1 (arXiv 2501.12948, 2.3.3) drops chains of thought with mixed languages, long paragraphs and code blocks; it publishes no
thresholds, so those here are ours (languages: curation.languages). A recipe switches rules on by name (choose.filters).
"""

from __future__ import annotations

from typing import Literal, NamedTuple, get_args

from curation.languages import mixes_languages

TraceRule = Literal["language_mixing", "code_in_thought", "long_paragraph", "several_boxes", "no_box"]
TRACE_RULES: tuple[TraceRule, ...] = get_args(TraceRule)

PARAGRAPH_CHARACTERS = 3_000
_BOX = "\\boxed{"


class Look(NamedTuple):
    """What a look at a thought (curation.thought_glance) has told of it."""

    letters: str | None  # its characters outside ASCII; None: not known
    others: bool  # False: there are too few words of other European languages
    fenced: bool  # False: there is no fenced block
    long: bool  # False: there is no long paragraph


UNREAD = Look(letters=None, others=True, fenced=True, long=True)  # of a thought that was not looked at


def trace_filter(
    rules: tuple[TraceRule, ...], question: str, reasoning: str | None, answer_text: str, look: Look = UNREAD
) -> str | None:
    """The first of `rules` that a trace breaks, as the reason to leave it; None if it breaks none. Linear in the texts.

    language_mixing: the thought, not the answer, leaves the question's language (curation.languages). code_in_thought: a fenced
    block in the thought. long_paragraph: more than 3,000 characters without an empty line. several_boxes: the answer boxes
    different things. no_box: it boxes nothing.
    """
    thought = reasoning or ""
    checks = {
        "language_mixing": lambda: mixes_languages(question, thought, look.letters, others=look.others),
        "code_in_thought": lambda: look.fenced and "```" in thought,
        "long_paragraph": lambda: look.long and has_long_paragraph(thought),
        "several_boxes": lambda: len(set(boxes(answer_text))) > 1,
        "no_box": lambda: not boxes(answer_text),
    }
    return next((rule for rule in rules if checks[rule]()), None)


def longest_paragraph(text: str) -> int:
    """Characters of the longest stretch between empty lines."""
    return max(map(len, text.split("\n\n")))


def has_long_paragraph(text: str) -> bool:
    """Whether the longest one has more than 3,000 characters, looked for only where an empty line would end it in time."""
    if "\n\n\n" in text:  # where several divide, it matters at which one begins
        return longest_paragraph(text) > PARAGRAPH_CHARACTERS
    start = 0
    while len(text) - start > PARAGRAPH_CHARACTERS:
        end = text.rfind("\n\n", start, start + PARAGRAPH_CHARACTERS + 2)
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
