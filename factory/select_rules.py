"""From a recipe's selection rule and the run's tables to a call of curation.selection."""

from __future__ import annotations

import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl

from curation.difficulty import of_models, read_table
from curation.errors import UserError
from curation.features import FEATURES, WORDS, trace_features
from curation.selection import Selection
from curation.selection.diversity import diverse
from curation.selection.limo import limo
from curation.selection.mixture import mixture
from curation.selection.pass_rate import PRESETS, Band, by_pass_rate
from curation.selection.per_problem import per_problem
from curation.selection.s1k import s1k
from factory.embedding import embedding
from factory.measuring import own_rates, rates, refuse_strange
from factory.rules import Select, SelectDiverse, SelectLimo, SelectMixture, SelectPassRate, SelectPerProblem, SelectS1k
from factory.steps import Piece

SHARDS_AT_ONCE = 2  # Polars packs and unpacks a column on one core, and nearly all of a shard is one column: the texts
_SOLVED = "solved_by_a_small_model"
_PLAIN = ("id", "problem_id", "trace_id", "problem", "source", "domain", "teacher", "outcome", "meta")

_OWN = ("row", "shard", "file", "meta")  # of the table, and no label


def example_table(files: Sequence[Path], rules: Sequence[Select]) -> pl.DataFrame:
    """One row for each example of all shards, in order: row, shard, its labels, and what its trace looks like in numbers.

    `thinking` is the number of characters of the thinking alone, or of the whole text where it has no tags (those of DeepSeek-R1's
    traces are often lost on the way); the features are of the whole text, those that a rule of `rules` may ask for.
    """
    features = [name for name in (*FEATURES, "thinking") if any(_wants(rule, name) for rule in rules)]
    with ThreadPoolExecutor(SHARDS_AT_ONCE) as pool:
        parts = list(pool.map(partial(_part, features=features), files, range(len(files))))
    return pl.concat(parts).with_row_index("row")


def _wants(rule: Select, feature: str) -> bool:
    """Whether a rule may go by a number for which all texts must be read; those that cost little are always there."""
    by = getattr(rule, "by", None)
    if feature == "thinking":
        return isinstance(rule, SelectS1k) or by == feature
    return feature not in WORDS or isinstance(rule, SelectLimo) or by in ("score", feature)


def _part(file: Path, shard: int, features: Sequence[str]) -> pl.DataFrame:
    frame = pl.read_parquet(file, columns=[*_PLAIN, "messages"])
    text = frame["messages"].list.get(-1).struct.field("content")
    where = pl.lit(shard).alias("shard"), pl.lit(str(file)).alias("file")
    table = frame.select(*_PLAIN, *where).hstack(trace_features(text, features))
    return table.with_columns(_thinking(text)) if "thinking" in features else table


def _thinking(text: pl.Series) -> pl.Series:
    thought = text.str.extract(r"(?s)^<think>\n(.*)\n</think>", 1).str.len_chars()
    return thought.fill_null(text.str.len_chars()).cast(pl.Int64).alias("thinking")


def apply(rule: Select, table: pl.DataFrame, difficulty: Piece) -> Selection:
    """Call the function of a rule. Raises UserError for a column or model that is not there."""
    if isinstance(rule, SelectS1k):
        return _s1k(rule, table, difficulty)
    if isinstance(rule, SelectLimo):
        return limo(table, size=rule.size, weights={str(k): v for k, v in rule.weights.items()} or None)
    if isinstance(rule, SelectPassRate):
        bands = PRESETS[rule.preset] if rule.preset else (Band(rule.low, rule.high),)
        return by_pass_rate(_with_rates(rule, table, difficulty), bands, surely=rule.surely)
    if isinstance(rule, SelectPerProblem):
        return per_problem(table, k=rule.k, by=rule.by, seed=rule.seed)
    if isinstance(rule, SelectMixture):
        known = _with_rates(rule, table, difficulty) if rule.by == "pass_rate" else table.with_columns(_label(table, rule.by))
        how: dict[str, Any] = rule.model_dump(include={"by", "size", "weights", "quotas", "edges", "seed"})
        return mixture(known, **how)
    return diverse(table, _vectors(rule, table), size=rule.size, method=rule.method, seed=rule.seed)


