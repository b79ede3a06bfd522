"""Reinforcement learning in two processes: they learn what one learns, are ended with their starter, and refuse in one sentence."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from safetensors.numpy import load_file
from tiny_model import make_tiny_model
from trying import metrics, prompts

from curation.errors import UserError
from factory.distilling import DEEPSPEED
from factory.reinforcing import grpo
from training.grpo import reinforce
from training.grpo_arguments import arguments
from training.grpo_reference import renewal
from training.grpo_settings import GrpoSettings
from training.plan_files import Layout
from training.processes import Means, _environment, run_in_processes
from training.rendering import Turn
from training.settings import load
from training.students import load_student

pytestmark = pytest.mark.slow

TESTS = Path(__file__).parent
FAST = (
    *("prompts_per_rollout=3", "samples_per_prompt=4", "completions_per_pass=3", "rollouts=2", "max_completion_tokens=40"),
    *("generation=transformers", "precision=fp32", "gradient_checkpointing=false", "learning_rate=1e-3", "doubt=wrong"),
    *("max_truncated=null", "max_silent_groups=null", "min_reward_std=null", "save_every_rollouts=1"),
)
TWO = ("processes=2", "strategy=ddp")
# Of a line; the others are seconds, or means over passes, and those hold other rows in two processes.
SAME = {"loss", "grad_norm", "reward", "reward_std", "silent_groups", "unjudged", "truncated", "mean_tokens", "tokens", "refills"}
TORCHRUN = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2")


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_model(tmp_path_factory.mktemp("tiny"))


def environment() -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": f"{TESTS.parent}{os.pathsep}{TESTS}"}


def sums(folder: Path, count: int = 12) -> Path:
    path = folder / "sums.jsonl"
    path.write_text("".join(json.dumps({"problem": f"What is {n} + 30?", "answer": str(n + 30)}) + "\n" for n in range(count)))
    return path


ALGORITHMS = {
    "dapo": ("dynamic_sampling=true", "loss_type=dapo"),
    "reinforce++": (
        *("loss_type=dr_grpo", "baseline=batch", "scale_rewards=batch"),
        *("beta=0.04", "num_iterations=2", "sync_ref_every_steps=1"),
    ),
}


@pytest.mark.parametrize("name", ALGORITHMS)
def test_two_processes_learn_from_known_answers_what_one_learns(name: str, tiny: Path, tmp_path: Path) -> None:
    """A group lies on both of them, the rewards of all make the advantages, and what is refilled is shared out again."""
    for folder, start, how in (("one", (), ()), ("two", TORCHRUN, TWO)):
        command = [sys.executable, *start, "-m", "known_answers", str(tiny), str(tmp_path / folder), *FAST, *ALGORITHMS[name], *how]
        subprocess.run(command, env=environment(), check=True, capture_output=True)
    one, two = metrics(tmp_path / "one"), metrics(tmp_path / "two")
    assert len(one) == len(two) == (2 if name == "dapo" else 4) and one[0]["grad_norm"] > 0
    for a, b in zip(one, two, strict=True):
        assert a.keys() == b.keys()
        for key in SAME & a.keys():
            assert a[key] == pytest.approx(b[key], rel=2e-3, abs=2e-5), key
    if name == "dapo":
        assert any(line["refills"] for line in one)
    weights = [load_file(tmp_path / folder / "model" / "model.safetensors") for folder in ("one", "two")]
    assert weights[0].keys() == weights[1].keys()
    moved = load_file(tiny / "model.safetensors")
    for key, found in weights[0].items():
        assert abs(found - weights[1][key]).max() < 0.1 * abs(found - moved[key]).max() + 1e-6, key


def test_killed_with_its_starter_it_goes_on_and_the_card_knows_of_two(tiny: Path, tmp_path: Path) -> None:
    stages = "stages=[{rollouts: 12}, {rollouts: 2, max_completion_tokens: 20}]"
    values = [part for value in (*FAST, *TWO, stages, "max_completion_tokens=12") for part in ("--set", value)]
    command = [sys.executable, "-m", "factory", "grpo", str(sums(tmp_path)), "--student", str(tiny), *values]
    command += ["--runs", str(tmp_path)]
    running = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment())
    work = wait_for(lambda: next(iter((tmp_path / "students").glob(".*/stage-1/checkpoints/checkpoint-3")), None)).parents[2]
    children = processes(str(work))
    running.send_signal(signal.SIGKILL)
    running.wait()
    wait_for(lambda: not processes(str(work)) or None)
    assert len(children) >= 3  # the keeper's command, and two that train
    out = tmp_path / "student"
    done = subprocess.run([*command, "--out", str(out)], capture_output=True, text=True, env=environment())
    assert done.returncode == 0, done.stderr
    assert "going on in stage 1 from checkpoint-" in done.stderr and "2 processes learn together, with ddp" in done.stderr
    lines = metrics(out)
    assert [(line["stage"], line["step"]) for line in lines] == [*((1, n) for n in range(1, 13)), (2, 1), (2, 2)]
    made = json.loads((out / "training_manifest.json").read_text())
    assert (made["settings"]["processes"], made["settings"]["strategy"]) == (2, "ddp")
    assert made["training"]["steps"] == 14


def test_what_stops_one_process_is_one_sentence_here(tiny: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"stopped at step 2: mean_tokens is .* over the last 2 rollouts, min_mean_tokens is 1e"):
        ill = (*FAST, *TWO, "health_window=2", "min_mean_tokens=1e9", "max_completion_tokens=12")
        grpo(str(sums(tmp_path)), str(tiny), None, ill, runs=tmp_path, out=None, command="")


def test_the_first_to_fail_says_why_and_the_log_has_what_libraries_print(tmp_path: Path) -> None:
    printed = "sys.stdout.buffer.write(bytes([255]) + b' vLLM: no memory' + bytes([10]))"
    failed = [f"print(json.dumps({{'failed': '{why}'}}), flush=True)" for why in ("out of memory", "the other is gone")]
    script = "; ".join(("import json, sys", printed, *failed, "sys.exit(1)"))
    means = Means((sys.executable, "-c", script), DEEPSPEED)
    with pytest.raises(UserError, match=r"ended with status 1 before its end \(out of memory\)"):
        run_in_processes("nowhere", {}, Layout("ddp", 2, False), tmp_path, print, means)
    assert "vLLM: no memory" in (tmp_path / "launch.log").read_text("utf-8")


def test_what_grows_is_said_by_the_name_that_vllm_reads_and_a_persons_choice_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    names = ("PYTORCH_CUDA_ALLOC_CONF", "PYTORCH_ALLOC_CONF")
    for name in names:
        monkeypatch.delenv(name, raising=False)
    assert [_environment()[name] for name in names] == ["expandable_segments:True"] * 2
    monkeypatch.setenv("PYTORCH_ALLOC_CONF", "max_split_size_mb:512")
    assert [_environment()[name] for name in names] == ["max_split_size_mb:512"] * 2


def test_they_wait_for_a_rollout_of_hours() -> None:
    """transformers' half an hour is less than a server takes for 8,192 answers of 30,000 tokens."""
    turn = Turn("", 0, "")
    made = arguments(load(GrpoSettings, FAST), Path("nowhere"), 3, (1.0,), "transformers", turn, cuda=False)
    assert made.ddp_timeout_delta >= timedelta(days=1)


