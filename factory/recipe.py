"""What a build does, as one strict and shallow record read from YAML.

A recipe names only what differs from these defaults. An unknown key is an error that names the nearest right one, because
a silently ignored `temprature` costs a week of GPU time.
"""

from __future__ import annotations

import json
import types
import typing
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import BaseModel, Field, ValidationError, model_validator

from curation.errors import UserError
from curation.files import read_yaml
from curation.puzzles.countdown import Part, Style
from curation.records import content_id
from factory.cluster import Cluster
from factory.resolving import CONFIGS as CONFIGS
from factory.resolving import benchmarks_in, group_of, name_benchmarks, name_table, nearest
from factory.rules import Choose, Clean, Difficulty, Label, Select, Settle
from factory.rules import ModelPrice as ModelPrice
from factory.strict import Strict
from training.settings import yaml_value

RECIPE_VERSION = 1
PUZZLES = ("countdown", "knights-and-knaves")  # kinds of source that are domains as well


class Columns(Strict):
    """Which column of the source holds what; None: the first of the usual names that is there."""

    prompt: str | None = None
    answer: str | None = None
    solution: str | None = None
    source: str | None = None  # where a mixture names the origin of each row
    id: str | None = None


class HubSource(Strict):
    kind: Literal["hub"] = "hub"
    repo: str
    config: str | None = None
    split: str = "train"
    revision: str | None = None  # a branch, tag or commit; the commit read is recorded in the manifest
    columns: Columns = Columns()
    only: dict[str, list[Any]] = {}  # keep rows whose column has one of these values
    without: dict[str, list[Any]] = {}  # drop rows whose column has one of these values
    domain: str = "math"
    license: str = "unknown"


class FileSource(Strict):
    kind: Literal["file"] = "file"
    paths: list[str] = Field(min_length=1)  # .jsonl, .jsonl.gz, .parquet, .csv
    columns: Columns = Columns()
    only: dict[str, list[Any]] = {}
    without: dict[str, list[Any]] = {}
    domain: str = "math"
    license: str = "unknown"


class CountdownSource(Strict):
    kind: Literal["countdown"] = "countdown"
    count: int = Field(ge=1)
    seed: int = 0
    min_numbers: int = Field(3, ge=3, le=6)
    max_numbers: int = Field(4, ge=3, le=6)
    min_target: int = Field(10, ge=1)
    max_target: int = Field(100, ge=1)
    max_number: int = Field(99, ge=1)
    style: Style = "words"  # terse: for students trained from random weights; the oracle then answers in kind
    operators: str = Field("+-*/", pattern=r"^\+-?\*?/?$")  # each puzzle has a solution by these alone; terse: told with these
    part: Part = "all"  # new-puzzles and new-targets are held out of train, whatever the seed (curation.puzzles.countdown)


class KnightsSource(Strict):
    kind: Literal["knights-and-knaves"] = "knights-and-knaves"
    count: int = Field(ge=1)
    seed: int = 0
    min_people: int = Field(2, ge=2, le=8)
    max_people: int = Field(8, ge=2, le=8)


Source = Annotated[HubSource | FileSource | CountdownSource | KnightsSource, Field(discriminator="kind")]


