"""TRL's GRPOTrainer with what it lacks: dynamic sampling, other baselines, doubt that teaches nothing, our tokens, less padding.

Checked against the source of TRL 1.16.0; each method says which of its it stands before.
"""

from __future__ import annotations

import random
import time
from pathlib import Path
from typing import Any, NamedTuple

from curation.errors import UserError
from training.grpo_batches import Batch, by_length, chosen, ends, joined, of_all_processes, share_of
from training.grpo_lines import kept_before
from training.grpo_reference import keep_reference
from training.rendering import encode


def advantages(rewards: Any, samples: int, baseline: str, scale: str) -> Any:
    """What each completion earns beyond its baseline, in units of a standard deviation where one is asked for.

    `rewards` is a tensor, NaN where nothing could be judged, `samples` completions of a prompt in a row. Baselines: the group's
    mean (GRPO, arXiv 2402.03300), the mean of the others of the group (RLOO, 2402.14740), the batch's mean (REINFORCE++,
    2501.03262). Where there is nothing to compare with, and for NaN, the advantage is 0.
    """
    import torch

    grouped = rewards.view(-1, samples)
    known = (~grouped.isnan()).sum(1, keepdim=True)
    found = grouped - (rewards.nanmean() if baseline == "batch" else grouped.nanmean(1, keepdim=True))
    if baseline == "leave-one-out":  # r - mean of the others = (r - mean) * n / (n - 1)
        found = found * known / (known - 1).clamp(min=1)
    if scale == "group":
        found = found / (spread(grouped) + 1e-4)  # 1e-4 as TRL has it
    elif scale == "batch":
        found = found / (spread(rewards.view(1, -1)) + 1e-4)
    return torch.nan_to_num(found.reshape(-1), nan=0.0)


def spread(grouped: Any) -> Any:
    """Standard deviation of each row, its NaNs left out, n - 1 in the denominator; 0 where fewer than two are known. (rows, 1)"""
    known = (~grouped.isnan()).sum(1, keepdim=True)
    squares = (grouped - grouped.nanmean(1, keepdim=True)).square().nansum(1, keepdim=True)
    return (squares / (known - 1).clamp(min=1)).sqrt()


def differing(columns: Any, samples: int) -> Any:
    """Mask of the completions whose group differs in at least one column; `columns` is (completions, columns), NaN for none."""
    import torch

    spreads = [spread(column.view(-1, samples)) for column in columns.unbind(1)]
    return (torch.stack(spreads).amax(0) > 1e-8).repeat(1, samples).reshape(-1)


class Rollout(NamedTuple):
    """Completions, `samples` of a prompt in a row; of several processes the rows lie one behind the other."""

    batch: Batch  # this process's rows
    totals: Any  # weighted sum of the rewards, of all processes; NaN where nothing could be judged
    speaking: Any  # mask of the same: of groups that teach


