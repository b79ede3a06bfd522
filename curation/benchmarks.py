"""Read an evaluation set from a file, so that its questions can be kept out of a training set."""

from __future__ import annotations

import gzip
import hashlib
import json
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from curation.errors import UserError

# Names of the question column, best first: "prompt" and "text" hold boilerplate where a set has another of these too.
_QUESTION = (
    *("question", "problem", "problem_statement", "problem_description", "question_content"),
    *("query", "prompt", "text", "input"),
)
_SUFFIXES = (".jsonl.gz", ".jsonl", ".parquet", ".csv")


class Benchmark(NamedTuple):
    name: str  # what reports call it
    questions: tuple[str, ...]  # in the order of the file
    revision: str  # what exactly was read: "sha256:" and 16 hexadecimal digits of the file, or a Hub revision


def read_benchmark(path: str | Path) -> Benchmark:
    """The questions of a .jsonl, .jsonl.gz, .parquet or .csv file, named after the file.

    Raises UserError if the file is missing, is not what its suffix says, or has no column of questions.
    """
    path = Path(path)
    suffix = next((s for s in _SUFFIXES if path.name.lower().endswith(s)), None)
    if suffix is None:
        raise UserError(f"benchmark {path}: wanted a file ending in {', '.join(_SUFFIXES)}")
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UserError(f"benchmark {path}: cannot be read ({error.strerror}); check the path") from error
    try:
        column, values = _frame_column(suffix, data) if suffix in (".parquet", ".csv") else _json_column(suffix, data)
    except (pl.exceptions.PolarsError, OSError, EOFError, ValueError) as error:
        raise UserError(f"benchmark {path}: not a whole {suffix} file ({str(error).splitlines()[0]})") from error
    except KeyError as error:
        raise UserError(f"benchmark {path}: {error.args[0]}; name one of them {_QUESTION[0]!r}") from error
    bad = next((row for row, value in enumerate(values) if not isinstance(value, str) or not value.strip()), None)
    if bad is not None:
        raise UserError(f"benchmark {path}: row {bad} has {values[bad]!r} in column {column!r}, wanted a question")
    revision = f"sha256:{hashlib.sha256(data).hexdigest()[:16]}"
    return Benchmark(path.name[: -len(suffix)], tuple(str(value) for value in values), revision)


def _frame_column(suffix: str, data: bytes) -> tuple[str, list[Any]]:
    frame = pl.read_parquet(data) if suffix == ".parquet" else pl.read_csv(data, infer_schema=False)
    column = _question_column(frame.columns)
    return column, frame[column].to_list()


def _json_column(suffix: str, data: bytes) -> tuple[str, list[Any]]:
    text = gzip.decompress(data) if suffix == ".jsonl.gz" else data
    # Split at \n alone: questions hold U+2028 and its like, which str.splitlines takes for ends of lines.
    rows = [json.loads(line) for line in text.decode("utf-8-sig").split("\n") if line.strip()]
    if not all(isinstance(row, dict) for row in rows):
        raise ValueError("a line is not a JSON object")
    column = _question_column(list(rows[0]) if rows else [])
    return column, [row.get(column) for row in rows]


def _question_column(names: list[str]) -> str:
    lower = {name.lower(): name for name in reversed(names)}
    found = next((lower[wanted] for wanted in _QUESTION if wanted in lower), None)
    if found is None:
        raise KeyError(f"no column of questions among ({', '.join(names)}), wanted one of {', '.join(_QUESTION)}")
    return found
