"""The metrics of a training as a picture beside the model, `training.svg`: loss, learning rate, tokens a second, MFU and the like.

The lines it reads are those that every training writes, metrics.jsonl: a JSON object a line, one for each optimiser step, in order.
Of all trainings: step (from 1), steps (of the whole training), epoch, loss (mean over the learned tokens of the step, nats),
learning_rate, grad_norm (before it is cut), tokens (through the model since the first step, padding apart),
tokens_per_second (of this step, all processes). Of supervised ones also: seconds (of this step), mean_token_accuracy, and on a GPU
memory_gib (the most that tensors held since the start) and mfu (training.mfu; share of the peak, where the GPU's is known).
Of reinforcement learning: what training.grpo_lines lists, and `rewards`, an object. A key that a step has no value for is absent.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

from curation.files import write_atomic

# Key -> title, in the order of the panels. Those that no line has are left out.
PANELS = {
    "loss": "loss",
    "reward": "reward",
    "learning_rate": "learning rate",
    "tokens_per_second": "tokens/s",
    "mfu": "MFU",
    "grad_norm": "gradient norm",
    "mean_token_accuracy": "token accuracy",
    "reward_std": "reward spread",
    "silent_groups": "groups without signal",
    "truncated": "truncated",
    "mean_tokens": "tokens of a completion",
    "entropy": "entropy",
    "kl": "KL",
    "mismatch": "student against sampler",
    "memory_gib": "memory, GiB",
}
_POINTS = 300  # of a curve; a panel is 360 pixels wide
_WIDTH, _HEIGHT, _LEFT, _TOP, _BOTTOM = 430, 170, 62, 30, 26  # pixels of a panel, and of its margins
_INK, _SOFT, _LINE, _GRID = "#1d2129", "#626b78", "#4a78b5", "#e4e7ec"


def write_curves(metrics: Path, picture: Path) -> None:
    """Draw metrics.jsonl of any training to an SVG file."""
    write_atomic(picture, curves_svg([json.loads(line) for line in metrics.read_text("utf-8").splitlines()]))


def curves_svg(lines: Sequence[dict[str, Any]]) -> str:
    """An SVG document without scripts or fonts: a panel for each known key that has a number, two in a row, over the steps."""
    found = {key: [(line["step"], line[key]) for line in lines if isinstance(line.get(key), int | float)] for key in PANELS}
    panels = [(PANELS[key], points) for key, points in found.items() if points]
    width, height = 2 * _WIDTH, _HEIGHT * ((len(panels) + 1) // 2)
    drawn = "".join(_panel(title, points, n % 2 * _WIDTH, n // 2 * _HEIGHT) for n, (title, points) in enumerate(panels))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img" '
        f'font-family="system-ui, sans-serif" font-size="12"><title>{_spoken(panels)}</title>'
        f'<rect width="{width}" height="{height}" rx="6" fill="#ffffff"/>{drawn}</svg>\n'
    )


def _panel(title: str, points: list[tuple[int, float]], left: int, top: int) -> str:
    thin = _thinned(points)
    low, high = min(y for _, y in thin), max(y for _, y in thin)
    first, last = thin[0][0], max(thin[-1][0], thin[0][0] + 1)
    wide, tall = _WIDTH - _LEFT - 14, _HEIGHT - _TOP - _BOTTOM
    spread = (high - low) or abs(high) or 1.0

    def place(x: float, y: float) -> str:
        return f"{_LEFT + (x - first) / (last - first) * wide:.1f},{_TOP + tall - (y - low) / spread * tall:.1f}"

    ends = "".join(
        f'<line x1="{_LEFT}" x2="{_LEFT + wide}" y1="{y}" y2="{y}" stroke="{_GRID}"/>'
        f'<text x="{_LEFT - 6}" y="{y + 4}" text-anchor="end" fill="{_SOFT}">{_number(value)}</text>'
        for y, value in ((_TOP, high), (_TOP + tall, low))
    )
    return (
        f'<g transform="translate({left} {top})"><text x="{_LEFT}" y="18" fill="{_INK}">{escape(title)} '
        f'<tspan fill="{_SOFT}">{_number(points[-1][1])} at the end</tspan></text>{ends}'
        f'<polyline fill="none" stroke="{_LINE}" stroke-width="1.5" points="{" ".join(place(x, y) for x, y in thin)}"/>'
        f'<text x="{_LEFT}" y="{_HEIGHT - 8}" fill="{_SOFT}">{first:,.0f}</text>'
        f'<text x="{_LEFT + wide}" y="{_HEIGHT - 8}" text-anchor="end" fill="{_SOFT}">step {points[-1][0]:,}</text></g>'
    )


def _thinned(points: list[tuple[int, float]]) -> list[tuple[float, float]]:
    """Means over runs of steps, so that no more are drawn than can be seen."""
    size = -(-len(points) // _POINTS)
    runs = [points[at : at + size] for at in range(0, len(points), size)]
    return [(sum(x for x, _ in run) / len(run), sum(y for _, y in run) / len(run)) for run in runs]


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def _spoken(panels: Sequence[tuple[str, list[tuple[int, float]]]]) -> str:
    return escape("; ".join(f"{title}: {_number(points[0][1])} to {_number(points[-1][1])}" for title, points in panels))
