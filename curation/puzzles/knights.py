"""Knights and knaves: who tells the truth on an island where knights always do and knaves never do.

Puzzles as in AlphaPav/mem-kk-logic and Unakar/Logic-RL: statements of bounded depth and width, exactly one solution.
The checker reads names and roles from a response and compares the whole assignment; there is no partial credit.
"""

from __future__ import annotations

import itertools
import random
import re
from collections.abc import Iterator

from curation.errors import UserError
from curation.puzzles.final_answer import final_answers
from curation.puzzles.roles import read_gold, read_roles
from curation.puzzles.statements import Roles, Statement, draw, says_something, solutions, words
from curation.records import Problem, Verdict, canonical_json, problem

VERSION = "knights-and-knaves 1"
_MAX_TRIES = 20_000  # for one puzzle; about one draw in four has exactly one solution

# Given names that are no role word, so that nothing in an answer can be read in two ways.
_NAMES = re.findall(
    r"\w+",
    """ Ada Alma Amir Anna Arthur Beatrice Boris Carla Cyrus Diana Edgar Elena Emma Farid Felix Fiona George Greta
    Hana Hugo Ingrid Ivan Jasper Julia Karim Kira Laura Leo Liam Lucia Maya Milo Nadia Noah Nora Oscar Otto Paula
    Pedro Priya Quentin Rafael Rosa Samuel Selma Simon Tariq Tessa Ulrich Vera Viktor Wanda Xenia Yusuf Zelda
    """,
)
_ISLANDS = (
    "On a certain island every inhabitant is either a knight, who always tells the truth, or a knave, who always lies.",
    "You visit an island of knights and knaves. Knights always tell the truth and knaves always lie.",
    "An island is inhabited only by knights and knaves: a knight never lies, and a knave never says a true thing.",
)
_MEETINGS = (
    "You meet {count} of them: {names}.",
    "You come across {count} inhabitants: {names}.",
    "{names} are {count} of the islanders.",
)
_QUESTION = (
    'Who is a knight and who is a knave? ("Or" allows both, and "if" is false only when its condition holds and its '
    "conclusion does not.) Give the final answer in answer tags, in the form <answer>{example}</answer>."
)
_SPEECH = (
    '{name} says, "{quoted}."',
    '{name} states: "{quoted}."',
    'In the words of {name}: "{quoted}."',
    '"{quoted}," says {name}.',
    '"{quoted}," {name} declares.',
    '{name} tells you, "{quoted}."',
    "{name} claims that {reported}.",
    "According to {name}, {reported}.",
    "{name} remarks that {reported}.",
)
_COUNTS = ("", "", "two", "three", "four", "five", "six", "seven", "eight")


def generate(
    count: int, *, seed: int, min_people: int = 2, max_people: int = 8, max_depth: int = 2, max_width: int = 2
) -> Iterator[Problem]:
    """`count` different puzzles, each with exactly one solution; the first ones do not depend on `count`.

    Two puzzles are the same when their statements are, whatever the names; for two and three people also when one is
    the other with its people renumbered. Raises UserError for impossible settings, and, with the number found, when
    20,000 draws in a row give no new puzzle: two people have only 45 at depth 2.
    """
    if not (2 <= min_people <= max_people <= 8 and 1 <= max_depth <= 4 and 2 <= max_width <= 4):
        raise UserError(
            f"knights-and-knaves got {min_people} to {max_people} people, depth {max_depth} and width {max_width}; "
            "it needs 2 to 8 people, lowest first, depth 1 to 4 and width 2 to 4: mend the source's settings"
        )
    rng = random.Random(f"knights-and-knaves {seed}")
    seen: set[str] = set()
    for found in range(count):
        for _ in range(_MAX_TRIES):
            people = rng.randint(min_people, max_people)
            statements = [draw(rng, person, people, max_depth, max_width) for person in range(people)]
            if not all(says_something(s, i, people) for i, s in enumerate(statements)):
                continue
            if len(solutions(statements)) == 1 and (name := key(statements)) not in seen:
                seen.add(name)
                yield _problem(rng, statements, name)
                break
        else:
            raise UserError(
                f"knights-and-knaves found {found} different puzzles of the {count} asked for with {min_people} to "
                f"{max_people} people, depth {max_depth} and width {max_width}: ask for fewer, or allow more of these"
            )


