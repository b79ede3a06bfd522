"""A correct rate before the first shard is through: its first answers are judged as they come, beside the sampling.

For the eye only: what a run holds comes from `factory.judging`, whose counts take the place of these.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Sequence

from curation.records import Trace
from curation.verify import verify
from factory.meter import Meter
from factory.tracing import Shard, problems_of

MOST = 200  # answers: a rate within seven percent, for some seconds of one core


class FirstLook:
    """Use as a context manager; `take` may be called from any thread."""

    def __init__(self, shards: Sequence[Shard], meter: Meter) -> None:
        self._golds = {p.id: (p.answer, p.domain) for p in problems_of(shards[0])} if shards else {}
        self._meter, self._left = meter, MOST
        self._taken: queue.SimpleQueue[Trace | None] = queue.SimpleQueue()
        self._over = False
        self._thread = threading.Thread(target=self._judge, name="first look", daemon=True)

    def __enter__(self) -> FirstLook:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over = True
        self._taken.put(None)
        self._thread.join()

    def take(self, trace: Trace) -> None:
        if self._left and trace.finish != "error" and trace.problem_id in self._golds:
            self._left -= 1
            self._taken.put(trace)

    def _judge(self) -> None:
        while (trace := self._taken.get()) is not None and not self._over:
            gold, domain = self._golds[trace.problem_id]
            whole = trace.finish == "stop"  # a cut answer teaches nobody
            self._meter.looked_correct += whole and verify(gold, trace.answer_text, domain=domain).outcome == "correct"
            self._meter.looked_at += 1
