"""When a decimal is meant for a number it is not quite.

The gold's own precision counts. A gold decimal of three or more significant digits is met by an exact value that rounds to it
(0.333 by 1/3, 12.55 by 640/51), an exact gold by a decimal right to four (85.71 for 600/7). With fewer digits (0.33) and
between two decimals, where the shorter may be an error of its own, the case stays open: `close`. An integer is never a
rounding of anything.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any, Literal, NamedTuple

from curation.mathematics.node import Node
from curation.mathematics.points import real_value

GOLD_DIGITS, ANSWER_DIGITS = 3, 4
NEAR = 1e-3  # relative difference below which a decimal that rounds to nothing is still not called wrong


class Decimal(NamedTuple):
    value: Fraction
    unit: Fraction  # one in the last place
    digits: int  # significant


def decimal(node: Node) -> Decimal | None:
    """A number written with a decimal point (or a power of ten times one), None for anything exact."""
    match node.op:
        case "num" if node.decimals >= 0:
            unit = Fraction(1, 10) ** node.decimals
            return Decimal(node.value, unit, len(str(abs(int(node.value / unit))).lstrip("0")))
        case "neg":
            inner = decimal(node.args[0])
            return inner and inner._replace(value=-inner.value)
        case "pct":
            inner = decimal(node.args[0])
            return inner and Decimal(inner.value / 100, inner.unit / 100, inner.digits)
        case "mul" if len(node.args) == 2 and node.args[1].op == "pow" and node.args[1].args[0].value == 10:
            inner, power = decimal(node.args[0]), real_value(node.args[1])
            if inner is None or power is None or not 1e-40 < power < 1e40:
                return None
            factor = Fraction(str(power)) if power >= 1 else 1 / Fraction(str(1 / power))
            return Decimal(inner.value * factor, inner.unit * factor, inner.digits)
    return None


def rounds(gold: Node, answer: Node) -> Literal["equal", "different", "close"]:
    """For two different real numbers: is one the other, rounded?"""
    left, right = decimal(gold), decimal(answer)
    x, y = real_value(gold), real_value(answer)
    if x is None or y is None or (left is None and right is None):
        return "different"
    gap = abs(x - y)
    if left is not None and right is not None:
        if left.unit == right.unit:
            return "close" if gap <= abs(x) * NEAR else "different"
        coarse = max(left, right, key=lambda d: d.unit)
        return _judged(gap, coarse, ANSWER_DIGITS, x)
    written = left or right
    assert written is not None
    if (answer if left else gold).op == "num":
        return "different"  # an integer
    return _judged(gap, written, GOLD_DIGITS if left else ANSWER_DIGITS, x)


def _judged(gap: Any, written: Decimal, digits: int, gold: Any) -> Literal["equal", "different", "close"]:
    unit = written.unit.numerator / (gap * 0 + written.unit.denominator)
    if gap <= unit / 2 * (1 + 1e-9) and written.digits >= digits:
        return "equal"
    if gap <= unit and written.digits >= digits + 1:
        return "equal"  # cut off instead of rounded
    near = gap < unit * (1 - 1e-9) and written.digits >= 2
    return "close" if near or gap <= abs(gold) * NEAR else "different"
