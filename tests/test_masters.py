"""bf16 weights with fp32 masters: no update is lost, sums are fp32, and a resumed training is the same training."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from training.masters import MasterAdamW, master_adamw

pytestmark = pytest.mark.slow  # torch takes seconds to load


def layer(dtype: torch.dtype) -> torch.nn.Linear:
    torch.manual_seed(0)
    made = torch.nn.Linear(8, 8)
    torch.nn.init.ones_(made.weight)
    return made.to(dtype)


def adam(model: torch.nn.Module, lr: float) -> MasterAdamW:
    return master_adamw(model, lr=lr, weight_decay=0.1, betas=(0.9, 0.999))


def step(model: torch.nn.Module, optimizer: torch.optim.Optimizer, seed: int, passes: int = 1) -> None:
    for n in range(passes):
        draw = torch.Generator().manual_seed(seed + n)
        rows = torch.randn(4, 8, generator=draw).to(next(model.parameters()).dtype)
        (model(rows).float().square().mean() / passes).backward()
    optimizer.step()
    model.zero_grad()


def test_updates_below_the_weights_precision_add_up() -> None:
    with_masters, without = layer(torch.bfloat16), layer(torch.bfloat16)
    ours, plain = adam(with_masters, 1e-4), torch.optim.AdamW(without.parameters(), lr=1e-4)
    for n in range(60):
        step(with_masters, ours, n)
        step(without, plain, n)
    assert bool((without.weight == 1).all())  # each step of 1e-4 is rounded away: 1 - 0.0039 is the next number
    assert with_masters.weight.mean().item() < 0.997


def test_gradients_of_several_passes_are_summed_in_fp32() -> None:
    model = layer(torch.bfloat16)
    adam(model, 1e-4)
    for _ in range(3):
        model(torch.ones(1, 8, dtype=torch.bfloat16)).float().mean().backward()
    assert model.weight.grad is not None and model.weight.grad.dtype == torch.float32


def test_it_does_what_fp32_adamw_does() -> None:
    ours, plain = layer(torch.float32), layer(torch.float32)
    masters = adam(ours, 1e-3)
    reference = torch.optim.AdamW(
        [{"params": [plain.weight], "weight_decay": 0.1}, {"params": [plain.bias], "weight_decay": 0.0}], lr=1e-3, fused=True
    )
    for n in range(5):
        step(ours, masters, n, passes=2)
        step(plain, reference, n, passes=2)
    assert torch.equal(ours.weight, plain.weight) and torch.equal(ours.bias, plain.bias)


def test_a_resumed_training_has_the_same_masters(tmp_path: Path) -> None:
    whole = layer(torch.bfloat16)
    optimizer = adam(whole, 1e-3)
    for n in range(3):
        step(whole, optimizer, n)
    torch.save((whole.state_dict(), optimizer.state_dict()), tmp_path / "checkpoint.pt")
    weights, state = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    resumed = layer(torch.bfloat16)
    resumed.load_state_dict(weights)
    again = adam(resumed, 1e-3)
    again.load_state_dict(state)
    for n in range(3, 6):
        step(whole, optimizer, n)
        step(resumed, again, n)
    assert torch.equal(whole.weight, resumed.weight)
    assert all(torch.equal(a, b) for (_, a), (_, b) in zip(optimizer.pairs, again.pairs, strict=True))
    assert all(master.dtype == torch.float32 for _, master in again.pairs)
