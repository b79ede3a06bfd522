"""Golds of programming problems: the JSON text that says which tests a program must pass, from the fields data sets publish.

    {"kind": "calls",   "fn_name": "f", "inputs": [[1, 2], ...], "outputs": [3, ...]}
    {"kind": "stdin",   "inputs": ["1 2\\n", ...], "outputs": ["3\\n", ...]}
    {"kind": "asserts", "setup": "...", "asserts": ["assert f(1) == 2", ...]}
    {"kind": "check",   "test": "def check(candidate): ...", "entry_point": "f"}

`kind` may be left out where the other fields tell it. `preamble` (also `prompt`), in any of them, is code that runs before the
program and before the tests: imports, and classes that both know.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from curation.records import canonical_json

_FIELDS: dict[str, dict[str, type]] = {
    "calls": {"fn_name": str, "inputs": list, "outputs": list},
    "stdin": {"inputs": list, "outputs": list},
    "asserts": {"setup": str, "asserts": list},
    "check": {"test": str, "entry_point": str},
}

_TELLING = (("calls", "fn_name"), ("check", "test"), ("asserts", "asserts"))

# leetcode.com has these imported; the published prompt has only `from heapq import *`, and its own solutions say heapq.nlargest.
# First, so that names of the star imports win: `bisect` is the function there.
_LEETCODE_MODULES = "import bisect, heapq, itertools, operator, re, sys\n"
# What eval/testing_util.py of hendrycks/apps puts before every solution, but numpy, which costs 0.2 s to import.
_APPS_IMPORTS = """import sys, time, itertools, collections, math, fractions, random, heapq
from itertools import accumulate, product, permutations, combinations
from collections import Counter, OrderedDict, deque, defaultdict, ChainMap
from functools import lru_cache
from math import sqrt, sin, cos, tan, ceil, fabs, floor, gcd, exp, log, log2
from typing import List, Tuple, Dict, Optional
from heapq import *
"""


def read_gold(gold: str) -> dict[str, Any]:
    """The tests of a gold, every field present; raises ValueError where it holds none or they cannot be used."""
    given = json.loads(gold)
    if not isinstance(given, dict):
        raise ValueError("a gold is a JSON object")
    kind = given.get("kind") or next((k for k, name in _TELLING if given.get(name)), "stdin")
    if kind not in _FIELDS:
        raise ValueError(f"unknown kind {kind!r}")
    tests = {"setup": "", "entry_point": "", **given, "kind": kind, "preamble": given.get("preamble") or given.get("prompt") or ""}
    wrong = [name for name, wanted in _FIELDS[kind].items() if not isinstance(tests.get(name), wanted)]
    if wrong or not isinstance(tests["preamble"], str):
        raise ValueError(f"fields {wrong} are missing or of another type")
    tested = tests["test"] if kind == "check" else tests["asserts"] if kind == "asserts" else tests["inputs"]
    if not tested or ("outputs" in _FIELDS[kind] and len(tests["inputs"]) != len(tests["outputs"])):
        raise ValueError("no tests, or not one output for each input")
    return tests


class Task(NamedTuple):
    """A programming problem as a data set publishes it: what the model is asked, and the gold."""

    prompt: str
    gold: str


def published_task(row: Mapping[str, Any]) -> Task | None:
    """The task of a row with the fields of HumanEval, MBPP, LeetCodeDataset, APPS or TACO; None where it has none of these.

    The prompt names the function that the tests will call: MBPP's paper shows its tests for that (section 2.1), and
    LeetCodeDataset's `query` the starter code.
    """
    if row.get("test") and row.get("entry_point") and row.get("prompt"):
        if row.get("starter_code"):
            return Task(str(row.get("query") or row.get("problem_description")), gold_from_leetcode(row))
        return Task(str(row["prompt"]), gold_from_humaneval(row))
    if row.get("test_list"):
        asked = row.get("text") or row.get("prompt")  # the sanitized split has `prompt`
        return Task("\n".join([f"{asked} Your code should satisfy these tests:", *row["test_list"]]), gold_from_mbpp(row))
    if row.get("input_output") and row.get("question"):
        starter = f"\n\nStart from this code:\n{row['starter_code']}" if row.get("starter_code") else ""
        return Task(f"{row['question']}{starter}", gold_from_apps(row))
    return None


def gold_from_humaneval(row: Mapping[str, Any]) -> str:
    """openai/openai_humaneval (arXiv 2107.03374): `prompt`, `entry_point`, `test`."""
    return _check(row["prompt"], row["entry_point"], row["test"])


def gold_from_leetcode(row: Mapping[str, Any]) -> str:
    """newfacade/LeetCodeDataset (arXiv 2504.14655): `prompt` (imports and node classes), `entry_point`, `test`."""
    return _check(_LEETCODE_MODULES + row["prompt"], row["entry_point"], row["test"])


def _check(preamble: str, entry_point: str, test: str) -> str:
    return canonical_json({"kind": "check", "preamble": preamble, "entry_point": entry_point, "test": test})


def gold_from_mbpp(row: Mapping[str, Any]) -> str:
    """google-research-datasets/mbpp (arXiv 2108.07732): `test_list` with `test_setup_code`, sanitized `test_imports` too."""
    setup = "\n".join([*row.get("test_imports", ()), row.get("test_setup_code") or ""])
    return canonical_json({"kind": "asserts", "setup": setup, "asserts": list(row["test_list"])})


def gold_from_apps(row: Mapping[str, Any] | str) -> str:
    """`input_output` of APPS and TACO (arXiv 2105.09938, 2312.14852), or that text itself; CodeContests' lists in that form.

    With `fn_name`, calls: inputs are lists of arguments, or text with one JSON argument a line (LiveCodeBench). Without,
    standard input and output, each a text or a list of lines.
    """
    text = row if isinstance(row, str) else row["input_output"]
    given = json.loads(text) if isinstance(text, str) else text
    inputs, outputs = given["inputs"], given["outputs"]
    if given.get("fn_name"):
        pairs = [_call(i, o) for i, o in zip(inputs, outputs, strict=True)]
        calls = {"fn_name": given["fn_name"], "inputs": [i for i, _ in pairs], "outputs": [o for _, o in pairs]}
        return canonical_json({"kind": "calls", "preamble": _APPS_IMPORTS, **calls})
    return canonical_json({"kind": "stdin", "inputs": [_text(i) for i in inputs], "outputs": [_text(o) for o in outputs]})


def _call(given: Any, wanted: Any) -> tuple[list[Any], Any]:
    if not isinstance(given, str):
        return given, wanted
    return [json.loads(line) for line in given.splitlines() if line.strip()], json.loads(wanted)


def _text(value: Any) -> str:
    return "\n".join(map(str, value)) if isinstance(value, list) else str(value)
