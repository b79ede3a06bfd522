"""A stage of reinforcement learning whose answers are known beforehand: `python -m known_answers STUDENT FOLDER KEY=VALUE ...`.

What is sampled depends on the seeds of each process, so that one process and two could not be compared. Here an answer depends on
the prompt, its number in the group and the step alone; all else is the real stage. Run by torchrun, each process calls it.
"""

from __future__ import annotations

import re
import sys
import zlib
from pathlib import Path
from typing import Any

from trying import prompts

from training.grpo_settings import GrpoSettings
from training.grpo_stage import train_stage
from training.processes import say
from training.settings import load
from training.students import load_student

FILLING = ("let", "us", "think", "so", "then", "we", "have", "and", "but", "wait", "check")


def answer(asked: str, sample: int, step: int) -> str:
    """Of some words, right one time in three."""
    (number,) = re.findall(r"What is (\d+) \+", asked)
    known = zlib.crc32(f"{number} {sample} {step}".encode())
    right = int(number) + 30 + (known % 3 > 0)
    return " ".join(FILLING[: known % 11]) + f" \\boxed{{{right}}}"


def answered(trainer: Any, prompt_ids: list[list[int]], *_: Any, **__: Any) -> tuple[list[list[int]], None]:
    """Stands for GRPOTrainer._generate_single_turn."""
    tokenizer, first = trainer.processing_class, trainer.accelerator.process_index * len(prompt_ids)
    numbers = [(first + at) % trainer.num_generations for at in range(len(prompt_ids))]
    said = [answer(tokenizer.decode(ids), n, trainer.state.global_step) for ids, n in zip(prompt_ids, numbers, strict=True)]
    return [[*tokenizer.encode(text, add_special_tokens=False), tokenizer.eos_token_id] for text in said], None


def main(student: str, folder: str, *assignments: str) -> None:
    from trl import GRPOTrainer

    GRPOTrainer._generate_single_turn = answered
    settings = load(GrpoSettings, assignments)
    opened = load_student("student", Path(student), Path(student))
    train_stage(prompts(), opened, settings, Path(folder), "transformers", say)


if __name__ == "__main__":
    main(*sys.argv[1:])
