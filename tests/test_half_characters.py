"""Half of a surrogate pair, which JSON may hold and Parquet cannot, costs one character and no build."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl

from curation.files import storable
from factory.build import build
from factory.recipe import Changes, load_recipe

HALF = "\ud83d"
SAID = f"<think>\nhm {HALF}\n</think>\n\\boxed{{3}}"


def _file(path: Path, rows: list[dict[str, Any]]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def test_halves_in_problems_traces_and_benchmarks_are_replaced(tmp_path: Path) -> None:
    fields: dict[str, Any] = {"answer": "3", "solution": f"so 3 {HALF}", "kind": f"a{HALF}"}
    problems = [
        {"problem": f"What is 1 + 2, {HALF}?", **fields},
        {"problem": "What is 2 + 1, \U0001f600?", **fields},
        {"problem": f"Tell {HALF} me 7 + 7 of these.", **fields},
        {"problem": "Another one.", **fields, "kind": f"unwanted{HALF}"},
    ]
    traces = [{"problem": row["problem"], "generation": SAID, "model": f"m{HALF}"} for row in problems]
    changes = Changes(
        problems=(_file(tmp_path / "problems.jsonl", problems),),
        benchmarks=(_file(tmp_path / "bench.jsonl", [{"problem": f"Tell {HALF} me 7 + 7 of these."}]),),
        teacher=f"replay:{_file(tmp_path / 'traces.jsonl', traces)}",
        assignments=('source.without={kind: ["unwanted\ufffd"]}',),
    )
    run = build(load_recipe("openr1-math", changes), runs=tmp_path / "runs")
    examples = pl.read_parquet(run / "dataset" / "*.parquet").sort("problem")
    assert examples["problem"].to_list() == ["What is 1 + 2, \ufffd?", "What is 2 + 1, \U0001f600?"]
    assert all("hm \ufffd" in row[1]["content"] for row in examples["messages"])
    assert sorted(pl.read_parquet(run / "rejected" / "problems.parquet")["reason"]) == ["in_bench", "kind_not_wanted"]


def test_whole_characters_and_other_values_stay() -> None:
    row = {"text": "é \U0001f600", "list": ["a", 1, None, {"b": "数"}], "number": 2.5}
    assert storable(row) == row
    assert storable({f"k{HALF}": [f"{HALF}x", "\ude00"]}) == {"k\ufffd": ["\ufffdx", "\ufffd"]}