def _s1k(rule: SelectS1k, table: pl.DataFrame, difficulty: Piece) -> Selection:
    right = pl.when(pl.col("outcome") == "undetermined").then(None).otherwise(pl.col("outcome") == "correct").alias("correct")
    labels = _label(table, rule.domain).alias("domain"), _label(table, rule.source).fill_null("").alias("source")
    known = table.with_columns(*labels, pl.col("thinking").alias("length"))
    easy = _easy(rule, difficulty, known["problem_id"])
    known = known.join(easy, on="problem_id", how="left", maintain_order="left").with_columns(right)
    done = s1k(
        known,
        size=rule.size,
        mode=rule.mode or ("notebook" if rule.benchmark_sources else "paper"),
        seed=rule.seed,
        keep_sources=rule.keep_sources,
        keep_longer={name: float(n) for name, n in rule.keep_longer.items()},
        benchmark_sources=rule.benchmark_sources,
    )
    solved = [
        f", solved by {models}" if reason == _SOLVED else "" for models, reason in zip(known["by"], done.reasons, strict=True)
    ]
    return done._replace(details=[f"{detail}{by}" for detail, by in zip(done.details, solved, strict=True)])


def _easy(rule: SelectS1k, difficulty: Piece, wanted: pl.Series) -> pl.DataFrame:
    """problem_id, easy (whether a model solves it), by (which ones do); of problems judged for every model: s1 drops others."""
    table = read_table(Path(rule.table)) if rule.table else pl.read_parquet(difficulty.folder / "difficulty.parquet")
    if rule.table:
        refuse_strange(rule.table, table["problem_id"], wanted)
    listed = table.select(pl.format("{}@{}", "model", "revision")).unique().to_series().sort().to_list()
    models = (rule.models or listed) if table.height else []
    each = [of_models(table, [m]).filter(pl.col("judged") > 0).with_columns(pl.lit(m).alias("model")) for m in models]
    judged = pl.concat(each) if each else of_models(table, []).with_columns(pl.lit("").alias("model"))
    by = pl.col("model").filter(pl.col("correct") > 0).str.join(", ").alias("by")
    counted = judged.group_by("problem_id", maintain_order=True).agg(pl.len().alias("models"), by)
    return counted.filter(pl.col("models") == len(models)).select("problem_id", (pl.col("by") != "").alias("easy"), "by")


def _rates(rule: SelectPassRate | SelectMixture, difficulty: Piece) -> pl.DataFrame:
    return rates(rule.table, rule.models) if rule.table else own_rates(difficulty, rule.models)


def _with_rates(rule: SelectPassRate | SelectMixture, table: pl.DataFrame, difficulty: Piece) -> pl.DataFrame:
    measured = _rates(rule, difficulty).select("problem_id", "pass_rate", "low", "high")
    if rule.table:
        refuse_strange(rule.table, measured["problem_id"], table["problem_id"])
    return table.join(measured, on="problem_id", how="left", maintain_order="left")


def _label(table: pl.DataFrame, name: str) -> pl.Series:
    """A column of the table, or the values of a key of `meta` (`meta.KEY` where a column has that name); null where a row has none.

    Raises UserError where there is neither, and where a column is the same in all rows and the source's own of that name is not:
    the domain that golds are read as is "math" for each row of a source that knows twenty.
    """
    if name in table.columns and name != "meta":
        if table[name].n_unique() == 1 and len(set(map(str, _of_meta(table, name))) - {"None"}) > 1:
            raise UserError(
                f"{name!r} is {table[name][0]!r} in every example, and the source's own values of it differ: wanted meta.{name}"
            )
        return table[name]
    found = _of_meta(table, name.removeprefix("meta."))
    if table.height and all(value is None for value in found):
        shown = [column for column in table.columns if column not in _OWN]
        raise UserError(f"no example has {name!r} as a column or in meta; there are {', '.join(shown)} and {_keys(table)}")
    if all(isinstance(value, int | float) or value is None for value in found):
        return pl.Series(name, found, pl.Float64, strict=False)
    return pl.Series(name, [None if value is None else str(value) for value in found], pl.String)


def _of_meta(table: pl.DataFrame, key: str) -> list[Any]:
    return [json.loads(meta).get(key) for meta in table["meta"]]


def _keys(table: pl.DataFrame) -> str:
    return ", ".join(sorted({key for meta in table["meta"].head(100) for key in json.loads(meta)})) or "nothing in meta"


def _vectors(rule: SelectDiverse, table: pl.DataFrame) -> Any:
    from curation.vectors import from_model, tfidf_svd

    texts = table["problem"].to_list() if rule.of == "problem" else _traces(table)
    model, revision = embedding(rule.model)
    return from_model(texts, model, revision) if model else tfidf_svd(texts, rule.dimensions, rule.seed)


def _traces(table: pl.DataFrame) -> list[str]:
    texts: dict[str, str] = {}
    for file in table["file"].unique(maintain_order=True):
        frame = pl.read_parquet(file, columns=["id", "messages"])
        texts |= dict(zip(frame["id"], frame["messages"].list.get(-1).struct.field("content"), strict=True))
    return [texts[i] for i in table["id"]]
