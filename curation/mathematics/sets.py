"""Sets of real numbers, however they are written: intervals, inequalities, set builders, unions and differences."""

from __future__ import annotations

from typing import Any, NamedTuple

from curation.mathematics.node import Node, symbols
from curation.mathematics.points import equal, real_value

_LOW, _HIGH = Node("neg", (Node("inf"),)), Node("inf")
_MIRROR = {"<": ">", ">": "<", "<=": ">=", ">=": "<="}


class Interval(NamedTuple):
    low: Node
    low_closed: bool
    high: Node
    high_closed: bool


def to_set(node: Node) -> list[Interval] | None:
    """The intervals of a set as they are written, None where the node is no set of real numbers."""
    match node.op:
        case "group" if len(node.args) == 2:
            return [Interval(node.args[0], node.name[0] == "[", node.args[1], node.name[1] == "]")]
        case "set":
            return [Interval(a, True, a, True) for a in node.args]
        case "sym" if node.name == "R":
            return [Interval(_LOW, False, _HIGH, False)]
        case "union":
            return _joined(node.args)
        case "list" if node.name == "or":
            return _joined(node.args)
        case "list":
            return _common(node.args)
        case "intersection":
            return _common(node.args)
        case "minus":
            return _without(to_set(node.args[0]), to_set(node.args[1]))
        case "add" if len(node.args) == 2 and node.args[1].op == "neg":
            return _without(to_set(node.args[0]), to_set(node.args[1].args[0]))
        case "builder":
            return to_set(node.args[1])
        case "rel":
            return _relation(node)
    return None


def is_set(node: Node) -> bool:
    """Says that it is a set or a condition, not merely brackets that may also be a point."""
    if node.op == "list":
        return any(is_set(a) for a in node.args)
    if node.op == "rel":
        return node.name != "=" and _relation(node) is not None
    if node.op == "add":
        return is_set(node.args[0])
    return node.op in ("union", "minus", "intersection", "builder") or (node.op == "sym" and node.name == "R")


def same(a: list[Interval], b: list[Interval]) -> str:
    """`equal`, `different` or `unknown`; bounds with symbols are compared in the order written."""
    left, right = canonical(a), canonical(b)
    if left is not None and right is not None:
        return "equal" if _close(left, right) else "different"
    if len(a) != len(b):
        return "unknown"
    if [(i.low_closed, i.high_closed) for i in a] != [(i.low_closed, i.high_closed) for i in b]:
        return "different"
    answers = [equal(x, y) for i, j in zip(a, b, strict=True) for x, y in ((i.low, j.low), (i.high, j.high))]
    return "equal" if set(answers) == {"equal"} else "unknown" if "unknown" in answers else "different"


def canonical(intervals: list[Interval]) -> list[tuple[Any, bool, Any, bool]] | None:
    """Sorted, merged, empty ones left out; None where a bound is no real number."""
    found = []
    for i in intervals:
        low, high = real_value(i.low), real_value(i.high)
        if low is None or high is None:
            return None
        if low < high or (low == high and i.low_closed and i.high_closed):
            found.append((low, i.low_closed, high, i.high_closed))
    found.sort(key=lambda t: (t[0], not t[1]))
    merged: list[tuple[Any, bool, Any, bool]] = []
    for low, low_closed, high, high_closed in found:
        if merged and (low < merged[-1][2] or (low == merged[-1][2] and (low_closed or merged[-1][3]))):
            last = merged[-1]
            if high > last[2] or (high == last[2] and high_closed):
                merged[-1] = (last[0], last[1], high, high_closed)
        else:
            merged.append((low, low_closed, high, high_closed))
    return merged


def _close(a: list[tuple[Any, bool, Any, bool]], b: list[tuple[Any, bool, Any, bool]]) -> bool:
    if len(a) != len(b):
        return False
    return all(x[1] == y[1] and x[3] == y[3] and _near(x[0], y[0]) and _near(x[2], y[2]) for x, y in zip(a, b, strict=True))


