"""What our trainer does between a rollout and its loss: advantages, refills, rows and columns."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tiny_model import make_tiny_model
from trying import FAST, SPREAD, prompts, trained

from training.grpo_batches import by_length, chosen, ends, joined, share_of
from training.grpo_settings import GrpoSettings
from training.grpo_stage import make_trainer, ordered
from training.grpo_trainer import Rollout, advantages, differing, trainer_class
from training.settings import load
from training.sft_settings import SftSettings
from training.students import Student, open_student


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_model(tmp_path_factory.mktemp("tiny"))


@pytest.fixture
def student(tiny: Path, tmp_path: Path) -> Student:
    return open_student(str(tiny), SftSettings(), tmp_path / "served")


def test_advantages_of_each_baseline_by_hand() -> None:
    import torch

    rewards = torch.tensor([1.0, 0.0, 0.0, 0.0, 2.0, 2.0, 2.0, 2.0])

    def of(baseline: str, scale: str) -> list[float]:
        return [round(x, 3) for x in advantages(rewards, 4, baseline, scale).tolist()]

    assert of("group", "none") == [0.75, -0.25, -0.25, -0.25, 0, 0, 0, 0]
    assert of("group", "group")[:2] == [1.5, -0.5]  # by 0.5, the deviation of 1, 0, 0, 0 with n - 1
    assert of("leave-one-out", "none") == [1.0, -0.333, -0.333, -0.333, 0, 0, 0, 0]
    assert of("batch", "none") == [-0.125, -1.125, -1.125, -1.125, 0.875, 0.875, 0.875, 0.875]
    spread = 0.991  # of all eight
    assert of("batch", "batch")[4] == pytest.approx(0.875 / spread, abs=2e-3)


def test_what_cannot_be_judged_neither_earns_nor_moves_the_baseline() -> None:
    import torch

    nan = float("nan")
    found = advantages(torch.tensor([1.0, nan, 0.0, nan, nan, nan, nan, 3.0]), 4, "leave-one-out", "none")
    assert found.tolist() == [1.0, 0.0, -1.0, 0.0, 0.0, 0.0, 0.0, 0.0]


def test_refills_replace_silent_groups_and_stop_when_there_are_none_or_too_many() -> None:
    """The trainer's own choice of rows, on rollouts made by hand: a row is known by its completion."""
    import torch

    made = iter(
        [
            (torch.tensor([5.0, 5.0]), 30),  # silent again
            (torch.tensor([0.0, 1.0]), 40),
        ]
    )

    class ByHand(trainer_class()):  # type: ignore[misc]
        def __init__(self, most: int) -> None:
            self.num_generations, self.ours = 2, load(GrpoSettings, (f"max_refills={most}", "dynamic_sampling=true"))
            self.train_dataset = [{"prompt": "p"}] * 5
            self._metrics = {"train": {"refills": []}}
            self.args = self.state = self.processing_class = type("", (), {"seed": 1, "global_step": 0, "pad_token_id": 99})
            self.accelerator = type("", (), {"num_processes": 1, "process_index": 0, "device": "cpu"})

        def _rolled_out(self, inputs: list[dict[str, Any]]) -> Any:
            totals, first = next(made)
            assert len(inputs) == 2
            return rollout(batch(first, 2, width=3), totals)

    def rollout(made: dict[str, Any], totals: Any) -> Rollout:
        return Rollout(made, totals, differing(totals.unsqueeze(1), 2))

    def batch(first: int, rows: int, width: int) -> dict[str, Any]:
        ids = torch.arange(first, first + rows).unsqueeze(1).expand(rows, width)
        mask = torch.ones_like(ids)
        made = {"prompt_ids": ids, "prompt_mask": mask, "completion_ids": ids, "completion_mask": mask}
        return made | {"num_items_in_batch": mask.sum()}

    trainer = ByHand(most=9)
    whole, totals, speaking = trainer._refilled(rollout(batch(10, 4, width=2), torch.tensor([0.0, 1.0, 7.0, 7.0])))
    assert totals.tolist() == [0.0, 1.0, 0.0, 1.0] and trainer._metrics["train"]["refills"] == [2.0] and speaking.all()
    assert whole["prompt_ids"].tolist() == [[99, 10, 10], [99, 11, 11], [40, 40, 40], [41, 41, 41]]
    assert whole["completion_ids"].tolist() == [[10, 10, 99], [11, 11, 99], [40, 40, 40], [41, 41, 41]]
    assert whole["completion_mask"].tolist()[:2] == [[1, 1, 0], [1, 1, 0]] and whole["num_items_in_batch"] == 10
    made = iter([(torch.tensor([5.0, 5.0]), 30)])
    whole, totals, speaking = ByHand(most=1)._refilled(rollout(batch(10, 4, width=2), torch.tensor([0.0, 1.0, 7.0, 7.0])))
    assert whole["completion_ids"].size(0) == 4  # as many completions as ever: TRL counts on it
    assert advantages(totals, 2, "group", "none").tolist() == [-0.5, 0.5, 0, 0] and speaking.tolist() == [True, True, False, False]


