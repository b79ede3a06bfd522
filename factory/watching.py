"""What a person sees while a teacher is sampled, and what other programs read: progress.json in the run's folder."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from curation.files import write_atomic
from factory.meter import Meter
from factory.progress import redraw, say

PLAIN_EVERY_S = 10.0
FILE_EVERY_S = 2.0
RATE_OVER_S = 60.0  # tokens a second are those of the last minute


class Watching:
    """`show` is called again and again while the build waits for the teacher. Left as a context, it says that sampling is over."""

    def __init__(self, folder: Path, meter: Meter, total: int, note: Callable[[], None] = lambda: None) -> None:
        self.folder, self.meter, self.total = folder, meter, total
        self._note = note  # called whenever the file is written
        self.before = 0  # samples of the shards and rounds that are finished
        self._done = 0  # of the one that is at work
        self._started = self._said = time.monotonic()
        self._wrote = float("-inf")
        self._tokens: list[tuple[float, int]] = [(self._started, 0)]

    def __enter__(self) -> Watching:
        return self

    def __exit__(self, *_: object) -> None:
        self._write(over=True)
        if sys.stderr.isatty():
            redraw("")

    def show(self, done: int, of: int) -> None:
        self._done = done
        now = time.monotonic()
        tokens = max(self.meter.completion_tokens, self.meter.pieces)
        self._tokens = [(t, n) for t, n in self._tokens if now - t <= RATE_OVER_S] + [(now, tokens)]
        last = done == of
        if now - self._wrote >= FILE_EVERY_S or last:
            self._wrote = now
            self._write(over=False)
        if sys.stderr.isatty():
            redraw("" if last else self.line(done))
        elif now - self._said >= PLAIN_EVERY_S:
            self._said = now
            say(self.line(done))

    def _write(self, *, over: bool) -> None:
        self._note()
        facts = {"over": over, **self.facts(self._done)}
        write_atomic(self.folder / "progress.json", json.dumps(facts, indent=1) + "\n")

    def another_round(self, samples: int) -> None:
        """Of a shard whose first is in the total already."""
        self.total += samples

    def finished(self, samples: int) -> None:
        """A shard's round is over and counts from now on."""
        self.before += samples
        self._done = 0

    def facts(self, done: int) -> dict[str, Any]:
        m = self.meter
        answered = max(1, m.answers + m.failed)
        seconds = time.monotonic() - self._started
        left = max(0, self.total - self.before - done)
        return {
            "done": self.before + done,
            "total": self.total,
            "reused": m.reused,
            "tokens_per_s": round(self._rate(), 1),
            "in_flight": m.in_flight,
            "limit": round(m.limit),
            "starts_per_s": None if m.rate is None else round(m.rate, 2),
            "retries": m.retries,
            "refused": m.refused,
            "failed_over": m.failed_over,
            "failed": m.failed,
            "cut": m.cut,
            "truncation_rate": round(m.cut / answered, 4),
            "correct_rate": _share(m.correct, m.judged) if m.judged else _share(m.looked_correct, m.looked_at),
            "prompt_tokens": m.prompt_tokens,
            "completion_tokens": m.completion_tokens,
            "lost_tokens": m.lost_tokens,
            "judge_tokens": m.beside.prompt_tokens + m.beside.completion_tokens if m.beside else 0,
            "usd": _usd(m),
            "seconds": round(seconds, 1),
            "seconds_left": round(left * seconds / (m.answers + m.failed), 1) if m.answers + m.failed else None,
        }

    def line(self, done: int) -> str:
        f = self.facts(done)
        # What matters most comes first: a narrow terminal shows the beginning.
        parts = [f"sample: {f['done']:,} of {f['total']:,}"]
        parts += [f"{duration(f['seconds_left'])} left"] if f["seconds_left"] is not None else []
        parts += [f"{f['correct_rate']:.1%} correct"] if f["correct_rate"] is not None else []
        parts += [f"{f['truncation_rate']:.1%} cut"]
        parts += [f"${f['usd']:,.2f}"] if f["usd"] else []
        parts += [f"{f['tokens_per_s']:,.0f} tokens/s"]
        parts += [f"{f['in_flight']} in flight (limit {f['limit']}" + (f", {f['starts_per_s']:g}/s)" if f["starts_per_s"] else ")")]
        return ", ".join(parts + [f"{f[name]:,} {name}" for name in ("retries", "refused", "failed") if f[name]])

    def _rate(self) -> float:
        (began, first), (now, last) = self._tokens[0], self._tokens[-1]
        return (last - first) / (now - began) if now > began else 0.0


def _share(count: int, of: int) -> float | None:
    return round(count / of, 4) if of else None


def _usd(meter: Meter) -> float | None:
    """Of the teacher and the judge; None where one of them has no price."""
    known = [m.usd() for m in (meter, meter.beside) if m is not None and (m is meter or m.answers)]
    return None if None in known else round(sum(usd for usd in known if usd is not None), 4)


def duration(seconds: float) -> str:
    hours, minutes = int(seconds) // 3600, int(seconds) // 60 % 60
    return f"{hours}h{minutes:02}m" if hours else f"{minutes}m{int(seconds) % 60:02}s"
