"""A stage of reinforcement learning small enough for a test: its settings, prompts and metrics."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from training.grpo import reinforce
from training.grpo_settings import GrpoSettings
from training.grpo_stage import Prompt
from training.settings import load
from training.students import Student

FAST = (
    *("prompts_per_rollout=2", "samples_per_prompt=4", "completions_per_pass=4", "rollouts=2", "max_completion_tokens=12"),
    *("generation=transformers", "precision=fp32", "gradient_checkpointing=false", "learning_rate=1e-3", "doubt=wrong"),
    *("max_truncated=null", "max_silent_groups=null", "save_every_rollouts=1", "scale_rewards=group"),
)
# Words of a random student differ, so that this has a spread where correctness has none.
SPREAD = "rewards={accuracy: 1.0, repetition: {words: 1}, language: 1.0}"


def prompts(count: int = 8) -> list[Prompt]:
    asked = "<|im_start|>user\nWhat is {} + 30?<|im_end|>\n<|im_start|>assistant\n"
    return [Prompt(asked.format(n), str(n + 30), "math", str(n), f"What is {n} + 30?") for n in range(count)]


def metrics(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def trained(student: Student, folder: Path, *assignments: str, tell: Any = lambda line: None) -> list[dict[str, Any]]:
    settings = load(GrpoSettings, (*FAST, SPREAD, *assignments))
    reinforce(prompts(), student, settings, folder / "work", folder / "out", tell, engine="transformers")
    return metrics(folder / "out")
