"""The student while it learns: supervised steps on rows of tokens, and GRPO's. On a GPU bf16 passes over fp32 masters.

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
from countdown_traces import Puzzle, Row, Tellers
from tokenizers import Tokenizer

Say = Callable[[str], None]
WARMUP_STEPS = 100
# Share of the time -> share of a pass: many small steps while copying and sums are found, large ones when the loss is low. With
# whole passes from the first step on, 1,079 steps in 210 s on an H200 were too few: loss 0.34, and 1.7 percent of puzzles solved.
GROWTH = ((0.2, 1 / 8), (0.45, 1 / 4), (0.7, 1 / 2), (1.0, 1.0))
FLOOR = 0.02  # of the learning rate, at the end of the cosine
CLIP_LOW, CLIP_HIGH = 0.2, 0.28
STEPS_PER_ROLLOUT = 4


class Learner:
    def __init__(self, folder: Path, device: str, pass_tokens: int, rng: random.Random) -> None:
        from transformers import AutoModelForCausalLM

        if device == "cuda":
            _fused_kernels()
        self.encoder = Tokenizer.from_file(str(folder / "tokenizer.json"))
        dtype = torch.bfloat16 if device == "cuda" else torch.float32
        model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="sdpa").to(device).train()
        self.masters = [p.detach().clone().requires_grad_() for p in model.parameters()]
        self.model = model.to(dtype)
        self.end_id: int = self.model.config.eos_token_id
        self.parameters = sum(p.numel() for p in self.masters)
        self.device, self.pass_tokens, self.rng = device, pass_tokens, rng
        self.told: list[Row] = []  # the oracle's traces
        self.adam = self._fresh_adam()

    def _fresh_adam(self) -> torch.optim.AdamW:
        return torch.optim.AdamW(self.masters, lr=0.0, betas=(0.9, 0.95), weight_decay=0.01, fused=self.device == "cuda")

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
        while len(pool) < 1000:
            tellers.take(pool, wait=True)
        began, tokens, seen, curve, step = time.monotonic(), 0, 0, [], 0
        while (share := (time.monotonic() - began) / seconds) < 1:
            tellers.take(pool, wait=False)
            # Half of them from the newest tenth: every trace is seen soon, and old ones come back.
            newest = len(pool) - max(1, len(pool) // 10)
            picks = [self.rng.randrange(newest if n % 2 else 0, len(pool)) for n in range(4096)]
            size = int(self.pass_tokens * next(part for until, part in GROWTH if share < until))
            for batch in self._batches([pool[n] for n in picks], size)[:32]:
                factor = min(1.0, (step + 1) / WARMUP_STEPS) * max(FLOOR, 0.5 + 0.5 * math.cos(math.pi * share))
                loss = self._learn(batch, rate * factor)
                step, tokens, seen = step + 1, tokens + sum(len(r.ids) for r in batch), seen + len(batch)
                if step % 100 == 0:
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
        self.adam = self._fresh_adam()
        began = time.monotonic()
        batches = [b for _ in range(epochs) for b in self._batches(self.rng.sample(list(rows), len(rows)))]
        for n, batch in enumerate(batches):
            warm = min(1.0, (n + 1) / (0.1 * len(batches) + 1))
            self._learn(batch, rate * warm * max(FLOOR, 0.5 + 0.5 * math.cos(math.pi * n / len(batches))))
        return {
            "steps": len(batches),
            "tokens": sum(len(r.ids) for b in batches for r in b),
            "train_s": round(time.monotonic() - began, 1),
        }

    def _batches(self, rows: Sequence[Row], size: int = 0) -> list[list[Row]]:
        """Rows of nearly equal length together, each batch within `size` tokens or those of a pass, in random order."""
        most = size or self.pass_tokens
        found: list[list[Row]] = []
        for row in sorted(rows, key=lambda r: len(r.ids)):
            if not found or (len(found[-1]) + 1) * len(row.ids) > most:
                found.append([])
            found[-1].append(row)
        self.rng.shuffle(found)
        return found

    def _learn(self, batch: Sequence[Row], rate: float) -> torch.Tensor:
        logits, ids, learned = self._logits(batch)
        labels = ids[:, 1:].masked_fill(~learned, -100)
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1).float(), labels.flatten())
        loss.backward()
        self._step(rate)
        return loss.detach()

    def _logits(self, batch: Sequence[Row]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Logits for every token but the first, the tokens, and which of those but the first are of an answer.

        Padded on the right: with causal attention no token sees the padding behind it, so no mask is needed.
        """
        width = max(len(r.ids) for r in batch)
        ids = np.zeros((len(batch), width), dtype=np.int64)
        learned = np.zeros((len(batch), width), dtype=bool)
        for n, row in enumerate(batch):
            ids[n, : len(row.ids)] = row.ids
            learned[n, row.start : len(row.ids)] = True
        tokens = torch.from_numpy(ids).to(self.device, non_blocking=True)
        logits = self.model(input_ids=tokens, use_cache=False).logits[:, :-1]
        return logits, tokens, torch.from_numpy(learned[:, 1:]).to(self.device)

    def _step(self, rate: float) -> None:
        """One step of Adam on the masters, which are then rounded into the model: in bf16 alone a small update is lost."""
        for group in self.adam.param_groups:
            group["lr"] = rate
        for master, parameter in zip(self.masters, self.model.parameters(), strict=True):
            master.grad, parameter.grad = parameter.grad.float(), None
        torch.nn.utils.clip_grad_norm_(self.masters, 1.0)
        self.adam.step()
        with torch.no_grad():
            torch._foreach_copy_(list(self.model.parameters()), self.masters)

    # GRPO

    def reinforce(
        self,
        puzzles: Sequence[Puzzle],
        complete: Callable[[Sequence[Puzzle], int], list[list[Row]]],
        judge: Callable[[Learner, Sequence[Puzzle], Sequence[Sequence[Row]]], list[list[Any]]],
        *,
        seconds: float,
        prompts: int,
        rate: float,
        say: Say,
    ) -> dict[str, Any]:
        """Rollouts of `prompts` puzzles and steps on them, for a given time."""
        self.adam = self._fresh_adam()
        began, curve, longest = time.monotonic(), [], 0.0
        while puzzles and time.monotonic() - began + longest < seconds:
            started = time.monotonic()
            chosen = [self.rng.choice(puzzles) for _ in range(prompts)]
            rows = complete(chosen, self.rng.randrange(1 << 30))
            sampled_s = time.monotonic() - started
            rewards = [[float(v.outcome == "correct") for v in own] for own in judge(self, chosen, rows)]
            told = [
                (row, r - sum(own) / len(own))
                for own, group in zip(rewards, rows, strict=True)
                for row, r in zip(group, own, strict=True)
            ]
            self._improve([(row, a) for row, a in told if a], rate * min(1.0, (len(curve) + 1) / 3))
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
                self._step(rate)

    def _probabilities(self, batch: Sequence[Row]) -> tuple[torch.Tensor, torch.Tensor]:
        """The log-probability of every token but the first, 0 outside of answers; and where the answers are."""
        logits, ids, learned = self._logits(batch)
        chosen = torch.log_softmax(logits.float(), -1).gather(-1, ids[:, 1:].unsqueeze(-1)).squeeze(-1)
        return chosen * learned, learned


def _fused_kernels() -> None:
    """Liger's norms, rotations and SwiGLU: fewer passes over the activations, which are most of the time at this size."""
    from liger_kernel.transformers import apply_liger_kernel_to_llama

    apply_liger_kernel_to_llama(rope=True, swiglu=True, rms_norm=True, cross_entropy=False, fused_linear_cross_entropy=False)
