"""One response against one gold: correct, incorrect or undetermined, with the reason.

    verify("1/2", r"... so \\boxed{0.5}").outcome == "correct"

The exact tier decides what it is certain of, in this process; the rest goes to worker processes that are killed
when they overrun (mathematics.server). Safe from threads, asyncio and trainers.
"""

from __future__ import annotations

import collections
import concurrent.futures
import dataclasses
import functools
import importlib.metadata
import os
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple, overload

from curation.errors import UserError
from curation.extract import extract, extract_gold
from curation.mathematics import exact, server
from curation.mathematics.answer import ANSWER_LIMIT, Found, decide
from curation.records import Verdict

DOMAINS = ("math", "text", "countdown", "knights-and-knaves", "code")
MATH_VERSION = "2"  # raised whenever a verdict of the same texts may change
CHUNK = 128  # rows sent to a worker at once; a row takes 0.2 ms, a message 0.1 ms
CHUNK_LIMIT_S = 60.0  # the worst row of the cheap tier takes 0.2 s
LOOK_AHEAD = 256  # rows judged or waiting beyond the one due next


Running = concurrent.futures.Future[Verdict]  # a row whose program is being tested


class Row(NamedTuple):
    """One row of a chunk; `verdict` where none of the workers is needed."""

    gold: str
    response: str
    verdict: Verdict | Waiting | Running | None


class Waiting(NamedTuple):
    """A row whose verdict the slow tier owes."""

    future: concurrent.futures.Future[tuple[str, str, float]]
    verdict: Verdict  # all but the outcome and the reason


@functools.cache
def verifier_version() -> str:
    """Name and version of what decides, for manifests: ours and math-verify's."""
    return f"factory-math {MATH_VERSION} + math-verify {importlib.metadata.version('math-verify')}"


def verifier_versions() -> tuple[str, ...]:
    """Every version that may have a say in a verdict, whatever the domain: what finished work is keyed by."""
    from curation import code_tests
    from curation.puzzles import countdown, knights

    return (verifier_version(), code_tests.VERSION, countdown.VERSION, knights.VERSION)


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


def verify_all(items: Iterable[tuple[str | None, str, str]], *, timeout_s: float = 5.0, workers: int = 1) -> Iterator[Verdict]:
    """Verdicts of (gold, response, domain) in input order; reads at most LOOK_AHEAD rows ahead.

    A row that hangs or exhausts memory costs its own verdict only (timeout, out_of_memory, worker_lost).
    """
    if workers > 1:
        return _in_order(_in_chunks(items, timeout_s, workers))
    return _in_order(_judge(*item, timeout_s=timeout_s, workers=workers) for item in items)


def check_gold(gold: str | None, domain: str = "math") -> Verdict:
    """Would the verifier accept the gold itself as an answer? Undetermined (unparseable_gold) where not."""
    return next(check_golds([(gold, domain)]))


def check_golds(items: Iterable[tuple[str | None, str]], *, timeout_s: float = 5.0, workers: int = 1) -> Iterator[Verdict]:
    """check_gold for (gold, domain) pairs, streaming, in input order."""
    return _in_order(_judge_gold(*item, timeout_s=timeout_s, workers=workers) for item in items)


def _in_order(rows: Iterable[Verdict | Waiting | Running]) -> Iterator[Verdict]:
    queue: collections.deque[Verdict | Waiting | Running] = collections.deque()
    for row in rows:
        queue.append(row)
        while queue and (len(queue) > LOOK_AHEAD or _is_done(queue[0])):
            yield _finished(queue.popleft())
    while queue:
        yield _finished(queue.popleft())


def _is_done(row: Verdict | Waiting | Running) -> bool:
    return isinstance(row, Verdict) or (row.future if isinstance(row, Waiting) else row).done()


def _finished(row: Verdict | Waiting | Running) -> Verdict:
    if isinstance(row, Verdict):
        return row
    if not isinstance(row, Waiting):
        return row.result()
    outcome, why, seconds = row.future.result()
    total_seconds = row.verdict.seconds + seconds
    return dataclasses.replace(row.verdict, outcome=outcome, why=why, seconds=total_seconds)  # type: ignore[arg-type]


@functools.cache
def _runners(workers: int, pid: int) -> concurrent.futures.ThreadPoolExecutor:
    """Threads that wait for sandboxes; each process its own, since a forked child has no thread of its parent's."""
    return concurrent.futures.ThreadPoolExecutor(workers)


def _judge(gold: str | None, response: str, domain: str, *, timeout_s: float, workers: int) -> Verdict | Waiting | Running:
    started = time.perf_counter()
    if domain not in DOMAINS:
        raise UserError(f"unknown domain {domain!r}; the verifier knows {', '.join(DOMAINS)}")
    if domain == "code" and gold:
        from curation import code_tests

        return _runners(workers, os.getpid()).submit(code_tests.check, gold, response, timeout_s=timeout_s)
    bare = extract_gold(gold) if gold else None
    if gold is None or bare is None:
        return _verdict("undetermined", "no_gold", None, None, started)
    if domain == "countdown":
        from curation.puzzles import countdown

        return countdown.check(gold, response)
    if domain == "knights-and-knaves":
        from curation.puzzles import knights

        return knights.check(gold, response)
    if domain == "text":
        return _text(bare, response, started)
    return _settled(bare, decide(bare, response), timeout_s, workers)


