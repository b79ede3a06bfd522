"""The numbers of a training, read from its metrics.jsonl as they come and thinned to what a screen can show."""

from __future__ import annotations

import json
from array import array
from pathlib import Path
from typing import Any

import numpy as np

from curation.errors import UserError

POINTS = 400  # of one curve: a plot is about 500 pixels wide
_COUNTERS = ("step", "steps", "epoch", "tokens")  # where a training is, not how it goes


class Curves:
    """One metrics.jsonl: a JSON object a line, with `step` and numbers by name. `read` goes on from where the last one ended."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.forget()

    def forget(self) -> None:
        self.at, self.before = 0, b""  # bytes read, and the last of them: another file under the same name is seen
        self.last: dict[str, Any] = {}  # the newest line
        self.steps: dict[str, array[float]] = {}
        self.values: dict[str, array[float]] = {}

    def read(self) -> None:
        """Take in what was written since; all of it again where a resumed training took lines back."""
        if not self.path.is_file():
            return self.forget()
        with self.path.open("rb") as file:
            file.seek(max(0, self.at - len(self.before)))
            if self.path.stat().st_size < self.at or file.read(len(self.before)) != self.before:
                self.forget()
                file.seek(0)
            whole, end, _ = file.read().rpartition(b"\n")  # the last line may be in the middle of being written
        self.at += len(whole) + len(end)
        self.before = (self.before + whole + end)[-200:]
        for line in whole.split(b"\n") if whole else ():
            self._take(line)

    def _take(self, line: bytes) -> None:
        try:
            found = json.loads(line)
            step = float(found["step"])
        except (ValueError, KeyError, TypeError):
            raise UserError(f"{self.path} has a line that is no object with a step: {line[:80]!r}") from None
        self.last = found
        for name, value in found.items():
            if isinstance(value, int | float) and not isinstance(value, bool) and name not in _COUNTERS:
                self.steps.setdefault(name, array("d")).append(step)
                self.values.setdefault(name, array("d")).append(value)

    def shown(self) -> list[dict[str, Any]]:
        """Each curve as {name, points, broken}, in the order in which the names came; see `thinned`."""
        return [{"name": name, **thinned(self.steps[name], self.values[name])} for name in self.values]


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
