"""Labels of problems that a recipe asks a model for: in `meta` from then on, beside a table of what each reply said.

A label that the source has already is taken as it is. Replies lie in the store of samples, like every sample: a second build, and
another recipe that asks the same, pay nothing. What no reply says stays null; nothing is guessed.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from curation.errors import UserError
from curation.files import write_table
from curation.records import Trace, canonical_json, content_id
from factory import cleaning, rubrics, teachers
from factory.ledger import settle
from factory.meter import Meter
from factory.progress import track
from factory.recipe import Recipe
from factory.rounds import NO_LIMIT, Budget, price_said
from factory.rules import Label
from factory.run import Run
from factory.sampler import over_budget
from factory.sampling import Identity, Request, Sampling, effective, sample
from factory.spending import Spending
from factory.steps import Facts, Piece, once
from factory.teachers import parse_teacher

LABELS: dict[str, Any] = {
    "problem_id": pl.String,
    "name": pl.String,
    "label": pl.String,  # null: undetermined
    "origin": pl.String,  # given, judge or none
    "values": pl.List(pl.String),  # of each reply; null where it has no label
    "why": pl.List(pl.String),  # likewise, why it has none
}


class Labelled(NamedTuple):
    piece: Piece
    budget: Budget  # what is left of it


class Judged(NamedTuple):
    """What became of one of the recipe's labels."""

    rows: list[dict[str, Any]]  # of LABELS, one for each problem in order
    facts: Facts


class Applied(NamedTuple):
    """What became of all labels of some problems."""

    frame: pl.DataFrame  # the problems, with their labels in `meta`
    judged: list[Judged]  # in the order of the recipe's labels
    reasons: list[str | None]  # why a problem is outside a label's window; None where it is in all
    details: list[str]


class Tried(NamedTuple):
    """What a pilot saw of the labels, each list in the order of the recipe's labels."""

    inside: list[bool]  # which problems are in every label's window
    replies: list[list[Trace]]
    meters: list[Meter]


def label(run: Run, recipe: Recipe, source: Piece, budget: Budget) -> Labelled:
    """The problems of `source` with the recipe's labels in `meta`, without those outside a label's window.

    `labels.parquet` has a row for each problem and label. Done again by the next build where requests failed. Raises UserError
    where a label has neither a judge nor a given value, where a judge runs no model, and when the budget is reached.
    """
    asked = [_identity(how) for how in recipe.labels]
    dumped = [how.model_dump(mode="json") for how in recipe.labels]
    spent: list[Meter] = []

    def work(folder: Path) -> Facts:
        done = _apply(run, recipe, cleaning.kept(source), budget, spent)
        write_table(pl.concat([pl.DataFrame(found.rows, schema=LABELS) for found in done.judged]), folder / "labels.parquet")
        line = settle(folder, "labels", "problems", done.frame, done.reasons, done.details)
        return {"funnel": [line], "labels": [found.facts for found in done.judged]}

    settings = {"labels": dumped, "identities": asked, "rubrics": rubrics.RUBRIC_VERSION}
    piece = once(
        run.store, "labels", settings, [source.digest], work, stale=lambda facts: any(f["failed"] for f in facts["labels"])
    )
    return Labelled(piece, _left(budget, spent))


def try_labels(run: Run, recipe: Recipe, every: pl.DataFrame, drawn: pl.DataFrame) -> Tried:
    """The labels of those problems of `every` that a pilot has drawn. The replies are in the store, where the build finds them.

    Raises UserError as `label` does, where a label has no judge and none of `every` a given value.
    """
    for number, how in enumerate(recipe.labels):
        if how.given not in [before.name for before in recipe.labels[:number]]:
            _refuse_without_origin(recipe, how, every)
        _refuse_unknown_sources(recipe, how, every)
    replies: list[list[Trace]] = [[] for _ in recipe.labels]
    meters: list[Meter] = []
    done = _apply(run, recipe, drawn, NO_LIMIT, meters, replies)
    return Tried([reason is None for reason in done.reasons], replies, meters)