def trainer_class() -> Any:
    """The class; made in here, since TRL takes seconds to import."""
    import torch
    from trl import GRPOTrainer

    class Reinforcer(GRPOTrainer):  # type: ignore[misc]  # TRL is not typed for mypy here
        """`ours` and `judging` are set before training starts. Every process decides the same from the rewards of all."""

        ours: Any  # GrpoSettings
        judging: list[int]  # which of the rewards ask the verifier
        sampling_s: float  # of the rollout that is being made
        _buffered_inputs: Any  # TRL's: the passes of the rollout

        def _tokenize_prompts(self, prompts: list[str]) -> tuple[list[list[int]], None, dict[str, Any]]:
            """Rendered prompts as a server tokenises them: TRL's own call adds a second beginning-of-sequence token."""
            return [encode(self.processing_class, text) for text in prompts], None, {}

        def _calculate_rewards(self, inputs: Any, prompts: Any, completions: Any, completion_ids_list: Any) -> Any:
            """Where the verifier cannot tell, no other reward counts: TRL would sum the rest, and doubt would pass for wrong."""
            found = super()._calculate_rewards(inputs, prompts, completions, completion_ids_list)
            found[found[:, self.judging].isnan().any(dim=1)] = torch.nan
            total = (found * self.reward_weights.to(found.device)).nansum(dim=1)
            total[found.isnan().all(dim=1)] = torch.nan
            self.totals = total
            self.speaking = differing(self._compared(found, total), self.num_generations)
            return found

        def _compared(self, found: Any, total: Any) -> Any:
            """What a group must differ in. DAPO drops groups whose accuracy is all 0 or all 1, however long their answers are."""
            if self.ours.dynamic_sampling and self.judging:
                return (found * self.reward_weights.to(found.device))[:, self.judging]
            return total.unsqueeze(1)

        def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> Batch:
            """A rollout with our advantages; with dynamic sampling where it is asked for (DAPO, arXiv 2503.14476)."""
            self.sampling_s = 0.0
            made = self._rolled_out(inputs)
            if self.ours.dynamic_sampling:
                made = self._refilled(made)
            self._metrics["train"]["sampling_seconds"].append(self.sampling_s)
            earned = advantages(made.totals, self.num_generations, self.ours.baseline, self.ours.scale_rewards)
            made.batch["advantages"] = self._mine(earned)
            return made.batch

        def _mine(self, rows: Any) -> Any:
            """This process's part of a tensor or list with a row for each completion of all processes."""
            each = len(rows) // self.accelerator.num_processes
            return rows[self.accelerator.process_index * each :][:each]

        def _generate(self, prompts: list[Any]) -> Any:
            """How long a rollout's answers take, weights to vLLM included: TRL tells it to its own trackers alone."""
            began = time.monotonic()
            found = super()._generate(prompts)
            self.sampling_s += time.monotonic() - began
            return found

        def _rolled_out(self, inputs: list[dict[str, Any]]) -> Rollout:
            try:
                batch = super()._generate_and_score_completions(inputs)
            except RuntimeError as error:  # torch.multinomial's, on the CPU; a GPU stops at the loss
                if "probability tensor" not in str(error):
                    raise
                raise UserError(_no_numbers(Path(self.args.output_dir), self.state.global_step)) from None
            metrics = self._metrics["train"]
            # TRL compares all rewards with its own scale, and holds groups without any judgement for groups that differ.
            metrics["frac_reward_zero_std"][-1] = 1 - self.speaking.float().mean().item()
            metrics["unjudged"].append(self.totals.isnan().float().mean().item())
            return Rollout(batch, self.totals, self.speaking)

        def _refilled(self, first: Rollout) -> Rollout:
            """Silent groups make room for new prompts; those still there after max_refills earn nothing, as if dropped.

            Every process has the rows of all meanwhile, since what speaks lies on them as it comes, and takes an equal part at the
            end: in the host's memory, since ten rollouts of long answers would be gigabytes beside the student.
            """
            wanted = first.totals.numel()
            # By seed and step, so that a resumed training draws the same.
            draw = random.Random(f"{self.args.seed}-{self.state.global_step}")
            rows_of_first = self._all(first.batch)
            parts, scores = [chosen(rows_of_first, first.speaking)], [first.totals[first.speaking]]
            refills = 0
            while (missing := wanted - sum(s.numel() for s in scores)) and refills < self.ours.max_refills:
                draws = [draw.randrange(len(self.train_dataset)) for _ in range(self._groups(missing))]
                asked = self._mine([at for at in draws for _ in range(self.num_generations)])
                more = self._rolled_out([dict(self.train_dataset[at]) for at in asked])
                speaking = more.speaking.nonzero().squeeze(1)[:missing]
                parts.append(chosen(self._all(more.batch), speaking))
                scores.append(more.totals[speaking])
                refills += 1
            if missing:  # TRL counts on as many completions as ever
                silent = (~first.speaking).nonzero().squeeze(1)[:missing]
                parts.append(chosen(rows_of_first, silent))
                scores.append(torch.full_like(first.totals[silent], torch.nan))
            self._metrics["train"]["refills"].append(float(refills))
            totals = torch.cat(scores)
            whole = joined(parts, self.processing_class.pad_token_id)
            mine = share_of(whole, self.accelerator.process_index, self.accelerator.num_processes)
            there = {name: value.to(self.accelerator.device) for name, value in mine.items()}
            return Rollout(there, totals, ~totals.isnan())

        def _all(self, batch: Batch) -> Batch:
            return of_all_processes(batch, self.accelerator, self.processing_class.pad_token_id)

        def _groups(self, missing: int) -> int:
            """Groups to sample for so many missing rows: as many as every process can have an equal part of."""
            enough, each = missing // self.num_generations, self.accelerator.num_processes
            return next(n for n in range(enough, enough + each) if n * self.num_generations % each == 0)

        def _save_checkpoint(self, model: Any, trial: Any) -> None:
            """Before the rest, since the file that makes a checkpoint a whole one is written last."""
            if self.ours.sync_ref_every_steps:
                keep_reference(self, Path(self.args.output_dir) / f"checkpoint-{self.state.global_step}")
            super()._save_checkpoint(model, trial)

        def _prepare_inputs(self, generation_batch: Any) -> Batch:
            """A rollout's rows, sorted by length within a step where the loss does not depend on what shares a pass."""
            before = self._buffered_inputs
            inputs: Batch = super()._prepare_inputs(generation_batch)
            if self._buffered_inputs is before or self.ours.loss_type == "bnpo" or self.ours.entropy_coef:
                return inputs
            each, passes = self.args.gradient_accumulation_steps, self._buffered_inputs
            self._buffered_inputs = [b for at in range(0, len(passes), each) for b in by_length(passes[at : at + each])]
            inputs = self._buffered_inputs[self._step % self.args.steps_per_generation]
            return inputs

        def _get_per_token_logps_and_entropies(
            self, model: Any, input_ids: Any, attention_mask: Any, logits_to_keep: int, batch_size: int | None = None, **asked: Any
        ) -> tuple[Any, Any, Any]:
            """Without the columns that are padding in a pass: TRL pads all passes to the longest of the whole rollout."""
            prompt_width, size = input_ids.size(1) - logits_to_keep, batch_size or input_ids.size(0)
            found = []
            for ids, mask in zip(input_ids.split(size), attention_mask.split(size), strict=True):
                left, right = ends(mask, prompt_width)
                part = super()._get_per_token_logps_and_entropies(
                    model, ids[:, left:right], mask[:, left:right], right - prompt_width, **asked
                )
                missing = (0, input_ids.size(1) - right)
                found.append((*(None if p is None else torch.nn.functional.pad(p, missing) for p in part[:2]), part[2]))
            logps, entropies, losses = zip(*found, strict=True)
            return (
                torch.cat(logps),
                None if entropies[0] is None else torch.cat(entropies),
                None if losses[0] is None else torch.stack(losses).mean(),
            )

    return Reinforcer


def _no_numbers(checkpoints: Path, step: int) -> str:
    return (
        f"the student's probabilities are nan or infinite after step {step}; {kept_before(checkpoints, step - 1)}: "
        "lower learning_rate, or look at the student's weights"
    )
