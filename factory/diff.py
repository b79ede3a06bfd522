"""What is different between two runs: the recipe, the versions, and which problems entered, left or changed, with the reason."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import zip_longest
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from cards.run_facts import read_json, whole

# Which groups of recipe keys decide what a step does; a step of `select` is named after its rule.
_DECIDES = {
    "read": ("source", "limit", "clean.filters", "clean.require_gold"),
    "duplicates": ("clean.exact_duplicates", "clean.near_duplicates", "clean.semantic_duplicates", "clean.semantic_model"),
    "decontaminate": (
        "clean.benchmarks",
        "clean.rule",
        "clean.ngram",
        "clean.min_coverage",
        "clean.fuzzy_ratio",
        "clean.neighbours",
    ),
    "check gold": ("clean.check_gold", "clean.pass_rate"),
    "labels": ("labels",),
    "replay": ("teacher",),
    "sample": ("sample", "teacher", "prompt", "system"),
    "sound": ("traces", "sample", "teacher", "prompt", "system"),
    "verify": ("verify", "choose.outcomes", "choose.without_gold", "teacher", "sample", "prompt", "system"),
    "choose": ("choose",),
    "select": ("select", "clean.pass_rate", "choose", "labels", "difficulty"),
}
# Where, how fast and at what price a build is done, and what it is called: no selection moves for these.
_EXECUTION = (
    *("recipe", "name", "description", "executor", "engine", "audit", "verify.judge_price"),
    *(f"sample.{key}" for key in ("timeout_s", "in_flight", "retries", "stream", "price")),
)
# A problem without an example: its last trace fell at one of these steps, others of its traces at those before it.
_SOLVED_BY = {
    "no_sound_trace": ("sound",),
    "no_correct_trace": ("sound", "verify"),
    "no_trace_chosen": ("sound", "verify", "choose"),
}
_HEAD = 300  # characters of a question


class Change(NamedTuple):
    """A value that is not the same, by its place in the recipe, such as select.0.seed; None where a side has none."""

    name: str
    before: Any
    after: Any


class Moved(NamedTuple):
    """A problem whose examples are not the same in both runs."""

    what: str  # left, entered, or changed: in both sets, with other traces
    problem_id: str
    question: str  # its first characters
    source: str
    step: str  # the step that dropped it, or the trace of it, in the run that lacks it
    reason: str
    causes: tuple[str, ...]  # changed settings that decide that step; empty: an earlier step, the input or a version
    traces_before: tuple[str, ...]  # ids of the traces in its examples
    traces_after: tuple[str, ...]


class Difference(NamedTuple):
    """Two runs, side by side."""

    names: tuple[str, str]
    settings: list[Change]
    versions: list[Change]
    funnel: list[Change]  # rows kept by each step
    examples: Change
    problems: Change
    same: int  # problems with the same examples
    moved: list[Moved]


class _Side(NamedTuple):
    folder: Path
    recipe: dict[str, Any]
    manifest: dict[str, Any]
    funnel: dict[str, int]  # step -> kept
    problems: dict[str, tuple[str, ...]]  # problem id -> its examples' traces


def compare_runs(one: Path, other: Path) -> Difference:
    """What changed from run `one` to run `other`. Raises UserError for a folder that is no finished run."""
    with whole(one, other):
        return _difference(_side(one), _side(other))


def _difference(before: _Side, after: _Side) -> Difference:
    settings = list(_changes(before.recipe, after.recipe))
    return Difference(
        (before.folder.resolve().name, after.folder.resolve().name),
        settings,
        list(_versions(before.manifest, after.manifest)),
        [Change(s, before.funnel.get(s), after.funnel.get(s)) for s in dict.fromkeys([*before.funnel, *after.funnel])],
        Change("examples", *(sum(map(len, side.problems.values())) for side in (before, after))),
        Change("problems", len(before.problems), len(after.problems)),
        sum(after.problems.get(p) == traces for p, traces in before.problems.items()),
        _moved(before, after, [change.name for change in settings]),
    )


def _side(folder: Path) -> _Side:
    manifest, recipe, funnel = (read_json(folder, f"{name}.json") for name in ("manifest", "recipe", "funnel"))
    rows = _dataset(folder).select("problem_id", "trace_id").collect()
    examples = {p: tuple(sorted(ids)) for p, ids in rows.group_by("problem_id", maintain_order=True).agg("trace_id").iter_rows()}
    return _Side(folder, recipe, manifest, {line["step"]: line["kept"] for line in funnel}, examples)


def _dataset(folder: Path) -> pl.LazyFrame:
    return pl.scan_parquet(folder / "dataset" / "*.parquet")


def _changes(before: Any, after: Any, place: str = "") -> Iterator[Change]:
    """What is not the same, each at its own place; a rule, label or benchmark that one side lacks is one change."""
    if isinstance(before, dict) and isinstance(after, dict):
        for key in dict.fromkeys([*before, *after]):
            yield from _changes(before.get(key), after.get(key), f"{place}.{key}" if place else key)
    elif _of_groups(before) and _of_groups(after):
        for number, (old, new) in enumerate(zip_longest(before, after)):
            yield from _changes(old, new, f"{place}.{number}")
    elif before != after:
        yield Change(place, before, after)


def _of_groups(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(inner, dict) for inner in value)


def _versions(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[Change]:
    """Sources, benchmarks, verifier and libraries that are not the same: what changes a row without any setting."""
    for name in ("factory", "verifier", "python"):
        if before[name] != after[name]:
            yield Change(name, before[name], after[name])
    yield from _changes(before["libraries"], after["libraries"])
    for group in ("sources", "benchmarks"):
        old, new = ({row["name"]: row["revision"] for row in side[group]} for side in (before, after))
        for change in _changes(old, new):
            yield change._replace(name=f"{group.removesuffix('s')} {change.name}")


def _moved(before: _Side, after: _Side, settings: list[str]) -> list[Moved]:
    gone = [p for p in before.problems if p not in after.problems]
    came = [p for p in after.problems if p not in before.problems]
    changed = [p for p, traces in before.problems.items() if p in after.problems and after.problems[p] != traces]
    asked = _questions(before, [*gone, *changed]) | _questions(after, came)
    groups = (("left", gone, _dropped(after, "problems", gone)), ("entered", came, _dropped(before, "problems", came)))
    rows = [(what, p, why.get(p, ("source", "not_there"))) for what, problems, why in groups for p in problems]
    rows += [("changed", p, why) for p, why in _changed(before, after, changed)]
    return [
        Moved(
            *(what, p, *asked[p], *why, causes(*why, settings)),
            traces_before=before.problems.get(p, ()),
            traces_after=after.problems.get(p, ()),
        )
        for what, p, why in rows
    ]


def _changed(before: _Side, after: _Side, problems: list[str]) -> Iterator[tuple[str, tuple[str, str]]]:
    """Why a trace of each is not in the later set; where all of them are, why the new one was not in the earlier."""
    lost = {p: [t for t in before.problems[p] if t not in after.problems[p]] for p in problems}
    new = {p: [t for t in after.problems[p] if t not in before.problems[p]] for p in problems}
    of_lost = _dropped(after, "traces", [t for traces in lost.values() for t in traces])
    of_new = _dropped(before, "traces", [t for traces in new.values() for t in traces])
    for p in problems:
        first, why = (lost[p][0], of_lost) if lost[p] else (new[p][0], of_new)
        yield p, why.get(first, ("sample", "not_there"))


def _dropped(side: _Side, table: str, ids: Iterable[str]) -> dict[str, tuple[str, str]]:
    """Step and reason for which a run dropped each of these; absent for those that it never had."""
    wanted = pl.Series(list(ids), dtype=pl.String).implode()
    rows = pl.scan_parquet(side.folder / "rejected" / f"{table}.parquet").select("id", "step", "reason")
    return {row: (step, reason) for row, step, reason in rows.filter(pl.col("id").is_in(wanted)).collect().iter_rows()}


def _questions(side: _Side, ids: Iterable[str]) -> dict[str, tuple[str, str]]:
    """The beginning of each question, and its source."""
    wanted = pl.Series(list(ids), dtype=pl.String).implode()
    rows = _dataset(side.folder).filter(pl.col("problem_id").is_in(wanted))
    heads = rows.select("problem_id", pl.col("problem").str.slice(0, _HEAD), pl.col("source").fill_null("")).collect()
    return {p: (question, source) for p, question, source in heads.iter_rows()}


def causes(step: str, reason: str, settings: list[str]) -> tuple[str, ...]:
    """Those of the changed settings that decide whether this step drops a row for this reason.

    A selection weighs all rows against each other: where none of its own settings changed, whatever changed the rows that came to
    it moved others too.
    """
    steps = _SOLVED_BY.get(reason, ("sample",)) if step == "solve" else (step.split()[0] if step.startswith("select") else step,)
    prefixes = tuple(prefix for s in steps for prefix in _DECIDES.get(s, ("source", "limit")))
    found = tuple(key for key in settings if _is_under(key, prefixes))
    return found or tuple(key for key in settings if steps == ("select",) and not _is_under(key, _EXECUTION))


def _is_under(key: str, prefixes: tuple[str, ...]) -> bool:
    return any(key == prefix or key.startswith(f"{prefix}.") for prefix in prefixes)
