"""The value of an expression: an exact fraction where there is one, else a number of as many digits as asked.

Every operation is charged by the size of its operands, so that a tower of powers ends in CannotEvaluate within
milliseconds and never in a hang. Own contexts of mpmath, one for each thread: its global one is not safe among threads.
"""

from __future__ import annotations

import math
import threading
import zlib
from fractions import Fraction
from typing import Any

from curation.mathematics.node import Node

BITS_LIMIT = 64_000  # exact integers beyond it become approximate: 2024^4046 has 44,437 bits
BUDGET = 60_000  # about 0.2 s of arithmetic; one multiplication of 64,000-bit integers costs 4,096 of it
MAGNITUDE_LIMIT = 200  # binary exponent of the argument of exp, sin and the like; beyond it mpmath needs that many bits of pi


class CannotEvaluate(Exception):
    """No value within the budget, or none at all (division by zero)."""


_local = threading.local()


def _context(digits: int) -> Any:
    import mpmath  # type: ignore[import-untyped]

    contexts = _local.__dict__.setdefault("contexts", {})
    if digits not in contexts:
        contexts[digits] = mpmath.MPContext()
        contexts[digits].dps = digits
    return contexts[digits]


class Evaluator:
    """Values of symbols, the precision, and what has been spent."""

    def __init__(self, digits: int, symbols: dict[str, Fraction], *, log_base: int | None = None) -> None:
        self.mp = _context(digits)
        self.symbols = symbols
        self.spent = 0.0
        self.rounded = False  # an exact integer was too large to keep: agreement of digits is then no proof
        self.log_base = log_base  # what a bare log means; None for the natural one

    def value(self, node: Node) -> Any:
        """Fraction, mpf or mpc."""
        self.charge(1)
        match node.op:
            case "num" | "based":
                return node.value
            case "sym":
                return self.symbol(node.name)
            case "inf":
                return self.mp.inf
            case "scale":
                return self.value(node.args[0])
            case "neg":
                return -self.value(node.args[0])
            case "pct":
                return self.divide(self.value(node.args[0]), Fraction(100))
            case "deg":
                return self.times(self.value(node.args[0]), self.mp.pi / 180)
            case "add":
                total = self.value(node.args[0])
                for a in node.args[1:]:
                    total = self.plus(total, self.value(a))
                return total
            case "mul":
                product = self.value(node.args[0])
                for a in node.args[1:]:
                    product = self.times(product, self.value(a))
                return product
            case "div" | "ratio" if len(node.args) == 2:
                return self.divide(self.value(node.args[0]), self.value(node.args[1]))
            case "pow":
                return self.power(self.value(node.args[0]), self.value(node.args[1]))
            case "fact":
                return self.factorial(self.value(node.args[0]))
            case "abs":
                return abs(self.value(node.args[0]))
            case "fn":
                return self.function(node.name, [self.value(a) for a in node.args])
            case "apply":
                return self.unknown_function(node.name, [self.value(a) for a in node.args])
        raise CannotEvaluate(node.op)

    def charge(self, bits: float) -> None:
        self.spent += 1 + (bits / 1000) ** 2
        if self.spent > BUDGET:
            raise CannotEvaluate("budget")

    def approximate(self, value: Any) -> Any:
        """As a number of mpmath."""
        if isinstance(value, Fraction):
            self.charge(_bits(value))
            return self.mp.mpf(value.numerator) / value.denominator
        return value

    def both(self, a: Any, b: Any) -> tuple[Any, Any]:
        if isinstance(a, Fraction) and isinstance(b, Fraction):
            bits = _bits(a) + _bits(b)
            self.charge(bits)
            if bits <= BITS_LIMIT:
                return a, b
            self.rounded = True
        return self.approximate(a), self.approximate(b)

    def plus(self, a: Any, b: Any) -> Any:
        a, b = self.both(a, b)
        return a + b

    def times(self, a: Any, b: Any) -> Any:
        a, b = self.both(a, b)
        return a * b

    def divide(self, a: Any, b: Any) -> Any:
        if b == 0:
            raise CannotEvaluate("division by zero")
        a, b = self.both(a, b)
        return a / b

    def power(self, base: Any, exponent: Any) -> Any:
        if isinstance(base, Fraction) and isinstance(exponent, Fraction):
            if exponent.denominator == 1:
                return self.whole_power(base, int(exponent))
            if root := self.exact_root(base, exponent):
                return root
        if base == 0:
            if self.real(exponent) > 0:
                return Fraction(0)
            raise CannotEvaluate("power of zero")
        if base == self.mp.e and isinstance(exponent, Fraction):
            return self.exp(exponent)
        base, exponent = self.approximate(base), self.approximate(exponent)
        self.small(exponent)
        self.small(self.mp.mag(base) + 0)
        return self.mp.power(base, exponent)

    def whole_power(self, base: Fraction, exponent: int) -> Any:
        if base == 0 and exponent <= 0:
            raise CannotEvaluate("power of zero")
        bits = _bits(base) * abs(exponent)
        if bits <= BITS_LIMIT or abs(base) == 1:
            self.charge(0 if abs(base) == 1 else bits)
            return base**exponent if abs(base) != 1 else (base if exponent % 2 else Fraction(1))
        self.rounded = True
        if abs(exponent).bit_length() > MAGNITUDE_LIMIT or _bits(base) > BITS_LIMIT:
            raise CannotEvaluate("tower")
        return self.mp.power(self.approximate(base), exponent)

    def exact_root(self, base: Fraction, exponent: Fraction) -> Fraction | None:
        """4^(1/2) is 2: exact where the root is."""
        n = exponent.denominator
        if base < 0 or n > 16 or _bits(base) > 2000 or _bits(base) * abs(exponent.numerator) > BITS_LIMIT:
            return None
        top, bottom = _integer_root(base.numerator, n), _integer_root(base.denominator, n)
        if top is None or bottom is None or (top == 0 and exponent < 0):
            return None
        return Fraction(top, bottom) ** exponent.numerator

    def factorial(self, value: Any) -> Any:
        if isinstance(value, Fraction) and value.denominator == 1:
            if value < 0:
                raise CannotEvaluate("factorial of a negative number")
            if value <= 5000:
                result = Fraction(math.factorial(int(value)))
                self.charge(_bits(result))
                return result
            self.rounded = True
        value = self.approximate(value)
        self.small(value)
        return self.mp.factorial(value)

    def symbol(self, name: str) -> Any:
        if name == "pi":
            return self.mp.pi * 1
        if name in self.symbols:
            return self.symbols[name]
        if name == "e":
            return self.mp.e * 1
        if name == "i":
            return self.mp.mpc(0, 1)
        raise CannotEvaluate(name)

    def real(self, value: Any) -> Any:
        return value if isinstance(value, Fraction) else self.mp.re(value)

    def small(self, value: Any) -> None:
        """mpmath needs as many bits of pi as the argument has before the point."""
        if not self.mp.isfinite(value) or (value != 0 and self.mp.mag(value) > MAGNITUDE_LIMIT):
            raise CannotEvaluate("magnitude")

    def exp(self, value: Any) -> Any:
        value = self.approximate(value)
        self.small(value)
        return self.mp.exp(value)

    def function(self, name: str, args: list[Any]) -> Any:
        """A named function; raises CannotEvaluate for one that is unknown or has no value there."""
        mp = self.mp
        self.charge(300)
        if name in ("sqrt", "root"):
            degree = args[1] if len(args) > 1 else Fraction(2)
            if isinstance(args[0], Fraction) and args[0] < 0 and degree == 3:
                return -self.power(-args[0], Fraction(1, 3))  # the real cube root, as in every textbook
            return self.power(args[0], self.divide(Fraction(1), degree))
        if name in ("floor", "ceil"):
            return self.step(name, args[0])
        if name in ("gcd", "lcm", "min", "max"):
            return self.of_several(name, args)
        if name == "abs":
            return abs(args[0])
        if name == "binom":
            return self.binomial(*args)
        values = [self.approximate(a) for a in args]
        for v in values:
            self.small(v)
        if name in ("log", "ln", "log_base", "ln_base"):
            return self.logarithm(name, values)
        if name == "exp":
            return mp.exp(values[0])
        names = {"arcsin": "asin", "arccos": "acos", "arctan": "atan", "arccot": "acot"}
        known = ("sin", "cos", "tan", "cot", "sec", "csc", "sinh", "cosh", "tanh", *names)
        if name not in known or len(values) != 1:
            raise CannotEvaluate(name)
        try:
            return getattr(mp, names.get(name, name))(values[0])
        except (ZeroDivisionError, ValueError) as error:
            raise CannotEvaluate(name) from error

    def logarithm(self, name: str, values: list[Any]) -> Any:
        base = values[1] if name.endswith("_base") else self.log_base if name == "log" else None
        if values[0] == 0 or base in (0, 1):
            raise CannotEvaluate("log")
        return self.mp.log(values[0]) if base is None else self.mp.log(values[0]) / self.mp.log(base)

    def step(self, name: str, value: Any) -> Fraction:
        if isinstance(value, Fraction):
            return Fraction(math.floor(value) if name == "floor" else math.ceil(value))
        self.small(value)
        nearest = self.mp.nint(self.mp.re(value))
        if self.mp.im(value) or abs(value - nearest) < self.mp.mpf(10) ** -25:
            raise CannotEvaluate("step at a jump")
        return Fraction(int(self.mp.floor(value) if name == "floor" else self.mp.ceil(value)))

    def of_several(self, name: str, args: list[Any]) -> Any:
        if name in ("min", "max"):
            reals = [(self.mp.re(self.approximate(a)), a) for a in args]
            return (min if name == "min" else max)(reals, key=lambda pair: pair[0])[1]
        whole = [int(a) for a in args if isinstance(a, Fraction) and a.denominator == 1]
        if len(whole) != len(args):
            raise CannotEvaluate(name)
        return Fraction(math.gcd(*whole) if name == "gcd" else math.lcm(*whole))

    def binomial(self, n: Any, k: Any) -> Any:
        if isinstance(n, Fraction) and isinstance(k, Fraction) and n.denominator == k.denominator == 1 and 0 <= k <= n <= 20_000:
            self.charge(float(n))
            return Fraction(math.comb(int(n), int(k)))
        n, k = self.approximate(n), self.approximate(k)
        self.small(n)
        self.small(k)
        self.rounded = True
        return self.mp.binomial(n, k)

    def unknown_function(self, name: str, args: list[Any]) -> Any:
        """f(x) of an f that nobody defined: a smooth function that depends on the name only."""
        seed = Fraction(zlib.crc32(name.encode()) % 997, 1000)
        total = self.approximate(seed)
        for i, a in enumerate(args):
            a = self.approximate(a)
            self.small(a)
            total += self.mp.cos(a * (seed + 1 + i)) * (i + 1) + a / (7 + i)
        return total


def _bits(value: Fraction) -> int:
    return value.numerator.bit_length() + value.denominator.bit_length()


def _integer_root(value: int, n: int) -> int | None:
    if value < 0:
        return None
    root = math.isqrt(value) if n == 2 else round(value ** (1 / n)) if value.bit_length() < 900 else -1
    return root if root >= 0 and root**n == value else None
