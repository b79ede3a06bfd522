"""A stage of reinforcement learning in several processes, one a GPU (training.processes)."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from training.grpo_settings import GrpoSettings
from training.grpo_stage import Prompt, train_stage
from training.plan_files import Layout
from training.processes import Means, one_of_several, run_in_processes, say
from training.progress import Tell
from training.students import Student, load_student


class Job(NamedTuple):
    """One stage, as every process of it reads it."""

    prompts: list[list[str]]
    name: str
    base: str
    served: str  # folder with the tokenizer as it is trained
    settings: dict[str, Any]
    folder: str
    engine: str


def launch_stage(
    prompts: Sequence[Prompt],
    student: Student,
    served: Path,
    settings: GrpoSettings,
    folder: Path,
    engine: str,
    tell: Tell,
    means: Means,
) -> int:
    """As training.grpo_stage.train_stage, in `settings.processes` processes; the tokenizer is in `served`. Raises as that does."""
    import torch

    assert settings.processes and settings.strategy != "auto"
    folder.mkdir(parents=True, exist_ok=True)
    rows = [list(prompt) for prompt in prompts]
    job = Job(rows, student.name, str(student.base), str(served), settings.model_dump(), str(folder), engine)
    layout = Layout(settings.strategy, settings.processes, settings.in_bf16(cuda=torch.cuda.is_available()))
    return int(run_in_processes("training.grpo_launch", job._asdict(), layout, folder, tell, means))


def main(path: str) -> int:
    """One process of a launch."""
    job = Job(**json.loads(Path(path).read_text("utf-8")))

    def work() -> int:
        student = load_student(job.name, Path(job.base), Path(job.served))
        settings = GrpoSettings.model_validate(job.settings)
        return train_stage([Prompt(*row) for row in job.prompts], student, settings, Path(job.folder), job.engine, say)

    return one_of_several(work)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
