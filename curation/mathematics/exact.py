"""The cheap tier: both answers by our own grammar, decided only where that is certain."""

from __future__ import annotations

import functools
import re
from fractions import Fraction
from typing import Literal, NamedTuple

from curation.mathematics.compare import compare_readings
from curation.mathematics.forms import Reading, read
from curation.mathematics.lexicon import COUNTING
from curation.mathematics.node import number, symbols, walk
from curation.mathematics.text import normalise, words
from curation.mathematics.tokens import Unreadable

_PLAIN = re.compile(r"[-+]?\d{1,300}(?:\.\d{1,300})?")
_CHOICE = re.compile(
    r"\s*(?:\\(?:text|textbf|mathrm|mathbf|rm)\s?\{)?\s*(?:option|choice|answer)?\s*[(\[]?([A-J])(?:[)\].:]|\}|\s*$)(.*)",
    re.DOTALL | re.IGNORECASE,
)


class Decision(NamedTuple):
    outcome: Literal["correct", "incorrect", "undetermined"]
    why: str


_EQUAL, _DIFFERENT = Decision("correct", "equal"), Decision("incorrect", "different")


def compare(gold: str, answer: str) -> Decision | None:
    """The verdict on two bare answers, or None where only the slow tier may know."""
    gold, answer = gold.strip(), answer.strip()
    if gold == answer:
        return _EQUAL
    if _PLAIN.fullmatch(gold) and _PLAIN.fullmatch(answer) and "." not in gold:
        return _EQUAL if Fraction(gold) == Fraction(answer) else _DIFFERENT
    if decision := _choice(gold, answer):
        return decision
    if _same_notion(gold, answer):
        return _EQUAL
    left, right = reading(gold), _read(answer)
    if left is None or right is None:
        return _text(gold, answer, left, right) or _last_side(left, answer)
    result = compare_readings(left, right)
    if result == "different" and _compare_without_thousands(gold, answer):
        return Decision("undetermined", "ambiguous")  # 1,234: one number or two
    if result == "equal":
        return _EQUAL
    if result == "close":
        return Decision("undetermined", "rounded")
    if result == "unknown" and _is_arithmetic(left) and _is_arithmetic(right):
        plain = "log" not in gold + answer and not left.words and not right.words
        return Decision("undetermined", "too_large" if plain else "ambiguous")
    return _DIFFERENT if result == "different" else None


def readable(gold: str) -> bool:
    """Can a response be held against this gold here: a formula of our grammar, a choice, or plain words?"""
    if reading(gold) is not None:
        return True
    return bool(_LONG_WORD.search(gold)) and not _FORMULA.search(gold) and not _COMMAND.search(gold)


_LONG_WORD = re.compile(r"[A-Za-z]{2}")
_FORMULA = re.compile(r"[\^_<>+*/({\[]\s*[\d\\]|\d\s*[=<>+*/^]")
_COMMAND = re.compile(r"\\(?!text|textbf|mathrm|mbox|[ ,;!])[A-Za-z]+")


@functools.lru_cache(maxsize=2048)
def reading(gold: str) -> Reading | None:
    """The tree of a gold; kept, because a gold meets many responses."""
    return _read(gold)


def _read(text: str, *, thousands: bool = True) -> Reading | None:
    try:
        return read(text, thousands=thousands)
    except Unreadable:
        return None


def _squeezed(text: str) -> str:
    """The text without blanks and \\text; with any other command its braces matter, and it stays as it is."""
    plain = normalise(text).replace("\\text", "")
    return plain if "\\" in plain else "".join(plain.translate(_BRACES).split())


_BRACES = str.maketrans({"{": None, "}": None})


def _last_side(gold: Reading | None, answer: str) -> Decision | None:
    """E = (2 J) / (3 J/eV) = 0.67 eV: where units stand inside, only the last side is read, and only to agree."""
    sides = re.split(r"=|\\approx|≈", answer)
    last = _read(sides[-1]) if len(sides) > 1 else None
    if gold is None or last is None or symbols(last.node):
        return None
    return _EQUAL if compare_readings(gold, last) == "equal" else None


