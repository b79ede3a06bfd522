"""Rows written as they come, to a file that is whole or absent: JSON Lines or Parquet, in memory of some hundred rows."""

from __future__ import annotations

import contextlib
import json
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from curation.errors import UserError
from curation.files import Row

PART_ROWS = 500  # of 50 kB each: 25 MB


def check_name(out: Path | None) -> None:
    """Raises UserError for a name that says neither format."""
    if out and not out.name.endswith((".jsonl", ".parquet")):
        raise UserError(f"--out {out}: wanted a name that ends in .jsonl or .parquet")


@contextlib.contextmanager
def open_rows(out: Path) -> Iterator[Callable[[Row], None]]:
    """A function that takes rows in order; `out` appears, or is replaced, when all are there.

    Raises UserError where a Parquet column would hold values of two kinds.
    """
    check_name(out)
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}.") as folder:
        whole = Path(folder) / "whole"
        with (_json_lines if out.name.endswith(".jsonl") else _parquet)(whole) as write:
            yield write
        whole.replace(out)


@contextlib.contextmanager
def _json_lines(path: Path) -> Iterator[Callable[[Row], None]]:
    with path.open("w", encoding="utf-8", errors="backslashreplace") as file:

        def write(row: Row) -> None:
            file.write(json.dumps(row, ensure_ascii=False, default=str) + "\n")

        yield write


@contextlib.contextmanager
def _parquet(path: Path) -> Iterator[Callable[[Row], None]]:
    held: list[Row] = []
    parts: list[Path] = []

    def write(row: Row) -> None:
        held.append(row)
        if len(held) == PART_ROWS:
            flush()

    def flush() -> None:
        parts.append(path.with_name(f"{len(parts):06}"))
        _write_part(held, parts[-1])
        held.clear()

    yield write
    flush()
    _join(parts, path)


def _write_part(rows: list[Row], path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    names = list(dict.fromkeys(name for row in rows for name in row))
    arrays = {name: _column(name, [row.get(name) for row in rows]) for name in names}
    pq.write_table(pa.table(arrays), path, compression="zstd")


def _column(name: str, values: list[Any]) -> Any:
    import pyarrow as pa

    try:
        return pa.array(values)
    except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError, UnicodeEncodeError) as error:
        raise _mixed(name, error) from None


def _mixed(name: str, error: Exception) -> UserError:
    first = str(error).splitlines()[0]
    return UserError(f"column {name!r} does not fit into Parquet, which wants one kind of value ({first}): write .jsonl instead")


def _join(parts: list[Path], path: Path) -> None:
    """The parts as one file. A column that is all empty in one part and full in another takes the fuller type."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    schemas = [pq.read_schema(part) for part in parts]
    try:
        schema = pa.unify_schemas(schemas, promote_options="permissive")
        schema = pa.schema([field.with_type(pa.string()) if pa.types.is_null(field.type) else field for field in schema])
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise _mixed(str(error).partition("Field ")[2].partition(" has ")[0], error) from None
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        for part in parts:
            table = pq.read_table(part)
            for field in schema:
                if field.name not in table.column_names:
                    table = table.append_column(field, pa.nulls(len(table), field.type))
            writer.write_table(table.select(schema.names).cast(schema))
