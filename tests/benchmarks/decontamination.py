"""Speed of decontamination beside open-r1: `python tests/benchmarks/decontamination.py PROBLEMS ... --benchmarks FILE ...`.

Grows the problems to --rows texts, mixes copies of benchmark questions in, and prints rows a second of open-r1's rule by its own
method (a set of strings for each benchmark, each row split anew for each), of the same rule here with its hits compared, and of
this package's own rule, with the copies that each finds.
"""

from __future__ import annotations

import argparse
import functools
import random
import resource
import time
from collections.abc import Callable, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import TypeVar

from growing import originals, read_texts

from curation.benchmarks import Benchmark, read_benchmark
from curation.decontaminate import Hit, contamination
from curation.processes import in_order
from curation.verbatim import verbatim_contamination

N = 8
Found = TypeVar("Found")
Lookups = list[dict[str, set[int]]]


def _split(text: str) -> list[str]:
    words = " ".join(text.lower().strip().split()).split()
    return [" ".join(words[at : at + N]) for at in range(len(words) - N + 1)]


def _lookups(benchmarks: Sequence[Benchmark]) -> Lookups:
    found: Lookups = []
    for bench in benchmarks:
        lookup: dict[str, set[int]] = {}
        for number, question in enumerate(bench.questions):
            for run in _split(question):
                lookup.setdefault(run, set()).add(number)
        found.append(lookup)
    return found


def _flagged(rows: list[str], lookups: Lookups) -> list[bool]:
    """open-r1 maps the rows once for each benchmark and makes a row's runs each time."""
    flags = [False] * len(rows)
    for lookup in lookups:
        for row, text in enumerate(rows):
            flags[row] |= any({run in lookup for run in _split(text)})
    return flags


def _open_r1(texts: Sequence[str], benchmarks: Sequence[Benchmark], workers: int) -> list[bool]:
    rows = iter(texts)
    chunks = iter(lambda: list(islice(rows, 20_000)), [])
    return list(chain.from_iterable(in_order(functools.partial(_flagged, lookups=_lookups(benchmarks)), chunks, workers)))


def main() -> None:
    """Make the rows, run the peer on some of them and ours on all."""
    parser = argparse.ArgumentParser()
    parser.add_argument("files", nargs="+", type=Path, help="problems to grow the rows from")
    parser.add_argument("--benchmarks", nargs="+", type=Path, required=True)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--peer-rows", type=int, default=50_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=2)
    arguments = parser.parse_args()
    benchmarks = [read_benchmark(path) for path in arguments.benchmarks]
    questions = [question for bench in benchmarks for question in bench.questions]
    texts = list(originals(arguments.rows, arguments.seed, read_texts(arguments.files)))
    draw = random.Random(arguments.seed)
    copies = dict(zip(draw.sample(range(len(texts)), min(len(questions), len(texts) // 10)), questions, strict=False))
    for row, question in copies.items():
        texts[row] = question
    workers, part = arguments.workers, texts[: arguments.peer_rows]
    peer, peer_s = _timed("open-r1's method", len(part), lambda: _open_r1(part, benchmarks, workers))
    same, same_s = _timed("the same rule", len(part), lambda: verbatim_contamination(part, benchmarks, n=N, workers=workers))
    different = sum((hit is not None) != flag for hit, flag in zip(same, peer, strict=True))
    print(f"  {peer_s / same_s:.1f} times as fast, {sum(peer)} rows hit, {different} differently")
    every, every_s = _timed("the same rule", len(texts), lambda: verbatim_contamination(texts, benchmarks, n=N, workers=workers))
    print(f"  {peer_s / len(part) * len(texts) / every_s:.1f} times as fast")
    ours, ours_s = _timed("our rule", len(texts), lambda: contamination(texts, benchmarks, n=N, workers=workers))
    print(f"  {peer_s / len(part) * len(texts) / ours_s:.1f} times as fast")
    for name, hits in (("the same rule", every), ("our rule", ours)):
        print(f"{name}: {_share(hits, copies)} of {len(copies)} exact copies found, {sum(h is not None for h in hits)} rows hit")


def _share(hits: Sequence[Hit | None], copies: dict[int, str]) -> int:
    return sum(hits[row] is not None for row in copies)


def _timed(name: str, rows: int, find: Callable[[], Found]) -> tuple[Found, float]:
    start = time.perf_counter()
    found = find()
    seconds = time.perf_counter() - start
    peak = sum(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)) / 1e6
    print(f"{name}: {rows} rows in {seconds:.1f} s, {rows / seconds:.0f} rows/s, peak {peak:.2f} GB", flush=True)
    return found, seconds


if __name__ == "__main__":
    main()
