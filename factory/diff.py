"""What is different between two runs: the recipe, the versions, and which problems entered, left or changed, with the reason."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from curation.errors import UserError

# Which groups of recipe keys decide what a step does; a step of `select` is named after its rule.
_DECIDES = {
    "read": ("source", "limit", "clean.filters", "clean.require_gold"),
    "duplicates": ("clean.exact_duplicates", "clean.near_duplicates", "clean.semantic"),
    "decontaminate": ("clean.benchmarks", "clean.rule", "clean.ngram", "clean.fuzzy_ratio"),
    "check gold": ("clean.check_gold", "clean.pass_rate"),
    "replay": ("teacher",),
    "sound": ("traces", "sample", "teacher", "prompt", "system"),
    "verify": ("verify", "choose.outcomes", "choose.without_gold", "teacher", "sample", "prompt", "system"),
    "choose": ("choose",),
    "solve": ("choose", "traces", "verify", "teacher", "sample", "prompt", "system"),
    "select": ("select", "clean.pass_rate", "choose"),
}
_SHOWN = 5  # ids printed of each group


class Side(NamedTuple):
    """One of two runs."""

    folder: Path
    recipe: dict[str, Any]  # dotted key -> value
    manifest: dict[str, Any]
    examples: dict[str, frozenset[str]]  # problem id -> its examples' ids


def diff_runs(one: Path, other: Path) -> str:
    """What changed from run `one` to run `other`, as text. Raises UserError for a folder that is no finished run."""
    before, after = _side(one), _side(other)
    settings = dict(_changes(before.recipe, after.recipe))
    lines = [f"{key}: {_short(a)} -> {_short(b)}" for key, (a, b) in settings.items()] or ["the recipes are the same"]
    lines += list(_versions(before.manifest, after.manifest))
    return "\n".join([*lines, "", *_funnels(one, other), "", *_problems(before, after, list(settings))])


def _side(folder: Path) -> Side:
    if not (folder / "manifest.json").is_file():
        raise UserError(f"{folder} is no finished run: it has no manifest.json; finish it with `factory build`")
    recipe = dict(_flat(json.loads((folder / "recipe.json").read_text("utf-8"))))
    rows = pl.scan_parquet(folder / "dataset" / "*.parquet").select("problem_id", "id").collect()
    examples = {p: frozenset(ids) for p, ids in rows.group_by("problem_id").agg("id").iter_rows()}
    return Side(folder, recipe, json.loads((folder / "manifest.json").read_text("utf-8")), examples)


def _flat(value: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            yield from _flat(inner, f"{prefix}.{key}" if prefix else key)
    else:
        yield prefix, value


def _changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[tuple[str, tuple[Any, Any]]]:
    for key in dict.fromkeys([*before, *after]):
        if before.get(key) != after.get(key):
            yield key, (before.get(key), after.get(key))


def _versions(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[str]:
    """Sources, benchmarks, verifier and libraries that are not the same: what changes a row without any setting."""
    for name in ("factory", "verifier", "python"):
        if before[name] != after[name]:
            yield f"{name}: {before[name]} -> {after[name]}"
    for library, (a, b) in _changes(before["libraries"], after["libraries"]):
        yield f"{library}: {a} -> {b}"
    for group in ("sources", "benchmarks"):
        old, new = ({row["name"]: row["revision"] for row in side[group]} for side in (before, after))
        for name, (a, b) in _changes(old, new):
            yield f"{group.removesuffix('s')} {name}: {a} -> {b}"


def _funnels(one: Path, other: Path) -> Iterator[str]:
    old, new = ({line["step"]: line for line in json.loads((run / "funnel.json").read_text("utf-8"))} for run in (one, other))
    steps = list(dict.fromkeys([*old, *new]))
    yield f"{'step':<24} {'kept before':>12} {'kept after':>12}"
    for step in steps:
        a, b = (str(f"{side[step]['kept']:,}") if step in side else "-" for side in (old, new))
        yield f"{step:<24} {a:>12} {b:>12}"


def _problems(before: Side, after: Side, settings: list[str]) -> Iterator[str]:
    same = [p for p in before.examples if p in after.examples]
    changed = [p for p in same if before.examples[p] != after.examples[p]]
    yield f"{sum(map(len, before.examples.values())):,} examples of {len(before.examples):,} problems before"
    yield f"{sum(map(len, after.examples.values())):,} examples of {len(after.examples):,} problems after"
    yield f"{len(same) - len(changed):,} problems have the same examples, {len(changed):,} others{_ids(changed)}"
    left = [p for p in before.examples if p not in after.examples]
    entered = [p for p in after.examples if p not in before.examples]
    yield from _reasons("left", "dropped there by", left, after, settings)
    yield from _reasons("entered", "dropped before by", entered, before, settings)


def _reasons(what: str, said: str, problems: list[str], where: Side, settings: list[str]) -> Iterator[str]:
    """Problems by the step and reason for which the run that lacks them dropped them, and which of its settings differ."""
    yield f"{len(problems):,} problems {what}"
    rejected = pl.scan_parquet(where.folder / "rejected" / "problems.parquet").select("id", "step", "reason").collect()
    why = {row: (step, reason) for row, step, reason in rejected.iter_rows()}
    found = Counter(why.get(p, ("source", "not_there")) for p in problems)
    for (step, reason), count in sorted(found.items(), key=lambda item: (-item[1], item[0])):
        ids = [p for p in problems if why.get(p, ("source", "not_there")) == (step, reason)]
        cause = ", ".join(_causes(step, settings)) or "no setting of that step: an earlier step, the input or a version"
        yield f"  {count:,} {said} {step}: {reason}; {cause}{_ids(ids)}"


def _causes(step: str, settings: list[str]) -> list[str]:
    prefixes = _DECIDES.get(step.split()[0] if step.startswith("select") else step, ("source", "limit"))
    return [key for key in settings if key.startswith(prefixes)]


def _ids(problems: list[str]) -> str:
    more = " ..." if len(problems) > _SHOWN else ""
    return f" ({' '.join(problems[:_SHOWN])}{more})" if problems else ""


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 100 else f"{text[:97]}..."
