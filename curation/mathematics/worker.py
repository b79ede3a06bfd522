"""math-verify, asked both ways and cross-checked by numbers; runs only in a worker process that can be killed."""

from __future__ import annotations

import concurrent.futures
import logging
import re
import resource
import time
from typing import Any, NamedTuple

MEMORY_BYTES = 1_500_000_000  # address space of one worker; math-verify itself needs 0.4 GB of it


class Judged(NamedTuple):
    outcome: str
    why: str
    seconds: float  # in the worker, without the wait for one


def start() -> None:
    """Once in each worker: a memory limit, and no log lines on the caller's terminal."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    logging.disable(logging.CRITICAL)


def outcome_of(future: concurrent.futures.Future[Judged], timeout_s: float) -> Judged:
    """The result of a finished task; a killed or broken one is undetermined, with the reason."""
    error = future.exception()
    if error is None:
        return future.result()
    if isinstance(error, TimeoutError):
        return Judged("undetermined", "timeout", timeout_s)
    return Judged("undetermined", "out_of_memory" if isinstance(error, MemoryError) else "worker_lost", timeout_s)


def timed(gold: str, answer: str) -> Judged:
    """judge, with the seconds it took."""
    started = time.perf_counter()
    try:
        outcome, why = judge(gold, answer)
    except MemoryError:
        outcome, why = "undetermined", "out_of_memory"
    except Exception:  # the border of one verification: whatever two other libraries raise on odd text costs this row only
        outcome, why = "undetermined", "verifier_error"
    return Judged(outcome, why, time.perf_counter() - started)


def judge(gold: str, answer: str) -> tuple[str, str]:
    """(outcome, why) for two bare answers that the exact tier could not decide."""
    for text, why in ((gold, "unparseable_gold"), (answer, "unparseable_answer")):
        if _PROSE.search(text) or not _closed(text):  # before anything is parsed: a parse takes 60 ms
            return "undetermined", why
    gold_parsed, answer_parsed = _parse(gold), _parse(answer)
    if not gold_parsed:
        return "undetermined", "unparseable_gold"
    if not answer_parsed:
        return "undetermined", "unparseable_answer"
    if not (_equal(gold_parsed, answer_parsed) and _equal(answer_parsed, gold_parsed)):
        return "undetermined", "unproven"
    if _numbers_differ(gold_parsed[0], answer_parsed[0]):
        return "undetermined", "disagreement"
    return "correct", "equal"


def _closed(text: str) -> bool:
    """As many brackets closed as opened, of any kind, for an interval has two kinds; math-verify reads `10^(2` as 10."""
    return sum(map(text.count, "([{")) == sum(map(text.count, ")]}"))


_PROSE = re.compile(r"(?<![\\A-Za-z])[A-Za-z]{4,}")
_NUMBER = re.compile(r"\d[\d.,{}]*")  # thousands and decimals included
_LETTER = re.compile(r"(?<![A-Za-z\\])[A-Za-z](?![A-Za-z])")


def _parse(text: str) -> list[Any]:
    """What math-verify makes of the whole text; nothing where it reads only a part of it."""
    import math_verify
    import sympy

    bare = text.replace("$", "")
    configs = [math_verify.LatexExtractionConfig(boxed_match_priority=-1), math_verify.ExprExtractionConfig()]
    try:
        parsed: list[Any] = math_verify.parse(f"${bare}$", configs, parsing_timeout=None)
    except (
        RecursionError,
        ValueError,
        TypeError,
        AttributeError,
        ArithmeticError,
    ):  # what its grammar raises on odd text
        return []
    trees = [p for p in parsed if not isinstance(p, str | sympy.logic.boolalg.Boolean)]  # any two truths are equal to it
    several = len(_NUMBER.findall(bare)) > 1  # `2~3` and `10^^2` are read as 2 and 10
    whole = [t for t in trees if not (several and isinstance(t, sympy.Integer))]
    return [t for t in whole if _letters(bare) <= {s.name[0] for s in t.atoms(sympy.Symbol)}]


def _letters(text: str) -> set[str]:
    """Variables of the text: a tree without one of them was read from a part of it only."""
    return set(_LETTER.findall(text)) - {"e", "i", "d", "C"}


def _equal(gold: list[Any], answer: list[Any]) -> bool:
    import math_verify

    return bool(math_verify.verify(gold, answer, timeout_seconds=None))


def _numbers_differ(gold: Any, answer: Any) -> bool:
    """True where both are numbers and 50 digits of them differ: math-verify takes 1/2^99 and 1/2^98 for equal."""
    import sympy

    if not (isinstance(gold, sympy.Expr) and isinstance(answer, sympy.Expr)):
        return False
    if gold.free_symbols or answer.free_symbols:
        return False
    a, b = sympy.N(gold, 50), sympy.N(answer, 50)
    if not (a.is_number and b.is_number):
        return False
    return bool(abs(a - b) > sympy.Float("1e-40") * max(abs(a), abs(b)))
