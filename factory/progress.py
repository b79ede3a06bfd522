"""What a person sees while work goes on: a bar on a terminal, a plain line now and then in a pipe. All of it on stderr."""

from __future__ import annotations

import os
import sys
import textwrap
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")
PLAIN_EVERY_S = 10.0  # a log file of a ten-hour run stays under 4,000 lines


def say(line: str) -> None:
    if sys.stderr.isatty():
        redraw("")  # what stands there without an end is drawn again
    print(line, file=sys.stderr, flush=True)


def redraw(line: str) -> None:
    """Draw a line of a terminal again; one that is too long for it takes two rows, and ends there."""
    width = os.get_terminal_size(sys.stderr.fileno()).columns - 1  # a row that is full would scroll
    rows = textwrap.wrap(line, max(20, width))[:2] or [""]
    back = "\033[A" * (len(rows) - 1)
    print("\r\033[J" + "\n".join(rows) + back, end="", file=sys.stderr, flush=True)


def track(items: Iterable[T], what: str, total: int | None, unit: str) -> Iterator[T]:
    """Pass `items` through, showing how many are done, how many a second, and the time left."""
    return _bar(items, what, total, unit) if sys.stderr.isatty() else _lines(items, what, total, unit)


def _bar(items: Iterable[T], what: str, total: int | None, unit: str) -> Iterator[T]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn

    columns = (
        SpinnerColumn(),
        TextColumn(f"{what:<12}"),
        BarColumn(bar_width=30),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(what, total=total, rate="")
        started = time.monotonic()
        for done, item in enumerate(items, 1):
            yield item
            progress.update(task, completed=done, rate=_rate(done, started, unit))


def _lines(items: Iterable[T], what: str, total: int | None, unit: str) -> Iterator[T]:
    started = last = time.monotonic()
    for done, item in enumerate(items, 1):
        yield item
        if (now := time.monotonic()) - last >= PLAIN_EVERY_S:
            last = now
            left = f", {_duration((total - done) * (now - started) / done)} left" if total else ""
            say(f"{what}: {done:,}{f' of {total:,}' if total else ''}, {_rate(done, started, unit)}{left}")


def _rate(done: int, started: float, unit: str) -> str:
    per_second = done / max(time.monotonic() - started, 1e-9)
    return f"{per_second:,.0f} {unit}/s" if per_second >= 10 else f"{per_second:.2g} {unit}/s"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes:02}m" if hours else f"{minutes}m{rest:02}s" if minutes else f"{rest}s"
