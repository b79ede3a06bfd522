"""Cleaning, choice and selection give the same bytes whatever the processes, the blocks and the shards."""

import functools
import json
import random

import polars as pl
import pytest

from curation import decontaminate, dedup
from factory import cleaning, ledger, tracing
from factory.build import build
from factory.recipe import Changes, load_recipe

NAMES = "Ada Bo Chen Dara Emre Fadi Gita Hugo Ines Jonas".split()  # noqa: SIM905
THINGS = "apples marbles pencils stickers tickets cookies".split()  # noqa: SIM905
WORDS = "add so wait perhaps check then".split()  # noqa: SIM905
SETTINGS = ("choose.per_problem=2", "choose.near_duplicates=0.9", "clean.semantic_duplicates=0.99")
SELECT = (
    "[{rule: pass_rate, low: 0.0, high: 1.0}, {rule: diverse, size: 40, method: k_centre, seed: 3},"
    " {rule: mixture, by: words, edges: [20, 40], size: 30, seed: 5}, {rule: limo, size: 20}]"
)


def _jsonl(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return str(path)


def _recipe(folder):
    draw = random.Random(11)
    problems = []
    for number in range(60):
        name, things, a, b = draw.choice(NAMES), draw.choice(THINGS), draw.randint(2, 99), draw.randint(2, 99)
        text = f"{name} puts {a} {things} into the old box and {b} more into the new one. How many {things} are there now?"
        problems.append({"problem": text, "answer": str(a + b)})
        if number % 3 == 0:
            edit = {"problem": text.replace("old box", "very old box"), "answer": str(a + b)}
            problems.append(edit if number % 2 else {"problem": text.replace("puts", " puts "), "answer": str(a + b)})
    draw.shuffle(problems)
    tests = [{"question": problems[7]["problem"].replace("now", "here now")}, {"question": problems[30]["problem"]}]
    traces = [
        {
            "question": row["problem"],
            "model": f"model-{sample}",
            "response": f"<think>\n{' '.join(draw.choices(WORDS, k=draw.randint(5, 60)))}\n</think>\n\n"
            f"It is \\boxed{{{int(row['answer']) + (draw.random() < 0.2)}}}.",
        }
        for row in problems
        for sample in range(3)
    ]
    return load_recipe(
        "openr1-math",
        Changes(
            problems=(_jsonl(folder / "problems.jsonl", problems),),
            benchmarks=(_jsonl(folder / "tests.jsonl", tests),),
            teacher=f"replay:{_jsonl(folder / 'traces.jsonl', traces)}",
            assignments=(
                f"select={SELECT}",
                "choose.per_problem=2",
                "choose.near_duplicates=0.9",
                "clean.semantic_duplicates=0.99",
            ),
        ),
    )


def _files(run):
    clocked = {"manifest.json", "README.md", "report.html", ".lock"}
    return {str(p.relative_to(run)): p.read_bytes() for p in sorted(run.rglob("*")) if p.is_file() and p.name not in clocked}


def _rows(run):
    """What a run says, without how it is cut into files."""
    found = {name: (run / name).read_bytes() for name in ("funnel.json", "selection.json")}
    for table in ("dataset", "problems", "traces", "verdicts"):
        frame = pl.read_parquet(sorted((run / table).glob("*.parquet")))
        found[table] = frame.write_ndjson().encode()
    for table in ("contamination", "duplicates", "difficulty", "rejected/problems", "rejected/traces"):
        rows = pl.read_parquet(run / f"{table}.parquet").write_ndjson().splitlines()
        found[table] = "\n".join(sorted(rows) if "/" in table else rows).encode()  # rejected rows lie shard by shard
    return found


@pytest.mark.slow
def test_processes_and_blocks_change_no_byte_and_shards_and_parts_no_row(tmp_path, monkeypatch):
    recipe = _recipe(tmp_path)
    one = build(recipe, runs=tmp_path / "one")
    assert 0 < pl.read_parquet(one / "dataset" / "*.parquet").height <= 20
    monkeypatch.setattr(cleaning, "LARGE", 1)
    for function, name in ((dedup.near_duplicates, "near_duplicates"), (decontaminate.contamination, "contamination")):
        small = functools.partial(function, block_characters=3_000)
        monkeypatch.setattr(cleaning, name, small)
    assert _files(build(recipe, runs=tmp_path / "two", workers=2)) == _files(one)
    monkeypatch.setattr(ledger, "SHARD_ROWS", 17)
    monkeypatch.setattr(tracing, "FLUSH_CHARACTERS", 2_000)
    many = build(recipe, runs=tmp_path / "many")
    assert len(list((many / "problems").iterdir())) > 3
    assert _rows(many) == _rows(one)
