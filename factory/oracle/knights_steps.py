"""One step of thought about knights and knaves: what a single statement forces when some roles are known."""

from __future__ import annotations

from typing import NamedTuple

from curation.puzzles.statements import Statement, all_worlds, consistent, knight_worlds, mentioned, worlds

Facts = dict[int, bool]  # person -> is truthful


class Step(NamedTuple):
    """What one speaker's statement forces."""

    speaker: int
    forced: Facts  # new facts; empty where the statement contradicts what is known


def next_step(statements: list[Statement], facts: Facts, order: list[int]) -> Step | None:
    """The next step, a contradiction first; None where no single statement forces anything new.

    Then come speakers whose role is known, then those who show their own role, in the given order.
    """
    here = _worlds_of(facts, len(statements))
    allowed = [consistent(p, s, len(statements)) & here for p, s in enumerate(statements)]
    for speaker in order:
        if not allowed[speaker]:
            return Step(speaker, {})
    for speaker in sorted(order, key=lambda p: p not in facts):
        forced = _forced(speaker, statements, allowed[speaker], facts)
        if speaker in forced:
            return Step(speaker, {speaker: forced[speaker]})
        if forced:
            first = next(iter(forced))
            return Step(speaker, forced if speaker in facts else {first: forced[first]})
    return None


def decided(statement: Statement, facts: Facts, people: int) -> bool:
    """Whether the facts alone make the statement true, or make it false."""
    here = _worlds_of(facts, people)
    return worlds(statement, people) & here in (0, here)


def _worlds_of(facts: Facts, people: int) -> int:
    here = all_worlds(people)
    for person, truthful in facts.items():
        knights = knight_worlds(person, people)
        here &= knights if truthful else ~knights
    return here


def _forced(speaker: int, statements: list[Statement], allowed: int, facts: Facts) -> Facts:
    """The roles, not known before, that are the same in all the allowed worlds."""
    forced = {}
    for person in sorted(mentioned(statements[speaker]) | {speaker}):
        knights = allowed & knight_worlds(person, len(statements))
        if person not in facts and knights in (0, allowed):
            forced[person] = knights == allowed
    return forced
