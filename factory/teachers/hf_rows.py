"""Several prompts at a time through a transformers model, each with a random stream of its own.

A sample is drawn with Gumbel's trick from its own generator, so that neighbours change it only through the last digits of the
logits. That is why `hf:` goes one by one unless it is asked otherwise.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any


def continue_rows(
    model: Any,
    prompts: Sequence[Sequence[int]],
    *,
    ends: set[int],
    max_tokens: int,
    warp: Callable[[Any], Any],
    generators: Sequence[Any] | None,
) -> list[list[int]]:
    """What the model writes after each prompt of token ids, in order, up to an end token, which is included, or `max_tokens`.

    `warp` changes the logits (rows x vocabulary) before a draw; without `generators`, one a row, the likeliest token is taken.
    """
    import torch

    rows = list(range(len(prompts)))
    written: list[list[int]] = [[] for _ in prompts]
    width = max(map(len, prompts))
    ids = torch.tensor([[0] * (width - len(p)) + list(p) for p in prompts], device=model.device)
    mask = torch.tensor([[0] * (width - len(p)) + [1] * len(p) for p in prompts], device=model.device)
    cache: Any = None
    with torch.inference_mode():
        for _ in range(max_tokens):
            at = (mask.cumsum(-1) - 1).clamp(min=0)[:, -ids.shape[1] :]
            out = model(
                input_ids=ids, attention_mask=mask, position_ids=at, past_key_values=cache, use_cache=True, logits_to_keep=1
            )
            cache, drawn = out.past_key_values, _draw(warp(out.logits[:, -1].float()), generators, rows)
            for row, token in zip(rows, drawn.tolist(), strict=True):
                written[row].append(token)
            going = [n for n, row in enumerate(rows) if written[row][-1] not in ends]
            if not going:
                break
            kept = torch.tensor(going, device=model.device)
            if len(going) < len(rows):
                cache.batch_select_indices(kept)
            rows = [rows[n] for n in going]
            ids = drawn[kept].unsqueeze(-1)
            mask = torch.cat([mask[kept], torch.ones_like(ids)], dim=-1)
    return written


def _draw(logits: Any, generators: Sequence[Any] | None, rows: Sequence[int]) -> Any:
    import torch

    if generators is None:
        return logits.argmax(-1)
    waits = torch.stack([torch.empty(logits.shape[-1]).exponential_(generator=generators[row]) for row in rows])
    # The least waiting time over the probability is a draw from the softmax.
    return (logits - waits.to(logits.device).log()).argmax(-1)
