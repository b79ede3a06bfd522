"""The tokens of ASCII text by its bytes, a megabyte at a time: what normalise.tokens_of finds with a regular expression.

Tokens of ASCII text depend on two characters before and two after at most, so that comparisons of shifted arrays tell them apart,
at a fifth of the time.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

I64 = npt.NDArray[np.int64]
Bytes = npt.NDArray[np.uint8]
Marks = npt.NDArray[np.bool_]

LETTERS, COMMAND, NUMBER, SIGN = range(4)  # what a token is
_KINDS = np.full(256, SIGN, np.uint8)
_KINDS[ord("a") : ord("z") + 1] = LETTERS
_KINDS[[*b"0123456789."]] = NUMBER
_KINDS[ord("\\")] = COMMAND
_SIGNS = np.zeros(256, np.bool_)
_SIGNS[[*b"+*/=<>^_|()[]{}%"]] = True
_PAD = b"\n\n"  # no token holds a new line


class Found(NamedTuple):
    """Tokens in order."""

    starts: I64  # first byte
    ends: I64  # after the last byte
    kinds: npt.NDArray[np.uint8]


def find(text: bytes) -> Found:
    """The tokens of a lower-case ASCII text that normalise.spelled gave."""
    padded = np.frombuffer(_PAD + text + _PAD, np.uint8)
    first, last = np.zeros(len(padded), np.bool_), np.zeros(len(padded), np.bool_)
    letter, digit = padded - np.uint8(ord("a")) < 26, padded - np.uint8(ord("0")) < 10
    _mark_words(padded, letter, first, last)
    _mark_numbers(padded, digit, first, last)
    signs = _signs(padded, letter, digit)
    first |= signs
    last |= signs
    starts = np.flatnonzero(first)
    return Found(starts - len(_PAD), np.flatnonzero(last) + 1 - len(_PAD), _KINDS[padded[starts]])


def _before(marks: Marks, places: int = 1) -> Marks:
    """Whether the byte so many places before is marked."""
    return np.concatenate([np.zeros(places, np.bool_), marks[:-places]])


def _after(marks: Marks, places: int = 1) -> Marks:
    return np.concatenate([marks[places:], np.zeros(places, np.bool_)])


def _mark_words(text: Bytes, letter: Marks, first: Marks, last: Marks) -> None:
    """[a-z]+ and \\\\[a-z]+"""
    backslash = text == ord("\\")
    first |= (letter & ~_before(letter | backslash)) | (backslash & _after(letter))
    last |= letter & ~_after(letter)


def _mark_numbers(text: Bytes, digit: Marks, first: Marks, last: Marks) -> None:
    """\\d+(?:\\.\\d+)? and \\.\\d+: in 1.2.3 a point joins the first two runs of digits, and the last one has its own."""
    starts, lasts = np.flatnonzero(digit & ~_before(digit)), np.flatnonzero(digit & ~_after(digit))
    pointed = text[starts - 1] == ord(".")
    joined = ~pointed & (text[lasts + 1] == ord(".")) & digit[np.minimum(lasts + 2, len(text) - 1)]
    follows = _before(joined) if len(joined) else joined
    first[(starts - pointed)[~follows]] = True
    last[lasts[~joined]] = True


def _signs(text: Bytes, letter: Marks, digit: Marks) -> Marks:
    """Signs by themselves; a hyphen, a colon, ! and ' count beside certain characters only."""
    found: Marks = _SIGNS[text]
    word = letter | digit | (text == ord("_"))
    closing = text == ord(")")
    quote = text == ord("'")
    found |= (text == ord("-")) & ~(_after(letter) & _after(letter, 2))
    found |= (text == ord(":")) & _before(digit) & _after(digit)
    found |= (text == ord("!")) & (_before(digit | closing) | (_before(letter) & ~_before(word, 2)))
    found |= quote & _before(word | closing | quote)
    return found
