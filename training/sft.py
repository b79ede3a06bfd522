"""Supervised fine-tuning on traces with TRL's SFTTrainer: our rows and our mask, its loop; resumable, on one device or several.

Rows come tokenised and labelled (`training.rendering`), so TRL renders, masks and cuts nothing. What TRL 1.16 would do otherwise:
max_length 1,024, weights loaded in the dtype of a string, loss on the whole conversation, and NaN losses hidden in the log.
Its fused head stays where the logits do not fit or there are several GPUs: the loss in tiles, for learned tokens only, and of
Liger the layers alone. On one GPU the logits are whole where they fit (training.whole_head).
torch.compile is not: rows of every length compile anew, and what it would fuse Liger has fused.
"""

from __future__ import annotations

import importlib.util
import json
import shutil
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from training.attention import VARLEN, fastest_kernels, register_varlen
from training.curves import write_curves
from training.mfu import lengths, read_shape
from training.plan import resolved
from training.progress import Tell, forget_after, last_checkpoint, meter, metrics
from training.sft_settings import SftSettings
from training.students import Student, generation_config
from training.visible import hardware

__all__ = ["Tell", "Trained", "last_checkpoint", "train"]


class Trained(NamedTuple):
    """What a finished training did."""

    steps: int
    tokens: int  # through the model, all epochs, padding apart
    seconds: float  # of this process: a resumed training counts from the checkpoint
    first_loss: float
    last_loss: float
    resumed_at: int  # step, 0 for a training in one go


def train(rows: Sequence[Path], student: Student, settings: SftSettings, work: Path, out: Path, tell: Tell) -> Trained:
    """Train the student and save it to `out`; checkpoints and metrics are in `work`, and a second call goes on from there.

    `rows` are Parquet files with columns input_ids and labels (-100: not learned). `metrics.jsonl` has a line for each step
    (training.curves says which keys); `tell` is given each. Every process of a launch calls it; the first writes.
    Raises UserError where the batch cannot fit, and where the loss is no number any more; the checkpoint before it is kept.
    """
    import torch
    from transformers import AutoModelForCausalLM

    _quiet()
    shape, cuda = read_shape(student.base), torch.cuda.is_available()
    settings = resolved(shape, settings, hardware(), lengths(list(rows)), liger_installed=liger_installed())
    work.mkdir(parents=True, exist_ok=True)
    last = last_checkpoint(work / "checkpoints")
    arguments = trainer_arguments(settings, work / "checkpoints", cuda=cuda)  # before the model: ZeRO-3 shards it while it loads
    resumed_at, tokens = forget_after(work / "metrics.jsonl", last, writes=arguments.process_index == 0)
    model = AutoModelForCausalLM.from_pretrained(student.base, dtype=_loaded_in(settings), attn_implementation=_attention(settings))
    model.config.eos_token_id, model.config.pad_token_id = student.turn.end_id, student.tokenizer.pad_token_id
    model.generation_config = generation_config(student.base, student.tokenizer, student.turn)
    trainer = make_trainer(model, student.tokenizer, _dataset(rows, work / "rows"), arguments, settings)
    trainer.add_callback(metrics(work / "metrics.jsonl", tokens, tell, meter(shape, rows, settings)))
    began = time.monotonic()
    with fastest_kernels(cuda):
        trainer.train(resume_from_checkpoint=str(last) if last else None)
    seconds = time.monotonic() - began
    save_whole(trainer, student, out)
    lines = [json.loads(line) for line in (work / "metrics.jsonl").read_text("utf-8").splitlines()]
    if arguments.process_index == 0:
        shutil.copy(work / "metrics.jsonl", out / "metrics.jsonl")
        write_curves(out / "metrics.jsonl", out / "training.svg")
    return Trained(lines[-1]["step"], lines[-1]["tokens"], seconds, lines[0]["loss"], lines[-1]["loss"], resumed_at)


def liger_installed() -> bool:
    return importlib.util.find_spec("liger_kernel") is not None


def _quiet() -> None:
    """No progress bars of the libraries below: they fill a log file and break up our lines."""
    import datasets
    from transformers.utils import logging

    datasets.disable_progress_bars()
    logging.disable_progress_bar()


def _alone_in_bf16(settings: SftSettings) -> bool:
    """bf16 weights with our fp32 masters. DDP has autocast over fp32 weights; ZeRO and FSDP2 keep masters of their own."""
    return settings.strategy == "single" and settings.precision == "bf16"


def _loaded_in(settings: SftSettings) -> Any:
    """An update of 1e-5 is lost in bf16's 8 bits, so what the optimiser steps on is fp32, here or in its own copy."""
    import torch

    own_masters = _alone_in_bf16(settings) or settings.strategy.startswith("zero")
    return torch.bfloat16 if own_masters else torch.float32


def _attention(settings: SftSettings) -> str:
    if settings.attention == VARLEN:
        register_varlen()
    return settings.attention


def _fuse(model: Any, settings: SftSettings) -> None:
    if settings.liger == "on":
        from liger_kernel.transformers import _apply_liger_kernel_to_instance  # type: ignore[import-not-found,unused-ignore]

        _apply_liger_kernel_to_instance(model, fused_linear_cross_entropy=False, cross_entropy=False)