def key(statements: list[Statement]) -> str:
    """What makes two puzzles the same: the statements as canonical JSON, arguments of and, or and <=> sorted.

    Up to three people, the smallest text over all renumberings. With four there are over 10 ** 8 puzzles, so that
    equal ones up to renumbering hardly occur, and with eight there would be 40,320 texts to compare.
    """
    people = len(statements)
    orders = itertools.permutations(range(people)) if people <= 3 else [tuple(range(people))]
    return min(canonical_json(_renumbered(statements, order)) for order in orders)


def _renumbered(statements: list[Statement], order: tuple[int, ...]) -> list[Statement]:
    moved: list[Statement] = [[]] * len(order)
    for person, statement in enumerate(statements):
        moved[order[person]] = _sorted(statement, order)
    return moved


def _sorted(statement: Statement, order: tuple[int, ...]) -> Statement:
    operator, *parts = statement
    if operator in ("telling-truth", "lying"):
        return [operator, order[parts[0]]]
    moved = [_sorted(part, order) for part in parts]
    return [operator, *(sorted(moved, key=canonical_json) if operator in ("and", "or", "<=>") else moved)]


def _problem(rng: random.Random, statements: list[Statement], name: str) -> Problem:
    names = rng.sample(_NAMES, len(statements))
    solution = solutions(statements)[0]
    roles = Roles()
    meeting = rng.choice(_MEETINGS).format(count=_COUNTS[len(names)], names=_listed(names))
    said = " ".join(_speech(rng, names, roles, person, s) for person, s in enumerate(statements))
    example = _listed([f"{n} is a knight/knave" for n in names], comma=True)
    return problem(
        prompt=f"{rng.choice(_ISLANDS)} {meeting} {said} {_QUESTION.format(example=example)}",
        answer=assignment(names, solution, roles),
        domain="knights-and-knaves",
        source="knights-and-knaves",
        source_id=name,
        license="apache-2.0",
        meta=canonical_json({"names": names, "statements": statements, "solution": solution, "roles": list(roles)}),
    )


def _speech(rng: random.Random, names: list[str], roles: Roles, person: int, statement: Statement) -> str:
    quoted = words(statement, names, roles, person)
    reported = words(statement, names, roles)
    return rng.choice(_SPEECH).format(name=names[person], quoted=quoted[0].upper() + quoted[1:], reported=reported)


def assignment(names: list[str], solution: list[bool], roles: Roles) -> str:
    """The answer as text: "Emma is a knight, and Noah is a knave"."""
    said = [f"{name} is {roles.with_article(truthful)}" for name, truthful in zip(names, solution, strict=True)]
    return _listed(said, comma=True)


def _listed(items: list[str], comma: bool = False) -> str:
    return ", ".join(items[:-1]) + (", and " if comma or len(items) > 2 else " and ") + items[-1]


def check(gold: str, response: str) -> Verdict:
    """Whether `response` gives every person of `gold` the same role, and nobody else one.

    Reasons: equal, wrong_roles, missing_names, unknown_name, contradictory, no_answer, unparseable_answer, too_long,
    and unparseable_gold (undetermined). Role words may differ from the gold's: a saint is a knight.
    """
    truth = read_gold(gold)
    if not truth:
        return Verdict(outcome="undetermined", why="unparseable_gold", extracted=None, verifier=VERSION)
    finals = final_answers(response)
    if not finals:
        return Verdict(outcome="incorrect", why="no_answer", extracted=None, verifier=VERSION)
    text, rule = finals[0]
    reading = read_roles(text, list(truth), last_lines=rule == "last_line")
    why = reading.why or ("equal" if reading.roles == truth else "wrong_roles")
    outcome = "correct" if why == "equal" else "incorrect"
    return Verdict(outcome=outcome, why=why, extracted=reading.text[:500], rule=rule, verifier=VERSION)  # type: ignore[arg-type]
