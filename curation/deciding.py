"""The tokens that decide a question's answer: what tells a near duplicate from a number twin.

Two questions that share 95 percent of their words are one question unless a number, a symbol, a sign or a word such as
"least", "odd" or "without" differs. The tools that do not look (datatrove, text-dedup, rensa) merge 75 to 95 percent of
such twins.
"""

from __future__ import annotations

import functools
import re
import string
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from itertools import compress, pairwise
from operator import ne

from curation.normalise import is_word, spelled, tokens, tokens_of
from curation.shingles import hash_word

# The two lowest bits of a token's hash say what the token is good for.
WORD = 1  # part of the word n-grams
DECIDES = 2  # part of what must agree

_NUMBERS = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen"
    " eighteen nineteen"
)
_ORDINALS = (
    "fifth sixth seventh eighth ninth tenth eleventh twelfth thirteenth fourteenth fifteenth sixteenth seventeenth eighteenth"
    " nineteenth twentieth thirtieth fortieth fiftieth sixtieth seventieth eightieth ninetieth hundredth thousandth millionth"
)
_TENS = "twenty thirty forty fifty sixty seventy eighty ninety"  # twenty-one is two tokens, and both decide
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
same equal identical
different distinct unequal
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
dozen dozens
score scores
hundred hundreds
thousand thousands
million millions
billion billions
trillion trillions
quadruple quadrupled quadruples
quintuple quintupled quintuples
"""
_FRACTION = frozenset(["/", r"\frac"])
_MEANING = (
    {r"\frac": "/"}
    | {word: str(number) for number, word in enumerate(_NUMBERS.split())}
    | {word: str(10 * number) for number, word in enumerate(_TENS.split(), 2)}
    | {word: ordinal for ordinal in _ORDINALS.split() for word in (ordinal, f"{ordinal}s")}
    | {word: line.split()[0] for line in _DECIDING.strip().split("\n") for word in line.split()}
)
_SPELLING = frozenset([*"{}()[]|_", r"\begin", r"\end"])  # these come and go with LaTeX style and asides
_ARTICLES = frozenset("ai")  # single letters that are mostly words
# Tokens that decide, or do not, otherwise than most of their kind: hash_token has to be asked.
SPECIAL = (*_MEANING, *_SPELLING, *string.ascii_lowercase)
_CAPITALS = re.compile(r"\b[A-Z]{2,}\b")
_LETTERS = re.compile(r"(?<![\\a-zA-Z])[a-zA-Z]+")
_LITTLE_WORDS = "a an the of in on at to is are was were be it its by for with that this these those"
_LITTLE = frozenset(_LITTLE_WORDS.split())
_MATH = re.compile(r"\$(?!\s)([^$]*[^\s$])\$(?!\d)")  # pandoc's rule: in "$5 for $3" the signs are money
_PROSE = re.compile(r"(?<![\\{])\b[a-z]{2,} [a-z]{3,}")  # two words in a row: money after all
_SENTENCE_END = re.compile(r"[.?!;\n]\s")


def deciding(found: Sequence[str]) -> list[str]:
    """Those of `found`, a text's tokens, that decide its answer, in order, in one spelling of each.

    "not" comes with what it denies, and a bracket where it opens before another of these; a fraction's sign is left out,
    since 1/b and \\frac{1}{b} write it at different places.
    """
    return [
        f"not {following}" if _MEANING.get(token) == "not" else _MEANING.get(token, token)
        for token, following in pairwise([*found, ""])
        if (_decides(token) and token not in _FRACTION) or (token in "([" and following and _decides(following))
    ]


@functools.lru_cache(maxsize=10_000)  # 1 MB: signs, numbers and the words of one line of work
def _decides(token: str) -> bool:
    if token.isalpha() and token.isascii():
        return token in _MEANING or (len(token) == 1 and token not in _ARTICLES)
    return not token.isalpha() and token not in _SPELLING


def hash_token(token: str) -> int:
    """Hash of a token with the bits WORD and DECIDES; words of one meaning ("three", "3") have one hash."""
    word = WORD if is_word(token) else 0
    decides = DECIDES if _decides(token) else 0
    return hash_word(_MEANING.get(token, token).lstrip("\\")) >> 2 << 2 | word | decides


def same_question(one: str, other: str, *, golds_agree: bool) -> bool:
    """Whether two texts with the same multiset of deciding tokens ask the same: the second look at a near duplicate.

    They do not where the deciding tokens come in another order ("5 pears and 3 figs", "3 pears and 5 figs"), whole sentences
    that moved aside; where a word that differs is a symbol (AYX for YZX, $ab$ for $ac$); and, unless golds that agree speak
    for them, where one swaps words that both hold ("how many boys" for "how many girls" of a class of boys and girls).
    """
    mine, theirs = _differing(*_unlike(_spelled(one), _spelled(other)))
    if mine == theirs:  # spaces and punctuation apart
        return golds_agree or _same_sentences(one, other, _meanings)
    if deciding(mine) != deciding(theirs) and not _same_sentences(one, other, _placed):
        return False
    lost, gained = _apart(_meanings(mine), _meanings(theirs))
    if not lost and not gained:
        return golds_agree or _same_sentences(one, other, _meanings)
    if _names(lost, one) or _names(gained, other):
        return False
    return golds_agree or not (_holds(other, lost) and _holds(one, gained))


_spelled = functools.lru_cache(maxsize=1_000)(spelled)  # the pairs of one text come one after another


def _unlike(one: str, other: str) -> tuple[list[str], list[str]]:
    """The tokens of two spelled texts between what both begin with and end with, and a token or more on either side.

    Cut at spaces, over which no token reaches.
    """
    most = min(len(one), len(other))
    start = _most(most, lambda size: one[:size] == other[:size])
    end = _most(most - start, lambda size: one[len(one) - size :] == other[len(other) - size :])
    before = cut = max(one.rfind(" ", 0, start), 0)
    while cut and not tokens_of(one[cut:before]):
        cut = max(one.rfind(" ", 0, cut), 0)
    after = last = one.find(" ", len(one) - end) % (len(one) + 1)  # the end where there is none
    while last < len(one) and not tokens_of(one[after:last]):
        last = one.find(" ", last + 1) % (len(one) + 1)
    return tokens_of(one[cut:last]), tokens_of(other[cut : len(other) - (len(one) - last)])


def _most(limit: int, holds: Callable[[int], bool]) -> int:
    """The largest size up to `limit` that `holds`, as every smaller one does."""
    low = 0
    while low < limit:
        middle = (low + limit + 1) // 2
        low, limit = (middle, limit) if holds(middle) else (low, middle - 1)
    return low


def _holds(text: str, words: Iterable[str]) -> bool:
    """Whether one of `words` that is not a little one is a token of `text`; few texts have it among their letters at all."""
    plain = _spelled(text)
    wanted = [word for word in words if word not in _LITTLE and word in plain]
    return bool(wanted) and not set(tokens_of(plain)).isdisjoint(wanted)


def _placed(found: Sequence[str]) -> list[str]:
    """The deciding tokens, each with the token after it: two sentences that swap their numbers are not two that moved."""
    return [f"{t} {following}" for t, following in pairwise([*found, ""]) if _decides(t)]


def _differing(one: list[str], other: list[str]) -> tuple[list[str], list[str]]:
    """What is left without the tokens that both begin with and end with; one more is kept, for "not" and brackets."""
    start, end = _shared(one, other)
    before, after = max(start - 1, 0), max(end - 1, 0)
    return one[before : len(one) - after], other[before : len(other) - after]


def _shared(one: list[str], other: list[str]) -> tuple[int, int]:
    """How many items two lists both begin with, and of the rest both end with."""
    size = min(len(one), len(other))
    start = _first_unlike(one, other, size)
    return start, _first_unlike(reversed(one), reversed(other), size - start)


def _first_unlike(one: Iterable[str], other: Iterable[str], most: int) -> int:
    """How many items the two begin with in common, `most` at most."""
    return next(compress(range(most), map(ne, one, other)), most)


def _apart(one: list[str], other: list[str]) -> tuple[list[str], list[str]]:
    """What either list holds beyond the other, however often."""
    if not one or not other:
        return one, other
    left = Counter(other)
    mine = []
    for item in one:
        if left.get(item):
            left[item] -= 1
        else:
            mine.append(item)
    return mine, list(left.elements())


def _meanings(found: Sequence[str]) -> list[str]:
    return [meaning for token in found if (meaning := _meaning(token))]


@functools.lru_cache(maxsize=10_000)
def _meaning(token: str) -> str:
    """What a word, number or command says; nothing for a sign."""
    return _MEANING.get(token, token.lstrip("\\")) if is_word(token) else ""


def _names(words: Collection[str], text: str) -> bool:
    """Whether one of `words` names something in `text`: in capitals, or in mathematics."""
    capitals = any(len(word) > 1 and word.upper() in text for word in words)
    if capitals and not {name.lower() for name in _CAPITALS.findall(text)}.isdisjoint(words):
        return True
    return any(
        not {run.lower() for run in _LETTERS.findall(formula)}.isdisjoint(words)
        for formula in (_formulas(text) if words else ())
        if any(word in formula.lower() for word in words) and not _PROSE.search(formula)
    )


def _formulas(text: str) -> list[str]:
    if "\\(" in text or "\\)" in text or "\\$" in text:
        text = text.replace("\\$", " ").replace("\\(", "$").replace("\\)", "$")
    return _MATH.findall(text) if "$" in text else []


def _same_sentences(one: str, other: str, read: Callable[[Sequence[str]], list[str]]) -> bool:
    """Whether two texts consist of the same sentences in any order, as `read` sees them; those typed alike need no reading."""
    unlike = _apart(_SENTENCE_END.split(one), _SENTENCE_END.split(other))
    mine, theirs = ([found for sentence in part if (found := read(tokens(sentence)))] for part in unlike)
    return sorted(mine) == sorted(theirs)