def _is_arithmetic(found: Reading) -> bool:
    """A number, written in any way: what our own evaluation cannot decide, math-verify would only hang on."""
    return not symbols(found.node) and all(n.op in _ARITHMETIC or n.op == "sym" for n in walk(found.node))


def _no_number(answer: str) -> bool:
    """Only words, and none that counts: "cannot be determined" is no rendering of 17."""
    answer = answer.replace("\\text", " ").replace("$", " ")
    found = re.findall(r"[a-z]+", answer.lower())
    return answer.isascii() and not re.search(r"[\d\\^]", answer) and not any(w in COUNTING for w in found)


_ARITHMETIC = frozenset({"num", "neg", "add", "mul", "div", "pow", "deg", "pct", "fn", "fact", "abs", "scale"})


def _compare_without_thousands(gold: str, answer: str) -> bool:
    if not re.search(r"\d,\d{3}", gold + " " + answer):
        return False
    left, right = _read(gold, thousands=False), _read(answer, thousands=False)
    return left is not None and right is not None and compare_readings(left, right) == "equal"


_NOTIONS = (
    frozenset({"infinity", "infty", "infinite", "infinitely many", "infinitely many solutions"}),
    frozenset({"none", "no solution", "no solutions", "no real solution", "no real solutions", "empty set", "emptyset"}),
    frozenset({"yes", "true"}),
    frozenset({"no", "false"}),
    frozenset({"undefined", "does not exist", "dne"}),
)


def _same_notion(gold: str, answer: str) -> bool:
    """Two usual words for one thing."""
    pair = {" ".join(normalise(t).replace("\\text", "").translate(_BARE).lower().split()) for t in (gold, answer)}
    return any(pair <= notion for notion in _NOTIONS)


_BARE = str.maketrans({c: " " for c in "\\{}()[]."})


def _choice(gold: str, answer: str) -> Decision | None:
    """(C), C., \\text{(C)} 42: one letter, where the gold is nothing else."""
    wanted, got = _CHOICE.fullmatch(gold), _CHOICE.fullmatch(answer)
    if not wanted:
        return _letters(gold, answer)
    if content := wanted[2].strip(" )].}$"):  # B) 7
        bare = got and not got[2].strip(" )].}$")
        return (_EQUAL if got[1].upper() == wanted[1].upper() else _DIFFERENT) if got and bare else _same(content, answer)
    if not got:
        return Decision("undetermined", "ambiguous") if "(" in gold else None
    same = wanted[1].upper() == got[1].upper()
    if got[2].strip(" )].}$") and not same:
        return Decision("incorrect", "different")
    return _EQUAL if same else _DIFFERENT


def _same(gold: str, answer: str) -> Decision | None:
    return _EQUAL if compare(gold, answer) == _EQUAL else None


def _letters(gold: str, answer: str) -> Decision | None:
    """Several choices: AC, A and C, (A), (C)."""
    wanted, got = (_SEPARATORS.sub("", normalise(t).replace("\\text", "")) for t in (gold, answer))
    several = all(2 <= len(t) <= 10 and set(t) <= set("ABCDEFGHIJ") for t in (wanted, got)) and wanted != gold + answer
    return _EQUAL if several and sorted(wanted) == sorted(got) and (wanted, got) != (gold, answer) else None


_SEPARATORS = re.compile(r"[\s,;(){}]|and")


def _text(gold: str, answer: str, left: Reading | None, right: Reading | None) -> Decision | None:
    """Words: equal when they are the same, different when both are one word or the gold is a number, else open."""
    if left is not None and _is_arithmetic(left) and left.node != number(0) and _no_number(answer):
        return _DIFFERENT
    if _squeezed(gold) == _squeezed(answer):
        return _EQUAL
    wanted, got = words(gold), words(answer)
    if wanted and wanted == got and not re.search(r"[\d+*/^=<>\\-]", gold.replace("\\text", "")):
        return _EQUAL
    one_word = wanted.isalpha() and got.isalpha() and left is None and right is None
    if one_word and wanted[:4] != got[:4]:
        return _DIFFERENT
    return None
