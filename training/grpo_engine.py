"""Who samples in reinforcement learning: vLLM beside the student, vLLM as a server, or transformers itself.

A server is upstream vLLM's, on a GPU of its own, started so that TRL 1.16 can send it weights and read its probabilities:
    VLLM_SERVER_DEV_MODE=1 vllm serve MODEL --weight-transfer-config '{"backend":"nccl"}' --logprobs-mode processed_logprobs \\
        --max-logprobs -1
MODEL is the student, or any of its shape: the student's weights are sent before every rollout, the first one too. vLLM 0.25.1 warns
each time that RotaryEmbedding and a tied ParallelLMHead "Failed to load weights": neither has any of its own.
It keeps half a GiB of its GPU for each stage or training that ever connected, so leave it some beside --gpu-memory-utilization.
"""

from __future__ import annotations

import importlib.metadata
import urllib.request

from curation.errors import UserError
from training.grpo_settings import GrpoSettings


def choose_engine(settings: GrpoSettings) -> str:
    """transformers, vllm-colocate or vllm-server. Raises UserError where a package or a GPU that the settings need is missing."""
    for package in ("torch", "transformers", "trl"):
        if not _installed(package):
            raise UserError(f"grpo needs {package}, which is not installed: pip install 'cot-factory[train]'")
    import torch

    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if settings.precision == "bf16" and not gpus:
        raise UserError("precision bf16 is for a GPU and there is none: use precision=auto")
    if settings.liger and not (gpus and _installed("liger-kernel")):
        raise UserError("liger=true needs a GPU and the package liger-kernel: pip install 'cot-factory[train]', or use liger=false")
    if settings.generation == "auto":
        return "vllm-colocate" if gpus and _installed("vllm") else "transformers"
    if settings.generation != "transformers":
        if not _installed("vllm"):
            raise UserError(f"generation {settings.generation} needs vLLM, which is not installed: pip install 'cot-factory[vllm]'")
        if not gpus:
            raise UserError(f"generation {settings.generation} needs a GPU and there is none: use generation=transformers")
    if settings.generation == "vllm-server":
        require_server(settings.vllm_server_url)
    return settings.generation


def require_server(url: str) -> None:
    """Raise UserError where no vLLM answers: TRL would wait four minutes for it."""
    try:
        with urllib.request.urlopen(f"{url.rstrip('/')}/health", timeout=10):
            return
    except (OSError, ValueError) as error:  # URLError is an OSError; ValueError: no URL at all
        raise UserError(
            f"no vLLM answers at vllm_server_url {url} ({error}): start it first, as training.grpo_engine says, or use "
            "generation=vllm-colocate"
        ) from None


def _installed(package: str) -> bool:
    try:
        importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True
