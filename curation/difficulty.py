"""How hard a problem is for a model: the share of its samples that are right, with an interval, as a table to be reused.

OpenR1, OREAL, INTELLECT and LIMO all keep a window of pass rates and none says how sure a rate is: 3 of 8 is anything from
0.14 to 0.69. The interval is Wilson's (1927) at 95 percent, which stays inside [0, 1] and is not empty at 0 of n.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import polars as pl

from curation.errors import UserError
from curation.files import read_rows

Z_95 = 1.959963984540054  # standard normal quantile at 0.975
# A cut or looping sample failed to solve the problem (OREAL counts a truncated one as wrong); a request that failed, or text
# that our own rules refuse, says nothing about the model.
FAILED = ("truncated", "unclosed_thought", "empty_answer", "repetitive")
TABLE = pl.Schema(
    {
        "problem_id": pl.String,
        "model": pl.String,
        "revision": pl.String,  # of the model, where its traces say; empty: not known
        "correct": pl.Int64,  # samples that are right
        "judged": pl.Int64,  # samples that are right or wrong
        "pass_rate": pl.Float64,  # correct / judged; null where nothing was judged
        "low": pl.Float64,  # ends of the 95 percent interval
        "high": pl.Float64,
    }
)


Verdicts = Literal["combined", "rule"]


def pass_rates(verdicts: pl.LazyFrame, by: Verdicts = "combined") -> pl.DataFrame:
    """The table of pass rates, one row for each problem, model and revision, sorted by them.

    `verdicts` has problem_id, teacher, fault, outcome; where known, revision; and, where a judge was asked, judge, whose
    "equivalent" counts as right in the combined verdicts and not in the rule's. A sample that nobody could decide is left out.
    """
    columns = verdicts.collect_schema()
    judge = pl.col("judge") == "equivalent" if by == "combined" and "judge" in columns else pl.lit(False)
    revision = pl.col("revision").fill_null("") if "revision" in columns else pl.lit("").alias("revision")
    right = ((pl.col("outcome") == "correct") | judge).fill_null(False)
    wrong = ~right & ((pl.col("outcome") == "incorrect").fill_null(False) | pl.col("fault").is_in(FAILED).fill_null(False))
    counted = (
        verdicts.group_by("problem_id", pl.col("teacher").alias("model"), revision)
        .agg(right.sum().cast(pl.Int64).alias("correct"), (right | wrong).sum().cast(pl.Int64).alias("judged"))
        .sort("problem_id", "model", "revision")
    )
    return _with_rates(counted.collect()).select(TABLE.names())


def wilson(correct: pl.Expr, judged: pl.Expr) -> tuple[pl.Expr, pl.Expr]:
    """Ends of Wilson's 95 percent interval of a share; (0, 1) where nothing was judged."""
    n = judged.cast(pl.Float64)
    centre = (correct + Z_95**2 / 2) / (n + Z_95**2)
    # Without rounding off, 0 of n would start at -1e-17 instead of 0.
    half = Z_95 / (n + Z_95**2) * (correct * (n - correct) / pl.max_horizontal(n, pl.lit(1.0)) + Z_95**2 / 4).sqrt()
    low = pl.when(correct > 0).then(pl.max_horizontal(centre - half, pl.lit(0.0))).otherwise(0.0)
    high = pl.when(correct < judged).then(pl.min_horizontal(centre + half, pl.lit(1.0))).otherwise(1.0)
    return low, high


def place(low: float, high: float) -> pl.Expr:
    """Where a pass rate surely lies to a window, by the columns low and high of its interval.

    "inside": the interval is within [low, high]. "too_hard": wholly under it. "too_easy": wholly over it. Else "undecided".

    A look after each round is several looks, so a problem near an edge is settled wrongly more often than an interval of 95
    percent promises: with rounds of 4 up to 64 samples and the window 0.2 to 0.8, 7.4 percent of the problems of true rate 0.18
    are, and 1.4 percent of problems whose rates are spread evenly (tests/benchmarks/settling.py).
    """
    inside = (pl.col("low") >= low) & (pl.col("high") <= high)
    word = pl.when(inside).then(pl.lit("inside")).when(pl.col("high") < low).then(pl.lit("too_hard"))
    return word.when(pl.col("low") > high).then(pl.lit("too_easy")).otherwise(pl.lit("undecided"))


