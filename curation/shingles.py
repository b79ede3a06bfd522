"""Texts as arrays of hashed tokens, a block at a time: what duplicates and decontamination count in."""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from curation.normalise import spelled, tokens_of

U64 = npt.NDArray[np.uint64]
I64 = npt.NDArray[np.int64]

BLOCK_CHARACTERS = 500_000  # of text per block, 50 ms of reading; its arrays stay under 30 MB
_REMEMBERED = 1_000_000  # tokens whose hashes are kept, about 150 MB
_FACTOR = np.uint64(0x9E3779B97F4A7C15)  # 2^64 / golden ratio, odd: Knuth's multiplicative hash
_SHIFT = np.uint64(29)


class Hashed(NamedTuple):
    hashes: U64  # of all tokens of all rows, row after row
    starts: I64  # where each row's tokens start; one longer than the rows


class Reading(NamedTuple):
    tokens: Hashed
    letters: U64  # of each row, a sum over the characters of its tokens: equal where only spaces or places differ


class Hashes(dict[str, int]):
    """Token -> 64-bit hash, the same in every process and on every machine."""

    def __init__(self, hash_token: Callable[[str], int]) -> None:
        self.hash_token = hash_token

    def __missing__(self, token: str) -> int:
        if len(self) >= _REMEMBERED:
            self.clear()
        value = self[token] = self.hash_token(token)
        return value


class Vocabulary(dict[str, int]):
    """Stretch of spelled text between spaces -> its number. Each is read into hashed tokens once, while it is remembered."""

    def __init__(self, hash_token: Callable[[str], int]) -> None:
        self.table = Hashes(hash_token)
        self.hashes = array("Q")  # of all tokens of all stretches, in the order of their numbers
        self.starts = array("q", [0])
        self.letters = array("Q")  # of each stretch
        self.fresh: list[str] = []  # stretches with a number but no tokens yet

    def __missing__(self, stretch: str) -> int:
        number = self[stretch] = len(self)
        self.fresh.append(stretch)
        return number

    def read(self, texts: Sequence[str]) -> Reading:
        if len(self) >= _REMEMBERED:
            self.clear()
            del self.hashes[:], self.starts[1:], self.letters[:]
        stretches = [spelled(text).split() for text in texts]
        counts = np.fromiter(map(len, stretches), np.int64, len(stretches))
        numbers = np.fromiter(map(self.__getitem__, chain.from_iterable(stretches)), np.int64, int(counts.sum()))
        self._learn()
        rows = np.concatenate([[0], np.cumsum(counts)])
        starts = np.frombuffer(self.starts, np.int64)
        first = starts[numbers]
        lengths = starts[numbers + 1] - first
        ends = np.concatenate([[0], np.cumsum(lengths)])
        hashes = np.frombuffer(self.hashes, np.uint64)[within(first, lengths)]
        return Reading(Hashed(hashes, ends[rows]), row_sums(np.frombuffer(self.letters, np.uint64)[numbers], rows))

    def _learn(self) -> None:
        """Read the fresh stretches, all at once: one call for each costs more than its tokens."""
        found = list(map(tokens_of, self.fresh))
        self.fresh.clear()
        self.hashes.extend(map(self.table.__getitem__, chain.from_iterable(found)))
        lengths = np.fromiter(map(len, found), np.int64, len(found))
        self.starts.frombytes((self.starts[-1] + np.cumsum(lengths)).tobytes())
        self.letters.frombytes(_letters(list(map("".join, found))).tobytes())


def _letters(words: Sequence[str]) -> U64:
    """Of each word a sum over its characters but for backslashes."""
    lengths = np.fromiter(map(len, words), np.int64, len(words))
    characters = np.frombuffer("".join(words).encode("utf-32-le", "surrogatepass"), np.uint32).astype(np.uint64)
    values = np.where(characters == ord("\\"), np.uint64(0), mix(characters))
    return row_sums(values, np.concatenate([[0], np.cumsum(lengths)]))


def hash_text(text: str) -> int:
    """64-bit BLAKE2b of `text`."""
    return int.from_bytes(hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little")


def only(every: Hashed, bit: int) -> Hashed:
    """The tokens whose hash has `bit` set."""
    wanted = (every.hashes & np.uint64(bit)) != 0
    before = np.concatenate([[0], np.cumsum(wanted)])
    return Hashed(every.hashes[wanted], before[every.starts])


def blocks(texts: Sequence[str], block_characters: int) -> Iterator[tuple[int, list[str]]]:
    """`texts` in order as (index of the first, texts) of at least `block_characters` characters, but for the last."""
    block: list[str] = []
    first = size = 0
    for row, text in enumerate(texts):
        block.append(text)
        size += len(text)
        if size >= block_characters:
            yield first, block
            block, first, size = [], row + 1, 0
    if block:
        yield first, block


def hashed(rows: Iterable[list[str]], table: Hashes) -> Hashed:
    """The tokens of `rows` as one array of hashes."""
    lists = list(rows)
    starts = np.zeros(len(lists) + 1, np.int64)
    np.cumsum([len(tokens) for tokens in lists], out=starts[1:])
    hashes = np.fromiter(map(table.__getitem__, chain.from_iterable(lists)), np.uint64, count=int(starts[-1]))
    return Hashed(hashes, starts)


def runs(tokens: Hashed, n: int) -> Hashed:
    """Hashes of the runs of `n` tokens within each row; a row of fewer tokens has none."""
    count = max(len(tokens.hashes) - n + 1, 0)
    mixed = np.zeros(count, np.uint64)
    for offset in range(n):
        mixed ^= tokens.hashes[offset : offset + count]
        mixed *= _FACTOR
        mixed ^= mixed >> _SHIFT
    lengths = np.diff(tokens.starts)
    kept = np.maximum(lengths - n + 1, 0)
    starts = np.concatenate([[0], np.cumsum(kept)]).astype(np.int64)
    return Hashed(mixed[within(tokens.starts[:-1], kept)], starts)


def within(starts: I64, lengths: I64) -> I64:
    """The indices starts[i], ..., starts[i] + lengths[i] - 1 of every i, one after another."""
    ends = np.cumsum(lengths)
    total = int(ends[-1]) if len(ends) else 0
    indices: I64 = np.arange(total) + np.repeat(starts - (ends - lengths), lengths)
    return indices


def row_sums(values: U64, starts: I64) -> U64:
    """Sum modulo 2^64 of each row's values; 0 for an empty row."""
    totals = np.concatenate([np.zeros(1, np.uint64), np.cumsum(values, dtype=np.uint64)])
    sums: U64 = totals[starts[1:]] - totals[starts[:-1]]
    return sums


def in_order(values: U64, starts: I64) -> U64:
    """A hash of each row's values that depends on their order."""
    position = np.arange(len(values)) - np.repeat(starts[:-1], np.diff(starts))
    weights = np.full(int(position.max(initial=0)) + 1, _FACTOR, np.uint64).cumprod(dtype=np.uint64)
    return row_sums(mix(values) * weights[position], starts)


def mix(values: U64) -> U64:
    """A bijection of 64-bit numbers that spreads every bit (the finaliser of SplitMix64)."""
    mixed = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    out: U64 = mixed ^ (mixed >> np.uint64(31))
    return out
