"""The tokens that decide a question's answer: what tells a near duplicate from a number twin.

Two questions that share 95 percent of their words are one question unless a number, a symbol, a sign or a word such as
"least", "odd" or "without" differs. The tools that do not look (datatrove, text-dedup, rensa) merge 75 to 95 percent of
such twins.
"""

from __future__ import annotations

import re

from curation.normalise import is_word, tokens
from curation.shingles import hash_text

# The two lowest bits of a token's hash say what the token is good for.
WORD = 1  # part of the word n-grams
DECIDES = 2  # part of what must agree

_NUMBERS = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen"
    " eighteen nineteen twenty"
)
# Words of one line mean the same to an answer; words of different lines do not.
_DECIDING = """
twice double doubled doubles
thrice triple tripled triples
half halved halves
third thirds
quarter quarters fourth fourths
first
second
last final
least smallest minimum minimal lowest fewest shortest youngest
greatest largest maximum maximal highest most biggest longest oldest
more greater larger bigger longer taller older above exceeds
less fewer smaller shorter younger below under
increase increases increased increasing
decrease decreases decreased decreasing
sum total altogether
product
difference
quotient
ratio
remainder
average mean
median
mode
range
odd
even
prime
composite
positive
negative
nonnegative
integer integers
rational
irrational
real
complex
not no never cannot isnt doesnt dont
without excluding except
and
or
only exactly
each every
perimeter
circumference
area
volume
radius
diameter
base
height
width
length
square squares squared
cube cubes cubed
left
right
before
after
inside
outside
hundred
thousand
million
"""
_MEANING = {word: str(number) for number, word in enumerate(_NUMBERS.split())} | {
    word: line.split()[0] for line in _DECIDING.strip().split("\n") for word in line.split()
}
_SPELLING = frozenset("{}()|_")  # brackets move with LaTeX style and asides; what stands in them is compared
_ARTICLES = frozenset("ai")  # single letters that are mostly words
_SENTENCE_END = re.compile(r"[.?!;\n]\s")


def deciding(text: str) -> list[str]:
    """The tokens of `text` that decide its answer, in order, in one spelling of each."""
    return [_MEANING.get(t, t) for t in tokens(text) if _decides(t)]


def _decides(token: str) -> bool:
    if token.isalpha() and token.isascii():
        return token in _MEANING or (len(token) == 1 and token not in _ARTICLES)
    return not token.isalpha() and token not in _SPELLING


def hash_token(token: str) -> int:
    """Hash of a token with the bits WORD and DECIDES; words of one meaning ("three", "3") have one hash."""
    word = WORD if is_word(token) else 0
    decides = DECIDES if _decides(token) else 0
    return hash_text(_MEANING.get(token, token).lstrip("\\")) >> 2 << 2 | word | decides


def same_order(one: str, other: str) -> bool:
    """Whether the deciding tokens agree in order, but for whole sentences that moved.

    "5 pears and 3 figs" and "3 pears and 5 figs" hold the same tokens and differ here.
    """
    return deciding(one) == deciding(other) or _by_sentence(one) == _by_sentence(other)


def _by_sentence(text: str) -> list[list[str]]:
    return sorted(found for sentence in _SENTENCE_END.split(text) if (found := deciding(sentence)))
