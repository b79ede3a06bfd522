"""LIMO's two windows of pass rates and its score, as the recipe's header gives them."""

import json
from pathlib import Path

import headers
import polars as pl
import pytest

from curation.selection.pass_rate import PRESETS, by_pass_rate
from factory.build import build
from factory.recipe import load_recipe

NOUNS = ("lantern", "river", "violin", "comet", "orchard", "glacier")
PROBLEMS = [
    {"problem": f"Each {noun} weighs {n} g; what do {n + 2} weigh?", "answer": str(n * (n + 2))} for n, noun in enumerate(NOUNS)
]
# Right of judged, of the small model and of the strong one; of the third problem one sample of the strong one is undecided.
RATES = [((0, 4), (1, 32)), ((1, 4), (2, 32)), ((0, 4), (3, 31)), ((0, 4), (4, 32)), ((0, 4), (0, 32)), ((0, 4), (3, 32))]


def _tables(folder: Path) -> None:
    """The runs that the header's commands name: pass rates by problem ids, which a run without windows tells."""
    plain = headers.changes(folder, headers.commands("limo")[0], "select=[]")
    ids = pl.read_parquet(build(load_recipe("limo", plain), runs=folder / "runs") / "problems" / "*.parquet").sort("prompt")["id"]
    by_prompt = sorted(zip([p["problem"] for p in PROBLEMS], RATES, strict=True))
    for at, name in enumerate(("small-7b", "strong-32b")):
        counts = [rates[at] for _, rates in by_prompt]
        table = {"problem_id": ids, "model": [name] * 6, "correct": [c for c, _ in counts], "judged": [n for _, n in counts]}
        (folder / "runs" / name).mkdir()
        pl.DataFrame(table).write_parquet(folder / "runs" / name / "difficulty.parquet")


def test_the_commands_of_the_header_keep_what_the_small_model_fails_and_the_strong_one_seldom_solves(tmp_path: Path) -> None:
    traces = [
        {
            "question": p["problem"],
            "model": "teacher",
            "response": f"<think>\nLet us see, {n}.\n</think>\n\n\\boxed{{{p['answer']}}}",
        }
        for n, p in enumerate(PROBLEMS)
    ]
    for name, rows in (("pool", PROBLEMS), ("traces", traces)):
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    _tables(tmp_path)
    selecting, cleaning = headers.commands("limo")
    run = build(load_recipe("limo", headers.changes(tmp_path, selecting)), runs=tmp_path / "runs")
    lines = {line["step"]: line for line in json.loads((run / "funnel.json").read_text())}
    assert lines["pass_rate"]["dropped"] == {"too_easy": 1}
    assert lines["pass_rate 2"]["dropped"] == {"too_easy": 1, "too_hard": 1}
    assert lines["limo: top"]["kept"] == 3
    kept = {PROBLEMS[n]["problem"] for n in (0, 2, 5)}
    assert set(pl.read_parquet(run / "dataset" / "*.parquet")["problem"]) == kept
    replayed = [word.replace("openai:deepseek-reasoner@https://api.deepseek.com", "replay:traces.jsonl") for word in cleaning]
    run = build(load_recipe("limo", headers.changes(tmp_path, replayed)), runs=tmp_path / "runs")
    assert set(pl.read_parquet(run / "dataset" / "*.parquet")["problem"]) == kept


@pytest.mark.parametrize(("right", "judged", "kept"), [(0, 32, 0), (1, 32, 1), (3, 32, 1), (3, 31, 1), (4, 32, 0), (4, 31, 0)])
def test_an_undecided_sample_costs_limo_no_problem(right: int, judged: int, kept: int) -> None:
    assert len(by_pass_rate(pl.DataFrame({"pass_rate": [right / judged]}), PRESETS["limo"]).taken) == kept
