"""Are two expressions equal? By exact fractions, else by digits at two precisions, with symbols by values at several points."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from fractions import Fraction
from typing import Any, Literal

from curation.mathematics.node import Node, symbols, walk
from curation.mathematics.value import CannotEvaluate, Evaluator

Answer = Literal["equal", "different", "unknown"]
# Intervals the values of symbols are drawn from: inside (0, 1), where inverse functions are real, above it, and negative.
_RANGES = ((0, 1), (1, 3), (-3, -1), (3, 7), (0, 2))
_WHOLE = range(1, 40)  # for parameters that stand for integers: (-1)^n, floors and factorials are only asked there
WHOLE_NAMES = frozenset("nmklNMK")
LOW_DIGITS, HIGH_DIGITS = 40, 90


def equal(a: Node, b: Node) -> Answer:
    """`equal` and `different` are certain as far as 80 digits are; `unknown` covers what cannot be evaluated."""
    if a == b:
        return "equal"
    names = sorted(symbols(a) | symbols(b))
    if not names:
        return _at(a, b, {})
    answer = _over_points(a, b, [{n: _drawn(n, r) for n in names} for r in _RANGES])
    jumps = any(n.name in ("floor", "ceil") for tree in (a, b) for n in walk(tree))
    if (answer == "equal" and jumps) or (answer == "different" and set(names) & WHOLE_NAMES and _is_stepwise(a, b)):
        return _over_points(a, b, [{n: Fraction(w + i) for i, n in enumerate(names)} for w in _WHOLE])
    return answer


def _is_stepwise(a: Node, b: Node) -> bool:
    return any(
        n.op == "fact" or n.name in ("floor", "ceil", "binom", "cos", "sin") or (n.op == "pow" and symbols(n.args[1]))
        for tree in (a, b)
        for n in walk(tree)
    )


def _over_points(a: Node, b: Node, points: list[dict[str, Fraction]]) -> Answer:
    """One real point of difference decides; equality wants three points, at which both are real if there are such."""
    real = [_at_real(a, b, p) for p in points]
    known = [r for r in real if r is not None]
    if "different" in known:
        return "different"
    if known.count("equal") >= 2:
        return "equal"
    everywhere = [_at(a, b, p) for p in points]
    if everywhere.count("equal") >= 3:
        return "equal" if "different" not in everywhere else "unknown"
    return "different" if everywhere.count("different") >= 3 else "unknown"


def _drawn(name: str, bounds: tuple[int, int]) -> Fraction:
    low, high = bounds
    share = Fraction(zlib.crc32(f"{name} {low}".encode()) % 997 + 1, 1000)
    return low + share * (high - low)


def _at_real(a: Node, b: Node, point: dict[str, Fraction]) -> Answer | None:
    """The answer at one point, None where a value there is complex or missing."""
    evaluator = Evaluator(LOW_DIGITS, point)
    try:
        left, right = evaluator.value(a), evaluator.value(b)
    except CannotEvaluate:
        return None
    if evaluator.mp.im(evaluator.approximate(left)) or evaluator.mp.im(evaluator.approximate(right)):
        return None
    return _at(a, b, point)


def _at(a: Node, b: Node, point: dict[str, Fraction]) -> Answer:
    gaps: list[Any] = []
    for digits in (LOW_DIGITS, HIGH_DIGITS):
        evaluator = Evaluator(digits, point)
        try:
            left, right = evaluator.value(a), evaluator.value(b)
        except CannotEvaluate:
            return "unknown"
        if isinstance(left, Fraction) and isinstance(right, Fraction):
            return "equal" if left == right else "different"
        left, right = evaluator.approximate(left), evaluator.approximate(right)
        if evaluator.mp.isinf(left) and evaluator.mp.isinf(right):
            return "equal" if left == right else "different"
        gap, size = abs(left - right), max(abs(left), abs(right))
        if not evaluator.mp.isfinite(gap):
            return "different" if evaluator.mp.isfinite(left) != evaluator.mp.isfinite(right) else "unknown"
        gaps.append(gap)
        if digits == LOW_DIGITS and gap > size * evaluator.mp.mpf(10) ** -20 and gap > evaluator.mp.mpf(10) ** -25:
            return "different"
    # Rounding noise shrinks with the precision, a true difference does not: 1/2^99 and 1/2^98 differ by 1.6e-30.
    noise = max(gaps[0], evaluator.mp.mpf(10) ** -LOW_DIGITS)
    shrank = gaps[1] <= noise * evaluator.mp.mpf(10) ** -(HIGH_DIGITS - LOW_DIGITS - 15)
    close = gap <= size * evaluator.mp.mpf(10) ** -(HIGH_DIGITS - 15)
    if close or (shrank and gap < evaluator.mp.mpf(10) ** -(HIGH_DIGITS - 25)):
        return "unknown" if evaluator.rounded else "equal"
    return "different"


def unshared_root(left: Node, right: Node) -> bool:
    """Is there a point where left is 0 and right is not? Searched along one symbol, the others held."""
    names = sorted(symbols(left))
    for bounds in _RANGES:
        held = {n: _drawn(n, bounds) for n in names[1:]}
        for i in range(-12, 12):
            low, high = Fraction(i), Fraction(i + 1)
            if (root := _bisected(left, names[0], held, low, high)) is not None:
                value = _real_at(right, {**held, names[0]: root})
                return value is not None and abs(value) > 1e-6
    return False


def _bisected(node: Node, name: str, held: dict[str, Fraction], low: Fraction, high: Fraction) -> Fraction | None:
    """A root between two points of different sign, to 2^-40."""
    at_low, at_high = (_real_at(node, {**held, name: x}) for x in (low, high))
    if at_low is None or at_high is None or at_low * at_high > 0:
        return None
    for _ in range(40):
        middle = (low + high) / 2
        value = _real_at(node, {**held, name: middle})
        if value is None:
            return None
        low, high = (middle, high) if value * at_low > 0 else (low, middle)
    return (low + high) / 2


def _real_at(node: Node, point: dict[str, Fraction]) -> float | None:
    evaluator = Evaluator(LOW_DIGITS, point)
    try:
        value = evaluator.approximate(evaluator.value(node))
    except CannotEvaluate:
        return None
    return None if evaluator.mp.im(value) or not evaluator.mp.isfinite(value) else float(evaluator.mp.re(value))


def real_value(node: Node, digits: int = LOW_DIGITS) -> Any | None:
    """The real number (or infinity) that a closed expression is; None where it is none."""
    if symbols(node):
        return None
    evaluator = Evaluator(digits, {})
    try:
        value = evaluator.approximate(evaluator.value(node))
    except CannotEvaluate:
        return None
    return None if evaluator.mp.im(value) else evaluator.mp.re(value)


def values(node: Node) -> Iterator[Node]:
    """The expressions that a ± stands for, one sign for all of them in one expression; the node itself where there is none."""
    if any(n.op == "pm" for n in walk(node)):
        yield _signed(node, 1)
        yield _signed(node, -1)
    else:
        yield node


def _signed(node: Node, sign: int) -> Node:
    if node.op == "pm":
        inner = _signed(node.args[0], sign)
        return inner if sign > 0 else Node("neg", (inner,))
    return node._replace(args=tuple(_signed(a, sign) for a in node.args)) if node.args else node
