"""How many requests an endpoint gets at a time, and how fast: found out from what becomes of them.

Two numbers are steered. `limit`, the requests in flight, is for servers that fail under load (5xx, silence, lost
connections) and for local engines, which say themselves how full they are. `rate`, starts a second, is for servers that count
requests (429); without a 429 there is none. A limiter has no clock, thread or socket of its own: it is told the time.
"""

from __future__ import annotations

from collections import deque
from typing import Literal, NamedTuple

Outcome = Literal["answered", "refused", "trouble"]  # refused: 429; trouble: 5xx, silence, a lost connection

FIRST_LIMIT = 16  # doubled whenever as many were accepted: 512 after five rounds of first bytes
QUIET_S = 5.0  # a full limiter that heard nothing for so long grows too: refusals come at once, answers after an hour
TROUBLE_CUT = 0.5
STEP = 0.05  # growth per round after the first trouble
FIRST_CUT = 0.5  # the first measure of a rate is a guess, so it is left steeply
REFUSED_CUT = 0.95  # after a refusal
STILL_CUT = 0.6  # where then still more than STILL_SHARE is refused: the server allows much less than it did
STILL_SHARE = 0.3
STILL_REFUSED = 3  # refusals that are no accident
LATE_S = (
    0.03  # a start that comes later than it might does not slow the next (a busy loop wakes late), but no burst follows a pause
)
BACK_AT_CEILING_S = 2.5  # until the rate is where it was refused; twice that: as far above it as it was cut below
BACK_AT_CEILING = 60  # requests at least until then, so that probing is refused one time in a hundred at any rate
RATE_STARTS = 50  # starts over which the rate is measured


class Pressure(NamedTuple):
    """What a local engine says of itself (vLLM's /metrics)."""

    running: float
    waiting: float
    kv_cache: float  # share in use, in [0, 1]
    preemptions: float  # total since it started
    generated_tokens: float  # total since it started


class Limiter:
    """The state of one endpoint."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.limit = float(min(FIRST_LIMIT, most))
        self.in_flight = 0
        self.rate: float | None = None  # starts a second; None: as fast as the limit allows
        self._ceiling = 0.0  # the rate at which it was last refused
        self._floor = 0.0  # the rate after that
        self._cut_at = self._trouble_at = self._paused_until = float("-inf")
        self._next_start = float("-inf")
        self._grown_at = 0.0
        self._accepted_since = 0
        self._let_in: deque[float] = deque(maxlen=RATE_STARTS)  # when the last RATE_STARTS that were not refused started
        self._started = self._refused = 0  # since the last cut
        self._careful = False  # after the first trouble it grows by steps
        self._preemptions: float | None = None
        self._full = False  # the engine says so

    def wait_s(self, now: float) -> float:
        """Seconds until a request may start; infinite while as many are in flight as may be."""
        if self.in_flight >= int(self.limit):
            return float("inf")
        return max(0.0, self._paused_until - now, self._next_start - now if self.rate else 0.0)

    def started(self, now: float) -> None:
        self.in_flight += 1
        self._started += 1
        self._let_in.append(now)
        if self.rate is not None:
            self.rate = self._cubic(now)
            self._next_start = max(self._next_start, now - LATE_S) + 1 / self.rate

    def accepted(self, now: float) -> None:
        """The first byte of an answer is there: the request was let in."""
        self._accepted_since += 1
        if self._accepted_since >= self.limit:
            self._grow(now)

    def ended(self, now: float, outcome: Outcome, started_at: float, asked_s: float | None = None) -> None:
        """A request that started at `started_at` is over; `asked_s` is the server's Retry-After."""
        self.in_flight -= 1
        if asked_s is not None:
            self._paused_until = max(self._paused_until, now + asked_s)
        if outcome == "refused":
            if self._let_in:
                self._let_in.pop()
            if started_at > self._cut_at:
                self._refused_again(now)
        if outcome == "trouble" and started_at > self._trouble_at:
            self._trouble_at, self._careful, self._accepted_since = now, True, 0
            self.limit = max(1.0, self.limit * TROUBLE_CUT)

    def is_finding(self) -> bool:
        """Has it met no bound yet? Then it pays to look at the engine often: each look doubles what is in flight."""
        return not self._careful and not self._full and self.limit < self.most

    def tick(self, now: float) -> None:
        """To be called now and then: grows a limiter that is full and has heard nothing."""
        if self.in_flight < int(self.limit):
            self._grown_at = max(self._grown_at, now - QUIET_S / 2)
        elif now - max(self._grown_at, self._trouble_at, self._cut_at) > QUIET_S:
            self._grow(now)

    def feel(self, now: float, engine: Pressure) -> None:
        """Take in what the engine says. Waiting requests cost nothing but their turn; preempted ones are computed twice."""
        risen = self._preemptions is not None and engine.preemptions > self._preemptions
        self._preemptions = engine.preemptions
        if risen:
            self._careful, self._trouble_at = True, now
            self.limit = max(1.0, min(self.limit, engine.running + engine.waiting) * 0.8)
        # A tenth in the queue is enough for a batch that never has a free place.
        self._full = risen or engine.waiting > max(8.0, engine.running / 10) or engine.kv_cache > 0.95
        if not self._full and self.in_flight >= int(self.limit):
            self._grow(now)

    def _grow(self, now: float) -> None:
        self._accepted_since, self._grown_at = 0, now
        if not self._full and self.in_flight >= 0.8 * int(self.limit):  # one that is not used says nothing
            self.limit = min(float(self.most), self.limit + max(1.0, self.limit * (STEP if self._careful else 1.0)))

    def _refused_again(self, now: float) -> None:
        self._refused += 1
        span_s = now - self._let_in[0] if self._let_in else 0.0
        # A first handful in no time is no rate.
        measured = (len(self._let_in) + 1) / (max(0.02, span_s) if len(self._let_in) > RATE_STARTS / 2 else max(1.0, span_s))
        if self.rate is None:
            if self._refused >= STILL_REFUSED:
                self._cut(now, measured, FIRST_CUT)
        elif self._refused >= STILL_REFUSED and self._refused > STILL_SHARE * self._started:
            self._cut(now, self._cubic(now) * STILL_CUT, 1.0)
        elif now - self._cut_at >= self._back_s() or self._refused >= STILL_REFUSED:
            # Where most of the last starts were refused, those that were not are too few to measure by.
            ceiling = min(measured, self._cubic(now)) if len(self._let_in) > RATE_STARTS / 2 else self._cubic(now) * STILL_CUT
            self._cut(now, ceiling, REFUSED_CUT)

    def _back_s(self) -> float:
        return max(BACK_AT_CEILING_S, BACK_AT_CEILING / self._ceiling)

    def _cut(self, now: float, ceiling: float, share: float) -> None:
        self._ceiling, self._floor = ceiling, ceiling * share
        self._cut_at, self._started, self._refused, self.rate = now, 0, 0, self._floor
        self._next_start = now + 1 / self.rate

    def _cubic(self, now: float) -> float:
        """The rate since the last cut: flat near the old ceiling, ever faster above it.

        The curve of CUBIC TCP (Ha, Rhee, Xu, 2008): it stays longest where the server was last content, and still finds a
        limit that was raised fourfold in half a minute.
        """
        below = max(self._ceiling - self._floor, (1 - REFUSED_CUT) * self._ceiling)
        since = (now - self._cut_at) / self._back_s() - 1
        return max(0.1, float(self._ceiling + below * since**3))
