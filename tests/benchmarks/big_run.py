"""Run directories of any size for measurements: as `factory build` lays them out, with text that does not compress away."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import sys
from pathlib import Path
from typing import Any

import polars as pl

sys.path.insert(0, str(Path(__file__).parent.parent))
from make_run import make_run

from cards.dataset_card import write_card
from curation.records import Problem, Trace, schema

_REASONS = {"step": pl.String, "reason": pl.String, "detail": pl.String}
_SHARD = 500  # problems


def text(characters: int) -> str:
    return base64.b64encode(os.urandom(characters * 3 // 4)).decode()


def heavy_run(folder: Path, megabytes: int, shard_megabytes: int = 64, seed: str = "") -> Path:
    """A finished run whose dataset/ holds so many bytes; `seed` goes into a row, so that another run has another manifest."""
    run = make_run(folder, problems=12)
    write_card(run)
    for shard in (run / "dataset").iterdir():
        shard.unlink()
    count = max(1, megabytes // shard_megabytes)
    each = megabytes * 1_000_000 // count
    rows = max(1, each // 100_000)
    for n in range(count):
        frame = pl.DataFrame(
            {
                "id": [f"{seed}{n}-{i}" for i in range(rows)],
                "teacher": ["deepseek-ai/DeepSeek-R1"] * rows,
                "text": [text(each * 4 // 3 // rows) for _ in range(rows)],
            }
        )
        frame.write_parquet(run / "dataset" / f"train-{n:05}-of-{count:05}.parquet")
    manifest = json.loads((run / "manifest.json").read_text("utf-8"))
    manifest["dataset"]["files"] = [_listed(run, path) for path in sorted((run / "dataset").iterdir())]
    (run / "manifest.json").write_text(json.dumps(manifest), "utf-8")
    return run


def _listed(run: Path, path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {"path": path.relative_to(run).as_posix(), "bytes": path.stat().st_size, "sha256": digest}


def long_run(folder: Path, traces: int, characters: int) -> Path:
    """A run of so many traces, eight to a problem, each with so many characters of thinking; a third of them incorrect."""
    run = make_run(folder, problems=12)
    for name in ("problems", "traces", "dataset"):
        for path in (run / name).iterdir():
            path.unlink()
    noise = text(4_000_000)
    for number, start in enumerate(range(0, traces // 8, _SHARD)):
        _shard(run, number, range(start, min(start + _SHARD, traces // 8)), noise, characters)
    for name, kind in (("problems", Problem), ("traces", Trace)):
        pl.DataFrame(schema={**schema(kind), **_REASONS}).write_parquet(run / "rejected" / f"{name}.parquet")
    return run


def _shard(run: Path, number: int, problems: range, noise: str, characters: int) -> None:
    asked = [
        _filled(Problem, id=f"{p:016x}", prompt=f"What is {p} plus $x_{{{p % 97}}}$, as a number?", answer=str(p)) for p in problems
    ]
    said = [(p, n) for p in problems for n in range(8)]
    starts = [(977 * (8 * p + n)) % (len(noise) - characters) for p, n in said]
    traces = [
        _filled(Trace, id=f"{8 * p + n:016x}", problem_id=f"{p:016x}", index=n, teacher=f"model-{n % 4}", finish="stop")
        | {"reasoning": noise[s : s + characters], "answer_text": f"\\boxed{{{p}}}", "completion_tokens": characters // 4 + p % 997}
        for (p, n), s in zip(said, starts, strict=True)
    ]
    outcome = [("incorrect", "different") if (p + n) % 3 == 0 else ("correct", "equal") for p, n in said]
    verdicts = {
        "trace_id": [t["id"] for t in traces],
        "outcome": [o for o, _ in outcome],
        "why": [w for _, w in outcome],
        "extracted": [str(p) for p, _ in said],
    }
    pl.DataFrame(asked, schema=schema(Problem)).write_parquet(run / "problems" / f"{number:05}.parquet")
    pl.DataFrame(traces, schema=schema(Trace)).write_parquet(run / "traces" / f"{number:05}.parquet")
    pl.DataFrame(verdicts).write_parquet(run / "verdicts" / f"{number:05}.parquet")
    first = [t for t in traces if t["index"] == 0]
    rows = {"id": [t["id"] for t in first], "trace_id": [t["id"] for t in first], "problem_id": [t["problem_id"] for t in first]}
    pl.DataFrame(rows).write_parquet(run / "dataset" / f"{number:05}.parquet")


def _filled(kind: type[Any], **values: Any) -> dict[str, Any]:
    """A record with `values`, and in every other column what an empty one has there."""
    empty = {name: "" if kind is pl.String else None for name, kind in schema(kind).items()}
    return empty | values
