"""A pass over rows in numbers alone: which of them share enough words with benchmark questions to be worth a closer look."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import numpy as np

from curation.normalise import is_word
from curation.overlap import Sieve, places, shared
from curation.processes import in_order
from curation.shingles import I64, U64, Hashed, Reader, Reading, blocks, hash_word, only, runs, within

WORD = 1
_WRAPPING = 16  # words: "please reason step by step, and put your final answer within \\boxed{}" and a few more


class Net(NamedTuple):
    """What a pass over the rows looks for: numbers alone, so that it goes to another process in a millisecond."""

    letters: Sieve  # of whole questions
    short: dict[int, U64]  # words in a question of fewer than n -> hashes of such questions
    grams: Sieve  # runs of n words


class Caught(NamedTuple):
    """Rows worth a closer look."""

    whole: I64  # rows with the letters of a question
    short: I64  # (row, hash as a signed number) of rows that hold the words of a short question and few more
    shared: I64  # (row, run) that the row shares with some entry


def caught(texts: Sequence[str], net: Net, n: int, statement: Callable[[str], str], block_characters: int, workers: int) -> Caught:
    """What the net catches of the `statement` of each text (for whole copies, of the text), in order of the rows."""
    scan = functools.partial(_scan, net=net, n=n, statement=statement)
    sizes = (len(block) for _, block in blocks(texts, block_characters))
    return join(zip(sizes, in_order(scan, (block for _, block in blocks(texts, block_characters)), workers), strict=True))


def join(parts: Iterable[tuple[int, Caught]]) -> Caught:
    """What was caught of all rows, from (rows, what was caught of them) of each part, in order."""
    found = [Caught(np.zeros(0, np.int64), np.zeros((0, 2), np.int64), np.zeros((0, 2), np.int64))]
    first = 0
    for rows, part in parts:
        found.append(Caught(part.whole + first, part.short + np.array([first, 0]), part.shared + np.array([first, 0])))
        first += rows
    return Caught(*(np.concatenate(column) for column in zip(*found, strict=True)))


def of_rows(found: Caught, rows: I64) -> Caught:
    """What was caught of `rows` alone, ascending, by their place among them."""
    place = np.full(max(int(rows.max(initial=-1)), *(int(part.max(initial=-1)) for part in _rows(found))) + 1, -1)
    place[rows] = np.arange(len(rows))
    whole, short, shared = (part[place[of] >= 0] for part, of in zip(found, _rows(found), strict=True))
    at = np.array([0, 1])
    return Caught(place[whole], np.where(at, short, place[short[:, :1]]), np.where(at, shared, place[shared[:, :1]]))


def _rows(found: Caught) -> tuple[I64, I64, I64]:
    return found.whole, found.short[:, 0], found.shared[:, 0]


def _scan(block: list[str], net: Net, n: int, statement: Callable[[str], str]) -> Caught:
    stated = list(map(statement, block))
    found = read(stated)
    cut = [place for place, (text, said) in enumerate(zip(block, stated, strict=True)) if text is not said]
    found.letters[cut] = read([block[place] for place in cut]).letters
    held = only(found.tokens, WORD)
    return Caught(places(found.letters, net.letters)[0], _short_ones(held, net), shared(runs(held, n), net.grams))


def _short_ones(held: Hashed, net: Net) -> I64:
    """(row, hash) of rows that hold a short question's words and at most _WRAPPING more; long questions first."""
    lengths = np.diff(held.starts)
    found = [np.zeros((0, 2), np.int64)]
    for size, known in sorted(net.short.items(), reverse=True):
        rows = np.flatnonzero((lengths >= size) & (lengths <= size + _WRAPPING))
        part = Hashed(held.hashes[within(held.starts[rows], lengths[rows])], np.concatenate([[0], np.cumsum(lengths[rows])]))
        whole = runs(part, size)
        at = np.flatnonzero(np.isin(whole.hashes, known))
        row = rows[np.searchsorted(whole.starts, at, side="right") - 1]
        found.append(np.stack([row, whole.hashes[at].view(np.int64)], axis=1))
    return np.concatenate(found)


def read(texts: list[str]) -> Reading:
    """The tokens of `texts`, hashed; the bit WORD tells the words from the signs."""
    return _reader().read(texts)


@functools.cache
def _reader() -> Reader:
    return Reader(_hash_token)


def _hash_token(token: str) -> int:
    return hash_word(token.lstrip("\\")) >> 2 << 2 | (WORD if is_word(token) else 0)
