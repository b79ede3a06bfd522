"""Folders as a training, an evaluation and a pipeline leave them, for the tests of their page; with text that is hostile."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import polars as pl

SCRIPT = "<script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">"


def metrics(folder: Path, steps: range, *, of: int = 100, mode: str = "w", **more: Any) -> None:
    """Lines of metrics.jsonl for these steps."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "metrics.jsonl").open(mode, encoding="utf-8") as file:
        for step in steps:
            line = {"step": step, "steps": of, "epoch": step / of, "loss": 0.5 + math.exp(-step / of), "learning_rate": 1e-5}
            file.write(json.dumps(line | more) + "\n")


def training(folder: Path, **record: Any) -> Path:
    """A finished student with one evaluation."""
    metrics(folder, range(1, 101))
    made = {"name": folder.name, "method": "sft", "command": "factory distill /home/me/run", "settings": {"epochs": 3}}
    (folder / "training_manifest.json").write_text(json.dumps(made | record), "utf-8")
    evaluation(folder / "evals", "held_out", 0.25)
    return folder


def evaluation(folder: Path, suite: str, score: float) -> None:
    """A result of `factory eval`: its scores, and a table of samples with one that attacks the page."""
    folder.mkdir(parents=True, exist_ok=True)
    result = {
        "result": 1,
        "created": "2026-01-02T03:04:05Z",
        "suite": {"name": suite, "questions": 3},
        "settings": {"samples": 1},
        "scores": {"questions": 3, "pass@1": {"value": score, "questions_interval": [score / 2, 1.5 * score]}, "tokens": None},
        "correct": {"p": [True]},
    }
    (folder / f"{suite}.json").write_text(json.dumps(result), "utf-8")
    rows = [
        ("Compute $\\frac{1}{2}+\\frac{1}{2}$.", "1", "a half and a half", "It is \\boxed{1}.", "correct"),
        (f"How many {SCRIPT}?", "20", f"{SCRIPT} $x$", f"\u202e{SCRIPT} \\boxed{{20}}", "incorrect"),
        ("And then?", "3", "", "nothing", "incorrect"),
    ]
    names = ["prompt", "answer", "reasoning", "answer_text", "outcome"]
    pl.DataFrame(rows, schema=names, orient="row").with_columns(index=pl.lit(0)).write_parquet(folder / f"{suite}.parquet")


def pipeline(folder: Path) -> Path:
    """Stages in every state: two that are done, one that goes on, one that failed, one that waits."""
    metrics(folder / "start-1", range(1, 51))
    evaluation(folder / "after-1", "countdown", 0.4)
    metrics(folder / ".rl-1" / "stage-1", range(1, 21), rewards={"accuracy": 0.5})
    metrics(folder / ".rl-1" / "stage-2", range(1, 11), rewards={"accuracy": 0.7})
    gained = {"stage": "before", "difference": 0.125, "interval": [0.05, 0.2], "p_value": 0.001, "method": "mcnemar_exact"}
    stages = [
        _stage("start", "distill", "done", "start-1", facts={"steps": 50, "first_loss": 1.5, "last_loss": 1.1}),
        _stage("after", "eval", "done", "after-1", facts={"suites": {"countdown": {"pass@1": 0.4, "against": gained}}}),
        _stage("rl", "grpo", "running", "rl-1"),
        _stage("more", "build", "failed", "more-1", error=f"no file /home/me/{SCRIPT}: give one"),
        _stage("last", "distill", "waiting", None),
    ]
    record = {"pipeline": 1, "name": "r1", "size": "tiny", "description": SCRIPT, "command": "factory run r1", "state": "running"}
    (folder / "pipeline.json").write_text(json.dumps(record | {"stages": stages}), "utf-8")
    return folder


def _stage(name: str, does: str, state: str, folder: str | None, **more: Any) -> dict[str, Any]:
    known = {
        "name": name,
        "does": does,
        "state": state,
        "folder": folder,
        "settings": {"epochs": 2},
        "seconds": 12.3,
        "error": None,
    }
    return known | {"facts": {}} | more
