"""The loss of a training as a picture beside the model's card, in plain SVG without scripts or fonts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

_WIDTH, _HEIGHT, _LEFT, _EDGE, _BOTTOM = 860, 260, 70, 16, 34  # pixels
_POINTS = 800  # a line a pixel: what is more is averaged
_LINE, _INK, _SOFT, _RULE = "#4a78b5", "#1d2129", "#626b78", "#dfe3e8"


def loss_svg(lines: Sequence[dict[str, Any]]) -> str:
    """Loss by step of the lines of a metrics.jsonl, as an SVG document with a ground of its own, for light and dark pages."""
    losses = [float(line["loss"]) for line in lines if math.isfinite(line.get("loss", math.nan))]
    points = _averaged(losses)
    low, high = min(points, default=0.0), max(points, default=1.0)
    spread = high - low or 1.0
    wide, tall = _WIDTH - _LEFT - _EDGE, _HEIGHT - _EDGE - _BOTTOM
    places = [(_LEFT + wide * n / max(1, len(points) - 1), _EDGE + tall * (high - p) / spread) for n, p in enumerate(points)]
    drawn = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    rules = "".join(_rule(_EDGE + tall * n / 4, high - spread * n / 4) for n in range(5))
    said = f"loss from {losses[0]:.4g} to {losses[-1]:.4g} over {len(lines):,} steps" if losses else "no loss"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" width="{_WIDTH}" height="{_HEIGHT}" role="img" '
        f'font-family="system-ui, sans-serif" font-size="13"><title>{said}</title>'
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" rx="6" fill="#ffffff"/>{rules}'
        f'<polyline points="{drawn}" fill="none" stroke="{_LINE}" stroke-width="1.6" stroke-linejoin="round"/>'
        f'<text x="{_LEFT}" y="{_HEIGHT - 12}" fill="{_INK}">{said}</text></svg>\n'
    )


def _averaged(values: Sequence[float]) -> list[float]:
    size = max(1, math.ceil(len(values) / _POINTS))
    parts = [values[n : n + size] for n in range(0, len(values), size)]
    return [sum(part) / len(part) for part in parts]


def _rule(y: float, value: float) -> str:
    return (
        f'<line x1="{_LEFT}" x2="{_WIDTH - _EDGE}" y1="{y:.1f}" y2="{y:.1f}" stroke="{_RULE}"/>'
        f'<text x="{_LEFT - 8}" y="{y + 4:.1f}" text-anchor="end" fill="{_SOFT}">{value:.3g}</text>'
    )
