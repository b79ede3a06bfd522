"""What a person and other programs see while tasks are at work elsewhere: the sum of what each of them writes down."""

from __future__ import annotations

import contextlib
import json
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from curation.files import write_atomic
from factory.progress import redraw, say
from factory.watching import duration

EVERY_S = 2.0
PLAIN_EVERY_S = 10.0
_SUMMED = ("done", "reused", "retries", "refused", "failed", "cut", "prompt_tokens", "completion_tokens", "usd")
_NOW = ("tokens_per_s", "in_flight", "limit")  # only of those that are at work


@contextlib.contextmanager
def watched(folder: Path, run: Path) -> Iterator[None]:
    """Show how far the tasks of a job are, and keep it in the run's progress.json, while the block runs."""
    over, began = threading.Event(), time.monotonic()

    def written() -> dict[str, Any]:
        found = facts(folder, time.monotonic() - began)
        write_atomic(run / "progress.json", json.dumps({"over": over.is_set(), **found}, indent=1) + "\n")
        return found

    def show() -> None:
        said = began
        while not over.wait(EVERY_S):
            found = written()
            if sys.stderr.isatty():
                redraw(line(found))
            elif time.monotonic() - said >= PLAIN_EVERY_S:
                said = time.monotonic()
                say(line(found))

    thread = threading.Thread(target=show, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        if sys.stderr.isatty():
            redraw("")
        written()


def facts(folder: Path, seconds: float = 0.0) -> dict[str, Any]:
    """Tasks and those done, and the sums of what they tell of their sampling, `seconds` after they were sent.

    Of tasks that have not begun the number of samples is taken to be that of the others.
    """
    total = len(json.loads((folder / "job.json").read_text("utf-8"))["tasks"])
    ended = {path.name for path in (folder / "datatrove" / "completions").glob("*")}
    told = {p.parent.name: json.loads(p.read_text("utf-8")) for p in (folder / "work").glob("*/progress.json")}
    at_work = [t for task, t in told.items() if task not in ended]
    sums = {name: round(sum(t[name] or 0 for t in told.values()), 4) for name in _SUMMED} if told else {}
    now = {name: round(sum(t[name] or 0 for t in at_work), 1) for name in _NOW} if told else {}
    return {
        "tasks": total,
        "tasks_done": len(ended),
        **sums,
        **now,
        **(_rates(list(told.values()), total, seconds) if told else {}),
    }


def _rates(told: list[dict[str, Any]], tasks: int, seconds: float) -> dict[str, Any]:
    done, asked = sum(t["done"] for t in told), sum(t["done"] - t["reused"] for t in told)
    every = round(sum(t["total"] for t in told) * tasks / len(told))
    judged = [(t["correct_rate"], t["done"]) for t in told if t["correct_rate"] is not None and t["done"]]
    return {
        "total": every,
        "truncation_rate": round(sum(t["cut"] for t in told) / max(1, asked), 4),
        "correct_rate": round(sum(r * n for r, n in judged) / sum(n for _, n in judged), 4) if judged else None,
        "seconds_left": round((every - done) * seconds / asked, 1) if asked else None,
    }


def line(found: dict[str, Any]) -> str:
    parts = [f"tasks: {found['tasks_done']:,} of {found['tasks']:,}"]
    if "done" in found:
        parts += [f"{found['done']:,} of {found['total']:,} samples"]
        parts += [f"{duration(found['seconds_left'])} left"] if found["seconds_left"] else []
        parts += [f"{found['correct_rate']:.1%} correct"] if found["correct_rate"] is not None else []
        parts += [f"{found['truncation_rate']:.1%} cut"]
        parts += [f"{found['tokens_per_s']:,.0f} tokens/s", f"{found['in_flight']:g} in flight (limit {found['limit']:g})"]
        parts += [f"{found[name]:,} {name}" for name in ("retries", "refused", "failed") if found[name]]
        parts += [f"${found['usd']:,.2f}"] if found["usd"] else []
    return ", ".join(parts)
