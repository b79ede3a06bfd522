"""A pipeline: stages of make, build, distill, grpo and eval, each from what earlier ones left, as one YAML file.

    stages:
      - {name: start, does: make, set: {hidden: 128}}                                    # a student with random weights
      - {name: traces, does: build, recipe: countdown, set: {source.count: 800}}         # recipe and its settings
      - {name: cold-start, does: distill, data: "@traces", student: "@start", config: r1-distill, set: {epochs: 2}}
      - {name: rl, does: grpo, data: "@traces", student: "@cold-start", set: {rollouts: 40}}
      - {name: after-rl, does: eval, model: "@rl", suites: [countdown], against: "@after-cold-start"}

`@name` stands for the folder of an earlier stage, also inside a teacher (`hf:@rl`); a value that begins with `./` is a file beside
the YAML. `data` may be a list: the rows of all. `sizes` gives values by size, with keys as in `--set`; the file `NAME-SIZE.yaml` is
a size of NAME too.

A run of a pipeline is a folder with a `pipeline.json` that is written anew at every change (by one rename, so it is always whole):

    {"pipeline": 1, "name": "r1", "size": "tiny", "description": "...", "command": "factory run r1 --size tiny",
     "state": "running",                       of the whole: running, done, failed or interrupted; a killed run still says running
     "created": "2026-01-31T12:00:00Z", "updated": "...",
     "stages": [                               in order, those that wait too
       {"name": "cold-start", "does": "distill",
        "state": "done",                       waiting, running, done or failed
        "key": "0123456789abcdef",             of settings and inputs; null while it waits
        "folder": "cold-start-01234567",       relative to this file; null while it waits. What lies there by `does`:
                                                 make, distill, grpo: a model, but for make with metrics.jsonl and
                                                 training_manifest.json; build: a run; eval: <suite>.json and <suite>.parquet
        "inputs": ["traces", "start"],         stages whose folders it takes
        "settings": {...},                     as in the YAML
        "digest": "...",                       of what it left: part of the keys of the stages that take it
        "started": "...", "finished": "...", "seconds": 12.3,
        "facts": {...},                        build: {"problems", "examples"}; distill: {"steps", "first_loss", "last_loss"};
                                                 grpo: {"steps", "first_reward", "last_reward"}; make: {"parameters"}; eval:
                                                 {"suites": {NAME: {"file", "questions", "pass@1", "interval",
                                                   "against": {"stage", "difference", "interval", "p_value", "method"} or null}}}
        "error": null}]}                       of a failed stage: the sentence
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, TypeVar

import yaml
from pydantic import BaseModel, Field, JsonValue, ValidationError

from curation.errors import UserError
from curation.files import read_yaml
from factory.recipe import CONFIGS
from factory.resolving import nearest
from factory.strict import Strict
from training.settings import yaml_value

Set = dict[str, JsonValue]  # settings of the command that a stage runs, by their dotted names
Data = str | Annotated[list[str], Field(min_length=1)]
REFERENCE = re.compile(r"@([a-z0-9][a-z0-9-]*)")
Some = TypeVar("Some", bound=BaseModel)
NAME = r"^[a-z0-9][a-z0-9-]*$"


class Make(Strict):
    does: Literal["make"]
    name: str = Field(pattern=NAME)
    words: list[str] = Field(default=[])  # that the tokenizer is to know as one token each
    set: Set = Field(default={})


class Build(Strict):
    does: Literal["build"]
    name: str = Field(pattern=NAME)
    recipe: str
    teacher: str | None = None
    problems: list[str] = Field(default=[])
    set: Set = Field(default={})


class Distill(Strict):
    does: Literal["distill"]
    name: str = Field(pattern=NAME)
    data: Data
    student: str
    config: str | None = None
    set: Set = Field(default={})


class Grpo(Strict):
    does: Literal["grpo"]
    name: str = Field(pattern=NAME)
    data: Data
    student: str
    config: str | None = None
    set: Set = Field(default={})


class Eval(Strict):
    does: Literal["eval"]
    name: str = Field(pattern=NAME)
    model: str
    suites: list[str] = Field(min_length=1)
    against: str | None = Field(None, pattern=rf"^{REFERENCE.pattern}$")  # an earlier eval, compared question by question
    set: Set = Field(default={})


Stage = Annotated[Make | Build | Distill | Grpo | Eval, Field(discriminator="does")]


class Pipeline(Strict):
    pipeline: Literal[1]  # version of this schema
    name: str = Field(pattern=NAME)
    description: str
    size: str = ""  # of this file, or of `sizes`
    sizes: dict[str, dict[str, Any]] = Field(default={})
    stages: list[Stage] = Field(min_length=1)


class Named(BaseModel):
    """What of a stage is touched before it is whole."""

    name: str
    set: Set = Field(default={})


class Outline(BaseModel):
    """What of a pipeline's file is touched before its size and --set are in it."""

    sizes: dict[str, dict[str, JsonValue]] = Field(default={})
    stages: list[Named] = Field(min_length=1)


