"""The oracle's thinking on a countdown puzzle: a depth-first search with heuristics, told as it goes.

After Stream of Search (arXiv 2404.03683). A complete search of six numbers would fill a book, so this one is guided:
a solver finds a way first, and the telling strays from it into a bounded number of branches, reports the arithmetic
that was really done there, and gives each up. A branch that happens to hold a solution ends the search there.
"""

from __future__ import annotations

import itertools
import random

from curation.puzzles.countdown import Term, expression, steps
from factory.oracle.telling import Telling, Told, Unsolved, listed, within_bounds

_MAX_FAILED_STATES = 50_000  # for the solver, about 5 s; six numbers with a target up to 100 need a few hundred
# How many wrong steps are tried at a state of so many numbers: on the way to the solution, and astray from it.
_STRAY_ON_WAY = {3: (1, 3), 4: (1, 2), 5: (1, 2), 6: (0, 1)}
_STRAY_ASTRAY = {3: (1, 3), 4: (1, 2)}
_STRAY_FIRST = {3: (4, 7), 4: (2, 3), 5: (1, 2)}  # at the root of small puzzles, which would be told in a few lines

State = tuple[Term, ...]

_GOALS = (
    "I need to make {target} out of {numbers}, using each of them exactly once.",
    "The numbers are {numbers} and the target is {target}; every number has to be used once.",
    "So, {numbers} must be combined into {target}, each exactly once.",
    "Let me see: I have {numbers}, all to be used, and want {target}.",
)
_SUMS = (
    "Adding everything gives {total}, which is {gap} too {much}, so some other operation has to come in.",
    "The plain sum is {total}; that is {gap} {more} than the target, so adding alone will not do.",
)
_FACTORS = (
    "As a product, {target} is {pairs}, which may be something to aim for.",
    "It helps to remember that {target} = {pairs}.",
)
_PRIMES = ("{target} is prime, so the last step is probably an addition or a subtraction.",)
_TRIES = (
    "Let me try {step}. That leaves {rest}.",
    "What about {step}? Then I have {rest}.",
    "Take {step}, so the numbers become {rest}.",
    "Suppose I do {step}; now there are {rest}.",
    "I could use {step}, leaving {rest}.",
    "Try {step}. Left: {rest}.",
)
_FACTOR_HOPES = (
    "Since {value} * {other} = {target}, I would only need {other} from the rest.",
    "{value} divides {target}, so the rest should make {other}.",
)
_NEAR_HOPES = (
    "{value} is only {gap} away from {target}.",
    "That is close: {gap} {off} {target}.",
)
_LEAVES = (
    "With {pair}: {results}.",
    "Now for {pair}: {results}.",
    "Checking {pair}: {results}.",
    "From {pair}: {results}.",
)
_MISSES = (
    "None of these is {target}.",
    "No {target} among them.",
    "The nearest is {nearest}, which is {gap} off.",
    "{nearest} comes nearest, but it misses by {gap}.",
    "Not {target}.",
)
_BACKS = (
    "Back to {state}.",
    "That was a dead end, so I return to {state}.",
    "I undo that and have {state} again.",
    "Let me go back to {state} and try something else.",
    "Hmm, that does not work. Again from {state}.",
    "OK, so not that. Once more from {state}.",
)
_GIVE_UPS = (
    "I do not see a way from {state}.",
    "Nothing useful from {state}, so I leave it.",
    "{state} do not look promising any more.",
)
_HITS = ("{step}. That is the target!", "And {step}, exactly what I need.", "{step}. Yes, that hits it.")
_CHECKS = (
    "Let me check it: {steps}. The numbers used are {numbers}, each exactly once. As one expression: {line} = {target}.",
    "Verify: {steps}. I used {numbers}, every one of them once. Written in one line: {line} = {target}.",
    "To be sure, step by step: {steps}. That uses {numbers} once each, and in one line it is {line} = {target}.",
)
_ANSWERS = (
    "The target {target} can be reached like this:",
    "Here is one way to make {target}:",
    "One solution, step by step:",
)
_ENDINGS = (
    "Every number is used exactly once, and the whole is {line} = {target}.",
    "Together: {line} = {target}, with each number used once.",
)


def tell(numbers: list[int], target: int, rng: random.Random) -> Told:
    """The search for `target` and its clean answer, of 200 to 1,500 words where possible; raises Unsolved."""
    return within_bounds(lambda: _tell(numbers, target, rng))


