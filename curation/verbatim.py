"""open-r1's rule of contamination to the letter: a run of 8 words, as they are typed, that a benchmark's question has too.

huggingface/open-r1 scripts/decontaminate.py: lower case, any white space is one space, words are what stands between; runs of
8 words, any one shared is enough. Punctuation and LaTeX are part of the words, and a question of fewer words is never found: for
a comparison with sets that were cleaned so. curation.decontaminate is the rule without these holes.

Runs are hashed over the bytes of a block at once: h(run) = (sum of byte_j * B^j over its bytes) / B^start modulo 2^64, which
cumulative sums give for every run of a text by one subtraction. Those in the benchmarks' set are then compared as text.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from curation.benchmarks import Benchmark
from curation.decontaminate import Hit
from curation.overlap import Sieve, places, sieve
from curation.shingles import BLOCK_CHARACTERS, I64, U64, blocks, mix

_BASE = 0x9E3779B97F4A7C15  # odd, so that it has an inverse modulo 2^64
_INVERSE = pow(_BASE, -1, 2**64)
_SPACE, _NEW_LINE = 32, 10


class _Runs(NamedTuple):
    hashes: U64
    rows: I64
    starts: I64  # first byte of each run
    ends: I64


def verbatim_contamination(
    texts: Sequence[str], benchmarks: Sequence[Benchmark], *, n: int = 8, block_characters: int = BLOCK_CHARACTERS
) -> list[Hit | None]:
    """For each row the first question that shares its first shared run of `n` words, None for a clean row.

    The hit's overlap is that run; the score is 1.0, since the rule knows no more or less.
    """
    owner: dict[str, tuple[Benchmark, int]] = {}
    for bench in benchmarks:
        for number, question in enumerate(bench.questions):
            for run in _worded(_line(question), n):
                owner.setdefault(run, (bench, number))
    known = sieve(_hashed("\n".join(owner).encode("utf-8", "surrogatepass"), n).hashes)
    hits: list[Hit | None] = [None] * len(texts)
    for first, block in blocks(texts, block_characters):
        for row, run in _found("\n".join(map(_line, block)).encode("utf-8", "surrogatepass"), known, n):
            if run in owner and hits[first + row] is None:
                bench, number = owner[run]
                hits[first + row] = Hit(bench.name, number, bench.questions[number], "ngram", run, 1.0)
    return hits


def _line(text: str) -> str:
    return " ".join(text.lower().split())


def _worded(line: str, n: int) -> list[str]:
    found = line.split(" ")
    return [" ".join(found[at : at + n]) for at in range(len(found) - n + 1)]


def _found(lines: bytes, known: Sieve, n: int) -> Iterator[tuple[int, str]]:
    """(row, run) of the runs whose hashes are known, in order."""
    every = _hashed(lines, n)
    for at in places(every.hashes, known)[0].tolist():
        yield int(every.rows[at]), lines[every.starts[at] : every.ends[at]].decode("utf-8", "surrogatepass")


def _hashed(lines: bytes, n: int) -> _Runs:
    """The runs of `n` words of lines whose words have one space between them."""
    held = np.frombuffer(lines, np.uint8)
    breaks = np.flatnonzero((held == _SPACE) | (held == _NEW_LINE))
    starts, ends = np.concatenate([[0], breaks + 1]), np.append(breaks, len(held))
    line = np.concatenate([[0], np.cumsum(held[breaks] == _NEW_LINE)])
    whole = np.flatnonzero(line[n - 1 :] == line[: len(line) - n + 1])
    starts, ends, rows = starts[whole], ends[whole + n - 1], line[whole]
    sums = np.concatenate([np.zeros(1, np.uint64), np.cumsum(held * _powers(_BASE, len(held)), dtype=np.uint64)])
    return _Runs(mix((sums[ends] - sums[starts]) * _powers(_INVERSE, len(held) + 1)[starts]), rows, starts, ends)


def _powers(base: int, count: int) -> U64:
    """1, base, base^2, ... modulo 2^64, by doubling."""
    out = np.ones(max(count, 1), np.uint64)
    done = 1
    while done < count:
        step = min(done, count - done)
        out[done : done + step] = out[:step] * np.uint64(pow(base, done, 2**64))
        done += step
    return out[:count]
