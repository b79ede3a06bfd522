"""Rows out of the files people have, and files written so that a kill leaves the old one or the new one, never half."""

from __future__ import annotations

import contextlib
import csv
import gzip
import json
import os
import re
import tempfile
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from io import BufferedIOBase
from pathlib import Path
from typing import Any, TypeVar

import polars as pl
import yaml

from curation.errors import UserError

Row = dict[str, Any]
T = TypeVar("T")
GROUP_ROWS = 10_000  # of the Parquet files that are written
SUFFIXES = (".jsonl", ".jsonl.gz", ".json", ".json.gz", ".parquet", ".csv")


def read_rows(path: Path) -> Iterator[Row]:
    """The rows of a .jsonl, .jsonl.gz, .json, .parquet or .csv file, one at a time and in order.

    Raises UserError, with the line where there is one, for what cannot be read.
    """
    if not path.is_file():
        raise UserError(f"no file {str(path)!r}: give the path of a file that ends in {', '.join(SUFFIXES)}")
    kind = next((k for k in (".jsonl", ".json", ".parquet", ".csv") if path.name.removesuffix(".gz").endswith(k)), None)
    if kind is None:
        raise UserError(f"cannot tell what {path.name} is: wanted a name that ends in {', '.join(SUFFIXES)}")
    reader = {".jsonl": _jsonl, ".json": _json, ".parquet": _parquet, ".csv": _csv}[kind]
    try:
        yield from reader(path)
    except (gzip.BadGzipFile, zlib.error, EOFError):
        raise UserError(f"{path.name} is not a whole gzip file: copy it again, or take .gz off its name if it is none") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path.name} is not UTF-8 (byte {error.start} of a line): save it as UTF-8") from None


def _csv(path: Path) -> Iterator[Row]:
    csv.field_size_limit(1 << 30)  # a trace of 32,000 tokens is longer than the 131,072 characters csv allows
    with _open(path) as file:
        reader = csv.DictReader(line.decode("utf-8-sig") for line in file)
        try:
            for row in reader:
                if None in row:  # where DictReader puts the cells that have no column
                    raise UserError(f"{path.name} line {reader.line_num} has more cells than columns: put quotes around commas")
                yield row
        except csv.Error as error:
            raise UserError(f"{path.name} line {reader.line_num} is not CSV ({error}): mend or remove that line") from None


def _open(path: Path) -> BufferedIOBase:
    return gzip.open(path) if path.name.endswith(".gz") else path.open("rb")


def _jsonl(path: Path) -> Iterator[Row]:
    # Bytes are split on \n alone: str.splitlines would also break at U+2028, which real traces hold inside strings.
    with _open(path) as file:
        for number, line in enumerate(file, 1):
            if line.strip():
                yield _object(line, f"{path.name} line {number}")


def _object(text: bytes, where: str) -> Row:
    try:
        row = json.loads(text)
    except UnicodeDecodeError:  # a ValueError too; read_rows says how to mend it
        raise
    except (ValueError, RecursionError) as error:
        raise UserError(f"{where} is not JSON ({error}): mend or remove that line") from None
    if not isinstance(row, dict):
        raise UserError(f"{where} is a {type(row).__name__}, wanted an object with named columns")
    return row


def _json(path: Path) -> Iterator[Row]:
    with _open(path) as file:
        text = file.read()
    try:
        rows = json.loads(text)
    except UnicodeDecodeError:
        raise
    except (ValueError, RecursionError):
        raise UserError(f"{path.name} is not one JSON value: if it has a row on each line, name it .jsonl") from None
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise UserError(f"{path.name} holds no list of objects: wanted [{{...}}, {{...}}]")
    yield from rows


def _parquet(path: Path) -> Iterator[Row]:
    import pyarrow
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            for batch in read_ahead(file.iter_batches(batch_size=_batch_rows(file.metadata))):
                yield from batch.to_pylist()
    except (pyarrow.ArrowInvalid, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:  # the system's; those of a damaged page have no number
            raise
        raise UserError(f"{path.name} is not a whole Parquet file: copy it again, or mend its name") from None


def read_ahead(items: Iterator[T]) -> Iterator[T]:
    """The items in order, the next one fetched by a thread while one is in use: for readers that work without Python."""
    with ThreadPoolExecutor(1) as behind:
        coming = behind.submit(next, items, None)
        while (item := coming.result()) is not None:
            coming = behind.submit(next, items, None)
            yield item


def _batch_rows(metadata: Any) -> int:
    """Rows at a time. Row groups can be gigabytes of traces; a megabyte's memory serves batch after batch, which reads traces of
    11 kB in 60 % of the time of batches of 1,024."""
    size = sum(metadata.row_group(number).total_byte_size for number in range(metadata.num_row_groups))
    return int(min(1024, max(16, metadata.num_rows * 2**20 // max(1, size))))


def storable(value: Any) -> Any:
    """A row, or a value of one, with U+FFFD for half of a surrogate pair: JSON may carry one, neither UTF-8 nor Parquet can.

    5 us for a text of 12 kB that is not ASCII, a tenth of a microsecond for one that is; json takes 60 us to read it.
    """
    if isinstance(value, str):
        return value if value.isascii() else _without_surrogates(value)
    if isinstance(value, dict):
        return {storable(name): storable(held) for name, held in value.items()}
    return list(map(storable, value)) if isinstance(value, list) else value


def _without_surrogates(text: str) -> str:
    try:
        text.encode()  # a fifth of the time of the way through UTF-16
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text


def read_yaml(path: Path) -> dict[str, Any]:
    """The mapping in a YAML file. Raises UserError where it is not YAML or holds something else."""
    try:
        raw = yaml.safe_load(path.read_text("utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path.name} is not YAML: {' '.join(str(error).split())}") from None
    if not isinstance(raw, dict):
        raise UserError(f"{path.name} holds {type(raw).__name__}, wanted a mapping of keys")
    return raw


def write_atomic(path: Path, text: str) -> None:
    """Write `text` so that a reader, or a restart after a kill, sees the old file or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        raise


def write_table(frame: pl.DataFrame, path: Path, level: int = 3) -> None:
    """A Parquet file that Polars, DuckDB, pandas and `datasets` read; the same rows give the same bytes. `level` is zstd's."""
    try:
        frame.write_parquet(path, compression="zstd", compression_level=level, row_group_size=GROUP_ROWS)
    except pl.exceptions.ComputeError as error:
        if found := re.search(r"os error (\d+)", str(error)):  # a full disk, whose errno Polars hides in its text
            raise OSError(int(found[1]), os.strerror(int(found[1])), str(path)) from None
        raise
