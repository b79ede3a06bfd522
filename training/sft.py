"""Supervised fine-tuning on traces with TRL's SFTTrainer: our rows and our mask, its loop; resumable, one device.

Rows come tokenised and labelled (`training.rendering`), so TRL renders, masks and cuts nothing. What TRL 1.16 would do otherwise:
max_length 1,024, weights loaded in the dtype of a string, loss on the whole conversation, and NaN losses hidden in the log.
"""

from __future__ import annotations

import json
import math
import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from curation.errors import UserError
from training.sft_settings import SftSettings
from training.students import Student, generation_config

Tell = Callable[[dict[str, Any]], None]


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

    `rows` are Parquet files with columns input_ids and labels (-100: not learned). `metrics.jsonl` has a line for each step:
    step, epoch, loss, learning_rate, grad_norm, mean_token_accuracy, tokens, tokens_per_second; `tell` is given each.
    Raises UserError where the loss is no number any more; the checkpoint before it is kept.
    """
    import torch
    from transformers import AutoModelForCausalLM, PrinterCallback
    from trl import SFTTrainer

    _quiet()
    if torch.cuda.device_count() > 1:
        raise UserError(
            f"{torch.cuda.device_count()} GPUs are visible and this trains on one: choose it with CUDA_VISIBLE_DEVICES=0"
        )
    work.mkdir(parents=True, exist_ok=True)
    last = last_checkpoint(work / "checkpoints")
    resumed_at, tokens = _forget_after(work / "metrics.jsonl", last)
    # Weights and optimiser state in fp32: an update of 1e-5 is lost in bf16's 8 bits. The passes run in bf16 by autocast.
    model = AutoModelForCausalLM.from_pretrained(student.base, dtype=torch.float32, attn_implementation=settings.attention)
    model.config.eos_token_id, model.config.pad_token_id = student.turn.end_id, student.tokenizer.pad_token_id
    model.generation_config = generation_config(student.base, student.tokenizer, student.turn)
    trainer = SFTTrainer(
        model=model,
        args=_arguments(settings, work / "checkpoints", cuda=torch.cuda.is_available()),
        train_dataset=_dataset(rows, work / "rows"),
        processing_class=student.tokenizer,
        callbacks=[_metrics(work / "metrics.jsonl", tokens, tell)],
    )
    trainer.remove_callback(PrinterCallback)  # `tell` says it
    began = time.monotonic()
    trainer.train(resume_from_checkpoint=str(last) if last else None)
    seconds = time.monotonic() - began
    save(trainer.model, student, out)
    lines = [json.loads(line) for line in (work / "metrics.jsonl").read_text("utf-8").splitlines()]
    shutil.copy(work / "metrics.jsonl", out / "metrics.jsonl")
    return Trained(lines[-1]["step"], lines[-1]["tokens"], seconds, lines[0]["loss"], lines[-1]["loss"], resumed_at)


def _quiet() -> None:
    """No progress bars of the libraries below: they fill a log file and break up our lines."""
    import datasets
    from transformers.utils import logging

    datasets.disable_progress_bars()
    logging.disable_progress_bar()


def _arguments(settings: SftSettings, folder: Path, *, cuda: bool) -> Any:
    from trl import SFTConfig

    bf16 = settings.precision == "bf16" or (settings.precision == "auto" and cuda)
    floor = {"min_lr_rate": settings.final_lr_ratio} if settings.final_lr_ratio else {}
    return SFTConfig(
        output_dir=str(folder),
        learning_rate=settings.learning_rate,
        lr_scheduler_type="cosine_with_min_lr" if floor else settings.schedule,
        lr_scheduler_kwargs=floor,
        warmup_steps=settings.warmup,  # below 1 it is a share
        num_train_epochs=settings.epochs,
        per_device_train_batch_size=settings.rows_per_pass,
        gradient_accumulation_steps=settings.rows_per_step // settings.rows_per_pass,
        max_length=settings.max_length,
        packing=settings.packing,
        weight_decay=settings.weight_decay,
        adam_beta1=settings.adam_beta1,
        adam_beta2=settings.adam_beta2,
        max_grad_norm=settings.max_grad_norm,
        seed=settings.seed,
        bf16=bf16,
        use_cpu=not cuda,
        gradient_checkpointing=settings.gradient_checkpointing,
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
    )


def _dataset(rows: Sequence[Path], folder: Path) -> Any:
    """The rows, memory-mapped from disk: those of 800,000 traces do not fit in memory."""
    from datasets import Dataset

    return Dataset.from_parquet([str(path) for path in rows], cache_dir=str(folder))


def _metrics(path: Path, tokens_before: int, tell: Tell) -> Any:
    from transformers import TrainerCallback

    class Metrics(TrainerCallback):  # type: ignore[misc]  # transformers is not typed for mypy here
        """Writes a line for each step; the loop offers nothing but a class for that."""

        counted = 0  # tokens, at the step before

        def on_step_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            self.began = time.monotonic()

        def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any], **_: Any) -> None:
            if "loss" not in logs:  # the summary at the end
                return
            # TRL's count starts at 0 in every process, so a resumed training adds it to what its checkpoint had seen.
            tokens, self.counted = int(logs["num_tokens"]) - self.counted, int(logs["num_tokens"])
            rate = round(tokens / (time.monotonic() - self.began), 1)
            line = _line(state, logs) | {"tokens": tokens_before + self.counted, "tokens_per_second": rate}
            if not math.isfinite(line["loss"]) or not math.isfinite(line["grad_norm"]):
                last = last_checkpoint(Path(args.output_dir))
                kept = f"the checkpoint {last} is from before it" if last else "there is no checkpoint yet"
                raise UserError(
                    f"the loss is {line['loss']} and the gradient's norm {line['grad_norm']} at step {state.global_step}; {kept}: "
                    "lower learning_rate, or look at the rows of that step"
                )
            with path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")
            tell(line)

    return Metrics()


def _line(state: Any, logs: dict[str, Any]) -> dict[str, Any]:
    line = {name: float(logs[name]) for name in ("epoch", "loss", "learning_rate", "grad_norm", "mean_token_accuracy")}
    return {"step": state.global_step, "steps": state.max_steps, **line}


def last_checkpoint(folder: Path) -> Path | None:
    """The newest whole checkpoint: transformers writes trainer_state.json last. Torn ones are removed."""
    for found in sorted(folder.glob("checkpoint-*"), key=lambda p: int(p.name.partition("-")[2]), reverse=True):
        if (found / "trainer_state.json").is_file():
            return found
        shutil.rmtree(found)
    return None


def _forget_after(metrics: Path, checkpoint: Path | None) -> tuple[int, int]:
    """Drop the lines of steps that will be done again; the step of the checkpoint, and the tokens until then."""
    step = int(checkpoint.name.partition("-")[2]) if checkpoint else 0
    kept = []
    for line in metrics.read_text("utf-8").splitlines() if metrics.is_file() else ():
        try:
            if json.loads(line)["step"] <= step:
                kept.append(line)
        except ValueError:  # torn by the kill; it is of a step after the checkpoint
            continue
    metrics.write_text("".join(line + "\n" for line in kept), "utf-8")
    return step, json.loads(kept[-1])["tokens"] if kept else 0


def save(model: Any, student: Student, out: Path) -> None:
    """Weights in the base's dtype, tokenizer, template and generation config: what transformers and vLLM load."""
    from transformers import AutoConfig

    model.to(AutoConfig.from_pretrained(student.base).dtype or model.dtype)
    model.config.use_cache = True  # gradient checkpointing turns it off, and generation without it is slow
    model.save_pretrained(out)
    student.tokenizer.save_pretrained(out)
