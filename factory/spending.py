"""What a run has really paid for, over all its calls and processes: one small file for each of them.

The tokens of the traces are less: answers that broke off, attempts that were repeated and a judge's opinions are on the bill too.
"""

from __future__ import annotations

import json
import os
import socket
import time
from collections import Counter
from pathlib import Path
from typing import Any

from curation.files import write_atomic
from factory.meter import Meter


class Spending:
    """The file of one process; written again and again, and when it is left."""

    def __init__(self, folder: Path, meters: dict[str, Meter]) -> None:
        self._path = folder / "spent" / f"{socket.gethostname()}-{os.getpid()}-{time.time_ns()}.json"
        self._meters = meters  # of the teacher, of the judge, of the models that label problems

    def __enter__(self) -> Spending:
        return self

    def __exit__(self, *_: object) -> None:
        self.write()

    def write(self) -> None:
        spent = {name: _of(meter) for name, meter in self._meters.items() if meter.prompt_tokens or meter.completion_tokens}
        if spent:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            write_atomic(self._path, json.dumps(spent) + "\n")


def _of(meter: Meter) -> dict[str, float]:
    usd = meter.usd()
    tokens = {name: getattr(meter, name) for name in ("answers", "prompt_tokens", "completion_tokens", "lost_tokens")}
    return tokens if usd is None else {**tokens, "usd": usd}


def spent_in(folder: Path) -> dict[str, dict[str, Any]]:
    """The sums for the teacher, the judge and the labels; `lost_tokens` are in the others, `usd` is absent without a price."""
    sums: dict[str, Counter[str]] = {}
    for path in sorted((folder / "spent").glob("*.json")):
        for name, counts in json.loads(path.read_text("utf-8")).items():
            sums.setdefault(name, Counter()).update(counts)
    return {name: {k: round(v, 6) for k, v in counts.items()} for name, counts in sorted(sums.items())}
