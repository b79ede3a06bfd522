"""A small run directory as `factory build` leaves it, for the tests of cards and publishing."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import polars as pl

HOSTILE = "Find $x$ | `rm` <script>alert(1)</script>\n\n# Not a heading **bold** [link](http://bad.example) \u202eabc"


def make_run(folder: Path, *, problems: int = 12, per_shard: int = 5, seed: int = 0, **changes: Any) -> Path:
    """A finished run of `problems` problems with two generations each; `changes` replace keys of the manifest."""
    rows = [_example(i, seed) for i in range(problems)]
    shards = [rows[i : i + per_shard] for i in range(0, problems, per_shard)]
    for name in ("dataset", "rejected", "problems", "traces", "verdicts"):
        (folder / name).mkdir(parents=True)
    for i, shard in enumerate(shards):
        pl.DataFrame(shard).write_parquet(folder / "dataset" / f"train-{i:05d}-of-{len(shards):05d}.parquet")
    pl.DataFrame([{"id": "p1", "prompt": HOSTILE, "reason": "exact_duplicate"}] * 3).write_parquet(
        folder / "rejected" / "problems.parquet"
    )
    pl.DataFrame([{"id": "t1", "problem_id": "p1", "reason": "cut"}]).write_parquet(folder / "rejected" / "traces.parquet")
    pl.DataFrame({"id": ["t1", "t2", "t3"], "completion_tokens": [100, 300, None]}).write_parquet(
        folder / "traces" / "part-00000.parquet"
    )
    pl.DataFrame([_match(i) for i in range(2)]).write_parquet(folder / "contamination.parquet")
    (folder / "problems" / "part-00000.parquet").write_bytes(b"internal")
    (folder / ".lock").write_text("held")
    _write(folder / "recipe.json", _recipe())
    _write(folder / "funnel.json", _funnel(problems))
    _write(folder / "manifest.json", _manifest(folder, problems) | changes)
    return folder


def _write(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, indent=2), "utf-8")


def _example(i: int, seed: int) -> dict[str, Any]:
    question = HOSTILE if i == 0 else f"What is {i} + {seed}?"
    right, wrong = (
        f"<think>\n{i} and {seed}\n</think>\n\n\\boxed{{{i + seed}}}",
        f"<think>\nno\n</think>\n\n\\boxed{{{-1 - i}}}",
    )
    return {
        "id": f"e{i:04d}",
        "problem_id": f"p{i:04d}",
        "trace_id": f"t{i:04d}a",
        "messages": [{"role": "user", "content": question}, {"role": "assistant", "content": right}],
        "problem": question,
        "answer": str(i + seed),
        "solution": None if i % 2 else f"{i} + {seed} = {i + seed}",
        "domain": "math",
        "source": "sums",
        "source_id": str(i),
        "license": "mit",
        "teacher": "deepseek-ai/DeepSeek-R1",
        "generations": [right, wrong],
        "trace_ids": [f"t{i:04d}a", f"t{i:04d}b"],
        "finish_reasons": ["stop", "stop"],
        "verdicts": ["correct", "incorrect"],
        "verdict_reasons": ["equal", "different"],
        "extracted": [str(i + seed), str(-1 - i)],
        "correctness_count": 1,
        "meta": "{}",
    }


def _match(i: int) -> dict[str, Any]:
    return {
        "problem_id": f"c{i}",
        "prompt": f"{HOSTILE} {i}",
        "benchmark": "math_500",
        "revision": "r1",
        "benchmark_index": i,
        "question": f"The sum of {i} | `and` <b>two</b>?",
        "method": "ngram",
        "rule": "ngram",
        "threshold": 0.0,
        "overlap": "find x",
        "score": 0.9 - i / 10,
    }


def _recipe() -> dict[str, Any]:
    return {
        "name": "sums",
        "description": "Sums of two numbers, for trying things out.",
        "language": "en",
        "source": {"kind": "file"},
        "clean": {"rule": "ngram", "ngram": 8, "near_duplicates": 0.8},
    }


def _funnel(problems: int) -> list[dict[str, Any]]:
    return [
        {"step": "read", "unit": "problems", "in": problems + 5, "kept": problems + 5, "dropped": {}},
        {
            "step": "clean",
            "unit": "problems",
            "in": problems + 5,
            "kept": problems,
            "dropped": {"exact_duplicate": 2, "near_duplicate": 1, "contaminated": 2},
        },
        {"step": "verify", "unit": "traces", "in": 2 * problems, "kept": problems, "dropped": {"different": problems}},
        {"step": "choose", "unit": "examples", "in": problems, "kept": problems, "dropped": {}},
    ]


def _manifest(folder: Path, problems: int) -> dict[str, Any]:
    files = sorted((folder / "dataset").glob("*.parquet"))
    return {
        "factory": "0.1.0",
        "recipe_hash": "0123456789abcdef",
        "created": "2026-01-02T03:04:05+00:00",
        "command": "factory build sums --teacher openai:deepseek-ai/DeepSeek-R1@http://localhost:8000",
        "teacher": {
            "spec": "openai:deepseek-ai/DeepSeek-R1@http://localhost:8000",
            "model": "deepseek-ai/DeepSeek-R1",
            "revision": "56d4cbbb",
            "endpoint": "http://localhost:8000",
            "sampling": {"temperature": 0.6, "top_p": 0.95, "max_tokens": 16384, "seed": None},
        },
        "sources": [
            {
                "name": "sums",
                "license": "mit",
                "revision": None,
                "rows": problems + 5,
                "path_or_repo": "/home/me/sums.jsonl",
            }
        ],
        "teachers": [
            {
                "teacher": "deepseek-ai/DeepSeek-R1",
                "traces": 2 * problems,
                "faulty": 1,
                "correct": problems,
                "incorrect": problems - 1,
                "undetermined": 0,
            }
        ],
        "seeds": {"choose": 0},
        "libraries": {"math-verify": "0.9.0", "polars": "2.1.0"},
        "python": "3.11.2",
        "platform": "Linux-x86_64",
        "git": None,
        "verifier": ["math-verify 0.9.0"],
        "benchmarks": [{"name": "math_500", "questions": 500, "revision": None}],
        "steps": [],
        "dataset": {
            "rows": problems,
            "configs": [],
            "files": [
                {
                    "path": str(p.relative_to(folder)),
                    "bytes": p.stat().st_size,
                    "sha256": hashlib.sha256(p.read_bytes()).hexdigest(),
                }
                for p in files
            ],
        },
        "rounds": [],
        "tokens": {"prompt": 1234, "completion": 56789},
    }