class Loaded(NamedTuple):
    pipeline: Pipeline
    home: Path  # folder of the file, where `./` begins

    @property
    def name(self) -> str:
        """With its size, such as r1-tiny: the folder of its run."""
        return "-".join(filter(None, (self.pipeline.name, self.pipeline.size)))


def pipeline_names() -> list[str]:
    """The shipped pipelines, each once, whatever its sizes."""
    files = sorted((CONFIGS / "pipelines").glob("*.yaml"))
    found = [p.stem for p in files if "pipeline" in read_yaml(p)]  # recipes of a pipeline's own lie beside it
    return [name for name in found if not any(name.startswith(f"{other}-") for other in found)]


def sizes_of(name: str) -> list[str]:
    """The sizes of a shipped pipeline, those with a file of their own first."""
    folder = CONFIGS / "pipelines"
    return [
        *(p.stem.removeprefix(f"{name}-") for p in sorted(folder.glob(f"{name}-*.yaml"))),
        *read_yaml(folder / f"{name}.yaml").get("sizes", {}),
    ]


def load_pipeline(name_or_path: str, size: str | None = None, assignments: Sequence[str] = ()) -> Loaded:
    """A shipped pipeline by name and size, or a YAML file by path, with `assignments` (STAGE.KEY=VALUE) on top.

    Raises UserError naming what is wrong and the nearest right word.
    """
    path, own = _file_of(name_or_path, size)
    raw = read_yaml(path)
    sizes = _validated(Outline, path.name, raw).sizes
    if not own:
        raw["size"] = _size(path, size, sizes)
        assignments = [*(f"{key}={yaml.safe_dump(value)}" for key, value in sizes.get(raw["size"], {}).items()), *assignments]
    for assignment in assignments:
        _assign(raw, assignment)
    pipeline = _validated(Pipeline, path.name, raw)
    _check_references(pipeline, path.name)
    return Loaded(pipeline, path.parent)


def _size(path: Path, size: str | None, sizes: Mapping[str, Any]) -> str:
    """The size asked for, else the first; "" of a file that has none."""
    size = size or next(iter(sizes), "")
    if size and size not in sizes:
        known = sizes_of(path.stem) if path.parent == CONFIGS / "pipelines" else list(sizes)
        raise UserError(f"{path.stem} has no size {size!r}{nearest(size, known)}: wanted {', '.join(known) or 'none'}")
    return size


def _validated(kind: type[Some], file: str, raw: dict[str, Any]) -> Some:
    try:
        return kind.model_validate(raw)
    except ValidationError as error:
        raise UserError(_first(file, raw, error)) from None


def _file_of(name: str, size: str | None) -> tuple[Path, bool]:
    """The file, and whether it is of that size alone."""
    if name.endswith((".yaml", ".yml")):
        path, own = Path(name), False
    else:
        path = CONFIGS / "pipelines" / f"{name}-{size}.yaml"
        own = size is not None and path.is_file()
        path = path if own else CONFIGS / "pipelines" / f"{name}.yaml"
    if not path.is_file():
        known = pipeline_names()
        raise UserError(f"no pipeline {name!r}{nearest(name, known)}: wanted {', '.join(known)} or the path of a .yaml file")
    return path, own


