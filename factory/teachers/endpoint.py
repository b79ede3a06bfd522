"""One server, and who keeps it running."""

from __future__ import annotations

import dataclasses
from typing import Protocol

from factory import limiter
from factory.meter import Meter
from factory.teachers.chat_completion import Failure

PASSING = ("again", "silent", "unreachable")  # kinds of failure that may pass


class Watch(Protocol):
    """Who keeps the server running, where that is us (`factory.teachers.vllm`)."""

    def ready(self) -> bool: ...

    def raise_if_gone(self) -> None: ...


@dataclasses.dataclass(slots=True, eq=False)
class Endpoint:
    """One server, and what has been learned about it."""

    url: str  # where requests are posted
    public: str  # as it is stored: without credentials
    metrics_url: str  # empty: it has none
    headers: dict[str, str]
    secret: str
    limiter: limiter.Limiter
    streams: bool
    has_answered: bool = False  # from the first answer on, a server that cannot be reached is one that restarts
    down_until: float = 0.0
    refusal: Failure | None = None  # why it is of no use, where it refused before its first answer
    engine_moved_at: float | None = None  # when a local engine's count of tokens last went up


def count_all(endpoints: list[Endpoint], meter: Meter) -> None:
    """Note how many requests are in flight at all of them, and how many may be."""
    meter.in_flight = sum(e.limiter.in_flight for e in endpoints)
    meter.limit = sum(e.limiter.limit for e in endpoints)
    rates = [e.limiter.rate for e in endpoints]
    meter.rate = None if None in rates else sum(r for r in rates if r is not None)


def load_of(failure: Failure) -> limiter.Outcome:
    """What a failure says of the load that a server bears."""
    if failure.status == 429:
        return "refused"
    return "trouble" if failure.kind in PASSING else "answered"
