"""How much of everything countdown_student.py takes: on one H200, and as a smoke test on a CPU."""

from __future__ import annotations

from typing import NamedTuple

from countdown_traces import Kind

from training.making import StudentShape


class Plan(NamedTuple):
    """How much of everything."""

    kind: Kind
    shape: StudentShape
    tellers: int  # processes that draw and tell puzzles
    engines: int  # of vLLM
    max_tokens: int  # of an answer
    tested: int  # held-out puzzles
    test_samples: int
    pass_tokens: int  # padded tokens of one pass in GRPO
    step_tokens: int  # of a step on traces
    sft_s: float
    sft_rate: float
    sampling_s: float
    chunk: int  # puzzles sampled at once
    again_epochs: int  # over the student's own verified traces
    again_rate: float
    grpo_s: float
    grpo_prompts: int
    grpo_rate: float


FULL = Plan(
    kind=Kind(4, 99, 10, 100),
    shape=StudentShape(hidden=512, intermediate=1536, layers=10, heads=8, positions=640),
    tellers=12,
    engines=3,
    max_tokens=560,
    tested=1000,
    test_samples=4,
    pass_tokens=65_536,
    step_tokens=16_384,
    sft_s=60.0,
    sft_rate=2e-3,
    sampling_s=40.0,
    chunk=2048,
    again_epochs=2,
    again_rate=5e-4,
    grpo_s=220.0,
    grpo_prompts=768,
    grpo_rate=1e-4,
)
TINY = FULL._replace(
    kind=Kind(3, 15, 1, 30, "-+"),
    shape=StudentShape(hidden=96, intermediate=192, layers=3, numbers=60, positions=128),
    tellers=1,
    max_tokens=64,
    tested=200,
    test_samples=2,
    pass_tokens=12_000,
    step_tokens=1_500,
    sft_s=60.0,
    sft_rate=4e-3,
    sampling_s=12.0,
    chunk=128,
    again_rate=1e-3,
    grpo_s=40.0,
    grpo_prompts=64,
    grpo_rate=1e-4,
)
