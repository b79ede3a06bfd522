"""Of a problem that a set holds several times, the copy with a gold is kept, then one with a solution, then the first."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from factory import cleaning, scanning, tracing
from factory.recipe import Changes, load_recipe
from factory.steps import Piece

STORY = "Natalia sold {} old clips to her dear friends in the warm month of April. How many clips did Natalia sell in April?"
SOLVED: dict[str, Any] = {"answer": "5", "solution": "so it is 5"}
# Six hundred others first, so that copies lie in the second shard.
ROWS: list[dict[str, Any]] = [
    *(
        {"problem": f"What is {n} + {n}?", "answer": str(2 * n), "solution": ""} for n in range(600)
    ),  # so that copies lie in other shards
    {"problem": STORY.format(48), "answer": ""},
    {"problem": STORY.format(48), "answer": "5"},  # exact, with a gold
    {"problem": STORY.format(48), **SOLVED},  # and with a solution too
    {"problem": STORY.format(48), **SOLVED},
    {"problem": STORY.format(60), "answer": ""},
    {"problem": STORY.format(60).replace("dear ", ""), "answer": "5"},  # near, with a gold
    {"problem": STORY.format(72), "answer": "5"},
    {"problem": "In April Natalia sold 72 old clips to dear friends; how many clips then?", **SOLVED},  # in other words
]


@pytest.fixture
def read(tmp_path: Path) -> tuple[Any, Piece]:
    (tmp_path / "problems.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    settings = ("clean.benchmarks=[]", "clean.require_gold=false", "clean.semantic_duplicates=0.5")
    recipe = load_recipe("openr1-math", Changes(problems=(str(tmp_path / "problems.jsonl"),), assignments=settings))
    return recipe.clean, cleaning.read(tmp_path / "store", recipe)


def test_a_copy_with_a_gold_is_kept_and_the_pairs_name_it(tmp_path: Path, read: tuple[Any, Piece]) -> None:
    clean, piece = read
    done = cleaning.deduplicate(tmp_path / "store", clean, piece)
    rows = {p["id"]: p for p in cleaning.kept(piece).iter_rows(named=True)}
    stories = [p for p in cleaning.kept(done).iter_rows(named=True) if "Natalia" in p["prompt"]]
    assert [(p["source_id"], p["answer"], p["solution"]) for p in stories] == [
        ("602", "5", "so it is 5"),
        ("605", "5", None),
        ("607", "5", "so it is 5"),
    ]
    pairs = pl.read_parquet(done.folder / "duplicates.parquet")
    kept = {(p["method"], rows[p["kept_id"]]["prompt"]) for p in pairs.iter_rows(named=True)}
    assert kept == {("exact", ROWS[602]["problem"]), ("near", ROWS[605]["problem"]), ("semantic", ROWS[607]["problem"])}
    details = pl.read_parquet(done.folder / "rejected.parquet").sort("source_id")
    named = zip(details["source_id"], details["detail"], strict=True)
    assert {row: detail[3:19] for row, detail in named} == {p: _kept_of(p, stories) for p in ("600", "601", "604", "603", "606")}


def _kept_of(source_id: str, stories: list[dict[str, Any]]) -> str:
    return str(stories[{"604": 1, "606": 2}.get(source_id, 0)]["id"])


def test_parts_read_elsewhere_and_more_processes_keep_the_same_rows(
    tmp_path: Path, read: tuple[Any, Piece], monkeypatch: pytest.MonkeyPatch
) -> None:
    clean, piece = read
    parts = [[shard] for shard in tracing.shards(piece)]
    assert len(parts) == 2
    found = scanning.gather(tmp_path / "store", clean, parts)
    once = cleaning.deduplicate(tmp_path / "store", clean, piece)
    assert cleaning.deduplicate(tmp_path / "other", clean, piece, scan=lambda: found).digest == once.digest
    monkeypatch.setattr(cleaning, "LARGE", 1)
    assert cleaning.deduplicate(tmp_path / "third", clean, piece, workers=2).digest == once.digest
