"""Speed of s1K's selection and of LIMO's features beside what they are measured by: `python tests/benchmarks/selection.py`.

s1K's table of 59,000 rows with traces is read once and selected from; the features of traces are compared with one pass of one
compiled regex over the same text.
"""

from __future__ import annotations

import argparse
import random
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import polars as pl

from curation.features import WORDS, trace_features
from curation.selection.limo import limo
from curation.selection.s1k import s1k

SHARD = 5_000  # traces scored at once, 100 MB
SENTENCE = "So we check the sum again; perhaps it is wrong, since 12 and 7 are 19, therefore we add the next term of the series."


def _table(rows: int, characters: int, draw: random.Random) -> pl.DataFrame:
    words = " ".join(w for listed in WORDS.values() for w in listed.split("|")) + " " + SENTENCE
    block = " ".join(draw.choices(words.split() + ["number", "side", "x", "$n^2$", "42"] * 40, k=50_000))
    starts = [draw.randrange(len(block) - characters) for _ in range(rows)]
    return pl.DataFrame(
        {
            "id": [f"{n:016x}" for n in range(rows)],
            "problem_id": [f"{n // 4}" for n in range(rows)],
            "problem": [f"Find the number of integers below {n} that are odd." for n in range(rows)],
            "source": [draw.choice(["aime", "gpqa", "math", "web"]) for _ in range(rows)],
            "domain": [str(draw.randrange(60)) for _ in range(rows)],
            "length": [draw.randrange(100, 60_000) for _ in range(rows)],
            "correct": [draw.random() < 0.6 for _ in range(rows)],
            "easy": [draw.random() < 0.5 for _ in range(rows)],
            "text": [block[start : start + characters] for start in starts],
        }
    )


def main() -> None:
    """Make a table, read it, select from it; score long traces, a shard at a time."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=59_000, help="of s1K's table")
    parser.add_argument("--characters", type=int, default=4_000, help="of each text in it")
    parser.add_argument("--traces", type=int, default=100_000, help="to be scored by LIMO's rule")
    parser.add_argument("--trace-characters", type=int, default=20_000)
    arguments = parser.parse_args()
    _select(arguments.rows, arguments.characters)
    _score(arguments.traces, arguments.trace_characters)


def _select(rows: int, characters: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "table.parquet"
        _table(rows, characters, random.Random(0)).write_parquet(path)
        read_s, table = _timed(lambda: pl.read_parquet(path))
    s1k_s, _ = _timed(lambda: s1k(table, size=1_000, mode="notebook", seed=0, benchmark_sources=["aime", "gpqa"]))
    ratio = s1k_s / read_s
    print(f"s1K of {rows:,} rows: {s1k_s:.2f} s, {ratio:.1f} times the {read_s:.2f} s of reading the table", flush=True)


def _score(traces: int, characters: int) -> None:
    parts: list[pl.DataFrame] = []
    features_s = regex_s = 0.0
    for start in range(0, traces, SHARD):
        shard = _table(min(SHARD, traces - start), characters, random.Random(start))
        spent, features = _timed(partial(trace_features, shard["text"]))
        features_s += spent
        regex_s += _timed(partial(shard["text"].str.count_matches, r"\S+"))[0]
        parts.append(shard.select(pl.col("id") + f"-{start}", pl.col("problem_id") + f"-{start}").hstack(features))
    limo_s, _ = _timed(lambda: limo(pl.concat(parts), size=800))
    speed = traces * characters / 1e6 / (features_s + limo_s)
    print(
        f"LIMO's score of {traces:,} traces: {speed:.0f} MB/s, {(features_s + limo_s) / regex_s:.1f} times the {regex_s:.1f} s "
        f"of one regex for words; choice in {limo_s:.2f} s"
    )


def _timed(work: Callable[[], pl.DataFrame | object]) -> tuple[float, pl.DataFrame]:
    start = time.perf_counter()
    found = work()
    return time.perf_counter() - start, found  # type: ignore[return-value]


if __name__ == "__main__":
    main()
