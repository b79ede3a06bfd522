"""Texts as arrays of hashed tokens, a block at a time: what duplicates and decontamination count in."""

from __future__ import annotations

import functools
import hashlib
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain, compress
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from curation.ascii_tokens import COMMAND, find
from curation.normalise import spelled, tokens_of

U64 = npt.NDArray[np.uint64]
I64 = npt.NDArray[np.int64]

BLOCK_CHARACTERS = 200_000  # of text per block, 15 ms of reading; its arrays stay in the caches of a core
_PLACE_BITS = 16  # of the table of special tokens: 200 of them find places of their own at the second try or so
_REMEMBERED = 1_000_000  # tokens whose hashes are kept, about 150 MB
BASE = 0x9E3779B97F4A7C15  # 2^64 / golden ratio, odd, so that it has an inverse modulo 2^64: Knuth's multiplicative hash
_FACTOR = np.uint64(BASE)
_SHIFT = np.uint64(29)
_INVERSE = pow(BASE, -1, 2**64)
_COMMAND = np.uint64(0xBF58476D1CE4E5B9)  # tells the key of a command from that of a word; no short sum of powers of BASE


class Hashed(NamedTuple):
    hashes: U64  # of all tokens of all rows, row after row
    starts: I64  # where each row's tokens start; one longer than the rows


class Reading(NamedTuple):
    tokens: Hashed
    letters: U64  # of each row, a sum over its letters and digits: equal where only spaces, signs or places differ


class Hashes(dict[str, int]):
    """Token -> 64-bit hash, the same in every process and on every machine."""

    def __init__(self, hash_token: Callable[[str], int]) -> None:
        self.hash_token = hash_token

    def __missing__(self, token: str) -> int:
        if len(self) >= _REMEMBERED:
            self.clear()
        value = self[token] = self.hash_token(token)
        return value


class Reader:
    """Reads texts into hashed tokens.

    The hash of a token is that of its letters, without the backslash of a command, and two bits that `hash_token` sets for all
    tokens of a kind (curation.ascii_tokens); `hash_token` is asked about each of the `special` ones, for which that is not so.
    """

    def __init__(self, hash_token: Callable[[str], int], special: Iterable[str] = ()) -> None:
        self.table = Hashes(hash_token)
        self.bits = np.array([hash_token(token) % 4 for token in ("zz", r"\zz", "7", "=")], np.uint64)
        known = {_key(token): hash_token(token) for token in special}
        self.spread, self.keys, self.values = _scattered(known)

    def read(self, texts: Sequence[str]) -> Reading:
        """The tokens of each text; what is not ASCII goes by way of the regular expression."""
        plain = list(map(spelled, texts))
        ascii_ = np.fromiter(map(str.isascii, plain), np.bool_, len(plain))
        if ascii_.all():
            return self._by_bytes(plain)
        parts = [self._by_bytes(list(compress(plain, ascii_))), self._by_tokens(list(compress(plain, ~ascii_)))]
        starts = np.concatenate([parts[0].tokens.starts[:-1], parts[1].tokens.starts[:-1] + len(parts[0].tokens.hashes)])
        lengths = np.concatenate([np.diff(part.tokens.starts) for part in parts])
        order = np.argsort(np.concatenate([np.flatnonzero(ascii_), np.flatnonzero(~ascii_)]))
        hashes = np.concatenate([part.tokens.hashes for part in parts])[within(starts[order], lengths[order])]
        ends = np.concatenate([[0], np.cumsum(lengths[order])])
        return Reading(Hashed(hashes, ends), np.concatenate([part.letters for part in parts])[order])

    def _by_tokens(self, plain: Sequence[str]) -> Reading:
        found = list(map(tokens_of, plain))
        return Reading(hashed(found, self.table), _letters(list(map("".join, found))))

    def _by_bytes(self, plain: Sequence[str]) -> Reading:
        text = "".join(f"{one}\n" for one in plain).encode("ascii")
        found = find(text)
        commands = found.kinds == COMMAND
        word = stretch_hashes(text, found.starts + commands, found.ends)
        hashes = mix(word) >> np.uint64(2) << np.uint64(2) | self.bits[found.kinds]
        key = word + commands * _COMMAND
        at = _place(key, self.spread)
        hashes = np.where(self.keys[at] == key, self.values[at], hashes)
        firsts = np.concatenate([[0], np.cumsum([len(one) + 1 for one in plain])])
        codes = np.frombuffer(text, np.uint8).astype(np.intp)  # by an index of bytes numpy takes twice as long
        letters = np.add.reduceat(_OF_CHARACTER[codes], firsts[:-1]) if plain else np.zeros(0, np.uint64)
        return Reading(Hashed(hashes, np.searchsorted(found.starts, firsts)), letters)


