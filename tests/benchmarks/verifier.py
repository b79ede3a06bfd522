"""Error rates and speed of our verifier beside math-verify (and TRL's accuracy_reward), on labelled cases, in one run.

    python tests/benchmarks/verifier.py --cases suite.jsonl.gz other.jsonl [--trl] [--workers 2]

A case is a row with a gold (`gold`, `target`, `ground_truth`, `answer` or `gt`), a response (`response`, `output`,
`completion`) and what is expected (`expected`, `score`, `label` or `correct`: true, 1, "C" and "correct" mean right). Rows with
`fn_output` (must be accepted) and `tn_output` (must be rejected) give two cases. Without an expected column only speed is
measured. Rates are of the labelled cases, with 95 % Wilson intervals (Wilson 1927).

With more than one worker, also how many times one process's speed they reach, turn by turn in five rounds, beside what bare loops
reach in the same rounds: a rented core is seldom a whole one, and no verifier can gain more than a bare loop does.
"""

from __future__ import annotations

import argparse
import functools
import gzip
import json
import math
import multiprocessing
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from curation.verify import verifier_version, verify_all

GOLD = ("gold", "target", "ground_truth", "answer", "gt")
RESPONSE = ("response", "output", "completion")
EXPECTED = ("expected", "score", "label", "correct")
BARE_LIMIT = 300  # characters: a longer response is a text, not a bare formula
RIGHT = {True, "C", "correct", "true", "True", "1"}


ROUNDS = 5


class Case(NamedTuple):
    gold: str
    response: str
    right: bool | None  # None: not labelled


class Run(NamedTuple):
    name: str
    outcomes: list[str]
    seconds: float


def cases(path: Path) -> Iterator[Case]:
    """The cases of one file, in order."""
    content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    for line in content.decode("utf-8").split("\n"):  # not splitlines: some texts hold U+2028
        if line.strip():
            yield from _cases(json.loads(line))


def _cases(row: dict[str, Any]) -> Iterator[Case]:
    gold = next(str(row[k]) for k in GOLD if k in row)
    if "fn_output" in row:
        yield Case(gold, row["fn_output"], True)
        yield Case(gold, row["tn_output"], False)
        return
    response = next(row[k] for k in RESPONSE if k in row)
    label = next((row[k] for k in EXPECTED if k in row), None)
    responses = response if isinstance(response, list) else [response]
    labels = label if isinstance(label, list) else [label] * len(responses)
    for text, right in zip(responses, labels, strict=True):
        yield Case(gold, text, None if right is None else right in RIGHT)


def ours(rows: list[Case], workers: int) -> list[str]:
    return [v.outcome for v in verify_all(((c.gold, c.response, "math") for c in rows), workers=workers)]


def _dollars(text: str) -> str:
    bare = "$" not in text and "boxed" not in text and len(text) < BARE_LIMIT
    return f"${text}$" if bare else text


def _boxed(text: str) -> str:
    return rf"$\boxed{{{text.strip('$')}}}$" if _dollars(text) != text else text


def math_verify_alone(rows: list[Case]) -> list[str]:
    """As its README calls it: both parsed with the defaults, the gold first; bare LaTeX is put between dollar signs."""
    from math_verify import parse, verify

    def judged(case: Case) -> str:
        gold = parse(_dollars(case.gold))
        if not gold:
            return "undetermined"
        return "correct" if verify(gold, parse(_dollars(case.response))) else "incorrect"

    return [judged(c) for c in rows]


def trl_reward(rows: list[Case]) -> list[str]:
    """TRL's accuracy_reward, which reads only boxed answers: bare ones are boxed for it. None (gold not parsed) is undetermined."""
    from trl.rewards import accuracy_reward  # type: ignore[import-not-found]

    names = {1.0: "correct", 0.0: "incorrect", None: "undetermined"}
    completions = [[{"role": "assistant", "content": _boxed(c.response)}] for c in rows]
    golds = [_dollars(c.gold) for c in rows]
    return [names[r] for r in accuracy_reward(completions, golds)]


def timed(name: str, judge: Callable[[], list[str]]) -> Run:
    started = time.perf_counter()
    outcomes = judge()
    return Run(name, outcomes, time.perf_counter() - started)


def wilson(hits: int, total: int) -> str:
    """`hits/total = rate [low, high]` in percent."""
    if not total:
        return "-"
    z, share = 1.96, hits / total
    centre = (share + z * z / (2 * total)) / (1 + z * z / total)
    half = z * math.sqrt(share * (1 - share) / total + z * z / (4 * total * total)) / (1 + z * z / total)
    return f"{hits}/{total} = {100 * share:.1f} % [{100 * max(0, centre - half):.1f}, {100 * min(1, centre + half):.1f}]"


def bare_loop(_: int = 0) -> None:
    total = 0
    for i in range(5_000_000):
        total += i * i % 7


def gain(rows: list[Case], workers: int) -> tuple[float, float]:
    """Medians of (ours, bare loops): speed of `workers` processes over that of one."""
    ours(rows, workers)  # started, and warm
    mine, bare = [], []
    with multiprocessing.get_context("spawn").Pool(workers) as pool:
        pool.map(bare_loop, range(workers), chunksize=1)
        for _ in range(ROUNDS):
            one, many = timed("", functools.partial(ours, rows, 1)), timed("", functools.partial(ours, rows, workers))
            mine.append(one.seconds / many.seconds)
            alone, started = pool.apply(_seconds), time.perf_counter()
            pool.map(bare_loop, range(workers), chunksize=1)
            bare.append(workers * alone / (time.perf_counter() - started))
    return statistics.median(mine), statistics.median(bare)


def _seconds() -> float:
    started = time.perf_counter()
    bare_loop()
    return time.perf_counter() - started


def report(rows: list[Case], run: Run) -> None:
    """Prints the rates of one verifier."""
    right = [o for c, o in zip(rows, run.outcomes, strict=True) if c.right]
    wrong = [o for c, o in zip(rows, run.outcomes, strict=True) if c.right is False]
    print(f"  {run.name}: {len(rows) / run.seconds:,.0f} rows a second ({run.seconds:.1f} s)")
    print(f"    false rejects  {wilson(right.count('incorrect'), len(right))}")
    print(f"    false accepts  {wilson(wrong.count('correct'), len(wrong))}")
    print(f"    undetermined   {wilson(run.outcomes.count('undetermined'), len(rows))}")
    print(f"    accepted       {wilson(right.count('correct'), len(right))} of the right ones")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", nargs="+", type=Path, required=True, help="JSONL or JSONL.gz files")
    parser.add_argument("--workers", type=int, default=1, help="processes whose gain is measured")
    parser.add_argument("--trl", action="store_true", help="measure TRL's accuracy_reward too (needs trl)")
    arguments = parser.parse_args()
    print(verifier_version())
    for path in arguments.cases:
        rows = list(cases(path))
        print(f"{path.name}: {len(rows)} cases, {sum(c.right is not None for c in rows)} labelled")
        report(rows, timed("ours", functools.partial(ours, rows, 1)))
        if arguments.workers > 1:
            mine, bare = gain(rows, arguments.workers)
            print(
                f"    {arguments.workers} processes: {mine:.2f} times one; bare loops {bare:.2f} times; medians of {ROUNDS} rounds"
            )
        report(rows, timed("math-verify", functools.partial(math_verify_alone, rows)))
        if arguments.trl:
            report(rows, timed("trl accuracy_reward", functools.partial(trl_reward, rows)))


if __name__ == "__main__":
    main()
