"""`factory grpo` from the cold start of `r1` at its tiny size, in every way that vLLM can sample.

    python tests/benchmarks/grpo_modes.py --out tests/benchmarks/results/grpo_modes.json

Needs one GPU, and a second one for vLLM as a server. A mode works where its command ends well, the weights reach vLLM before every
rollout (`mismatch`, nats a token between student and vLLM, stays small while the student changes) and the reward rises: the puzzles
are the same in every epoch of four rollouts, so the means of epochs can be compared. The server is started with the student as it
was before its cold start: what answers puzzles there can only have come from the trainer. Colocated modes have a GPU each.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.metadata
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path[:0] = [str(ROOT)]
FACTORY = [sys.executable, "-m", "factory"]
VLLM = [sys.executable, "-m", "vllm.entrypoints.cli.main"]
PORT = 8321
LIMIT_S = 240  # of a mode, after which it says where it hangs and is ended
# As configs/pipelines/r1-tiny.yaml has them.
PUZZLES = (
    *("source.max_numbers=3", "source.max_number=25", "source.min_target=1", "source.max_target=30", "source.operators=+-"),
    *("source.style=terse", "source.part=train", "clean.near_duplicates=null"),
)
SFT = (
    *("learning_rate=4.0e-3", "epochs=4", "rows_per_step=24", "rows_per_pass=24", "max_length=128", "warmup=0.03"),
    *("save_every_steps=500", "gradient_checkpointing=false"),
)
# As it has its first reinforcement; a rate for fewer rollouts on fewer puzzles.
EPOCH = 4  # rollouts
RL = (
    *("rewards={accuracy: 1.0, language: 0.1}", "prompts_per_rollout=32", "samples_per_prompt=8", "completions_per_step=64"),
    *("completions_per_pass=64", "learning_rate=5.0e-4", "warmup=8", "max_completion_tokens=64", "max_prompt_tokens=64"),
    *("gradient_checkpointing=false", "vllm_memory_share=0.1"),
)
STAGES = "stages=[{rollouts: 12, max_completion_tokens: 48}, {rollouts: 12}]"
MODES = {
    "server": ("generation=vllm-server", f"vllm_server_url=http://localhost:{PORT}", STAGES),
    "asleep": ("generation=vllm-colocate", "vllm_sleep=true", STAGES),
    "colocated": ("generation=vllm-colocate", "rollouts=24"),
}


def asked(command: list[str], log: Path, **environment: str) -> dict[str, Any]:
    """What a command did: seconds, status, and the end of what it said."""
    began = time.monotonic()
    with log.open("w") as file:
        environment = {**os.environ, "PYTHONFAULTHANDLER": "1", **environment}
        process = subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT, cwd=ROOT, env=environment)
        try:
            process.wait(LIMIT_S)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGABRT)
            process.wait()
    said = [line for line in log.read_text("utf-8", "replace").splitlines() if line.strip()]
    found = {
        "command": command[2:],
        "status": process.returncode,
        "seconds": round(time.monotonic() - began, 1),
        "said": said[-30:],
    }
    print(json.dumps(found, indent=1), flush=True)
    return found


@contextlib.contextmanager
def server(student: Path, log: Path, gpu: str) -> Iterator[subprocess.Popen[bytes]]:
    """vLLM on a GPU of its own, started as training.grpo_engine says."""
    transfer = ["--weight-transfer-config", '{"backend":"nccl"}', "--logprobs-mode", "processed_logprobs", "--max-logprobs", "-1"]
    size = ["--port", str(PORT), "--gpu-memory-utilization", "0.3", "--max-model-len", "128"]
    environment = os.environ | {"VLLM_SERVER_DEV_MODE": "1", "CUDA_VISIBLE_DEVICES": gpu}
    with log.open("w") as file:
        command = [*VLLM, "serve", str(student), *transfer, *size]
        process = subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT, env=environment)
    try:
        yield process
    finally:
        process.terminate()
        process.wait(60)


def wait_for(process: subprocess.Popen[bytes]) -> None:
    """Until the server answers, or has ended, or four minutes are over: `factory grpo` says what is the matter then."""
    until = time.monotonic() + 240
    while process.poll() is None and time.monotonic() < until:
        with contextlib.suppress(OSError), urllib.request.urlopen(f"http://localhost:{PORT}/health", timeout=5):
            return
        time.sleep(1)


def learned(folder: Path) -> dict[str, Any]:
    """Of the metrics of a student, what tells whether it learned from its own answers."""
    path = folder / "metrics.jsonl"
    lines = [json.loads(line) for line in path.read_text("utf-8").splitlines()] if path.is_file() else []
    rollouts = [line for line in lines if line.get("reward") is not None]
    names = ("reward", "mismatch", "max_mismatch", "sampling_seconds", "step_seconds")
    found = {name: [round(line[name], 4) for line in rollouts if name in line] for name in names}
    epochs = [found["reward"][at : at + EPOCH] for at in range(0, len(found["reward"]), EPOCH)]
    return {"epoch_rewards": [round(statistics.mean(epoch), 4) for epoch in epochs], **found}


def untrained(runs: Path) -> Path:
    """The pipeline's student before it learns anything."""
    from training.making import StudentShape, make_student

    return make_student(
        runs / "start", StudentShape(hidden=96, intermediate=192, layers=3, positions=128, numbers=60), ["Make of have try so"]
    )


