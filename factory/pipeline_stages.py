"""What each kind of stage does: the commands of the factory, called with folders in the places of the references."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from curation.files import write_atomic, write_table
from curation.records import content_id
from factory import pipeline
from factory.pipeline import Build, Distill, Eval, Grpo, Make, Stage
from factory.pipeline_training import Job, train
from factory.steps import file_digest

Facts = dict[str, Any]


class Context(NamedTuple):
    """Where a stage works."""

    runs: Path  # samples, finished pieces, checkpoints
    command: str
    workers: int
    folders: dict[str, Path]  # of the stages before
    home: Path  # where `./` begins


class Left(NamedTuple):
    """What a stage left in its folder."""

    digest: str  # of what the stages after it can take
    facts: Facts


def perform(stage: Stage, folder: Path, context: Context) -> Left:
    """Do a stage, or what is left of it, in `folder`."""
    if isinstance(stage, Make):
        return _make(stage, folder)
    if isinstance(stage, Build):
        return _build(stage, folder, context)
    if isinstance(stage, Eval):
        return _eval(stage, folder, context)
    return _train(stage, folder, context)


def assignments(values: dict[str, Any], context: Context) -> list[str]:
    """`set:` as KEY=VALUE; a reference or a `./` in a value becomes a path."""
    return [f"{key}={json.dumps(_placed_inside(value, context))}" for key, value in values.items()]


def _placed_inside(value: Any, context: Context) -> Any:
    if isinstance(value, dict):
        return {key: _placed_inside(one, context) for key, one in value.items()}
    if isinstance(value, list):
        return [_placed_inside(one, context) for one in value]
    return placed(value, context) if isinstance(value, str) else value


def placed(text: str, context: Context) -> str:
    """A value with folders in the places of its references, and `./` from the pipeline's own folder."""
    if pipeline.is_reference(text):
        return pipeline.REFERENCE.sub(lambda found: str(context.folders[found[1]]), text)
    head, colon, tail = text.rpartition(":")
    return f"{head}{colon}{context.home / tail.removeprefix('./')}" if tail.startswith("./") else text


def files_of(stage: Stage, home: Path) -> list[Path]:
    """The files beside the pipeline that a stage reads: their bytes are part of its key."""
    tails = [text.rpartition(":")[2] for text in pipeline.texts(stage.model_dump())]
    return [home / tail.removeprefix("./") for tail in tails if tail.startswith("./")]


def _make(stage: Make, folder: Path) -> Left:
    from training.making import StudentShape, make_student
    from training.settings import load

    fresh = _cleared(folder)
    shape = load(StudentShape, [f"{key}={json.dumps(value)}" for key, value in stage.set.items()])
    make_student(fresh, shape, [" ".join(["", *stage.words]), *stage.words])
    fresh.rename(folder)
    return Left(_model_digest(folder), {"parameters": _parameters(folder)})


def _build(stage: Build, folder: Path, context: Context) -> Left:
    from factory.build import build
    from factory.recipe import Changes, load_recipe

    teacher = placed(stage.teacher, context) if stage.teacher else None
    problems = tuple(placed(p, context) for p in stage.problems)
    changes = Changes(assignments=tuple(assignments(stage.set, context)), teacher=teacher, problems=problems)
    recipe = load_recipe(placed(stage.recipe, context), changes)
    build(recipe, runs=context.runs, out=folder, workers=context.workers, command=context.command)
    rows = [*sorted((folder / "dataset").glob("*.parquet")), *sorted((folder / "problems").glob("*.parquet"))]
    counts = {name: sum(_height(f) for f in rows if f.parent.name == name) for name in ("problems", "dataset")}
    return Left(content_id([file_digest(f) for f in rows]), {"problems": counts["problems"], "examples": counts["dataset"]})


def _height(file: Path) -> int:
    return int(pl.scan_parquet(file).select(pl.len()).collect().item())


