"""`factory run r1 --size tiny` on a GPU, where vLLM is its teacher, its last examiner and beside the student in both RL stages.

    python tests/benchmarks/r1_on_gpu.py --runs DIR --out tests/benchmarks/results/r1_on_gpu.json

The stages, recipes and settings are those that the tests run on two cores; what differs is who samples. That takes the references
between stages through vLLM too (`vllm:@reasoning-rl`). The result is written as it stands after every call; called again with the
same DIR, the pipeline goes on where it was.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import torch

ROOT = Path(__file__).resolve().parent.parent.parent
KEPT = ("name", "does", "state", "seconds", "facts", "error")
EXAMINED = ("final-rl",)  # by vLLM, which takes more than a minute to start; the other students in this process
SETTINGS = (
    *(f"after-{stage}.model=vllm:@{stage}" for stage in EXAMINED),
    *("rejection-samples.teacher=vllm:@reasoning-rl", "measured.teacher=vllm:@second-sft"),
    *("reasoning-rl.set.generation=vllm-colocate", "final-rl.set.generation=vllm-colocate"),
    *("reasoning-rl.set.vllm_memory_share=0.1", "final-rl.set.vllm_memory_share=0.1"),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    asked = ["factory", "run", "r1", "--size", "tiny", *(part for setting in SETTINGS for part in ("--set", setting))]
    subprocess.run([sys.executable, "-m", *asked, "--runs", str(options.runs)], cwd=ROOT, check=False)
    options.out.write_text(json.dumps(result(options.runs / "r1-tiny" / "pipeline.json", asked), indent=1) + "\n", "utf-8")


def result(record: Path, asked: list[str]) -> dict[str, Any]:
    """Of the pipeline's record, what its stages left and how long they took."""
    found = json.loads(record.read_text("utf-8"))
    return {
        "command": f"python tests/benchmarks/{Path(__file__).name} --runs DIR --out FILE",
        "date": time.strftime("%Y-%m-%d"),
        "hardware": f"{torch.cuda.device_count()} x {torch.cuda.get_device_name(0)}",
        "versions": {name: importlib.metadata.version(name) for name in ("torch", "transformers", "trl", "vllm")},
        "pipeline": asked,
        "state": found["state"],
        "stages": [{name: stage[name] for name in KEPT} for stage in found["stages"]],
    }


if __name__ == "__main__":
    main()
