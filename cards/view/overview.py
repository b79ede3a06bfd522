"""The figures of the page: funnel, distributions, teachers side by side, contaminated questions, dropped rows by reason."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import polars as pl

from cards.public import public_text
from cards.view.rows import Rows

VERDICTS = ("correct", "incorrect", "undetermined", "none")
_MOST_VALUES = 20  # bars of one chart; what is rarer is one bar
_MOST_TEACHERS = 12
_MOST_PAIRS = 200
# Tables that a build may leave beside the others; each is shown as it is, its first rows.
_TABLES = {"audit": "Golds in doubt", "duplicates": "Duplicate pairs"}
_TABLE_ROWS = 50


def overview(view: Rows) -> dict[str, Any]:
    """Everything of the page but the rows, as JSON."""
    traces = view.rows.filter(pl.col("kind") == "trace")
    return {
        "run": _run(view, traces),
        "funnel": view.funnel,
        "teachers": view.manifest["teachers"],
        "against": against(traces),
        "lengths": _lengths(traces, view.length_unit),
        "pass_rates": _pass_rates(traces),
        "breakdowns": {name: _breakdown(traces, name) for name in ("source", "domain", "teacher", "finish")},
        "facets": {name: _facet(view.rows, name) for name in ("kind", "source", "domain", "teacher", "finish", "verdict", "fate")},
        "contamination": _contamination(view.run),
        "tables": [table for name, title in _TABLES.items() if (table := _table(view.run / f"{name}.parquet", title))],
    }


def _run(view: Rows, traces: pl.DataFrame) -> dict[str, Any]:
    manifest = view.manifest
    return {
        "name": view.recipe["name"],
        "folder": view.run.resolve().name,
        "description": view.recipe["description"],
        "created": manifest["created"],
        "factory": manifest["factory"],
        "verifier": manifest["verifier"],
        "command": public_text(manifest["command"]),
        "tokens": manifest["tokens"],
        "cost": manifest.get("cost"),
        "examples": manifest["dataset"]["rows"],
        "traces": traces.height,
        "problems": traces.filter(pl.col("problem_id") != "")["problem_id"].n_unique(),
        "length_unit": view.length_unit,
    }


def _by_verdict() -> list[pl.Expr]:
    return [(pl.col("verdict") == name).sum().alias(name) for name in VERDICTS]


def _breakdown(traces: pl.DataFrame, column: str) -> list[dict[str, Any]]:
    """Traces of each value of a column by verdict, most frequent first."""
    by_name = traces.group_by(pl.col(column).cast(pl.String).alias("name")).agg(pl.len().alias("n"), *_by_verdict())
    ordered = by_name.sort(["n", "name"], descending=[True, False])
    rest = ordered.slice(_MOST_VALUES)
    rows = ordered.head(_MOST_VALUES).to_dicts()
    others = {"name": f"{rest.height} others", "others": True, **rest.select("n", *VERDICTS).sum().to_dicts()[0]}
    return rows + ([others] if rest.height else [])


def _facet(rows: pl.DataFrame, column: str) -> list[list[Any]]:
    counted = rows.group_by(pl.col(column).cast(pl.String).alias("name")).len().filter(pl.col("name") != "")
    return [list(row) for row in counted.sort(["len", "name"], descending=[True, False]).head(500).iter_rows()]


def _lengths(traces: pl.DataFrame, unit: str) -> dict[str, Any]:
    """Traces by length in steps of about a factor of two (1, 2, 5, 10, ...), each by verdict."""
    known = traces.filter(pl.col("length").is_not_null())
    if known.is_empty():
        return {"unit": unit, "bins": [], "median": None, "p90": None, "longest": None}
    top, length = int(known["length"].cast(pl.Int64).max() or 0), pl.col("length")  # type: ignore[arg-type]
    edges = [0, *itertools.takewhile(lambda e: e <= top, (d * 10**k for k in range(1, 12) for d in (1, 2, 5)))]
    place = pl.Series("edge", pl.Series(edges).search_sorted(known["length"], side="right") - 1)
    counted = known.with_columns(place).group_by("edge").agg(pl.len().alias("n"), *_by_verdict())
    bins = {edges[row.pop("edge")]: row for row in counted.to_dicts()}
    empty = dict.fromkeys(("n", *VERDICTS), 0)
    shown = [e for e in edges if e >= min(bins)]
    figures = known.select(median=length.median(), p90=length.quantile(0.9, "nearest"), longest=length.max()).to_dicts()[0]
    return {"unit": unit, "bins": [{**bins.get(e, empty), "from": e} for e in shown], **figures}


def _pass_rates(traces: pl.DataFrame) -> list[dict[str, Any]]:
    """Problems by the share of their traces that is correct: none, four quarters, all."""
    rates = traces.unique("problem_id")["pass_rate"].drop_nulls()
    bounds = ((0.0, 0.25), (0.25, 0.5), (0.5, 0.75), (0.75, 1.0))
    between = [
        {
            "name": f"{low:.0%} to {high:.0%}",
            "n": int(((rates >= low) & (rates < high) & (rates > 0)).sum()),
            "min": max(low, 1e-9),
            "max": high - 1e-9,
        }
        for low, high in bounds
    ]
    none, every = (
        {"name": name, "n": int((rates == x).sum()), "min": x, "max": x} for name, x in (("none correct", 0), ("all correct", 1))
    )
    return [none, *between, every]


def against(traces: pl.DataFrame) -> list[dict[str, Any]]:
    """Every pair of teachers on the problems that both have judged traces for: who solved what.

    A problem counts as solved by a teacher where at least one of its traces is correct. Largest twelve teachers.
    """
    names = traces["teacher"].cast(pl.String).value_counts(sort=True, name="n").head(_MOST_TEACHERS)["teacher"].sort()
    judged = traces.filter(pl.col("verdict") != "none", pl.col("teacher").cast(pl.String).is_in(names.implode()))
    solved = judged.group_by("problem_id", pl.col("teacher").cast(pl.String)).agg(
        (pl.col("verdict") == "correct").any().alias("won")
    )
    pairs = solved.join(solved, on="problem_id", suffix="_b").filter(pl.col("teacher") < pl.col("teacher_b"))
    a, b = pl.col("won"), pl.col("won_b")
    counted = pairs.group_by("teacher", "teacher_b").agg(
        pl.len().alias("problems"),
        (a & b).sum().alias("both"),
        (a & ~b).sum().alias("only_a"),
        (~a & b).sum().alias("only_b"),
        (~a & ~b).sum().alias("neither"),
    )
    return counted.rename({"teacher": "a", "teacher_b": "b"}).sort("a", "b").to_dicts()


def _contamination(run: Path) -> dict[str, Any]:
    path = run / "contamination.parquet"
    if not path.is_file():
        return {"pairs": 0, "shown": []}
    found = pl.read_parquet(path).sort(["score", "problem_id"], descending=[True, False])
    return {"pairs": found.height, "shown": found.head(_MOST_PAIRS).to_dicts()}


def _table(path: Path, title: str) -> dict[str, Any] | None:
    if not path.is_file():
        return None
    scan = pl.scan_parquet(path)
    head = scan.head(_TABLE_ROWS).collect()
    if head.is_empty():
        return None
    count = int(scan.select(pl.len()).collect().item())
    return {"title": title, "file": path.name, "count": count, "columns": head.columns, "rows": [list(r) for r in head.iter_rows()]}