def in_flight(how: Label) -> int:
    """Requests at a time, at most."""
    return _sampling(how).in_flight


def unlabelled(how: Label, frame: pl.DataFrame) -> int:
    """How many questions a judge is asked about: those of problems without a label of their own, each once."""
    if how.judge is None:
        return 0
    return len({prompt for prompt, meta in zip(frame["prompt"], frame["meta"], strict=True) if _given(meta, how) is None})


def _apply(
    run: Run, recipe: Recipe, frame: pl.DataFrame, budget: Budget, spent: list[Meter], keep: Sequence[list[Trace]] = ()
) -> Applied:
    """`keep` has a list for each label that takes its replies, where they are wanted."""
    reasons: list[str | None] = [None] * frame.height
    details = [""] * frame.height
    judged = []
    for number, how in enumerate(recipe.labels):
        if not keep:
            _refuse_without_origin(recipe, how, frame)
            _refuse_unknown_sources(recipe, how, frame)
        found = _label(run, recipe, how, frame, budget, spent, keep[number] if keep else None)
        judged.append(found)
        labels = [row["label"] for row in found.rows]
        frame = frame.with_columns(pl.Series("meta", _noted(frame["meta"].to_list(), how, labels), pl.String))
        for row, (value, source) in enumerate(zip(labels, frame["source"], strict=True)):
            if reasons[row] is None and (reason := _outside(how, value, source)):
                reasons[row], details[row] = reason, value or ""
    return Applied(frame, judged, reasons, details)


def _identity(how: Label) -> Identity | None:
    if how.judge is None:
        return None
    teacher = parse_teacher(how.judge)
    if teacher.kind in ("oracle", "replay"):
        raise UserError(f"labels: the judge {how.judge!r} runs no model: wanted openai:MODEL@URL, vllm:MODEL or hf:MODEL")
    model = teachers.identity(teacher)
    said = effective(_sampling(how), teachers.ignored(teacher))
    found = Identity(model=model.name, revision=model.revision, endpoint=model.endpoint, sampling=said)
    return {**found, "template": model.template} if model.template else found


def _sampling(how: Label) -> Sampling:
    return Sampling(temperature=how.temperature, max_tokens=how.max_tokens)


def _label(
    run: Run, recipe: Recipe, how: Label, frame: pl.DataFrame, budget: Budget, spent: list[Meter], keep: list[Trace] | None
) -> Judged:
    identity = _identity(how)
    ids, prompts = frame["id"].to_list(), frame["prompt"].to_list()
    given = [_given(meta, how) for meta in frame["meta"]]
    asked = {content_id(prompt): prompt for prompt, known in zip(prompts, given, strict=True) if known is None}
    meter = _meter(recipe, how, _left(budget, spent)) if identity else Meter()
    spent.append(meter)
    with Spending(run.folder, {"labels": meter}):
        said = dict(_replies(run, recipe, how, identity, asked, meter, keep)) if identity else {}
    rows = [_row(how, i, known, said.get(content_id(p), [])) for i, p, known in zip(ids, prompts, given, strict=True)]
    origins = [row["origin"] for row in rows]
    counts = {"given": origins.count("given"), "judge_labels": origins.count("judge"), "undetermined": origins.count("none")}
    failed = sum("request_failed" in row["why"] for row in rows)
    tokens = {"prompt_tokens": meter.prompt_tokens, "completion_tokens": meter.completion_tokens}
    return Judged(rows, {"name": how.name, "rubric": how.rubric, "judge": identity, **counts, "failed": failed, **tokens})


def _refuse_without_origin(recipe: Recipe, how: Label, frame: pl.DataFrame) -> None:
    if how.judge is None and frame.height and not any(_given(meta, how) for meta in frame["meta"]):
        raise UserError(
            f"labels: no problem has a {how.given or how.name!r} in its columns, those that source.columns takes left out, and no "
            f"model gives one: wanted --set labels.{recipe.labels.index(how)}.judge=openai:MODEL@URL, or problems that have it"
        )


