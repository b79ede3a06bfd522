"""The oracle's search on a countdown puzzle in few tokens: for students that are trained from random weights.

Four numbers, met in the middle: the first line has, for each number, what makes the target beside it. Then a line for each first
step, with the three numbers it leaves and what each pair of them gives, until one of those is what is needed beside the number
left over; there stands "!", and the last steps follow. Nothing is guessed: a student has only sums of two numbers to learn, and to
find again what stands above. After `Make 58 of 4 84 70 2` the first line is `need 4 : 54 62 232 ; 84 : 26 142 ; ...`, the last ones
`try 84 - 70 : 14 4 2 ; 10 18 56 !` and `so 14 * 4 = 56 , 56 + 2 = 58`. Three numbers are told in two lines. 125 tokens on average
and at most 470 where a number is one token; Stream of Search's traces (arXiv 2404.03683) have thousands.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator, Sequence

from curation.puzzles.countdown import Term, combine, expression
from factory.oracle.telling import Told, Unsolved

LARGEST = 999  # a number is one token up to here
OPERATORS = "-+/*"  # a first step is most often a difference: 20 percent fewer tokens than with "+-*/"

State = tuple[Term, ...]


def tell(numbers: list[int], target: int, operators: str = OPERATORS) -> Told:
    """The search and the answer, the same every time; raises Unsolved where no whole, positive steps up to 999 lead there.

    With fewer `operators`, steps of these alone are looked at.
    """
    if len(numbers) not in (3, 4):
        raise Unsolved(f"the terse search takes three or four numbers, not {len(numbers)}")
    lines: list[str] = []
    if len(numbers) == 4:
        lines.append("need " + " ; ".join(f"{n} : {_listed(_needs(n, target, operators))}" for n in dict.fromkeys(numbers)))
    solution = _search(tuple(Term(n) for n in numbers), target, operators, lines)
    if solution is None:
        raise Unsolved(f"{target} cannot be made of {numbers} in whole, positive steps up to {LARGEST}")
    return Told("\n".join(lines), f"<answer> {_spaced(expression(solution))}</answer>")


def _search(state: State, target: int, operators: str, lines: list[str]) -> Term | None:
    if len(state) == 3:
        return _last_two_steps(state, target, operators, lines, "have")
    for operator, (i, j) in itertools.product(operators, itertools.combinations(range(4), 2)):
        rest = state[:i] + state[i + 1 : j] + state[j + 1 :]
        for made in _made(operator, state[i], state[j]):
            if (found := _last_two_steps((made, *rest), target, operators, lines, f"try {_step(made)} :")) is not None:
                return found
    return None


def _last_two_steps(state: State, target: int, operators: str, lines: list[str], before: str) -> Term | None:
    """A line of what each pair gives, up to the first that is needed beside the number left over; then the two steps."""
    x, y, z = state
    shown = f"{before} {_listed([x.value, y.value, z.value])}"
    for a, b, left in ((x, y, z), (x, z, y), (y, z, x)):
        shown += " ;" if not left.operator else f" ; {_listed(_needs(left.value, target, operators))} :"
        for between in (term for operator in operators for term in _made(operator, a, b)):
            shown += f" {between.value}"
            if (hit := _hit(between, left, target, operators)) is not None:
                lines += [f"{shown} !", f"so {_step(between)} = {between.value} , {_step(hit)} = {target}"]
                return hit
    lines.append(shown)
    return None


def _needs(other: int, target: int, operators: str = OPERATORS, largest: int = LARGEST) -> list[int]:
    """The numbers from which one step with `other` gives the target: by sums and differences, then by products and quotients."""
    high, low = max(other, target), min(other, target)
    found = [high - low, *([other + target] if "-" in operators else [])]
    if "*" in operators:
        found += [*([high // low] if high % low == 0 else []), other * target]
    return [value for value in dict.fromkeys(found) if 0 < value <= largest]


def _listed(values: Sequence[int]) -> str:
    return " ".join(map(str, values))


def _made(operator: str, a: Term, b: Term) -> Iterator[Term]:
    high, low = (a, b) if a.value >= b.value else (b, a)
    if operator != "/" or high.value % low.value == 0:
        term = combine(operator, high, low)
        if 0 < term.value <= LARGEST:
            yield term


def _hit(a: Term, b: Term, target: int, operators: str) -> Term | None:
    return next((t for operator in operators for t in _made(operator, a, b) if t.value == target), None)


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
        ways = ((x, y, z), (x, z, y), (y, z, x))
        return any(not _values(a, b, largest).isdisjoint(_needed(c, target, largest)) for a, b, c in ways)
    for i, j in itertools.combinations(range(len(numbers)), 2):
        rest = [*numbers[:i], *numbers[i + 1 : j], *numbers[j + 1 :]]
        if any(solvable([value, *rest], target, largest) for value in _values(numbers[i], numbers[j], largest)):
            return True
    return False


@functools.lru_cache(1 << 20)  # 0.2 kB an entry; draws of puzzles ask for the same pairs again and again: 3 times as fast
def _values(a: int, b: int, largest: int) -> set[int]:
    low, high = (a, b) if a <= b else (b, a)
    found = {high - low, high + low, high * low, high // low if high % low == 0 else 0}
    return {value for value in found if 0 < value <= largest}


@functools.lru_cache(1 << 18)
def _needed(other: int, target: int, largest: int) -> set[int]:
    return set(_needs(other, target, largest=largest))