def test_a_refill_asks_as_much_of_every_process_and_each_takes_its_part() -> None:
    import torch

    trainer = trainer_class().__new__(trainer_class())
    trainer.num_generations = 3
    for processes, missing, groups in ((1, 3, 1), (2, 3, 2), (2, 6, 2), (4, 3, 4), (6, 9, 4)):
        trainer.accelerator = type("", (), {"num_processes": processes, "process_index": 0})
        assert trainer._groups(missing) == groups
    trainer.accelerator = type("", (), {"num_processes": 2, "process_index": 1})
    assert trainer._mine([1, 2, 3, 4, 5, 6]) == [4, 5, 6] and trainer._mine(torch.arange(4)).tolist() == [2, 3]
    whole = {"completion_mask": torch.ones(4, 2), "advantages": torch.arange(4), "num_items_in_batch": torch.tensor(8)}
    mine = share_of(whole, 1, 2)
    assert mine["advantages"].tolist() == [2, 3] and mine["completion_mask"].shape == (2, 2) and mine["num_items_in_batch"] == 8


def test_dynamic_sampling_asks_whether_answers_are_judged_alike_not_how_long_they_are() -> None:
    """Four wrong answers of different length penalty are silent to DAPO; without a reward that judges, the sum has to do."""
    import torch

    right = torch.tensor([0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 1.0, 1.0, 1.0, 1.0])
    penalty = torch.tensor([0.0, -0.1, -0.5, -1.0, 0.0, 0.0, 0.0, 0.0, 0.0, -0.2, 0.0, 0.0])
    found = torch.stack([right, penalty], dim=1)

    def speaking(judging: list[int], *assignments: str) -> list[bool]:
        trainer = trainer_class().__new__(trainer_class())
        trainer.ours, trainer.judging = load(GrpoSettings, assignments), judging
        trainer.reward_weights = torch.tensor([2.0, 1.0])
        groups = differing(trainer._compared(found, (found * trainer.reward_weights).sum(1)), 4).view(3, 4)
        assert (groups.all(1) == groups.any(1)).all()
        return [bool(group) for group in groups.all(1)]

    assert speaking([0], "dynamic_sampling=true") == [False, True, False]
    assert speaking([], "dynamic_sampling=true") == [True, True, True]
    assert speaking([0], "dynamic_sampling=false") == [True, True, True]  # such a group teaches length


@pytest.mark.slow
def test_a_rollout_without_a_right_answer_is_silent_with_dynamic_sampling_alone(student: Student, tmp_path: Path) -> None:
    lengths = ("rewards={accuracy: 2.0, repetition: {words: 1}, language: 1.0}", "rollouts=1", "max_refills=1")
    (plain,) = trained(student, tmp_path / "plain", *lengths)
    (dynamic,) = trained(student, tmp_path / "dynamic", *lengths, "dynamic_sampling=true")
    assert plain["silent_groups"] == 0 and plain["grad_norm"] > 0
    assert dynamic["silent_groups"] == 1 and dynamic["refills"] == 1 and dynamic["grad_norm"] == 0


def test_joined_keeps_values_beside_their_tokens() -> None:
    import torch

    one = {"completion_ids": torch.tensor([[1, 2]]), "completion_mask": torch.tensor([[1, 1]]), "advantages": torch.tensor([0.5])}
    two = {
        "completion_ids": torch.tensor([[3], [4]]),
        "completion_mask": torch.tensor([[1], [1]]),
        "advantages": torch.tensor([1.0, 2.0]),
    }
    for part in (one, two):
        part["old_per_token_logps"] = -part["completion_ids"].float()
        part["num_items_in_batch"] = part["completion_mask"].sum()
    whole = joined([chosen(one, torch.tensor([True])), chosen(two, torch.tensor([1]))], pad_id=9)
    assert whole["completion_ids"].tolist() == [[1, 2], [4, 9]] and whole["num_items_in_batch"] == 3
    assert whole["old_per_token_logps"].tolist() == [[-1.0, -2.0], [-4.0, 0.0]] and whole["advantages"].tolist() == [0.5, 2.0]


