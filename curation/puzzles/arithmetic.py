"""Reads an arithmetic expression that a model wrote, exactly and without evaluating any of its text as code.

A tokenizer and a recursive descent over fractions. Countdown verifiers in use (TinyZero, Mini-R1, oat-zero) filter
with a regular expression and call eval: they accept 2**3 and 7//2, read 1.5*2 as the numbers 1, 5 and 2, and hang on
9**9**9.
"""

from __future__ import annotations

import re
from fractions import Fraction
from typing import NamedTuple

MAX_CHARACTERS = 1_000  # an honest answer to nine numbers has about 60
MAX_DIGITS = 12
MAX_DEPTH = 50  # nested parentheses; three Python frames each

_SYMBOLS = {s: "*" for s in ("*", "×", "·", "⋅", "∙", "∗", "x", "X", "\\times", "\\cdot", "\\ast")}
_SYMBOLS |= {s: "/" for s in ("/", "÷", "∕", "⁄", "\\div")}
_SYMBOLS |= {s: "-" for s in ("-", "−", "–")}
_SYMBOLS |= {"+": "+", "(": "(", "[": "(", "{": "(", ")": ")", "]": ")", "}": ")", "=": "="}
_SYMBOLS |= {f"\\{size}frac": "frac" for size in ("", "d", "t")}
_TOKEN = re.compile(
    r"(?P<space>\s+|\\[ ,;:!()\[\]]|\$"
    r"|\\(?:left|right|bigl?|bigr|Bigl?|Bigr|quad|displaystyle|text|mathrm)(?![A-Za-z]))"
    r"|(?P<number>[0-9]{1,3}(?:,[0-9]{3})+(?![0-9])|[0-9]+)"
    r"|(?P<symbol>\\[A-Za-z]+|.)",
    re.DOTALL,
)
_WHOLE_DECIMAL = re.compile(r"=\s*([0-9]{1,12})\.0{1,12}\s*$")  # "= 24.0": a calculator's way to write the value


class NotArithmetic(Exception):
    """The text is no arithmetic we accept; the message is the verdict's reason."""


class Arithmetic(NamedTuple):
    """An expression that was read."""

    value: Fraction
    numbers: tuple[int, ...]  # as written, in order
    operations: int  # binary operations


def read_equation(text: str) -> list[Arithmetic]:
    """The sides of `text` at its equals signs: one for a bare expression, two for "6 * 4 = 24".

    Accepts + - * / and parentheses, the Unicode and LaTeX ways to write them, a product written as 2(3 + 4), and one
    minus sign in front of a number or a parenthesis where no + or - stands before it. Raises NotArithmetic with
    `unparseable_answer` (powers, decimals, //, functions, words), `division_by_zero` or `too_long`.
    """
    if len(text) > MAX_CHARACTERS:
        raise NotArithmetic("too_long")
    tokens = _tokens(_WHOLE_DECIMAL.sub(r"=\1", text))
    sides: list[list[str]] = [[]]
    for token in tokens:
        if token == "=":
            sides.append([])
        else:
            sides[-1].append(token)
    return [_Reader(side).read() for side in sides]


def _tokens(text: str) -> list[str]:
    tokens = []
    for match in _TOKEN.finditer(text):
        if number := match["number"]:
            digits = number.replace(",", "")
            if len(digits) > MAX_DIGITS:
                raise NotArithmetic("too_long")
            tokens.append(digits)
        elif symbol := match["symbol"]:
            if symbol not in _SYMBOLS:
                raise NotArithmetic("unparseable_answer")
            tokens.append(_SYMBOLS[symbol])
    return tokens


