"""Python values as flat JSON, so that a program's answers reach its tests as plain data and nothing else.

Nothing of the program's own survives the way: no class with an `__eq__` of its own, no subclass, no code. A value is
[root, heap]: scalars stand in place, `[n]` points at heap[n]; flat, because a linked list of 10,000 nodes would nest as deep.
"""

from __future__ import annotations

import builtins
import collections
import importlib
import itertools
from collections.abc import Callable, Iterator
from typing import Any

_INT64 = 1 << 63  # larger whole numbers travel as hexadecimal: no limit on digits, no quadratic time
_MAX_ITEMS = 1_000_000  # taken from an iterator that a program returns, which may have no end

# Immutable types with a text form: name, the text of a value, a value of the text. By name: importing them costs 5 ms a process.
_FROM_TEXT: dict[tuple[str, str], tuple[Callable[[Any], str], str]] = {
    ("builtins", "bytes"): (bytes.hex, "fromhex"),
    ("decimal", "Decimal"): (str, ""),
    ("fractions", "Fraction"): (str, ""),
    ("datetime", "datetime"): (str, "fromisoformat"),
    ("datetime", "date"): (str, "fromisoformat"),
    ("datetime", "time"): (str, "fromisoformat"),
}
_SEQUENCES: dict[str, Any] = {"list": list, "tuple": tuple, "set": set, "frozenset": frozenset, "deque": collections.deque}
_VIEWS: tuple[Any, ...] = (type({}.keys()), type({}.values()), type({}.items()))


def encode(root: object, shared: dict[str, type], keep: Callable[[object], int]) -> list[Any]:
    """[root, heap] of a value.

    Instances of classes named in `shared` travel as their attributes; what has no form here is kept by `keep`, whose number
    stands for it.
    """
    heap: list[Any] = []
    places: dict[int, int] = {}
    alive: list[object] = []  # keeps ids unique while we work
    todo: list[tuple[int, object]] = []

    def place(value: object) -> Any:
        if value is None or value is True or value is False or type(value) in (float, str):
            return value
        if type(value) is int and -_INT64 <= value < _INT64:
            return value
        number = places.get(id(value))
        if number is None:
            number = places[id(value)] = len(heap)
            heap.append(None)
            alive.append(value)
            todo.append((number, value))
        return [number]

    top = place(root)
    while todo:
        number, value = todo.pop()
        heap[number] = _entry(value, place, shared, keep)
    return [top, heap]


def _entry(value: Any, place: Callable[[object], Any], shared: dict[str, type], keep: Callable[[object], int]) -> list[Any]:
    kind = type(value)
    if isinstance(value, type) and value in vars(builtins).values():
        return ["type", value.__name__]
    if text := _FROM_TEXT.get((kind.__module__, kind.__name__)):
        return ["text", kind.__module__, kind.__name__, text[0](value)]
    if kind.__name__ in shared:
        return ["object", kind.__name__, [[name, place(v)] for name, v in _attributes(value)]]
    for name, sequence in _SEQUENCES.items():
        if isinstance(value, sequence):
            return [name, [place(v) for v in value]]
    if isinstance(value, dict):
        return ["dict", [[place(k), place(v)] for k, v in value.items()]]
    if isinstance(value, int):
        return ["int", hex(value)]
    if isinstance(value, (float, str)):  # a subclass; enumerations with values of these types too
        return ["is", float(value) if isinstance(value, float) else str.__str__(value)]
    if isinstance(value, complex):
        return ["complex", [value.real, value.imag]]
    if isinstance(value, range):
        return ["range", [hex(n) for n in (value.start, value.stop, value.step)]]
    if kind.__module__.partition(".")[0] == "numpy" and callable(getattr(value, "tolist", None)):
        return ["is", place(value.tolist())]
    if isinstance(value, bytearray):
        return ["text", "builtins", "bytes", value.hex()]
    if isinstance(value, Iterator) or kind in _VIEWS:
        return ["iterator", [place(v) for v in itertools.islice(value, _MAX_ITEMS)]]
    return ["kept", keep(value)]


def _attributes(value: object) -> list[tuple[str, object]]:
    slots = [s for s in getattr(type(value), "__slots__", ()) if s != "__dict__"]
    return [(s, getattr(value, s)) for s in slots] + list(getattr(value, "__dict__", {}).items())


def decode(data: Any, make: Callable[[str], object], kept: Callable[[int], object]) -> Any:
    """The value of [root, heap].

    `make` gives an empty instance of a shared class, `kept` the value that a number stands for. Raises ValueError, TypeError,
    KeyError, IndexError or RecursionError for data that no value encodes to.
    """
    top, heap = data
    built: dict[int, Any] = {}
    todo: list[tuple[Any, list[Any]]] = []

    def value(item: Any) -> Any:
        if type(item) is not list:
            return item
        number = item[0]
        if number not in built:
            shell = _shell(heap[number], value, make, kept)
            built[number] = shell  # mutable ones are filled later, so that they may hold themselves
            if heap[number][0] in ("list", "dict", "deque", "object"):
                todo.append((shell, heap[number]))
        return built[number]

    result = value(top)
    while todo:
        shell, entry = todo.pop()
        if entry[0] == "object":
            for name, item in entry[2]:
                setattr(shell, name, value(item))
        elif entry[0] == "dict":
            for key, item in entry[1]:
                shell[value(key)] = value(item)
        else:
            shell.extend([value(item) for item in entry[1]])
    return result


def _shell(entry: list[Any], value: Callable[[Any], Any], make: Callable[[str], object], kept: Callable[[int], object]) -> Any:
    kind, content = entry[0], entry[1]
    if kind in ("list", "dict", "deque"):
        return {"list": list, "dict": dict, "deque": collections.deque}[kind]()
    if kind == "object":
        return make(content)
    if kind in _SEQUENCES:
        return _SEQUENCES[kind]([value(v) for v in content])
    if kind == "int":
        return int(content, 16)
    if kind == "is":
        return value(content)
    if kind == "complex":
        return complex(*content)
    if kind == "range":
        return range(*(int(n, 16) for n in content))
    if kind == "iterator":
        return iter([value(v) for v in content])
    if kind == "type":
        return _builtin_type(content)
    if kind == "kept":
        return kept(content)
    _, constructor = _FROM_TEXT[content, entry[2]]  # KeyError for any other module or name
    wanted = getattr(importlib.import_module(content), entry[2])
    return (getattr(wanted, constructor) if constructor else wanted)(entry[3])


def _builtin_type(name: str) -> type:
    found = builtins.__dict__[name]
    if not isinstance(found, type):  # `eval` is no value that a program may answer with
        raise ValueError(name)
    return found


def own_classes(namespace: dict[str, Any]) -> dict[str, type]:
    """Classes that the code executed in `namespace` defined itself, by name: those that both sides know."""
    return {k: v for k, v in namespace.items() if isinstance(v, type) and v.__module__ == namespace["__name__"]}
