"""Why a sample would be reused, or asked for anew: field by field against what the store has for the same problem."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl

from curation.errors import UserError
from curation.records import Problem, from_frame
from factory import tracing
from factory.identity import identity_of
from factory.journal import Sample, Store
from factory.recipe import Recipe
from factory.sampling import Identity, Request, key_of
from factory.teachers import parse_teacher

MOST_SHOWN = 3  # stored samples that come nearest


def explain(recipe: Recipe, runs: Path, problem_id: str, index: int) -> str:
    """What `factory cached` prints. `problem_id` may be the beginning of one."""
    teacher = parse_teacher(recipe.teacher)
    if teacher.kind in ("oracle", "replay"):
        raise UserError(f"the teacher {recipe.teacher!r} runs no model, so its traces are not in the store of samples")
    problem = _problem(runs, problem_id)
    identity = identity_of(recipe)
    request = Request(problem.id, index, tracing.messages(recipe, problem))
    key = key_of(request, identity)
    wanted = _fields(request, identity)
    with Store(runs / ".samples") as store:
        if key in store:
            ((_, trace),) = store.get([key])
            ended = f"{trace.finish}, {trace.completion_tokens or '?'} tokens"
            return "\n".join([f"reused: sample {key} is in {store.where(key)} ({ended})", *_lines(wanted, wanted)])
        failed = store.failure(key)
        near = sorted(_near(store, request, wanted), key=lambda found: -sum(found[1][k] == v for k, v in wanted.items()))
    why = f"the last request for sample {key} failed ({failed})" if failed else f"there is no sample {key}"
    lines = [f"asked anew: {why}, and {len(near)} of this problem under other keys"]
    for sample, fields in near[:MOST_SHOWN]:
        lines += ["", f"stored sample {sample.key}", *_lines(fields, wanted)]
    return "\n".join(lines)


def _problem(runs: Path, beginning: str) -> Problem:
    files = [*runs.glob("*/problems/*.parquet"), *runs.glob(".steps/check-gold-*/kept-*.parquet")]
    if not files:
        raise UserError(f"{runs} holds no run: give the folder of runs with --runs")
    found = pl.scan_parquet(files, missing_columns="insert").filter(pl.col("id").str.starts_with(beginning)).collect()
    problems = {p.id: p for p in from_frame(found, Problem)}
    if len(problems) != 1:
        raise UserError(f"{len(problems)} problems in {runs} have an id that begins with {beginning!r}: wanted one")
    return problems.popitem()[1]


def _fields(request: Request, identity: Identity) -> dict[str, Any]:
    """Everything that is in a key, flat, under the names that a person knows."""
    said = {f"{m['role']} message": m["content"] for m in request.messages}
    fixed = {"model": identity["model"], "revision": identity["revision"], "endpoint": identity["endpoint"]}
    files = {"chat template": identity.get("template", ""), "engine arguments": identity.get("engine")}
    return {**fixed, **files, **identity["sampling"], "index": request.index, **said, "prefix": request.prefix}


def _near(store: Store, request: Request, wanted: dict[str, Any]) -> Iterator[tuple[Sample, dict[str, Any]]]:
    last = request.messages[-1]["content"]
    for sample in store.every():
        asked = sample.asked["messages"]
        if sample.trace.problem_id == request.problem_id or asked[-1]["content"] == last:
            t = sample.trace
            identity = Identity(
                model=t.teacher,
                revision=sample.asked.get("revision", t.revision),
                endpoint=sample.asked.get("endpoint", t.endpoint),
                template=sample.asked.get("template", ""),
                engine=sample.asked.get("engine"),
                sampling=json.loads(t.sampling),
            )
            found = Request(t.problem_id, t.index, tuple(asked), sample.asked.get("prefix", ""))
            yield sample, {**dict.fromkeys(wanted), **_fields(found, identity)}


def _lines(stored: dict[str, Any], wanted: dict[str, Any]) -> list[str]:
    lines = []
    for name in sorted(stored.keys() | wanted.keys()):
        one, two = stored.get(name), wanted.get(name)
        if one == two:
            lines.append(f"  same     {name:<16} {_short(two)}")
        else:
            lines.append(f"  differs  {name:<16} stored {_short(one)}, now {_short(two)}")
    return lines


def _short(value: Any) -> str:
    text = "(none)" if value is None or value == "" else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:40]}... ({len(text):,} characters)"
