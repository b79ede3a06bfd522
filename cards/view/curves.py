"""The numbers of a training, read from its metrics.jsonl as they come and thinned to what a screen can show."""

from __future__ import annotations

import json
from array import array
from pathlib import Path
from typing import Any

import numpy as np

from curation.errors import UserError

POINTS = 400  # of one curve: a plot is about 500 pixels wide
METRICS = "metrics.jsonl"
_COUNTERS = ("stage", "step", "steps", "epoch", "tokens")  # where a training is, not how it goes


class Curves:
    """The metrics of one training: a JSON object a line with `step`, `steps`, numbers by name and groups of them.

    They lie in metrics.jsonl, or, while a training of several stages goes on, in stage-N/metrics.jsonl; a line of such a training
    names its `stage`, each of which counts its steps from one. Here they follow one another. `read` goes on from where the last
    one ended.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.forget()

    def forget(self) -> None:
        self.ends: dict[Path, tuple[int, bytes]] = {}  # bytes read of each file, and the last of them: a change shows in them
        self.stage, self.before, self.marks = (0, 0), 0, list[int]()  # stage, steps of those before it, where each begins
        self.step, self.total = 0, 0  # the newest line's, all stages so far counted
        self.steps: dict[str, array[float]] = {}
        self.values: dict[str, array[float]] = {}

    def read(self) -> None:
        """Take in what was written since; all of it again where a resumed training took lines back.

        Raises UserError for a line that is no object with a step.
        """
        whole = self.folder / METRICS
        files = [whole] if whole.is_file() else sorted(self.folder.glob(f"stage-*/{METRICS}"), key=lambda p: (len(str(p)), p))
        if any(path not in files or not _goes_on(path, *end) for path, end in self.ends.items()):
            self.forget()
        for number, path in enumerate(files):
            at, last = self.ends.get(path, (0, b""))
            with path.open("rb") as file:
                file.seek(at)
                lines, end, _ = file.read().rpartition(b"\n")  # the last line may be in the middle of being written
            self.ends[path] = at + len(lines) + len(end), (last + lines + end)[-200:]
            for line in lines.split(b"\n") if lines else ():
                self._take(path, number, line)

    def _take(self, path: Path, number: int, line: bytes) -> None:
        try:
            found = json.loads(line)
            stage, step = (number, int(found.get("stage", 1))), int(found["step"])
        except (ValueError, KeyError, TypeError, AttributeError):
            raise UserError(f"{path} has a line that is no object with a step: {line[:80]!r}") from None
        if stage != self.stage and self.step:
            self.before = self.step
            self.marks.append(self.step)
        self.stage, self.step, self.total = stage, self.before + step, self.before + int(found.get("steps", 0))
        for name, value in found.items():
            if isinstance(value, dict):
                for inner, one in value.items():
                    self._add(f"{name}/{inner}", one)
            elif name not in _COUNTERS:
                self._add(name, value)

    def _add(self, name: str, value: object) -> None:
        if isinstance(value, int | float) and not isinstance(value, bool):
            self.steps.setdefault(name, array("d")).append(self.step)
            self.values.setdefault(name, array("d")).append(value)

    def shown(self) -> list[dict[str, Any]]:
        """Each curve as {name, points, broken}, in the order in which the names came; see `thinned`."""
        return [{"name": name, **thinned(self.steps[name], self.values[name])} for name in self.values]


def _goes_on(path: Path, at: int, last: bytes) -> bool:
    """Does the file still hold what was read of it?"""
    if not path.is_file() or path.stat().st_size < at:
        return False
    with path.open("rb") as file:
        file.seek(at - len(last))
        return file.read(len(last)) == last


def thinned(steps: array[float], values: array[float]) -> dict[str, Any]:
    """At most POINTS points [step, mean, lowest, highest], each over neighbouring lines, so that no spike is lost.

    `broken` counts values that are no numbers (NaN, infinite): they have no place in a plot.
    """
    x, y = np.frombuffer(steps), np.frombuffer(values)
    finite = np.isfinite(y)
    x, y, broken = x[finite], y[finite], int((~finite).sum())
    if not len(y):
        return {"points": [], "broken": broken}
    starts = np.unique(np.linspace(0, len(y), min(POINTS, len(y)), endpoint=False).astype(int))
    counts = np.diff([*starts, len(y)])
    mean, low, high = (f.reduceat(y, starts) for f in (np.add, np.minimum, np.maximum))
    columns = (x[starts + counts - 1], mean / counts, low, high)
    return {"points": [[float(f"{v:.6g}") for v in point] for point in zip(*columns, strict=True)], "broken": broken}
