"""Builds against the fault server, whose problems are `solve ANSWER RARITY of TAG ...`: for tests of rounds and of stops."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from fault_server import FaultServer

from factory.recipe import Changes, Recipe, load_recipe


def recipe(folder: Path, url: str, prompts: list[str], *assignments: str) -> Recipe:
    """A recipe whose prompts are what the fault server is told; its answers are judged against the second word."""
    path = folder / "problems.jsonl"
    path.write_text("".join(json.dumps({"problem": p, "answer": p.split()[1]}) + "\n" for p in prompts))
    plain = (
        "prompt='{problem}'",
        "clean.near_duplicates=null",
        "clean.benchmarks=[]",
        "sample.temperature=null",
        "sample.top_p=null",
    )
    sizes = ("sample.per_problem=1", "sample.max_tokens=1000", "sample.seed=1")
    changes = Changes(problems=(str(path),), teacher=f"openai:m@{url}", assignments=(*plain, *sizes, *assignments))
    return load_recipe("openr1-math", changes)


def hard(tag: str, *rarities: int) -> list[str]:
    return [f"solve {n + 10} {rarity} of {tag} number {n}" for n, rarity in enumerate(rarities)]


def sent(server: FaultServer, tag: str) -> int:
    return sum(f"of {tag} " in seen.prompt for seen in server.seen)


def funnel(run: Path) -> dict[str, dict[str, Any]]:
    return {line["step"]: line for line in json.loads((run / "funnel.json").read_text())}


def start(folder: Path, url: str, prompts: list[str]) -> subprocess.Popen[str]:
    asked = recipe(folder, url, prompts, "sample.per_problem=2", "sample.in_flight=8").model_dump_json()
    program = (
        "import sys; from pathlib import Path; from factory.build import build; from factory.recipe import Recipe; "
        "build(Recipe.model_validate_json(sys.argv[1]), runs=Path(sys.argv[2]))"
    )
    command = [sys.executable, "-c", program, asked, str(folder / "runs")]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=Path(__file__).parent.parent)


def kill_again_and_again(folder: Path, server: FaultServer, tag: str, kills: int, problems: int) -> int:
    """Kills of one build at random moments while samples arrive; then it runs to its end. Returns how often it was killed."""
    prompts = [f"solve-slowly {n + 10} 2 of {tag} number {n}" for n in range(problems)]
    moments, killed, seen = random.Random(5), 0, 0
    while True:
        process = start(folder, server.url, prompts)
        target = seen + moments.randint(1, max(2, 4 * problems // (kills + 1)))
        while process.poll() is None and (killed == kills or sent(server, tag) < target):
            time.sleep(0.01)
        if process.poll() is not None:
            _, errors = process.communicate()
            assert process.returncode == 0, errors
            return killed
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
        killed, seen = killed + 1, sent(server, tag)
