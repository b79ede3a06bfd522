"""Presets and settings of reinforcement learning, down to the arguments that TRL takes."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from curation.errors import UserError
from factory.recipe import CONFIGS
from factory.reinforcing import config_path
from training.grpo_arguments import arguments
from training.grpo_settings import GrpoSettings
from training.grpo_stage import Prompt, ordered
from training.rendering import Turn
from training.reward_mix import mixed
from training.settings import load

PRESETS = (*("dapo", "deepscaler", "dr-grpo", "gsm8k-rlvr", "logic-rl", "mini-r1", "open-r1-demo", "simplerl", "tiny", "tinyzero"),)
TURN = Turn("<|im_end|>", 7, "<|im_end|>")
# preset -> completions of a rollout, of an optimiser step, steps of a rollout (reference sheets of the presets' headers)
SIZES = {
    "tinyzero": [(256, 64, 4)],
    "mini-r1": [(192, 192, 1)],
    "logic-rl": [(1024, 512, 2)],
    "simplerl": [(8192, 2048, 4)],
    "deepscaler": [(1024, 512, 2), (2048, 1024, 2), (2048, 1024, 2)],
    "dr-grpo": [(1024, 128, 8)],
    "dapo": [(8192, 512, 16)],
    "open-r1-demo": [(64, 64, 1)],
    "gsm8k-rlvr": [(48, 48, 1)],
    "tiny": [(16, 16, 1)],
}


def config_of(  # type: ignore[no-untyped-def]
    settings: GrpoSettings, engine: str = "transformers", rows: int = 10_000, cuda: bool = False, window: int | None = None
):
    return arguments(settings, Path("nowhere"), rows, mixed(settings).weights, engine, TURN, cuda=cuda, window=window)


@pytest.mark.parametrize("name", PRESETS)
def test_presets_are_arguments_that_trl_takes_and_say_what_is_theirs_and_what_is_ours(name: str) -> None:
    path = config_path(name)
    stages = load(GrpoSettings, (), path).each_stage()
    assert [(s.completions_per_rollout, s.step_size, s.steps_per_rollout) for s in stages] == SIZES[name]
    for stage in stages:
        made = config_of(stage)
        assert made.generation_batch_size == stage.completions_per_rollout
        assert made.gradient_accumulation_steps * made.per_device_train_batch_size == stage.step_size
        assert made.num_generations == stage.samples_per_prompt and made.beta == stage.beta
        assert made.max_completion_length == stage.max_completion_tokens and made.use_bias_correction_kl is False
        assert made.save_steps % stage.steps_per_rollout == 0
    header = "".join(line for line in path.read_text().splitlines(keepends=True) if line.startswith("#"))
    assert all(f"# {word}" in header for word in ("Command", "Source", "Original", "Ours"))


def test_checkpoints_may_be_left_out() -> None:
    assert config_of(load(GrpoSettings, ("save_every_rollouts=null",))).save_strategy == "no"
    assert config_of(load(GrpoSettings, ("save_every_rollouts=3", "completions_per_step=64"))).save_steps == 6


@pytest.mark.parametrize("name", [name for name in PRESETS if name != "tiny"])
def test_presets_write_down_where_trl_has_changed_its_mind_since(name: str) -> None:
    """Of what bites in TRL 1.16: the KL's bias correction and vLLM's; a temperature of 0.9 up to TRL 0.16."""
    written = yaml.safe_load(config_path(name).read_text())
    assert written["mismatch_correction"] == "token_truncate" and {"temperature", "beta", "loss_type"} <= written.keys()
    assert written.get("use_bias_correction_kl") is (False if written["beta"] else None)
    assert "vLLM's probabilities are corrected token by token and theirs were not" in config_path(name).read_text()
    assert written["temperature"] == {"mini-r1": 0.9, "gsm8k-rlvr": 0.9, "deepscaler": 0.6}.get(name, 1.0)


def test_no_preset_is_untested() -> None:
    assert sorted(p.stem.removeprefix("grpo-") for p in (CONFIGS / "training").glob("grpo-*.yaml")) == sorted(PRESETS)


def test_vllm_is_told_where_a_turn_ends_and_how_long_it_may_be() -> None:
    settings = load(GrpoSettings, ("max_prompt_tokens=100", "max_completion_tokens=28"))
    beside, server = config_of(settings, "vllm-colocate"), config_of(settings, "vllm-server")
    assert (beside.use_vllm, beside.vllm_mode, beside.vllm_max_model_length) == (True, "colocate", 128)
    assert config_of(settings, "vllm-colocate", window=96).vllm_max_model_length == 96, "vLLM refuses more than the model has"
    assert beside.generation_kwargs == {"stop_token_ids": [7], "detokenize": False}
    assert beside.vllm_importance_sampling_mode == "token_truncate" and beside.vllm_importance_sampling_correction
    assert (server.vllm_mode, server.vllm_server_base_url) == ("server", "http://localhost:8000")
    assert server.vllm_group_port != 51216, "two trainings with a server of their own have to fit on a host"
    assert config_of(load(GrpoSettings, ("mismatch_correction=none",)), "vllm-server").vllm_importance_sampling_correction is False
    assert config_of(settings).use_vllm is False


def test_a_stage_changes_what_it_names_and_keeps_the_rest() -> None:
    first, second = load(GrpoSettings, ("beta=0.1", "stages=[{rollouts: 2}, {max_completion_tokens: 9}]")).each_stage()
    assert (first.rollouts, first.max_completion_tokens, first.beta) == (2, 2048, 0.1)
    assert (second.rollouts, second.max_completion_tokens, second.beta) == (None, 9, 0.1)


@pytest.mark.parametrize(
    ("assignment", "said"),
    [
        ("prompt=Think.", "prompt: string should match pattern"),
        ("completions_per_step=48", "wants completions_per_step 48 to divide it"),
        ("completions_per_pass=7", "completions_per_pass 7 to divide the step"),
        ("loss_type=cispo", "wants epsilon_high above 1, such as 5"),
        ("importance_sampling_level=sequence", "goes with loss_type grpo or luspo: dapo sums over tokens"),
        ("sync_ref_every_steps=4", "only with beta above 0"),
        ("stages=[{chat_template: x.jinja}]", "a stage cannot change chat_template"),
        ("stages=[{rolouts: 2}]", "rolouts"),
        ("min_pass_rate=1", None),
        ("samples_per_prompt=1", "samples_per_prompt"),
        ("epsilon_hihg=1", "did you mean 'epsilon_high'"),
    ],
)
def test_settings_that_cannot_be_meant_say_so(assignment: str, said: str | None) -> None:
    if said is None:
        load(GrpoSettings, (assignment,))
        return
    with pytest.raises(UserError, match=said):
        load(GrpoSettings, (assignment,))


def test_prompts_are_shuffled_each_epoch_and_whole_rollouts_alone_are_kept() -> None:
    prompts = [Prompt(str(n), "", "math", str(n), "") for n in range(10)]
    settings = load(GrpoSettings, ("prompts_per_rollout=4", "epochs=3"))
    found = [p.prompt for p in ordered(prompts, settings)]
    assert len(found) == 24 and all(len(set(found[n : n + 8])) == 8 for n in (0, 8, 16)) and found[:8] != found[8:16]
    assert [p.prompt for p in ordered(prompts, settings)] == found
    assert [p.prompt for p in ordered(prompts, load(GrpoSettings, ("prompts_per_rollout=4", "rollouts=5")))] == found[:20]
    with pytest.raises(UserError, match="3 prompts are fewer than one rollout takes: lower prompts_per_rollout 4"):
        ordered(prompts[:3], settings)


def test_an_unknown_preset_names_those_there_are() -> None:
    with pytest.raises(UserError, match="no training config 'dappo': wanted dapo, deepscaler, dr-grpo"):
        config_path("dappo")
