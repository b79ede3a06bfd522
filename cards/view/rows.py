"""Every trace and every dropped problem of a run as one light table: what the page lists and filters, without the texts."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from cards.run_facts import read_json
from curation.errors import UserError

IN_THE_SET = "in the set"
PAGE_ROWS = 50
FILES_AT_ONCE = 4  # of 100 MB unpacked, read side by side
HEAD_CHARACTERS = 160  # of a question, in a list


class Rows(NamedTuple):
    """A run, opened for looking at. `rows` is in the order of the run's files; its columns are those of `_COLUMNS`."""

    run: Path
    rows: pl.DataFrame
    problems: pl.DataFrame  # id, head (first characters), search (lower-case question and gold), source, domain
    files: list[Path]  # where the texts are: `rows.file` is a position in this list
    length_unit: str  # of `rows.length`: tokens where the teacher counted every trace, else characters
    funnel: list[dict[str, Any]]
    manifest: dict[str, Any]
    recipe: dict[str, Any]


_COLUMNS = (
    "kind",  # trace, or problem: one that was dropped
    "id",
    "problem_id",
    "source",
    "domain",
    "teacher",
    "finish",
    "verdict",  # correct, incorrect, undetermined, or none where nothing was judged
    "why",
    "extracted",
    "fate",  # "in the set", or "step: reason"
    "detail",
    "length",
    "pass_rate",  # correct traces of the problem / its traces, in [0, 1]
    "file",
    "row",  # position in that file
    "problem",  # position in `problems`; null where a replayed trace answers none of the run
)
# Values that repeat: as categories, a filter over 200,000 rows takes a few milliseconds.
_REPEATED = ("kind", "source", "domain", "teacher", "finish", "verdict", "fate")


def open_rows(run: Path) -> Rows:
    """Read the light columns of a finished run: 2.5 s and 300 MB for 200,000 traces with 900 MB of text.

    Raises UserError where the folder is no finished run.
    """
    recipe, manifest, funnel = (read_json(run, name) for name in ("recipe.json", "manifest.json", "funnel.json"))
    if not any((run / "traces").glob("*.parquet")):
        raise UserError(f"{run} holds no traces/*.parquet: finish it with `factory build`")
    rejected = [run / "rejected" / f"{name}.parquet" for name in ("traces", "problems")]
    files = [*sorted((run / "traces").glob("*.parquet")), *rejected]
    problems = _problems(run, rejected[1])
    traces, unit = _traces(run, files)
    rows = _described(pl.concat([traces, _dropped_problems(rejected[1], len(files) - 1)], how="diagonal"), problems)
    return Rows(run, rows, problems, files, unit, funnel, manifest, recipe)


def _traces(run: Path, files: list[Path]) -> tuple[pl.DataFrame, str]:
    columns = ["id", "problem_id", "teacher", "finish"]
    characters = pl.col("reasoning").str.len_chars().fill_null(0) + pl.col("answer_text").str.len_chars()
    measures = [characters.cast(pl.Int64).alias("characters"), pl.col("completion_tokens").alias("tokens")]

    def scanned(file: int) -> pl.LazyFrame:
        return pl.scan_parquet(files[file], row_index_name="row").with_columns(file=pl.lit(file, pl.Int32))

    light = [scanned(n).select("row", *columns, *measures, "file") for n in range(len(files) - 2)]
    groups = (light[at : at + FILES_AT_ONCE] for at in range(0, len(light), FILES_AT_ONCE))
    held = pl.concat([table for group in groups for table in pl.collect_all(group, engine="streaming")])
    dropped = scanned(len(files) - 2).select("row", *columns, "step", "reason", "detail", "file").collect()
    # Traces that a replay could not use are nowhere but among the rejected; the texts of the others need no second reading.
    loose = dropped.join(held, on="id", how="anti", maintain_order="left").drop("step", "reason", "detail")
    first, last = (loose["row"][0], loose["row"][-1]) if loose.height else (0, -1)
    measured = scanned(len(files) - 2).slice(first, last + 1 - first).select("row", *measures).collect(engine="streaming")
    every = pl.concat([held, loose.join(measured, on="row", how="left", maintain_order="left").select(held.columns)])
    judged = pl.scan_parquet(run / "verdicts" / "*.parquet").select("trace_id", "why", "extracted", verdict="outcome")
    joined = every.join(dropped.select("id", "step", "reason", "detail"), on="id", how="left").join(
        judged.collect(), left_on="id", right_on="trace_id", how="left"
    )
    unit = "tokens" if joined["tokens"].null_count() == 0 and joined.height else "characters"
    return joined.with_columns(kind=pl.lit("trace"), length=pl.col(unit)), unit


