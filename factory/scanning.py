"""The passes over every problem's text that cleaning needs, for some shards at a time, so that tasks elsewhere can do them.

words     the problems as numbers, for exact and near duplicates
caught    what they share with benchmark questions; `hits` where the rule looks at each problem by itself

What is left to cleaning compares rows with each other. Both are finished pieces of `read`'s shards, before any row is dropped:
two waits for a cluster would cost more than looking at the duplicates too.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from curation.decontaminate import Hit, catch
from curation.minhash import Rows, join_rows, read_rows
from curation.net import Caught, join
from factory.cleaning import Scanned, by_words, row_hits, rule_of
from factory.problems import load_benchmark
from factory.rules import Clean
from factory.steps import Facts, Piece, find, once
from factory.tracing import Shard


def scan(store: Path, clean: Clean, part: Sequence[Shard]) -> list[Piece]:
    """The pieces of one part; those that are finished are found again."""

    def words(folder: Path) -> Facts:
        texts = _column(part, "prompt")
        np.savez(folder / "words.npz", **read_rows(texts)._asdict())
        return {"problems": len(texts)}

    def caught(folder: Path) -> Facts:
        texts, benchmarks = _column(part, "prompt"), [load_benchmark(b) for b in clean.benchmarks]
        if clean.rule == "coverage" or clean.rule == "ngram":
            np.savez(folder / "caught.npz", **catch(texts, benchmarks, n=clean.ngram, rule=clean.rule)._asdict())
        else:
            (folder / "hits.json").write_text(json.dumps(row_hits(texts, clean, benchmarks, 1)), "utf-8")
        return {"problems": len(texts)}

    work = {"words": words, "caught": caught}
    return [once(store, name, settings, _inputs(part), work[name]) for name, settings in _wanted(clean).items()]


def finished(store: Path, clean: Clean, part: Sequence[Shard]) -> bool:
    return all(find(store, name, settings, _inputs(part)) for name, settings in _wanted(clean).items())


def gather(store: Path, clean: Clean, every: Sequence[Sequence[Shard]]) -> Scanned:
    """What the finished pieces of all parts say, as if it had been found in one process."""
    made = [{piece.name: piece for piece in scan(store, clean, part)} for part in every]
    ids = [one for part in every for one in _column(part, "id")]
    words = join_rows(Rows(**_arrays(m["words"].folder / "words.npz")) for m in made) if by_words(clean) else None
    if not clean.benchmarks:
        return Scanned(ids, words, None, None)
    if clean.rule in ("fuzzy", "verbatim"):
        told = [json.loads((m["caught"].folder / "hits.json").read_text("utf-8")) for m in made]
        return Scanned(ids, words, None, [hit and _hit(hit) for part in told for hit in part])
    nets = ((m["caught"].facts["problems"], Caught(**_arrays(m["caught"].folder / "caught.npz"))) for m in made)
    return Scanned(ids, words, join(nets), None)


def _hit(fields: list[Any]) -> Hit:
    """A hit from JSON, which knows lists only."""
    return Hit._make([*fields[:-1], tuple(map(_hit, fields[-1]))])


def _wanted(clean: Clean) -> dict[str, object]:
    """The pieces that cleaning needs, with their settings."""
    return ({"words": "2"} if by_words(clean) else {}) | ({"caught": rule_of(clean)} if clean.benchmarks else {})


def _inputs(part: Sequence[Shard]) -> list[str]:
    return [shard.digest for shard in part]


def _column(part: Sequence[Shard], name: str) -> list[str]:
    return [value for shard in part for value in pl.read_parquet(shard.problems, columns=[name])[name].to_list()]


def _arrays(path: Path) -> dict[str, np.ndarray]:
    with np.load(path) as held:
        return dict(held)
