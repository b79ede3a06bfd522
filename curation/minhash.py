"""Texts as hashed words, MinHash signatures folded into LSH bands, and true Jaccard similarities.

MinHash: Broder 1997. Bands: Indyk and Motwani 1998; Leskovec, Rajaraman and Ullman, Mining of Massive Datasets, ch. 3.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from curation.deciding import DECIDES, SPECIAL, WORD, hash_token
from curation.processes import Mapped
from curation.shingles import (
    BLOCK_CHARACTERS,
    I64,
    U64,
    Hashed,
    Reader,
    blocks,
    in_order,
    mix,
    only,
    row_sums,
    runs,
    within,
)

_CERTAINTY = 0.999  # wanted chance that a pair exactly at the threshold shares a band
_STRIP = 1 << 16  # shingles hashed at once: 256 kB, so that they stay in the cache between permutations
_PAIR_SHINGLES = 1 << 20  # shingles compared at once: 8 MB to sort
_HASH_BITS = 40  # of a shingle, beside its pair's number: two of a pair's 200 look alike by chance once in 10^8 pairs


class Plan(NamedTuple):
    """How signatures are made; two texts are compared only under one plan."""

    shingle: int  # words in a run
    bands: int
    factors: npt.NDArray[np.uint32]  # one for each permutation, odd
    shifts: npt.NDArray[np.uint32]


class Rows(NamedTuple):
    """Texts without their letters: 250 bytes for a problem of 50 words."""

    identity: U64  # of all tokens in order
    letters: U64  # of all characters but spaces, in any order: rows that differ in it differ when normalised
    deciding: U64  # of the deciding tokens in any order
    words: npt.NDArray[np.uint32]  # hashes of the words of all rows, row after row
    starts: I64  # where each row's words start; one longer than the rows


def plan(threshold: float, num_perm: int, shingle: int, seed: int) -> Plan:
    """The longest bands that still find a pair at the threshold with probability _CERTAINTY."""
    shapes = ((num_perm // rows, rows) for rows in range(num_perm, 1, -1))
    fits = (s for s in shapes if 1 - (1 - threshold ** s[1]) ** s[0] >= _CERTAINTY)
    bands, rows = next(fits, (num_perm, 1))
    draw = np.random.default_rng(seed)
    factors = draw.integers(0, 2**32, bands * rows, np.uint32) | np.uint32(1)
    return Plan(shingle, bands, factors, draw.integers(0, 2**32, bands * rows, np.uint32))


def read_rows(texts: Sequence[str], block_characters: int = BLOCK_CHARACTERS, mapped: Mapped = map) -> Rows:
    """The texts as numbers, `block_characters` at a time; `mapped` is the map of curation.processes that reads the blocks."""
    return join_rows(mapped(_block_rows, (part for _, part in blocks(texts, block_characters))))


def join_rows(parts: Iterable[Rows]) -> Rows:
    """The rows of all parts, in order."""
    empty = np.zeros(0, np.uint64)
    columns = list(zip(Rows(empty, empty, empty, np.zeros(0, np.uint32), np.zeros(1, np.int64)), *parts, strict=True))
    lengths = np.concatenate([np.diff(starts) for starts in columns[-1]])
    identity, letters, deciding, words = (np.concatenate(column) for column in columns[:-1])
    return Rows(identity, letters, deciding, words, np.concatenate([[0], np.cumsum(lengths)]))


def some_rows(found: Rows, rows: I64) -> Rows:
    """Those of `found` at `rows`."""
    lengths = np.diff(found.starts)[rows]
    words = found.words[within(found.starts[rows], lengths)]
    starts = np.concatenate([[0], np.cumsum(lengths)])
    return Rows(found.identity[rows], found.letters[rows], found.deciding[rows], words, starts)


def _block_rows(texts: list[str]) -> Rows:
    every, letters = _reader().read(texts)
    deciding, words = only(every, DECIDES), only(every, WORD)
    sums = row_sums(mix(deciding.hashes), deciding.starts)
    return Rows(in_order(every.hashes, every.starts), letters, sums, _upper(words.hashes), words.starts)


def _upper(hashes: U64) -> npt.NDArray[np.uint32]:
    return (hashes >> np.uint64(32)).astype(np.uint32)


@functools.cache
def _reader() -> Reader:
    return Reader(hash_token, SPECIAL)


def bands(found: Rows, rows: I64, how: Plan, workers: int = 1) -> U64:
    """len(rows) x bands; two rows equal in one band are a candidate pair."""
    parts = list(_parts(np.diff(found.starts)[rows], _STRIP))
    with ThreadPoolExecutor(workers) as pool:  # numpy lets other threads run while it works on arrays of this size
        done = list(pool.map(lambda part: _bands(_shingles(found, rows[part], how.shingle), how), parts))
    return np.concatenate([np.zeros((0, how.bands), np.uint64), *done])


def _parts(sizes: I64, most: int) -> Iterator[slice]:
    """Slices of about `most` in all, in order."""
    cuts = np.flatnonzero(np.diff(np.cumsum(sizes) // most)) + 1
    edges = [0, *cuts.tolist(), len(sizes)]
    yield from (slice(a, b) for a, b in pairwise(edges) if a < b)


def _shingles(found: Rows, rows: I64, n: int) -> Hashed:
    """Runs of `n` words; a row of fewer words has one shingle, all of them; a row without words has none."""
    lengths = np.diff(found.starts)[rows]
    starts = np.concatenate([[0], np.cumsum(lengths)])
    words = Hashed(found.words[within(found.starts[rows], lengths)].astype(np.uint64), starts)
    every = runs(words, n)
    short = (lengths > 0) & (lengths < n)
    if not short.any():
        return every
    at = every.starts[:-1][short]
    whole = in_order(words.hashes, words.starts)[short]
    return Hashed(np.insert(every.hashes, at, whole), every.starts + np.concatenate([[0], np.cumsum(short)]))


def _bands(shingles: Hashed, how: Plan) -> U64:
    """The least value of each permutation over each row's shingles, folded; every row has a shingle."""
    short = _upper(mix(shingles.hashes))
    width = len(how.factors) // how.bands
    out = np.zeros((len(shingles.starts) - 1, how.bands), np.uint64)
    for number, (factor, shift) in enumerate(zip(how.factors, how.shifts, strict=True)):
        least = np.minimum.reduceat(short * factor + shift, shingles.starts[:-1])
        out[:, number // width] = mix(out[:, number // width] + least)
    return out


def jaccards(found: Rows, pairs: I64, shingle: int, workers: int = 1) -> npt.NDArray[np.float64]:
    """True Jaccard similarity of each pair's shingle sets; pairs is k x 2."""
    parts = list(_parts(np.diff(found.starts)[pairs].sum(axis=1), _PAIR_SHINGLES))
    with ThreadPoolExecutor(workers) as pool:
        return np.concatenate([np.zeros(0), *pool.map(lambda part: _jaccards(found, pairs[part], shingle), parts)])


def _jaccards(found: Rows, pairs: I64, shingle: int) -> npt.NDArray[np.float64]:
    """By one sort of (pair, shingle, side): a shingle of both rows stands beside itself."""
    both = _shingles(found, pairs.T.ravel(), shingle)
    side, pair = np.divmod(np.arange(2 * len(pairs), dtype=np.uint64), np.uint64(len(pairs)))
    place = np.repeat(pair << np.uint64(_HASH_BITS) | side, np.diff(both.starts))
    low = np.uint64(1)
    codes = np.sort(place | mix(both.hashes) >> np.uint64(65 - _HASH_BITS) << low)
    codes = codes[np.concatenate([[True], codes[1:] != codes[:-1]])] if len(codes) else codes
    shared = codes[1:][codes[1:] >> low == codes[:-1] >> low]
    sizes, common = (np.bincount((c >> np.uint64(_HASH_BITS)).astype(np.int64), minlength=len(pairs)) for c in (codes, shared))
    similarity: npt.NDArray[np.float64] = common / np.maximum(sizes - common, 1)
    return similarity


def similarities(texts: Sequence[str], pairs: I64, shingle: int, block_characters: int) -> npt.NDArray[np.float64]:
    """True Jaccard similarity of the shingle sets of pairs of texts; pairs is k x 2."""
    sizes = np.array([len(texts[one]) + len(texts[other]) for one, other in pairs.tolist()], np.int64)
    parts = [_similarities(texts, pairs[part], shingle, block_characters) for part in _parts(sizes, block_characters)]
    return np.concatenate([np.zeros(0), *parts])


def _similarities(texts: Sequence[str], pairs: I64, shingle: int, block_characters: int) -> npt.NDArray[np.float64]:
    rows, index = np.unique(pairs, return_inverse=True)
    found = read_rows([texts[row] for row in rows.tolist()], block_characters)
    return jaccards(found, index.reshape(-1, 2), shingle)
