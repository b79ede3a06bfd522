"""Reinforcement learning with verifiable rewards: stages one after the other, each resumable, on one GPU or several."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from curation.errors import UserError
from curation.files import write_atomic
from training.apart import apart
from training.curves import curves_svg
from training.grpo_launch import launch_stage
from training.grpo_settings import GrpoSettings
from training.grpo_stage import Prompt, train_stage
from training.processes import Means
from training.progress import Tell, last_checkpoint
from training.students import Student


class Reinforced(NamedTuple):
    """What a finished training did."""

    steps: int  # optimiser steps, all stages
    rollouts: int
    tokens: int  # prompts and completions sampled, all stages
    seconds: float  # of this process: a resumed training counts from the checkpoint
    first_reward: float | None  # mean over a rollout
    last_reward: float | None
    resumed_at: int  # step of its stage, 0 for a training in one go


def reinforce(
    prompts: Sequence[Prompt],
    student: Student,
    settings: GrpoSettings,
    work: Path,
    out: Path,
    tell: Tell,
    *,
    engine: str,
    means: Means | None = None,
) -> Reinforced:
    """Train the student and save it to `out`; every stage has its checkpoints and metrics in `work`, and a second call goes on.

    `engine` is who samples: transformers, vllm-colocate or vllm-server; several processes want `means`, and the tokenizer in
    `work`/served. `metrics.jsonl` has a line for each optimiser step (training.grpo_lines); `tell` is given each. Raises UserError
    where the loss is no number, or a limit of health is crossed; the checkpoints before it are kept.
    """
    began, resumed_at = time.monotonic(), 0
    stages = settings.each_stage()
    for number, stage in enumerate(stages, start=1):
        folder = work / f"stage-{number}"
        if not (folder / "model").is_dir():
            told = partial(_tell_stage, tell, number)
            _keep_layout(stage, folder)
            if not stage.alone:
                assert means
                resumed_at = launch_stage(prompts, student, work / "served", stage, folder, engine, told, means)
            elif engine != "transformers" and len(stages) > 1:
                resumed_at = apart(train_stage, prompts, student, stage, folder, engine, tell=told)
            else:
                resumed_at = train_stage(prompts, student, stage, folder, engine, told)
        student = student._replace(base=folder / "model")
    shutil.copytree(student.base, out)
    lines = _gathered(work, len(stages), out / "metrics.jsonl")
    rewards = [line["reward"] for line in lines if line.get("reward") is not None]
    return Reinforced(
        steps=len(lines),
        rollouts=len(rewards),
        tokens=sum(json.loads(_last_line(work / f"stage-{n}"))["tokens"] for n in range(1, len(stages) + 1)),
        seconds=time.monotonic() - began,
        first_reward=rewards[0] if rewards else None,
        last_reward=rewards[-1] if rewards else None,
        resumed_at=resumed_at,
    )


def _keep_layout(stage: GrpoSettings, folder: Path) -> None:
    """Raise UserError where other processes wrote the checkpoints: ZeRO's optimiser lies there in as many shards as there were."""
    path, mine = folder / "layout.json", [stage.processes or 1, stage.strategy]
    if path.is_file() and last_checkpoint(folder / "checkpoints") and (before := json.loads(path.read_text("utf-8"))) != mine:
        raise UserError(
            f"the checkpoints in {folder / 'checkpoints'} are of {before[0]} processes with {before[1]}, and now there would be "
            f"{mine[0]} with {mine[1]}: make {before[0]} such GPUs visible, or remove {folder} to begin this stage anew"
        )
    folder.mkdir(parents=True, exist_ok=True)
    write_atomic(path, json.dumps(mine))


def _tell_stage(tell: Tell, number: int, line: dict[str, Any]) -> None:
    tell({"stage": number, **line})


def _last_line(stage: Path) -> str:
    return (stage / "metrics.jsonl").read_text("utf-8").splitlines()[-1]


def _gathered(work: Path, stages: int, path: Path) -> list[dict[str, Any]]:
    lines = [
        {"stage": n, **json.loads(line)}
        for n in range(1, stages + 1)
        for line in (work / f"stage-{n}" / "metrics.jsonl").read_text("utf-8").splitlines()
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), "utf-8")
    write_atomic(path.with_name("training.svg"), curves_svg([{**line, "step": n} for n, line in enumerate(lines, start=1)]))
    return lines
