"""The text of a search while it is told: paragraphs, and phrases that vary without repeating themselves at once."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import NamedTuple

MIN_WORDS, MAX_WORDS = 200, 1_500
_MAX_ATTEMPTS = 12


class Told(NamedTuple):
    """A search as it was thought, and the clean answer after it."""

    reasoning: str
    answer: str


class Unsolved(Exception):
    """The puzzle has no solution that the search can find; the message says why."""


def within_bounds(attempt: Callable[[], Told]) -> Told:
    """The first of some attempts with 200 to 1,500 words, otherwise the one nearest to those bounds.

    A search that is lucky at once shows no search, and one that is unlucky bores; both are rare and simply told anew.
    """
    told = [attempt()]
    while _misses_bounds(told[-1]) and len(told) < _MAX_ATTEMPTS:
        told.append(attempt())
    return min(told, key=_misses_bounds)


def _misses_bounds(told: Told) -> int:
    words = len(told.reasoning.split()) + len(told.answer.split())
    return max(MIN_WORDS - words, words - MAX_WORDS, 0)


class Telling:
    """Collects sentences into paragraphs; every choice comes from one random stream, so a text is its seed's."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.paragraphs: list[list[str]] = []
        self.unused: dict[tuple[str, ...], list[str]] = {}
        self.last: dict[tuple[str, ...], str] = {}

    def paragraph(self, *sentences: str) -> None:
        """Start a new paragraph with these sentences."""
        self.paragraphs.append(list(sentences))

    def say(self, sentence: str) -> None:
        """Go on with the present paragraph."""
        self.paragraphs[-1].append(sentence)

    def phrase(self, bank: tuple[str, ...], **fields: object) -> str:
        """A phrase of `bank` with its fields filled in: all are used before one comes back, and never twice
        running.
        """
        if not self.unused.get(bank):
            fresh = self.rng.sample(bank, len(bank))
            if len(fresh) > 1 and fresh[-1] == self.last.get(bank):
                fresh.reverse()
            self.unused[bank] = fresh
        self.last[bank] = self.unused[bank].pop()
        return self.last[bank].format(**fields)

    def text(self) -> str:
        """All paragraphs, a blank line between them."""
        return "\n\n".join(" ".join(sentences) for sentences in self.paragraphs)


def listed(items: Sequence[object], joint: str = "and") -> str:
    """ "3", "3 and 8", "3, 8 and 50"."""
    words = [str(item) for item in items]
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} {joint} {words[-1]}"
