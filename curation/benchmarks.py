"""Evaluation sets whose questions are kept out of a training set."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from curation.errors import UserError
from curation.files import SUFFIXES, Row, read_rows, storable
from curation.sources import prompt_column


class Benchmark(NamedTuple):
    name: str  # what reports call it
    questions: tuple[str, ...]  # in the order of the file
    revision: str  # what exactly was read: "sha256:" and 16 hexadecimal digits of the file, or a Hub revision


def read_benchmark(path: str | Path, column: str | None = None) -> Benchmark:
    """The questions of a file, named after the file.

    Raises UserError if the file cannot be read as what its suffix says, or has no column of questions.
    """
    path = Path(path)
    rows = list(read_rows(path))
    with path.open("rb") as file:
        revision = f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()[:16]}"
    longest_first = sorted(SUFFIXES, key=len, reverse=True)
    name = next((path.name.removesuffix(s) for s in longest_first if path.name.endswith(s)), path.name)
    return Benchmark(name, questions(rows, f"benchmark {path.name}", column), revision)


def questions(rows: Sequence[Row], where: str, column: str | None = None) -> tuple[str, ...]:
    """The questions of a benchmark's rows, in order, from `column` or from the first usual one.

    Raises UserError where there is no such column, or a row without a question: a hole in a benchmark is a hole in the check.
    """
    names = list(rows[0]) if rows else []
    found = column or prompt_column(names)
    if found is None or found not in names:
        raise UserError(f"{where} has no column of questions; it has {', '.join(names) or 'no rows'}: name it with column")
    values = [storable(row.get(found)) for row in rows]
    bad = next((at for at, value in enumerate(values) if not isinstance(value, str) or not value.strip()), None)
    if bad is not None:
        raise UserError(f"{where}: row {bad} has {values[bad]!r} in column {found!r}, wanted a question")
    return tuple(map(str, values))
