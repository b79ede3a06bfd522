"""The picture of a training."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

from training.curves import curves_svg, write_curves

SVG = "{http://www.w3.org/2000/svg}"


def lines(count: int, **more: float) -> list[dict[str, object]]:
    return [
        {"step": n, "steps": count, "loss": 2.0 / n, "learning_rate": 1e-5 * n, "rewards": {"a": 1}, **more}
        for n in range(1, count + 1)
    ]


def panels(svg: str) -> list[str]:
    root = ElementTree.fromstring(svg)
    return [group.find(f"{SVG}text").text.strip() for group in root.findall(f"{SVG}g")]  # type: ignore[union-attr]


def test_it_draws_what_the_lines_have_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines(5, tokens_per_second=100.0)))
    write_curves(tmp_path / "metrics.jsonl", tmp_path / "training.svg")
    svg = (tmp_path / "training.svg").read_text()
    assert panels(svg) == ["loss", "learning rate", "tokens/s"]
    assert "loss: 2 to 0.4" in svg and "<script" not in svg
    assert panels(curves_svg(lines(3, mfu=0.5, reward=0.1, kl=0.01))) == ["loss", "reward", "learning rate", "MFU", "KL"]


def test_a_long_training_is_thinned_and_a_flat_or_short_one_is_drawn() -> None:
    root = ElementTree.fromstring(curves_svg(lines(10_000, reward=0.0)))
    curves = [line.attrib["points"].split() for line in root.iter(f"{SVG}polyline")]
    assert all(len(points) <= 300 for points in curves)
    assert len({point.split(",")[1] for point in curves[1]}) == 1  # the reward never moved
    assert panels(curves_svg(lines(1))) == ["loss", "learning rate"]
    assert panels(curves_svg([])) == []


def test_a_step_without_a_value_is_no_zero() -> None:
    some = lines(4)
    some[1]["reward"], some[3]["reward"] = 0.5, 1.0
    root = ElementTree.fromstring(curves_svg(some))
    (_, reward, _) = [line.attrib["points"].split() for line in root.iter(f"{SVG}polyline")]
    assert len(reward) == 2
