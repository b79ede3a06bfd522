"""A training of a pipeline in a process of its own where there is a GPU: `python -m factory.pipeline_training JOB`.

What a process holds of a GPU, torch's cache and a colocated vLLM, it gives back only when it ends: a later stage's `vllm serve`
asks for 90 percent of the memory. And `factory grpo` trains on one GPU, where `factory distill` before it takes all of the node.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple

from curation.errors import UserError
from factory.teachers import keeper
from training.plan import Hardware

VISIBLE = "CUDA_VISIBLE_DEVICES"  # read once, when CUDA starts: it can only be changed for another process


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
    gpus = gpus_visible()
    if not gpus:
        _perform(job)
        return
    command = [sys.executable, "-m", "factory.pipeline_training", json.dumps(job)]
    follow(command, environment(job.does, gpus, os.environ.get(VISIBLE)))


def gpus_visible() -> int:
    """The GPUs of this process, counted without starting CUDA in it; 0 without torch, which a training asks for by itself."""
    if importlib.util.find_spec("torch") is None:
        return 0
    import torch

    return torch.cuda.device_count() if torch.cuda.is_available() else 0


def first_gpu() -> Hardware | None:
    """The one GPU that grpo trains on, looked at from a process of its own: its memory is told only where CUDA is started."""
    gpus = gpus_visible()
    if not gpus:
        return None
    asked = "import json; from training.visible import hardware; print(json.dumps(hardware()))"
    variables = {**os.environ, **environment("grpo", gpus, os.environ.get(VISIBLE))}
    told = subprocess.run([sys.executable, "-c", asked], stdout=subprocess.PIPE, text=True, check=True, env=variables).stdout
    return Hardware(*json.loads(told.splitlines()[-1]))


def environment(does: str, gpus: int, visible: str | None) -> dict[str, str]:
    """What a training on `gpus` GPUs has in its environment besides: grpo sees the first of them alone.

    `visible` is the value of CUDA_VISIBLE_DEVICES, numbers or names with commas between, None where it is not set.
    """
    return {VISIBLE: (visible or "0").split(",")[0].strip()} if does == "grpo" and gpus > 1 else {}


def follow(command: Sequence[str], variables: dict[str, str]) -> None:
    """Run a command to its end, with `variables` in its environment. Raises UserError with what it refuses, or if it is lost."""
    kept = [sys.executable, "-I", str(Path(keeper.__file__)), *command]
    refused = ""
    with subprocess.Popen(
        kept, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, errors="replace", env={**os.environ, **variables}
    ) as running:
        assert running.stdout
        for line in running.stdout:
            if line.startswith('{"refused": '):
                refused = json.loads(line)["refused"]
            else:
                sys.stderr.write(line)  # a library's own words
    if refused:
        raise UserError(refused)
    if running.returncode:
        raise UserError(
            f"the process of this training ended with status {running.returncode} and no word, as one does that is out of memory: "
            "its last lines are above, and the same command goes on from the last checkpoint"
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
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
