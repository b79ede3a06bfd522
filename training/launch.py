"""Supervised fine-tuning in several processes, one a GPU (training.processes)."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from training.plan_files import Layout
from training.processes import Means, one_of_several, run_in_processes, say
from training.progress import Tell
from training.sft import Trained, train
from training.sft_settings import SftSettings
from training.students import Student, load_student


class Job(NamedTuple):
    """One training, as every process of it reads it."""

    rows: list[str]
    name: str
    base: str
    served: str  # folder with the tokenizer as it is trained
    settings: dict[str, Any]
    work: str
    out: str


def launch(
    rows: Sequence[Path], student: Student, settings: SftSettings, work: Path, out: Path, tell: Tell, means: Means
) -> Trained:
    """As training.sft.train, in `settings.processes` processes, for settings without an "auto". Raises UserError as train does."""
    assert settings.processes and settings.strategy != "auto"
    served = str(work / "served")
    job = Job([str(r) for r in rows], student.name, str(student.base), served, settings.model_dump(), str(work), str(out))
    layout = Layout(settings.strategy, settings.processes, settings.precision == "bf16")
    return Trained(**run_in_processes("training.launch", job._asdict(), layout, work, tell, means))


def main(path: str) -> int:
    """One process of a launch."""
    job = Job(**json.loads(Path(path).read_text("utf-8")))

    def work() -> dict[str, Any]:
        settings = SftSettings.model_validate(job.settings)
        student = load_student(job.name, Path(job.base), Path(job.served))
        return train([Path(r) for r in job.rows], student, settings, Path(job.work), Path(job.out), say)._asdict()

    return one_of_several(work)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
