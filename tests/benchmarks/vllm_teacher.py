"""The real `vllm serve` under `factory build`: throughput, and a crash of the engine in the middle. Needs a GPU and vLLM.

    python tests/benchmarks/vllm_teacher.py --out tests/benchmarks/results/vllm_teacher.json [--problems 400] [--max-tokens 1024]

Makes a Qwen2.5-0.5B-shaped student with random weights on the spot (nothing is downloaded), builds countdown from its samples, then
again with another seed while the engine is killed once. Random weights solve nothing: what is measured is sampling, not answers.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent.parent
SHAPE = {
    "hidden_size": 896,
    "intermediate_size": 4864,
    "num_hidden_layers": 24,
    "num_attention_heads": 14,
    "num_key_value_heads": 2,
}


def make_student(folder: Path) -> Path:
    sys.path.insert(0, str(ROOT / "tests"))
    from tiny_model import make_tiny_model
    from transformers import AutoConfig, AutoModelForCausalLM

    make_tiny_model(folder)
    config = AutoConfig.from_pretrained(folder, **SHAPE)
    config.layer_types = None
    model = AutoModelForCausalLM.from_config(type(config)(**{**config.to_diff_dict(), "layer_types": None}))
    model.bfloat16().save_pretrained(folder)
    return folder


def build(student: Path, runs: Path, seed: int, options: argparse.Namespace) -> subprocess.Popen[str]:
    settings = {
        "source.count": options.problems,
        "sample.max_tokens": options.max_tokens,
        "sample.temperature": 1.0,
        "sample.seed": seed,
        "clean.near_duplicates": "null",
    }
    command = [sys.executable, "-m", "factory", "build", "countdown", "--teacher", f"vllm:{student}", "--runs", str(runs)]
    command += [part for key, value in settings.items() for part in ("--set", f"{key}={value}")]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=ROOT)


def finished(process: subprocess.Popen[str], runs: Path, started: float) -> dict[str, Any]:
    output, _ = process.communicate()
    print(output)
    if process.returncode:
        raise SystemExit(f"the build ended with {process.returncode}")
    newest = max(runs.glob("countdown-*"), key=lambda p: p.stat().st_mtime)
    manifest = json.loads((newest / "manifest.json").read_text())
    seconds = next(s["seconds"] for s in manifest["steps"] if s["name"].startswith(("traces", "samples", "sampled")))
    tokens = manifest["tokens"]["completion"]
    return {
        "completion_tokens": tokens,
        "sampling_seconds": seconds,
        "tokens_per_second": tokens / seconds,
        "wall_seconds": time.monotonic() - started,
    }


def engine_pid(student: Path) -> int | None:
    listed = subprocess.run(["ps", "-ww", "-eo", "pid,args"], capture_output=True, text=True, check=True).stdout.splitlines()
    found = [line for line in listed if str(student) in line and "serve" in line and "factory" not in line and "keeper" not in line]
    return int(found[0].split()[0]) if found else None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--problems", type=int, default=400)
    parser.add_argument("--max-tokens", type=int, default=1024)
    parser.add_argument("--kill-after-s", type=float, default=90.0)
    options = parser.parse_args()
    import torch

    with tempfile.TemporaryDirectory() as folder:
        student, runs = make_student(Path(folder) / "student"), Path(folder) / "runs"
        started = time.monotonic()
        plain = finished(build(student, runs, 1, options), runs, started)
        started = time.monotonic()
        process = build(student, runs, 2, options)
        time.sleep(min(options.kill_after_s, 0.7 * plain["wall_seconds"]))
        killed = engine_pid(student)
        if killed is not None:
            os.kill(killed, signal.SIGKILL)
        crashed = finished(process, runs, started) | {"engine_killed": killed is not None}
    versions = {name: importlib.metadata.version(name) for name in ("vllm", "torch", "transformers", "cot-factory")}
    result = {
        "command": " ".join(["python", *sys.argv]),
        "date": time.strftime("%Y-%m-%d"),
        "hardware": torch.cuda.get_device_name(0),
        "python": platform.python_version(),
        "versions": versions,
        "undisturbed": plain,
        "engine_killed_once": crashed,
    }
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
