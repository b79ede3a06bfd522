"""The student while it learns: supervised steps on rows of tokens, and GRPO's.

GRPO (arXiv 2402.03300) as Dr. GRPO and DAPO have it: rewards less their group's mean and not divided by its spread, one mean over
all tokens of a step, a ratio clipped to 0.8 and 1.28, no KL (arXiv 2503.20783, 2503.14476).
"""

from __future__ import annotations

import math
import random
import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from countdown_steps import WIDTHS, Steps
from countdown_traces import Puzzle, Row, Tellers
from tokenizers import Tokenizer

Say = Callable[[str], None]
WARMUP = 0.05  # of the time
FLOOR = 0.02  # of the learning rate, at the end of the cosine
CLIP_LOW, CLIP_HIGH = 0.2, 0.28
STEPS_PER_ROLLOUT = 4


class Learner:
    def __init__(self, folder: Path, device: str, pass_tokens: int, step_tokens: int, rng: random.Random) -> None:
        from transformers import AutoModelForCausalLM

        if device == "cuda":
            _fused_kernels()
        self.encoder = Tokenizer.from_file(str(folder / "tokenizer.json"))
        model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="sdpa").to(device).train()
        self.steps = Steps(model, device)
        self.model = self.steps.model
        self.end_id: int = self.model.config.eos_token_id
        self.parameters = sum(p.numel() for p in self.steps.masters)
        self.device, self.pass_tokens, self.step_tokens, self.rng = device, pass_tokens, step_tokens, rng
        self.told: list[Row] = []  # the oracle's traces

    def row(self, prompt: Sequence[int], answer: Sequence[int]) -> Row:
        return Row(np.array([*prompt, *answer], dtype=np.uint16), len(prompt))

    def text(self, row: Row) -> str:
        """The answer as a server gives it: without special tokens."""
        return str(self.encoder.decode(row.ids[row.start :].tolist(), skip_special_tokens=True))

    def save(self, folder: Path) -> Path:
        """The weights alone, for an engine that has the rest."""
        from safetensors.torch import save_file

        folder.mkdir(exist_ok=True)
        weights = {n: p.detach().to(torch.bfloat16).contiguous() for n, p in self.model.named_parameters()}
        save_file(weights, folder / ".new", metadata={"format": "pt"})
        (folder / ".new").rename(folder / "model.safetensors")
        return folder

    def save_whole(self, folder: Path, like: Path) -> Path:
        shutil.copytree(like, folder, dirs_exist_ok=True)
        self.model.save_pretrained(folder)
        return folder

    # Supervised

    def imitate_told(self, tellers: Tellers, seconds: float, rate: float, say: Say) -> dict[str, Any]:
        """Learn traces while they are told, for a given time; the cosine follows the clock."""
        pool = self.told
        tellers.gather(pool)
        while len(pool) < 1000:
            assert all(process.is_alive() for process in tellers.running), "a process that tells traces has died"
            time.sleep(0.1)
        began, tokens, seen, curve, step = time.monotonic(), 0, 0, [], 0
        while (share := (time.monotonic() - began) / seconds) < 1:
            # Half of them from the newest tenth: every trace is seen soon, and old ones come back.
            newest = len(pool) - max(1, len(pool) // 10)
            picks = [self.rng.randrange(newest if n % 2 else 0, len(pool)) for n in range(4096)]
            for batch in self._shaped([pool[n] for n in picks])[:32]:
                factor = min(1.0, share / WARMUP) * max(FLOOR, 0.5 + 0.5 * math.cos(math.pi * share))
                loss = self._learn(batch, rate * factor)
                step, tokens, seen = step + 1, tokens + sum(len(r.ids) for r in batch), seen + len(batch)
                if step % 250 == 0:
                    at = time.monotonic() - began
                    curve.append({"step": step, "s": round(at, 1), "tokens": tokens, "loss": round(float(loss), 5)})
                    say(f"step {step:,}, loss {curve[-1]['loss']:.4f}, {tokens / at:,.0f} tokens/s, {len(pool):,} traces told")
        spent = time.monotonic() - began
        facts = {"told": len(pool), "seen": seen, "steps": step, "tokens": tokens, "train_s": round(spent, 1)}
        return {**facts, "tokens_per_second": round(tokens / spent), "curve": curve}

    def imitate(self, rows: Sequence[Row], epochs: int, rate: float) -> dict[str, Any]:
        """Learn rows, each once an epoch, with a new optimiser; the cosine follows the steps."""
        if not rows:
            return {"tokens": 0, "train_s": 0.0}
        self.steps.forget()
        began = time.monotonic()
        batches = [b for _ in range(epochs) for b in self._shaped(rows)]
        for n, batch in enumerate(batches):
            warm = min(1.0, (n + 1) / (0.1 * len(batches) + 1))
            self._learn(batch, rate * warm * max(FLOOR, 0.5 + 0.5 * math.cos(math.pi * n / len(batches))))
        return {
            "steps": len(batches),
            "tokens": sum(len(r.ids) for b in batches for r in b),
            "train_s": round(time.monotonic() - began, 1),
        }

    def _shaped(self, rows: Sequence[Row]) -> list[list[Row]]:
        """Rows of one width together, as many as make a step; in random order, and the last ones of a width may be fewer."""
        by_width: dict[int, list[Row]] = {}
        for row in self.rng.sample(list(rows), len(rows)):
            by_width.setdefault(_width(row), []).append(row)
        found = [
            own[at : at + count]
            for width, own in by_width.items()
            for count in [max(1, self.step_tokens // width)]
            for at in range(0, len(own), count)
        ]
        self.rng.shuffle(found)
        return found

    def _learn(self, batch: Sequence[Row], rate: float) -> torch.Tensor:
        width = max(map(_width, batch))
        return self.steps.learn(*_padded(batch, max(1, self.step_tokens // width), width), rate)

    # GRPO

    def reinforce(
        self,
        fresh: Callable[[int], list[Puzzle]],
        complete: Callable[[Sequence[Puzzle], int], list[list[Row]]],
        judge: Callable[[Learner, Sequence[Puzzle], Sequence[Sequence[Row]]], list[list[Any]]],
        *,
        seconds: float,
        prompts: int,
        rate: float,
        say: Say,
    ) -> dict[str, Any]:
        """Rollouts of `prompts` fresh puzzles each and steps on them, for a given time; the rate falls to 0 with it.

        Fresh and unselected: on puzzles that it had failed before, the student gained 9 points, and none on held-out ones.
        """
        self.steps.forget()
        began, curve, longest = time.monotonic(), [], 0.0
        while (spent := time.monotonic() - began) + longest < seconds:
            started = time.monotonic()
            chosen = fresh(prompts)
            rows = complete(chosen, self.rng.randrange(1 << 30))
            sampled_s = time.monotonic() - started
            rewards = [[float(v.outcome == "correct") for v in own] for own in judge(self, chosen, rows)]
            told = [
                (row, r - sum(own) / len(own))
                for own, group in zip(rewards, rows, strict=True)
                for row, r in zip(group, own, strict=True)
            ]
            self._improve([(row, a) for row, a in told if a], rate * min(1.0, (len(curve) + 1) / 3) * (1 - spent / seconds))
            every = [row for group in rows for row in group]
            line = {
                "rollout": len(curve) + 1,
                "reward": round(float(np.mean(rewards)), 4),
                "silent_groups": round(float(np.mean([len(set(own)) == 1 for own in rewards])), 4),
                "mean_tokens": round(float(np.mean([len(r.ids) - r.start for r in every])), 1),
                "truncated": round(float(np.mean([int(r.ids[-1]) != self.end_id for r in every])), 4),
                "sampling_s": round(sampled_s, 2),
                "s": round(time.monotonic() - started, 2),
            }
            curve.append(line)
            longest = max(longest, line["s"])
            say(f"GRPO: {line}")
        return {
            "rollouts": len(curve),
            "completions": len(curve) * prompts * 8,
            "train_s": round(time.monotonic() - began, 1),
            "curve": curve,
        }

    def _improve(self, told: Sequence[tuple[Row, float]], rate: float) -> None:
        """Steps on one rollout; completions of groups without a spread have no advantage and are left out before."""
        advantage = {id(row): a for row, a in told}
        shuffled = self.rng.sample([row for row, _ in told], len(told))
        before: dict[int, torch.Tensor] = {}
        with torch.no_grad():
            for batch in self._batches(shuffled):
                before |= {id(r): p[: len(r.ids) - 1] for r, p in zip(batch, self._probabilities(batch)[0], strict=True)}
        for n in range(STEPS_PER_ROLLOUT):
            part = shuffled[n::STEPS_PER_ROLLOUT]
            tokens = sum(len(r.ids) - r.start for r in part)
            for batch in self._batches(part):
                now, learned = self._probabilities(batch)
                old = torch.nn.utils.rnn.pad_sequence([before[id(r)] for r in batch], batch_first=True)
                gain = torch.tensor([advantage[id(r)] for r in batch], device=now.device).unsqueeze(-1)
                ratio = (now - old).exp()
                clipped = ratio.clamp(1 - CLIP_LOW, 1 + CLIP_HIGH)
                loss = -(torch.minimum(ratio * gain, clipped * gain) * learned).sum() / tokens
                loss.backward()
            if part:
                self.steps.update(rate)

    def _batches(self, rows: Sequence[Row]) -> list[list[Row]]:
        """Rows of nearly equal length together, each batch within the tokens of a pass, in random order."""
        found: list[list[Row]] = []
        for row in sorted(rows, key=lambda r: len(r.ids)):
            if not found or (len(found[-1]) + 1) * len(row.ids) > self.pass_tokens:
                found.append([])
            found[-1].append(row)
        self.rng.shuffle(found)
        return found

    def _probabilities(self, batch: Sequence[Row]) -> tuple[torch.Tensor, torch.Tensor]:
        """The log-probability of every token but the first, 0 outside of answers; and where the answers are."""
        ids, learned = (x.to(self.device) for x in _padded(batch, len(batch), max(len(r.ids) for r in batch)))
        logits = self.model(input_ids=ids, use_cache=False).logits[:, :-1]
        chosen = torch.log_softmax(logits.float(), -1).gather(-1, ids[:, 1:].unsqueeze(-1)).squeeze(-1)
        return chosen * learned[:, 1:], learned[:, 1:]


def _width(row: Row) -> int:
    return next(width for width in WIDTHS if width >= len(row.ids))


def _padded(batch: Sequence[Row], rows: int, width: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Tokens [rows, width], and which of them are of an answer.

    Padded on the right: with causal attention no token sees the padding behind it, so no mask is needed.
    """
    ids, learned = np.zeros((rows, width), dtype=np.int64), np.zeros((rows, width), dtype=bool)
    for n, row in enumerate(batch):
        ids[n, : len(row.ids)] = row.ids
        learned[n, row.start : len(row.ids)] = True
    return torch.from_numpy(ids), torch.from_numpy(learned)


def _fused_kernels() -> None:
    """Liger's norms, rotations and SwiGLU: fewer passes over the activations, which are most of the time at this size."""
    from liger_kernel.transformers import apply_liger_kernel_to_llama

    apply_liger_kernel_to_llama(rope=True, swiglu=True, rms_norm=True, cross_entropy=False, fused_linear_cross_entropy=False)