class _Reader:
    """sum := product (± product)*; product := factor (×÷ factor)*; factor := [-] (number | (sum) | frac (sum)
    (sum)).
    """

    def __init__(self, tokens: list[str]) -> None:
        self.tokens = [*tokens, ""]
        self.at = 0
        self.depth = 0
        self.numbers: list[int] = []
        self.operations = 0

    def read(self) -> Arithmetic:
        value = self.sum()
        if self.tokens[self.at]:
            raise NotArithmetic("unparseable_answer")
        return Arithmetic(value, tuple(self.numbers), self.operations)

    def sum(self) -> Fraction:
        value = self.product()
        while (token := self.tokens[self.at]) in ("+", "-"):
            self.at += 1
            self.operations += 1
            right = self.product()
            value = value + right if token == "+" else value - right
        return value

    def product(self) -> Fraction:
        value, divided = self.factor(), False
        while (token := self.tokens[self.at]) in ("*", "/", "(", "frac"):
            implied = token in ("(", "frac")
            if implied and divided:  # 6/2(1+2) is read in two ways
                raise NotArithmetic("unparseable_answer")
            self.at += not implied
            self.operations += 1
            right = self.factor()
            divided = token == "/"
            value = _divide(value, right) if divided else value * right
        return value

    def factor(self) -> Fraction:
        # For a target of 0 or more a sign adds no reach: -3 + 9 has the twin 9 - 3. reasoning-gym's golds hold some.
        if self.tokens[self.at] == "-" and (self.at == 0 or self.tokens[self.at - 1] not in ("+", "-")):
            self.at += 1
            return -self.atom()
        return self.atom()

    def atom(self) -> Fraction:
        token = self.tokens[self.at]
        self.at += 1
        if token.isdigit():
            self.numbers.append(int(token))
            return Fraction(int(token))
        if token == "frac":
            self.operations += 1
            above = self.group()
            return _divide(above, self.group())
        self.at -= 1
        return self.group()

    def group(self) -> Fraction:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise NotArithmetic("too_long")
        self.expect("(")
        value = self.sum()
        self.expect(")")
        self.depth -= 1
        return value

    def expect(self, token: str) -> None:
        if self.tokens[self.at] != token:
            raise NotArithmetic("unparseable_answer")
        self.at += 1


def _divide(above: Fraction, below: Fraction) -> Fraction:
    if below == 0:
        raise NotArithmetic("division_by_zero")
    return above / below


_LIST_MARK = re.compile(r"^\s*(?:[-*•>]+|\(?[0-9]{1,3}[.)])\s+")
_OPERATION = re.compile(
    "|".join(re.escape(s) for s, meaning in _SYMBOLS.items() if meaning not in "()=" and s not in "xX")
    + r"|(?<![^\W\d_])[xX](?![^\W\d_])"
)
_COMMAND = re.compile(r"\\[A-Za-z]+")
_LETTER = re.compile(r"[^\W\d_xX]")
# A word that changes the value of what follows it: "sqrt (9) + 3" must not be read as (9) + 3.
_FUNCTIONS = re.compile(
    r"(sqrt|root|log|ln|exp|abs|floor|ceil|round|factorial|mod|square|cube|power|negative|minus|of)$", re.IGNORECASE
)


def last_arithmetic(text: str) -> str | None:
    """The last stretch of arithmetic with an operation in it, on the last line that holds one; None where none does.

    A stretch is made of whole words without letters, so that nothing is cut out of a call such as sqrt(9)+3.
    """
    for line in reversed(text.splitlines()):
        if stretches := _stretches(_LIST_MARK.sub("", line, count=1)):
            return stretches[-1]
    return None


def _stretches(line: str) -> list[str]:
    found: list[str] = []
    words: list[str] = []
    before = ""
    for word in [*line.split(), "end"]:
        bare = word.rstrip(".,;:?`\"'")
        if _LETTER.search(_COMMAND.sub("", word)):
            found += _stretch(words, before)
            words, before = [], bare
        else:
            words.append(bare)
            if bare != word:
                found += _stretch(words, before)
                words, before = [], ""
    return found


def _stretch(words: list[str], before: str) -> list[str]:
    text = " ".join(words).strip("*`_\"'→⇒: ")
    return [text] if _OPERATION.search(text) and not _FUNCTIONS.match(before) and any(c.isdigit() for c in text) else []
