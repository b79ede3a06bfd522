"""What reinforcement learning needs of one device, and what is said where it has less."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
from tiny_model import make_tiny_model

from curation.errors import UserError
from factory.recipe import CONFIGS
from factory.reinforcing import config_path, grpo
from training.grpo_memory import checkpoints_bytes, laid_out, needed
from training.grpo_settings import GrpoSettings
from training.mfu import Shape, parameters
from training.plan import Hardware
from training.plan_memory import GIB, Choice, predict
from training.settings import load

ONE_AND_A_HALF = Shape(28, 1536, 12, 2, 128, 8960, 151_936, True, True, 131_072)  # Qwen2.5-1.5B
THREE = Shape(36, 2048, 16, 2, 128, 11_008, 151_936, True, True, 32_768)  # Qwen2.5-3B
DISTILLED = ONE_AND_A_HALF._replace(tied=False)  # DeepSeek-R1-Distill-Qwen-1.5B
SEVEN = Shape(28, 3584, 28, 4, 128, 18_944, 152_064, False, True, 131_072)  # Qwen2.5-7B
FOURTEEN = Shape(48, 5120, 40, 8, 128, 13_824, 152_064, False, True, 131_072)  # Qwen2.5-14B
THIRTY_TWO = Shape(64, 5120, 40, 8, 128, 27_648, 152_064, False, True, 131_072)  # Qwen2.5-32B
STUDENTS = {"1.5B": ONE_AND_A_HALF, "3B": THREE, "7B": SEVEN, "32B": THIRTY_TWO}
SHAPES = {f"{parameters(s) / 1e9:.2f}": s for s in (ONE_AND_A_HALF, DISTILLED, THREE, SEVEN, THIRTY_TWO)}
EIGHTY, H200, HOST = Hardware(1, 79.0, 989.0), Hardware(1, 139.8, 989.0), Hardware(0, 32.0, 0.1)


def said(shape: Shape, hardware: Hardware, engine: str, *assignments: str) -> str:
    with pytest.raises(UserError) as caught:
        laid_out(shape, load(GrpoSettings, assignments), 300, hardware, engine)
    return str(caught.value)


def test_a_pass_is_the_plans_and_the_engine_and_the_reference_are_added() -> None:
    settings = load(GrpoSettings, ("completions_per_pass=4", "max_completion_tokens=1000", "liger=true", "beta=0.1"))
    need = needed(THREE, settings, 24, EIGHTY, "vllm-colocate")
    assert need.training == predict(THREE, Choice("single", 1, True, True, 4, 1024, 32))
    assert need.reference == 2 * parameters(THREE) and need.engine == pytest.approx(0.3 * 79 * GIB)
    assert need.total == need.training.total + need.reference + need.engine
    alone = needed(THREE, load(GrpoSettings, ("beta=0",)), 24, EIGHTY, "transformers")
    assert (alone.reference, alone.engine, alone.total) == (0, 0, alone.training.total)
    asleep = needed(THREE, settings.model_copy(update={"vllm_sleep": True}), 24, EIGHTY, "vllm-colocate")
    assert asleep.passing == need.passing - need.engine and asleep.sampling == need.sampling
    on_cpu = needed(THREE, load(GrpoSettings, ("beta=0.1",)), 24, HOST, "transformers")
    assert on_cpu.reference == 4 * parameters(THREE) and on_cpu.training.optimizer == 8 * parameters(THREE)


def test_a_measured_peak_is_within_a_tenth() -> None:
    """tests/benchmarks/results/grpo_throughput.json, part ours: 107.0 GiB reserved on an H200."""
    how = ("completions_per_pass=8", "prompts_per_rollout=16", "gradient_checkpointing=false", "liger=true")
    total = needed(ONE_AND_A_HALF, load(GrpoSettings, how), 22, H200, "vllm-colocate").total / GIB
    assert total == pytest.approx(107.0, rel=0.1)


def test_what_cannot_fit_is_said_with_the_changes_that_help() -> None:
    found = said(THREE, EIGHTY, "vllm-colocate", "beta=0.001")
    assert found.startswith(
        "a pass of 8 x 2,348 tokens through 3.09B parameters needs 88.5 GiB (51.7 of it weights and optimiser, "
    )
    assert "5.7 the reference of beta 0.001, 23.7 vLLM's vllm_memory_share 0.3) and does not fit a GPU of 79 GiB" in found
    assert found.endswith("a GPU of 79 GiB: set vllm_sleep=true, or take more GPUs, or a smaller student")
    laid_out(THREE, load(GrpoSettings, ("beta=0.001", "vllm_sleep=true")), 300, EIGHTY, "vllm-colocate")
    wide = ("gradient_checkpointing=false", "completions_per_pass=4", "max_completion_tokens=8000", "vllm_memory_share=0.2")
    assert said(ONE_AND_A_HALF, EIGHTY, "vllm-colocate", *wide).endswith(
        "set completions_per_pass=1, or take more GPUs, or a smaller student"
    )
    long = ("completions_per_pass=1", "gradient_checkpointing=false", "max_completion_tokens=30000", "vllm_sleep=true")
    assert said(ONE_AND_A_HALF, EIGHTY, "vllm-colocate", *long).endswith(
        "set gradient_checkpointing=true, or take more GPUs, or a smaller student"
    )
    assert said(SEVEN, EIGHTY, "vllm-colocate").endswith("a GPU of 79 GiB: take more GPUs, or a smaller student")


def test_an_engine_that_sleeps_must_fit_beside_the_optimiser_when_it_wakes() -> None:
    found = said(THREE, EIGHTY, "vllm-colocate", "vllm_sleep=true", "vllm_memory_share=0.5")
    assert found.startswith("sampling beside 3.09B parameters needs 79.8 GiB (40.3 of it weights and optimiser, 39.5 vLLM's")
    assert found.endswith("set vllm_memory_share=0.2, or take more GPUs, or a smaller student")


def test_an_engine_with_less_than_its_weights_is_told_how_much_it_wants() -> None:
    found = said(THREE, EIGHTY, "vllm-colocate", "vllm_memory_share=0.05")
    assert found.startswith("vLLM gets 4.0 GiB (vllm_memory_share 0.05 of 79) and needs 6.8 for 3.09B parameters and one sequence")
    assert found.endswith("set vllm_memory_share=0.09, or take a smaller student")
    laid_out(THREE, load(GrpoSettings, ("vllm_memory_share=0.09",)), 300, EIGHTY, "vllm-colocate")
    assert said(SEVEN, EIGHTY, "vllm-colocate", "vllm_memory_share=0.05").endswith("79 GiB: take more GPUs, or a smaller student")


def test_the_host_counts_where_there_is_no_gpu_and_each_stage_is_looked_at() -> None:
    assert "does not fit this machine's 32 GiB, without a GPU" in said(THREE, HOST, "transformers")
    stages = "stages=[{max_completion_tokens: 100}, {max_completion_tokens: 40000}]"
    assert "a pass of 8 x 40,300 tokens" in said(ONE_AND_A_HALF, EIGHTY, "vllm-colocate", "vllm_sleep=true", stages)


def laid(shape: Shape, gpus: int, *assignments: str) -> GrpoSettings:
    return laid_out(shape, load(GrpoSettings, assignments), 300, H200._replace(gpus=gpus), "vllm-colocate")


def test_several_gpus_share_what_one_cannot_hold() -> None:
    one = laid(ONE_AND_A_HALF, 1)
    assert (one.processes, one.strategy) == (1, "single")
    four = laid(SEVEN, 4)
    assert (four.processes, four.strategy) == (4, "zero2")
    choice = Choice("zero2", 4, True, False, 8, 2348, 4)
    assert needed(SEVEN, four, 300, H200, "vllm-colocate").training == predict(SEVEN, choice)
    fourteen = laid(FOURTEEN, 8, "beta=0.001", "completions_per_pass=4")
    assert fourteen.strategy == "zero3"
    whole = fourteen.model_copy(update={"strategy": "zero2"})
    references = [needed(FOURTEEN, s, 300, H200, "vllm-colocate").reference for s in (whole, fourteen)]
    assert references[0] == 2 * parameters(FOURTEEN) == 8 * references[1]
    named = laid(ONE_AND_A_HALF, 2, "strategy=ddp", "beta=0.1")
    assert named.strategy == "ddp"
    assert needed(ONE_AND_A_HALF, named, 300, H200, "vllm-colocate").reference == 4 * parameters(ONE_AND_A_HALF)
    with pytest.raises(UserError, match="does not fit a GPU of 140 GiB, of 2 with zero3: take more GPUs, or a smaller student"):
        laid(THIRTY_TWO, 2)
    assert laid_out(None, load(GrpoSettings, ()), 300, H200._replace(gpus=2), "transformers").strategy == "zero3"


def test_sampling_without_vllm_gathers_what_zero3_has_divided() -> None:
    settings = load(GrpoSettings, ("processes=4", "strategy=zero3"))
    assert needed(SEVEN, settings, 300, H200, "transformers").engine == 2 * parameters(SEVEN)
    assert needed(SEVEN, settings, 300, H200, "transformers").beside == 0


def test_checkpoints_are_counted_with_the_one_that_is_written() -> None:
    def most(*assignments: str) -> float:
        return checkpoints_bytes(SEVEN, load(GrpoSettings, assignments), H200) / parameters(SEVEN)

    assert most() == most("rollouts=500") == 14 * 5  # weights in bf16, masters and Adam in fp32
    assert most("rollouts=15") == 14 * 2 and most("save_every_rollouts=null") == 0 and most("precision=fp32") == 12 * 5
    assert most("save_every_rollouts=null", "stages=[{rollouts: 3}, {save_every_rollouts: 1, rollouts: 2}]") == 14 * 3


def test_a_layout_that_the_machine_cannot_have_is_refused() -> None:
    def refusal(gpus: int, *assignments: str) -> str:
        hardware = H200._replace(gpus=gpus) if gpus else HOST
        with pytest.raises(UserError) as caught:
            laid_out(ONE_AND_A_HALF, load(GrpoSettings, assignments), 300, hardware, "transformers")
        return str(caught.value)

    assert refusal(2, "processes=4", "completions_per_pass=4") == "processes is 4 and 2 GPUs are visible: one process needs one GPU"
    assert "strategy zero3 needs GPUs and torch sees none" in refusal(0, "strategy=zero3")
    assert "strategy zero2 and 1 processes do not fit together" in refusal(1, "strategy=zero2")
    assert "strategy single and 2 processes do not fit together" in refusal(2, "strategy=single")
    stages = "stages=[{}, {completions_per_pass: 64}]"
    with pytest.raises(UserError, match="2 GPUs are visible, and which of them are the server's is not known"):
        laid_out(ONE_AND_A_HALF, load(GrpoSettings, ()), 300, H200._replace(gpus=2), "vllm-server")
    assert laid_out(ONE_AND_A_HALF, load(GrpoSettings, ("processes=1",)), 300, H200._replace(gpus=2), "vllm-server").alone
    assert refusal(3).startswith("completions_per_step 128 is no multiple of completions_per_pass 8 times 3 processes")
    assert refusal(4, stages).startswith("completions_per_step 128 is no multiple of completions_per_pass 64 times 4 processes")
    with pytest.raises(UserError, match="completions_per_pass 8 times 3 processes \\(24\\) to divide the step"):
        load(GrpoSettings, ("processes=3",))


HEADERS = sorted(path.stem.removeprefix("grpo-") for path in (CONFIGS / "training").glob("grpo-*.yaml") if "tiny." not in path.name)


@pytest.mark.parametrize("name", HEADERS)
def test_a_presets_header_names_students_that_fit_and_the_plans_figures(name: str) -> None:
    settings, header = load(GrpoSettings, (), config_path(name)), config_path(name).read_text().replace("\n#          ", "")
    (needs,) = re.findall("^# Needs  .*", header, re.M)
    alone = dict(re.findall(r"(\d+\.\d+)B need (\d+\.\d)", needs))
    for size, gib in alone.items():
        stages = settings.each_stage()
        found = [needed(SHAPES[size], stage, stage.max_prompt_tokens, EIGHTY, "vllm-colocate").total / GIB for stage in stages]
        assert gib == f"{max(found):.1f}"
    together = re.findall(
        r"(\d) GPUs of (80|141) GB(?: for the original)?(?:, with --set (\S+))?: "
        r"(\d+\.\d+)B take (\d+\.\d) GiB each by the plan, with (zero\d)",
        needs,
    )
    for gpus, memory, changed, size, gib, strategy in together:
        how = load(GrpoSettings, [changed] if changed else [], config_path(name))
        hardware = {"80": EIGHTY, "141": H200}[memory]._replace(gpus=int(gpus))
        found = laid_out(SHAPES[size], how, how.max_prompt_tokens, hardware, "vllm-colocate")
        total = needed(SHAPES[size], found, how.max_prompt_tokens, hardware, "vllm-colocate").total / GIB
        assert (found.strategy, f"{total:.1f}") == (strategy, gib)
    (student,) = re.findall(r"^# Command .*--student \S*?(\d+(?:\.\d)?B)", header, re.M)
    shape = DISTILLED if "Distill" in header.split("Source")[0] else STUDENTS[student]
    of_student = f"{parameters(shape) / 1e9:.2f}"
    assert of_student in {*alone, *(size for _, _, _, size, _, _ in together)}
    if of_student in alone:
        laid_out(shape, settings, settings.max_prompt_tokens, EIGHTY, "vllm-colocate")


@pytest.fixture
def asked(tmp_path: Path) -> Path:
    path = tmp_path / "sums.jsonl"
    path.write_text("".join(json.dumps({"problem": f"What is {n} + 30?", "answer": str(n + 30)}) + "\n" for n in range(8)))
    return path


def refused(student: Path, asked: Path, folder: Path) -> str:
    with pytest.raises(UserError) as caught:
        grpo(str(asked), str(student), "tiny", (), runs=folder, out=None, command="")
    return str(caught.value)


@pytest.mark.slow
def test_the_command_says_it_before_a_weight_is_read(asked: Path, tmp_path: Path) -> None:
    """A folder of 7B's shape without a weight: were the model loaded, that would be what is missing."""
    student = make_tiny_model(tmp_path / "seven")
    (student / "model.safetensors").rename(student / "training_args.bin")
    tiny = refused(student, asked, tmp_path)
    assert tiny == (
        f"{student} has no weights: wanted a folder with config.json, tokenizer and model.safetensors, as save_pretrained writes it"
    )
    config = json.loads((student / "config.json").read_text())
    config |= {"hidden_size": 36_864, "intermediate_size": 300_000, "num_hidden_layers": 90, "num_attention_heads": 288}
    config |= {"num_key_value_heads": 64, "layer_types": ["full_attention"] * 90}
    (student / "config.json").write_text(json.dumps(config))
    found = refused(student, asked, tmp_path)
    assert "parameters needs" in found and "without a GPU" in found and found.endswith("take a smaller student")


@pytest.mark.slow
def test_a_part_of_the_weights_that_is_missing_is_named(asked: Path, tmp_path: Path) -> None:
    student = make_tiny_model(tmp_path / "tiny")
    shutil.move(student / "model.safetensors", student / "model-00001-of-00002.safetensors")
    index = {"metadata": {}, "weight_map": {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}}
    (student / "model.safetensors.index.json").write_text(json.dumps(index))
    (student / "pytorch_model.bin.index.json").write_text('{"weight_map": {"a": "pytorch_model.bin"}}')  # as on the Hub beside it
    assert "has no model-00002-of-00002.safetensors, which its index names: wanted" in refused(student, asked, tmp_path)
    (student / "model.safetensors.index.json").unlink()
    shutil.move(student / "model-00001-of-00002.safetensors", student / "model.safetensors")
    assert grpo(str(asked), str(student), "tiny", ("rollouts=1",), runs=tmp_path, out=None, command="").is_dir()
