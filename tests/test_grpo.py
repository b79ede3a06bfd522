"""Students made on the spot learn by trying: real steps of TRL on a CPU, before, between and after."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from click.testing import CliRunner
from tiny_model import make_tiny_model
from trying import FAST, SPREAD, metrics, prompts, trained

from cards.model_card import render_model_card
from curation.errors import UserError
from factory.build import build
from factory.cli import cli
from factory.recipe import Changes, load_recipe
from factory.reinforcing import grpo
from training import grpo_settings
from training.apart import apart
from training.grpo_engine import require_server
from training.grpo_settings import GrpoSettings
from training.grpo_stage import Prompt, make_trainer, ordered, train_stage
from training.grpo_trainer import advantages
from training.rendering import prompt_text
from training.settings import load
from training.sft_settings import SftSettings
from training.students import Student, open_student


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_model(tmp_path_factory.mktemp("tiny"))


@pytest.fixture
def student(tiny: Path, tmp_path: Path) -> Student:
    return open_student(str(tiny), SftSettings(), tmp_path / "served")


def sums(folder: Path, count: int = 12, **columns: Any) -> Path:
    path = folder / "sums.jsonl"
    rows = [{"problem": f"What is {n} + 30?", "answer": str(n + 30), **columns} for n in range(count)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def said(where: Path | str, student: Path, folder: Path, *settings: str) -> str:
    with pytest.raises(UserError) as caught:
        grpo(str(where), str(student), None, (*FAST, *settings), runs=folder, out=None, command="")
    return str(caught.value)


@pytest.mark.slow
def test_a_student_tries_and_is_a_model_with_a_card(tiny: Path, tmp_path: Path) -> None:
    arguments = ["grpo", str(sums(tmp_path)), "--student", str(tiny), "--runs", str(tmp_path), "--config", "tiny"]
    done = CliRunner().invoke(cli, arguments, catch_exceptions=False)
    (folder,) = (tmp_path / "students").glob("*-tiny-*")
    assert done.exit_code == 0 and "parity gate passed before and after" in done.output and str(folder) in done.output
    lines = metrics(folder)
    assert [(line["step"], line["steps"]) for line in lines] == [(n, 4) for n in range(1, 5)]
    for line in lines:
        assert {
            "reward",
            "reward_std",
            "silent_groups",
            "truncated",
            "mean_tokens",
            "entropy",
            "unjudged",
            "sampling_seconds",
        } <= line.keys()
        assert set(line["rewards"]) == {"accuracy_reward", "tag_count_reward"} and 0 <= line["silent_groups"] <= 1
    made = json.loads((folder / "training_manifest.json").read_text())
    assert made["engine"] == "transformers" and made["training"]["rollouts"] == 4 and made["data"]["kept"] == 12
    card = render_model_card(folder)
    assert "## Trained on" in card and "sums" in card and "learning_rate" in card and "Training curve" in card
    assert (folder / "training.svg").read_text().startswith("<svg")
    assert not list((tmp_path / "students").glob(".*"))  # checkpoints are gone
    before = sorted(p.stat().st_mtime_ns for p in folder.iterdir())
    CliRunner().invoke(cli, arguments, catch_exceptions=False)
    assert sorted(p.stat().st_mtime_ns for p in folder.iterdir()) == before  # finished: a no-op


LLAMA = (
    "{{ bos_token }}{% for m in messages %}<|{{ m['role'] }}|>{{ m['content'] }}"
    "{% if m['role'] == 'assistant' %}</s>{% endif %}{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


@pytest.mark.slow
def test_a_llama_sees_its_first_token_once(tmp_path: Path) -> None:
    """TRL's own call gives a rendered prompt a second beginning of sequence; a server does not."""
    from transformers import LlamaConfig, LlamaForCausalLM, LlamaTokenizer

    tokenizer = LlamaTokenizer().train_new_from_iterator([f"What is {n} + 30? <think> the answer is 7" for n in range(99)], 300)
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|user|>", "<|assistant|>"], "pad_token": "<pad>"})
    tokenizer.chat_template, tokenizer.add_bos_token = LLAMA, True
    torch_ids = {
        "eos_token_id": tokenizer.eos_token_id,
        "bos_token_id": tokenizer.bos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    size = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    model = LlamaForCausalLM(LlamaConfig(vocab_size=len(tokenizer), max_position_embeddings=512, **size, **torch_ids))
    for part in (model, tokenizer):
        part.save_pretrained(tmp_path / "llama")
    found = open_student(str(tmp_path / "llama"), SftSettings(), tmp_path / "served")
    asked = prompt_text(found.tokenizer, [{"role": "user", "content": "What is 1 + 30?"}])
    rows = [Prompt(asked, "31", "math", str(n), "") for n in range(2)]
    trainer = make_trainer(rows, found, load(GrpoSettings, FAST), tmp_path, "transformers")
    (ids,), _, _ = trainer._tokenize_prompts([asked])
    bos = tokenizer.bos_token_id
    assert ids.count(bos) == 1 and found.tokenizer(asked)["input_ids"].count(bos) == 2
    folder = grpo(str(sums(tmp_path)), str(tmp_path / "llama"), "tiny", ("rollouts=1",), runs=tmp_path, out=None, command="")
    assert len(metrics(folder)) == 1


class Killed(Exception):
    pass


@pytest.mark.slow
def test_a_killed_training_goes_on_in_its_stage_and_ends_the_same(student: Student, tmp_path: Path) -> None:
    """Two stages with growing answers, several epochs, two steps a rollout; killed in the second stage and in the first."""
    # The reference is renewed between checkpoints.
    first = "{rollouts: 6, completions_per_step: 4, beta: 0.1, sync_ref_every_steps: 3}"
    stages = f"stages=[{first}, {{rollouts: 2, max_completion_tokens: 20}}]"
    whole = trained(student, tmp_path / "a", stages)

    def stop_at(stage: int, step: int) -> Any:
        def tell(line: dict[str, Any]) -> None:
            if (line["stage"], line["step"]) == (stage, step):
                raise Killed

        return tell

    for place in ((1, 11), (2, 2)):
        with pytest.raises(Killed):
            trained(student, tmp_path / "b", stages, tell=stop_at(*place))
    resumed = trained(student, tmp_path / "b", stages)
    fixed = ("stage", "step", "loss", "reward", "entropy", "mean_tokens", "learning_rate", "tokens")
    assert [[line.get(k) for k in fixed] for line in whole] == [[line.get(k) for k in fixed] for line in resumed]
    assert [line["stage"] for line in whole] == [1] * 12 + [2] * 2
    assert (
        max(line.get("max_tokens", 0) for line in whole if line["stage"] == 1)
        <= 12
        < max(line["max_tokens"] for line in whole[12:])
    )
    weights = [(tmp_path / name / "out" / "model.safetensors").read_bytes() for name in "ab"]
    assert weights[0] == weights[1]


ALGORITHMS = {
    "grpo": ("loss_type=grpo", "beta=0.04", "num_iterations=2", "sync_ref_every_steps=1"),
    "dr-grpo": ("loss_type=dr_grpo", "scale_rewards=none"),
    "dapo": ("loss_type=dapo", "epsilon_high=0.28", "delta=10", "dynamic_sampling=true", "mask_truncated_completions=true"),
    "gspo": ("loss_type=grpo", "importance_sampling_level=sequence", "epsilon=3e-4", "epsilon_high=4e-4"),
    "cispo": ("loss_type=cispo", "epsilon_high=5"),
    "rloo": ("loss_type=dr_grpo", "baseline=leave-one-out", "scale_rewards=none"),
    "reinforce++": ("loss_type=bnpo", "baseline=batch", "scale_rewards=batch"),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", ALGORITHMS)
def test_every_algorithm_moves_the_weights(name: str, student: Student, tmp_path: Path) -> None:
    lines = trained(student, tmp_path, "rollouts=1", "completions_per_step=4", *ALGORITHMS[name])
    assert len(lines) == (4 if name == "grpo" else 2)
    if name != "dapo":  # all answers are cut, and there such answers teach nothing
        assert any(line["grad_norm"] > 0 for line in lines)
    assert ("kl" in lines[0]) == (name == "grpo")


@pytest.mark.slow
def test_rloo_has_the_gradient_of_answers_weighed_by_their_advantage(student: Student, tmp_path: Path) -> None:
    """Of REINFORCE with each answer's log-probability, up to a constant, also where lengths differ: here 2, 9, 5 and 11 tokens."""
    import torch

    row = next(line for line in (grpo_settings.__doc__ or "").splitlines() if line.strip().startswith("RLOO  "))
    said = [pair.split() for pair in row.split("arXiv")[0].strip().removeprefix("RLOO").split(",")]
    assert {f"{key}={value}" for key, value in said} == set(ALGORITHMS["rloo"])
    settings = load(GrpoSettings, (*FAST, *ALGORITHMS["rloo"]))
    trainer = make_trainer(ordered(prompts(), settings), student, settings, tmp_path, "transformers")
    torch.manual_seed(0)
    ids = torch.randint(20, 300, (4, 16))
    mask = torch.tensor([[1] * n + [0] * (11 - n) for n in (2, 9, 5, 11)])
    ahead = torch.ones(4, 5, dtype=torch.long)
    earned = advantages(torch.tensor([1.0, 0.0, 1.0, 0.0]), 4, "leave-one-out", "none")
    inputs = {"prompt_ids": ids[:, :5], "prompt_mask": ahead, "completion_ids": ids[:, 5:], "completion_mask": mask}

    def gradient(loss: Any) -> Any:
        trainer.model.zero_grad()
        loss.backward()
        return torch.cat([p.grad.flatten() for p in trainer.model.parameters()])

    trainer.current_gradient_accumulation_steps = 1
    found = gradient(trainer._compute_loss(trainer.model, {**inputs, "advantages": earned, "num_items_in_batch": mask.sum()}))
    logits = trainer.model(input_ids=ids, attention_mask=torch.cat([ahead, mask], 1)).logits[:, 4:-1]
    logps = logits.log_softmax(-1).gather(2, ids[:, 5:, None]).squeeze(2)
    wanted = gradient(-(earned * (logps * mask).sum(1)).mean())
    assert torch.allclose(found * settings.max_completion_tokens, wanted, atol=1e-4) and wanted.abs().sum() > 1


@pytest.mark.slow
def test_doubt_teaches_nothing_and_is_counted(student: Student, tmp_path: Path) -> None:
    """The student's noise is no number, so the verifier cannot tell; the reward of form must not make up for it."""
    lines = trained(student, tmp_path, "doubt=skip", "rewards={accuracy: 1.0, overlong: 1.0, language: 5.0}", "rollouts=1")
    assert lines[0]["unjudged"] > 0.5
    if lines[0]["unjudged"] == 1:
        assert lines[0]["grad_norm"] == 0 and "reward" not in lines[0] and lines[0]["silent_groups"] == 1


@pytest.mark.slow
def test_an_illness_stops_the_training_and_keeps_a_checkpoint_from_before(student: Student, tmp_path: Path) -> None:
    ill = ("rollouts=8", "health_window=3", "max_truncated=0.2", "save_every_rollouts=1")
    with pytest.raises(
        UserError, match=r"stopped at step 3: truncated is .* over the last 3 rollouts, max_truncated is 0.2: answers"
    ):
        trained(student, tmp_path, *ill)
    kept = sorted(p.name for p in (tmp_path / "work" / "stage-1" / "checkpoints").glob("checkpoint-*"))
    assert kept == ["checkpoint-1", "checkpoint-2"]
    with pytest.raises(UserError, match="stopped at step 3") as again:  # as sick as before
        trained(student, tmp_path, *ill)
    assert str(again.value).endswith(
        "; there is no checkpoint from before it: begin anew with the same student and changed settings"
    )


@pytest.mark.slow
def test_a_loss_that_is_no_number_stops_the_training(tiny: Path, tmp_path: Path) -> None:
    import torch
    from safetensors.torch import load_file, save_file

    broken = Path(shutil.copytree(tiny, tmp_path / "broken"))
    weights = load_file(broken / "model.safetensors")
    weights["model.layers.1.mlp.down_proj.weight"] *= torch.inf
    save_file(weights, broken / "model.safetensors", metadata={"format": "pt"})
    assert "probabilities are nan or infinite after step 0; there is no checkpoint" in said(sums(tmp_path), broken, tmp_path)
    wild = ("learning_rate=1e30", "completions_per_step=4", "rollouts=3")  # the second step on one rollout
    found = said(sums(tmp_path), tiny, tmp_path, SPREAD, *wild)
    assert "the loss is nan" in found and "at step 2; there is no checkpoint" in found


@pytest.mark.slow
def test_prompts_are_those_of_a_run_within_a_band_of_pass_rates(tiny: Path, tmp_path: Path) -> None:
    changes = Changes(assignments=("source.count=20", "source.max_numbers=3"))
    run = build(load_recipe("countdown", changes), runs=tmp_path / "built")
    (file,) = (run / "problems").glob("*.parquet")
    ids = pl.read_parquet(file)["id"].to_list()
    table = pl.DataFrame({"problem_id": ids, "model": "m", "correct": [n % 5 for n in range(len(ids))], "judged": 4})
    table.write_parquet(tmp_path / "rates.parquet")
    band = (f"difficulty={tmp_path / 'rates.parquet'}", "min_pass_rate=0.25", "max_pass_rate=0.75", "rollouts=1")
    folder = grpo(str(run), str(tiny), None, (*FAST, "max_prompt_tokens=1000", *band), runs=tmp_path, out=None, command="")
    made = json.loads((folder / "training_manifest.json").read_text())
    assert made["data"]["dropped"] == {"too_easy": 4, "too_hard": 4} and made["data"]["kept"] == 12
    assert made["data"]["recipe_hash"] and made["data"]["sources"]
    assert "no model 'x'" in said(run, tiny, tmp_path, *band, "difficulty_models=[x]")
    nothing = said(run, tiny, tmp_path, band[0], "min_pass_rate=0.4", "max_pass_rate=0.45")
    assert "12 too_easy, 8 too_hard" in nothing and "with a pass rate from 0.4 to 0.45 (min_pass_rate" in nothing


@pytest.mark.slow
def test_mistakes_are_one_sentence(tiny: Path, tmp_path: Path) -> None:
    asked = sums(tmp_path)
    assert "max_prompt_tokens 3" in said(asked, tiny, tmp_path, "max_prompt_tokens=3")
    assert "12 prompt_too_long" in said(asked, tiny, tmp_path, "max_prompt_tokens=3")
    assert "the verifier reads (domain countdown, where" in said(asked, tiny, tmp_path, "domain=countdown")
    assert "are beyond the 4,096 positions" in said(asked, tiny, tmp_path, "max_completion_tokens=4090")
    assert "needs vLLM, which is not installed" in said(asked, tiny, tmp_path, "generation=vllm-colocate")
    assert "liger=true needs a GPU" in said(asked, tiny, tmp_path, "liger=true")
    assert "is for a GPU and there is none" in said(asked, tiny, tmp_path, "precision=bf16")
    assert "min_pass_rate and max_pass_rate need one" in said(asked, tiny, tmp_path, "min_pass_rate=0.1")
    assert "no reward 'acuracy'" in said(asked, tiny, tmp_path, "rewards={acuracy: 1}")
    assert "fewer than one rollout takes" in said(asked, tiny, tmp_path, "prompts_per_rollout=16")
    assert "12 no_gold" in said(sums(tmp_path, answer=None), tiny, tmp_path)
    bare = Path(shutil.copytree(tiny, tmp_path / "bare"))
    (bare / "chat_template.jinja").unlink()
    assert "no_template" in said(asked, bare, tmp_path)
    rows = tmp_path / "rows.jsonl"
    rows.write_text('{"problem": "What is 1 + 1?"}\n')
    assert "has no column for the gold answer; it has problem: set answer_column" in said(rows, tiny, tmp_path)
    assert "is no finished run" in said(tmp_path, tiny, tmp_path)
    (special := Path(shutil.copytree(tiny, tmp_path / "special")))
    text = (special / "tokenizer.json").read_text()
    named = json.loads(text)
    for token in named["added_tokens"]:
        token["special"] = True
    (special / "tokenizer.json").write_text(json.dumps(named))
    config = special / "tokenizer_config.json"
    config.write_text(config.read_text().replace('"special": false', '"special": true'))
    assert "has </think> and <think> as special tokens" in said(sums(tmp_path), special, tmp_path)
    assert "end_is_pad" in said(sums(tmp_path), tiny, tmp_path, "pad_token='<|im_end|>'")


@pytest.mark.slow
def test_what_is_rewarded_becomes_more_frequent(student: Student, tmp_path: Path) -> None:
    """Short answers pay, so the student learns to end its turn: 32 answers a rollout, 20 rollouts."""
    short = "rewards={overlong: {max_tokens: 12, buffer_tokens: 11}}"
    size = ("prompts_per_rollout=4", "samples_per_prompt=8", "completions_per_pass=32", "rollouts=20", "save_every_rollouts=20")
    lines = trained(student, tmp_path, short, *size, "learning_rate=5e-3")
    first, last = (sum(line["mean_tokens"] for line in part) / 5 for part in (lines[:5], lines[-5:]))
    assert last < first - 2


def test_a_server_that_does_not_answer_says_so() -> None:
    with pytest.raises(UserError, match=r"no vLLM answers at vllm_server_url http://127.0.0.1:9 \("):
        require_server("http://127.0.0.1:9")
    with pytest.raises(UserError, match="no vLLM answers at vllm_server_url nowhere"):
        require_server("nowhere")


@pytest.mark.slow
def test_bf16_weights_learn_by_their_masters(student: Student, tmp_path: Path) -> None:
    """Steps of 1e-6 round to nothing in bf16; the masters hold them, and a resumed training goes on with them."""
    import torch

    (line,) = trained(student, tmp_path, "precision=bf16", "rollouts=1", "learning_rate=1e-6")
    assert line["grad_norm"] > 0 and line["loss"] == line["loss"]
    settings = load(GrpoSettings, (*FAST, SPREAD, "precision=bf16", "rollouts=2", "learning_rate=1e-6"))

    def stop(line: dict[str, Any]) -> None:
        if line["step"] == 2:
            raise Killed

    with pytest.raises(Killed):
        train_stage(prompts(), student, settings, tmp_path / "stage", "transformers", stop)
    saved = torch.load(tmp_path / "stage" / "checkpoints" / "checkpoint-1" / "optimizer.pt", weights_only=True)
    assert {master.dtype for master in saved["masters"]} == {torch.float32}
    assert train_stage(prompts(), student, settings, tmp_path / "stage", "transformers", lambda line: None) == 1


def _refuse(tell: Any) -> int:
    raise UserError("too few prompts")


def _fall(tell: Any) -> int:
    """A child that is killed, as one is that takes too much memory."""
    import os
    import signal

    tell({"step": 1})
    os.kill(os.getpid(), signal.SIGKILL)
    return 0


@pytest.mark.slow
def test_a_stage_in_a_process_of_its_own_tells_the_same_and_a_lost_one_says_so(student: Student, tmp_path: Path) -> None:
    settings = load(GrpoSettings, (*FAST, SPREAD, "rollouts=1"))
    here: list[dict[str, Any]] = []
    there: list[dict[str, Any]] = []
    train_stage(prompts(), student, settings, tmp_path / "here", "transformers", here.append)
    apart(train_stage, prompts(), student, settings, tmp_path / "there", "transformers", tell=there.append)
    fixed = ("step", "loss", "reward", "entropy", "grad_norm")
    assert [[line[k] for k in fixed] for line in here] == [[line[k] for k in fixed] for line in there]
    assert (tmp_path / "there" / "model" / "config.json").is_file()
    with pytest.raises(UserError, match="too few prompts"):
        apart(_refuse, tell=there.append)
    with pytest.raises(UserError, match="ended with status -9 and no word"):
        apart(_fall, tell=there.append)
    assert there[-1] == {"step": 1}