def test_the_reference_is_renewed_one_parameter_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Under ZeRO-3 each is gathered whole on every GPU: all of them at once are more than a GPU has beside the student."""
    import torch
    from accelerate import Accelerator  # type: ignore[import-not-found,unused-ignore]
    from trl.trainer.callbacks import SyncRefModelCallback

    accelerator, at_once, copied = Accelerator(), [], SyncRefModelCallback._sync_target_model

    def counted(mine: Any, theirs: Any, alpha: float) -> None:
        at_once.append(len(list(mine.parameters())))
        copied(mine, theirs, alpha)

    monkeypatch.setattr(SyncRefModelCallback, "_sync_target_model", staticmethod(counted))
    policy, reference = torch.nn.Linear(3, 2), torch.nn.Linear(3, 2)
    renewal(SimpleNamespace(ref_model=reference, accelerator=accelerator)).sync_target_model(policy, reference, 1.0)
    assert at_once == [1, 1]
    assert all(torch.equal(a, b) for a, b in zip(policy.parameters(), reference.parameters(), strict=True))


def test_checkpoints_of_other_processes_are_refused(tiny: Path, tmp_path: Path) -> None:
    """DeepSpeed refuses another count with a traceback; one process alone would go on with a fresh optimiser and not say so."""
    checkpoint = tmp_path / "stage-1" / "checkpoints" / "checkpoint-1"
    checkpoint.mkdir(parents=True)
    (checkpoint / "trainer_state.json").write_text("{}")
    (tmp_path / "stage-1" / "layout.json").write_text('[8, "zero2"]')
    settings = load(GrpoSettings, (*FAST, "processes=1", "strategy=single"))
    student = load_student("tiny", tiny, tiny)
    with pytest.raises(UserError, match="are of 8 processes with zero2, and now there would be 1 with single: make 8 such GPUs"):
        reinforce(prompts(), student, settings, tmp_path, tmp_path / "out", print, engine="transformers")


def processes(word: str) -> list[int]:
    """Those that train, by what is on their command lines."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            words = (folder / "cmdline").read_bytes().decode(errors="replace")
        except OSError:  # it has ended meanwhile
            continue
        if word in words and "training.grpo_launch" in words:
            found.append(int(folder.name))
    return found


def wait_for(look: Callable[[], Any], seconds: float = 120.0) -> Any:
    end = time.monotonic() + seconds
    while (found := look()) is None:
        assert time.monotonic() < end, "nothing happened"
        time.sleep(0.1)
    return found
