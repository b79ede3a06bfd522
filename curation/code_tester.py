"""The process that holds the tests: it runs the gold's code, asks the program's process for values, and writes the verdict.

The program can reach neither this process nor its output; what comes from it is plain data (code_values), so that `==` here is
Python's own. Results are one JSON line: [why].
"""

from __future__ import annotations

import builtins
import collections
import importlib
import json
import math
import os
import sys
import types
from typing import Any, NoReturn, TextIO

from curation.code_values import decode, encode, own_classes

FLOAT_TOLERANCE = 1e-6  # relative, and absolute below 1; ICPC problem packages set float_tolerance to this as a rule
REPLY_LIMIT = 16 << 20  # characters of one answer


class Lost(BaseException):
    """The program's process ended, or what it wrote is no reply; no test may catch it."""


class Untestable(BaseException):
    """The test passes the program something that cannot leave this process, such as a function of its own."""


class Link:
    """Questions to the program's process."""

    def __init__(self, replies: TextIO, requests: TextIO) -> None:
        self.replies, self.requests = replies, requests
        self.shared: dict[str, type] = {}
        self.asked = False

    def ask(self, operation: str, target: Any, args: list[Any], kwargs: dict[str, Any]) -> Any:
        self.asked = True
        question = encode([operation, target, args, kwargs], self.shared, _number)
        try:
            self.requests.write(json.dumps(question) + "\n")
            self.requests.flush()
        except BrokenPipeError:
            raise Lost("lost") from None
        reply = self.reply()
        try:
            value, changed = (None if part is None else decode(part, self._make, self._kept) for part in reply)
        except Exception:  # whatever hostile data does to a decoder, it is no answer
            raise Lost("lost") from None
        if changed is not None and value is None:  # a function that returns something must leave the tests' values alone
            _change(args, changed)
        return value

    def reply(self) -> list[Any]:
        line = self.replies.readline(REPLY_LIMIT)
        try:
            reply = json.loads(line)
            kind, *parts = reply if isinstance(reply, list) and reply else [None]
        except (ValueError, RecursionError):
            raise Lost("output_limit" if len(line) == REPLY_LIMIT else "lost") from None
        if kind == "raised" and len(parts) == 2:
            _raise(str(parts[0]), str(parts[1]))
        if kind not in ("ready", "value"):
            raise Lost("lost")
        return parts

    def _make(self, name: str) -> object:
        kind: Any = self.shared[name]
        return kind.__new__(kind)

    def _kept(self, number: int) -> Remote:
        return Remote(self, int(number))


class Remote:
    """Something in the program's process: called, its attributes read and set there."""

    def __init__(self, link: Link, target: str | int) -> None:
        self.__dict__.update(link=link, target=target)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.link.ask("call", self._where(), list(args), kwargs)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return self.link.ask("get", self._where(), [name], {})

    def __setattr__(self, name: str, value: object) -> None:
        self.link.ask("set", self._where(), [name, value], {})

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Remote) and self.target == other.target

    def __hash__(self) -> int:
        return hash(self.target)

    def _where(self) -> Any:
        return self.target if isinstance(self.target, str) else self


def _number(value: object) -> int:
    if isinstance(value, Remote) and isinstance(value.target, int):
        return value.target
    raise Untestable(type(value).__name__)


def _raise(name: str, text: str) -> NoReturn:
    """Raise here what the program raised there: the builtin exception of that name, else RuntimeError; marked as its own."""
    kind = getattr(builtins, name, None)
    if not (isinstance(kind, type) and issubclass(kind, Exception) and not issubclass(kind, UnicodeError)):
        kind = RuntimeError
    raised: Exception = kind(text)
    raised.from_program = name  # type: ignore[attr-defined]
    raise raised


def _change(args: list[Any], changed: list[Any]) -> None:
    for old, new in zip(args, changed, strict=False):
        if isinstance(old, (list, collections.deque)) and type(old) is type(new):
            old.clear()
            old.extend(new)
        elif isinstance(old, (dict, set)) and type(old) is type(new):
            old.clear()
            old.update(new)


def main(replies: int, requests: int) -> None:
    """Read the tests from standard input, run them against the program, write the verdict to standard output."""
    tests = json.loads(os.fdopen(0, "rb").read())
    verdict = os.dup(1)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # what a test prints is nobody's verdict
    sys.set_int_max_str_digits(0)
    with os.fdopen(replies, "r", errors="replace") as incoming, os.fdopen(requests, "w") as outgoing:
        why = judge(tests, Link(incoming, outgoing))
        os.write(verdict, json.dumps([why]).encode() + b"\n")
        os._exit(0)  # the pipes may be broken; nothing is left to flush


