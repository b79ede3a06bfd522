"""Canonical solutions that pass, mutants that fail, and programs a second, on published problems with unit tests.

    python tests/benchmarks/code_verifier.py FOLDER [WORKERS] [ROWS]

FOLDER holds humaneval, mbpp and leetcode_test as .jsonl.gz with the published fields. A mutant is the canonical solution with one
change: all its returns give None, a condition is turned round, a number is one more, or an operator is another. Where a verdict
is not what was hoped for, the program and the tests also run in one plain process, as their authors ran them: a verdict that
agrees with that is the tests' doing (an equivalent mutant, a missing case, a slow solution), one that does not is ours.
"""

from __future__ import annotations

import ast
import collections
import gzip
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from curation import sandbox
from curation.code_gold import gold_from_humaneval, gold_from_leetcode, gold_from_mbpp
from curation.code_tests import check_all

Row = dict[str, Any]


class Case(NamedTuple):
    """A program, what was done to it, and the tests."""

    name: str
    change: str  # "canonical", or the kind of mutation
    code: str
    gold: str
    tests: str  # Python to run behind the code, as published


def _checked(row: Row) -> str:
    return f"{row['test']}\ncheck({row['entry_point']})\n"


Text = Callable[[Row], str]
SETS: dict[str, tuple[Text, Text, Text]] = {
    "humaneval": (gold_from_humaneval, lambda row: row["prompt"] + row["canonical_solution"], _checked),
    "mbpp": (
        gold_from_mbpp,
        lambda row: row["code"].replace("\r\n", "\n"),
        lambda row: "\n".join([row["test_setup_code"], *row["test_list"]]),
    ),
    "leetcode_test": (gold_from_leetcode, lambda row: row["completion"], _checked),
}


def main(folder: str, workers: int = 2, rows: int = 10_000) -> None:
    print(f"isolation: {sandbox.isolation()}, {workers} workers")
    for name, (gold, code, tests) in SETS.items():
        with gzip.open(Path(folder) / f"{name}.jsonl.gz", "rt", newline="\n") as file:
            read = [json.loads(line) for line in file][:rows]
        cases = [Case(f"{name}/{row['task_id']}", "canonical", code(row), gold(row), tests(row)) for row in read]
        report(name, cases, workers, hoped="correct")
        report(name, [m for case in cases for m in mutants(case)], workers, hoped="incorrect")


def report(name: str, cases: list[Case], workers: int, hoped: str) -> None:
    began, counts = time.monotonic(), collections.Counter[tuple[str, str, str]]()
    verdicts = check_all(((c.gold, f"```python\n{c.code}\n```") for c in cases), workers=workers, timeout_s=10.0)
    other = []
    for case, verdict in zip(cases, verdicts, strict=True):
        counts[case.change, verdict.outcome, verdict.why] += 1
        if verdict.outcome != hoped:
            other.append((case, verdict))
    rate = len(cases) / (time.monotonic() - began)
    print(f"== {name}: {len(cases)} programs, {rate:.1f} a second")
    for case, verdict in other:
        alone = plain(case)
        agrees = (verdict.outcome == "correct") == (alone == "passes")
        print(f"--- {case.name} {case.change}: {verdict.outcome}, {verdict.why}; alone: {alone}{'' if agrees else ' DISAGREES'}")
        if hoped == "incorrect" and len(case.code) < 1500:
            print(case.code)
    for key, count in sorted(counts.items()):
        print("  ", *key, count)


def plain(case: Case) -> str:
    """What the program and the published tests do in one process of their own, within 60 s."""
    text = f"{json.loads(case.gold).get('preamble', '')}\n{case.code}\n{case.tests}"
    try:
        done = subprocess.run([sys.executable, "-"], input=text, capture_output=True, text=True, timeout=60)
    except subprocess.TimeoutExpired:
        return "over 60 s"
    return "passes" if done.returncode == 0 else done.stderr.strip().rpartition("\n")[2][:80]


class Mutation(ast.NodeTransformer):
    """Changes the `at`-th place that the kind of change fits."""

    def __init__(self, change: str, at: int) -> None:
        self.change, self.at, self.seen = change, at, 0

    def generic_visit(self, node: ast.AST) -> ast.AST:
        changed = CHANGES[self.change](node)
        if changed is not None:
            self.seen += 1
            if self.seen == self.at + 1:
                return ast.copy_location(changed, node)
        return super().generic_visit(node)


def _none(node: ast.AST) -> ast.AST | None:
    """Every return, so that no other one makes up for it."""
    if not isinstance(node, ast.Module):
        return None
    for inner in ast.walk(node):
        if isinstance(inner, ast.Return):
            inner.value = ast.Constant(None)
    return node


def _negated(node: ast.AST) -> ast.AST | None:
    if isinstance(node, ast.If):
        return ast.If(ast.UnaryOp(ast.Not(), node.test), node.body, node.orelse)
    return None


def _one_more(node: ast.AST) -> ast.AST | None:
    return ast.Constant(node.value + 1) if isinstance(node, ast.Constant) and type(node.value) is int else None


def _other_operator(node: ast.AST) -> ast.AST | None:
    swap: dict[type, ast.operator] = {ast.Add: ast.Sub(), ast.Sub: ast.Add(), ast.Mult: ast.Add(), ast.FloorDiv: ast.Mult()}
    if isinstance(node, ast.BinOp) and type(node.op) in swap:
        return ast.BinOp(node.left, swap[type(node.op)], node.right)
    return None


CHANGES: dict[str, Callable[[ast.AST], ast.AST | None]] = {
    "returns None": _none,
    "condition negated": _negated,
    "number plus one": _one_more,
    "other operator": _other_operator,
}


def mutants(case: Case) -> Iterator[Case]:
    """For each kind of change the last place in the program that it fits: nearest to the answer."""
    for change in CHANGES:
        counter = Mutation(change, -1)
        counter.visit(ast.parse(case.code))
        if counter.seen:
            tree = Mutation(change, counter.seen - 1).visit(ast.parse(case.code))
            yield case._replace(change=change, code=ast.unparse(ast.fix_missing_locations(tree)))


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:]))
