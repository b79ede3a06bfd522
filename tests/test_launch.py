"""A training in two processes: launched by itself, killed with its launcher, gone on with, refused in one sentence."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from tiny_model import make_tiny_model

from curation.errors import UserError
from factory.distilling import DEEPSPEED, KEEPER
from factory.tokenising import open_examples, tokenise
from training.launch import launch
from training.processes import Means, say
from training.settings import load
from training.sft import train
from training.sft_settings import SftSettings
from training.students import open_student

pytestmark = pytest.mark.slow

FAST = ("max_length=600", "rows_per_step=4", "learning_rate=3e-3", "warmup=0", "save_every_steps=4")
TWO = (*FAST, "processes=2", "strategy=ddp", "rows_per_pass=2")


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_model(tmp_path_factory.mktemp("tiny"))


def examples(folder: Path, count: int) -> Path:
    answers = (f"<think>\nlet us think {n}\n</think>\n\nthe answer is {n}" for n in range(count))
    talks = ([{"role": "user", "content": f"What is {n}?"}, {"role": "assistant", "content": a}] for n, a in enumerate(answers))
    path = folder / "rows.jsonl"
    path.write_text("".join(json.dumps({"messages": talk}) + "\n" for talk in talks))
    return path


def metrics(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def test_two_processes_train_the_student_that_one_trains(tiny: Path, tmp_path: Path) -> None:
    """The same rows in the same steps: the loss of each step is the same, up to the order of sums."""
    settings = load(SftSettings, (*TWO, "epochs=2"))
    student = open_student(str(tiny), settings, tmp_path / "two" / "served")
    rows = sorted(
        tokenise(tmp_path / "steps", open_examples(str(examples(tmp_path, 12))), student, 600).folder.glob("rows-*.parquet")
    )
    told: list[dict[str, Any]] = []
    ready = settings.model_copy(update={"precision": "fp32", "attention": "sdpa", "liger": "off", "gradient_checkpointing": False})
    two = launch(rows, student, ready, tmp_path / "two", tmp_path / "out-two", told.append, Means(KEEPER, DEEPSPEED))
    alone = settings.model_copy(update={"processes": 1, "strategy": "single"})
    one = train(rows, student, alone, tmp_path / "one", tmp_path / "out-one", lambda line: None)
    assert (two.steps, two.tokens) == (one.steps, one.tokens) == (6, two.tokens)
    assert [line["step"] for line in told] == list(range(1, 7)) and told == metrics(tmp_path / "out-two")
    for a, b in zip(metrics(tmp_path / "out-two"), metrics(tmp_path / "out-one"), strict=True):
        assert math.isfinite(a["loss"]) and a["loss"] == pytest.approx(b["loss"], rel=1e-3)
    files = {p.name for p in (tmp_path / "out-two").iterdir()}
    assert {"model.safetensors", "config.json", "tokenizer.json", "generation_config.json", "training.svg"} <= files


def test_a_killed_launcher_takes_its_processes_along_and_is_gone_on_with(tiny: Path, tmp_path: Path) -> None:
    values = [part for value in (*TWO, "epochs=20") for part in ("--set", value)]
    data = str(examples(tmp_path, 12))
    command = [sys.executable, "-m", "factory", "distill", data, "--student", str(tiny), "--runs", str(tmp_path), *values]
    running = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=_environment())
    # The second one: then the first is whole.
    work = _wait_for(lambda: next(iter((tmp_path / "students").glob(".*/checkpoints/checkpoint-8")), None)).parent.parent
    children = _processes(str(work))
    running.send_signal(signal.SIGKILL)
    running.wait()
    _wait_for(lambda: not _processes(str(work)) or None)
    assert len(children) >= 3  # the keeper's command, and two that train
    done = subprocess.run(
        [*command, "--out", str(tmp_path / "student")], capture_output=True, text=True, env=_environment(), check=True
    )
    assert "going on from checkpoint-" in done.stderr and "60 steps" in done.stdout
    lines = metrics(tmp_path / "student")
    assert [line["step"] for line in lines] == list(range(1, 61)) and lines[-1]["loss"] < lines[0]["loss"] / 2
    made = json.loads((tmp_path / "student" / "training_manifest.json").read_text())
    assert made["settings"]["processes"] == 2 and made["settings"]["strategy"] == "ddp" and made["training"]["resumed_at"] >= 4


def acted(tiny: Path, folder: Path, script: str) -> str:
    """What is said of processes that do as `script` does."""
    settings = SftSettings(processes=2, strategy="ddp")
    student = open_student(str(tiny), settings, folder / "served")
    with pytest.raises(UserError) as caught:
        launch([], student, settings, folder, folder / "out", print, Means((sys.executable, "-c", script), DEEPSPEED))
    return str(caught.value)


def test_what_a_process_refuses_is_one_sentence_here(tiny: Path, tmp_path: Path) -> None:
    refused = """print('{"refused": "the loss is nan at step 7; the checkpoint is from before it"}')"""
    assert acted(tiny, tmp_path, refused) == "the loss is nan at step 7; the checkpoint is from before it"


def test_processes_that_die_leave_their_last_words(tiny: Path, tmp_path: Path) -> None:
    failed = acted(tiny, tmp_path, """print('{"failed": "OutOfMemoryError: 3 GiB"}'); raise SystemExit(3)""")
    assert failed.startswith("the processes of the training ended with status 3 before its end (OutOfMemoryError: 3 GiB); ")
    killed = acted(tiny, tmp_path, "import sys; print('Killed', file=sys.stderr); sys.exit(137)")
    assert "ended with status 137 before its end (Killed); " in killed and "goes on from the last checkpoint" in killed


def _environment() -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parent.parent)}


def _processes(word: str) -> list[int]:
    """Processes that train, by what is on their command lines."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            words = (folder / "cmdline").read_bytes().decode(errors="replace")
        except OSError:  # it has ended meanwhile
            continue
        if word in words and "training.launch" in words:
            found.append(int(folder.name))
    return found


def _wait_for(look: Any, seconds: float = 120.0) -> Any:
    end = time.monotonic() + seconds
    while (found := look()) is None:
        assert time.monotonic() < end, "nothing happened"
        time.sleep(0.1)
    return found


def test_what_a_process_says_is_a_line_of_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    print("a library's line without an end", end="")
    say({"done": 7})
    assert capsys.readouterr().out.splitlines() == ["a library's line without an end", '{"done": 7}']
