"""The page of a training: its curves as they come, what it was made of, and its scores.

A training that goes on writes into `.NAME` beside the folder NAME that it will leave (factory.distilling); either name is
followed to the other, so that a page opened early stays with it to the end.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cards.model_card import TRAINING_MANIFEST
from cards.public import public_json
from cards.run_facts import read_json
from cards.view.curves import METRICS, Curves
from cards.view.replies import Answer, Reply, json_reply
from cards.view.results import results
from cards.view.single_file import single_file
from curation.files import write_atomic
from curation.records import content_id


def is_training(folder: Path) -> bool:
    """Is there, under this name or the working name beside it, a training that has begun?"""
    done, working = places(folder)
    return working.is_dir() or any((done / name).is_file() for name in (TRAINING_MANIFEST, METRICS))


def places(folder: Path) -> tuple[Path, Path]:
    """The folder of the finished model, and that of the training that goes on."""
    whole = Path(os.path.abspath(folder))  # not resolved: with --out the working name is a link (factory.beside)
    name = whole.name.removeprefix(".")
    return whole.with_name(name), whole.with_name(f".{name}")


def training_answers(look: Callable[[], dict[str, Any]]) -> Answer:
    """What the server of a training says: everything, or only that nothing has changed since the version the page has."""

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
    done, working = (Curves(place) for place in places(folder))

    def look() -> dict[str, Any]:
        finished = (done.folder / TRAINING_MANIFEST).is_file()
        curves = working if not finished and working.folder.is_dir() else done
        stage = as_stage(curves, finished)
        return {"name": stage["name"], "finished": finished, "stages": [stage]}

    return look


def as_stage(curves: Curves, finished: bool) -> dict[str, Any]:
    """One training: name, state, step and steps, its curves, its record and its results."""
    curves.read()
    path = curves.folder / TRAINING_MANIFEST
    record = public_json(read_json(curves.folder, TRAINING_MANIFEST)) if path.is_file() else {}
    return {
        "name": record.get("name", curves.folder.name.removeprefix(".")),
        "state": "finished" if finished else "not finished",
        "said": "" if finished else _newest(curves),
        "step": curves.step,
        "steps": curves.total,
        "marks": curves.marks,
        "curves": curves.shown(),
        "record": record,
        "results": results(curves.folder / "evals"),
    }


def _newest(curves: Curves) -> str:
    """When the last step was done: a training that was killed looks like one that goes on, but for this."""
    written = max((path.stat().st_mtime for path in curves.ends), default=None)
    return f"last step at {time.strftime('%Y-%m-%d %H:%M:%S', time.localtime(written))}" if written else "no step yet"


def write_training_report(folder: Path) -> Path:
    """Write `report.html` of a finished training into its folder, whole or not at all: the page as one file."""
    path = folder / "report.html"
    write_atomic(path, single_file("training.html", watcher(folder)()))
    return path
