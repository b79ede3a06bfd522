"""Which rows out of many: seeded functions over a table, each of which accounts for every row it was given."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple


class Stage(NamedTuple):
    """One stage inside a selection, for the funnel."""

    name: str
    reasons: list[str | None]  # one for each row that came in; None where it went on


class Selection(NamedTuple):
    """What a selection did to the rows of a table."""

    taken: list[int]  # rows taken, ascending; a row that is to be repeated stands here as often
    reasons: list[str | None]  # for each row why it was not taken; None where it was
    stages: list[Stage]  # in order
    state: dict[str, Any]  # JSON: with the same rows, all that is needed to do it again
    details: list[str]  # for each row what was measured of it, such as a score, a rate, a group or a rank; empty: nothing was


def selection(
    reasons: Sequence[str | None],
    state: dict[str, Any],
    stages: list[Stage],
    details: Sequence[str],
    repeats: Sequence[int] = (),
) -> Selection:
    """The Selection in which rows without a reason are taken, `repeats` times each where that is given."""
    times = repeats or [1] * len(reasons)
    taken = [row for row, reason in enumerate(reasons) if reason is None for _ in range(times[row])]
    return Selection(taken, list(reasons), stages, state, list(details))


def stages_of(steps: Sequence[tuple[str, Sequence[str | None]]], rows: int) -> tuple[list[str | None], list[Stage]]:
    """Several rules in a row, each a name and a reason for every row of the table, as one reason a row and the stages."""
    final: list[str | None] = [None] * rows
    stages = []
    for name, reasons in steps:
        stages.append(Stage(name, [reasons[row] for row in range(rows) if final[row] is None]))
        final = [before or now for before, now in zip(final, reasons, strict=True)]
    return final, stages
