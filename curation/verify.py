"""One response against one gold: correct, incorrect or undetermined, with the reason.

    verify("1/2", r"... so \\boxed{0.5}").outcome == "correct"

The exact tier decides what it is certain of, in this process; the rest goes to worker processes that are killed
when they overrun (math_server). Safe from threads, asyncio and trainers.
"""

from __future__ import annotations

import collections
import concurrent.futures
import dataclasses
import functools
import importlib.metadata
import re
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple, overload

from curation import math_exact, math_server
from curation.errors import UserError
from curation.extract import extract, extract_gold
from curation.records import Verdict

DOMAINS = ("math", "text", "countdown", "knights-and-knaves")
MATH_VERSION = "1"  # raised whenever a verdict of the same texts may change
ANSWER_LIMIT = 2000  # characters of an extracted answer; the longest gold of MATH, AIME and OlympiadBench has 380
WEAK_RULES = frozenset({"last_math", "last_number"})  # found by position: where the gold stands near, neither is sure
TAIL = 300  # characters at the end of a response that count as near
LOOK_AHEAD = 256  # rows judged or waiting beyond the one due next


class Waiting(NamedTuple):
    """A row whose verdict the slow tier owes."""

    future: concurrent.futures.Future[tuple[str, str, float]]
    verdict: Verdict  # all but the outcome and the reason


@functools.cache
def verifier_version() -> str:
    """Name and version of what decides, for manifests: ours and math-verify's."""
    return f"factory-math {MATH_VERSION} + math-verify {importlib.metadata.version('math-verify')}"


@overload
def verify(  # type: ignore[overload-overlap]  # a str is a Sequence[str] too; the first signature is meant
    gold: str | None, response: str, *, domain: str = "math", timeout_s: float = 5.0, workers: int = 1
) -> Verdict: ...
@overload
def verify(
    gold: Sequence[str | None],
    response: Sequence[str],
    *,
    domain: str = "math",
    timeout_s: float = 5.0,
    workers: int = 1,
) -> list[Verdict]: ...
def verify(
    gold: str | Sequence[str | None] | None,
    response: str | Sequence[str],
    *,
    domain: str = "math",
    timeout_s: float = 5.0,
    workers: int = 1,
) -> Verdict | list[Verdict]:
    """Judge one response, or a sequence of them in order, against gold answers.

    `timeout_s` is the limit of one row in the slow tier. Raises UserError for an unknown domain or sequences of
    different lengths.
    """
    if isinstance(response, str):
        single = gold if gold is None or isinstance(gold, str) else None
        return next(verify_all([(single, response, domain)], timeout_s=timeout_s, workers=workers))
    golds = [] if gold is None else list(gold)
    if len(golds) != len(response):
        raise UserError(f"verify got {len(golds)} golds for {len(response)} responses; give one gold for each response")
    rows = ((g, r, domain) for g, r in zip(golds, response, strict=True))
    return list(verify_all(rows, timeout_s=timeout_s, workers=workers))


def verify_all(
    items: Iterable[tuple[str | None, str, str]], *, timeout_s: float = 5.0, workers: int = 1
) -> Iterator[Verdict]:
    """Verdicts of (gold, response, domain) in input order; reads at most LOOK_AHEAD rows ahead.

    A row that hangs or exhausts memory costs its own verdict only (timeout, out_of_memory, worker_lost).
    """
    return _in_order(_judge(*item, timeout_s=timeout_s, workers=workers) for item in items)


def check_gold(gold: str | None, domain: str = "math") -> Verdict:
    """Would the verifier accept the gold itself as an answer? Undetermined (unparseable_gold) where not."""
    return next(check_golds([(gold, domain)]))


def check_golds(
    items: Iterable[tuple[str | None, str]], *, timeout_s: float = 5.0, workers: int = 1
) -> Iterator[Verdict]:
    """check_gold for (gold, domain) pairs, streaming, in input order."""
    return _in_order(_judge_gold(*item, timeout_s=timeout_s, workers=workers) for item in items)


