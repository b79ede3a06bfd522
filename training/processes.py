"""Work in several processes, one a GPU: started through accelerate, or torchrun on the CPU, and followed to its end.

The starter writes `job.json`, runs `python -m MODULE job.json` in every process, and reads what they say: lines of JSON on their
standard output, one for each step, and at the end `done`, or `refused` with the sentence for the person, or `failed` with an
exception.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TextIO

from curation.errors import UserError
from curation.files import write_atomic
from training.plan_files import Layout, write_launch_files
from training.progress import Tell

_LAST_LINES = 5  # of what the processes said before they died


class Means(NamedTuple):
    """What a launch needs from above."""

    keeper: Sequence[str]  # a command that runs another and ends it, with its children, when its own standard input closes
    deepspeed: Path  # the folder of DeepSpeed's configurations


def run_in_processes(module: str, job: dict[str, Any], layout: Layout, work: Path, tell: Tell, means: Means) -> Any:
    """What the first process returns; `tell` is given each line of a step, `work` gets job.json, launch.log and launcher's files.

    However the starter dies, the keeper ends the others: no process stays on a GPU. Raises UserError with what a process refuses,
    and with the last lines of the processes where they died otherwise.
    """
    write_atomic(work / "job.json", json.dumps(job, indent=1))
    command = [*means.keeper, *_starter(layout, work, means.deepspeed), "-m", module, str(work / "job.json")]
    said, status = _run(command, work / "launch.log", tell)
    if "refused" in said:
        raise UserError(said["refused"])
    if "done" not in said:
        last = said.get("failed") or " | ".join(
            (work / "launch.log").read_text("utf-8", errors="replace").splitlines()[-_LAST_LINES:]
        )
        raise UserError(
            f"the processes of the training ended with status {status} before its end ({last}); {work / 'launch.log'} has all they "
            "said, and the same command goes on from the last checkpoint"
        )
    return said["done"]


def _run(command: Sequence[str], log: Path, tell: Tell) -> tuple[dict[str, Any], int]:
    pipe = subprocess.PIPE
    with log.open("w", encoding="utf-8") as errors:
        with subprocess.Popen(
            command, stdin=pipe, stdout=pipe, stderr=errors, encoding="utf-8", errors="replace", env=_environment()
        ) as running:
            # Leaving this block, also by an interruption, closes their standard input: the keeper ends what is left of them.
            said = _follow(running, tell, errors)
        return said, running.returncode


def _starter(layout: Layout, work: Path, deepspeed: Path) -> list[str]:
    """accelerate with the plan's configuration; on the CPU torchrun, since accelerate starts several CPU processes by MPI alone."""
    import torch

    if not torch.cuda.is_available():
        return [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={layout.processes}"]
    return [sys.executable, "-m", "accelerate.commands.launch", "--config_file", str(write_launch_files(layout, work, deepspeed))]


def _environment() -> dict[str, str]:
    """Rows of every length break up what torch's allocator holds; segments that grow keep it whole.

    By both names: vLLM's sleep cannot be with such segments, and vLLM 0.25.1 turns them off for its own memory where it reads the
    older name (vllm.device_allocator.cumem), which torch takes before the newer.
    """
    names = ("PYTORCH_CUDA_ALLOC_CONF", "PYTORCH_ALLOC_CONF")
    grows = next((os.environ[name] for name in names if name in os.environ), "expandable_segments:True")
    return {"OMP_NUM_THREADS": "1", **os.environ, **dict.fromkeys(names, grows)}


def _follow(running: subprocess.Popen[str], tell: Tell, log: TextIO) -> dict[str, Any]:
    assert running.stdout
    said: dict[str, Any] = {}
    for line in running.stdout:
        try:
            found = json.loads(line)
        except ValueError:  # a library's own words, vLLM's log among them; or what `say` ends an unended line with
            if line.strip():
                log.write(line)
                log.flush()
            continue
        if isinstance(found, dict) and "step" in found:
            tell(found)
        elif isinstance(found, dict):
            said = found | said  # the first to fail says why; the others, that it is gone
    return said


def one_of_several(work: Callable[[], Any]) -> int:
    """Do the work of one process; says what the first one returns, and what any refuses. Returns the exit status."""
    _know_cpu_0()
    try:
        returned = work()
    except UserError as error:
        say({"refused": str(error)})
        return 2
    except Exception as error:  # the border of a process: the starter tells the person, the log has the rest
        say({"failed": f"{type(error).__name__}: {str(error)[:500]}"})
        raise
    if os.environ.get("RANK", "0") == "0":
        say({"done": returned})
    return 0


def _know_cpu_0() -> None:
    """transformers 5.17 reads the optimiser of a checkpoint onto the device of its process, and torch 2.13 knows no "cpu:0"."""
    import torch

    torch.serialization.register_package(5, lambda storage: None, lambda storage, at: storage if at.startswith("cpu:") else None)


def say(line: dict[str, Any]) -> None:
    """On a line of its own, also where a library has begun one and not ended it."""
    sys.stdout.write(f"\n{json.dumps(line)}\n")
    sys.stdout.flush()
