"""One response against one bare gold by the cheap tier alone: extraction, limits, comparison. Pure, and safe in any process."""

from __future__ import annotations

import json
import re
import time
from typing import NamedTuple

from curation.extract import extract
from curation.mathematics import exact

ANSWER_LIMIT = 2000  # characters of an extracted answer; the longest gold of MATH, AIME and OlympiadBench has 380
WEAK_RULES = frozenset({"last_math", "last_number"})  # found by position: where the gold stands near, neither is sure
TAIL = 300  # characters at the end of a response that count as near


class Found(NamedTuple):
    outcome: str  # empty where only the slow tier may know
    why: str
    extracted: str | None
    rule: str | None
    seconds: float


def decide(gold: str, response: str) -> Found:
    """The verdict of the cheap tier; a response without an answer is incorrect, whatever the gold."""
    started = time.perf_counter()
    answer, rule = extract(response)
    if answer is None:
        return Found("incorrect", rule, None, None, time.perf_counter() - started)
    outcome, why = _compared(gold, answer, rule, response)
    return Found(outcome, why, answer[:ANSWER_LIMIT], rule, time.perf_counter() - started)


def decide_all(rows: str) -> str:
    """decide for a JSON list of (bare gold, response) pairs, in order: text in and text out, as it crosses processes."""
    return json.dumps([decide(gold, response) for gold, response in json.loads(rows)])


def _compared(gold: str, answer: str, rule: str, response: str) -> tuple[str, str]:
    if max(len(gold), len(answer)) > ANSWER_LIMIT:
        return "undetermined", "too_long"
    decided = exact.compare(gold, answer)
    if decided is None:
        return "", ""
    if decided.outcome == "incorrect" and rule in WEAK_RULES and _mentions(response[-TAIL:], gold):
        return "undetermined", "ambiguous"
    return decided


def _mentions(text: str, gold: str) -> bool:
    """Does the gold stand in the text by itself, not as a part of a longer number?"""
    return re.search(rf"(?<![\w.]){re.escape(gold)}(?![\w.]*\w)", text) is not None
