"""Duplicates and benchmark questions found by tasks, some shards each: the rows, pairs and evidence of one process."""

from __future__ import annotations

import itertools
import json
import random
from pathlib import Path

import polars as pl
import pytest
from test_executors import contents

from factory import cleaning, executors, scanning, tracing
from factory.build import build
from factory.executors import Place
from factory.recipe import Changes, Recipe, load_recipe
from factory.rounds import NO_LIMIT
from factory.run import Run
from factory.steps import Piece

WORDS = [f"{a}{b}{c}" for a, b, c in itertools.product("bdfgkl", "aeiou", ("lm", "nt", "rk", "st"))]
PROBLEMS = 1_300  # three shards


def question(draw: random.Random) -> str:
    head, tail = (" ".join(draw.choices(WORDS, k=count)) for count in (20, 8))
    return f"A {head} has {draw.randint(2, 99)} of them: how many are {tail}?"


def written(folder: Path, *assignments: str) -> Recipe:
    """A recipe over problems with copies in other shards, word for word and nearly, and with benchmark questions."""
    draw = random.Random(7)
    fresh = [question(draw) for _ in range(PROBLEMS - 60)]
    near = [text.replace("has", "has got") for text in fresh[:30]]
    asked = [question(draw) for _ in range(20)]
    copies = [*asked[:5], *(f"Please tell: {text}" for text in asked[5:10])]
    texts = [*fresh, *near, *fresh[500:515], *fresh[500:505], *copies]
    draw.shuffle(texts)
    folder.mkdir(exist_ok=True)
    rows = [{"problem": text, "answer": "5"} for text in texts]
    (folder / "problems.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "bench.jsonl").write_text("".join(json.dumps({"problem": text}) + "\n" for text in asked))
    (folder / "again.jsonl").write_text("".join(json.dumps({"problem": text}) + "\n" for text in asked[3:]))
    traces = [{"problem": row["problem"], "generation": "<think>\nfive\n</think>\n\\boxed{5}", "model": "m"} for row in rows]
    (folder / "traces.jsonl").write_text("".join(json.dumps(trace) + "\n" for trace in traces))
    changes = Changes(
        problems=(str(folder / "problems.jsonl"),),
        benchmarks=(str(folder / "bench.jsonl"), str(folder / "again.jsonl")),
        teacher=f"replay:{folder / 'traces.jsonl'}",
        assignments=("executor.shards_per_scan=1", *assignments),
    )
    return load_recipe("openr1-math", changes)


def steps_of(runs: Path) -> list[tuple[str, int]]:
    """The step and the number of tasks of each call, oldest first."""
    told = sorted((runs / ".tasks").glob("*/job.json"))
    return [(job["step"], len(job["tasks"])) for job in (json.loads(path.read_text()) for path in told)]


@pytest.mark.slow
def test_tasks_of_a_build_find_what_one_process_finds(tmp_path: Path) -> None:
    recipe = written(tmp_path / "data")
    one = build(recipe, runs=tmp_path / "one")
    runs = tmp_path / "two"
    two = build(recipe, runs=runs, workers=2, executor="local")
    assert contents(one) == contents(two)
    funnel = {line["step"]: line["dropped"] for line in json.loads((two / "funnel.json").read_text())}
    assert funnel["duplicates"] == {"near_duplicate": 30, "exact_duplicate": 20}
    assert sum(funnel["decontaminate"].values()) == 10
    assert [step for step, _ in steps_of(runs)] == ["scan", "judge"] and steps_of(runs)[0] == ("scan", 3)

    build(written(tmp_path / "data", "clean.near_duplicates=0.7"), runs=runs, workers=2, executor="local")
    assert "scan" not in [step for step, _ in steps_of(runs)[2:]]  # a changed threshold compares, and reads nothing anew


@pytest.mark.parametrize("rule", ["coverage", "ngram", "verbatim", "fuzzy"])
def test_parts_say_what_the_whole_says_under_every_rule(tmp_path: Path, rule: str) -> None:
    recipe = written(tmp_path / "data", f"clean.rule={rule}")
    read = cleaning.read(tmp_path / "store", recipe)
    parts = [[shard] for shard in tracing.shards(read)]
    for part in reversed(parts):
        scanning.scan(tmp_path / "store", recipe.clean, part)
    found = scanning.gather(tmp_path / "store", recipe.clean, parts)
    unique = cleaning.deduplicate(tmp_path / "store", recipe.clean, read)
    assert said(cleaning.deduplicate(tmp_path / "other", recipe.clean, read, scan=lambda: found)) == said(unique)
    clean = cleaning.decontaminate(tmp_path / "store", recipe.clean, unique)
    assert said(cleaning.decontaminate(tmp_path / "other", recipe.clean, unique, scan=lambda: found)) == said(clean)
    assert clean.facts["funnel"][0]["dropped"]
    assert pl.read_parquet(clean.folder / "contamination.parquet")["benchmark"].n_unique() == 2


def said(piece: Piece) -> tuple[str, object]:
    return piece.digest, piece.facts


def test_few_problems_are_not_sent_anywhere(tmp_path: Path) -> None:
    recipe = written(tmp_path / "data", "executor.shards_per_scan=40")
    read = cleaning.read(tmp_path / "store", recipe)
    run = Run(tmp_path / "run", tmp_path / "store", tmp_path / "samples")
    assert executors.scan_shards(run, recipe, read, Place("local", 2, NO_LIMIT, "")) is None
    assert not (tmp_path / ".tasks").exists()
