"""Whole logits and tiles of them: the same losses, gradients and metrics, over passes and through a training that is killed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import torch
from tiny_model import make_tiny_model
from torch.nn.functional import pad

from training.settings import load
from training.sft import make_trainer, train, trainer_arguments
from training.sft_settings import Head, SftSettings
from training.students import open_student

pytestmark = pytest.mark.slow  # torch takes seconds to load

FAST = ("max_length=600", "epochs=3", "rows_per_step=4", "learning_rate=3e-3", "precision=fp32", "attention=sdpa", "warmup=0")


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_model(tmp_path_factory.mktemp("tiny"))


def rows(count: int, vocabulary: int = 250) -> list[tuple[list[int], list[int]]]:
    """Token ids and labels of rows of different lengths; a prompt is not learned, nor is a stretch in the middle."""
    draw = torch.Generator().manual_seed(0)
    made = []
    for n in range(count):
        ids = torch.randint(0, vocabulary, (20 + 7 * n,), generator=draw)
        labels = ids.clone()
        labels[:6], labels[10:13] = -100, -100
        made.append((ids.tolist(), labels.tolist()))
    return made


def model_of(kind: str) -> Any:
    from transformers import LlamaConfig, LlamaForCausalLM, Qwen2Config, Qwen2ForCausalLM

    sizes = {"vocab_size": 600, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
    torch.manual_seed(1)
    if kind == "qwen2":
        return Qwen2ForCausalLM(Qwen2Config(**sizes, num_key_value_heads=2, initializer_range=0.3, tie_word_embeddings=True))
    return LlamaForCausalLM(LlamaConfig(**sizes, initializer_range=0.3))


def trainer_of(kind: str, head: Head, tiny: Path, folder: Path) -> Any:
    from datasets import Dataset
    from transformers import AutoTokenizer

    settings = SftSettings(head=head, liger="off", strategy="single", processes=1, precision="fp32", attention="sdpa")
    arguments = trainer_arguments(settings, folder, cuda=False)
    data = Dataset.from_dict({"input_ids": [ids for ids, _ in rows(2)], "labels": [labels for _, labels in rows(2)]})
    return make_trainer(model_of(kind), AutoTokenizer.from_pretrained(tiny), data, arguments, settings)


def padded(some: list[tuple[list[int], list[int]]]) -> dict[str, torch.Tensor]:
    longest = max(len(ids) for ids, _ in some)
    ids, labels = (
        torch.stack([pad(torch.tensor(row[n]), (0, longest - len(row[n])), value=fill) for row in some])
        for n, fill in ((0, 0), (1, -100))
    )
    return {
        "input_ids": ids,
        "labels": labels,
        "attention_mask": torch.tensor([[1] * len(i) + [0] * (longest - len(i)) for i, _ in some]),
    }


def in_one_sequence(some: list[tuple[list[int], list[int]]]) -> dict[str, torch.Tensor]:
    """As TRL packs: the first word of a row is never learned, so no row learns from the one before."""
    joined = {"input_ids": [t for ids, _ in some for t in ids], "labels": [t for _, labels in some for t in labels]}
    joined["position_ids"] = [n for ids, _ in some for n in range(len(ids))]
    return {name: torch.tensor([values]) for name, values in joined.items()}


def nothing_learned(some: list[tuple[list[int], list[int]]]) -> dict[str, torch.Tensor]:
    return padded([(ids, [-100] * len(ids)) for ids, _ in some])


@pytest.mark.parametrize("kind", ["qwen2", "llama"])
def test_losses_gradients_and_metrics_are_those_of_tiles(kind: str, tiny: Path, tmp_path: Path) -> None:
    found = []
    for head in ("tiled", "whole"):
        trainer = trainer_of(kind, head, tiny, tmp_path)
        trainer.model.train()
        passes = [padded(rows(3)), in_one_sequence(rows(2)), nothing_learned(rows(1))]
        count = sum((batch["labels"][:, 1:] != -100).sum() for batch in passes)
        losses = [trainer.compute_loss(trainer.model, dict(batch), num_items_in_batch=count) for batch in passes]
        torch.stack(losses).sum().backward()
        alone = trainer.compute_loss(trainer.model, padded(rows(3)))  # a mean of its own
        kept = {name: [float(v) for v in trainer._metrics["train"][name]] for name in ("mean_token_accuracy", "num_tokens")}
        gradients = {name: p.grad for name, p in trainer.model.named_parameters()}
        found.append(([float(loss.detach()) for loss in [*losses, alone]], kept, gradients))
    (tiled, tiled_metrics, expected), (whole, whole_metrics, gradients) = found
    assert whole == pytest.approx(tiled, rel=1e-6) and whole[2] == 0 and whole[3] > sum(whole[:2]) / 2
    assert whole_metrics == tiled_metrics and whole_metrics["num_tokens"] == [81 + 47 + 20 + 81]
    for name, gradient in gradients.items():
        torch.testing.assert_close(gradient, expected[name], rtol=1e-4, atol=1e-6)


class Killed(Exception):
    pass


def metrics(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("layout", [("rows_per_pass=2",), ("rows_per_pass=1", "packing=true", "rows_per_step=2", "max_length=70")])
def test_a_training_ends_as_with_tiles_also_when_it_was_killed(layout: tuple[str, ...], tiny: Path, tmp_path: Path) -> None:
    data = tmp_path / "rows.parquet"
    pl.DataFrame([{"input_ids": ids, "labels": labels} for ids, labels in rows(8)]).write_parquet(data)

    def run(head: str, name: str, stop_at: int = 0) -> list[dict[str, Any]]:
        settings = load(SftSettings, (*FAST, f"head={head}", "save_every_steps=2", *layout))

        def tell(line: dict[str, Any]) -> None:
            if line["step"] == stop_at:
                raise Killed

        train(
            [data],
            open_student(str(tiny), settings, tmp_path / "served"),
            settings,
            tmp_path / name,
            tmp_path / f"out-{name}",
            tell,
        )
        return metrics(tmp_path / f"out-{name}")

    tiled, whole = run("tiled", "tiled"), run("whole", "whole")
    with pytest.raises(Killed):
        run("whole", "killed", stop_at=3)
    resumed = run("whole", "killed")
    assert len(whole) == len(tiled) >= 6 and whole[-1]["loss"] < whole[0]["loss"] - 0.5
    for key in ("loss", "mean_token_accuracy", "tokens", "grad_norm"):
        assert [line[key] for line in whole] == pytest.approx([line[key] for line in tiled], rel=2e-3), key
        assert [line[key] for line in resumed] == [line[key] for line in whole], key
