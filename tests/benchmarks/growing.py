"""A million problem texts out of a few thousand: templates, edits that leave a question what it is, and number twins.

An original is a text of the given files with other numbers, or the first sentences of one and the last of another. Without
files the texts are put together from the sentences below.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from curation.benchmarks import questions
from curation.files import read_rows
from curation.normalise import normalise_question

NAMES = "Ada Bo Chen Dara Emre Fadi Gita Hugo Ines Jonas Kofi Lena Mika Nadia Omar Priya Quinn Rosa Sami Tara".split()  # noqa: SIM905
THINGS = "apples marbles pencils stickers tickets cookies books stamps shells coins buttons ribbons candles maps".split()  # noqa: SIM905
PLACES = "market harbour library garden station museum bakery stadium theatre farm castle workshop school village".split()  # noqa: SIM905
KINDS = "early quiet narrow silver distant wooden gentle crowded ancient frozen yellow broken curious heavy golden modern".split()  # noqa: SIM905
SENTENCES = (
    "{name} buys 3 {kind} {things} at the {kind} {place} before noon.",
    "On the way to the {kind} {place}, {name} gives 5 {things} to a {kind} friend and keeps the rest in a {kind} box.",
    "Every {kind} ticket costs 4 dollars, and the {kind} {place} adds a fee of 2 dollars for each visit.",
    "Later that day {name} finds 7 more {kind} {things} near the {kind} river.",
    "Let $x$ be the number of {kind} {things}, so that $3x + 2 = 5x - 4$ holds at the {kind} {place}.",
)
QUESTIONS = (
    "How many {things} does {name} have when the {kind} {place} closes?",
    "What does {name} pay for the {things} at the {kind} {place}?",
    "Find the value of $x$ for which {name} leaves the {kind} {place} with no {things}.",
)
# Words that another word cannot replace without changing the question; the edits leave them alone.
_QUANTITY = re.compile(
    r"\b(?:zero|one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|\w+teen|twenty|thirty|forty|fifty|\w+ty|hundred|thousand"
    r"|half|\w*double\w*|twice|third\w*|quarter\w*|fourth\w*|fifth\w*|sixth\w*|first|second|last|final|\w+est|most|more|less|fewer|\w*er|above|below|under|before|after"
    r"|minim\w+|maxim\w+|\w*creas\w*|sum|total|altogether|product|differen\w+|quotient|ratio|remainder|mean|average|median|mode|range|odd"
    r"|even|prime|composite|\w*negative|positive|same|equal\w*|identical|distinct|\w*integers?|\w*rational|real|complex|not|never|without"
    r"|except|excluding|only|exactly|each|every|perimeter|circumference|area|volume|radius|diameter|base|height|width|length|squares?"
    r"|squared|cubed?|cubes|left|right|inside|outside|million|least|exceed\w*|triples?|cannot|doesn|isn|don"
    r"|dozens?|scores?|hundreds|thousands|millions|[bt]illions?|(?:quadru|quintu)ples?d?"
    r"|(?:fif|six|seven|eigh|nin|ten|eleven|twelf|\w+teen|\w+tie|hundred|thousand|million)ths?)\b",
    re.IGNORECASE,
)
_WORD = re.compile(r"(?<![\\{$^_\w])[a-z]{5,}(?![\w}$])")
_LITTLE = re.compile(r" (?:the|that|then|of|also|just) ")
_NUMBER = re.compile(r"\d+")
_SENTENCE = re.compile(r"(?<=[.?!]) +")


class Planted(NamedTuple):
    texts: list[str]
    kind: list[str]  # of each row: original, twin, or the kind of edit
    source: list[int]  # row that this one was made from; its own for an original
    root: list[int]  # the first row that asks the same question, by how the rows were made


def read_texts(files: Sequence[Path]) -> list[str]:
    """The problems of some files, in order."""
    return [text for file in files for text in questions(list(read_rows(file)), file.name)]


def plant(rows: int, seed: int, real: Sequence[str] = ()) -> Planted:
    """Half originals or more, a quarter copies with one edit, a quarter number twins, each after its source."""
    draw = random.Random(seed)
    planted = Planted([], [], [], [])
    first: dict[str, int] = {}
    originals: list[int] = []
    for row in range(rows):
        role = draw.random() if row > rows // 4 else 0.0
        source = row if role <= 1 / 3 else draw.choice(originals)
        name = "original" if source == row else "twin" if role > 2 / 3 else draw.choice(list(EDITS))
        text = _original(draw, real) if source == row else _changed(name, planted.texts[source], draw)
        if source == row:
            originals.append(row)
        fresh = name in ("original", "twin")
        root = first.setdefault(normalise_question(text), row) if fresh else planted.root[source]
        for column, value in zip(planted, (text, name, source, root), strict=True):
            column.append(value)  # type: ignore[attr-defined]
    return planted


def originals(rows: int, seed: int, real: Sequence[str]) -> Iterator[str]:
    """Texts without planted copies."""
    draw = random.Random(seed)
    return (_original(draw, real) for _ in range(rows))


def _original(draw: random.Random, real: Sequence[str]) -> str:
    text = draw.choice(real) if real else _made(draw)
    if real and draw.random() < 0.5:
        head, tail = _SENTENCE.split(text), _SENTENCE.split(draw.choice(real))
        text = " ".join([*head[: (len(head) + 1) // 2], *tail[len(tail) // 2 :]])
    return _NUMBER.sub(lambda _: str(draw.randint(2, 999)), text)


def _made(draw: random.Random) -> str:
    lines = [*draw.sample(SENTENCES, draw.randint(1, 4)), draw.choice(QUESTIONS)]
    name, things = draw.choice(NAMES), draw.choice(THINGS)
    return " ".join(_filled(line, draw).format(name=name, things=things, place=draw.choice(PLACES)) for line in lines)


def _filled(line: str, draw: random.Random) -> str:
    while "{kind}" in line:
        line = line.replace("{kind}", draw.choice(KINDS), 1)
    return line


def _changed(name: str, text: str, draw: random.Random) -> str:
    return _twin(text, draw) if name == "twin" else EDITS[name](text, draw)


def _twin(text: str, draw: random.Random) -> str:
    places = list(_NUMBER.finditer(text))
    if not places:
        return f"{text} Add {draw.randint(2, 999)} to it."
    at = draw.choice(places)
    return f"{text[: at.start()]}{int(at[0]) % 10**6 + draw.randint(1, 50)}{text[at.end() :]}"


def _edited(text: str, draw: random.Random, edit: Callable[[str], str], times: int = 1) -> str:
    """`edit` at words that do not decide the answer; at the end of the text where it has none."""
    for _ in range(times):
        protected = [m.span() for m in _QUANTITY.finditer(text)]
        places = [m for m in _WORD.finditer(text) if m.span() not in protected]
        if not places:
            return f"{text} Please."
        at = draw.choice(places)
        text = text[: at.start()] + edit(at[0]) + text[at.end() :]
    return text


def _drop(text: str, draw: random.Random) -> str:
    return _LITTLE.sub(" ", text, count=1) if _LITTLE.search(text) else _edited(text, draw, lambda word: "")


def _retype(text: str, draw: random.Random) -> str:
    text = re.sub(r"(?<!\\)\$(?=[^\s\d])([^$]*[^$\s\\])\$(?!\d)", r"\\(\1\\)", text).replace("\\frac", "\\dfrac")
    return f"  {text[:1].lower()}{text[1:]}".replace(", ", " ,  ")


def _move(text: str, draw: random.Random) -> str:
    parts = _SENTENCE.split(text)
    return " ".join([*parts[1:-1], parts[0], parts[-1]]) if len(parts) > 2 else text.replace(". ", ".\n")


EDITS: dict[str, Callable[[str, random.Random], str]] = {
    "retyped": _retype,
    "one word replaced": lambda text, draw: _edited(text, draw, lambda word: "plain" + word),
    "two words replaced": lambda text, draw: _edited(text, draw, lambda word: "plain" + word, 2),
    "word dropped": _drop,
    "word inserted": lambda text, draw: _edited(text, draw, lambda word: f"very {word}"),
    "typing error": lambda text, draw: _edited(text, draw, lambda word: word[0] + word[2] + word[1] + word[3:]),
    "sentence put before": lambda text, draw: f"Solve the following problem. {text}",
    "sentence put after": lambda text, draw: f"{text} Show your work, please.",
    "sentence moved": _move,
}
