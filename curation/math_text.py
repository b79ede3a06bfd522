"""One spelling for each way of writing the same formula."""

from __future__ import annotations

import re

_THOUSANDS = re.compile(r"(?<=\d),(?=\d{3}(?!\d))")
_TRAILING = re.compile(r"(?:\\%|%|\\text\{[^{}]*\}|\^\{?\\circ\}?|\\mathrm\{[^{}]*\})+$")


def normalise(text: str) -> str:
    """`text` without what changes nothing in its value."""
    for old, new in (
        ("\\left", ""),
        ("\\right", ""),
        ("\\!", ""),
        ("\\,", ""),
        ("\\$", ""),
        ("$", ""),
        ("dfrac", "frac"),
        ("tfrac", "frac"),
    ):
        text = text.replace(old, new)
    text = _THOUSANDS.sub("", "".join(text.split()).rstrip("."))
    return _TRAILING.sub("", text) or text
