"""The recipe's `select` rules, one after the other over the examples of all shards, each with its lines in the funnel.

Only numbers and labels of the examples are held at once, with the questions (300 bytes each) and, for vectors of traces, those;
the examples themselves go shard by shard.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import polars as pl

from curation.files import write_table
from curation.records import content_id
from curation.selection import Selection
from factory.embedding import embedding_facts
from factory.ledger import count
from factory.measuring import table_digest
from factory.rules import Select
from factory.select_rules import SHARDS_AT_ONCE, apply, example_table
from factory.steps import Facts, Piece, link, once

if TYPE_CHECKING:
    from factory.one_shard import Judged


class Dropped(NamedTuple):
    """What a rule says of a row that it did not take."""

    step: str
    reason: str
    detail: str


class Applied(NamedTuple):
    """What all rules leave of the examples, told by their rows in the table."""

    times: Counter[int]  # how often each row stands among what is left
    why: dict[int, Dropped]
    lines: list[dict[str, Any]]  # of the funnel
    states: list[dict[str, Any]]  # of each rule: what is needed to repeat it


def select(store: Path, rules: Sequence[Select], judged: Sequence[Judged], difficulty: Piece) -> Piece:
    """What the rules leave: `examples-<shard>.parquet`, and what they take away: `traces.parquet`, `problems.parquet`.

    `selection.json` holds, for each rule in order, its settings as resolved and all else that is needed to repeat it. What a rule
    measured of a row that it dropped, such as its score, is that row's `detail`.
    """
    models = [embedding_facts(getattr(rule, "model", None), f"select.{number}") for number, rule in enumerate(rules)]
    settings = [
        rule.model_dump(mode="json") | {"digest": table_digest(getattr(rule, "table", None))} | model
        for rule, model in zip(rules, models, strict=True)
    ]

    def work(folder: Path) -> Facts:
        every = example_table([j.examples.folder / "examples.parquet" for j in judged], rules)
        done = _applied(rules, every, difficulty)
        with ThreadPoolExecutor(SHARDS_AT_ONCE) as pool:
            write = partial(_write, folder, times=done.times, why=done.why)
            examples = list(pool.map(write, judged, _by_shard(every, len(judged))))
        states = [state | {"settings": how} for state, how in zip(done.states, settings, strict=True)]
        (folder / "selection.json").write_text(json.dumps(states, indent=1, ensure_ascii=False) + "\n", "utf-8")
        return {
            "funnel": done.lines,
            "examples": examples,
            "embeddings": [one for model in models for one in model.get("embeddings", [])],
        }

    inputs = [*(j.examples.digest for j in judged), difficulty.digest]
    return once(store, "select", settings, inputs, work)


def _applied(rules: Sequence[Select], every: pl.DataFrame, difficulty: Piece) -> Applied:
    left, why = every, dict[int, Dropped]()
    lines: list[dict[str, Any]] = []
    states: list[dict[str, Any]] = []
    for number, rule in enumerate(rules):
        name = rule.rule if rule.rule not in [r.rule for r in rules[:number]] else f"{rule.rule} {number + 1}"
        done = apply(rule, left, difficulty)
        lines += _lines(name, done)
        states.append(done.state)
        said = zip(left["row"], done.reasons, done.details, strict=True)
        why |= {row: Dropped(f"select {name}", reason, detail) for row, reason, detail in said if reason}
        left = left[done.taken]
    return Applied(Counter(left["row"].to_list()), why, lines, states)


def _lines(name: str, done: Selection) -> list[dict[str, Any]]:
    lines = [count(f"{name}: {s.name}" if len(done.stages) > 1 else name, "examples", s.reasons) for s in done.stages]
    more = len(done.taken) - lines[-1]["kept"]
    return [*lines[:-1], lines[-1] | ({"repeated": more} if more else {})]


def _by_shard(every: pl.DataFrame, shards: int) -> list[pl.DataFrame]:
    return [every.filter(pl.col("shard") == shard) for shard in range(shards)]


def _write(folder: Path, j: Judged, part: pl.DataFrame, *, times: Counter[int], why: dict[int, Dropped]) -> int:
    """One shard's examples and what was taken away of it; how many examples are left."""
    number = j.shard.number
    repeats = [times.get(row, 0) for row in part["row"]]
    places = [place for place, n in enumerate(repeats) for _ in range(n)]
    copies = [copy for n in repeats for copy in range(n)]
    source, target = j.examples.folder / "examples.parquet", folder / f"examples-{number:05}.parquet"
    if places == list(range(part.height)):  # nothing went
        link(source, target)
    else:
        kept = pl.read_parquet(source)[places]
        ids = [content_id(i, copy) if copy else i for i, copy in zip(kept["id"], copies, strict=True)]
        write_table(kept.with_columns(pl.Series("id", ids, pl.String)), target)
    away = [why[row] if not n else None for row, n in zip(part["row"], repeats, strict=True)]
    traces = {t: reason for t, reason in zip(part["trace_id"], away, strict=True) if reason}
    _reject(folder / f"traces-{number:05}.parquet", j.traces.folder / "traces.parquet", traces)
    stay = {problem for problem, n in zip(part["problem_id"], repeats, strict=True) if n}
    problems = {p: reason for p, reason in zip(part["problem_id"], away, strict=True) if reason and p not in stay}
    _reject(folder / f"problems-{number:05}.parquet", j.shard.problems, problems)
    return len(places)


def _reject(path: Path, source: Path, dropped: dict[str, Dropped]) -> None:
    """The rows of `source` that were taken away; step is the rule."""
    # Of a row that stays no text is made, and where all stay nothing is read.
    found = pl.scan_parquet(source)
    frame = (found.filter(pl.col("id").is_in(list(dropped))) if dropped else found.head(0)).collect()
    said = [dropped[row] for row in frame["id"]]
    columns = [pl.Series(name, [d[at] for d in said], pl.String) for at, name in enumerate(Dropped._fields)]
    write_table(frame.with_columns(columns), path, level=1)  # read once, as those of the choice