def _near(x: Any, y: Any) -> bool:
    return bool(x == y or abs(x - y) <= min(abs(x), abs(y)) / 10**30)  # min: an infinity is near nothing


def _joined(nodes: tuple[Node, ...]) -> list[Interval] | None:
    parts = [_relation_or_point(n) for n in nodes]
    return None if any(p is None for p in parts) else [i for p in parts if p is not None for i in p]


def _relation_or_point(node: Node) -> list[Interval] | None:
    if node.op == "rel" and node.name == "=" and node.args[0].op == "sym":
        return [Interval(node.args[1], True, node.args[1], True)]
    return to_set(node)


def _common(nodes: tuple[Node, ...]) -> list[Interval] | None:
    """Intersection, for bounds that are numbers."""
    parts = [to_set(n) for n in nodes]
    result: list[Interval] = [Interval(_LOW, False, _HIGH, False)]
    for part in parts:
        if part is None or canonical(part) is None:
            return None
        result = [m for x in result for y in part if (m := _meet(x, y)) is not None]
    return result


def _meet(x: Interval, y: Interval) -> Interval | None:
    """The common part; bounds are numbers here, as canonical() has made sure."""
    low: tuple[Any, bool, Node] = max(((real_value(i.low), not i.low_closed, i.low) for i in (x, y)), key=lambda t: t[:2])
    high: tuple[Any, bool, Node] = min(((real_value(i.high), i.high_closed, i.high) for i in (x, y)), key=lambda t: t[:2])
    return None if low[0] > high[0] else Interval(low[2], not low[1], high[2], high[1])


def _without(whole: list[Interval] | None, taken: list[Interval] | None) -> list[Interval] | None:
    """`whole` without the points or intervals of `taken`."""
    if whole is None or taken is None or canonical(taken) is None:
        return None
    rest: list[Interval] = []
    last, closed = _LOW, False
    for i in sorted(taken, key=_low):
        rest.append(Interval(last, closed, i.low, not i.low_closed))
        last, closed = i.high, not i.high_closed
    rest.append(Interval(last, closed, _HIGH, False))
    parts = [m for x in whole for y in rest if (m := _meet(x, y)) is not None] if canonical(whole) is not None else None
    return parts


def _low(interval: Interval) -> Any:
    return real_value(interval.low)


def _relation(node: Node) -> list[Interval] | None:
    """x < 3, -1 < x <= 2, x != 0, x in S."""
    ops, args = node.name.split(), node.args
    if ops == ["in"]:
        return to_set(args[1]) if _is_variable(args[0]) else None
    if ops == ["!="] and args[0].op == "sym":
        return [Interval(_LOW, False, args[1], False), Interval(args[1], False, _HIGH, False)]
    if len(ops) == 1 and ops[0] in _MIRROR:
        if symbols(args[0]) & symbols(args[1]):
            return None
        if _is_variable(args[0]) and args[1].op != "sym":
            return _half(ops[0], args[1])
        if _is_variable(args[1]):
            return _half(_MIRROR[ops[0]], args[0])
        return None
    if len(ops) == 2 and _is_variable(args[1]):
        if all(o in ("<", "<=") for o in ops):
            return [Interval(args[0], ops[0] == "<=", args[2], ops[1] == "<=")]
        if all(o in (">", ">=") for o in ops):
            return [Interval(args[2], ops[1] == ">=", args[0], ops[0] == ">=")]
    return None


def _is_variable(node: Node) -> bool:
    """x, or f(x) for the values that f takes; f(-3/4) is a number."""
    return node.op == "sym" or (node.op == "apply" and all(a.op == "sym" for a in node.args))


def _half(op: str, bound: Node) -> list[Interval]:
    if op in ("<", "<="):
        return [Interval(_LOW, False, bound, op == "<=")]
    return [Interval(bound, op == ">=", _HIGH, False)]
