"""One stage of reinforcement learning on TRL's GRPOTrainer, in the process or processes that train.

What TRL 1.16 would do otherwise: 512 new tokens, prompts of any length, vLLM wherever it is asked for, a reference with the bias
correction of DeepSeek-V3.2, whole sequences masked for a drift of vLLM's probabilities, and a start in the middle of a rollout.
"""

from __future__ import annotations

import logging
import random
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from curation.errors import UserError
from training.grpo_arguments import arguments
from training.grpo_lines import recorder
from training.grpo_reference import renewal, restore_reference
from training.grpo_settings import GrpoSettings
from training.grpo_trainer import trainer_class
from training.progress import Tell, last_checkpoint
from training.reward_mix import mixed
from training.sft import save_whole
from training.students import Student, generation_config, window_of


class Prompt(NamedTuple):
    """One row to learn from."""

    prompt: str  # rendered, as a server sees it
    answer: str  # gold
    domain: str  # which verifier judges it
    problem_id: str
    problem: str  # the question as the source states it


def train_stage(prompts: Sequence[Prompt], student: Student, settings: GrpoSettings, folder: Path, engine: str, tell: Tell) -> int:
    """Train one stage into `folder`/model; return the step it went on from. Every process of a launch calls it; the first writes.

    Raises UserError where the loss is no number, or a limit of health is crossed.
    """
    from transformers import PrinterCallback

    _quiet()
    folder.mkdir(parents=True, exist_ok=True)
    last = last_checkpoint(folder / "checkpoints")
    trainer = make_trainer(ordered(prompts, settings), student, settings, folder / "checkpoints", engine)
    first, fresh = trainer.is_world_process_zero(), folder / ".model"
    if first:
        trainer.add_callback(recorder(folder / "metrics.jsonl", last, settings, tell))
        shutil.rmtree(fresh, ignore_errors=True)
    trainer.remove_callback(PrinterCallback)  # `tell` says it
    if last and settings.sync_ref_every_steps:
        restore_reference(trainer, last)
    trainer.train(resume_from_checkpoint=str(last) if last else None)
    save_whole(trainer, student, fresh)
    if first:
        fresh.rename(folder / "model")
        shutil.rmtree(folder / "checkpoints", ignore_errors=True)  # the optimiser's state: six times the model in bf16
    return int(last.name.partition("-")[2]) if last else 0


def make_trainer(rows: Sequence[Prompt], student: Student, settings: GrpoSettings, checkpoints: Path, engine: str) -> Any:
    """The trainer of a stage (training.grpo_trainer), on the prompts of its rollouts in order."""
    import torch
    from datasets import Dataset
    from transformers import AutoModelForCausalLM
    from trl.trainer.callbacks import SyncRefModelCallback

    cuda = torch.cuda.is_available()
    # An update of 1e-6 is lost in bf16's 8 bits, so what the optimiser steps on is fp32: the weights, or its copies of them.
    low = settings.in_bf16(cuda=cuda)
    dtype = torch.bfloat16 if low and settings.strategy != "ddp" else torch.float32  # DDP casts fp32 weights as they are used
    rewards = mixed(settings)
    # Before the model: ZeRO-3 shards it while it loads.
    window = window_of(student.base)
    args = arguments(settings, checkpoints, len(rows), rewards.weights, engine, student.turn, cuda=cuda, window=window)
    model = AutoModelForCausalLM.from_pretrained(student.base, dtype=dtype, attn_implementation=settings.attention)
    model.config.eos_token_id, model.config.pad_token_id = student.turn.end_id, student.tokenizer.pad_token_id
    model.generation_config = generation_config(student.base, student.tokenizer, student.turn)
    if settings.liger:
        from liger_kernel.transformers import _apply_liger_kernel_to_instance  # type: ignore[import-not-found,unused-ignore]

        _apply_liger_kernel_to_instance(model, fused_linear_cross_entropy=False, cross_entropy=False)
    trainer = trainer_class()(
        model=model,
        args=args,
        reward_funcs=list(rewards.functions),
        train_dataset=Dataset.from_list([row._asdict() for row in rows]),
        processing_class=student.tokenizer,
        optimizers=(_masters(model, settings) if low and settings.alone else None, None),
    )
    if settings.sync_ref_every_steps:
        trainer.remove_callback(SyncRefModelCallback)
        trainer.add_callback(renewal(trainer))
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