def _optimizer(model: Any, settings: SftSettings) -> Any:
    """Ours, or None for the trainer's own fused AdamW."""
    if not _alone_in_bf16(settings):
        return None
    from training.masters import master_adamw

    betas = (settings.adam_beta1, settings.adam_beta2)
    return master_adamw(model, lr=settings.learning_rate, betas=betas, weight_decay=settings.weight_decay)


def _trainer_class(settings: SftSettings) -> Any:
    from trl import SFTTrainer

    if settings.head != "whole":
        return SFTTrainer
    from training.whole_head import WholeHeadTrainer

    return partial(WholeHeadTrainer, liger=settings.liger == "on")


def make_trainer(model: Any, tokenizer: Any, dataset: Any, arguments: Any, settings: SftSettings) -> Any:
    """TRL's trainer of a loaded model, with the kernels and the optimiser of settings without an "auto"."""
    from transformers import PrinterCallback

    _fuse(model, settings)
    trainer = _trainer_class(settings)(
        model=model,
        args=arguments,
        train_dataset=dataset,
        processing_class=tokenizer,
        optimizers=(_optimizer(model, settings), None),
    )
    trainer.remove_callback(PrinterCallback)  # `tell` says it
    return trainer


def trainer_arguments(settings: SftSettings, folder: Path, *, cuda: bool) -> Any:
    """TRL's configuration for settings without an "auto"; checkpoints go to `folder`."""
    from trl import SFTConfig

    floor = {"min_lr_rate": settings.final_lr_ratio} if settings.final_lr_ratio else {}
    in_one_sequence = settings.attention not in ("sdpa", "eager")  # without padding; rows are cut to max_length already
    arguments = SFTConfig(
        output_dir=str(folder),
        learning_rate=settings.learning_rate,
        lr_scheduler_type="cosine_with_min_lr" if floor else settings.schedule,
        lr_scheduler_kwargs=floor,
        warmup_steps=settings.warmup,  # below 1 it is a share
        num_train_epochs=settings.epochs,
        per_device_train_batch_size=settings.rows_per_pass,
        gradient_accumulation_steps=settings.rows_per_step // (settings.rows_per_pass * (settings.processes or 1)),
        max_length=settings.max_length if settings.packing else None,  # rows that are longer were left out
        packing=settings.packing,
        packing_strategy="bfd",
        padding_free=in_one_sequence and not settings.packing and settings.rows_per_pass > 1,
        optim="adamw_torch_fused",
        weight_decay=settings.weight_decay,
        adam_beta1=settings.adam_beta1,
        adam_beta2=settings.adam_beta2,
        max_grad_norm=settings.max_grad_norm,
        seed=settings.seed,
        bf16=settings.precision == "bf16" and not _alone_in_bf16(settings),
        use_cpu=not cuda,
        gradient_checkpointing=settings.gradient_checkpointing is True,
        gradient_checkpointing_kwargs={"use_reentrant": False},
        save_strategy="steps",
        save_steps=settings.save_every_steps,
        save_total_limit=2,  # the one being written may be torn by a kill
        logging_steps=1,
        logging_first_step=True,
        logging_nan_inf_filter=False,
        report_to="none",
        disable_tqdm=True,
        dataloader_pin_memory=cuda,
        ddp_find_unused_parameters=False,
    )
    if settings.strategy == "single":
        arguments._n_gpu = 1  # of several that are visible; transformers would take them all, by nn.DataParallel
    return arguments


def _dataset(rows: Sequence[Path], folder: Path) -> Any:
    """The rows, memory-mapped from disk: those of 800,000 traces do not fit in memory."""
    from datasets import Dataset

    return Dataset.from_parquet([str(path) for path in rows], cache_dir=str(folder))


def save_whole(trainer: Any, student: Student, out: Path) -> None:
    """Every process takes part, since each holds a shard of the weights under ZeRO-3 and FSDP2; the first writes."""
    weights = trainer.accelerator.get_state_dict(trainer.model_wrapped)
    if trainer.args.process_index == 0:
        save(trainer.accelerator.unwrap_model(trainer.model_wrapped), student, out, weights)
    trainer.accelerator.wait_for_everyone()


def save(model: Any, student: Student, out: Path, weights: dict[str, Any] | None = None) -> None:
    """Weights in the base's dtype, tokenizer, template and generation config: what transformers and vLLM load.

    `weights` are the model's own, gathered, where it holds no more than a shard of them.
    """
    from transformers import AutoConfig

    dtype = AutoConfig.from_pretrained(student.base).dtype or model.dtype
    whole = model.state_dict() if weights is None else weights
    cast = {weight.data_ptr(): weight.to(dtype) for weight in whole.values()}  # a tied head stays the embedding
    model.config.use_cache = True  # gradient checkpointing turns it off, and generation without it is slow
    model.config.dtype = dtype
    model.save_pretrained(out, state_dict={name: cast[weight.data_ptr()] for name, weight in whole.items()})
    student.tokenizer.save_pretrained(out)
