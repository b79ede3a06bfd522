"""The account of every row: kept, or dropped with a reason. A step whose numbers do not add up fails the build."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from curation.files import write_table

SHARD_ROWS = 500  # problems; with 8 traces of 50 kB each, 200 MB of text: what one step holds in memory
# {"step", "unit", "in", "kept", "dropped": {reason: rows}}, as funnel.json holds it; "rescued" where a judge accepted some of
# the kept rows against the rule
Count = dict[str, Any]


def count(step: str, unit: str, reasons: Sequence[str | None]) -> Count:
    """The funnel's line for one step: `reasons` has one entry a row, None where the row was kept."""
    dropped = Counter(r for r in reasons if r is not None)
    return checked(
        {
            "step": step,
            "unit": unit,
            "in": len(reasons),
            "kept": sum(r is None for r in reasons),
            "dropped": _sorted(dropped),
        }
    )


def total(counts: Iterable[Count]) -> Count:
    """The sum of one step's lines over its shards."""
    first, *rest = counts
    dropped: Counter[str] = Counter(first["dropped"])
    for line in rest:
        dropped.update(line["dropped"])
    counted = [key for key in ("in", "kept", "rescued") if any(key in line for line in (first, *rest))]
    summed = {key: sum(line.get(key, 0) for line in (first, *rest)) for key in counted}
    return checked({**first, **summed, "dropped": _sorted(dropped)})


def checked(line: Count) -> Count:
    if line["in"] != line["kept"] + sum(line["dropped"].values()):
        raise AssertionError(f"the funnel does not add up at {line['step']}: {line}")
    return line


def _sorted(dropped: Counter[str]) -> dict[str, int]:
    return dict(sorted(dropped.items(), key=lambda item: (-item[1], item[0])))


def settle(folder: Path, step: str, unit: str, frame: pl.DataFrame, reasons: Sequence[str | None], details: Sequence[str]) -> Count:
    """Write the kept rows to shards `kept-00000.parquet`, ..., and the dropped ones, with step, reason and detail, to
    `rejected.parquet`.

    A shard holds SHARD_ROWS rows and the order never changes, so more rows at the end leave the first shards as they were.
    """
    named = frame.with_columns(
        pl.lit(step, pl.String).alias("step"),
        pl.Series("reason", reasons, pl.String),
        pl.Series("detail", details, pl.String),
    )
    stay = frame.filter(named["reason"].is_null())
    for number, start in enumerate(range(0, max(1, stay.height), SHARD_ROWS)):
        write_table(stay.slice(start, SHARD_ROWS), folder / f"kept-{number:05}.parquet")
    write_table(named.filter(pl.col("reason").is_not_null()), folder / "rejected.parquet")
    return count(step, unit, reasons)