def read_table(path: Path) -> pl.DataFrame:
    """A table of pass rates: a run's folder or its difficulty.parquet, or a file with problem_id, model, correct and judged.

    Raises UserError where a column is missing, a row has no numbers of samples, or more correct ones than judged.
    """
    path = path / "difficulty.parquet" if path.is_dir() else path
    rows = list(read_rows(path))
    wanted = ("problem_id", "model", "correct", "judged")
    missing = [name for name in wanted if rows and name not in rows[0]]
    if missing or not rows:
        raise UserError(
            f"{path.name} is no table of pass rates: it has no {', '.join(missing) or 'rows'}: wanted {', '.join(wanted)}"
        )
    kept: list[dict[str, Any]] = [_row(path.name, row) for row in rows]
    frame = pl.DataFrame(kept, schema_overrides={name: TABLE[name] for name in kept[0]}, infer_schema_length=None)
    if bad := frame.filter(pl.col("correct") > pl.col("judged")).head(1).to_dicts():
        raise UserError(f"{path.name}: {bad[0]} has more correct samples than judged ones")
    return _with_rates(frame).select(TABLE.names())


def _row(file: str, row: dict[str, Any]) -> dict[str, Any]:
    named = {name: str(row.get(name) or "") for name in ("problem_id", "model", "revision")}
    counted = {name: _count(row.get(name)) for name in ("correct", "judged")}
    if None in counted.values() or not named["problem_id"]:
        said = {name: row.get(name) for name in ("problem_id", "model", "correct", "judged")}
        raise UserError(f"{file} has a row {said}: wanted a problem_id, and correct and judged as whole numbers from 0")
    return named | counted


def _count(value: Any) -> int | None:
    """A number of samples, also as a CSV ("1") or a table with gaps (1.0) has it; None where it is none."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return int(number) if number >= 0 and number.is_integer() else None


def of_models(table: pl.DataFrame, models: list[str]) -> pl.DataFrame:
    """correct, judged, pass_rate, low and high of each problem, summed over `models` (all where the list is empty).

    A model is named as in the table, or as MODEL@REVISION. Raises UserError for a model that the table does not have, and for
    one that it has in several revisions and that is named without: two students saved under one name are two models.
    """
    revisions: dict[str, list[str]] = {}
    for model, revision in table.select("model", "revision").unique().sort("model", "revision").iter_rows():
        revisions.setdefault(model, []).append(revision)
    pairs = [_named(name, revisions) for name in models] if models else [(m, r) for m, of in revisions.items() for r in of]
    chosen = pl.DataFrame(pairs, schema={"model": pl.String, "revision": pl.String}, orient="row")
    summed = table.join(chosen, on=["model", "revision"], how="semi").group_by("problem_id")
    return _with_rates(summed.agg(pl.col("correct", "judged").sum()).sort("problem_id"))


def _named(name: str, revisions: dict[str, list[str]]) -> tuple[str, str]:
    if len(of := revisions.get(name, [])) == 1:
        return name, of[0]
    if of:
        raise UserError(
            f"the table of pass rates has {name!r} in {len(of)} revisions: wanted one, {name}@{f' or {name}@'.join(of)}"
        )
    model, _, revision = name.rpartition("@")
    if revision in revisions.get(model, []):
        return model, revision
    raise UserError(f"the table of pass rates has no model {name!r}; it has {', '.join(revisions) or 'none'}")


def _with_rates(counted: pl.DataFrame) -> pl.DataFrame:
    low, high = wilson(pl.col("correct"), pl.col("judged"))
    rate = pl.when(pl.col("judged") > 0).then(pl.col("correct") / pl.col("judged"))
    return counted.with_columns(rate.alias("pass_rate"), low.alias("low"), high.alias("high"))
