"""How hard a problem is for a model: the share of its samples that are right, with an interval, as a table to be reused.

OpenR1, OREAL, INTELLECT and LIMO all keep a window of pass rates and none says how sure a rate is: 3 of 8 is anything from
0.14 to 0.69. The interval is Wilson's (1927) at 95 percent, which stays inside [0, 1] and is not empty at 0 of n.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

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
        "correct": pl.Int64,  # samples that are right
        "judged": pl.Int64,  # samples that are right or wrong
        "pass_rate": pl.Float64,  # correct / judged; null where nothing was judged
        "low": pl.Float64,  # ends of the 95 percent interval
        "high": pl.Float64,
    }
)


def pass_rates(verdicts: pl.LazyFrame) -> pl.DataFrame:
    """The table of pass rates, one row for each problem and model, sorted by them.

    `verdicts` has problem_id, teacher, fault, outcome and, where a judge was asked, judge ("equivalent" counts as right).
    A sample that nobody could decide is left out.
    """
    judge = pl.col("judge") == "equivalent" if "judge" in verdicts.collect_schema() else pl.lit(False)
    right = ((pl.col("outcome") == "correct") | judge).fill_null(False)
    wrong = ~right & ((pl.col("outcome") == "incorrect").fill_null(False) | pl.col("fault").is_in(FAILED).fill_null(False))
    counted = (
        verdicts.group_by("problem_id", pl.col("teacher").alias("model"))
        .agg(right.sum().cast(pl.Int64).alias("correct"), (right | wrong).sum().cast(pl.Int64).alias("judged"))
        .sort("problem_id", "model")
    )
    low, high = wilson(pl.col("correct"), pl.col("judged"))
    rate = pl.when(pl.col("judged") > 0).then(pl.col("correct") / pl.col("judged"))
    return counted.with_columns(rate.alias("pass_rate"), low.alias("low"), high.alias("high")).select(TABLE.names()).collect()


def wilson(correct: pl.Expr, judged: pl.Expr) -> tuple[pl.Expr, pl.Expr]:
    """Ends of Wilson's 95 percent interval of a share; (0, 1) where nothing was judged."""
    n = judged.cast(pl.Float64)
    centre = (correct + Z_95**2 / 2) / (n + Z_95**2)
    # Without rounding off, 0 of n would start at -1e-17 instead of 0.
    half = Z_95 / (n + Z_95**2) * (correct * (n - correct) / pl.max_horizontal(n, pl.lit(1.0)) + Z_95**2 / 4).sqrt()
    low = pl.when(correct > 0).then(pl.max_horizontal(centre - half, pl.lit(0.0))).otherwise(0.0)
    high = pl.when(correct < judged).then(pl.min_horizontal(centre + half, pl.lit(1.0))).otherwise(1.0)
    return low, high


def read_table(path: Path) -> pl.DataFrame:
    """A table of pass rates: a run's difficulty.parquet, or a file with problem_id, model, correct and judged.

    Raises UserError where a column is missing or a row has more correct samples than judged ones.
    """
    rows = list(read_rows(path))
    wanted = ("problem_id", "model", "correct", "judged")
    missing = [name for name in wanted if rows and name not in rows[0]]
    if missing or not rows:
        raise UserError(
            f"{path.name} is no table of pass rates: it has no {', '.join(missing) or 'rows'}: wanted {', '.join(wanted)}"
        )
    kept: list[dict[str, Any]] = [{name: row[name] for name in wanted} for row in rows]
    frame = pl.DataFrame(kept, schema_overrides={name: TABLE[name] for name in wanted}, infer_schema_length=None)
    if bad := frame.filter(pl.col("correct") > pl.col("judged")).head(1).to_dicts():
        raise UserError(f"{path.name}: {bad[0]} has more correct samples than judged ones")
    low, high = wilson(pl.col("correct"), pl.col("judged"))
    rate = pl.when(pl.col("judged") > 0).then(pl.col("correct") / pl.col("judged"))
    return frame.with_columns(rate.alias("pass_rate"), low.alias("low"), high.alias("high")).select(TABLE.names())


def of_models(table: pl.DataFrame, models: list[str]) -> pl.DataFrame:
    """correct, judged and pass_rate of each problem, summed over `models` (all where the list is empty).

    Raises UserError for a model that the table does not have.
    """
    known = table["model"].unique().sort().to_list()
    if unknown := [m for m in models if m not in known]:
        raise UserError(f"the table of pass rates has no model {unknown[0]!r}; it has {', '.join(known) or 'none'}")
    chosen = table.filter(pl.col("model").is_in(models)) if models else table
    summed = chosen.group_by("problem_id").agg(pl.col("correct", "judged").sum()).sort("problem_id")
    return summed.with_columns(pl.when(pl.col("judged") > 0).then(pl.col("correct") / pl.col("judged")).alias("pass_rate"))
