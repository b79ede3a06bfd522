"""The page as one file, `report.html`: it opens by a double click, without a server and without a network."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl

from cards.view.detail import row
from cards.view.overview import overview
from cards.view.rows import IN_THE_SET, Rows, listed, open_rows
from cards.view.single_file import single_file
from curation.files import write_atomic

SEED = 0
# Rows of the sample: (condition, how many). 200 in all, so that the file stays a few megabytes.
_SAMPLE = (
    ((pl.col("kind") == "trace") & (pl.col("fate") == IN_THE_SET), 120),
    ((pl.col("kind") == "trace") & (pl.col("fate") != IN_THE_SET), 60),
    (pl.col("kind") == "problem", 20),
)
_LONGEST = 120_000  # characters of one text, about 30,000 tokens; what is longer is cut, and says so


def write_report(run: Path) -> Path:
    """Write `run/report.html` whole or not at all: the figures of the whole run and a seeded sample of its rows.

    The same run gives the same bytes. Raises UserError where the folder is no finished run.
    """
    path = run / "report.html"
    write_atomic(path, render(open_rows(run)))
    return path


def render(view: Rows) -> str:
    """The page of a run as one file, with the figures and a sample of its rows."""
    return single_file("index.html", _data(view))


def _data(view: Rows) -> dict[str, Any]:
    rows = _sample(view)
    return {
        "overview": _cut(overview(view)),
        "rows": listed(view, rows),
        "details": {row_id: _cut(row(view, row_id)) for row_id in rows["id"]},
        "sample": f"This file holds {rows.height:,} of the run's {view.rows.height:,} rows, drawn with seed {SEED}: up to 120 "
        "traces of the set, 60 that are not in it and 20 dropped problems. `factory view` shows every row.",
    }


def _sample(view: Rows) -> pl.DataFrame:
    groups = [view.rows.with_row_index("at").filter(condition) for condition, _ in _SAMPLE]
    drawn = [g.sample(min(g.height, size), seed=SEED) for g, (_, size) in zip(groups, _SAMPLE, strict=True)]
    return pl.concat(drawn).sort("at").drop("at")


def _cut(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _cut(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_cut(inner) for inner in value]
    if isinstance(value, str) and len(value) > _LONGEST:
        half = _LONGEST // 2
        return f"{value[:half]}\n\n[… {len(value) - 2 * half:,} characters are not in this report …]\n\n{value[-half:]}"
    return value
