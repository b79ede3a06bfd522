"""What would stop a pipeline is said before its first stage, a sentence each, and in its plan."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from curation.errors import UserError
from factory.pipeline import load_pipeline, pipeline_names, sizes_of
from factory.pipeline_check import obstacles
from factory.pipeline_run import plan_text, run_pipeline
from factory.teachers.vllm import EXECUTABLE
from training.plan import Hardware

BUILD = {"name": "puzzles", "does": "build", "recipe": "countdown", "set": {"source.count": 30}}
WRONG: list[tuple[dict[str, Any], str]] = [
    ({"does": "build", "recipe": "countdwn"}, "no recipe 'countdwn' (did you mean 'countdown'?)"),
    ({"does": "build", "recipe": "countdown", "set": {"choose.rul": "longest"}}, "unknown key 'choose.rul'"),
    (
        {"does": "build", "recipe": "limo", "problems": ["none.jsonl"], "teacher": "oracle"},
        "no file none.jsonl, which its problems names: give the path of one with --set",
    ),
    ({"does": "build", "recipe": "countdown", "teacher": "replay:none.jsonl"}, "no file none.jsonl, which its teacher names"),
    ({"does": "build", "recipe": "countdown", "teacher": "replay:./none.jsonl"}, "/none.jsonl, which it names"),
    ({"does": "build", "recipe": "countdown", "teacher": "vllm:org/model"}, "there is no program 'no-such-vllm'"),
    ({"does": "distill", "data": "@puzzles", "student": "s", "config": "s2"}, "no training config 's2': wanted limo"),
    ({"does": "distill", "data": "@puzzles", "student": "s", "set": {"epocs": 1}}, "unknown key 'epocs': did you mean 'epochs'?"),
    ({"does": "distill", "data": "none.parquet", "student": "s"}, "no file none.parquet, which its data names"),
    ({"does": "grpo", "data": "@puzzles", "student": "s", "set": {"rewards": {"formt": 1.0}}}, "no reward 'formt'"),
    ({"does": "eval", "model": "vllm:@puzzles", "suites": ["tiny"]}, "there is no program 'no-such-vllm'"),
    ({"does": "eval", "model": "@puzzles", "suites": ["tinny"]}, "no suite 'tinny' (did you mean 'tiny'?)"),
    ({"does": "eval", "model": "@puzzles", "suites": ["none.jsonl"]}, "no file none.jsonl, which its suites names"),
    ({"does": "eval", "model": "replay:none", "suites": ["tiny"]}, "'replay:none' is no model to examine: wanted a folder"),
    ({"does": "make", "set": {"layers": -1}}, "layers: input should be greater than or equal to 1"),
]


def loaded(folder: Path, *stages: dict[str, Any]) -> Any:
    path = folder / "mine.yaml"
    path.write_text(yaml.safe_dump({"pipeline": 1, "name": "mine", "description": "d", "stages": list(stages)}))
    return load_pipeline(str(path))


@pytest.mark.parametrize(("stage", "sentence"), WRONG, ids=[sentence for _, sentence in WRONG])
def test_each_is_found_before_the_first_stage(
    stage: dict[str, Any], sentence: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(EXECUTABLE, "no-such-vllm")
    asked = loaded(tmp_path, BUILD, {"name": "later", **stage})
    with pytest.raises(UserError) as caught:
        run_pipeline(asked, runs=tmp_path / "runs", out=None, workers=1, command="factory run")
    assert str(caught.value).startswith("stage later: ") and sentence in str(caught.value) and "\n" not in str(caught.value)
    assert not (tmp_path / "runs").exists()
    assert f"it cannot run yet: {caught.value}" in plan_text(asked, runs=tmp_path / "runs", out=None)


def test_one_reason_of_several_stages_is_said_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(EXECUTABLE, "no-such-vllm")
    examined = {"does": "eval", "model": "vllm:m", "suites": ["tiny"]}
    found = obstacles(loaded(tmp_path, {"name": "a", **examined}, BUILD, {"name": "b", **examined}), set())
    assert len(found) == 1 and found[0].startswith("stages a, b: vllm: needs vLLM")


def test_what_a_training_needs_is_asked_for_before_the_samples_are_bought(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    made = {"name": "start", "does": "make"}
    asked = loaded(tmp_path, BUILD, made, {"name": "rl", "does": "grpo", "data": "@puzzles", "student": "@start"})
    (found,) = obstacles(asked, set())
    assert found == "stages start, rl: lacks torch: pip install 'cot-factory[train]'"


def test_what_is_done_is_not_looked_at(tmp_path: Path) -> None:
    asked = loaded(tmp_path, {**BUILD, "teacher": "replay:none.jsonl"})
    assert obstacles(asked, set()) and not obstacles(asked, {"puzzles"})


def test_a_student_that_no_gpu_can_reinforce_is_refused_before_its_cold_start(tmp_path: Path) -> None:
    base = tmp_path / "seven-billion"
    base.mkdir()
    qwen = {"hidden_size": 3584, "num_attention_heads": 28, "num_key_value_heads": 4, "num_hidden_layers": 28}
    shape = {**qwen, "intermediate_size": 18944, "vocab_size": 152064, "model_type": "qwen2", "tie_word_embeddings": False}
    (base / "config.json").write_text(json.dumps(shape))
    cold = {"name": "cold", "does": "distill", "data": "@puzzles", "student": str(base)}
    asked = loaded(tmp_path, BUILD, cold, {"name": "rl", "does": "grpo", "data": "@puzzles", "student": "@cold"})
    (found,) = obstacles(asked, set(), Hardware(1, 80.0, 989.0))
    assert found.startswith("stage rl: ") and "7.62B parameters" in found and "does not fit a GPU of 80 GiB" in found
    assert not obstacles(asked, set(), Hardware(1, 280.0, 989.0)) and not obstacles(asked, {"rl"}, Hardware(1, 80.0, 989.0))
    made = loaded(
        tmp_path, BUILD, {"name": "m", "does": "make"}, {"name": "rl", "does": "grpo", "data": "@puzzles", "student": "@m"}
    )
    assert not obstacles(made, set(), Hardware(1, 80.0, 989.0))


@pytest.mark.parametrize("name", pipeline_names())
def test_the_shipped_pipelines_lack_what_their_headers_ask_for_and_nothing_else(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(EXECUTABLE, sys.executable)
    for size in sizes_of(name):
        found = obstacles(load_pipeline(name, size), set())
        named = [one for one in found if not one.startswith("stage general: no file general.jsonl")]
        assert not named and len(found) == (2 if name == "r1" and size != "tiny" else 0)
