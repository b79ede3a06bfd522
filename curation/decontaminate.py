"""Rows of a training set that hold a benchmark's question.

The originals' rule (s1 data/decontaminate_util.py, open-r1 scripts/decontaminate.py) drops a row that shares any run of 8
words with a benchmark. It never sees questions of fewer words, and it cries wolf: "relatively prime positive integers find
m + n" is in a third of AIME. Ours asks how much of the benchmark question's distinctive text the row holds: its runs of
words, weighted by their rarity in the pool. Both work on words normalised for LaTeX, spacing and punctuation.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from curation.benchmarks import Benchmark, read_benchmark
from curation.normalise import is_word, join_tokens, normalise_question, tokens, words
from curation.shingles import BLOCK_CHARACTERS, I64, U64, Hashed, Hashes, blocks, hash_text, hashed, only, runs, within

__all__ = ["Benchmark", "Hit", "contamination", "read_benchmark"]


class Hit(NamedTuple):
    benchmark: str
    benchmark_index: int  # row of the question in its benchmark
    question: str  # the benchmark's text
    rule: Literal["exact", "ngram", "short"]
    overlap: str  # the question's words that the row holds too, in order, gaps shown as ...
    score: float  # how much of the question's distinctive text the row holds, in [0, 1]


class _Index(NamedTuple):
    """All benchmark questions ("entries") and which runs of n words they hold."""

    names: list[str]
    numbers: list[int]  # row of the entry in its benchmark
    questions: list[str]
    exact: dict[str, int]  # normalised question -> first such entry
    grams: U64  # sorted, distinct
    sieve: npt.NDArray[np.bool_]  # by the 22 highest bits of a gram; false: surely not among them
    starts: I64  # where each gram's entries start in `entries`
    entries: I64
    short: dict[int, dict[int, list[int]]]  # words in the question -> hash of them -> entries


def contamination(
    texts: Sequence[str],
    benchmarks: Sequence[Benchmark],
    *,
    n: int = 8,
    rule: Literal["coverage", "ngram"] = "coverage",
    min_coverage: float = 0.5,
    block_characters: int = BLOCK_CHARACTERS,
) -> list[Hit | None]:
    """For each row the benchmark question that it holds most of, None for a clean row.

    Both rules flag a row whose normalised text is a question, and a row that is little more than a question of fewer than
    `n` words. "ngram", the originals' rule, flags every row that shares a run of `n` words; "coverage" those where the shared
    runs, weighted by log(texts / texts that hold the run), are `min_coverage` or more of the question's. Ties go to the
    question that comes first. `block_characters` bounds the memory and does not change the result.
    """
    index = _index(benchmarks, n)
    direct: dict[int, tuple[int, Literal["exact", "short"]]] = {}
    rows, grams = _scan(texts, index, n, block_characters, direct)
    best, score = _best(rows, grams, index, len(texts))
    hits: list[Hit | None] = [None] * len(texts)
    least = min_coverage if rule == "coverage" else 0.0
    for row in np.flatnonzero((best >= 0) & (score >= least)).tolist():
        hits[row] = _hit(
            index, int(best[row]), "ngram", _overlap(index.questions[best[row]], texts[row], n), float(score[row])
        )
    for row, (entry, how) in direct.items():
        hits[row] = _hit(index, entry, how, " ".join(words(index.questions[entry])), 1.0)
    return hits


def _hit(index: _Index, entry: int, rule: Literal["exact", "ngram", "short"], overlap: str, score: float) -> Hit:
    return Hit(index.names[entry], index.numbers[entry], index.questions[entry], rule, overlap, score)


def _hash_token(token: str) -> int:
    return hash_text(token.lstrip("\\")) >> 1 << 1 | is_word(token)


def _index(benchmarks: Sequence[Benchmark], n: int) -> _Index:
    names = [b.name for b in benchmarks for _ in b.questions]
    numbers = [number for b in benchmarks for number in range(len(b.questions))]
    questions = [question for b in benchmarks for question in b.questions]
    held = only(hashed(map(tokens, questions), Hashes(_hash_token)), 1)
    exact: dict[str, int] = {}
    short: dict[int, dict[int, list[int]]] = {}
    lengths = np.diff(held.starts).tolist()
    for entry, question in enumerate(questions):
        exact.setdefault(normalise_question(question), entry)
        if 0 < lengths[entry] < n:
            one = Hashed(held.hashes[held.starts[entry] : held.starts[entry + 1]], np.array([0, lengths[entry]]))
            short.setdefault(lengths[entry], {}).setdefault(int(runs(one, lengths[entry]).hashes[0]), []).append(entry)
    exact.pop("", None)
    found = runs(held, n)
    entry_of = np.repeat(np.arange(len(questions)), np.diff(found.starts))
    pairs = np.unique(np.stack([found.hashes, entry_of.astype(np.uint64)], axis=1), axis=0)
    grams, starts = np.unique(pairs[:, 0], return_index=True)
    sieve = np.zeros(1 << 22, np.bool_)
    sieve[grams >> _SIEVE] = True
    entries = pairs[:, 1].astype(np.int64)
    return _Index(names, numbers, questions, exact, grams, sieve, np.append(starts, len(entries)), entries, short)


_SIEVE = np.uint64(42)


def _scan(
    texts: Sequence[str],
    index: _Index,
    n: int,
    block_characters: int,
    direct: dict[int, tuple[int, Literal["exact", "short"]]],
) -> tuple[I64, I64]:
    """(row, gram) for each distinct run that a row shares with the index, in order of rows; fills `direct`."""
    table = Hashes(_hash_token)
    found = [np.zeros((0, 2), np.int64)]
    for first, block in blocks(texts, block_characters):
        split = [tokens(text) for text in block]
        held = only(hashed(split, table), 1)
        short = _short_copies(held, split, index, n)
        for row, row_tokens in enumerate(split):
            if (entry := index.exact.get(join_tokens(row_tokens))) is not None:
                direct[first + row] = entry, "exact"
            elif row in short:
                direct[first + row] = short[row], "short"
        found.append(_shared(runs(held, n), index) + np.array([first, 0]))
    rows, grams = np.concatenate(found).T
    return rows, grams


def _shared(found: Hashed, index: _Index) -> I64:
    at = np.flatnonzero(index.sieve[found.hashes >> _SIEVE])
    gram = np.searchsorted(index.grams, found.hashes[at])
    known = index.grams[np.minimum(gram, len(index.grams) - 1)] == found.hashes[at]
    row = np.searchsorted(found.starts, at[known], side="right") - 1
    shared: I64 = np.unique(np.stack([row, gram[known]], axis=1), axis=0)
    return shared


def _best(rows: I64, grams: I64, index: _Index, texts: int) -> tuple[I64, npt.NDArray[np.float64]]:
    """For each row the entry with the highest weighted share of its grams in the row, and that share; -1 where none."""
    best, score = np.full(texts, -1, np.int64), np.zeros(texts)
    spread = np.diff(index.starts)
    holders = np.bincount(grams, minlength=len(index.grams)) + spread
    weight = np.log((texts + len(index.questions) + 1) / np.maximum(holders, 1))
    total = np.bincount(index.entries, np.repeat(weight, spread), minlength=len(index.questions))
    for part in _parts(rows, spread[grams]):
        gram = grams[part]
        entry = index.entries[within(index.starts[gram], spread[gram])]
        code = np.repeat(rows[part], spread[gram]) * len(index.questions) + entry
        pair, inverse = np.unique(code, return_inverse=True)
        row, entry = np.divmod(pair, len(index.questions))
        share = np.bincount(inverse, np.repeat(weight[gram], spread[gram])) / total[entry]
        order = np.lexsort((entry, -share, row))
        row, at = np.unique(row[order], return_index=True)
        best[row], score[row] = entry[order][at], np.minimum(share[order][at], 1.0)
    return best, score


def _parts(rows: I64, costs: I64) -> list[slice]:
    """Slices of the sorted `rows` of about _PART costs each that never divide a row."""
    chunk = np.cumsum(costs) // _PART
    cuts = np.flatnonzero(np.diff(chunk) > 0) + 1
    cuts = np.unique(np.searchsorted(rows, rows[cuts])) if len(cuts) else cuts
    edges = [0, *cuts.tolist(), len(rows)]
    return [slice(a, b) for a, b in pairwise(edges) if a < b]


_PART = 2_000_000


def _short_copies(held: Hashed, split: list[list[str]], index: _Index, n: int) -> dict[int, int]:
    """Rows of a block that are little more than a question of fewer than n words -> its entry."""
    copies: dict[int, int] = {}
    lengths = np.diff(held.starts)
    for size, known in sorted(index.short.items(), reverse=True):
        found = runs(held, size)
        at = np.flatnonzero(np.isin(found.hashes, np.fromiter(known, np.uint64)))
        rows = np.searchsorted(found.starts, at, side="right") - 1
        for row, gram in zip(rows.tolist(), found.hashes[at].tolist(), strict=True):
            if row not in copies and lengths[row] <= size + _WRAPPING:
                same = [e for e in known[gram] if _wraps(split[row], tokens(index.questions[e]))]
                if same:
                    copies[row] = same[0]
    return copies


_WRAPPING = 16  # "please reason step by step, and put your final answer within \\boxed{}" and a few words more


def _wraps(row: list[str], question: list[str]) -> bool:
    """Whether `row` is `question` with nothing but words around it: a number or a symbol more is another problem."""
    row, question = [t.lstrip("\\") for t in row if t not in "{}"], [t.lstrip("\\") for t in question if t not in "{}"]
    for at in range(len(row) - len(question) + 1):
        if row[at : at + len(question)] == question:
            return all(len(t) > 1 and t.isalpha() for t in row[:at] + row[at + len(question) :])
    return False


def _overlap(question: str, text: str, n: int) -> str:
    held, wanted = words(text), words(question)
    known = {tuple(held[i : i + n]) for i in range(len(held) - n + 1)}
    covered = {i + k for i in range(len(wanted) - n + 1) if tuple(wanted[i : i + n]) in known for k in range(n)}
    shown = [(w if i in covered else "...") for i, w in enumerate(wanted)]
    return " ".join(w for i, w in enumerate(shown) if w != "..." or shown[i - 1 : i] != ["..."])
