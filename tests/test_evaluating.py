"""`factory eval` on a server that answers as the question says, and on a model made on the spot."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from click.testing import CliRunner
from fault_server import FaultServer, serve_faults
from tiny_model import make_tiny_model

from curation.errors import UserError
from curation.files import read_yaml
from factory.build import build
from factory.cli import cli
from factory.comparing import read_result, result_table
from factory.evaluating import evaluate
from factory.recipe import CONFIGS, Changes, load_recipe
from factory.suites import Columns, load_suite, suite_names, suite_source
from training.best import choice_values, handed_in

QUESTIONS = [
    {"problem": r"ok say \boxed{4}", "answer": "4"},
    {"problem": r"ok say \boxed{5}", "answer": "4"},
    {"problem": "think what is 1 + 1?", "answer": "2"},
    {"problem": "length what is 1 + 1?", "answer": "2"},
]


def suite(folder: Path, rows: list[dict[str, Any]] = QUESTIONS) -> Path:
    path = folder / "tiny-suite.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def examine(server: FaultServer, questions: Path, folder: Path, *settings: str, out: str = "result.json") -> dict[str, Any]:
    model = f"openai:m@{server.url}/v1"
    path = evaluate(model, str(questions), settings, limit=None, runs=folder / "runs", out=folder / out, workers=1)
    return read_result(path)


def test_a_suite_is_sampled_judged_and_scored(tmp_path: Path) -> None:
    with serve_faults() as server:
        found = examine(server, suite(tmp_path), tmp_path, "samples=2")
        asked = len(server.seen)
        again = examine(server, suite(tmp_path), tmp_path, "samples=2")
        assert (asked, len(server.seen)) == (8, 8)  # the second time nothing is asked
        assert len({seen.body["seed"] for seen in server.seen}) == 8  # a stream of random numbers for each
        more = examine(server, suite(tmp_path), tmp_path, "samples=3")
        assert len(server.seen) == 12  # a third sample of each question
    assert {**found, "created": ""} == {**again, "created": ""}
    scores = found["scores"]
    assert (scores["pass@1"]["value"], scores["pass@2"]["value"], scores["maj@2"]["value"]) == (0.5, 0.5, 0.5)
    assert (scores["truncated"]["value"], scores["no_answer"]["value"], scores["undetermined"]["value"]) == (0.25, 0.25, 0.0)
    assert scores["tokens"]["mean"] == 11 and more["scores"]["samples"] == 3
    assert sorted(found["correct"].values()) == [[False, False], [False, False], [True, True], [True, True]]
    table = pl.read_parquet(tmp_path / "result.parquet")
    assert table.height == 12 and set(table["why"]) >= {"equal", "different"}


def test_a_table_for_a_person_and_a_paired_comparison(tmp_path: Path) -> None:
    with serve_faults() as server:
        examine(server, suite(tmp_path), tmp_path, "samples=1", out="old.json")
        examine(server, suite(tmp_path), tmp_path, "samples=1", "temperature=0", out="new.json")
    said = result_table(tmp_path / "new.json", tmp_path / "old.json")
    assert "m on tiny-suite: 4 questions, 1 samples each" in said
    assert "pass@1           50.0%" in said and "maj@" not in said
    assert "against m on 4 questions that both have (McNemar's exact test)" in said
    assert "pass@1 +0.0%, 95 percent from +0.0% to +0.0%, p = 1" in said
    assert "not under the same settings: temperature 0.0 against 0.6" in said


def test_no_score_of_a_part_of_a_suite(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [*QUESTIONS, {"problem": "400 refused", "answer": "1"}]
    with serve_faults() as server:
        with pytest.raises(UserError, match=r"1 of 5 samples failed, .*run the same command again"):
            examine(server, suite(tmp_path, rows), tmp_path, "samples=1")
        assert not (tmp_path / "result.json").exists()


def test_questions_without_a_usable_gold_are_counted_and_left_out(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [*QUESTIONS, {"problem": r"ok say \boxed{9}", "answer": None}]
    with serve_faults() as server:
        found = examine(server, suite(tmp_path, rows), tmp_path, "samples=1")
    assert (found["suite"]["questions"], found["suite"]["left_out"]) == (4, 1)


def test_mistakes_are_one_sentence(tmp_path: Path) -> None:
    def said(model: str, where: Path, *settings: str) -> str:
        with pytest.raises(UserError) as caught:
            evaluate(model, str(where), settings, limit=None, runs=tmp_path, out=None, workers=1)
        return str(caught.value)

    questions = suite(tmp_path)
    assert "did you mean 'temperature'" in said("hf:m", questions, "temprature=1")
    assert "samples: input should be greater than or equal to 1, got 0" in said("hf:m", questions, "samples=0")
    assert "wanted KEY=VALUE" in said("hf:m", questions, "samples")
    assert r"prompt: string should match pattern '\{problem\}'" in said("hf:m", questions, "prompt=Think.")
    assert "--set system={: the value is no YAML" in said("hf:m", questions, "system={")
    assert "temperature: input should be a finite number" in said("hf:m", questions, "temperature=.nan")
    assert "is no model to examine" in said("oracle", questions)
    assert "'gpt' is no model to examine: wanted a folder, hf:MODEL" in said("gpt", questions)
    assert "data_parallel are of vllm:MODEL, and hf: has neither" in said("hf:m", questions, "tensor_parallel=2")
    assert "best shortest chooses among samples, and samples is 1" in said("hf:m", questions, "best=shortest", "samples=1")
    assert "is no finished run" in said("hf:m", tmp_path)
    assert "did you mean 'countdown'" in said("hf:m", Path("countdwn"))
    assert "get https" in said("hf:m", Path("livecodebench"))
    assert "input should be 'shortest'" in said("hf:m", questions, "best=luckiest")
    (tmp_path / "others.jsonl").write_text('{"foo": 1}\n')
    assert said("hf:m", tmp_path / "others.jsonl").endswith("it has foo: set prompt_column")
    nothing = tmp_path / "nothing.jsonl"
    nothing.write_text('{"problem": "x", "answer": null}\n')
    assert "no question with a gold" in said("hf:m", nothing)
    (tmp_path / "other.json").write_text("{}")
    with pytest.raises(UserError, match="is no result of this factory eval"):
        read_result(tmp_path / "other.json")


def test_suites_by_name_are_the_same_puzzles_everywhere_and_held_out() -> None:
    made = read_yaml(CONFIGS / "suites.yaml")
    columns = Columns(None, None, "math")
    for name in made:
        suite_source(made[name])
    first, again = (load_suite("countdown-new-targets", columns, 20, 1) for _ in range(2))
    assert first == again and first.name == "countdown-new-targets" and len(first.problems) == 20
    assert {json.loads(p.meta)["target"] % 10 for p in first.problems} == {3}
    assert {"aime24", "countdown", "tiny"} <= set(suite_names()) and "livecodebench" not in suite_names()


def test_best_of_n_hands_in_one_sample_chosen_without_the_gold() -> None:
    texts = ["<think>\na\n</think>\n<answer>\n1\n</answer>", "1 1 1 1 1 1 1 1", "x"]
    assert choice_values("shortest", texts, [9, 5, None]) == [-9.0, -5.0, float("-inf")]
    assert choice_values("format", texts, [9, 5, 1]) == [1.0, 0.0, 0.0]
    assert choice_values("repetition", texts, [9, 5, 1])[1] < 0
    assert handed_in([1.0, 3.0, 3.0, 9.0], [False, True, False, True], [True, True, True, False]) == 0.5
    assert handed_in([1.0], [True], [False]) == 0.0


@pytest.mark.slow
def test_a_model_in_a_folder_on_the_problems_of_a_run(tmp_path: Path) -> None:
    recipe = load_recipe("countdown", Changes(assignments=("source.count=6", "source.seed=9")))
    run = build(recipe, runs=tmp_path / "runs")
    model = make_tiny_model(tmp_path / "student")
    arguments = ["eval", str(model), "--suite", str(run), "--limit", "3", "--runs", str(tmp_path / "runs"), "--workers", "1"]
    values = ["samples=2", "max_tokens=16", "temperature=1", "rows=4", "wait=1", "thinking_tokens=8", "best=shortest"]
    values = [part for value in values for part in ("--set", value)]
    done = CliRunner().invoke(cli, [*arguments, *values], catch_exceptions=False)
    assert done.exit_code == 0
    (path,) = (tmp_path / "runs" / "evals").glob("student-*.json")
    found = read_result(path)
    assert found["suite"]["questions"] == 3 and found["scores"]["truncated"]["value"] == 1.0
    assert found["model"]["revision"] and found["scores"]["pass@1"]["value"] == 0.0
    assert found["scores"]["best@2"]["by"] == "shortest" and "best@2" in done.output
    assert f"written to {os.fspath(path)}" in done.output and "maj@" not in done.output  # a countdown has many right answers
