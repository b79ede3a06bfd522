"""`factory distill --plan`: what a training would need on a machine that need not be this one, and the files that launch it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from curation.errors import UserError
from factory.distilling import DEEPSPEED, config_name, config_path
from factory.tokenising import Examples, conversation, nothing_left, open_examples, tokenise
from training.mfu import Lengths, lengths, peak_tflops, read_shape
from training.plan import Hardware, allowed, for_machine, options, plan_text, recommended
from training.plan_files import GPUS_OF_A_HOST, Layout, hosts, write_launch_files
from training.settings import load
from training.sft_settings import SftSettings
from training.students import find_student, open_student
from training.visible import hardware

CHARACTERS_A_TOKEN = 3.3  # of traces of mathematics, Qwen2.5's tokenizer; where the student's is not there
_UNSEEN = Hardware(1, 80.0, peak_tflops("H100") or 0.0)  # planned for where no GPU is visible and none is named


class Machine(NamedTuple):
    """The machine asked about; None: as visible, or one H100 of 80 GiB where no GPU is."""

    gpus: int | None
    memory_gib: float | None


def plan_student(where: str, student: str, config: str | None, assignments: Sequence[str], machine: Machine, *, runs: Path) -> str:
    """The table of layouts with the recommended one, and where its accelerate configuration was written.

    Reads the examples and the student's config.json and tokenizer; no weights are downloaded or loaded. What the settings fix is
    planned for alone. Raises UserError for settings that the training would refuse on that machine.
    """
    settings = load(SftSettings, assignments, config_path(config) if config else None)
    target = _target(machine)
    if settings.processes and settings.processes > target.gpus:
        raise UserError(
            f"processes is {settings.processes} and the plan is for {target.gpus} GPUs: one process needs one GPU, give --gpus"
        )
    settings = for_machine(settings, target)
    target = target._replace(gpus=settings.processes or target.gpus)
    base, _ = find_student(student, weights=False)
    shape = read_shape(base)
    examples = open_examples(where)
    folder = runs / "students" / f"plan-{Path(student).name}-{config_name(config)}"
    known = any((base / name).is_file() for name in ("tokenizer.json", "tokenizer_config.json"))
    rows = _tokenised(examples, student, settings, runs, folder) if known else _guessed(examples, settings)
    found = [option for option in options(shape, settings, target, rows) if allowed(option, settings)]
    said = [plan_text(shape, settings, target, found, rows)]
    if not known:
        said.append(f"{student} has no tokenizer: tokens are characters divided by {CHARACTERS_A_TOKEN}.")
    if best := recommended(found):
        layout = Layout(best.choice.strategy, best.choice.processes, best.choice.bf16)
        path = write_launch_files(layout, folder, DEEPSPEED)
        said.append(f"accelerate's configuration is in {path}; {_how_to_start(best.choice.processes)}")
    return "\n".join(said)


def _how_to_start(processes: int) -> str:
    if hosts(processes) == 1:
        return "with these settings factory distill launches itself."
    return (
        f"{processes} GPUs are {hosts(processes)} hosts of {GPUS_OF_A_HOST}, and factory distill launches itself on one alone: "
        f"--gpus {GPUS_OF_A_HOST} plans for one."
    )


def _target(machine: Machine) -> Hardware:
    seen = hardware()
    if machine.gpus or machine.memory_gib:  # another machine, with a host of its own
        seen = seen._replace(host_gib=None)
    found = seen if seen.gpus else _UNSEEN
    return found._replace(gpus=machine.gpus or found.gpus, memory_gib=machine.memory_gib or found.memory_gib)


def _tokenised(examples: Examples, student: str, settings: SftSettings, runs: Path, folder: Path) -> Lengths:
    """As the training will see them; the rows are kept for it."""
    opened = open_student(student, settings, folder / "served", weights=False)
    piece = tokenise(runs / ".steps", examples, opened, settings.max_length, settings.outcomes)
    return lengths(sorted(piece.folder.glob("rows-*.parquet")))


def _guessed(examples: Examples, settings: SftSettings) -> Lengths:
    told = (conversation(row, settings.outcomes) for row in examples.read())
    characters = (sum(len(turn["content"]) for turn in turns) for turns in told if not isinstance(turns, str))
    sizes = [size for size in (round(c / CHARACTERS_A_TOKEN) for c in characters) if size <= settings.max_length]
    if not sizes:
        raise nothing_left(examples, "judged by their characters", settings.outcomes, settings.max_length)
    return Lengths(sum(sizes), max(sizes), sum(size * size for size in sizes) / sum(sizes))