def _dropped_problems(file: Path, position: int) -> pl.DataFrame:
    found = pl.scan_parquet(file, row_index_name="row").select("row", "id", "step", "reason", "detail", problem_id="id")
    return found.collect().with_columns(kind=pl.lit("problem"), file=pl.lit(position, pl.Int32))


def _problems(run: Path, dropped: Path) -> pl.DataFrame:
    both = (pl.scan_parquet(path) for path in (run / "problems" / "*.parquet", dropped))
    columns = (
        "id",
        "source",
        "domain",
        pl.col("prompt").str.slice(0, HEAD_CHARACTERS).alias("head"),
        pl.concat_str("prompt", "answer", separator="\n", ignore_nulls=True).str.to_lowercase().alias("search"),
    )
    return pl.concat([frame.select(*columns) for frame in both]).unique("id", keep="first", maintain_order=True).collect()


def _described(rows: pl.DataFrame, problems: pl.DataFrame) -> pl.DataFrame:
    known = problems.select("id", "source", "domain").with_row_index("problem")
    named = rows.join(known, left_on="problem_id", right_on="id", how="left", maintain_order="left")
    correct = (pl.col("verdict") == "correct").fill_null(False)
    answers = (pl.col("kind") == "trace") & (pl.col("problem_id") != "")  # a replayed trace may answer no problem of the run
    rate = pl.when(answers).then(correct.mean().over("problem_id", "kind"))
    fate = pl.when(pl.col("step").is_null()).then(pl.lit(IN_THE_SET)).otherwise(pl.concat_str("step", "reason", separator=": "))
    ready = named.with_columns(
        fate=fate, pass_rate=rate, verdict=pl.col("verdict").fill_null("none"), row=pl.col("row").cast(pl.Int64)
    )
    return ready.select(_COLUMNS).with_columns(pl.col(_REPEATED).fill_null("").cast(pl.Categorical))


def filtered(view: Rows, wanted: Mapping[str, str]) -> pl.DataFrame:
    """The rows that a query asks for, in order.

    Keys: kind, source, domain, teacher, finish, verdict, fate (one value each), step (the first part of fate), min_length,
    max_length, min_rate, max_rate (numbers), q (found in question, gold, extracted answer, detail or an id, whatever its
    case), sort (longest, shortest, hardest, easiest). Raises ValueError for a number that is none.
    """
    conditions = [pl.col(name) == wanted[name] for name in _REPEATED if wanted.get(name)]
    if wanted.get("step"):
        conditions.append(pl.col("fate").cast(pl.String).str.starts_with(wanted["step"] + ": "))
    for name, column in (("length", "length"), ("rate", "pass_rate")):
        if wanted.get(f"min_{name}"):
            conditions.append(pl.col(column) >= float(wanted[f"min_{name}"]))
        if wanted.get(f"max_{name}"):
            conditions.append(pl.col(column) <= float(wanted[f"max_{name}"]))
    found = view.rows.filter(*conditions)
    if wanted.get("q"):
        found = found.filter(_mentions(view, wanted["q"].lower()))
    return _sorted(found, wanted.get("sort", ""))


def _mentions(view: Rows, text: str) -> pl.Expr:
    asked = view.problems["search"].str.contains(text, literal=True)
    own = [pl.col(name).str.to_lowercase().str.contains(text, literal=True).fill_null(False) for name in ("extracted", "detail")]
    ids = [pl.col(name).fill_null("").str.starts_with(text) for name in ("id", "problem_id")]
    # A mask looked up by position: four times quicker than a join on 300,000 ids.
    mask = pl.col("problem").map_batches(lambda at: asked.gather(at), return_dtype=pl.Boolean).fill_null(False)
    return pl.any_horizontal(mask, *own, *ids)


def _sorted(rows: pl.DataFrame, order: str) -> pl.DataFrame:
    column, descending = {
        "longest": ("length", True),
        "shortest": ("length", False),
        "hardest": ("pass_rate", False),
        "easiest": ("pass_rate", True),
    }.get(order, ("", False))
    return rows.sort(column, descending=descending, nulls_last=True, maintain_order=True) if column else rows


def listed(view: Rows, rows: pl.DataFrame) -> list[dict[str, Any]]:
    """Rows as the page lists them, with the beginning of the question."""
    heads = view.problems["head"].gather(rows["problem"])
    return rows.with_columns(head=heads).drop("file", "row", "problem").to_dicts()
