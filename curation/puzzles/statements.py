"""What islanders say in knights-and-knaves: the formulas, the worlds in which they hold, and their words.

A statement is a nested list as in AlphaPav/mem-kk-logic (MIT): ["telling-truth", i], ["lying", i], ["not", s],
["and", s, ...], ["or", s, ...], ["->", s, t], ["<=>", s, t]. A set of worlds is one integer: bit w is set when world
w is in it, and bit i of w says that person i is a knight. Eight people make 256 worlds: a few operations on 256-bit
integers.
"""

from __future__ import annotations

import functools
import random
from typing import Any, NamedTuple

Statement = list[Any]
_LEAVES = ("telling-truth", "lying")


class Roles(NamedTuple):
    """The words for the truthful and the lying."""

    truthful: str = "knight"
    lying: str = "knave"

    def with_article(self, is_truthful: bool) -> str:
        role = self.truthful if is_truthful else self.lying
        return f"{'an' if role[0] in 'aeiou' else 'a'} {role}"


def all_worlds(people: int) -> int:
    """The set of all 2 ** people worlds."""
    return (1 << (1 << people)) - 1


@functools.cache
def knight_worlds(person: int, people: int) -> int:
    """The worlds in which `person` is a knight."""
    return sum(1 << world for world in range(1 << people) if world >> person & 1)


def worlds(statement: Statement, people: int) -> int:
    """The worlds in which `statement` is true; raises ValueError for a formula it does not know."""
    everything = all_worlds(people)
    operator, *parts = statement
    if operator in _LEAVES:
        (person,) = parts
        if not 0 <= person < people:
            raise ValueError(f"nobody has the number {person}")
        truthful = knight_worlds(person, people)
        return truthful if operator == "telling-truth" else everything ^ truthful
    sets = [worlds(part, people) for part in parts]
    if operator == "not" and len(sets) == 1:
        return everything ^ sets[0]
    if operator == "and" and sets:
        return functools.reduce(int.__and__, sets)
    if operator == "or" and sets:
        return functools.reduce(int.__or__, sets)
    if operator == "->" and len(sets) == 2:
        return everything ^ sets[0] | sets[1]
    if operator == "<=>" and len(sets) == 2:
        return everything ^ sets[0] ^ sets[1]
    raise ValueError(f"no statement begins with {operator!r} and {len(parts)} parts")


def consistent(person: int, statement: Statement, people: int) -> int:
    """The worlds in which `person` may say `statement`: a knight says what is true, a knave what is false."""
    return all_worlds(people) ^ knight_worlds(person, people) ^ worlds(statement, people)


def solutions(statements: list[Statement]) -> list[list[bool]]:
    """Every assignment in which all may say what they say, as one truth value for each person."""
    people = len(statements)
    left = all_worlds(people)
    for person, statement in enumerate(statements):
        left &= consistent(person, statement, people)
    return [[bool(w >> i & 1) for i in range(people)] for w in range(1 << people) if left >> w & 1]


def draw(rng: random.Random, speaker: int, people: int, depth: int, width: int) -> Statement:
    """A random statement by `speaker`; the odds are mem-kk-logic's: a die for leaf, not, and, or, ->, <=>."""
    operator = rng.choice(("leaf", "not", "and", "or", "->", "<=>")) if depth > 1 else "leaf"
    if operator == "leaf":
        return rng.choice([[leaf, p] for p in range(people) for leaf in _LEAVES if (leaf, p) != ("lying", speaker)])
    if operator == "not":
        return [operator, draw(rng, speaker, people, depth - 1, width)]
    count = rng.randint(2, min(width, people)) if operator in ("and", "or") else 2
    parts: list[Statement] = []
    while len(parts) < count:
        part = draw(rng, speaker, people, depth - 1, width)
        if all(mentioned(part) != mentioned(other) for other in parts):  # no "if Ada is a knave, then Ada is a knight"
            parts.append(part)
    return [operator, *parts]


def says_something(statement: Statement, speaker: int, people: int) -> bool:
    """False for what is always true, never true, or no more than "I am a knight"."""
    said = worlds(statement, people)
    return said not in (0, all_worlds(people), knight_worlds(speaker, people))


def mentioned(statement: Statement) -> set[int]:
    """The people a statement is about."""
    return {statement[1]} if statement[0] in _LEAVES else set().union(*(mentioned(part) for part in statement[1:]))


def words(statement: Statement, names: list[str], roles: Roles, speaker: int | None = None) -> str:
    """A statement in English without a full stop; `speaker` calls himself "I" where given."""
    operator, *parts = statement
    if operator in _LEAVES:
        return _leaf(parts[0], operator == "telling-truth", "", names, roles, speaker)
    if operator == "not" and parts[0][0] in _LEAVES:
        return _leaf(parts[0][1], parts[0][0] == "telling-truth", "not ", names, roles, speaker)
    said = [_nested(part, names, roles, speaker) for part in parts]
    if operator == "not":
        return f"it is not the case that {said[0]}"
    if operator in ("and", "or"):
        return f" {operator} ".join(said)
    return f"if {said[0]}, then {said[1]}" if operator == "->" else f"{said[0]} if and only if {said[1]}"


def _leaf(person: int, truthful: bool, negation: str, names: list[str], roles: Roles, speaker: int | None) -> str:
    subject = "I am" if person == speaker else f"{names[person]} is"
    return f"{subject} {negation}{roles.with_article(truthful)}"


def _nested(statement: Statement, names: list[str], roles: Roles, speaker: int | None) -> str:
    text = words(statement, names, roles, speaker)
    simple = statement[0] in _LEAVES or (statement[0] == "not" and statement[1][0] in _LEAVES)
    return text if simple else f"({text})"


def opposite(statement: Statement) -> Statement:
    """What is true when `statement` is false, with the negation moved inwards so that it reads well."""
    operator, *parts = statement
    if operator in _LEAVES:
        return [_LEAVES[1 - _LEAVES.index(operator)], parts[0]]
    if operator == "not":
        return plain(parts[0])
    if operator in ("and", "or"):
        return ["or" if operator == "and" else "and", *map(opposite, parts)]
    first, second = parts
    return ["and", plain(first), opposite(second)] if operator == "->" else ["<=>", plain(first), opposite(second)]


def plain(statement: Statement) -> Statement:
    """The statement without any "not": each is moved inwards to the people."""
    operator, *parts = statement
    if operator in _LEAVES:
        return statement
    return opposite(parts[0]) if operator == "not" else [operator, *map(plain, parts)]
