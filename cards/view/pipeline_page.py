"""The page of a pipeline: its stages in order, each with what it left. The formats are in factory.pipeline's first lines."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from cards.public import public_json
from cards.run_facts import read_json
from cards.view.curves import Curves
from cards.view.results import results
from cards.view.single_file import single_file
from cards.view.training_page import as_stage, places
from curation.files import write_atomic

PIPELINE = "pipeline.json"


def is_pipeline(folder: Path) -> bool:
    return (folder / PIPELINE).is_file()


def pipeline_watcher(folder: Path) -> Callable[[], dict[str, Any]]:
    """A function that gives the page's data as of now; curves are read on where they ended the time before."""
    curves: dict[Path, Curves] = {}

    def look() -> dict[str, Any]:
        record = read_json(folder, PIPELINE)
        return {
            "name": " ".join(filter(None, (record["name"], record["size"]))),
            "description": record["description"],
            "finished": record["state"] == "done",
            "state": record["state"],
            "command": public_json(record["command"]),
            "stages": [_stage(folder, stage, curves) for stage in record["stages"]],
        }

    return look


def _stage(home: Path, stage: dict[str, Any], curves: dict[Path, Curves]) -> dict[str, Any]:
    head = {
        "name": stage["name"],
        "does": stage["does"],
        "state": stage["state"],
        "said": "" if stage["seconds"] is None else f"{stage['seconds']:,.0f} s",
        "error": public_json(stage["error"]),
        "facts": public_json(stage["facts"]),
        "settings": public_json(stage["settings"]),
    }
    empty: dict[str, Any] = {"step": None, "steps": None, "marks": [], "curves": [], "record": {}, "results": []}
    if not stage["folder"]:
        return empty | head
    folder = home / stage["folder"]
    if stage["does"] in ("distill", "grpo"):
        done, working = places(folder)
        place = working if working.is_dir() and not done.is_dir() else done
        return as_stage(curves.setdefault(place, Curves(place)), place == done) | head
    return empty | {"results": results(folder)} | head


def write_pipeline_report(folder: Path) -> Path:
    """Write `report.html` of a pipeline into its folder, whole or not at all: the page as one file, as of now."""
    path = folder / "report.html"
    write_atomic(path, single_file("training.html", pipeline_watcher(folder)()))
    return path