class Sample(Strict):
    """Values sent to the teacher, None: the server's own default, and recorded as such; how many; and how they are fetched."""

    per_problem: int = Field(1, ge=1)
    until_correct: int = Field(0, ge=0)  # problems with fewer correct ones get another round of `per_problem`
    settle: Settle | None = None  # instead: problems whose pass rate is not settled get another round
    at_most: int | None = Field(None, ge=1)  # samples of a problem over all rounds; None: four rounds
    on_cut: Literal["set-aside", "continue"] = "set-aside"  # an answer cut at max_tokens is never sampled again from zero
    total_tokens: int | None = Field(None, ge=1)  # of a continued answer, None: four times max_tokens

    api: Literal["chat", "completions"] = "chat"  # completions: the prompt is sent as it is, chat template and all
    temperature: float | None = Field(None, ge=0)
    top_p: float | None = Field(None, gt=0, le=1)
    top_k: int | None = Field(None, ge=-1)
    min_p: float | None = Field(None, ge=0, le=1)
    stop: list[str] | None = None
    max_tokens: int = Field(16_384, ge=1)
    seed: int | None = None
    rows: int | None = Field(None, ge=2)  # hf: prompts at a time through the model; None: one by one
    extra: dict[str, Any] | None = None  # sent as they are, such as vLLM's ignore_eos or reasoning_effort

    timeout_s: float = Field(1800, gt=0)  # of silence
    in_flight: int = Field(512, ge=1)  # at most, for each endpoint
    retries: int = Field(5, ge=0)
    stream: bool | None = None
    price: ModelPrice | None = None

    def most_per_problem(self) -> int:
        """Samples that a problem may get over all rounds."""
        return max(self.per_problem, self.at_most or 4 * self.per_problem) if self.has_rounds() else self.per_problem

    def has_rounds(self) -> bool:
        return self.until_correct > 0 or self.settle is not None

    @model_validator(mode="after")
    def _one_reason_for_rounds(self) -> Sample:
        if self.until_correct and self.settle:
            raise ValueError("until_correct and settle both say when a problem has enough samples: wanted one of them")
        return self


class Engine(Strict):
    """How the vllm: teacher starts its server."""

    tensor_parallel: int = Field(1, ge=1)
    data_parallel: int = Field(1, ge=1)
    port: int | None = Field(None, ge=1, le=65535)  # None: a free one
    ready_s: float = Field(1800, gt=0)  # loading a large model takes half an hour
    restarts: int = Field(3, ge=0)
    arguments: list[str] = []  # further ones, as `vllm serve` takes them


class Traces(Strict):
    """Which traces may teach at all, before their answers are judged."""

    require_thinking: bool = True
    max_characters: int | None = Field(None, ge=1)


class Verify(Strict):
    """Who judges an answer. The rule always does; a judge is asked about what the rule rejected, and either may accept."""

    judge: str | None = None  # openai:MODEL@URL or hf:MODEL; None: the rule alone
    judge_temperature: float | None = Field(0.0, ge=0)
    judge_max_tokens: int = Field(4_096, ge=1)  # its thinking included
    judge_price: ModelPrice | None = None


class Audit(Strict):
    """When a gold is reported as outvoted; nothing is dropped for it."""

    min_voters: int = Field(4, ge=2)  # teachers that answered; samples of one teacher are one vote


class Recipe(Strict):
    recipe: Literal[1]  # version of this schema
    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]*$")
    description: str
    source: Source
    teacher: str
    system: str | None = None
    prompt: str = Field("{problem}", pattern=r"\{problem\}")  # the user's turn; {problem} is replaced, other braces stay
    limit: int | None = Field(None, ge=1)  # read no more than this many problems
    clean: Clean = Clean()
    labels: list[Label] = []  # of the problems that cleaning leaves
    sample: Sample = Sample()
    engine: Engine = Engine()
    executor: Cluster = Cluster()
    traces: Traces = Traces()
    verify: Verify = Verify()
    difficulty: Difficulty = Difficulty()
    audit: Audit = Audit()
    choose: Choose = Choose()
    select: list[Select] = []  # over the examples of all shards, one rule after the other

    def run_name(self) -> str:
        return f"{self.name}-{content_id(self.model_dump(mode='json', exclude={'executor'}))[:8]}"  # not where it is done


def recipe_names() -> list[str]:
    return sorted(p.stem for p in (CONFIGS / "recipes").glob("*.yaml"))


class Changes(NamedTuple):
    """What a command line puts in place of the recipe's own values."""

    assignments: tuple[str, ...] = ()  # "a.b=c"
    teacher: str | None = None
    limit: int | None = None
    problems: tuple[str, ...] = ()  # files that replace the source
    benchmarks: tuple[str, ...] = ()  # files or folders that replace clean.benchmarks


NO_CHANGES = Changes()


