"""A program in a response against the unit tests of its problem.

The tests and the program run in two sandboxed processes that exchange plain data only: a program cannot see what is expected of
it, nor reach what decides. `exit(0)`, an `__eq__` that is always true, patched builtins and a printed "passed" earn nothing.
"""

from __future__ import annotations

import collections
import concurrent.futures
import json
import os
import re
import time
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from curation import sandbox
from curation.code_gold import read_gold
from curation.code_program import MEMORY_STATUS
from curation.output_compare import same_output
from curation.records import Outcome, Verdict
from curation.sandbox import Ended, Job, Limits
from curation.thinking import split_thinking

VERSION = "code 1"  # raised whenever a verdict of the same texts may change
CODE_LIMIT = 100_000  # characters; the longest solution of APPS, TACO and LeetCodeDataset is well below
BLOCKS = 10  # fenced blocks at the end of a response that may be the answer
LOOK_AHEAD = 64  # rows started beyond the one due next
OUTCOMES: dict[str, Outcome] = {
    "tests_passed": "correct",
    "unparseable_gold": "undetermined",
    "untestable": "undetermined",
    "missing_package": "undetermined",
    "sandbox_failed": "undetermined",
}


class Judged(NamedTuple):
    """What running the tests said; `block` is the position of the judged block, -1 where none was chosen."""

    why: str
    block: int = -1
    rule: str | None = None


def check(gold: str, response: str, *, timeout_s: float = 5.0, isolation: sandbox.Isolation | None = None) -> Verdict:
    """Whether the program in `response` passes the tests of `gold` (code_gold says how they are written).

    `timeout_s` is processor time, for each input of a script and for all calls of a function together; by the clock it is
    twice that and 2 seconds. `rule` says where the program stood. Reasons: tests_passed; tests_failed, runtime_error,
    syntax_error, timeout, memory_limit, output_limit, too_long, no_answer (incorrect); unparseable_gold, untestable (a test
    hands over what cannot leave its process, such as a function), missing_package (the gold imports what is not installed),
    sandbox_failed (undetermined). `verifier` names the isolation in effect. Raises UserError where no isolation works.
    """
    started = time.perf_counter()
    level = isolation or sandbox.isolation()
    blocks = code_blocks(response)
    try:
        tests = read_gold(gold)
    except (ValueError, RecursionError):
        judged = Judged("unparseable_gold")
    else:
        judged = _judge(tests, blocks, Limits(cpu_s=timeout_s, wall_s=2 * timeout_s + 2), level)
    return Verdict(
        outcome=OUTCOMES.get(judged.why, "incorrect"),
        why=judged.why,
        extracted=blocks[judged.block] if judged.rule else None,
        rule=judged.rule,
        verifier=f"{VERSION} ({level})",
        seconds=time.perf_counter() - started,
    )


def check_all(items: Iterable[tuple[str, str]], *, timeout_s: float = 5.0, workers: int = 1) -> Iterator[Verdict]:
    """Verdicts of (gold, response) in input order, `workers` rows at a time; reads at most LOOK_AHEAD rows ahead."""
    with concurrent.futures.ThreadPoolExecutor(workers) as pool:
        queue: collections.deque[concurrent.futures.Future[Verdict]] = collections.deque()
        try:
            for gold, response in items:
                queue.append(pool.submit(check, gold, response, timeout_s=timeout_s))
                while queue and (len(queue) > LOOK_AHEAD or queue[0].done()):
                    yield queue.popleft().result()
            while queue:
                yield queue.popleft().result()
        finally:  # whoever reads the verdicts may stop early
            for future in queue:
                future.cancel()


def check_gold(gold: str) -> Verdict:
    """Can the tests be read? Whether a right program passes them, only a reference solution shows."""
    try:
        read_gold(gold)
    except (ValueError, RecursionError):
        return Verdict(outcome="undetermined", why="unparseable_gold", extracted=None, verifier=VERSION)
    return Verdict(outcome="correct", why="readable", extracted=None, rule="gold", verifier=VERSION)


_FENCE = re.compile(r"^([ \t]*)(?:```|~~~)[ \t]*([^\n`]*)$", re.MULTILINE)


