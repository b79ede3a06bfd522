"""The shipped pipelines: numbers that must fit each other, and examinations that vLLM answers."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from curation.errors import UserError
from factory.distilling import config_path as sft_path
from factory.evaluating import Evaluation
from factory.pipeline import Distill, Eval, Grpo, load_pipeline, pipeline_names, sizes_of
from factory.pipeline_stages import Context, perform
from factory.recipe import CONFIGS
from factory.reinforcing import config_path
from factory.teachers import vllm
from training.grpo_memory import laid_out, needed
from training.grpo_settings import GrpoSettings
from training.mfu import Shape
from training.plan import Hardware
from training.plan_memory import GIB
from training.reward_mix import mixed
from training.settings import load
from training.sft_settings import SftSettings

POSITIONS = 32_768  # of Qwen2.5-Instruct and of the 3B base
PROMPT = 1_024
REAL = [(name, size) for name in pipeline_names() for size in sizes_of(name) if size != "tiny"]


def stage_of(name: str, size: str | None, stage: str) -> Any:
    """A stage of a shipped pipeline."""
    return next(s for s in load_pipeline(name, size).pipeline.stages if s.name == stage)


@pytest.mark.parametrize("stage", ["reasoning-rl", "final-rl"])
def test_r1_rewards_the_format_that_its_cold_start_teaches(stage: str) -> None:
    taught = "<think>\nTwo and two are four.\n</think>\n\nThe answer is \\boxed{4}."
    settings = GrpoSettings.model_validate(stage_of("r1", "1.5b", stage).set)
    mix = mixed(settings)
    columns = {"answer": ["4"], "domain": ["math"]}
    points = [function([taught], **columns)[0] for function in mix.functions]
    assert dict(zip(settings.rewards, points, strict=True)) == {"accuracy": 1.0, "thought": 1.0, "language": 1.0}


@pytest.mark.parametrize("stage", ["reasoning-rl", "final-rl"])
def test_r1s_clip_and_its_renewed_reference_take_effect(stage: str) -> None:
    settings = GrpoSettings.model_validate(stage_of("r1", "1.5b", stage).set)
    assert settings.completions_per_rollout == 8_192 and settings.steps_per_rollout == 16  # the ratio leaves 1 in 15 of them
    assert settings.rollouts and settings.sync_ref_every_steps
    assert settings.sync_ref_every_steps <= settings.rollouts * settings.steps_per_rollout / 2


SHAPES = {
    "1.5b": Shape(28, 1536, 12, 2, 128, 8960, 151_936, True, True, 131_072),  # Qwen2.5
    "3b": Shape(36, 2048, 16, 2, 128, 11_008, 151_936, True, True, 32_768),
    "7b": Shape(28, 3584, 28, 4, 128, 18_944, 152_064, False, True, 131_072),
    "14b": Shape(48, 5120, 40, 8, 128, 13_824, 152_064, False, True, 131_072),
}


@pytest.mark.parametrize(("size", "gpus", "gib"), [("1.5b", 1, "46.8"), ("3b", 1, "69.8"), ("7b", 4, "57.1"), ("14b", 8, "65.7")])
def test_r1s_header_says_what_its_rl_takes(size: str, gpus: int, gib: str) -> None:
    settings = GrpoSettings.model_validate(stage_of("r1", size, "reasoning-rl").set)
    assert settings.model_copy(update={"rollouts": 13, "epsilon": 0.2, "temperature": 0.7}) == GrpoSettings.model_validate(
        stage_of("r1", size, "final-rl").set
    )
    hardware = Hardware(gpus, 79.0, 989.0)
    found = laid_out(SHAPES[size], settings, PROMPT, hardware, "vllm-colocate")
    assert f"{needed(SHAPES[size], found, PROMPT, hardware, 'vllm-colocate').total / GIB:.1f}" == gib
    header = (CONFIGS / "pipelines" / "r1.yaml").read_text().split("pipeline: 1")[0]
    assert f"{gib}" in header.replace("\n#          ", "")
    if gpus > 1:
        with pytest.raises(UserError):
            laid_out(SHAPES[size], settings, PROMPT, hardware._replace(gpus=gpus // 2), "vllm-colocate")


@pytest.mark.parametrize(("name", "size"), REAL)
def test_real_sizes_are_examined_by_vllm_with_answers_that_fit(name: str, size: str) -> None:
    examined = [s for s in load_pipeline(name, size).pipeline.stages if s.does == "eval"]
    assert examined and all(stage.model.startswith("vllm:") for stage in examined)
    for stage in examined:
        asked = Evaluation.model_validate(stage.set)
        assert asked.max_tokens + PROMPT <= POSITIONS and (asked.thinking_tokens or 0) < asked.max_tokens


def test_rows_that_a_build_keeps_on_purpose_are_learned() -> None:
    """General rows have no gold to verify against, and s1K keeps wrong traces."""
    second, s1 = stage_of("r1", "1.5b", "second-sft"), stage_of("s1", "32b", "distill")
    assert load(SftSettings, [f"outcomes={second.set['outcomes']}"]).outcomes == ["correct", "no_gold"]
    assert load(SftSettings, [], sft_path(s1.config)).outcomes == ["correct", "incorrect"]


@pytest.mark.parametrize("name", pipeline_names())
def test_a_tiny_size_trains_in_one_process_however_many_gpus_there_are(name: str) -> None:
    """Its batches divide among no others, and it is made for two cores."""
    stages = load_pipeline(name, "tiny").pipeline.stages
    trained = [stage for stage in stages if isinstance(stage, Distill | Grpo)]
    assert trained and all(stage.set["processes"] == 1 for stage in trained)


@pytest.mark.parametrize("stage", ["before", "after"])
def test_tinyzero_is_examined_with_the_words_it_is_trained_on(stage: str) -> None:
    trained = load(GrpoSettings, [], config_path("tinyzero"))
    assert stage_of("tinyzero", "3b", stage).set["prompt"] == trained.prompt != "{problem}"


@pytest.mark.slow
def test_an_examination_asks_vllm_for_the_model_of_an_earlier_stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(vllm.EXECUTABLE, f"{sys.executable} {Path(__file__).parent / 'fault_server.py'}")
    model = tmp_path / "rl-01234567"
    model.mkdir()
    (model / "config.json").write_text("{}")
    (tmp_path / "asked.jsonl").write_text(json.dumps({"problem": r"ok say \boxed{4}", "answer": "4"}) + "\n")
    stage = Eval(does="eval", name="after", model="vllm:@rl", suites=["./asked.jsonl"], set={"samples": 1, "max_tokens": 8})
    left = perform(stage, tmp_path / "after", Context(tmp_path / "runs", "factory run", 1, {"rl": model}, tmp_path))
    assert left.facts["suites"]["asked"]["pass@1"] == 1.0
    found = json.loads((tmp_path / "after" / "asked.json").read_text())
    assert (found["model"]["model"], found["model"]["endpoint"]) == (str(model), "vllm")
