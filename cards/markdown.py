"""Markdown for tables whose cells come from models and files: shown as text, never read as markup.

GitHub-flavoured Markdown as the Hub renders it: tables, HTML, autolinks and dollar mathematics all have to be stopped.
"""

from __future__ import annotations

import html
import re
import unicodedata
from collections.abc import Iterable, Sequence

_MARKUP = re.compile(r"([\\`*_\[\]|$~#@]|:(?=//)|(?<=www)\.)", re.IGNORECASE)
_UNSEEN = {"Cc", "Cf", "Cs", "Co", "Cn"}  # control, bidirectional and zero-width, surrogate, private, unassigned


def visible(raw: str) -> str:
    """`raw` without characters that are not seen but change what is: control, bidirectional, zero-width."""
    return "".join(c for c in raw if c in "\n\t " or unicodedata.category(c) not in _UNSEEN)


def text(value: object, limit: int = 160) -> str:
    """`value` on one line, cut to `limit` characters, with everything that Markdown or HTML would read escaped."""
    whole = str(value)
    raw = whole[: 4 * limit]  # enough to fill the line after white space is folded; a trace can be megabytes
    line = " ".join(visible(raw).split())
    cut = len(line) > limit or len(whole) > len(raw)
    return _MARKUP.sub(r"\\\1", html.escape(line[:limit], quote=False)) + (" …" if cut else "")


def code(value: object, limit: int = 200) -> str:
    """`value` as a code span on one line: names, versions, mathematics as it is written."""
    line = " ".join(visible(str(value)[: 4 * limit]).replace("`", "'").split())
    cut = line[:limit] + ("…" if len(line) > limit else "")
    # In a table a pipe is escaped even in a code span; after a backslash some parsers would read the two as one escape.
    return f"`{cut}`".replace("\\|", "\\ |").replace("|", "\\|") if line else ""


def block(content: str, language: str = "") -> str:
    """A fenced code block that its content cannot close."""
    fence = "`" * max(3, 1 + max((len(run) for run in re.findall(r"`+", content)), default=0))
    return f"{fence}{language}\n{content}\n{fence}"


def number(value: float | None) -> str:
    """A count with thousands separated; an empty cell for None."""
    return "" if value is None else f"{value:,.0f}"


def table(header: Sequence[str], rows: Iterable[Sequence[str]], right: Iterable[int] = ()) -> str:
    """A table; `right` are the positions of the columns that hold numbers."""
    ends = set(right)
    rule = ["---:" if i in ends else "---" for i in range(len(header))]
    return "\n".join("| " + " | ".join(row) + " |" for row in [header, rule, *rows])
