"""`factory distill` and `factory grpo` on two GPUs of a host: what learns, what fits, and what the second one brings.

    python tests/benchmarks/several_gpus.py --out tests/benchmarks/results/several_gpus.json [--part PART]

distill: `r1`'s cold start at its tiny size with every strategy, all at once; the losses have to be those of one process.
zero2, zero3, ddp, asleep: it is reinforced with that (asleep: ZeRO-2 beside engines that sleep), a vLLM on each GPU. It works
where the reward rises and `mismatch` (nats a token between student and vLLM) stays small, so that the weights reach both engines.
7b: random weights, prompts of 22 and answers of 2,048 tokens; the strategy is the plan's, and what nvidia-smi saw on each GPU
stands beside what it predicts. two, one: the 1.5B shape of grpo_throughput on both GPUs and on one, with the same batch.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.metadata
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests"), str(ROOT / "tests" / "benchmarks")]

RL_BY = {one: (f"strategy={one}",) for one in ("zero2", "zero3", "ddp")} | {"asleep": ("strategy=zero2", "vllm_sleep=true")}
PARTS = ("distill", *RL_BY, "7b", "two", "one")
STRATEGIES = ("single", "ddp", "zero2", "zero3", "fsdp2", "zero3-offload")
ANSWER = 2_048  # tokens
BIG = (
    *("samples_per_prompt=8", "gradient_checkpointing=false", "liger=true", f"max_completion_tokens={ANSWER}"),
    *("rewards={repetition: {words: 1}}", "max_silent_groups=null", "max_truncated=null", "save_every_rollouts=null"),
)
SIZES = {
    "7b": ("7b", ("prompts_per_rollout=8", "completions_per_pass=4", "gradient_checkpointing=true", "rollouts=3")),
    "two": ("1.5b", ("prompts_per_rollout=16", "completions_per_pass=8", "rollouts=3")),
    "one": ("1.5b", ("prompts_per_rollout=16", "completions_per_pass=8", "rollouts=3")),
}


def distilled(runs: Path) -> dict[str, Any]:
    """The cold start with every strategy, at the same time: half a million parameters leave room for all of them."""
    from grpo_modes import FACTORY, SFT, asked, built, keys, untrained

    start, puzzles = untrained(runs), built(runs, 3000, 1)

    def one(strategy: str) -> dict[str, Any]:
        count = 1 if strategy == "single" else 2
        how = (*SFT, f"strategy={strategy}", f"processes={count}", f"rows_per_pass={24 // count}")
        command = [*FACTORY, "distill", str(puzzles), "--student", str(start), *keys(how)]
        found = asked([*command, "--runs", str(runs), "--out", str(runs / f"by-{strategy}")], runs / f"distill-{strategy}.log")
        losses = [line["loss"] for line in read_lines(runs / f"by-{strategy}")]
        return found | {"loss": [round(losses[at], 4) for at in (0, len(losses) // 2, -1)] if losses else []}

    with ThreadPoolExecutor() as pool:
        return dict(zip(STRATEGIES, pool.map(one, STRATEGIES), strict=True))


def read_lines(student: Path) -> list[dict[str, Any]]:
    path = student / "metrics.jsonl"
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()] if path.is_file() else []


def reinforced(part: str, runs: Path) -> dict[str, Any]:
    from grpo_modes import FACTORY, RL, asked, built, cold_start, keys, learned, untrained

    student, puzzles = cold_start(untrained(runs), runs, {"CUDA_VISIBLE_DEVICES": "0"}), built(runs, 128, 2)
    out = runs / f"with-{part}"
    how = (*RL, "generation=vllm-colocate", "rollouts=32", "processes=2", "completions_per_pass=32", *RL_BY[part])
    command = [*FACTORY, "grpo", str(puzzles), "--student", str(student), *keys(how), "--out", str(out), "--runs", str(runs)]
    return asked(command, runs / f"{part}.log") | learned(out)


def big(part: str, work: Path) -> dict[str, Any]:
    """Rollouts of a large student with random weights, as factory.reinforcing lays them out and launches them."""
    from grpo_throughput import figures, make_student, prompts

    from factory.distilling import DEEPSPEED, KEEPER
    from training.grpo import reinforce
    from training.grpo_memory import laid_out, needed
    from training.grpo_settings import GrpoSettings
    from training.grpo_stage import Prompt
    from training.mfu import read_shape
    from training.plan_memory import GIB
    from training.processes import Means
    from training.settings import load
    from training.sft_settings import SftSettings
    from training.students import open_student
    from training.visible import hardware

    size, how = SIZES[part]
    base = work / "student"
    maker = get_context("spawn").Process(target=make_student, args=(base, size))  # what it takes of a GPU ends with it
    maker.start()
    maker.join()
    opened = open_student(str(base), SftSettings(), work / "served")
    asked = [Prompt(text, "4", "math", str(n), text) for n, text in enumerate(prompts())]
    longest = max(len(opened.tokenizer.encode(one.prompt)) for one in asked)
    shape, machine = read_shape(base), hardware()
    settings = laid_out(shape, load(GrpoSettings, (*BIG, *how)), longest, machine, "vllm-colocate")
    need = needed(shape, settings, longest, machine, "vllm-colocate")
    lines: list[dict[str, Any]] = []
    means = Means(KEEPER, DEEPSPEED)
    with watched() as seen:
        reinforce(asked, opened, settings, work, work / "out", lines.append, engine="vllm-colocate", means=means)
    told = figures([{**line, "completions": settings.completions_per_rollout} for line in lines], part)
    laid = {"processes": settings.processes, "strategy": settings.strategy, "planned_gib": round(need.total / GIB, 1)}
    return told | laid | {"gpus_seen_gib": [round(peak, 1) for peak in seen], "torch_gib": lines[-1]["memory_gib"]}


@contextlib.contextmanager
def watched() -> Iterator[list[float]]:
    """The most memory that each GPU of the host has had in use meanwhile, GiB, as nvidia-smi says it."""
    peaks: list[float] = []
    done = threading.Event()

    def look() -> None:
        query = ["nvidia-smi", "--query-gpu=memory.used", "--format=csv,noheader,nounits"]
        while not done.wait(0.5):
            now = [int(line) / 1024 for line in subprocess.run(query, capture_output=True, text=True, check=True).stdout.split()]
            peaks[:] = [max(pair) for pair in zip(now, peaks or now, strict=True)]

    watcher = threading.Thread(target=look)
    watcher.start()
    try:
        yield peaks
    finally:
        done.set()
        watcher.join()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--part", choices=PARTS)
    options = parser.parse_args()
    if not options.part:  # each in a process of its own: what vLLM holds of a GPU it gives back only when that ends
        for part in PARTS:
            command = [sys.executable, __file__, "--out", str(options.out), "--part", part]
            gpus = {"CUDA_VISIBLE_DEVICES": "0"} if part == "one" else {}
            subprocess.run(command, check=False, env={**os.environ, **gpus})
        return
    with tempfile.TemporaryDirectory() as folder:
        made = tried(options.part, Path(folder))
        write(options.out, options.part, json.loads(json.dumps(made).replace(folder, "FOLDER")))


def tried(part: str, work: Path) -> dict[str, Any]:
    if part == "distill":
        return distilled(work)
    return reinforced(part, work) if part in RL_BY else big(part, work)


def write(out: Path, part: str, made: dict[str, Any]) -> None:
    import torch

    found = json.loads(out.read_text("utf-8")) if out.is_file() else {}
    found["command"] = "python tests/benchmarks/several_gpus.py --out FILE"
    found["versions"] = {name: importlib.metadata.version(name) for name in ("torch", "transformers", "trl", "deepspeed", "vllm")}
    hardware = f"{torch.cuda.device_count()} x {torch.cuda.get_device_name(0)}"
    found[part] = {"date": time.strftime("%Y-%m-%d"), "hardware": hardware, **made}
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(found, indent=1) + "\n", "utf-8")
    print(json.dumps(made), flush=True)


if __name__ == "__main__":
    main()
