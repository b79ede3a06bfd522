"""The process that holds a model's program: it answers calls with plain data and never sees what is expected of it.

Whatever the program does to this process (exit, patched builtins, objects equal to everything), all that leaves is the values
it answers with, as a function would, or its standard output. The tests live in another process (code_tester).
"""

from __future__ import annotations

import collections
import contextlib
import io
import json
import os
import sys
import types
from typing import Any, NamedTuple

from curation.code_values import decode, encode, own_classes

RECURSION_LIMIT = 50_000  # as LiveCodeBench's runner sets it; CPython's 1,000 stops ordinary recursive solutions
MEMORY_STATUS = 77  # exit status of a program that ended in MemoryError


class Choice(NamedTuple):
    """Which of the blocks is the answer, and how it is run."""

    block: int
    rule: str
    code: types.CodeType | None  # None where no block is Python


def main(requests: int = -1, replies: int = -1) -> None:
    """Read the task from standard input, run the program, then answer calls until `requests` closes.

    Without descriptors the program is a script: the rest of standard input is its input, standard output its answer.
    """
    task = json.loads(_exactly(0, int.from_bytes(_exactly(0, 8), "big")))
    sys.setrecursionlimit(RECURSION_LIMIT)
    sys.set_int_max_str_digits(0)  # the processor limit bounds it; older Pythons, which made the golds, had no limit
    choice = choose(task["blocks"], task["preamble"], task["entry"])
    module = _module("__main__" if requests < 0 else "solution", task["preamble"])
    state = "unparseable_gold" if module is None else "syntax_error" if choice.code is None else "ready"
    os.write(1, json.dumps([state, choice.block, choice.rule]).encode() + b"\n")
    if module is None or choice.code is None:
        return
    if requests < 0:
        _run_script(choice.code, module)
    else:
        _serve(choice.code, module, task["entry"], requests, replies)


def _exactly(descriptor: int, size: int) -> bytes:
    parts = []
    while size > 0 and (part := os.read(descriptor, size)):
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


def choose(blocks: list[str], preamble: str, entry: str) -> Choice:
    """The last block that is Python and defines `entry`; else the last that is Python; code None where none is.

    A block that is Python only behind the preamble continues it (a function's body, as base models answer HumanEval).
    """
    fallback: Choice | None = None
    for number in reversed(range(len(blocks))):
        for text, rule in ((blocks[number], "code_block"), (preamble + blocks[number], "continued_prompt")):
            try:
                code = compile(text, "solution.py", "exec", dont_inherit=True)
            except (SyntaxError, ValueError, RecursionError, MemoryError):
                continue
            if not entry or rule == "continued_prompt" or _defines(code, entry):
                return Choice(number, rule, code)
            fallback = fallback or Choice(number, rule, code)
            break
    return fallback or Choice(len(blocks) - 1, "code_block", None)


def _defines(code: types.CodeType, entry: str) -> bool:
    """Is there a function, class or method of that name? Read from the compiled code: importing ast would cost 4 ms."""
    inner = [c for c in code.co_consts if isinstance(c, types.CodeType)]
    return any(c.co_name == entry or any(getattr(m, "co_name", "") == entry for m in c.co_consts) for c in inner)


def _module(name: str, preamble: str) -> types.ModuleType | None:
    """A module in which the gold's preamble has run; None where that failed."""
    module = types.ModuleType(name)
    sys.modules[name] = module  # dataclasses and pickle look a class's module up
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            exec(compile(preamble, "preamble.py", "exec", dont_inherit=True), module.__dict__)
    except Exception:  # code of a data set: whatever it raises, this gold cannot be run here
        return None
    return module


def _run_script(code: types.CodeType, module: types.ModuleType) -> None:
    try:
        exec(code, module.__dict__)
    except MemoryError:
        os._exit(MEMORY_STATUS)


class _Kept:
    """Objects that have no form outside, each under a number."""

    def __init__(self) -> None:
        self.objects: list[object] = []
        self._numbers: dict[int, int] = {}

    def keep(self, value: object) -> int:
        if id(value) not in self._numbers:
            self._numbers[id(value)] = len(self.objects)
            self.objects.append(value)
        return self._numbers[id(value)]


def _serve(code: types.CodeType, module: types.ModuleType, entry: str, requests: int, replies: int) -> None:
    shared, kept = own_classes(module.__dict__), _Kept()

    def make(name: str) -> Any:
        kind: Any = module.__dict__.get(name, shared[name])
        return kind.__new__(kind)

    with os.fdopen(requests, "r") as incoming, os.fdopen(replies, "w") as outgoing:

        def say(*reply: object) -> None:
            outgoing.write(json.dumps(reply) + "\n")
            outgoing.flush()

        try:
            exec(code, module.__dict__)
            say("ready")
        except BaseException as raised:  # what a program raises is its answer, SystemExit included
            say("raised", type(raised).__name__, str(raised)[:200])
            return
        for line in incoming:
            try:
                operation, target, args, kwargs = decode(json.loads(line), make, kept.objects.__getitem__)
                before = _mutable(args, shared, kept)
                value = _perform(operation, target, args, kwargs, module, entry)
                after = _mutable(args, shared, kept)
                changed = encode(args, shared, kept.keep) if after != before else None
                say("value", encode(value, shared, kept.keep), changed)
            except BaseException as raised:
                say("raised", type(raised).__name__, str(raised)[:200])


def _mutable(args: list[object], shared: dict[str, type], kept: _Kept) -> str:
    """Text of the arguments that a call may change in place, for LeetCode's `nums` that are modified, not returned."""
    kinds = (list, dict, set, collections.deque)
    return json.dumps([encode(a, shared, kept.keep) for a in args if isinstance(a, kinds)])


def _perform(operation: str, target: Any, args: list[Any], kwargs: dict[str, Any], module: types.ModuleType, entry: str) -> Any:
    if type(target) is str:
        target = _named(target, module)
    if operation == "get":
        return getattr(target, args[0])
    if operation == "set":
        return setattr(target, args[0], args[1])
    return target(*args, **kwargs)


def _named(name: str, module: types.ModuleType) -> Any:
    """What a test means by `name`: `f`, `Solution().f` (LeetCodeDataset), or a method of Solution named alone (APPS)."""
    namespace = module.__dict__
    if name.startswith("Solution()."):
        instance = namespace.setdefault("Solution instance", None) or namespace["Solution"]()
        namespace["Solution instance"] = instance
        return getattr(instance, name.removeprefix("Solution()."))
    if name not in namespace and "Solution" in namespace:
        return _named(f"Solution().{name}", module)
    if name not in namespace:
        raise NameError(f"name {name!r} is not defined")
    return namespace[name]
