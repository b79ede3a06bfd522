"""A training of a pipeline in a process of its own where there is a GPU: `python -m factory.pipeline_training JOB`.

What a process holds of a GPU, torch's cache and a colocated vLLM, it gives back only when it ends: a later stage's `vllm serve`
asks for 90 percent of the memory.
"""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple

from curation.errors import UserError
from factory.teachers import keeper
from training.plan import Hardware


class Job(NamedTuple):
    """A call of factory.distilling.distill or factory.reinforcing.grpo."""

    does: Literal["distill", "grpo"]
    data: str
    student: str
    config: str | None
    values: list[str]  # KEY=VALUE
    runs: str
    out: str
    command: str


def train(job: Job) -> None:
    """Do the training: here without a GPU, else in a process of its own, which ends when this one does.

    Raises UserError as the training does, and where the process is lost.
    """
    if gpus_visible():
        follow([sys.executable, "-m", "factory.pipeline_training", json.dumps(job)])
    else:
        _perform(job)


def gpus_visible() -> int:
    """The GPUs of this process, counted without starting CUDA in it; 0 without torch, which a training asks for by itself."""
    if importlib.util.find_spec("torch") is None:
        return 0
    import torch

    return torch.cuda.device_count() if torch.cuda.is_available() else 0


def gpus() -> Hardware | None:
    """The GPUs that a training has, looked at from a process of its own: their memory is told only where CUDA is started."""
    if not gpus_visible():
        return None
    asked = "import json; from training.visible import hardware; print(json.dumps(hardware()))"
    told = subprocess.run([sys.executable, "-c", asked], stdout=subprocess.PIPE, text=True, check=True).stdout
    return Hardware(*json.loads(told.splitlines()[-1]))


def follow(command: Sequence[str]) -> None:
    """Run a command to its end. Raises UserError with what it refuses, what it failed at, or if it is lost."""
    kept = [sys.executable, "-I", str(Path(keeper.__file__)), *command]
    said: dict[str, str] = {}
    with subprocess.Popen(kept, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, errors="replace") as running:
        assert running.stdout
        for line in running.stdout:
            if line.startswith(('{"refused": ', '{"failed": ')):
                said = json.loads(line)
            else:
                sys.stderr.write(line)  # a library's own words
    if "refused" in said:
        raise UserError(said["refused"])
    if running.returncode:
        how = said.get("failed") or f"status {running.returncode} and no word, as one ends that is out of memory"
        raise UserError(
            f"the process of this training ended with {how}: its last lines are above, and the same command goes on from the last "
            "checkpoint"
        )


def _perform(job: Job) -> None:
    from factory.distilling import distill
    from factory.reinforcing import grpo

    work = distill if job.does == "distill" else grpo
    work(job.data, job.student, job.config, job.values, runs=Path(job.runs), out=Path(job.out), command=job.command)


def main(job: str) -> int:
    try:
        _perform(Job(*json.loads(job)))
    except UserError as error:
        print(json.dumps({"refused": str(error)}), flush=True)
        return 2
    except Exception as error:  # the border of a process: the pipeline tells the person, above it stands where
        print(json.dumps({"failed": f"{type(error).__name__}: {str(error)[:500]}"}), flush=True)
        raise
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
