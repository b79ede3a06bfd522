"""The pass rates of a run, from its verdicts: `difficulty.parquet`, which other recipes can read."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import polars as pl

from curation.difficulty import FAILED, TABLE, Z_95, Verdicts, of_models, pass_rates, read_table
from curation.errors import UserError
from curation.files import write_table
from factory.steps import Facts, Piece, file_digest, once


def measure(store: Path, judged: Sequence[tuple[Piece, Piece]], by: Verdicts = "combined") -> Piece:
    """One row for each problem, teacher and revision of the run (curation.difficulty.TABLE), from its traces and verdicts."""

    def work(folder: Path) -> Facts:
        table = pass_rates(pl.concat([_with_revisions(traces, verdicts) for traces, verdicts in judged]), by)
        write_table(table, folder / "difficulty.parquet")
        return {"problems": table["problem_id"].n_unique(), "models": table["model"].n_unique()}

    settings = {"interval": Z_95, "failed": FAILED, "verdicts": by, "columns": TABLE.names()}
    return once(store, "difficulty", settings, [piece.digest for pair in judged for piece in pair], work)


def _with_revisions(traces: Piece, verdicts: Piece) -> pl.LazyFrame:
    revisions = pl.scan_parquet(traces.folder / "traces.parquet").select(pl.col("id").alias("trace_id"), "revision")
    return pl.scan_parquet(verdicts.folder / "verdicts.parquet").join(revisions, on="trace_id", how="left")


def table_digest(table: str | None) -> str | None:
    """What is in a named table, for a step's key; None for the run's own, whose piece is an input."""
    found = [p for p in (Path(table), Path(table) / "difficulty.parquet") if p.is_file()] if table else []
    return file_digest(found[0]) if found else None


def rates(table: str, models: Sequence[str]) -> pl.DataFrame:
    """problem_id, correct, judged and pass_rate from a named table, summed over the models (all where none is named)."""
    return of_models(read_table(Path(table)), list(models))


def refuse_strange(table: str, measured: pl.Series, wanted: pl.Series) -> None:
    """Raise UserError where a named table, of the problems `measured`, has none of those `wanted`: each would be dropped."""
    if len(wanted) and not wanted.is_in(measured.implode()).any():
        raise UserError(
            f"{table} has the pass rates of {measured.n_unique():,} problems, and none of the {wanted.n_unique():,} here: a "
            "problem is known by its domain, question and gold, wanted the difficulty.parquet of a run over the same ones"
        )


def own_rates(difficulty: Piece, models: Sequence[str]) -> pl.DataFrame:
    """The same from the run's own table, which has no model at all where no trace was judged."""
    table = pl.read_parquet(difficulty.folder / "difficulty.parquet")
    return of_models(table, list(models) if table.height else [])