def _tell(numbers: list[int], target: int, rng: random.Random) -> Told:
    way = find(numbers, target, rng)
    search = _Search(target, way, rng)
    search.open(numbers)
    solution = search.explore(tuple(Term(n) for n in numbers), way)
    assert solution is not None, "a search along a known solution cannot miss it"
    made = [_step(term) for term in _steps_of(solution)]
    told, line = search.telling, expression(solution)
    told.paragraph(told.phrase(_CHECKS, steps=", then ".join(made), numbers=listed(numbers), line=line, target=target))
    numbered = "\n".join(f"{i}. {step}" for i, step in enumerate(made, 1))
    opening, ending = told.phrase(_ANSWERS, target=target), told.phrase(_ENDINGS, line=line, target=target)
    return Told(told.text(), f"{opening}\n\n{numbered}\n\n{ending}\n\n<answer>{line}</answer>")


class _Search:
    def __init__(self, target: int, way: list[tuple[int, ...]], rng: random.Random) -> None:
        self.target = target
        self.rng = rng
        self.telling = Telling(rng)
        self.visited = set(way)  # states not to stray into: those told already, and those on the way
        self.leaves_before_luck = rng.randint(3, 5)  # so that a lucky first try does not make a trace of four lines

    def open(self, numbers: list[int]) -> None:
        told, target = self.telling, self.target
        told.paragraph(told.phrase(_GOALS, numbers=listed(numbers), target=target))
        gap = sum(numbers) - target
        if gap and self.rng.random() < 0.7:
            much, more = ("much", "more") if gap > 0 else ("little", "less")
            told.say(told.phrase(_SUMS, total=sum(numbers), gap=abs(gap), much=much, more=more))
        pairs = [f"{d} * {target // d}" for d in range(2, target) if d * d <= target and target % d == 0]
        if pairs:
            told.say(told.phrase(_FACTORS, target=target, pairs=listed(pairs[-3:], "or")))
        elif target > 3:
            told.say(told.phrase(_PRIMES, target=target))

    def explore(self, state: State, way: list[tuple[int, ...]]) -> Term | None:
        """The solution, where one is met below `state`; `way` holds the states of the known solution from here, if
        any.
        """
        if len(state) == 1:
            return state[0]
        if len(state) == 2:
            return self.finish(state)
        choices = self.strays(state, bool(way))
        if way:
            choices.append(next(rest for rest in _next_states(state, idle=True) if _values(rest) == way[1]))
        for tried, rest in enumerate(choices):
            if tried:
                self.telling.paragraph(self.telling.phrase(_BACKS, state=_shown(state)))
            self.attempt(rest)
            self.visited.add(_values(rest))
            on_way = bool(way) and _values(rest) == way[1]
            if solution := self.explore(rest, way[1:] if on_way else []):
                return solution
        if len(state) > 3 or len(choices) > 1:
            self.telling.say(self.telling.phrase(_GIVE_UPS, state=_shown(state)))
        return None

    def strays(self, state: State, on_way: bool) -> list[State]:
        """Some wrong steps worth a try: near the target or a divisor of it, never a state told before."""
        size = len(state)
        first = on_way and len(self.telling.paragraphs) == 1 and size in _STRAY_FIRST
        bounds = _STRAY_FIRST if first else _STRAY_ON_WAY if on_way else _STRAY_ASTRAY
        wanted = self.rng.randint(*bounds.get(size, (1, 1)))
        fresh = {_values(rest): rest for rest in _next_states(state) if _values(rest) not in self.visited}
        if size == 3 and self.leaves_before_luck > 0:
            fresh = {values: rest for values, rest in fresh.items() if not self.holds_target(rest)}
        ranked = sorted(fresh.values(), key=lambda rest: self.distance(rest[-1].value) * self.rng.uniform(0.3, 1))
        return ranked[:wanted]

    def distance(self, value: int) -> int:
        goals = [d for d in range(2, self.target + 1) if self.target % d == 0]
        return 1 + min(abs(value - goal) for goal in goals)

    def holds_target(self, pair: State) -> bool:
        return any(term.value == self.target for term in steps(*pair))

    def attempt(self, rest: State) -> None:
        told, made, target = self.telling, rest[-1], self.target
        sentence = told.phrase(_TRIES, step=_step(made), rest=_shown(rest))
        told.say(sentence) if told.paragraphs[-1] and len(told.paragraphs) > 1 else told.paragraph(sentence)
        value, gap = made.value, made.value - target
        if 1 < value < target and target % value == 0 and self.rng.random() < 0.7:
            told.say(told.phrase(_FACTOR_HOPES, value=value, other=target // value, target=target))
        elif 0 < abs(gap) <= 9 and self.rng.random() < 0.6:
            told.say(told.phrase(_NEAR_HOPES, value=value, gap=abs(gap), target=target, off="over" if gap > 0 else "short of"))

    def finish(self, pair: State) -> Term | None:
        """The last two numbers: everything that can be made of them, or the one thing that is wanted."""
        self.leaves_before_luck -= 1
        told, target = self.telling, self.target
        for term in steps(*pair, idle=True):
            if term.value == target:
                told.say(told.phrase(_HITS, step=_step(term)))
                return term
        high, low = sorted((term.value for term in pair), reverse=True)
        results, values = _results(high, low, target)
        told.say(told.phrase(_LEAVES, pair=f"{high} and {low}", results=results))
        nearest = min(values, key=lambda value: abs(value - target))
        told.say(told.phrase(_MISSES, target=target, nearest=nearest, gap=abs(nearest - target)))
        return None


def _results(high: int, low: int, target: int) -> tuple[str, list[int]]:
    shown, values = [f"{high} + {low} = {high + low}", f"{high} - {low} = {high - low}"], [high + low, high - low]
    if high * low > 10 * target:
        shown.append(f"{high} * {low} is far too big")
    else:
        shown.append(f"{high} * {low} = {high * low}")
        values.append(high * low)
    if low and high % low == 0:
        shown.append(f"{high} / {low} = {high // low}")
        values.append(high // low)
    else:
        shown.append(f"{high} / {low} is not whole" if low else f"{high} / {low} is not allowed")
    return listed(shown), values


def _step(term: Term) -> str:
    assert term.left is not None and term.right is not None
    return f"{term.left.value} {term.operator} {term.right.value} = {term.value}"


def _steps_of(term: Term) -> list[Term]:
    if term.left is None or term.right is None:
        return []
    return [*_steps_of(term.left), *_steps_of(term.right), term]


def _shown(state: State) -> str:
    return listed([term.value for term in state])


def _values(state: State) -> tuple[int, ...]:
    return tuple(sorted(term.value for term in state))


def _next_states(state: State, *, idle: bool = False) -> list[State]:
    """Every state one step away; the number just made stands last."""
    following = []
    for i, j in itertools.combinations(range(len(state)), 2):
        rest = state[:i] + state[i + 1 : j] + state[j + 1 :]
        following += [(*rest, term) for term in steps(state[i], state[j], idle=idle)]
    return following


def find(numbers: list[int], target: int, rng: random.Random) -> list[tuple[int, ...]]:
    """The states, as sorted values, of some solution in whole steps, from `numbers` to the target; raises Unsolved."""
    failed: set[tuple[int, ...]] = set()
    start = tuple(sorted(numbers))
    for idle in (False, True):
        if way := _find(start, target, rng, failed, idle):
            return way
        failed.clear()
    raise Unsolved(f"{target} cannot be made of {listed(numbers)} in whole, non-negative steps")


def _find(
    state: tuple[int, ...], target: int, rng: random.Random, failed: set[tuple[int, ...]], idle: bool
) -> list[tuple[int, ...]]:
    if state in failed:
        return []
    if len(state) == 1:
        return [state] if state[0] == target else []
    if len(failed) > _MAX_FAILED_STATES:
        raise Unsolved(f"no solution within {_MAX_FAILED_STATES} states searched")
    following = _children(state, target, idle)
    rng.shuffle(following)
    for child in following:
        if way := _find(child, target, rng, failed, idle):
            return [state, *way]
    failed.add(state)
    return []


def _children(state: tuple[int, ...], target: int, idle: bool) -> list[tuple[int, ...]]:
    children = []
    for i, j in itertools.combinations(range(len(state)), 2):
        low, high = state[i], state[j]
        rest = state[:i] + state[i + 1 : j] + state[j + 1 :]
        values = [high + low]
        if idle or high > low:
            values.append(high - low)
        if idle or low > 1:
            values.append(high * low)
        if low > 1 and high % low == 0:
            values.append(high // low)
        children += [tuple(sorted((*rest, value))) for value in values if rest or value == target]
    return children
