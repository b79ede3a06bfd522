"""The oracle: a teacher without a model, for puzzles that a program can search.

It writes the search down as a person thinks aloud, with dead ends and turning back, and ends in a clean answer. Its
traces are exact, cost nothing and need no network, so that the whole factory can be tried on them.
"""

from __future__ import annotations

import json
import random
from typing import Any

from curation.errors import UserError
from curation.puzzles.statements import Roles, solutions
from curation.records import Problem, Trace, canonical_json, trace
from factory.oracle import countdown_search, countdown_terse, knights_search
from factory.oracle.telling import Told, Unsolved

VERSION = "search 1"  # raise when the same puzzle and index give another text
DOMAINS = ("countdown", "knights-and-knaves")


def solve(problem: Problem, index: int) -> Trace:
    """The oracle's trace number `index` of a puzzle: the same two give the same text, on any machine.

    The index changes the order of the search and its words. A puzzle without a solution gives a trace with finish
    "error". Raises UserError for another domain, and where `problem.meta` lacks the puzzle.
    """
    rng = random.Random(f"{VERSION} {problem.id} {index}")
    fields: dict[str, Any] = {
        "problem_id": problem.id,
        "index": index,
        "teacher": "oracle",
        "revision": VERSION,
        "sampling": canonical_json({"seed": f"{VERSION} {problem.id} {index}"}),
    }
    try:
        told = _tell(problem, rng)
    except Unsolved as failure:
        return trace(**fields, finish="error", error=str(failure))
    return trace(**fields, reasoning=told.reasoning, answer_text=told.answer, finish="stop")


def _tell(problem: Problem, rng: random.Random) -> Told:
    meta = json.loads(problem.meta)
    if problem.domain == "countdown":
        numbers, target = _countdown(problem, meta)
        if meta.get("style") == "terse":
            allowed = meta.get("operators", countdown_terse.OPERATORS)
            return countdown_terse.tell(numbers, target, "".join(o for o in countdown_terse.OPERATORS if o in allowed))
        return countdown_search.tell(numbers, target, rng)
    if problem.domain == "knights-and-knaves":
        return knights_search.tell(_knights(problem, meta), rng)
    raise UserError(
        f"the oracle got problem {problem.id} of domain {problem.domain!r}, but searches only {' and '.join(DOMAINS)} "
        "puzzles: choose another teacher"
    )


def _countdown(problem: Problem, meta: dict[str, Any]) -> tuple[list[int], int]:
    numbers, target = meta.get("numbers"), meta.get("target")
    if isinstance(numbers, list) and len(numbers) >= 2 and all(type(n) is int and n >= 0 for n in [*numbers, target]):
        return numbers, int(str(target))
    raise _lacking(problem, '"numbers" (two or more whole numbers) and "target"')


def _knights(problem: Problem, meta: dict[str, Any]) -> knights_search.Puzzle:
    names, statements, roles = meta.get("names"), meta.get("statements"), meta.get("roles", Roles())
    wanted = '"names", "statements" (nested lists, one for each name) and, if not knight and knave, "roles" (two words)'
    if not (isinstance(names, list) and isinstance(statements, list) and 2 <= len(names) == len(statements) <= 8):
        raise _lacking(problem, wanted)
    try:
        solutions(statements)
        return knights_search.Puzzle(names, statements, Roles(*roles))
    except (ValueError, TypeError) as failure:
        raise _lacking(problem, wanted) from failure


def _lacking(problem: Problem, wanted: str) -> UserError:
    return UserError(
        f"the oracle cannot read the {problem.domain} puzzle {problem.id}: its meta is {problem.meta[:80]}, but needs {wanted}: "
        "keep these columns in the source, or choose another teacher"
    )
