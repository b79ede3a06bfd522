"""Journals whose writers are gone, packed into Parquet: a tenth of the bytes, and an index that need not read the texts."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from curation.records import Trace, content_id

PACK_BYTES = 64 << 20  # journals are left alone until they are as much together: a second of reading at the start of a build
ROWS_A_GROUP = 128  # of 40 kB: 5 MB to unpack for one sample
_FIELDS = tuple(Trace.__dataclass_fields__)


class Packed:
    """One packed file. Rows are read by group, the last group is kept: samples are asked for in the order they lie."""

    def __init__(self, path: Path) -> None:
        import pyarrow.parquet as pq

        self.path = path
        self._file = pq.ParquetFile(path)
        self._group = -1
        self._rows: list[dict[str, Any]] = []

    def answers(self) -> Iterator[tuple[int, str]]:
        """(row, key) of the samples that did not fail."""
        table = self._file.read(columns=["key", "finish"])
        for row, (key, finish) in enumerate(zip(table["key"].to_pylist(), table["finish"].to_pylist(), strict=True)):
            if finish != "error":
                yield row, key

    def row(self, number: int) -> tuple[str, dict[str, Any], Trace]:
        group = number // ROWS_A_GROUP
        if group != self._group:
            self._rows, self._group = self._file.read_row_group(group).to_pylist(), group
        row = self._rows[number % ROWS_A_GROUP]
        return row["key"], json.loads(row["asked"]), Trace(**{name: row[name] for name in _FIELDS})

    def close(self) -> None:
        self._file.close()


def pack(folder: Path, least_bytes: int = PACK_BYTES) -> Path | None:
    """Pack the closed journals of a folder into one file, where they are worth it; None where nothing was done.

    Safe beside other processes: one packs at a time, a journal that is being written is left alone, the packed file appears
    whole under a name made of the journals' names, and only then are they deleted. A reader that has a journal open keeps it.
    """
    with (folder / ".packing.lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return None
        with contextlib.ExitStack() as held:
            journals = [path for path in sorted(folder.glob("*.jsonl")) if _is_closed(path, held)]
            if sum(path.stat().st_size for path in journals) < least_bytes:
                return None
            # The name says what is inside: a kill before the deletions repeats the same file. A process id comes back, and its
            # journal may be as long as the last one's, so the time belongs to it.
            found = [(p.name, p.stat().st_size, p.stat().st_mtime_ns) for p in journals]
            target = folder / f"packed-{content_id(found)}.parquet"
            temporary = folder / f".{target.name}"
            _write(temporary, journals)
            os.replace(temporary, target)
            for path in journals:
                path.unlink()
            return target


def _is_closed(path: Path, held: contextlib.ExitStack) -> bool:
    file = held.enter_context(path.open("rb"))
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _write(target: Path, journals: list[Path]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    kinds = {"index": pa.int64(), "prompt_tokens": pa.int64(), "completion_tokens": pa.int64(), "seconds": pa.float64()}
    columns = {"key": pa.string(), "asked": pa.string(), **{name: kinds.get(name, pa.string()) for name in _FIELDS}}
    with pq.ParquetWriter(target, pa.schema(list(columns.items())), compression="zstd") as writer:
        rows: list[dict[str, Any]] = []
        for line in _lines(journals):
            rows.append({"key": line["key"], "asked": json.dumps(line["asked"], ensure_ascii=False), **line["trace"]})
            if len(rows) == ROWS_A_GROUP:
                writer.write_table(pa.Table.from_pylist(rows, schema=writer.schema))
                rows = []
        if rows:
            writer.write_table(pa.Table.from_pylist(rows, schema=writer.schema))


def _lines(journals: list[Path]) -> Iterator[dict[str, Any]]:
    for path in journals:
        with path.open("rb") as file:
            for line in file:
                with contextlib.suppress(ValueError):  # torn: counted when it was indexed
                    record = json.loads(line)
                    if isinstance(record, dict) and {"key", "asked", "trace"} <= record.keys():
                        yield record
