"""Reinforcement learning with verifiable rewards on TRL's GRPOTrainer: stages one after the other, resumable, one training device.

What TRL 1.16 would do otherwise: 512 new tokens, prompts of any length, vLLM wherever it is asked for, a reference with the bias
correction of DeepSeek-V3.2, whole sequences masked for a drift of vLLM's probabilities, and a start in the middle of a rollout.
"""

from __future__ import annotations

import json
import logging
import random
import shutil
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from curation.errors import UserError
from curation.files import write_atomic
from training.apart import apart
from training.curves import curves_svg
from training.grpo_arguments import arguments
from training.grpo_lines import recorder
from training.grpo_settings import GrpoSettings
from training.grpo_trainer import trainer_class
from training.reward_mix import mixed
from training.sft import last_checkpoint
from training.students import Student, generation_config

Tell = Callable[[dict[str, Any]], None]


class Prompt(NamedTuple):
    """One row to learn from."""

    prompt: str  # rendered, as a server sees it
    answer: str  # gold
    domain: str  # which verifier judges it
    problem_id: str
    problem: str  # the question as the source states it


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
    prompts: Sequence[Prompt], student: Student, settings: GrpoSettings, work: Path, out: Path, tell: Tell, *, engine: str
) -> Reinforced:
    """Train the student and save it to `out`; every stage has its checkpoints and metrics in `work`, and a second call goes on.

    `engine` is who samples: transformers, vllm-colocate or vllm-server. `metrics.jsonl` has a line for each optimiser step
    (training.grpo_lines); `tell` is given each. Raises UserError where the loss is no number, or a limit of health is crossed;
    the checkpoints before it are kept.
    """
    began, resumed_at = time.monotonic(), 0
    stages = settings.each_stage()
    for number, stage in enumerate(stages, start=1):
        folder = work / f"stage-{number}"
        if not (folder / "model").is_dir():
            told = partial(_tell_stage, tell, number)
            if engine != "transformers" and len(stages) > 1:
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


def train_stage(prompts: Sequence[Prompt], student: Student, settings: GrpoSettings, folder: Path, engine: str, tell: Tell) -> int:
    """Train one stage into `folder`/model; return the step it went on from."""
    from transformers import PrinterCallback

    _quiet()
    folder.mkdir(parents=True, exist_ok=True)
    last = last_checkpoint(folder / "checkpoints")
    trainer = make_trainer(ordered(prompts, settings), student, settings, folder / "checkpoints", engine)
    trainer.add_callback(recorder(folder / "metrics.jsonl", last, settings, tell))
    trainer.remove_callback(PrinterCallback)  # `tell` says it
    trainer.train(resume_from_checkpoint=str(last) if last else None)
    fresh = folder / ".model"
    shutil.rmtree(fresh, ignore_errors=True)
    _save(trainer.model, student, fresh)
    fresh.rename(folder / "model")
    shutil.rmtree(folder / "checkpoints", ignore_errors=True)  # the optimiser's state: six times the model in bf16
    return int(last.name.partition("-")[2]) if last else 0


def make_trainer(rows: Sequence[Prompt], student: Student, settings: GrpoSettings, checkpoints: Path, engine: str) -> Any:
    """The trainer of a stage (training.grpo_trainer), on the prompts of its rollouts in order."""
    import torch
    from datasets import Dataset
    from transformers import AutoModelForCausalLM

    cuda = torch.cuda.is_available()
    # An update of 1e-6 is lost in bf16's 8 bits, so what the optimiser steps on is fp32: the weights, or its copies of them.
    low = settings.precision == "bf16" or (settings.precision == "auto" and cuda)
    dtype = torch.bfloat16 if low else torch.float32
    model = AutoModelForCausalLM.from_pretrained(student.base, dtype=dtype, attn_implementation=settings.attention)
    model.config.eos_token_id, model.config.pad_token_id = student.turn.end_id, student.tokenizer.pad_token_id
    model.generation_config = generation_config(student.base, student.tokenizer, student.turn)
    if settings.liger:
        from liger_kernel.transformers import _apply_liger_kernel_to_instance  # type: ignore[import-not-found,unused-ignore]

        _apply_liger_kernel_to_instance(model, fused_linear_cross_entropy=False, cross_entropy=False)
    rewards = mixed(settings)
    trainer = trainer_class()(
        model=model,
        args=arguments(settings, checkpoints, len(rows), rewards.weights, engine, student.turn, cuda=cuda),
        reward_funcs=list(rewards.functions),
        train_dataset=Dataset.from_list([row._asdict() for row in rows]),
        processing_class=student.tokenizer,
        optimizers=(_masters(model, settings) if low else None, None),
    )
    trainer.ours, trainer.judging = settings, list(rewards.judging)
    return trainer


def _masters(model: Any, settings: GrpoSettings) -> Any:
    from training.masters import master_adamw

    betas = (settings.adam_beta1, settings.adam_beta2)
    return master_adamw(model, lr=settings.learning_rate, betas=betas, weight_decay=settings.weight_decay)


def _quiet() -> None:
    """No progress bars of the libraries below; and TRL warns of each batch that cannot be judged, with the model's whole text."""
    import datasets
    from transformers.utils import logging as bars

    datasets.disable_progress_bars()
    bars.disable_progress_bar()
    logging.getLogger("trl.trainer.grpo_trainer").setLevel(logging.ERROR)


def _save(model: Any, student: Student, out: Path) -> None:
    """Weights in the base's dtype, which vLLM samples the next stage in; tokenizer, template and generation config."""
    from transformers import AutoConfig

    model.to(AutoConfig.from_pretrained(student.base).dtype or model.dtype)
    model.config.use_cache = True  # gradient checkpointing turns it off, and generation without it is slow
    model.save_pretrained(out)
    student.tokenizer.save_pretrained(out)


def ordered(prompts: Sequence[Prompt], settings: GrpoSettings) -> list[Prompt]:
    """The prompts of every rollout, in order: each epoch shuffled anew by seed, its last incomplete rollout left out.

    Laid out beforehand because TRL's sampler starts its first epoch's order again when a training is resumed in a later one.
    Raises UserError where there are fewer prompts than a rollout takes.
    """
    each = settings.prompts_per_rollout
    if len(prompts) < each:
        raise UserError(
            f"{len(prompts):,} prompts are fewer than one rollout takes: lower prompts_per_rollout {each} or give more problems"
        )
    per_epoch = len(prompts) // each
    rollouts = settings.rollouts or per_epoch * settings.epochs
    found: list[Prompt] = []
    for epoch in range(-(-rollouts // per_epoch)):
        found += random.Random(f"{settings.seed}-{epoch}").sample(list(prompts), per_epoch * each)
    return found[: rollouts * each]