def _train(stage: Distill | Grpo, folder: Path, context: Context) -> Left:
    from factory.distilling import MANIFEST

    where = [placed(data, context) for data in pipeline.data_of(stage)]
    data = where[0] if len(where) == 1 else str(_together([Path(w) for w in where], folder.with_name(f"{folder.name}.data")))
    student, values = placed(stage.student, context), assignments(stage.set, context)
    train(Job(stage.does, data, student, stage.config, values, str(context.runs), str(folder), context.command))
    made = json.loads((folder / MANIFEST).read_text("utf-8"))["training"]
    shown = ("steps", "tokens", "first_loss", "last_loss", "first_reward", "last_reward")
    return Left(_model_digest(folder), {name: made[name] for name in shown if name in made})


def _together(runs: Sequence[Path], folder: Path) -> Path:
    """Several runs as one: their problems and examples, one after the other. Columns that not all have are left out."""
    fresh = _cleared(folder)
    manifests = [json.loads((run / "manifest.json").read_text("utf-8")) for run in runs]
    for name in ("problems", "dataset"):
        parts = [pl.read_parquet(f) for run in runs for f in sorted((run / name).glob("*.parquet"))]
        columns = [c for c in parts[0].columns if all(c in part.columns and part.schema[c] == parts[0].schema[c] for part in parts)]
        (fresh / name).mkdir(parents=True)
        write_table(pl.concat([part.select(columns) for part in parts]), fresh / name / "part-00000.parquet")
    sources = [source for manifest in manifests for source in manifest.get("sources") or []]
    hashes = [manifest.get("recipe_hash") for manifest in manifests]
    whole = {**manifests[0], "sources": sources, "recipe_hash": content_id(hashes), "together": hashes}
    write_atomic(fresh / "manifest.json", json.dumps(whole, indent=1, ensure_ascii=False) + "\n")
    shutil.rmtree(folder, ignore_errors=True)
    fresh.rename(folder)
    return folder


def _eval(stage: Eval, folder: Path, context: Context) -> Left:
    from factory.evaluating import evaluate

    model, values = placed(stage.model, context), assignments(stage.set, context)
    facts: Facts = {"suites": {}}
    folder.mkdir(parents=True, exist_ok=True)
    for suite in stage.suites:
        name = Path(suite).name.lstrip("@").split(".")[0]
        path = folder / f"{name}.json"
        evaluate(model, placed(suite, context), values, limit=None, runs=context.runs, out=path, workers=context.workers)
        facts["suites"][name] = _examined(path, stage.against, context)
    return Left(content_id(facts), facts)


def _examined(path: Path, against: str | None, context: Context) -> Facts:
    """What a result says, and how much better it is than that of the stage it is held against."""
    from factory.comparing import compared, read_result

    found, rise = read_result(path), None
    if against:
        stage = against.removeprefix("@")
        rise = {"stage": stage, **compared(found, context.folders[stage] / path.name)._asdict()}
    score = found["scores"]["pass@1"]
    return {
        "file": path.name,
        "questions": found["scores"]["questions"],
        "pass@1": score["value"],
        "interval": score["questions_interval"],
        "against": rise,
    }


def _cleared(folder: Path) -> Path:
    """An empty place beside `folder` for what will become it by one rename."""
    fresh = folder.with_name(f".{folder.name}.new")
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(parents=True)
    return fresh


def _model_digest(folder: Path) -> str:
    """Of what a model is, and not of when it was made: the same training again leaves the same."""
    parts = [
        f
        for f in sorted(folder.iterdir())
        if f.suffix in (".safetensors", ".jinja") or "config" in f.name or f.name == "tokenizer.json"
    ]
    return content_id([(f.name, file_digest(f)) for f in parts])


def _parameters(folder: Path) -> int:
    from safetensors import safe_open

    with safe_open(folder / "model.safetensors", framework="numpy") as file:
        return sum(math.prod(file.get_slice(name).get_shape()) for name in list(file.keys()))


def shown_settings(stage: Stage) -> dict[str, Any]:
    return stage.model_dump(mode="json", exclude={"name", "does"}, exclude_defaults=True)