def _in_order(rows: Iterable[Verdict | Waiting]) -> Iterator[Verdict]:
    queue: collections.deque[Verdict | Waiting] = collections.deque()
    for row in rows:
        queue.append(row)
        while queue and (len(queue) > LOOK_AHEAD or isinstance(queue[0], Verdict) or queue[0].future.done()):
            yield _finished(queue.popleft())
    while queue:
        yield _finished(queue.popleft())


def _finished(row: Verdict | Waiting) -> Verdict:
    if isinstance(row, Verdict):
        return row
    outcome, why, seconds = row.future.result()
    total_seconds = row.verdict.seconds + seconds
    return dataclasses.replace(row.verdict, outcome=outcome, why=why, seconds=total_seconds)  # type: ignore[arg-type]


def _judge(gold: str | None, response: str, domain: str, *, timeout_s: float, workers: int) -> Verdict | Waiting:
    started = time.perf_counter()
    if domain not in DOMAINS:
        raise UserError(f"unknown domain {domain!r}; the verifier knows {', '.join(DOMAINS)}")
    bare = extract_gold(gold) if gold else None
    if gold is None or bare is None:
        return _verdict("undetermined", "no_gold", None, None, started)
    if domain == "countdown":
        from curation.puzzles import countdown

        return countdown.check(gold, response)
    if domain == "knights-and-knaves":
        from curation.puzzles import knights

        return knights.check(gold, response)
    found = extract(response)
    if found.text is None:
        return _verdict("incorrect", found.rule, None, None, started)
    if domain == "text":
        same = " ".join(bare.split()).casefold() == " ".join(found.text.split()).casefold()
        return _verdict("correct" if same else "incorrect", "equal" if same else "different", *found, started)
    return _judge_math(bare, found.text, found.rule, response, started, timeout_s, workers)


def _judge_math(
    gold: str, answer: str, rule: str, response: str, started: float, timeout_s: float, workers: int
) -> Verdict | Waiting:
    if max(len(gold), len(answer)) > ANSWER_LIMIT:
        return _verdict("undetermined", "too_long", answer[:ANSWER_LIMIT], rule, started)
    if decided := math_exact.compare(gold, answer):
        if decided.outcome == "incorrect" and rule in WEAK_RULES and _mentions(response[-TAIL:], gold):
            decided = math_exact.Decision("undetermined", "ambiguous")
        return _verdict(*decided, answer, rule, started)
    future = math_server.shared(workers).ask(gold, answer, timeout_s)
    return Waiting(future, _verdict("undetermined", "", answer, rule, started))


def _mentions(text: str, gold: str) -> bool:
    """Does the gold stand in the text by itself, not as a part of a longer number?"""
    return re.search(rf"(?<![\w.]){re.escape(gold)}(?![\w.]*\w)", text) is not None


def _judge_gold(gold: str | None, domain: str, *, timeout_s: float, workers: int) -> Verdict | Waiting:
    started = time.perf_counter()
    bare = extract_gold(gold) if gold else None
    if bare is None:
        return _verdict("undetermined", "no_gold", None, None, started)
    if domain != "math":
        return _judge(gold, gold or "", domain, timeout_s=timeout_s, workers=workers)
    if len(bare) > ANSWER_LIMIT:
        return _verdict("undetermined", "too_long", bare[:ANSWER_LIMIT], "gold", started)
    if math_exact.readable(bare):
        return _verdict("correct", "equal", bare, "gold", started)
    future = math_server.shared(workers).ask(bare, bare, timeout_s)
    return Waiting(future, _verdict("undetermined", "", bare, "gold", started))


def _verdict(outcome: str, why: str, extracted: str | None, rule: str | None, started: float) -> Verdict:
    return Verdict(
        outcome=outcome,  # type: ignore[arg-type]
        why=why,
        extracted=extracted,
        rule=rule,
        verifier=verifier_version(),
        seconds=time.perf_counter() - started,
    )
