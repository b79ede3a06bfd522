"""The plan of a training: shapes from config.json, memory and time of every layout, what fits, and the files that launch it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from curation.errors import UserError
from factory.cli import cli
from factory.recipe import CONFIGS
from training.mfu import Lengths, Shape, flops_per_token, mfu, parameters, peak_tflops, read_shape
from training.plan import Hardware, options, plan_text, recommended, resolved
from training.plan_files import Layout, write_launch_files
from training.plan_memory import GIB, Choice, logits, predict
from training.sft_settings import SftSettings, Strategy

# config.json of Qwen2.5-1.5B, -7B and -32B.
SMALL = Shape(28, 1536, 12, 2, 128, 8960, 151936, True, True, 131072)
SEVEN = Shape(28, 3584, 28, 4, 128, 18944, 152064, False, True, 131072)
LARGE = Shape(64, 5120, 40, 8, 128, 27648, 152064, False, True, 131072)
ROWS = Lengths(10_000_000, 32_768, 9_000.0)
ASKED = {"messages": [{"role": "user", "content": "q" * 33}, {"role": "assistant", "content": "a" * 330}]}
H200, H100S = Hardware(1, 139.0, 989.0), Hardware(8, 79.0, 989.0)


def config(folder: Path, **changes: Any) -> Path:
    written = {
        "model_type": "qwen2",
        "num_hidden_layers": 28,
        "hidden_size": 1536,
        "num_attention_heads": 12,
        "num_key_value_heads": 2,
        "intermediate_size": 8960,
        "vocab_size": 151936,
        "tie_word_embeddings": True,
        "max_position_embeddings": 131072,
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(written | changes))
    return folder


def on(hardware: Hardware, shape: Shape = SMALL, rows: Lengths = ROWS, **settings: Any) -> SftSettings:
    return resolved(shape, SftSettings(**settings), hardware, rows, liger_installed=True)


def refusal(hardware: Hardware, shape: Shape = SMALL, rows: Lengths = ROWS, **settings: Any) -> str:
    with pytest.raises(UserError) as caught:
        on(hardware, shape, rows, **settings)
    return str(caught.value)


def test_parameters_are_those_of_the_published_checkpoints(tmp_path: Path) -> None:
    assert read_shape(config(tmp_path)) == SMALL
    assert parameters(SMALL) == 1_543_714_304 and parameters(SEVEN) == 7_615_616_512 and parameters(LARGE) == 32_763_876_352
    llama = {"model_type": "llama", "num_key_value_heads": 8, "head_dim": 64, "tie_word_embeddings": False}
    assert read_shape(config(tmp_path, **llama)) == Shape(28, 1536, 12, 8, 64, 8960, 151936, False, False, 131072)


def test_a_model_that_cannot_be_planned_says_why(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="mixture of experts"):
        read_shape(config(tmp_path / "moe", num_experts=64))
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(UserError, match="has no 'hidden_size': wanted a dense decoder"):
        read_shape(tmp_path)


def test_work_counts_the_head_once_and_half_of_the_attention() -> None:
    assert flops_per_token(SMALL, 16_384) == pytest.approx(13.49e9, rel=1e-3)
    assert flops_per_token(SEVEN, 0) == pytest.approx(6 * (7_615_616_512 - 152_064 * 3584), rel=1e-4)
    assert mfu(30_900, flops_per_token(SMALL, 16_384), 989) == pytest.approx(0.42, abs=0.005)  # as measured on an H200
    assert (peak_tflops("NVIDIA H200"), peak_tflops("NVIDIA H100 PCIe"), peak_tflops("Some GPU")) == (989.0, 756.0, None)


@pytest.mark.parametrize(
    ("strategy", "gib"),
    [("single", 18), ("ddp", 18 + 4), ("zero2", 2 + 16 / 8), ("zero3", 18 / 8), ("fsdp2", 16 / 8), ("zero3-offload", 0)],
)
def test_states_are_those_of_zero(strategy: Strategy, gib: float) -> None:
    memory = predict(SEVEN, Choice(strategy, 8, True, True, 1, 512, 2))
    states = memory.weights + memory.optimizer + memory.gradients + (4 * parameters(SEVEN) if strategy == "ddp" else 0)
    assert states == pytest.approx(gib * parameters(SEVEN))
    assert (memory.host > 0) == (strategy == "zero3-offload")


def test_checkpointing_and_liger_and_shorter_rows_take_less() -> None:
    def total(checkpointing: bool, liger: bool, rows: int = 1, length: int = 16_384) -> float:
        return predict(SMALL, Choice("single", 1, checkpointing, liger, rows, length, 4)).total / GIB

    assert total(True, True) < total(True, False) < total(False, True) < total(False, False)
    assert total(False, True, length=8_192) < total(False, True) == total(False, True, rows=2, length=8_192)
    # A bare loop with bf16 Adam states (8 bytes less of each parameter), measured at 41 GiB on an H200.
    masters = predict(SMALL, Choice("single", 1, False, True, 1, 16_384, 1)).total - 8 * parameters(SMALL)
    assert masters / GIB == pytest.approx(41, rel=0.05)


def test_a_whole_head_holds_its_logits_once_with_liger_and_thrice_in_fp32_without() -> None:
    def whole(liger: bool, rows: int = 1, bf16: bool = True) -> Choice:
        return Choice("single", 1, False, liger, rows, 16_384, 4, bf16, "whole")

    words = 16_384 * SMALL.vocabulary
    assert logits(SMALL, whole(True)) == 2 * words and logits(SMALL, whole(True, rows=2)) == 4 * words
    assert logits(SMALL, whole(False)) == 12 * words and logits(SMALL, whole(True, bf16=False)) == 4 * words
    extra = predict(SMALL, whole(True)).total - predict(SMALL, whole(True)._replace(head="tiled")).total
    assert extra / GIB == pytest.approx(3.5, abs=0.1)  # 4.6 GiB of logits, less the head's gradient in fp32 and the tiles


def test_the_head_is_whole_on_one_gpu_where_the_logits_fit() -> None:
    assert on(H200, max_length=16_384).head == "whole" and on(H200, max_length=16_384, liger="off").head == "tiled"
    between = Hardware(1, 64.0, 989.0)  # 59.1 GiB are needed with tiles and 62.6 without them; 60.9 can be had
    assert on(between, max_length=16_384).head == "tiled" and on(between, max_length=16_384, head="tiled").head == "tiled"
    assert on(between, max_length=16_384, head="whole").gradient_checkpointing is True
    assert (
        on(H100S, rows_per_step=128).head == "tiled" and on(H100S, rows_per_step=128, processes=1, max_length=8_192).head == "whole"
    )
    cpu, short = Hardware(0, 32.0, 0.1), Lengths(100, 64, 20.0)
    assert on(cpu, rows=short).head == "tiled" and on(cpu, rows=short, head="whole").head == "whole"
    assert "head whole is for one process and processes is 8" in refusal(H100S, head="whole", rows_per_step=128)


def test_the_fastest_layout_that_fits_is_recommended() -> None:
    one = recommended(options(SMALL, SftSettings(), H200, ROWS))
    assert one and (one.choice.checkpointing, one.choice.liger, one.choice.strategy) == (False, True, "single")
    eight = recommended(options(SEVEN, SftSettings(rows_per_step=128), H100S, ROWS))
    assert eight and eight.choice.strategy == "zero2" and eight.choice.checkpointing
    large = recommended(options(LARGE, SftSettings(rows_per_step=128), H100S, ROWS))
    assert large and large.choice.strategy == "zero3-offload" and large.memory.host / GIB > 500
    assert recommended(options(LARGE, SftSettings(), H200, ROWS)) is None


def test_hours_are_tokens_times_work_over_what_the_gpus_give() -> None:
    (first, *_) = options(SMALL, SftSettings(epochs=2), H200, ROWS)
    expected = 2 * ROWS.tokens * flops_per_token(SMALL, ROWS.mean) / (989e12 * first.mfu) / 3600
    assert first.hours == pytest.approx(expected) and 0.3 < first.mfu < 0.6


def test_what_is_auto_is_decided_for_the_machine() -> None:
    decided = on(H200, max_length=16_384)
    assert (decided.strategy, decided.processes, decided.precision, decided.attention) == ("single", 1, "bf16", "sdpa")
    assert (decided.gradient_checkpointing, decided.liger) == (False, "on")
    assert on(H200, max_length=32_768, rows_per_pass=4).gradient_checkpointing is True
    assert on(H200, packing=True).attention == "varlen" and on(H200, rows_per_pass=2).attention == "varlen"
    assert on(H100S, SEVEN, rows_per_step=128).strategy == "zero2"
    cpu = on(Hardware(0, 32.0, 0.1), rows=Lengths(100, 64, 20.0))
    assert (cpu.strategy, cpu.precision, cpu.liger, cpu.attention) == ("single", "fp32", "off", "sdpa")
    assert on(Hardware(0, 64.0, 0.1), rows=Lengths(100, 64, 20.0), processes=2).strategy == "ddp"
    assert resolved(SMALL, decided, H200, ROWS, liger_installed=True) == decided  # a process of a launch decides nothing anew


def test_a_batch_that_cannot_fit_is_refused_in_one_sentence() -> None:
    said = refusal(Hardware(1, 24.0, 989.0))
    assert (
        "a pass of 1 x 32,768 tokens through 1.54B parameters needs" in said and "does not fit a GPU of 24 GiB: take more" in said
    )
    assert "lower rows_per_pass or max_length" in refusal(H200, rows_per_step=32, rows_per_pass=32)
    assert on(H200, rows_per_pass=16, rows=Lengths(1000, 2_000, 1_000.0)).gradient_checkpointing is False  # no row is that long
    assert "does not fit this machine's 8 GiB, without a GPU" in refusal(Hardware(0, 8.0, 0.1))


def test_what_is_offloaded_must_fit_the_host() -> None:
    small, large = H100S._replace(host_gib=256.0), H100S._replace(host_gib=2_000.0)
    assert on(large, LARGE, rows_per_step=128).strategy == "zero3-offload"
    with pytest.raises(UserError, match="with zero3-offload alone, which keeps 549 GiB on the host, and that has 256"):
        on(small, LARGE, rows_per_step=128)
    unknown = plan_text(
        LARGE, SftSettings(rows_per_step=128), H100S, options(LARGE, SftSettings(rows_per_step=128), H100S, ROWS), ROWS
    )
    assert unknown.endswith("the host needs 549 GiB for it")


def test_more_gpus_than_a_host_has_are_several_hosts(tmp_path: Path) -> None:
    path = write_launch_files(Layout("zero3", 16, True), tmp_path, CONFIGS / "deepspeed")
    written = yaml.safe_load(path.read_text())
    assert (written["num_machines"], written["num_processes"]) == (2, 16)


def test_settings_that_the_machine_cannot_follow_are_refused() -> None:
    cpu = Hardware(0, 64.0, 0.1)
    assert "strategy zero3 needs GPUs and torch sees none" in refusal(cpu, strategy="zero3")
    assert "attention varlen needs a GPU" in refusal(cpu, attention="varlen")
    assert "liger=on needs a GPU" in refusal(cpu, liger="on")
    assert "processes is 4 and 1 GPUs are visible" in refusal(H200, processes=4)
    assert "attention varlen needs bf16 and precision is fp32" in refusal(H200, attention="varlen", precision="fp32")
    assert "strategy zero2 and 1 processes do not fit together" in refusal(H200, strategy="zero2")
    assert "rows_per_step 12 is no multiple of rows_per_pass 1 times 8 processes" in refusal(H100S, rows_per_step=12)
    with pytest.raises(ValueError, match="packing needs an attention that keeps rows apart"):
        SftSettings(packing=True, attention="eager")


def test_the_table_names_every_layout_and_what_to_set() -> None:
    found = options(LARGE, SftSettings(rows_per_step=128), H100S, ROWS)
    lines = plan_text(LARGE, SftSettings(rows_per_step=128), H100S, found, ROWS).splitlines()
    assert len([line for line in lines if line.endswith((" yes", " no"))]) == 20
    assert {line.split()[0] for line in lines[2:-2]} == {"ddp", "zero2", "fsdp2", "zero3", "zero3-offload"}
    assert (
        lines[-1] == "Recommended: --set strategy=zero3-offload --set processes=8 --set gradient_checkpointing=true --set liger=on "
        "--set head=tiled; the host needs 549 GiB for it"
    )
    single = plan_text(SMALL, SftSettings(), H200, options(SMALL, SftSettings(), H200, ROWS), ROWS).splitlines()
    assert [line.split()[1:4] for line in single[2:4]] == [["off", "on", "whole"], ["off", "on", "tiled"]] and len(single) == 10
    assert single[-1].endswith("--set gradient_checkpointing=false --set liger=on --set head=whole")
    nothing = options(LARGE, SftSettings(), H200, ROWS)
    assert "Nothing fits: a pass of 1 x 32,768 tokens" in plan_text(LARGE, SftSettings(), H200, nothing, ROWS)


@pytest.mark.parametrize("strategy", ["single", "ddp", "zero2", "zero3", "zero3-offload", "fsdp2"])
def test_accelerate_reads_what_launches_a_layout(strategy: Strategy, tmp_path: Path) -> None:
    from accelerate.commands.config.config_args import load_config_from_file

    path = write_launch_files(Layout(strategy, 4, True), tmp_path, CONFIGS / "deepspeed")
    read = load_config_from_file(str(path))
    kinds = {"single": "NO", "ddp": "MULTI_GPU", "fsdp2": "FSDP"}
    assert read.num_processes == 4 and read.distributed_type == kinds.get(strategy, "DEEPSPEED")
    written = yaml.safe_load(path.read_text())
    if strategy.startswith("zero"):
        named = json.loads(Path(written["deepspeed_config"]["deepspeed_config_file"]).read_text())
        assert named["zero_optimization"]["stage"] == int(strategy[4]) and "mixed_precision" not in written
        assert ("offload_optimizer" in named["zero_optimization"]) == (strategy == "zero3-offload")
        assert named["data_types"]["grad_accum_dtype"] == "fp32"
    else:
        assert written["mixed_precision"] == "bf16"


def test_a_plan_needs_no_weights_and_no_tokenizer(tmp_path: Path) -> None:
    rows = [{"messages": [{"role": "user", "content": "q" * 330}, {"role": "assistant", "content": "a" * 3300}]}] * 3
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    student = config(tmp_path / "student")
    asked = ["distill", str(tmp_path / "rows.jsonl"), "--student", str(student), "--runs", str(tmp_path), "--plan"]
    said = CliRunner().invoke(cli, [*asked, "--gpus", "2", "--gpu-memory-gib", "40"], catch_exceptions=False).output
    assert "1.54B parameters, 1 x 1,100 tokens a pass, 8 passes a step, 2 x 40 GiB; 3 epochs of 3,300 tokens" in said
    assert "student has no tokenizer: tokens are characters divided by 3.3" in said and "Recommended: --set strategy=zero2" in said
    assert (tmp_path / "students" / "plan-student-default" / "accelerate.yaml").is_file()
    for fixed, taken in (
        ("strategy=fsdp2", "strategy=fsdp2 "),
        ("gradient_checkpointing=true", "gradient_checkpointing=true "),
        ("liger=off", "liger=off "),
        ("processes=1", "strategy=single --set processes=1 "),
    ):
        of_it = CliRunner().invoke(cli, [*asked, "--gpus", "2", "--set", fixed], catch_exceptions=False).output
        assert taken in of_it[of_it.index("Recommended") :]
    without = CliRunner().invoke(cli, [*asked[:-1], "--gpus", "2"])
    assert without.exit_code == 2 and "use them with --plan" in without.output


@pytest.mark.parametrize(
    ("row", "settings", "words"),
    [
        ({"prompt": "1 + 1?", "completion": "2"}, [], "the rows have no column messages; they have prompt, completion"),
        ({"messages": "1 + 1?"}, [], "leaves nothing to train on"),
        ({"messages": [{"role": "user"}]}, [], "leaves nothing to train on"),
        (ASKED, ["max_length=8"], "leaves nothing to train on (judged by their characters): wanted examples"),
        (ASKED | {"outcome": "incorrect"}, [], "leaves nothing to train on"),
        (ASKED, ["rows_per_step=16"], "rows_per_step 16 is no multiple of rows_per_pass 1 times 3 processes"),
        (ASKED, ["processes=4"], "processes is 4 and the plan is for 3 GPUs"),
        (ASKED, ["strategy=single"], "strategy single and 3 processes do not fit together"),
    ],
)
def test_a_plan_refuses_what_the_training_would(row: dict[str, Any], settings: list[str], words: str, tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text(json.dumps(row) + "\n")
    values = [part for value in ("rows_per_step=12", *settings) for part in ("--set", value)]
    asked = [str(tmp_path / "rows.jsonl"), "--student", str(config(tmp_path / "student")), "--runs", str(tmp_path), "--gpus", "3"]
    with pytest.raises(UserError) as caught:
        CliRunner().invoke(cli, ["distill", *asked, "--plan", *values], catch_exceptions=False)
    assert words in str(caught.value)