def _text(gold: str, response: str, started: float) -> Verdict:
    found = extract(response)
    if found.text is None:
        return _verdict("incorrect", found.rule, None, None, started)
    same = " ".join(gold.split()).casefold() == " ".join(found.text.split()).casefold()
    return _verdict("correct" if same else "incorrect", "equal" if same else "different", *found, started)


def _settled(gold: str, found: Found, timeout_s: float, workers: int) -> Verdict | Waiting | Running:
    """A verdict where the cheap tier has decided, else a question to the slow tier."""
    outcome, why, extracted, rule, seconds = found
    verdict = Verdict(
        outcome=outcome or "undetermined",  # type: ignore[arg-type]
        why=why,
        extracted=extracted,
        rule=rule,
        verifier=verifier_version(),
        seconds=seconds,
    )
    return verdict if outcome else Waiting(server.shared(workers).ask(gold, extracted or "", timeout_s), verdict)


def _in_chunks(
    items: Iterable[tuple[str | None, str, str]], timeout_s: float, workers: int
) -> Iterator[Verdict | Waiting | Running]:
    """The cheap tier itself on several cores: rows go to the workers by the chunk, and come back in order.

    This process is one of the workers: it takes a chunk whenever each of the others has one to do and one to go on with.
    """
    slow = server.shared(workers)
    queue: collections.deque[tuple[list[Row], concurrent.futures.Future[list[Found] | None]]] = collections.deque()
    for rows in _batches(items, timeout_s, workers):
        undecided = [(r.gold, r.response) for r in rows if r.verdict is None]
        elsewhere = sum(not future.done() for _, future in queue)
        queue.append((rows, slow.decide(undecided, CHUNK_LIMIT_S) if elsewhere < 2 * (workers - 1) else _here(undecided)))
        while queue and (queue[0][1].done() or len(queue) > 4 * workers):
            yield from _chunk(*queue.popleft(), slow, timeout_s, workers)
    while queue:
        yield from _chunk(*queue.popleft(), slow, timeout_s, workers)


def _here(rows: list[tuple[str, str]]) -> concurrent.futures.Future[list[Found] | None]:
    done: concurrent.futures.Future[list[Found] | None] = concurrent.futures.Future()
    done.set_result([decide(*row) for row in rows])
    return done


def _batches(items: Iterable[tuple[str | None, str, str]], timeout_s: float, workers: int) -> Iterator[list[Row]]:
    rows: list[Row] = []
    for gold, response, domain in items:
        bare = extract_gold(gold) if gold and domain == "math" else None
        verdict = None if bare is not None else _judge(gold, response, domain, timeout_s=timeout_s, workers=workers)
        rows.append(Row(bare or "", response, verdict))
        if len(rows) == CHUNK:
            yield rows
            rows = []
    if rows:
        yield rows


def _chunk(
    rows: list[Row],
    future: concurrent.futures.Future[list[Found] | None],
    slow: server.Server,
    timeout_s: float,
    workers: int,
) -> Iterator[Verdict | Waiting | Running]:
    found = future.result()
    undecided = iter(found if found is not None else _one_by_one(rows, slow, timeout_s))
    for row in rows:
        yield row.verdict or _settled(row.gold, next(undecided), timeout_s, workers)


def _one_by_one(rows: list[Row], slow: server.Server, timeout_s: float) -> Iterator[Found]:
    """After a chunk was lost: each row by itself, so that the one that broke it costs only itself."""
    for row in rows:
        if row.verdict is None:
            found = slow.decide([(row.gold, row.response)], timeout_s).result()
            yield found[0] if found else Found("undetermined", "timeout", None, None, timeout_s)


def _judge_gold(gold: str | None, domain: str, *, timeout_s: float, workers: int) -> Verdict | Waiting | Running:
    started = time.perf_counter()
    if domain == "code" and gold:
        return _verdict(*_readable_tests(gold), None, "gold", started)
    bare = extract_gold(gold) if gold else None
    if bare is None:
        return _verdict("undetermined", "no_gold", None, None, started)
    if domain == "countdown":
        from curation.puzzles import countdown

        return countdown.check_gold(gold or "")
    if domain != "math":
        return _judge(gold, gold or "", domain, timeout_s=timeout_s, workers=workers)
    if len(bare) > ANSWER_LIMIT:
        return _verdict("undetermined", "too_long", bare[:ANSWER_LIMIT], "gold", started)
    if exact.readable(bare):
        return _verdict("correct", "equal", bare, "gold", started)
    future = server.shared(workers).ask(bare, bare, timeout_s)
    return Waiting(future, _verdict("undetermined", "", bare, "gold", started))


def _readable_tests(gold: str) -> tuple[str, str]:
    from curation.code_gold import read_gold

    try:
        read_gold(gold)
    except (ValueError, RecursionError):
        return "undetermined", "unparseable_gold"
    return "correct", "equal"


def _verdict(outcome: str, why: str, extracted: str | None, rule: str | None, started: float) -> Verdict:
    return Verdict(
        outcome=outcome,  # type: ignore[arg-type]
        why=why,
        extracted=extracted,
        rule=rule,
        verifier=verifier_version(),
        seconds=time.perf_counter() - started,
    )
