"""A training in a process of its own: what it refuses, and what it leaves."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from curation.errors import UserError
from factory.distilling import MANIFEST
from factory.pipeline import Build, Make
from factory.pipeline_stages import Context, perform
from factory.pipeline_training import Job, follow


def test_a_lost_process_says_so() -> None:
    with pytest.raises(UserError, match=r"ended with status [0-9]+ and no word"):
        follow([sys.executable, "-c", "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"])


@pytest.mark.slow
def test_what_the_training_refuses_is_one_sentence_here(tmp_path: Path) -> None:
    where = str(tmp_path / "none.jsonl")
    job = Job("distill", where, "student", None, ["epochs=0"], str(tmp_path), str(tmp_path / "out"), "factory run")
    with pytest.raises(UserError, match="--set: epochs: input should be greater than or equal to 1, got 0"):
        follow([sys.executable, "-m", "factory.pipeline_training", json.dumps(job)])


@pytest.mark.slow
def test_grpo_in_a_process_of_its_own_leaves_its_student(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The whole of a grpo stage as it is done where there is a GPU, here on the CPU."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    source = {"source.count": 40, "source.max_numbers": 3, "source.style": "terse", "clean.near_duplicates": None}
    puzzles = Build(does="build", name="puzzles", recipe="countdown", set=source)
    start = Make(
        does="make", name="start", words=["Make", "of", "have", "try", "so"], set={"hidden": 32, "layers": 1, "positions": 96}
    )
    for stage in (puzzles, start):
        perform(stage, tmp_path / stage.name, Context(tmp_path / "runs", "factory run", 1, {}, tmp_path))
    values = ["rollouts=1", "prompts_per_rollout=2", "samples_per_prompt=2", "completions_per_pass=4", "max_completion_tokens=8"]
    job = Job(
        *("grpo", str(tmp_path / "puzzles"), str(tmp_path / "start"), None, values),
        *(str(tmp_path / "runs"), str(tmp_path / "rl"), "factory run mine"),
    )
    follow([sys.executable, "-m", "factory.pipeline_training", json.dumps(job)])
    made = json.loads((tmp_path / "rl" / MANIFEST).read_text())
    assert (made["method"], made["command"], made["training"]["steps"]) == ("grpo", "factory run mine", 1)
