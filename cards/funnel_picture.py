"""The funnel as a picture beside the card: a bar for each step, kept and dropped, in plain SVG without scripts or fonts."""

from __future__ import annotations

from html import escape
from typing import Any

from cards.markdown import visible

_WIDTH, _LINE, _LABEL, _COUNT = 860, 26, 190, 190  # pixels
_BAR = _WIDTH - _LABEL - _COUNT
_KEPT, _DROPPED, _INK, _SOFT = "#4a78b5", "#d4d9e0", "#1d2129", "#626b78"


def funnel_svg(funnel: list[dict[str, Any]]) -> str:
    """`funnel` (lines with step, unit, in, kept) as an SVG document; bars of one unit share one scale.

    It has a ground of its own, so that it reads in a light and in a dark page.
    """
    most: dict[str, int] = {}
    for line in funnel:
        most[line["unit"]] = max(most.get(line["unit"], 1), line["in"])
    height = _LINE * (len(funnel) + 1)
    lines = "".join(_line(line, n, most[line["unit"]]) for n, line in enumerate(funnel))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" width="{_WIDTH}" height="{height}" role="img" '
        f'font-family="system-ui, sans-serif" font-size="13"><title>{_spoken(funnel)}</title>'
        f'<rect width="{_WIDTH}" height="{height}" rx="6" fill="#ffffff"/>{lines}</svg>\n'
    )


def _line(line: dict[str, Any], n: int, most: int) -> str:
    top = _LINE * n + _LINE // 2
    middle, bar = top + 13, _BAR / most
    kept, came = line["kept"] * bar, line["in"] * bar
    return (
        f'<text x="12" y="{middle + 4}" fill="{_INK}">{_said(line["step"])} '
        f'<tspan fill="{_SOFT}">{_said(line["unit"])}</tspan></text>'
        f'<rect x="{_LABEL}" y="{top + 5}" width="{came:.1f}" height="16" rx="2" fill="{_DROPPED}"/>'
        f'<rect x="{_LABEL}" y="{top + 5}" width="{kept:.1f}" height="16" rx="2" fill="{_KEPT}"/>'
        f'<text x="{_WIDTH - 12}" y="{middle + 4}" text-anchor="end" fill="{_INK}">{line["kept"]:,} '
        f'<tspan fill="{_SOFT}">of {line["in"]:,}</tspan></text>'
    )


def _spoken(funnel: list[dict[str, Any]]) -> str:
    return _said("; ".join(f"{line['step']}: {line['kept']:,} of {line['in']:,} {line['unit']} kept" for line in funnel))


def _said(raw: str) -> str:
    return escape(visible(raw))
