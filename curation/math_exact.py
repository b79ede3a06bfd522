"""The cheap tier: decides only where it is certain."""

from __future__ import annotations

import re
from fractions import Fraction

from curation.math_text import normalise

_NUMBER = re.compile(r"([-+]?)(\d{1,400})(?:\.(\d{0,400}))?")
_FRACTION = re.compile(r"([-+]?)\\frac\{([-+]?\d{1,200})\}\{(\d{1,200})\}|([-+]?\d{1,200})/(\d{1,200})")


def compare(gold: str, answer: str) -> tuple[str, str] | None:
    """(outcome, why), or None where only the slow tier can say."""
    left, right = normalise(gold), normalise(answer)
    if left == right:
        return "correct", "equal"
    a, b = rational(left), rational(right)
    if a is None or b is None:
        return None
    return ("correct", "equal") if a == b else ("incorrect", "different")


def rational(text: str) -> Fraction | None:
    """The exact value of a plain integer, decimal or fraction."""
    if number := _NUMBER.fullmatch(text):
        sign, whole, decimals = number[1], number[2], number[3] or ""
        value = Fraction(int(whole + decimals), 10 ** len(decimals))
        return -value if sign == "-" else value
    if fraction := _FRACTION.fullmatch(text):
        top, bottom = int(fraction[2] or fraction[4]), int(fraction[3] or fraction[5])
        if bottom == 0:
            return None
        return Fraction(-top if fraction[1] == "-" else top, bottom)
    return None
