"""What would stop a stage of a pipeline, found before any is started: a file that is not there, a program, a setting, a name."""

from __future__ import annotations

import importlib.util
import os
import shlex
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

from curation.errors import UserError
from factory import pipeline
from factory.pipeline import Build, Distill, Eval, Grpo, Loaded, Make, Stage
from factory.pipeline_stages import Context, assignments, files_of, placed
from factory.pipeline_training import gpus
from factory.resolving import nearest
from factory.teachers import parse_teacher
from training.plan import Hardware

ROWS = (".jsonl", ".json", ".gz", ".parquet", ".csv", ".zst")  # endings of files of rows; what has none may be of the Hub
TRAINED_WITH = ("torch", "transformers", "trl")


def obstacles(loaded: Loaded, done: set[str], hardware: Hardware | None = None) -> list[str]:
    """A sentence for everything that would stop a stage that is not in `done`, in order.

    `hardware` is what grpo trains on; with it, configurations of students are read from the Hub, and nothing else is.
    """
    before: dict[str, Path] = {}
    found: dict[str, list[str]] = {}  # sentence: the stages it is of
    for stage in loaded.pipeline.stages:
        context = Context(Path(), "", 1, dict(before), loaded.home)
        sentences = [] if stage.name in done else list(_of(stage, context))
        if hardware and isinstance(stage, Grpo) and stage.name not in done and not sentences:
            sentences = list(_too_large(stage, loaded.pipeline.stages, context, hardware))
        for sentence in sentences:
            found.setdefault(sentence, []).append(stage.name)
        before[stage.name] = Path(f"@{stage.name}")  # stays as it is written: what an earlier stage leaves is not there yet
    return [f"stage{'s'[: len(names) - 1]} {', '.join(names)}: {sentence}" for sentence, names in found.items()]


def require_clear(loaded: Loaded, done: set[str]) -> None:
    """Raise UserError with all the obstacles, a line each."""
    if found := obstacles(loaded, done, gpus()):
        raise UserError("\n".join(found))


def _of(stage: Stage, context: Context) -> Iterator[str]:
    beside = [file for file in files_of(stage, context.home) if not file.is_file()]
    yield from (f"no file {file}, which it names" for file in beside)
    yield from _no_packages(stage)
    try:
        yield from [] if beside else list(_loaded(stage, context))
    except UserError as error:
        yield str(error)


def _loaded(stage: Stage, context: Context) -> Iterator[str]:
    """The stage's settings, read as its command reads them. Raises UserError as that does."""
    from training.settings import load

    values = assignments(stage.set, context)
    if isinstance(stage, Make):
        from training.making import StudentShape

        load(StudentShape, values)
    elif isinstance(stage, Build):
        yield from _recipe(stage, context, values)
    elif isinstance(stage, Eval):
        yield from _examination(stage, context, values)
    else:
        _training(stage, values)
        yield from _no_rows([placed(data, context) for data in pipeline.data_of(stage)], "data")


def _recipe(stage: Build, context: Context, values: Sequence[str]) -> Iterator[str]:
    from factory.recipe import Changes, FileSource, load_recipe

    teacher = placed(stage.teacher, context) if stage.teacher else None
    problems = tuple(placed(p, context) for p in stage.problems)
    recipe = load_recipe(placed(stage.recipe, context), Changes(tuple(values), teacher, None, problems))
    if isinstance(recipe.source, FileSource):
        yield from _no_rows(recipe.source.paths, "problems", always=True)
    named = parse_teacher(recipe.teacher)
    if named.kind == "replay":
        yield from _no_rows([named.model], "teacher")
    yield from _no_vllm(recipe.teacher)


def _too_large(stage: Grpo, stages: Sequence[Stage], context: Context, hardware: Hardware) -> Iterator[str]:
    """The sentence of training.grpo_memory where even with the shortest of prompts the student is too large for the GPUs."""
    from factory.reinforcing import config_path
    from training.grpo_memory import laid_out
    from training.grpo_settings import GrpoSettings
    from training.mfu import read_shape
    from training.settings import load
    from training.students import find_student

    name = _first_student(stage, {s.name: s for s in stages})
    if name is None:
        return
    settings = load(GrpoSettings, assignments(stage.set, context), config_path(stage.config) if stage.config else None)
    own = "vllm-colocate" if importlib.util.find_spec("vllm") else "transformers"
    try:
        base, _ = find_student(placed(name, context), weights=False)
        laid_out(read_shape(base), settings, 1, hardware, own if settings.generation == "auto" else settings.generation)
    except UserError as error:
        yield str(error)


def _first_student(stage: Distill | Grpo, stages: dict[str, Stage]) -> str | None:
    """The model that a stage's student was at first, through all the trainings before; None for one that is made on the spot."""
    name = stage.student
    while name.startswith("@"):
        before = stages[name.removeprefix("@")]
        if not isinstance(before, Distill | Grpo):
            return None
        name = before.student
    return name


def _training(stage: Distill | Grpo, values: Sequence[str]) -> None:
    from factory import distilling, reinforcing
    from training.grpo_settings import GrpoSettings
    from training.reward_mix import mixed
    from training.settings import load
    from training.sft_settings import SftSettings

    if isinstance(stage, Distill):
        load(SftSettings, values, distilling.config_path(stage.config) if stage.config else None)
    else:
        mixed(load(GrpoSettings, values, reinforcing.config_path(stage.config) if stage.config else None))


def _examination(stage: Eval, context: Context, values: Sequence[str]) -> Iterator[str]:
    from factory.evaluating import Evaluation, examined
    from factory.suites import suite_names
    from training.settings import load

    load(Evaluation, values)
    if not stage.model.startswith("@"):
        examined(placed(stage.model, context))
    yield from _no_vllm(stage.model)
    for suite in (placed(s, context) for s in stage.suites):
        if Path(suite).suffix or len(Path(suite).parts) > 1:
            yield from _no_rows([suite], "suites", always=not Path(suite).is_dir())
        elif not suite.startswith("@") and suite not in suite_names() and not Path(suite).is_dir():
            yield f"no suite {suite!r}{nearest(suite, suite_names())}: wanted a file, a run, or one of {', '.join(suite_names())}"


def _no_rows(paths: Sequence[str], key: str, *, always: bool = False) -> Iterator[str]:
    for path in paths:
        is_file = always or path.startswith((".", "/")) or path.endswith(ROWS)
        if is_file and not pipeline.is_reference(path) and not Path(path).exists():
            yield f"no file {path}, which its {key} names: give the path of one with --set"


def _no_packages(stage: Stage) -> Iterator[str]:
    packages = {"make": ("torch", "transformers"), "distill": TRAINED_WITH, "grpo": TRAINED_WITH}.get(stage.does, ())
    lacking = [name for name in packages if importlib.util.find_spec(name) is None]
    if lacking:
        yield f"lacks {', '.join(lacking)}: pip install 'cot-factory[train]'"


def _no_vllm(spec: str) -> Iterator[str]:
    from factory.teachers.vllm import EXECUTABLE

    words = shlex.split(os.environ.get(EXECUTABLE, "vllm"))
    if spec.startswith("vllm:") and not (words and shutil.which(words[0])):
        said = f"vllm: needs vLLM, and there is no program {' '.join(words[:1])!r}"
        yield f"{said}: pip install 'cot-factory[vllm]', or name one in {EXECUTABLE}"
