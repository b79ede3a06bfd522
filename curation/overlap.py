"""How much of a question's distinctive text another text holds."""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from curation.shingles import I64, U64, Hashed, mix, runs, within

_SIEVE_BITS = np.uint64(42)  # the 22 highest bits of a hash pick its place in the sieve: 4 MB, in the cache
_PART = 2_000_000  # (row, question) pairs weighed at once
_SPAN = 4  # words; a word of the question is covered where it stands in a run of so many that the row holds too


class Sieve(NamedTuple):
    """A set of hashes, most of whose foreigners are told by one look into 4 MB."""

    hashes: U64  # sorted, distinct
    bits: npt.NDArray[np.bool_]  # false: no hash has these highest bits


class Grams(NamedTuple):
    """Which runs of words which questions hold."""

    hashes: U64  # sorted, distinct
    starts: I64  # where each run's questions start in `questions`
    questions: I64
    total: int  # of questions
    of_question: list[I64]  # places in `hashes` of each question's runs, in order


class Pairs(NamedTuple):
    rows: I64
    questions: I64


def grams(held: Hashed, n: int) -> Grams:
    """The runs of `n` words of some questions."""
    found = runs(held, n)
    question = np.repeat(np.arange(len(held.starts) - 1), np.diff(found.starts))
    pairs = np.unique(np.stack([found.hashes, question.astype(np.uint64)], axis=1), axis=0)
    hashes, starts = np.unique(pairs[:, 0], return_index=True)
    places = np.split(np.searchsorted(hashes, found.hashes), found.starts[1:-1])
    return Grams(hashes, np.append(starts, len(pairs)), pairs[:, 1].astype(np.int64), len(places), places)


def sieve(hashes: U64) -> Sieve:
    """The set of `hashes`."""
    bits = np.zeros(1 << 22, np.bool_)
    bits[hashes >> _SIEVE_BITS] = True
    return Sieve(np.unique(hashes), bits)


def places(hashes: U64, known: Sieve) -> tuple[I64, I64]:
    """Which of `hashes` are in the set, and their places in it."""
    at = np.flatnonzero(known.bits[hashes >> _SIEVE_BITS])
    place = np.searchsorted(known.hashes, hashes[at])
    equal = known.hashes[np.minimum(place, len(known.hashes) - 1)] == hashes[at]
    return at[equal], place[equal]


def shared(found: Hashed, known: Sieve) -> I64:
    """(row, run) of each distinct run that a row of `found` shares with the questions, k x 2, sorted."""
    at, place = places(found.hashes, known)
    row = np.searchsorted(found.starts, at, side="right") - 1
    pairs: I64 = np.unique(np.stack([row, place], axis=1), axis=0)
    return pairs


def rarity(runs_of_rows: I64, known: Grams) -> npt.NDArray[np.float64]:
    """Weight of each run in (0, 1]: 1 / log2 of the number of rows and questions that hold it, but 1 where that is 1 or 2.

    A run of one row and one question weighs 1, a phrase in 30 texts 0.2, in 300 0.12. The logarithm keeps a question visible
    that stands in the pool in fifty variants, which 1 / number would hide.
    """
    holders = np.bincount(runs_of_rows, minlength=len(known.hashes)) + np.diff(known.starts)
    return 1 / np.log2(np.maximum(holders, 2))


def closest(rows: I64, run: I64, known: Grams, weight: npt.NDArray[np.float64], most: int) -> Pairs:
    """For each row the `most` questions with the highest weighted share of runs in the row, rows in order."""
    spread = np.diff(known.starts)
    total = np.bincount(known.questions, np.repeat(weight, spread), minlength=known.total)
    found = [Pairs(np.zeros(0, np.int64), np.zeros(0, np.int64))]
    for part in parts(rows, spread[run], _PART):
        at = run[part]
        code = np.repeat(rows[part], spread[at]) * known.total + known.questions[within(known.starts[at], spread[at])]
        pair, inverse = np.unique(code, return_inverse=True)
        row, question = np.divmod(pair, known.total)
        share = np.bincount(inverse, np.repeat(weight[at], spread[at])) / total[question]
        order = np.lexsort((question, -share, row))
        row, question = row[order], question[order]
        rank = np.arange(len(row)) - np.searchsorted(row, row)
        found.append(Pairs(row[rank < most], question[rank < most]))
    return Pairs(*(np.concatenate(column) for column in zip(*found, strict=True)))


def parts(rows: I64, costs: I64, most: int) -> list[slice]:
    """Slices of the sorted `rows` of costs of about `most` each that never divide a row."""
    chunk = np.cumsum(costs) // most
    cuts = np.unique(np.searchsorted(rows, rows[np.flatnonzero(np.diff(chunk)) + 1]))
    return [slice(a, b) for a, b in pairwise([0, *cuts.tolist(), len(rows)]) if a < b]


def word_weights(runs_of_question: npt.NDArray[np.float64], n: int) -> npt.NDArray[np.float64]:
    """Weight of each word of a question: the mean weight of the runs of `n` words it stands in."""
    ones = np.ones(n)
    weights: npt.NDArray[np.float64] = np.convolve(runs_of_question, ones)
    return weights / np.convolve(np.ones(len(runs_of_question)), ones)


def spans(held: Hashed) -> Hashed:
    """Runs of _SPAN words."""
    return runs(held, _SPAN)


def covered(rows: Hashed, asked: Hashed, sizes: I64, pairs: Pairs) -> npt.NDArray[np.bool_]:
    """For each pair, and each word of its question, whether it stands in a run of _SPAN words that the row holds.

    `rows` and `asked` are the spans of the rows and of the questions, `sizes` the words of each question.
    """
    lengths = np.diff(asked.starts)[pairs.questions]
    spans_asked = asked.hashes[within(asked.starts[pairs.questions], lengths)]
    known = np.sort(_of_row(rows.hashes, np.repeat(np.arange(len(rows.starts) - 1), np.diff(rows.starts))))
    wanted = _of_row(spans_asked, np.repeat(pairs.rows, lengths))
    held = known[np.minimum(np.searchsorted(known, wanted), len(known) - 1)] == wanted if len(known) else wanted != wanted
    ends = np.cumsum(sizes[pairs.questions])
    at = within(ends - sizes[pairs.questions], lengths)[held]
    flags = np.zeros(int(ends[-1]) if len(ends) else 0, np.bool_)
    for place in range(_SPAN):
        flags[at + place] = True
    return flags


def _of_row(hashes: U64, rows: I64) -> U64:
    return mix(hashes + mix(rows.astype(np.uint64)))
