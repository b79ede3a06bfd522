"""Batches of a rollout, as TRL makes them: dicts of tensors with one row for each completion, and num_items_in_batch."""

from __future__ import annotations

from typing import Any

Batch = dict[str, Any]


def chosen(batch: Batch, rows: Any) -> Batch:
    """Some rows of a batch, by their places or a mask."""
    return {name: value[rows.to(value.device)] if value.dim() else value for name, value in batch.items()}


def joined(parts: list[Batch], pad_id: int) -> Batch:
    """One batch of the rows of several: prompts padded on the left, completions and their values on the right."""
    import torch

    whole: Batch = {}
    for name in parts[0]:
        if name == "num_items_in_batch":
            continue
        rows = [part[name] for part in parts]
        if rows[0].dim() == 2:
            width, fill = max(r.size(1) for r in rows), pad_id if name.endswith("_ids") else 0
            missing = [r.new_full((r.size(0), width - r.size(1)), fill) for r in rows]
            left = name.startswith("prompt")
            rows = [torch.cat([m, r] if left else [r, m], dim=1) for r, m in zip(rows, missing, strict=True)]
        whole[name] = torch.cat(rows)
    whole["num_items_in_batch"] = whole["completion_mask"].sum()
    return whole


def of_all_processes(batch: Batch, accelerator: Any, pad_id: int) -> Batch:
    """The rows of every process, in the order of their ranks, for each of them, in the host's memory."""
    whole: Batch = {}
    for name, value in batch.items():
        if value.dim() and accelerator.num_processes > 1:
            if value.dim() == 2:
                fill = pad_id if name.endswith("_ids") else 0
                value = accelerator.pad_across_processes(value, dim=1, pad_index=fill, pad_first=name.startswith("prompt"))
            value = accelerator.gather(value.contiguous())
        whole[name] = value.cpu()
    return whole


def share_of(batch: Batch, rank: int, processes: int) -> Batch:
    """One process's rows of a batch: equal parts, in the order of ranks."""
    rows = batch["completion_mask"].size(0) // processes
    return {name: value[rank * rows : (rank + 1) * rows] if value.dim() else value for name, value in batch.items()}


def by_length(passes: list[Batch]) -> list[Batch]:
    """The rows of one optimiser step's passes, the longest completions together and first: a pass is as long as its longest."""
    import torch

    first = passes[0]
    order = torch.cat([one["completion_mask"].sum(1) for one in passes]).argsort(descending=True, stable=True)
    size = first["completion_mask"].size(0)
    rows = {name: torch.cat([one[name] for one in passes])[order] for name, value in first.items() if value.dim() > 0}
    same = {name: value for name, value in first.items() if value.dim() == 0}
    return [{**same, **{name: value[at : at + size] for name, value in rows.items()}} for at in range(0, order.numel(), size)]


def ends(mask: Any, prompt_width: int) -> tuple[int, int]:
    """The first column that some prompt reaches to, and the one behind the last completion; at least a token of each is left."""
    used = mask.any(dim=0).nonzero().squeeze(1).tolist()
    return min([at for at in used if at < prompt_width] or [prompt_width - 1]), max(used[-1] + 1 if used else 0, prompt_width + 1)
