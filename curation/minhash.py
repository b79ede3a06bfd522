"""MinHash signatures folded into LSH bands, and true Jaccard similarities, over blocks of texts.

MinHash: Broder 1997. Bands: Indyk and Motwani 1998; Leskovec, Rajaraman and Ullman, Mining of Massive Datasets, ch. 3.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from curation.deciding import DECIDES, WORD, hash_token
from curation.normalise import tokens
from curation.processes import in_order as mapped
from curation.shingles import I64, U64, Hashed, Hashes, blocks, hashed, in_order, mix, only, row_sums, runs, within

_CERTAINTY = 0.999  # wanted chance that a pair exactly at the threshold shares a band
_STRIP = 1 << 16  # shingles hashed at once: 256 kB, so that they stay in the cache between permutations


class Plan(NamedTuple):
    """How signatures are made; two texts are compared only under one plan."""

    shingle: int  # words in a run
    bands: int
    factors: npt.NDArray[np.uint32]  # one for each permutation, odd
    shifts: npt.NDArray[np.uint32]


class Keys(NamedTuple):
    bands: U64  # rows x bands; equal in one band makes a candidate pair; 0 in rows without words
    identity: U64  # of all tokens in order
    order: U64  # of the deciding tokens in order


def plan(threshold: float, num_perm: int, shingle: int, seed: int) -> Plan:
    """The longest bands that still find a pair at the threshold with probability _CERTAINTY."""
    shapes = ((num_perm // rows, rows) for rows in range(num_perm, 1, -1))
    fits = (s for s in shapes if 1 - (1 - threshold ** s[1]) ** s[0] >= _CERTAINTY)
    bands, rows = next(fits, (num_perm, 1))
    draw = np.random.default_rng(seed)
    factors = draw.integers(0, 2**32, bands * rows, np.uint32) | np.uint32(1)
    return Plan(shingle, bands, factors, draw.integers(0, 2**32, bands * rows, np.uint32))


def keys(texts: Sequence[str], how: Plan, block_characters: int, workers: int = 1) -> Keys:
    """What decides which rows are compared; the agreement in the deciding tokens is part of every band."""
    parts = mapped(partial(_block_keys, how=how), (part for _, part in blocks(texts, block_characters)), workers)
    empty = Keys(np.zeros((0, how.bands), np.uint64), np.zeros(0, np.uint64), np.zeros(0, np.uint64))
    return Keys(*(np.concatenate(column) for column in zip(empty, *parts, strict=True)))


def _block_keys(texts: list[str], how: Plan) -> Keys:
    every = hashed(map(tokens, texts), _table())
    deciding = only(every, DECIDES)
    shingles = _shingles(only(every, WORD), how.shingle)
    folded = _signatures(shingles, how).reshape(len(texts), how.bands, -1)
    bands = np.repeat(row_sums(mix(deciding.hashes), deciding.starts)[:, None], how.bands, axis=1)
    for place in range(folded.shape[2]):
        bands = mix(bands + folded[:, :, place])
    bands[np.diff(shingles.starts) == 0] = 0
    return Keys(bands, in_order(every.hashes, every.starts), in_order(deciding.hashes, deciding.starts))


@functools.cache
def _table() -> Hashes:
    """Hashes of tokens, remembered for as long as the process lives."""
    return Hashes(hash_token)


def _shingles(words: Hashed, n: int) -> Hashed:
    """Runs of `n` words; a row of fewer words has one shingle, all of them; a row without words has none."""
    lengths = np.diff(words.starts)
    short = (lengths > 0) & (lengths < n)
    found = runs(words, n)
    if not short.any():
        return found
    whole = in_order(words.hashes, words.starts)
    at = found.starts[:-1][short]
    starts = found.starts + np.concatenate([[0], np.cumsum(short)])
    return Hashed(np.insert(found.hashes, at, whole[short]), starts)


def _signatures(shingles: Hashed, how: Plan) -> npt.NDArray[np.uint32]:
    """rows x permutations: the least value of each permutation over the row's shingles."""
    filled = np.flatnonzero(np.diff(shingles.starts))
    out = np.zeros((len(shingles.starts) - 1, len(how.factors)), np.uint32)
    short = (mix(shingles.hashes) >> np.uint64(32)).astype(np.uint32)
    first = 0
    while first < len(filled):
        begin = shingles.starts[filled[first]]
        last = max(first + 1, int(np.searchsorted(shingles.starts[filled], begin + _STRIP)))
        rows = filled[first:last]
        strip = short[begin : shingles.starts[rows[-1] + 1]]
        starts = shingles.starts[rows] - begin
        for number, (factor, shift) in enumerate(zip(how.factors, how.shifts, strict=True)):
            out[rows, number] = np.minimum.reduceat(strip * factor + shift, starts)
        first = last
    return out


def similarities(texts: Sequence[str], pairs: I64, shingle: int, block_characters: int) -> npt.NDArray[np.float64]:
    """True Jaccard similarity of each pair's shingle sets; pairs is k x 2."""
    sizes = np.array([len(texts[one]) + len(texts[other]) for one, other in pairs.tolist()], np.int64)
    block_of = np.cumsum(sizes) // block_characters
    cuts = np.flatnonzero(np.diff(block_of)) + 1
    parts = [_jaccard(texts, part, shingle) for part in np.split(pairs, cuts) if len(part)]
    return np.concatenate([np.zeros(0), *parts])


def _jaccard(texts: Sequence[str], pairs: I64, shingle: int) -> npt.NDArray[np.float64]:
    rows, index = np.unique(pairs, return_inverse=True)
    every = hashed((tokens(texts[row]) for row in rows.tolist()), _table())
    sets = _unique(_shingles(only(every, WORD), shingle))
    sizes = np.diff(sets.starts)
    one, other = index.reshape(-1, 2).T
    both = np.concatenate([within(sets.starts[one], sizes[one]), within(sets.starts[other], sizes[other])])
    pair = np.concatenate([np.repeat(np.arange(len(pairs)), sizes[one]), np.repeat(np.arange(len(pairs)), sizes[other])])
    order = np.lexsort((sets.hashes[both], pair))
    hashes, pair = sets.hashes[both][order], pair[order]
    shared = (hashes[1:] == hashes[:-1]) & (pair[1:] == pair[:-1])
    common = np.bincount(pair[1:][shared], minlength=len(pairs))
    return common / np.maximum(sizes[one] + sizes[other] - common, 1)


def _unique(rows: Hashed) -> Hashed:
    """Each row's distinct hashes, sorted."""
    row = np.repeat(np.arange(len(rows.starts) - 1), np.diff(rows.starts))
    order = np.lexsort((rows.hashes, row))
    hashes, row = rows.hashes[order], row[order]
    fresh = np.ones(len(hashes), bool)
    fresh[1:] = (hashes[1:] != hashes[:-1]) | (row[1:] != row[:-1])
    return Hashed(hashes[fresh], np.searchsorted(row[fresh], np.arange(len(rows.starts))))