def code_blocks(response: str) -> list[str]:
    """The blocks after the thinking that may be the program: fenced ones in Python or in no language, else the whole answer."""
    thought = split_thinking(response)
    answer = response if thought.form == "none" else thought.answer  # as it stands: a body's indentation counts
    blocks: list[str] = []
    opened: re.Match[str] | None = None
    for fence in _FENCE.finditer(answer):
        if opened is None:
            opened = fence
            continue
        if _language(opened) in ("", *_PYTHON):
            blocks.append(_inside(answer, opened, fence.start()))
        opened = None
    if opened is not None and _language(opened) in _PYTHON:  # the last fence was never closed
        blocks.append(_inside(answer, opened, len(answer)))
    if not blocks and answer.strip():
        blocks.append(answer)
    return blocks[-BLOCKS:]


_PYTHON = ("python", "python3", "py")


def _language(fence: re.Match[str]) -> str:
    return fence[2].strip().lower().split(" ")[0]


def _inside(answer: str, opened: re.Match[str], end: int) -> str:
    """The lines of a block, less the indentation of its fence: blocks in numbered lists are indented as a whole."""
    lines = answer[opened.end() + 1 : end].splitlines(keepends=True)
    return "".join(line.removeprefix(opened[1]) for line in lines)


def _judge(tests: dict[str, Any], blocks: list[str], limits: Limits, level: sandbox.Isolation) -> Judged:
    if not blocks:
        return Judged("no_answer")
    if max(map(len, blocks)) > CODE_LIMIT:
        return Judged("too_long")
    entry = tests["fn_name"] if tests["kind"] == "calls" else tests["entry_point"].removeprefix("Solution().")
    task = _framed({"blocks": blocks, "preamble": tests["preamble"], "entry": entry})
    if tests["kind"] == "stdin":
        return _judge_script(tests, task, limits, level)
    return _judge_calls(tests, task, limits, level)


def _framed(task: dict[str, Any]) -> bytes:
    text = json.dumps(task).encode()
    return len(text).to_bytes(8, "big") + text


def _judge_script(tests: dict[str, Any], task: bytes, limits: Limits, level: sandbox.Isolation) -> Judged:
    """The program once for each input, each time in a new process; stops at the first that fails."""
    judged = Judged("sandbox_failed")
    for given, wanted in zip(tests["inputs"], tests["outputs"], strict=True):
        ended = sandbox.run(Job("curation.code_program", task + given.encode("utf-8", "replace")), limits, isolation=level)
        head, _, output = ended.output.partition(b"\n")
        judged = _chosen(head, ended)
        if judged.why == "tests_passed" and not same_output(output.decode("utf-8", "replace"), wanted):
            judged = judged._replace(why="tests_failed")
        if judged.why != "tests_passed":
            break
    return judged


def _judge_calls(tests: dict[str, Any], task: bytes, limits: Limits, level: sandbox.Isolation) -> Judged:
    requests, replies = os.pipe(), os.pipe()
    program = Job("curation.code_program", task, (requests[0], replies[1]))
    tester = Job("curation.code_tester", json.dumps(tests).encode(), (replies[0], requests[1]))
    ended, verdict = sandbox.run_together([program, tester], limits, isolation=level)
    judged = _chosen(ended.output.partition(b"\n")[0], ended)
    if verdict.how == "not_started" or judged.why in ("syntax_error", "sandbox_failed"):
        return judged if judged.why == "syntax_error" else Judged("sandbox_failed")
    if verdict.how != "exited" or not verdict.output:  # stopped with the program, or overcome by its answers
        return judged if judged.why != "tests_passed" else judged._replace(why=_how_it_ended(verdict))
    (why,) = json.loads(verdict.output)
    if why != "lost":
        return judged._replace(why=why)
    return judged if judged.why != "tests_passed" else judged._replace(why="runtime_error")


def _chosen(head: bytes, ended: Ended) -> Judged:
    """Which block ran, as code_program wrote it before the first line of it ran, and how that process ended."""
    if ended.how == "not_started":
        return Judged("sandbox_failed")
    if not head.endswith(b"]"):  # the compiler itself gave up on the text
        return Judged("timeout" if ended.how == "timeout" else "syntax_error")
    state, block, rule = json.loads(head)
    return Judged(_how_it_ended(ended) if state == "ready" else state, block, rule)


def _how_it_ended(ended: Ended) -> str:
    if ended.how == "exited":
        return {0: "tests_passed", MEMORY_STATUS: "memory_limit"}.get(ended.status, "runtime_error")
    return "runtime_error" if ended.how == "killed" else ended.how
