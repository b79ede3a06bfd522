"""Countdown: reach a target with given numbers, each used exactly once, by + - * / and parentheses.

Problems are built forward, so that each has a solution in whole-number steps; the checker reads a response's
expression on fractions. Rules as in Stream of Search (arXiv 2404.03683) and Jiayi-Pan/Countdown-Tasks-3to4.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Iterator
from typing import Literal, NamedTuple

from curation.errors import UserError
from curation.puzzles.arithmetic import MAX_CHARACTERS, Arithmetic, NotArithmetic, last_arithmetic, read_equation
from curation.puzzles.final_answer import Final, final_answers
from curation.records import Problem, Verdict, canonical_json, content_id, problem

VERSION = "countdown 1"
OPERATORS = "+-*/"
Style = Literal["words", "terse"]
Part = Literal["all", "train", "new-puzzles", "new-targets"]
_MAX_STEP = 1_000  # a person's head, and a small model's, holds products up to here
_MAX_TRIES = 20_000  # for one problem; ordinary settings need about 10

_TASKS = (
    "Using the numbers {numbers}, write an arithmetic expression that equals {target}.",
    "Find a way to make {target} from the numbers {numbers}.",
    "Combine the numbers {numbers} so that the result is {target}.",
    "You are given the numbers {numbers}. Reach the target {target}.",
)
_RULES = (
    "Use every number exactly once, with +, -, *, / and parentheses only.",
    "Each number must be used exactly once; the allowed operations are +, -, * and /, with parentheses where needed.",
)
_FORMAT = "Give the final expression alone in answer tags, for example <answer>(1 + 2) * 3</answer>."


class Term(NamedTuple):
    """A value and how it was made; `left` and `right` are None for a number of the puzzle."""

    value: int
    operator: str = ""
    left: Term | None = None
    right: Term | None = None


def combine(operator: str, left: Term, right: Term) -> Term:
    """The term of one step; raises ValueError where a division is not whole."""
    a, b = left.value, right.value
    if operator == "/":
        quotient, rest = divmod(a, b)
        if rest:
            raise ValueError(f"{a} / {b} is not whole")
        return Term(quotient, operator, left, right)
    return Term({"+": a + b, "-": a - b, "*": a * b}[operator], operator, left, right)


def expression(term: Term) -> str:
    """The term as text, with the parentheses that its order of steps needs."""
    if term.left is None or term.right is None:
        return str(term.value)
    left, right = expression(term.left), expression(term.right)
    if term.operator in "*/" and term.left.operator in ("+", "-"):
        left = f"({left})"
    if _needs_parentheses(term.operator, term.right.operator):
        right = f"({right})"
    return f"{left} {term.operator} {right}"


def _needs_parentheses(operator: str, right: str) -> bool:
    wrapped = {"+": "", "-": "+-", "*": "+-/", "/": "+-*/"}[operator]
    return right != "" and right in wrapped


def steps(left: Term, right: Term, *, idle: bool = False) -> list[Term]:
    """Every whole-number step with two terms; only with `idle` those that give 0 or multiply by 1 or 0."""
    high, low = (left, right) if left.value >= right.value else (right, left)
    found = [combine("+", high, low)]
    if idle or high.value > low.value:
        found.append(combine("-", high, low))
    if idle or low.value > 1:
        found.append(combine("*", high, low))
    if low.value > 1 and high.value % low.value == 0:
        found.append(combine("/", high, low))
    return found


def key(numbers: list[int], target: int) -> str:
    """What makes two puzzles the same: the sorted numbers and the target, as "3,8,12=24"."""
    return f"{','.join(map(str, sorted(numbers)))}={target}"


def generate(
    count: int,
    *,
    seed: int,
    min_numbers: int = 3,
    max_numbers: int = 6,
    min_target: int = 10,
    max_target: int = 100,
    max_number: int = 99,
    style: Style = "words",
    part: Part = "all",
    operators: str = OPERATORS,
) -> Iterator[Problem]:
    """`count` different puzzles with whole numbers from 1 to `max_number`; the first ones do not depend on `count`.

    Style terse says only "Make 62 of 12 7 3 40", for students trained from random weights; parts are those of `part_of`. With
    fewer `operators` each is solvable by these alone; others may be used all the same.
    Each is solvable in whole, positive steps with every number used once; its gold is such an expression. Raises
    UserError for impossible settings, and when 20,000 draws in a row give no new puzzle.
    """
    if not (2 <= min_numbers <= max_numbers <= 9 and 1 <= min_target <= max_target and max_number >= 1):
        raise UserError(
            f"countdown got {min_numbers} to {max_numbers} numbers up to {max_number} and targets {min_target} to "
            f"{max_target}; it needs 2 to 9 numbers and targets of 1 or more, lowest first: mend the source's settings"
        )
    rng = random.Random(f"countdown {seed}")
    seen: set[str] = set()
    for found in range(count):
        for _ in range(_MAX_TRIES):
            numbers = [rng.randint(1, max_number) for _ in range(rng.randint(min_numbers, max_numbers))]
            term = _draw(rng, numbers, operators)
            name = key(numbers, term.value)
            if min_target <= term.value <= max_target and name not in seen and part in ("all", part_of(numbers, term.value)):
                seen.add(name)
                yield _problem(rng, numbers, term, style, operators)
                break
        else:
            raise UserError(
                f"countdown found {found} different puzzles of the {count} asked for with these settings: "
                "ask for fewer, or widen the numbers or the targets"
            )


def _draw(rng: random.Random, numbers: list[int], operators: str) -> Term:
    """A random tree of steps over all the numbers, its intermediate values kept within reach of a head."""
    terms = [Term(n) for n in numbers]
    while len(terms) > 1:
        left = terms.pop(rng.randrange(len(terms)))
        right = terms.pop(rng.randrange(len(terms)))
        made = [t for t in steps(left, right) if t.operator in operators and (t.value <= _MAX_STEP or t.operator in "+-")]
        terms.append(rng.choice(made or steps(left, right)[:1]))  # equal numbers have no difference: then their sum
    return terms[0]


def _problem(rng: random.Random, numbers: list[int], term: Term, style: Style, operators: str) -> Problem:
    task, rule = rng.choice(_TASKS), rng.choice(_RULES)
    terse = style == "terse"
    told = {"style": style, "operators": operators} if terse else {}
    return problem(
        prompt=terse_prompt(numbers, term.value) if terse else prompt(numbers, term.value, task=task, rule=rule),
        answer=expression(term),
        domain="countdown",
        source="countdown",
        source_id=key(numbers, term.value),
        license="apache-2.0",
        meta=canonical_json({"numbers": numbers, "target": term.value} | told),
    )


def part_of(numbers: list[int], target: int) -> Part:
    """The part of a puzzle, whoever draws it: new-targets where the target ends in 3, of the others one in ten new-puzzles.

    Stream of Search tests on both: on targets never trained on, and on new numbers for targets that were.
    """
    if target % 10 == 3:
        return "new-targets"
    return "new-puzzles" if int(content_id(key(numbers, target)), 16) % 10 == 0 else "train"


def terse_prompt(numbers: list[int], target: int) -> str:
    return f"Make {target} of {' '.join(map(str, numbers))}"


def prompt(numbers: list[int], target: int, *, task: str = _TASKS[0], rule: str = _RULES[0]) -> str:
    """The puzzle in words, with its rules and the form of the answer; for sources that have only the numbers, too."""
    shown = ", ".join(map(str, numbers[:-1])) + f" and {numbers[-1]}"
    return f"{task.format(numbers=shown, target=target)} {rule} {_FORMAT}"


def check(gold: str, response: str) -> Verdict:
    """Whether the expression in `response` uses the puzzle's numbers exactly once each and has its value.

    `gold` is an expression that uses all numbers, or JSON {"numbers" or "nums": [...], "target": n}. Reasons: equal,
    wrong_value, wrong_numbers, no_answer, unparseable_answer, division_by_zero, too_long, and unparseable_gold
    (undetermined).
    """
    try:
        numbers, target = _task(gold)
    except (NotArithmetic, ValueError, KeyError, TypeError):
        return Verdict(outcome="undetermined", why="unparseable_gold", extracted=None, verifier=VERSION)
    final = _expression_in(response)
    if final is None:
        return Verdict(outcome="incorrect", why="no_answer", extracted=None, verifier=VERSION)
    why = _judge(final.text, numbers, target)
    outcome = "correct" if why == "equal" else "incorrect"
    return Verdict(outcome=outcome, why=why, extracted=final.text[:200], rule=final.rule, verifier=VERSION)  # type: ignore[arg-type]


def check_gold(gold: str) -> Verdict:
    """Can a response be held against this gold? A solution must solve its puzzle; a task as JSON must be readable."""
    verdict = check(gold, gold)
    if verdict.outcome == "undetermined" or not _is_json(gold):
        return verdict
    return Verdict(outcome="correct", why="equal", extracted=gold[:200], rule="gold", verifier=VERSION)


def _is_json(gold: str) -> bool:
    return gold.lstrip().startswith("{") and '"' in gold


def _task(gold: str) -> tuple[list[int], int]:
    if _is_json(gold):
        fields = json.loads(gold)
        return sorted(int(n) for n in fields.get("numbers") or fields["nums"]), int(fields["target"])
    expression_side = read_equation(gold)[0]
    if expression_side.value.denominator != 1 or not expression_side.operations:
        raise ValueError(gold)
    return sorted(expression_side.numbers), int(expression_side.value)


def _judge(text: str, numbers: list[int], target: int) -> str:
    try:
        sides = read_equation(text)
    except NotArithmetic as refusal:
        return str(refusal)
    if not any(_uses(side, numbers) for side in sides):
        return "wrong_numbers"
    return "equal" if all(side.value == target for side in sides) else "wrong_value"


def _uses(side: Arithmetic, numbers: list[int]) -> bool:
    return sorted(side.numbers) == numbers


_LABEL = re.compile(r"^[^0-9()\[\]{}+*/\\=-]{0,60}:")  # "Answer:", "Final expression:"


def _expression_in(response: str) -> Final | None:
    """The text to judge. A box that holds a number alone, such as the target, gives way to the last line of
    arithmetic.
    """
    for text, rule in final_answers(response):
        bare = _LABEL.sub("", text.strip(), count=1).strip("*`_$ \n\t").removesuffix(".")
        if rule == "last_line" or not _is_bare(bare):
            if stretch := last_arithmetic(bare):
                return Final(stretch, rule)
            if rule == "last_line":
                return None
        elif rule == "boxed" and not re.search(r"[^0-9.,\s]", bare):
            continue
        return Final(bare, rule)
    return None


def _is_bare(text: str) -> bool:
    """True for what is meant as one expression, right or wrong; False for a sentence or several lines around one."""
    if len(text) > MAX_CHARACTERS or "\n" in text:
        return False
    return not re.search(r"[^\W\d_]{2}\s", re.sub(r"\\[A-Za-z]+", "", text))
