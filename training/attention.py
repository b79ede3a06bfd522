"""Attention of packed rows that keeps them apart at full speed, and the fastest of torch's kernels for whole rows."""

from __future__ import annotations

import contextlib
from typing import Any

VARLEN = "varlen"


def register_varlen() -> None:
    """Make `attn_implementation="varlen"` known to transformers: torch's own FlashAttention-2 over many rows in one sequence.

    torch.nn.attention.varlen is the public door to this operator, and its signature is another in each release since 2.10. The
    FlashAttention packages do the same and need a build for each torch; SDPA needs a mask of length x length, and no flash kernel.
    """
    from transformers import AttentionInterface

    AttentionInterface.register(VARLEN, varlen)


def varlen(
    module: Any, query: Any, key: Any, value: Any, attention_mask: Any, scaling: float | None = None, **boundaries: Any
) -> tuple[Any, None]:
    """query [1, heads, tokens, size] and the others with their own heads -> [1, tokens, heads, size]; rows end at cu_seq_lens_q."""
    import torch

    ends, longest = boundaries["cu_seq_lens_q"], int(boundaries["max_length_q"])
    flat = [x[0].transpose(0, 1) for x in (query, key, value)]
    out, *_ = torch.ops.aten._flash_attention_forward(
        *flat, ends, ends, longest, longest, 0.0, True, return_debug_mask=False, scale=scaling
    )
    return out[None], None


def fastest_kernels(cuda: bool) -> contextlib.AbstractContextManager[None]:
    """cuDNN's attention before FlashAttention-2 on Hopper: FA-2 was written for Ampere. Elsewhere torch's own order."""
    import torch
    from torch.nn.attention import SDPBackend, sdpa_kernel

    if not cuda or torch.cuda.get_device_capability()[0] != 9:
        return contextlib.nullcontext()
    order = [SDPBackend.CUDNN_ATTENTION, SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH]
    chosen: contextlib.AbstractContextManager[None] = sdpa_kernel(order, set_priority=True)
    return chosen
