"""open-r1's rule of contamination to the letter: a run of 8 words, as they are typed, that a benchmark's question has too.

huggingface/open-r1 scripts/decontaminate.py: lower case, any white space is one space, words are what stands between; runs of
8 words, any one shared is enough. Punctuation and LaTeX are part of the words, and a question of fewer words is never found: for
a comparison with sets that were cleaned so. curation.decontaminate is the rule without these holes.

Runs are hashed over the bytes of a block at once; those in the benchmarks' set are then compared as text.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from curation.benchmarks import Benchmark
from curation.decontaminate import Hit, together
from curation.overlap import Sieve, places, sieve
from curation.processes import in_order
from curation.shingles import BLOCK_CHARACTERS, I64, U64, blocks, mix, stretch_hashes

_SPACE, _NEW_LINE = 32, 10


class _Runs(NamedTuple):
    hashes: U64
    rows: I64
    starts: I64  # first byte of each run
    ends: I64


def verbatim_contamination(
    texts: Sequence[str],
    benchmarks: Sequence[Benchmark],
    *,
    n: int = 8,
    block_characters: int = BLOCK_CHARACTERS,
    workers: int = 1,
) -> list[Hit | None]:
    """For each row the first question that shares its first shared run of `n` words, None for a clean row.

    The hit's overlap is that run; the score is 1.0, since the rule knows no more or less. `also` has, of each other benchmark, the
    first question that shares a run.
    """
    owners: dict[str, dict[str, tuple[Benchmark, int]]] = {}  # of a run, the first of each benchmark
    for bench in benchmarks:
        for number, question in enumerate(bench.questions):
            for run in _worded(_line(question), n):
                owners.setdefault(run, {}).setdefault(bench.name, (bench, number))
    known = sieve(_hashed("\n".join(owners).encode("utf-8", "surrogatepass"), n).hashes)
    shared: list[tuple[int, Hit]] = []
    firsts = (first for first, _ in blocks(texts, block_characters))
    found = in_order(functools.partial(_found, known=known, n=n), (block for _, block in blocks(texts, block_characters)), workers)
    for first, runs in zip(firsts, found, strict=True):
        for row, run in runs:
            for bench, number in owners.get(run, {}).values():
                shared.append((first + row, Hit(bench.name, number, bench.questions[number], "ngram", run, 1.0)))
    return together(shared, len(texts))


def _line(text: str) -> str:
    return " ".join(text.lower().split())


def _worded(line: str, n: int) -> list[str]:
    found = line.split(" ")
    return [" ".join(found[at : at + n]) for at in range(len(found) - n + 1)]


def _found(block: list[str], known: Sieve, n: int) -> list[tuple[int, str]]:
    """(row, run) of the runs whose hashes are known, in order."""
    lines = "\n".join(map(_line, block)).encode("utf-8", "surrogatepass")
    every = _hashed(lines, n)
    at = places(every.hashes, known)[0]
    rows, starts, ends = (column[at].tolist() for column in every[1:])
    return [(row, lines[start:end].decode("utf-8", "surrogatepass")) for row, start, end in zip(rows, starts, ends, strict=True)]


def _hashed(lines: bytes, n: int) -> _Runs:
    """The runs of `n` words of lines whose words have one space between them."""
    held = np.frombuffer(lines, np.uint8)
    breaks = np.flatnonzero((held == _SPACE) | (held == _NEW_LINE))
    starts, ends = np.concatenate([[0], breaks + 1]), np.append(breaks, len(held))
    line = np.concatenate([[0], np.cumsum(held[breaks] == _NEW_LINE)])
    whole = np.flatnonzero(line[n - 1 :] == line[: len(line) - n + 1])
    starts, ends, rows = starts[whole], ends[whole + n - 1], line[whole]
    return _Runs(mix(stretch_hashes(lines, starts, ends)), rows, starts, ends)
