"""What the page of a training is given: curves read on as they are written, thinned, joined over stages; and the report."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from training_folders import pipeline

from cards.view.curves import POINTS, Curves
from cards.view.pipeline_page import pipeline_watcher, write_pipeline_report
from cards.view.training_page import is_training, training_answers, watcher, write_training_report
from curation.errors import UserError
from factory.beside import shown_beside


def lines(path: Path, steps: range, mode: str = "w", **more: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open(mode, encoding="utf-8") as file:
        file.writelines(json.dumps({"step": s, "steps": 100, "epoch": 0.1, "loss": 1 / s, **more}) + "\n" for s in steps)


def loss(curves: Curves) -> list[float]:
    curves.read()
    return next((c["points"] for c in curves.shown() if c["name"] == "loss"), [])


def test_what_is_written_later_is_read_on(tmp_path: Path) -> None:
    curves, path = Curves(tmp_path), tmp_path / "metrics.jsonl"
    assert loss(curves) == []
    lines(path, range(1, 3))
    assert [p[0] for p in loss(curves)] == [1, 2]
    with path.open("a") as file:
        file.write('{"step": 3, "steps": 100, "lo')
    assert [p[0] for p in loss(curves)] == [1, 2]
    with path.open("a") as file:
        file.write('ss": 0.5}\n')
    assert loss(curves)[-1] == [3, 0.5, 0.5, 0.5]
    assert (curves.step, curves.total) == (3, 100)


def test_lines_taken_back_are_forgotten(tmp_path: Path) -> None:
    curves, path = Curves(tmp_path), tmp_path / "metrics.jsonl"
    lines(path, range(1, 30))
    assert len(loss(curves)) == 29
    lines(path, range(1, 10))  # resumed from an earlier checkpoint
    assert len(loss(curves)) == 9
    lines(path, range(1, 60), seed=1)  # and longer than before, but not the same
    assert len(loss(curves)) == 59


def test_a_long_run_is_thinned_and_no_spike_is_lost(tmp_path: Path) -> None:
    lines(tmp_path / "metrics.jsonl", range(1, 5_001))
    lines(tmp_path / "metrics.jsonl", range(5_001, 5_002), "a", loss=77.0)
    lines(tmp_path / "metrics.jsonl", range(5_002, 10_001), "a")
    points = loss(Curves(tmp_path))
    assert len(points) == POINTS and points[-1][0] == 10_000
    assert max(p[3] for p in points) == 77 and all(low <= mean <= high for _, mean, low, high in points)


def test_values_that_are_no_numbers_are_counted(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    lines(path, range(1, 3))
    lines(path, range(3, 6), "a", loss=math.nan)
    curves = Curves(tmp_path)
    curves.read()
    (shown,) = curves.shown()
    assert len(shown["points"]) == 2 and shown["broken"] == 3
    json.dumps(curves.shown(), allow_nan=False)


def test_groups_of_numbers_are_curves_and_stages_follow_one_another(tmp_path: Path) -> None:
    for n in (1, 2, 10):
        lines(tmp_path / f"stage-{n}" / "metrics.jsonl", range(1, 4), rewards={"accuracy": 0.5})
    curves = Curves(tmp_path)
    assert [p[0] for p in loss(curves)] == [1, 2, 3, 4, 5, 6, 7, 8, 9]
    assert curves.marks == [3, 6] and [c["name"] for c in curves.shown()] == ["loss", "rewards/accuracy"]
    path = tmp_path / "metrics.jsonl"  # what is left of them at the end
    lines(path, range(1, 4), stage=1)
    lines(path, range(1, 4), "a", stage=2)
    assert [p[0] for p in loss(curves)] == [1, 2, 3, 4, 5, 6] and curves.marks == [3]


@pytest.mark.parametrize("line", ["[]", "no JSON", '{"loss": 1}', '{"step": "x"}', '{"step": null}'])
def test_a_line_that_is_no_metric_is_said(tmp_path: Path, line: str) -> None:
    (tmp_path / "metrics.jsonl").write_text(line + "\n")
    with pytest.raises(UserError, match="no object with a step"):
        Curves(tmp_path).read()


def test_a_page_stays_with_a_training_until_its_folder_is_there(tmp_path: Path) -> None:
    assert not is_training(tmp_path / "student")
    lines(tmp_path / ".student" / "metrics.jsonl", range(1, 5))
    assert is_training(tmp_path / "student") and is_training(tmp_path / ".student")
    look = watcher(tmp_path / ".student")
    assert not look()["finished"] and look()["stages"][0]["step"] == 4
    (tmp_path / ".student").rename(tmp_path / "student")
    (tmp_path / "student" / "training_manifest.json").write_text(json.dumps({"command": "factory distill /home/me/run"}))
    assert look()["finished"] and look()["stages"][0]["record"] == {"command": "factory distill run"}
    assert len(look()["stages"][0]["curves"][0]["points"]) == 4


def test_only_what_is_new_is_sent(tmp_path: Path) -> None:
    lines(tmp_path / "metrics.jsonl", range(1, 5))
    answer = training_answers(watcher(tmp_path))

    def asked(seen: str) -> dict[str, Any]:
        reply = answer("/api/training", {"seen": seen})
        assert reply is not None
        found: dict[str, Any] = json.loads(reply.body)
        return found

    first = asked("")
    assert first["data"]["name"] == tmp_path.name
    assert asked(first["version"]) == {"version": first["version"], "finished": False}
    lines(tmp_path / "metrics.jsonl", range(5, 6), "a")
    assert asked(first["version"])["data"]["stages"][0]["step"] == 5
    assert answer("/api/rows", {}) is None


def test_scores_in_the_folder_are_shown_oldest_first(tmp_path: Path) -> None:
    lines(tmp_path / "metrics.jsonl", range(1, 5))
    (tmp_path / "evals").mkdir()
    for name, created in (("b", "2026-01-01"), ("a", "2026-01-02")):
        found = {
            "result": 1,
            "created": created,
            "suite": {"name": name},
            "settings": {},
            "scores": {"pass@1": {"value": 0.5}},
            "correct": {"p": [True]},
        }
        (tmp_path / "evals" / f"{name}.json").write_text(json.dumps(found))
    shown = watcher(tmp_path)()["stages"][0]["results"]
    assert [s["suite"]["name"] for s in shown] == ["b", "a"] and "correct" not in shown[0]


def test_the_report_is_one_file_the_same_every_time(tmp_path: Path) -> None:
    lines(tmp_path / "metrics.jsonl", range(1, 5))
    (tmp_path / "training_manifest.json").write_text(json.dumps({"name": "</script><script>alert(1)</script>"}))
    first = write_training_report(tmp_path).read_bytes()
    assert first == write_training_report(tmp_path).read_bytes()
    assert b"<script>alert" not in first and b"<script src" not in first and b'<link rel="stylesheet"' not in first


def test_a_pipeline_is_its_stages_as_they_stand(tmp_path: Path) -> None:
    look = pipeline_watcher(pipeline(tmp_path))
    start, after, rl, more, last = look()["stages"]
    assert (start["state"], start["step"], len(start["curves"])) == ("done", 50, 2)
    assert [s["outcome"] for s in after["results"][0]["samples"]] == ["correct", "incorrect", "incorrect"]
    assert (rl["state"], rl["step"], rl["marks"]) == ("running", 30, [20]) and rl["curves"][-1]["name"] == "rewards/accuracy"
    assert more["error"].startswith("no file ") and "/home/me" not in more["error"]
    assert (last["state"], last["curves"], last["results"]) == ("waiting", [], [])
    (tmp_path / ".rl-1").rename(tmp_path / "rl-1")
    assert look()["stages"][2]["step"] == 30
    assert write_pipeline_report(tmp_path).read_bytes() == write_pipeline_report(tmp_path).read_bytes()


def test_a_training_with_a_folder_of_its_own_is_found_beside_it(tmp_path: Path) -> None:
    work, out = tmp_path / "students" / ".x-1", tmp_path / "mine" / "model"
    lines(work / "metrics.jsonl", range(1, 4))
    with pytest.raises(KeyboardInterrupt), shown_beside(work, out):
        raise KeyboardInterrupt
    assert is_training(out) and watcher(out)()["stages"][0]["step"] == 3
    with shown_beside(work, out):
        assert watcher(out)()["stages"][0]["step"] == 3
    assert not is_training(out) and not list((tmp_path / "mine").iterdir())
    with shown_beside(work, work.with_name("x-1")):
        assert [p.name for p in (tmp_path / "students").iterdir()] == [".x-1"]
    assert work.is_dir()
