"""The page of a training: its curves as they come, what it was made of, and its scores. A pipeline shows one after another.

A training that goes on writes into `.NAME` beside the folder NAME that it will leave (factory.distilling); either name is
followed to the other, so that a page opened early stays with it to the end.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cards.model_card import TRAINING_MANIFEST
from cards.public import public_json
from cards.run_facts import read_json
from cards.view.curves import Curves
from cards.view.replies import Answer, Reply, json_reply
from cards.view.single_file import single_file
from curation.files import write_atomic
from curation.records import content_id

METRICS = "metrics.jsonl"


def is_training(folder: Path) -> bool:
    """Is there, under this name or the working name beside it, a training that has begun?"""
    return any((place / name).is_file() for place in _places(folder) for name in (METRICS, TRAINING_MANIFEST))


def _places(folder: Path) -> tuple[Path, Path]:
    """The folder of the finished model, and that of the training that goes on."""
    whole = folder.resolve()
    name = whole.name.removeprefix(".")
    return whole.with_name(name), whole.with_name(f".{name}")


def training_answers(folder: Path) -> Answer:
    """What the server of a training says: everything, or only that nothing has changed since the version the page has."""
    look = watcher(folder)

    def answer(path: str, query: dict[str, str]) -> Reply | None:
        if path != "/api/training":
            return None
        data = look()
        version = content_id(data)
        news = {} if query.get("seen") == version else {"data": data}
        return json_reply({"version": version, "finished": data["finished"], **news})

    return answer


def watcher(folder: Path) -> Callable[[], dict[str, Any]]:
    """A function that gives the page's data as of now; it reads on in the files where it stopped the time before."""
    done, working = (Curves(place / METRICS) for place in _places(folder))

    def look() -> dict[str, Any]:
        finished = (done.path.parent / TRAINING_MANIFEST).is_file()
        curves = done if finished or not working.path.is_file() else working
        curves.read()
        return {"name": done.path.parent.name, "finished": finished, "stages": [stage(curves, finished)]}

    return look


def stage(curves: Curves, finished: bool) -> dict[str, Any]:
    """One training: name, state, step and steps, its curves, its record and its scores."""
    folder = curves.path.parent
    record = read_json(folder, TRAINING_MANIFEST) if finished else {}
    return {
        "name": folder.name.removeprefix("."),
        "state": "finished" if finished else "running",
        "step": curves.last.get("step"),
        "steps": curves.last.get("steps"),
        "curves": curves.shown(),
        "record": public_json(record),
        "scores": scores(folder),
    }


def scores(folder: Path) -> list[dict[str, Any]]:
    """Results of `factory eval` that lie in the folder's evals/, oldest first, without the verdict on each question."""
    found = [json.loads(path.read_text("utf-8")) for path in sorted((folder / "evals").glob("*.json"))]
    kept = [{key: result[key] for key in ("created", "suite", "settings", "scores")} for result in found]
    return sorted(kept, key=lambda result: str(result["created"]))


def write_training_report(folder: Path) -> Path:
    """Write `report.html` of a finished training into its folder, whole or not at all: the page as one file."""
    path = folder / "report.html"
    write_atomic(path, single_file("training.html", watcher(folder)()))
    return path
