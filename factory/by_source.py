"""The examples in files of one source each, so that `load_dataset(RUN, "a-source")` reads that source's bytes and no others.

A set of one source keeps its shards as they are. Otherwise rows go to `<source>.train-00000-of-00002.parquet`, and where some
were not verified as correct to `<source>.verified.train-...` and `<source>.other.train-...`: each configuration is a pattern over
these names, as in OpenR1-Math-220k (all, default, one for each part), and no row is written twice.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from curation.records import content_id
from factory.ledger import SHARD_ROWS
from factory.steps import Facts, once

MOST_SOURCES = 64  # a column that names a page for each row is no list of sources; the Hub shows configurations in one menu
_TAKEN = ("default", "all", "verified", "rejected_problems", "rejected_traces")


class Published(NamedTuple):
    """The files of a run's dataset/, and what can be loaded of them by name beside `default`, which is everything."""

    files: dict[str, Path]  # name -> where its bytes are
    configs: list[dict[str, Any]]  # name, path (a pattern in the repository), rows, source or None


def by_source(store: Path, shards: Sequence[Path], digests: Sequence[str]) -> Published:
    """`shards` as they are where they hold one source and one kind of outcome, else their rows in files of one source each.

    Rows keep their order within a source; files hold SHARD_ROWS rows.
    """
    counted = pl.scan_parquet(list(shards)).group_by("source", verified=pl.col("outcome") == "correct").len().collect()
    rows = {(source or "", verified): n for source, verified, n in sorted(counted.iter_rows(), key=str)}
    sources = sorted({source for source, _ in rows})
    mixed = len({verified for _, verified in rows}) == 2
    if not 1 < len(sources) <= MOST_SOURCES and not mixed:
        return Published({f"train-{n:05}-of-{len(shards):05}.parquet": file for n, file in enumerate(shards)}, [])
    names = config_names(sources) if len(sources) <= MOST_SOURCES else dict.fromkeys(sources, "rows")
    stems = {key: names[key[0]] + ((".verified" if key[1] else ".other") if mixed else "") for key in rows}

    def work(folder: Path) -> Facts:
        _split(shards, stems, folder)
        return {}

    piece = once(store, "by_source", [stems[key] for key in rows], list(digests), work)
    files = {path.name: path for path in sorted(piece.folder.glob("*.parquet"))}
    return Published(files, _configs(rows, names if 1 < len(sources) <= MOST_SOURCES else {}, mixed))


def config_names(sources: Sequence[str]) -> dict[str, str]:
    """A name for each source that is a file name, a configuration of `datasets` and no other's: letters, digits, - and _."""
    plain = {source: re.sub(r"[^A-Za-z0-9_-]+", "-", source).strip("-")[:60] for source in sources}
    folded = [name.lower() for name in plain.values()]
    clear = {s: n for s, n in plain.items() if n and n.lower() not in _TAKEN and folded.count(n.lower()) == 1}
    return {source: clear.get(source) or f"{plain[source] or 'source'}-{content_id(source)[:6]}" for source in sources}


def _configs(rows: dict[tuple[str, bool], int], names: dict[str, str], mixed: bool) -> list[dict[str, Any]]:
    found = [{"name": "all", "path": "dataset/*.parquet", "rows": sum(rows.values()), "source": None}]
    if mixed:
        verified = sum(n for (_, is_verified), n in rows.items() if is_verified)
        found.append({"name": "verified", "path": "dataset/*.verified.train-*.parquet", "rows": verified, "source": None})
    for source, name in names.items():
        count = sum(n for (of, _), n in rows.items() if of == source)
        found.append({"name": name, "path": f"dataset/{name}.*.parquet", "rows": count, "source": source})
    return found


def _split(shards: Sequence[Path], stems: dict[tuple[str, bool], str], folder: Path) -> None:
    """One pass over the shards; no more is held than one of them."""
    arrow = pl.read_parquet(shards[0], n_rows=0).to_arrow().schema
    files = {stem: _Files(folder, stem, arrow) for stem in stems.values()}
    for shard in shards:
        for stem, part in _parts(pl.read_parquet(shard), stems):
            for rows in part.iter_slices(SHARD_ROWS):
                files[stem].put(rows)
    for made in files.values():
        made.finish()


class _Files:
    """The files of one stem: a new one whenever a part no longer fits; named when their number is known."""

    def __init__(self, folder: Path, stem: str, schema: Any) -> None:
        self.folder, self.stem, self.schema = folder, stem, schema
        self.made: list[Path] = []
        self.rows = SHARD_ROWS  # of the newest file: none is open yet
        self.writer: Any = None

    def put(self, rows: pl.DataFrame) -> None:
        import pyarrow.parquet as pq

        if self.rows + rows.height > SHARD_ROWS:
            self.close()
            self.made.append(self.folder / f"{self.stem}.{len(self.made)}")
            self.writer, self.rows = pq.ParquetWriter(self.made[-1], self.schema, compression="zstd"), 0
        self.writer.write_table(rows.to_arrow().cast(self.schema))
        self.rows += rows.height

    def close(self) -> None:
        if self.writer is not None:
            self.writer.close()

    def finish(self) -> None:
        self.close()
        for number, path in enumerate(self.made):
            path.rename(self.folder / f"{self.stem}.train-{number:05}-of-{len(self.made):05}.parquet")


def _parts(shard: pl.DataFrame, stems: dict[tuple[str, bool], str]) -> list[tuple[str, pl.DataFrame]]:
    """The rows of a shard by the file that they go to, in order."""
    keys = shard.select(pl.col("source").fill_null(""), pl.col("outcome") == "correct").rows()
    named = shard.with_columns(pl.Series("_stem", [stems[key] for key in keys], pl.String))
    return [(str(stem), part.drop("_stem")) for (stem,), part in named.group_by("_stem", maintain_order=True)]