def load_recipe(name_or_path: str, changes: Changes = NO_CHANGES) -> Recipe:
    """The resolved recipe: a shipped one by name, or a YAML file by path, with `changes` on top.

    Raises UserError naming the key that is wrong and the nearest right one.
    """
    path = Path(name_or_path) if name_or_path.endswith((".yaml", ".yml")) else CONFIGS / "recipes" / f"{name_or_path}.yaml"
    if not path.is_file():
        known = recipe_names()
        raise UserError(
            f"no recipe {name_or_path!r}{nearest(name_or_path, known)}: wanted {', '.join(known)} or the path of a .yaml file"
        )
    raw = read_yaml(path)
    _apply(raw, changes)
    if raw.get("recipe") != RECIPE_VERSION:
        raise UserError(
            f"{path.name} says recipe: {raw.get('recipe')!r}, this factory reads version {RECIPE_VERSION}: "
            "install the cot-factory it was written for, or bring it up to date"
        )
    name_benchmarks(raw)
    name_table(raw)
    try:
        return Recipe.model_validate(raw)
    except ValidationError as error:
        raise UserError(_first_error(path.name, error)) from None


def _apply(raw: dict[str, Any], changes: Changes) -> None:
    if changes.problems:
        source = group_of(raw, "source")
        domain = source.get("domain") or (source["kind"] if source.get("kind") in PUZZLES else "math")
        raw["source"] = {"kind": "file", "paths": list(changes.problems), "domain": domain}
    if changes.benchmarks:
        raw["clean"] = group_of(raw, "clean") | {"benchmarks": benchmarks_in([Path(b) for b in changes.benchmarks])}
    for key in ("teacher", "limit"):
        if getattr(changes, key) is not None:
            raw[key] = getattr(changes, key)
    for assignment in changes.assignments:
        _assign(raw, assignment)


def _assign(raw: dict[str, Any], assignment: str) -> None:
    dotted, equals, text = assignment.partition("=")
    if not equals:
        raise UserError(f"--set {assignment}: wanted KEY=VALUE, such as --set choose.per_problem=2")
    *parents, last = dotted.strip().split(".")
    group: Any = raw
    for key in parents:
        group = group[_place(group, key, assignment)] if isinstance(group, list) else group.setdefault(key, {})
        if not isinstance(group, dict | list):
            raise UserError(f"--set {assignment}: {key} is a value, not a group of keys")
    group[_place(group, last, assignment) if isinstance(group, list) else last] = yaml_value(assignment, text)


def _place(group: list[Any], key: str, assignment: str) -> int:
    """The place that a key such as the 0 of select.0.size names in a list."""
    if not key.isdigit() or int(key) >= len(group):
        raise UserError(f"--set {assignment}: {key} is no place in a list of {len(group)}: wanted a number from 0")
    return int(key)


def _first_error(file: str, error: ValidationError) -> str:
    first = error.errors()[0]
    where = ".".join(str(part) for i, part in enumerate(first["loc"]) if not (i == 1 and first["loc"][0] == "source"))
    if first["type"] == "extra_forbidden":
        *parents, last = [str(part) for part in first["loc"]]
        return f"{file}: unknown key {where!r}{nearest(last, _keys_at(parents))}"
    got = "" if first["type"] == "missing" else f", got {json.dumps(first['input'], default=str)[:80]}"
    return f"{file}: {where or 'recipe'}: {first['msg'][0].lower()}{first['msg'][1:]}{got}"


def _keys_at(parents: list[str]) -> list[str]:
    """The keys a recipe has at a place; for a source, those of its kind (pydantic puts the kind into the location)."""
    models: list[Any] = [Recipe]
    for part in parents:
        if part.isdigit():  # a place in a list: the keys are those of its elements
            continue
        below = [_models_in(m.model_fields[part].annotation) for m in models if part in m.model_fields]
        models = [model for group in below for model in group] if below else [m for m in models if part in _tags(m)]
    return [key for model in models for key in model.model_fields]


def _tags(model: type[BaseModel]) -> list[object]:
    """The words that tell a model from the others of its union: kind of a source, rule of a selection."""
    fields = [model.model_fields[name] for name in ("kind", "rule") if name in model.model_fields]
    return [tag for field in fields for tag in typing.get_args(field.annotation)]


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    if isinstance(annotation, types.UnionType) or typing.get_origin(annotation):
        return [model for part in typing.get_args(annotation) for model in _models_in(part)]
    return []
