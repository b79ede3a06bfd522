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
_SIGNS = bytes(chr(code) in "+*/=<>^_|()[]{}%" for code in range(256))  # for bytes.translate, which outruns a table of numpy's
_PAD = b"\n\n"  # no token holds a new line


class Found(NamedTuple):
    """Tokens in order."""

    starts: I64  # first byte
    ends: I64  # after the last byte
    kinds: npt.NDArray[np.uint8]


def find(text: bytes) -> Found:
    """The tokens of a lower-case ASCII text that normalise.spelled gave."""
    text = _PAD + text + _PAD
    padded = np.frombuffer(text, np.uint8)
    first, last = np.zeros(len(padded), np.bool_), np.zeros(len(padded), np.bool_)
    letter, digit = padded - np.uint8(ord("a")) < 26, padded - np.uint8(ord("0")) < 10
    _mark_words(padded, letter, first, last)
    _mark_numbers(padded, digit, first, last)
    signs = np.frombuffer(bytearray(text.translate(_SIGNS)), np.bool_)
    _mark_conditional_signs(padded, letter, digit, signs)
    first |= signs
    last |= signs
    starts = np.flatnonzero(first)
    return Found(starts - len(_PAD), np.flatnonzero(last) + 1 - len(_PAD), _KINDS[padded[starts]])


# Below, `a > b` of marks is a and not b in one pass. The padding at both ends holds no mark, so that slices need no care.


def _mark_words(text: Bytes, letter: Marks, first: Marks, last: Marks) -> None:
    """[a-z]+ and \\\\[a-z]+"""
    backslash = text == ord("\\")
    first[1:] |= letter[1:] > (letter | backslash)[:-1]
    first[:-1] |= backslash[:-1] & letter[1:]
    last[:-1] |= letter[:-1] > letter[1:]


def _mark_numbers(text: Bytes, digit: Marks, first: Marks, last: Marks) -> None:
    """\\d+(?:\\.\\d+)? and \\.\\d+: in 1.2.3 a point joins the first two runs of digits, and the last one has its own."""
    changes = np.flatnonzero(digit[1:] != digit[:-1])
    starts, lasts = changes[::2] + 1, changes[1::2]
    pointed = text[starts - 1] == ord(".")
    joined = ~pointed & (text[lasts + 1] == ord(".")) & digit[np.minimum(lasts + 2, len(text) - 1)]
    follows = np.concatenate([[False], joined[:-1]])[: len(joined)]
    first[(starts - pointed)[~follows]] = True
    last[lasts[~joined]] = True


def _mark_conditional_signs(text: Bytes, letter: Marks, digit: Marks, signs: Marks) -> None:
    """A hyphen, a colon, ! and ' count beside certain characters only; they are few, so each is looked at by itself."""

    def word(at: I64) -> Marks:
        marks: Marks = letter[at] | digit[at] | (text[at] == ord("_"))
        return marks

    hyphen, colon, mark, quote = (np.flatnonzero(text == ord(sign)) for sign in "-:!'")
    signs[hyphen] = ~(letter[hyphen + 1] & letter[hyphen + 2])
    signs[colon] = digit[colon - 1] & digit[colon + 1]
    signs[mark] = digit[mark - 1] | (text[mark - 1] == ord(")")) | (letter[mark - 1] > word(mark - 2))
    signs[quote] = word(quote - 1) | np.isin(text[quote - 1], [*b")'"])