def test_rows_of_a_step_are_sorted_by_length_and_stay_whole() -> None:
    import torch

    masks = torch.tensor([[1, 0, 0], [1, 1, 1], [1, 1, 0], [0, 0, 0]])
    rows = torch.arange(4)
    passes = [
        {"completion_mask": masks[at : at + 2], "advantages": rows[at : at + 2], "num_items_in_batch": torch.tensor(6)}
        for at in (0, 2)
    ]
    first, second = by_length(passes)
    assert [first["advantages"].tolist(), second["advantages"].tolist()] == [[1, 2], [0, 3]]
    assert second["completion_mask"].tolist() == [[1, 0, 0], [0, 0, 0]] and second["num_items_in_batch"] == 6


def test_columns_of_padding_are_left_out() -> None:
    import torch

    mask = torch.tensor([[0, 0, 1, 1, 1, 0, 0], [0, 1, 1, 1, 0, 0, 0]])
    assert ends(mask, prompt_width=3) == (1, 5)
    assert ends(mask[:1], prompt_width=4) == (2, 5)
    assert ends(torch.tensor([[0, 1, 1, 0, 0]]), prompt_width=3) == (1, 4)  # a completion that teaches nothing


@pytest.mark.slow
def test_less_padding_gives_the_same_probabilities(student: Student, tmp_path: Path) -> None:
    import torch
    from trl import GRPOTrainer

    settings = load(GrpoSettings, (*FAST, SPREAD))
    trainer = make_trainer(ordered(prompts(), settings), student, settings, tmp_path, "transformers")
    torch.manual_seed(0)
    ids = torch.randint(20, 300, (5, 19))
    mask = torch.tensor([[0] * (8 - p) + [1] * (p + c) + [0] * (11 - c) for p, c in ((3, 2), (5, 7), (2, 1), (5, 9), (4, 0))])
    asked = {"logits_to_keep": 11, "batch_size": 2, "compute_entropy": True}
    kept = mask[:, 8:].bool()
    ours = trainer._get_per_token_logps_and_entropies(trainer.model, ids, mask, **asked)
    theirs = GRPOTrainer._get_per_token_logps_and_entropies(trainer, trainer.model, ids, mask, **asked)
    for mine, other in zip(ours[:2], theirs[:2], strict=True):
        assert mine.shape == other.shape and torch.allclose(mine[kept], other[kept], atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("loss", ["grpo", "dapo", "dr_grpo"])
def test_sorting_by_length_changes_no_gradient(
    loss: str, student: Student, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    how = ("rollouts=1", f"loss_type={loss}", "completions_per_pass=2")
    (sorted_,) = trained(student, tmp_path / "a", *how)
    monkeypatch.setattr("training.grpo_trainer.by_length", lambda passes: passes)
    (as_they_came,) = trained(student, tmp_path / "b", *how)
    assert sorted_["grad_norm"] == pytest.approx(as_they_came["grad_norm"], rel=1e-4) and sorted_["grad_norm"] > 0


@pytest.mark.slow
@pytest.mark.parametrize("scale", ["group", "batch", "none"])
def test_our_advantages_are_trls_where_it_has_them(
    scale: str, student: Student, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    seen: list[tuple[Any, Any]] = []

    class Both(trainer_class()):  # type: ignore[misc]
        def _rolled_out(self, inputs: list[dict[str, Any]]) -> Any:
            made = super()._rolled_out(inputs)
            self.theirs = made.batch["advantages"].clone()
            return made

        def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> Any:
            batch = super()._generate_and_score_completions(inputs)
            seen.append((self.theirs, batch["advantages"]))
            return batch

    monkeypatch.setattr("training.grpo_stage.trainer_class", lambda: Both)
    trained(student, tmp_path, f"scale_rewards={scale}", "rollouts=1")
    ((theirs, ours),) = seen
    assert ours.abs().sum() > 0 and torch.allclose(theirs, ours, atol=1e-5)
