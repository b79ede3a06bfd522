"""Who answers a recipe, and how: what the key of every sample says beside its messages and its index."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from factory import tracing
from factory.recipe import Recipe
from factory.sampling import Identity
from factory.steps import file_digest
from factory.teachers import parse_teacher

# Arguments of `vllm serve` (0.31, docs, "Engine Arguments") that steer speed, memory and logs, and no answer. All others might:
# a chat template, quantisation, default sampling values, a shorter context.
ONLY_SPEED = {
    "--gpu-memory-utilization",
    "--max-num-seqs",
    "--max-num-batched-tokens",
    "--enable-prefix-caching",
    "--no-enable-prefix-caching",
    "--enable-chunked-prefill",
    "--no-enable-chunked-prefill",
    "--swap-space",
    "--cpu-offload-gb",
    "--block-size",
    "--num-gpu-blocks-override",
    "--tensor-parallel-size",
    "--data-parallel-size",
    "--pipeline-parallel-size",
    "--enable-expert-parallel",
    "--enforce-eager",
    "--download-dir",
    "--load-format",
    "--async-scheduling",
    "--no-async-scheduling",
    "--stream-interval",
    "--api-server-count",
    "--disable-log-requests",
    "--disable-log-stats",
    "--uvicorn-log-level",
    "--disable-uvicorn-access-log",
    "--max-log-len",
}


def identity_of(recipe: Recipe) -> Identity:
    """Everything but the prompt and the index that decides a sample of the recipe's teacher, the oracle's as well."""
    teacher = parse_teacher(recipe.teacher)
    found = tracing.identify(teacher, recipe.sample)
    deciding = deciding_arguments(recipe.engine.arguments) if teacher.kind == "vllm" else []
    return {**found, "engine": deciding} if deciding else found


def deciding_arguments(arguments: Sequence[str]) -> list[str]:
    """Those that may change an answer; a file among them, such as a chat template, stands for its content."""
    apart = [part for a in arguments for part in (a.split("=", 1) if a.startswith("--") else [a])]  # --a=b is --a b
    kept, only_speed = [], False
    for part in apart:
        if part.startswith("--"):
            only_speed = part.replace("_", "-") in ONLY_SPEED
        if not only_speed:
            kept.append(_by_content(part))
    return kept


def _by_content(value: str) -> str:
    return file_digest(Path(value)) if len(value) < 1000 and Path(value).is_file() else value
