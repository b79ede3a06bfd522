"""How long servers that give nothing are asked again: requests that fail one by one, each with all its attempts, take hours."""

from __future__ import annotations

FIRST_S = 120.0  # nothing was ever answered: two of the minutes that most rate limits count by
LATER_S = 600.0
LEAST = 20  # failed attempts


class Patience:
    """Counts failures between answers. It has no clock: it is told the time."""

    def __init__(self) -> None:
        self.failures = 0  # attempts, since the last sign of an answer
        self._since = 0.0
        self._most_s = FIRST_S

    def heard(self) -> None:
        """An answer has begun, or is here."""
        self.failures, self._most_s = 0, LATER_S

    def ends(self, now: float, oldest_start: float) -> bool:
        """An attempt has failed. Is it time to stop? Not while one is in flight that started before the failures did."""
        self._since = self._since if self.failures else now
        self.failures += 1
        return self.failures >= LEAST and now - self._since > self._most_s and oldest_start >= self._since

    def so_long_s(self, now: float) -> float:
        return now - self._since