def built(runs: Path, count: int, seed: int) -> Path:
    """A run of puzzles."""
    of = (f"source.count={count}", f"source.seed={seed}", *PUZZLES)
    folder = runs / f"puzzles-{count}"
    asked([*FACTORY, "build", "countdown", *keys(of), "--runs", str(folder)], runs / f"build-{count}.log")
    (found,) = folder.glob("countdown-*")
    return found


def cold_start(start: Path, runs: Path, gpu: dict[str, str]) -> Path:
    """The pipeline's first student."""
    student = runs / "cold-start"
    command = [*FACTORY, "distill", str(built(runs, 3000, 1)), "--student", str(start), *keys(SFT), "--out", str(student)]
    asked([*command, "--runs", str(runs)], runs / "distill.log", **gpu)
    return student


def tried(mode: str, student: Path, puzzles: Path, runs: Path, gpu: str) -> dict[str, Any]:
    """One way to sample: what its command did, and what its student learned."""
    out = runs / f"student-{mode}"
    command = [*FACTORY, "grpo", str(puzzles), "--student", str(student), *keys((*RL, *MODES[mode])), "--out", str(out)]
    return asked([*command, "--runs", str(runs)], runs / f"grpo-{mode}.log", CUDA_VISIBLE_DEVICES=gpu) | learned(out)


def keys(settings: Iterable[str]) -> list[str]:
    return [part for setting in settings for part in ("--set", setting)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--part", choices=MODES, action="append", help="these alone")
    options = parser.parse_args()
    parts, gpus = options.part or list(MODES), [str(gpu) for gpu in range(torch.cuda.device_count())]
    names = ("torch", "transformers", "trl", "vllm")
    found: dict[str, Any] = {
        "command": " ".join(["python", *sys.argv]),
        "date": time.strftime("%Y-%m-%d"),
        "hardware": f"{len(gpus)} x {torch.cuda.get_device_name(0)}",
        "versions": {name: importlib.metadata.version(name) for name in names},
    }
    with tempfile.TemporaryDirectory() as folder:
        runs = Path(folder)

        def write(name: str, what: dict[str, Any]) -> None:
            found[name] = what
            options.out.parent.mkdir(parents=True, exist_ok=True)
            options.out.write_text(json.dumps(found, indent=1).replace(folder, "FOLDER") + "\n")

        reinforcements(parts, gpus, runs, write)


def reinforcements(parts: list[str], gpus: list[str], runs: Path, write: Callable[[str, dict[str, Any]], None]) -> None:
    """From one cold start on the same puzzles, each mode that is asked for."""
    start = untrained(runs)
    serving = "server" in parts and len(gpus) > 1
    with server(start, runs / "server.log", gpus[1]) if serving else contextlib.nullcontext() as process:
        student, puzzles = cold_start(start, runs, {"CUDA_VISIBLE_DEVICES": gpus[0]}), built(runs, 128, 2)
        if process:
            wait_for(process)
            write("server", tried("server", student, puzzles, runs, gpus[0]))
    beside = [mode for mode in ("asleep", "colocated") if mode in parts]
    with ThreadPoolExecutor(len(gpus)) as pool:
        tries = [pool.submit(tried, mode, student, puzzles, runs, gpus[n % len(gpus)]) for n, mode in enumerate(beside)]
        for mode, what in zip(beside, tries, strict=True):
            write(mode, what.result())


if __name__ == "__main__":
    main()
