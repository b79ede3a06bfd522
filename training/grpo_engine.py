"""Who samples in reinforcement learning: vLLM beside the student, vLLM as a server, or transformers itself."""

from __future__ import annotations

import importlib.metadata

from curation.errors import UserError
from training.grpo_settings import GrpoSettings


def choose_engine(settings: GrpoSettings) -> str:
    """transformers, vllm-colocate or vllm-server. Raises UserError where a package or a GPU that the settings need is missing."""
    for package in ("torch", "transformers", "trl"):
        if not _installed(package):
            raise UserError(f"grpo needs {package}, which is not installed: pip install 'cot-factory[train]'")
    import torch

    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if gpus > 1:
        raise UserError(f"{gpus} GPUs are visible and this trains on one: choose it with CUDA_VISIBLE_DEVICES=0")
    if settings.precision == "bf16" and not gpus:
        raise UserError("precision bf16 is for a GPU and there is none: use precision=auto")
    if settings.generation == "auto":
        return "vllm-colocate" if gpus and _installed("vllm") else "transformers"
    if settings.generation != "transformers":
        if not _installed("vllm"):
            raise UserError(f"generation {settings.generation} needs vLLM, which is not installed: pip install 'cot-factory[vllm]'")
        if not gpus:
            raise UserError(f"generation {settings.generation} needs a GPU and there is none: use generation=transformers")
    return settings.generation


def _installed(package: str) -> bool:
    try:
        importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True