def _scattered(known: dict[int, int]) -> tuple[np.uint64, U64, U64]:
    """A table that has each key, and its value, at its `_place`, and the factor by which they have places of their own.

    A search among sorted keys takes four times as long. An empty place has the key 0, which no token has.
    """
    keys = np.array([*known], np.uint64)
    factors = (np.uint64(pow(BASE, power, 2**64)) for power in itertools.count(1))
    spread = next(factor for factor in factors if len(np.unique(_place(keys, factor))) == len(keys))
    table = np.zeros((2, 1 << _PLACE_BITS), np.uint64)
    table[:, _place(keys, spread)] = keys, np.array([*known.values()], np.uint64)
    return spread, table[0], table[1]


def _place(keys: U64, spread: np.uint64) -> U64:
    return keys * spread >> np.uint64(64 - _PLACE_BITS)


def _key(token: str) -> int:
    return (_stretch(token.lstrip("\\")) + token.startswith("\\") * int(_COMMAND)) % 2**64


def hash_word(word: str) -> int:
    """64-bit hash of a word: what `Reader` has for one in ASCII."""
    return int(mix(np.array([_stretch(word)], np.uint64))[0])


def _stretch(word: str) -> int:
    """As `stretch_hashes`, of one word."""
    value = 0
    for byte in reversed(word.encode("utf-8", "surrogatepass")):
        value = (value * BASE + byte) % 2**64
    return value


def stretch_hashes(text: bytes, starts: I64, ends: I64) -> U64:
    """Of each stretch of `text` the sum of byte_j * B^j modulo 2^64, j from its start, by cumulative sums over the text."""
    held = np.frombuffer(text, np.uint8)
    count = 1 << len(held).bit_length()
    sums = np.concatenate([np.zeros(1, np.uint64), np.cumsum(held * _powers(BASE, count)[: len(held)], dtype=np.uint64)])
    out: U64 = (sums[ends] - sums[starts]) * _powers(_INVERSE, count)[starts]
    return out


@functools.lru_cache(maxsize=8)
def _powers(base: int, count: int) -> U64:
    """1, base, base^2, ... modulo 2^64, by doubling; `count` is a power of two."""
    out = np.ones(count, np.uint64)
    for done in (1 << bit for bit in range(count.bit_length() - 1)):
        out[done : 2 * done] = out[:done] * np.uint64(pow(base, done, 2**64))
    return out


def _letters(words: Sequence[str]) -> U64:
    """Of each word a sum over its letters and digits."""
    lengths = np.fromiter(map(len, words), np.int64, len(words))
    characters = np.frombuffer("".join(words).encode("utf-32-le", "surrogatepass"), np.uint32).astype(np.uint64)
    return row_sums(_of_characters(characters), np.concatenate([[0], np.cumsum(lengths)]))


def _of_characters(codes: U64) -> U64:
    """0 for the signs of ASCII: among its signs not every one is part of a token, its letters and digits all are."""
    return np.where(_IS_SIGN[np.minimum(codes, 128)], np.uint64(0), mix(codes))


def hash_text(text: str) -> int:
    """64-bit BLAKE2b of `text`."""
    return int.from_bytes(hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little")


def only(every: Hashed, bit: int) -> Hashed:
    """The tokens whose hash has `bit` set."""
    wanted = np.flatnonzero(every.hashes & np.uint64(bit))
    return Hashed(every.hashes[wanted], np.searchsorted(wanted, every.starts))


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
    count = 1 << len(values).bit_length()
    sums = row_sums(mix(values) * _powers(BASE, count)[: len(values)], starts)
    out: U64 = sums * _powers(_INVERSE, count)[starts[:-1]] * _FACTOR  # as if each row began at the first power
    return out


def mix(values: U64) -> U64:
    """A bijection of 64-bit numbers that spreads every bit (the finaliser of SplitMix64)."""
    mixed = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    out: U64 = mixed ^ (mixed >> np.uint64(31))
    return out


_IS_SIGN = np.array([not chr(code).isalnum() for code in range(128)] + [False])
_OF_CHARACTER = _of_characters(np.arange(256, dtype=np.uint64))