def _given(meta: str, how: Label) -> str | None:
    value = json.loads(meta).get(how.given or how.name)
    if value is None or not str(value).strip():
        return None
    if how.rubric == "difficulty" and not _is_number(value):
        raise UserError(
            f"labels: a problem's {how.given or how.name} is {value!r}, wanted a number, as the rubric difficulty gives"
        )
    return str(value)


def _is_number(value: Any) -> bool:
    try:
        return math.isfinite(float(value))
    except (TypeError, ValueError):
        return False


def _replies(
    run: Run, recipe: Recipe, how: Label, identity: Identity, asked: dict[str, str], meter: Meter, keep: list[Trace] | None
) -> Iterator[tuple[str, list[rubrics.Reading]]]:
    """(key, readings in the order of the replies) of each problem."""
    assert how.judge is not None
    requests = [Request(key, n, rubrics.messages(how.rubric, p)) for key, p in asked.items() for n in range(how.samples)]
    ask = partial(
        teachers.ask,
        parse_teacher(how.judge),
        identity,
        sampling=_sampling(how),
        meter=meter,
        engine=recipe.engine,
        log=run.folder / "labels.log",
    )
    arriving = sample(requests, ask=ask, identity=identity, journal_folder=run.samples)
    found: dict[str, dict[int, rubrics.Reading]] = {key: {} for key in asked}
    for reply in track(arriving, f"label {how.name}", len(requests), "replies"):
        found[reply.problem_id][reply.index] = rubrics.read(how.rubric, reply)
        if keep is not None:
            keep.append(reply)
    if meter.budget_reached:
        raise UserError(over_budget(meter))
    yield from ((key, [readings[n] for n in sorted(readings)]) for key, readings in found.items())


def _row(how: Label, problem_id: str, given: str | None, said: Sequence[rubrics.Reading]) -> dict[str, Any]:
    value = given if given is not None else rubrics.together(how.rubric, said)
    origin = "given" if given is not None else "judge" if value is not None else "none"
    each = {"values": [reading.value for reading in said], "why": [reading.why or None for reading in said]}
    return {"problem_id": problem_id, "name": how.name, "label": value, "origin": origin, **each}


def _noted(metas: list[str], how: Label, labels: list[str | None]) -> list[str]:
    """Each problem's meta with its label: a number where the rubric is one."""
    numeric = how.rubric == "difficulty"
    values = [float(v) if numeric and v is not None else v for v in labels]
    return [canonical_json(json.loads(meta) | {how.name: value}) for meta, value in zip(metas, values, strict=True)]


def _outside(how: Label, value: str | None, source: str) -> str | None:
    window = how.windows.get(source, how)
    if window.low is None and window.high is None:
        return None
    if value is None:
        return f"no_{how.name}"
    if window.low is not None and float(value) < window.low:
        return f"{how.name}_too_low"
    return f"{how.name}_too_high" if window.high is not None and float(value) > window.high else None


def _refuse_unknown_sources(recipe: Recipe, how: Label, frame: pl.DataFrame) -> None:
    """A misspelt source would leave its problems without a window, in silence; of those that are rare a limit may leave none."""
    there = frame["source"].unique().sort().to_list()
    if frame.height and how.windows and not any(source in how.windows for source in there):
        raise UserError(
            f"labels: windows are set for {', '.join(how.windows)}, and the problems come from {', '.join(there[:10])}: wanted "
            f"--set labels.{recipe.labels.index(how)}.windows={{SOURCE: {{low: ..., high: ...}}}}"
        )


def _meter(recipe: Recipe, how: Label, budget: Budget) -> Meter:
    assert how.judge is not None
    setting = f"labels.{recipe.labels.index(how)}.price"
    return Meter(price_said(how.price, parse_teacher(how.judge), budget, setting), budget.usd, budget.tokens)


def _left(budget: Budget, spent: Sequence[Meter]) -> Budget:
    usd = None if budget.usd is None else budget.usd - sum(meter.usd() or 0.0 for meter in spent)
    used = sum(meter.prompt_tokens + meter.completion_tokens for meter in spent)
    return budget._replace(usd=usd, tokens=None if budget.tokens is None else budget.tokens - used)