def _assign(raw: dict[str, Any], assignment: str) -> None:
    dotted, equals, text = assignment.partition("=")
    stage, dot, key = dotted.strip().partition(".")
    stages = {s["name"]: s for s in raw["stages"]}
    if not (equals and dot):
        raise UserError(f"--set {assignment}: wanted STAGE.KEY=VALUE, such as --set rl.set.seed=1")
    if stage not in stages:
        raise UserError(f"--set {assignment}: no stage {stage!r}{nearest(stage, list(stages))}: wanted {', '.join(stages)}")
    group = stages[stage]
    if key.startswith("set."):
        group["set"] = {**group.get("set", {})}  # its own: YAML's *alias is the same dict in every stage that names it
        group, key = group["set"], key.removeprefix("set.")
    group[key] = _value(assignment, text)


def _value(assignment: str, text: str) -> Any:
    # A reference as YAML would want quotes inside the shell's.
    return text if text.startswith("@") else yaml_value(assignment, text)


def references(stage: Stage) -> list[str]:
    """The stages that a stage takes something from, in order and once."""
    named = (name for text in texts(stage.model_dump()) if is_reference(text) for name in REFERENCE.findall(text))
    return list(dict.fromkeys(named))


def texts(value: Any) -> list[str]:
    """Every text in a value of YAML, however deep."""
    inside = value.values() if isinstance(value, dict) else value if isinstance(value, list) else []
    return [value] if isinstance(value, str) else [text for one in inside for text in texts(one)]


def data_of(stage: Distill | Grpo) -> list[str]:
    """What a training takes its rows from, one or several."""
    return [stage.data] if isinstance(stage.data, str) else stage.data


def is_reference(text: str) -> bool:
    """`@rl` and `hf:@rl`, but not the `@` of an endpoint, `openai:MODEL@URL`."""
    return text.startswith("@") or ":@" in text


def _check_references(pipeline: Pipeline, file: str) -> None:
    before: dict[str, Stage] = {}
    for stage in pipeline.stages:
        for name in references(stage):
            if name not in before:
                known = ", ".join(before) or "none, it is the first"
                raise UserError(
                    f"{file}: stage {stage.name} takes @{name}, which is no stage before it{nearest(name, list(before))}: {known}"
                )
        if isinstance(stage, Eval) and stage.against:
            _check_against(stage, stage.against, before, file)
        if stage.name in before:
            raise UserError(f"{file}: two stages are named {stage.name}: give each a name of its own")
        before[stage.name] = stage


def _check_against(stage: Eval, against: str, before: Mapping[str, Stage], file: str) -> None:
    other = before[against.removeprefix("@")]
    if not isinstance(other, Eval):
        raise UserError(f"{file}: stage {stage.name} is held against {against}, which does {other.does}: wanted an eval")
    if lacking := [suite for suite in stage.suites if suite not in other.suites]:
        raise UserError(
            f"{file}: stage {stage.name} is held against {against}, which has no suite {lacking[0]}: give both the same"
        )


def _first(file: str, raw: dict[str, Any], error: ValidationError) -> str:
    first = error.errors()[0]
    place = [str(part) for part in first["loc"]]
    if len(place) > 1 and place[0] == "stages" and place[1].isdigit():
        found = raw["stages"][int(place[1])]
        stage = found if isinstance(found, dict) else {}
        inside = place[3:] if place[2:3] == [stage.get("does")] else place[2:]  # pydantic names the kind of a stage too
        place = [f"stage {stage.get('name', place[1])}", *inside]
    where, key = ": ".join(place) or "pipeline", place[-1]
    if first["type"] == "extra_forbidden":
        kinds: list[Any] = [Pipeline, Make, Build, Distill, Grpo, Eval]
        name = place[0].removeprefix("stage ") if len(place) == 2 else ""
        under = f"; a setting goes under set: {name}.set.{key}" if name else ""
        return f"{file}: unknown key {where!r}{nearest(key, sorted({f for k in kinds for f in k.model_fields}))}{under}"
    got = "" if first["type"] == "missing" else f", got {str(first['input'])[:80]!r}"
    return f"{file}: {where}: {first['msg'][0].lower()}{first['msg'][1:]}{got}"