def judge(tests: dict[str, Any], link: Link) -> str:
    """tests_passed, or why not: tests_failed, runtime_error, memory_limit, output_limit, lost, untestable, unparseable_gold,
    missing_package (the gold's own code imports what is not installed).
    """
    try:
        run_calls(tests, link) if tests["kind"] == "calls" else run_python(tests, link)
        return "tests_passed"
    except Lost as lost:
        return str(lost)
    except Untestable:
        return "untestable"
    except BaseException as raised:  # the tests are the gold's own code: whatever they raise is a result
        name = getattr(raised, "from_program", None)
        if name is not None:
            return "memory_limit" if name == "MemoryError" else "runtime_error"
        if not link.asked:
            return "missing_package" if isinstance(raised, ModuleNotFoundError) else "unparseable_gold"
        return "tests_failed"


def run_calls(tests: dict[str, Any], link: Link) -> None:
    """Call the program's function with each input; AssertionError at the first answer that differs."""
    run_preamble(tests["preamble"], link)
    link.reply()
    function, outputs = Remote(link, tests["fn_name"]), tests["outputs"]
    # APPS and TACO wrap each answer in a list and accept both: APPS/eval/testing_util.py, `== in_outs["outputs"][index][0]`.
    wrapped = all(isinstance(o, list) and len(o) == 1 for o in outputs)
    for args, expected in zip(tests["inputs"], outputs, strict=True):
        answer = function(*_whole_keys(args))
        assert same(answer, expected) or (wrapped and same(answer, expected[0]))


def _whole_keys(args: list[Any]) -> list[Any]:
    """A lone mapping argument gets its whole numbers back as keys, which JSON made text; testing_util.py of APPS does so."""
    if len(args) == 1 and isinstance(args[0], dict) and all(k.isdecimal() for k in args[0]):
        return [{int(k): v for k, v in args[0].items()}]
    return args


def same(answer: Any, expected: Any) -> bool:
    """Equal as JSON values: tuples are lists, keys are text, floats within FLOAT_TOLERANCE; text is never a number."""
    if isinstance(expected, (list, tuple)):
        equal_length = isinstance(answer, (list, tuple)) and len(answer) == len(expected)
        return equal_length and all(same(a, e) for a, e in zip(answer, expected, strict=True))
    if isinstance(expected, dict):
        if not isinstance(answer, dict):
            return False
        named = {str(k): v for k, v in answer.items()}
        return named.keys() == expected.keys() and all(same(named[k], v) for k, v in expected.items())
    if isinstance(expected, float) and isinstance(answer, (int, float)) and abs(answer) < 1e300:
        return math.isclose(answer, expected, rel_tol=FLOAT_TOLERANCE, abs_tol=FLOAT_TOLERANCE)
    return bool(type(answer) is not Remote and answer == expected)


def run_python(tests: dict[str, Any], link: Link) -> None:
    """Run asserts (MBPP) or a check function (HumanEval, LeetCodeDataset); raises what they raise."""
    space = run_preamble(tests["preamble"], link)
    entry = tests["entry_point"]
    texts = [tests["setup"], *tests["asserts"]] if tests["kind"] == "asserts" else [tests["test"]]
    codes = [compile(text, "tests.py", "exec", dont_inherit=True) for text in texts]
    for name in _asked_for(codes, space):
        space[name] = importlib.import_module(name) if name in sys.stdlib_module_names else Remote(link, name)
    if entry.isidentifier():
        space[entry] = Remote(link, entry)
    link.reply()  # ready, or what the program raised
    for code in codes:
        exec(code, space)
    if tests["kind"] == "check":
        space["check"](Remote(link, entry))


def run_preamble(preamble: str, link: Link) -> dict[str, Any]:
    """Names after the preamble, whose classes can be sent to and fro from here on."""
    module = types.ModuleType("tests")
    sys.modules["tests"] = module
    exec(compile(preamble, "preamble.py", "exec", dont_inherit=True), module.__dict__)
    link.shared = own_classes(module.__dict__)
    return module.__dict__


def _asked_for(codes: list[types.CodeType], space: dict[str, Any]) -> set[str]:
    """Names that the tests use and nobody here defines: the program's.

    A builtin is Python's own, whatever the program calls so, unless there is nothing else to test (MBPP 126 tests `sum`).
    """
    names = [_names(code) for code in codes]
    free = {n for found in names for n in found if n not in space and n not in builtins.__dict__}
    return free or set.intersection(*[found for found in names if found])


def _names(code: types.CodeType) -> set[str]:
    """Names that code looks up outside its functions (and attributes, which do no harm here)."""
    inner = [c for c in code.co_consts if isinstance(c, types.CodeType)]
    return set(code.co_names).union(*map(_names, inner))
