"""The picture of a result of countdown_student.py: pass@1 after every stage with its interval, as SVG beside the result."""

from __future__ import annotations

import json
from pathlib import Path

WIDTH, HEIGHT, LEFT, BOTTOM = 640, 320, 50, 60
COLOURS = {"sampled": "#1f6f8b", "greedy": "#d98c2b"}


def draw_picture(result: Path) -> Path:
    found = json.loads(result.read_text("utf-8"))
    stages = found["stages"]
    step = (WIDTH - LEFT) / max(1, len(stages))
    parts = [_axis()]
    for n, stage in enumerate(stages):
        for place, (name, colour) in enumerate(COLOURS.items()):
            score = stage[name]["pass@1"]
            low, high = score["questions_interval"]
            x = LEFT + step * n + step * (0.2 + 0.3 * place)
            top = _y(score["value"])
            parts.append(f'<rect x="{x:.0f}" y="{top:.1f}" width="{step * 0.26:.0f}" height="{_y(0) - top:.1f}" fill="{colour}"/>')
            middle = x + step * 0.13
            parts.append(f'<path d="M{middle:.0f} {_y(low):.1f}V{_y(high):.1f}" stroke="#222" stroke-width="2"/>')
            parts.append(_text(middle, min(top, _y(high)) - 5, f"{100 * score['value']:.1f}", 11))
        parts.append(_text(LEFT + step * (n + 0.48), HEIGHT - BOTTOM + 18, stage["stage"], 12))
    legend = "pass@1 in percent on held-out puzzles, 95 percent intervals: one sample at temperature 1 (blue), greedy (orange)"
    parts.append(_text(WIDTH / 2, HEIGHT - 10, legend, 11))
    svg = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif">{"".join(parts)}</svg>\n'
    )
    path = result.with_suffix(".svg")
    path.write_text(svg, "utf-8")
    return path


def _y(share: float) -> float:
    return (HEIGHT - BOTTOM) - share * (HEIGHT - BOTTOM - 25)


def _axis() -> str:
    lines = [
        f'<path d="M{LEFT} {_y(n / 4):.1f}H{WIDTH}" stroke="#ddd"/>{_text(LEFT - 18, _y(n / 4) + 4, str(25 * n), 11)}'
        for n in range(5)
    ]
    return f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>{"".join(lines)}'


def _text(x: float, y: float, text: str, size: int) -> str:
    return f'<text x="{x:.0f}" y="{y:.0f}" font-size="{size}" text-anchor="middle" fill="#222">{text}</text>'
