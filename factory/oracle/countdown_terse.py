"""The oracle's search on a countdown puzzle in few tokens: for students that are trained from random weights.

Four numbers: a line for each first step, with the three numbers it leaves and what each pair of them gives, until one of those
makes the target with the number left over; there stands "!", and the last steps follow. Nothing is guessed: a student has only
arithmetic to learn. In `Make 58 of 4 84 70 2` the last lines are `try 84 - 70 : 14 4 2 ; 10 18 56 !` and
`so 14 * 4 = 56 , 56 + 2 = 58`. 90 tokens on average, at most 440, where a number is one token; those of Stream of Search
(arXiv 2404.03683) have thousands.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

from curation.puzzles.countdown import Term, combine, expression
from factory.oracle.telling import Told, Unsolved

LARGEST = 999  # a number is one token up to here
OPERATORS = "-+/*"  # a first step is most often a difference: 20 percent fewer tokens than with "+-*/"

State = tuple[Term, ...]


def tell(numbers: list[int], target: int) -> Told:
    """The search and the answer, the same every time; raises Unsolved where no whole, positive steps up to 999 lead there."""
    if len(numbers) not in (3, 4):
        raise Unsolved(f"the terse search takes three or four numbers, not {len(numbers)}")
    lines: list[str] = []
    solution = _search(tuple(Term(n) for n in numbers), target, lines)
    if solution is None:
        raise Unsolved(f"{target} cannot be made of {numbers} in whole, positive steps up to {LARGEST}")
    return Told("\n".join(lines), f"<answer> {_spaced(expression(solution))}</answer>")


def _search(state: State, target: int, lines: list[str]) -> Term | None:
    if len(state) == 4:
        for operator, (i, j) in itertools.product(OPERATORS, itertools.combinations(range(4), 2)):
            rest = state[:i] + state[i + 1 : j] + state[j + 1 :]
            for made in _made(operator, state[i], state[j]):
                lines.append(f"try {_step(made)} : ")
                if (found := _search((made, *rest), target, lines)) is not None:
                    return found
        return None
    before = lines.pop() if lines else "have "
    pairs, hits = _pairs(state, target)
    lines.append(before + " ".join(str(term.value) for term in state) + pairs)
    if hits:
        lines.append("so " + " , ".join(f"{_step(term)} = {term.value}" for term in hits))
    return hits[-1] if hits else None


def _pairs(state: State, target: int) -> tuple[str, list[Term]]:
    """What each pair gives, up to the first that makes the target with the number left over; and those two steps."""
    x, y, z = state
    shown = ""
    for a, b, c in ((x, y, z), (x, z, y), (y, z, x)):
        shown += " ;"
        for operator in OPERATORS:
            for between in _made(operator, a, b):
                shown += f" {between.value}"
                if (hit := _hit(between, c, target)) is not None:
                    return f"{shown} !", [between, hit]
    return shown, []


def _made(operator: str, a: Term, b: Term) -> Iterator[Term]:
    high, low = (a, b) if a.value >= b.value else (b, a)
    if operator != "/" or high.value % low.value == 0:
        term = combine(operator, high, low)
        if 0 < term.value <= LARGEST:
            yield term


def _hit(a: Term, b: Term, target: int) -> Term | None:
    return next((t for operator in OPERATORS for t in _made(operator, a, b) if t.value == target), None)


def _step(term: Term) -> str:
    assert term.left is not None and term.right is not None
    return f"{term.left.value} {term.operator} {term.right.value}"


def _spaced(text: str) -> str:
    """Every number and sign with a blank before it, so that each is the same token wherever it stands."""
    return " ".join(text.replace("(", "( ").replace(")", " )").split())


def solvable(numbers: Sequence[int], target: int, largest: int = LARGEST) -> bool:
    """Can the target be made of all the numbers in whole, positive steps up to `largest`? Far faster than telling how."""
    if len(numbers) == 2:
        return target in _values(numbers[0], numbers[1], largest)
    if len(numbers) == 3:
        x, y, z = numbers
        return any(_values(a, b, largest) & _needed(c, target, largest) for a, b, c in ((x, y, z), (x, z, y), (y, z, x)))
    for i, j in itertools.combinations(range(len(numbers)), 2):
        rest = [*numbers[:i], *numbers[i + 1 : j], *numbers[j + 1 :]]
        if any(solvable([value, *rest], target, largest) for value in _values(numbers[i], numbers[j], largest)):
            return True
    return False


def _values(a: int, b: int, largest: int) -> set[int]:
    low, high = (a, b) if a <= b else (b, a)
    found = {high - low, high + low, high * low, high // low if high % low == 0 else 0}
    return {value for value in found if 0 < value <= largest}


def _needed(other: int, target: int, largest: int) -> set[int]:
    """The numbers from which one step with `other` gives the target."""
    found = {target - other, target + other, other - target, target * other}
    found.add(target // other if target % other == 0 else 0)
    found.add(other // target if other % target == 0 else 0)
    return {value for value in found if 0 < value <= largest}
