"""The pass rates of a run, from its verdicts: `difficulty.parquet`, which other recipes can read."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import polars as pl

from curation.difficulty import FAILED, Z_95, of_models, pass_rates, read_table
from curation.files import write_table
from factory.steps import Facts, Piece, file_digest, once


def measure(store: Path, verdicts: Sequence[Piece]) -> Piece:
    """One row for each problem and teacher of the run (curation.difficulty.TABLE)."""

    def work(folder: Path) -> Facts:
        table = pass_rates(pl.concat([pl.scan_parquet(piece.folder / "verdicts.parquet") for piece in verdicts]))
        write_table(table, folder / "difficulty.parquet")
        return {"problems": table["problem_id"].n_unique(), "models": table["model"].n_unique()}

    return once(store, "difficulty", {"interval": Z_95, "failed": FAILED}, [piece.digest for piece in verdicts], work)


def table_digest(table: str | None) -> str | None:
    """What is in a named table, for a step's key; None for the run's own, whose piece is an input."""
    return file_digest(Path(table)) if table and Path(table).is_file() else None


def rates(table: str, models: Sequence[str]) -> pl.DataFrame:
    """problem_id, correct, judged and pass_rate from a named table, summed over the models (all where none is named)."""
    return of_models(read_table(Path(table)), list(models))


def own_rates(difficulty: Piece, models: Sequence[str]) -> pl.DataFrame:
    """The same from the run's own table, which has no model at all where no trace was judged."""
    table = pl.read_parquet(difficulty.folder / "difficulty.parquet")
    return of_models(table, list(models) if table.height else [])
