"""A training in several processes, one a GPU: started through accelerate, or torchrun on the CPU, and followed to its end.

The starter writes `job.json`, runs `python -m training.launch job.json` in every process, and reads what the first one says:
lines of JSON on its standard output, one for each step, and at the end `trained`, or `refused` with the sentence for the person,
or `failed` with an exception.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from curation.errors import UserError
from curation.files import write_atomic
from training.plan_files import write_launch_files
from training.plan_memory import Choice
from training.sft import Tell, Trained, train
from training.sft_settings import SftSettings
from training.students import Student, load_student

_LAST_LINES = 5  # of what the processes said before they died


class Job(NamedTuple):
    """One training, as every process of it reads it."""

    rows: list[str]
    name: str
    base: str
    served: str  # folder with the tokenizer as it is trained
    settings: dict[str, Any]
    work: str
    out: str


class Means(NamedTuple):
    """What a launch needs from above."""

    keeper: Sequence[str]  # a command that runs another and ends it, with its children, when its own standard input closes
    deepspeed: Path  # the folder of DeepSpeed's configurations


def launch(
    rows: Sequence[Path], student: Student, settings: SftSettings, work: Path, out: Path, tell: Tell, means: Means
) -> Trained:
    """As training.sft.train, in `settings.processes` processes, for settings without an "auto".

    However the starter dies, the keeper ends the others: no process stays on a GPU. Raises UserError as train does, and with the
    last lines of the processes where they died otherwise.
    """
    served = str(work / "served")
    job = Job([str(r) for r in rows], student.name, str(student.base), served, settings.model_dump(), str(work), str(out))
    write_atomic(work / "job.json", json.dumps(job._asdict(), indent=1))
    command = [*means.keeper, *_starter(settings, work, means.deepspeed), "-m", "training.launch", str(work / "job.json")]
    said, status = _run(command, work / "launch.log", tell)
    if "refused" in said:
        raise UserError(said["refused"])
    if "trained" not in said:
        last = said.get("failed") or " | ".join(
            (work / "launch.log").read_text("utf-8", errors="replace").splitlines()[-_LAST_LINES:]
        )
        raise UserError(
            f"the processes of the training ended with status {status} before its end ({last}); {work / 'launch.log'} has all they "
            "said, and the same command goes on from the last checkpoint"
        )
    return Trained(**said["trained"])


def _run(command: Sequence[str], log: Path, tell: Tell) -> tuple[dict[str, Any], int]:
    pipe = subprocess.PIPE
    with log.open("w", encoding="utf-8") as errors:
        with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=errors, text=True, env=_environment()) as running:
            # Leaving this block, also by an interruption, closes their standard input: the keeper ends what is left of them.
            said = _follow(running, tell)
        return said, running.returncode


def _starter(settings: SftSettings, work: Path, deepspeed: Path) -> list[str]:
    """accelerate with the plan's configuration; on the CPU torchrun, since accelerate starts several CPU processes by MPI alone."""
    import torch

    assert settings.processes and settings.strategy != "auto"
    if not torch.cuda.is_available():
        return [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={settings.processes}"]
    passes = settings.rows_per_step // (settings.rows_per_pass * settings.processes)
    choice = Choice(
        settings.strategy,
        settings.processes,
        settings.gradient_checkpointing is True,
        settings.liger == "on",
        settings.rows_per_pass,
        settings.max_length,
        passes,
        settings.precision == "bf16",
    )
    return [sys.executable, "-m", "accelerate.commands.launch", "--config_file", str(write_launch_files(choice, work, deepspeed))]


def _environment() -> dict[str, str]:
    """Rows of every length break up what torch's allocator holds; segments that grow keep it whole."""
    return {"PYTORCH_ALLOC_CONF": "expandable_segments:True", "OMP_NUM_THREADS": "1", **os.environ}


def _follow(running: subprocess.Popen[str], tell: Tell) -> dict[str, Any]:
    assert running.stdout
    said: dict[str, Any] = {}
    for line in running.stdout:
        try:
            found = json.loads(line)
        except ValueError:  # a library's own words
            continue
        if isinstance(found, dict) and "step" in found:
            tell(found)
        elif isinstance(found, dict):
            said |= found
    return said


def main(path: str) -> int:
    """One process of a launch."""
    _know_cpu_0()
    job = Job(**json.loads(Path(path).read_text("utf-8")))
    settings = SftSettings.model_validate(job.settings)
    student = load_student(job.name, Path(job.base), Path(job.served))
    first = os.environ.get("RANK", "0") == "0"
    try:
        trained = train([Path(r) for r in job.rows], student, settings, Path(job.work), Path(job.out), _say)
    except UserError as error:
        if first:
            _say({"refused": str(error)})
        return 2
    except Exception as error:  # the border of a process: the starter tells the person, the log has the rest
        _say({"failed": f"{type(error).__name__}: {str(error)[:500]}"})
        raise
    if first:
        _say({"trained": trained._asdict()})
    return 0


def _know_cpu_0() -> None:
    """transformers 5.17 reads the optimiser of a checkpoint onto the device of its process, and torch 2.13 knows no "cpu:0"."""
    import torch

    torch.serialization.register_package(5, lambda storage: None, lambda storage, at: storage if at.startswith("cpu:") else None)


def _say(line: dict[str, Any]) -> None:
    print(json.dumps(line), flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
