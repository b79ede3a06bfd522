"""Puzzles of the reasoning-gym package, for the two of its generators whose answers our checkers can judge.

Its scorers are never used: countdown's evaluates the model's text through sympy's parse_expr, which runs code, and
accepts numbers used twice (0.1.25). Adjacent seeds overlap, since item i of seed s is item i - 1 of seed s + 1, so
puzzles are told apart by their content.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from curation import countdown, knights
from curation.errors import UserError
from curation.records import Problem, canonical_json, problem

_MAX_DRAWS = 50  # for each puzzle wanted: knights_knaves with two people repeats a quarter of its puzzles among 200
_FORMAT = "Give the final answer in answer tags, as <answer>...</answer>."


def from_reasoning_gym(name: str, count: int, seed: int, **config: Any) -> Iterator[Problem]:
    """`count` different puzzles of the generator `countdown` or `knights_knaves`, with reasoning-gym's own settings.

    The first ones do not depend on `count`. Raises UserError where the package is missing, for another generator or
    setting, and when 50 draws for each puzzle wanted do not give enough different ones.
    """
    if name not in _READERS:
        raise UserError(f"reasoning-gym generator {name!r} has no checker here: choose one of {', '.join(_READERS)}")
    try:
        import reasoning_gym
    except ModuleNotFoundError:
        raise UserError(
            "reasoning-gym is not installed: run `pip install 'cot-factory[gym]'`, or use the built-in generators "
            "countdown and knights-and-knaves"
        ) from None
    try:
        items = reasoning_gym.create_dataset(name, seed=seed, size=count * _MAX_DRAWS, **config)
    except (TypeError, AssertionError) as error:
        raise UserError(f"reasoning-gym does not take these settings for {name}: {error}: mend source.config") from None
    return _different((_READERS[name](item) for item in items), name, count)


def _different(puzzles: Iterator[Problem], name: str, count: int) -> Iterator[Problem]:
    seen: set[str] = set()
    while len(seen) < count:
        puzzle = next(puzzles, None)
        if puzzle is None:
            raise UserError(
                f"reasoning-gym {name} gave {len(seen)} different puzzles of the {count} asked for: ask for fewer"
            )
        if puzzle.source_id not in seen:
            seen.add(puzzle.source_id)
            yield puzzle


def _countdown(item: dict[str, Any]) -> Problem:
    numbers, target = item["metadata"]["numbers"], item["metadata"]["target"]
    return problem(
        prompt=f"{item['question'].strip()}\n\n{_FORMAT}",
        answer=item["answer"],
        domain="countdown",
        source="reasoning-gym/countdown",
        source_id=countdown.key(numbers, target),
        license="apache-2.0",
        meta=canonical_json({"numbers": numbers, "target": target}),
    )


def _knights(item: dict[str, Any]) -> Problem:
    found = item["metadata"]
    terms = found["knight_knave_terms"]
    meta = {
        "names": list(found["names"]),
        "statements": found["statements"],
        "solution": list(found["solution"]),
        "roles": [terms["knight"], terms["knave"]],
    }
    return problem(
        prompt=f"{item['question'].strip()} {_FORMAT}",
        answer=item["answer"],
        domain="knights-and-knaves",
        source="reasoning-gym/knights_knaves",
        source_id=knights.key(found["statements"]),
        license="apache-2.0",
        meta=canonical_json(meta),
    )


_READERS: dict[str, Callable[[dict[str, Any]], Problem]] = {"countdown": _countdown, "knights_knaves": _knights}
