"""The reference of the KL, which becomes the policy every so many steps, and is part of a checkpoint then."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

REFERENCE = "reference.safetensors"  # in a checkpoint


def renewal(trainer: Any) -> Any:
    """TRL's callback for `sync_ref_model`, one parameter at a time.

    Under ZeRO-3 TRL 1.16 gathers policy and reference whole on every GPU, which with 14.77B parameters are 55 GiB.
    """
    import torch
    from trl.trainer.callbacks import SyncRefModelCallback

    class Renewal(SyncRefModelCallback):  # type: ignore[misc]  # TRL is not typed for mypy here
        """The loop offers nothing but a class for that."""

        @staticmethod
        def sync_target_model(model: Any, target_model: Any, alpha: float) -> None:
            for mine, theirs in zip(model.parameters(), target_model.parameters(), strict=True):
                of_each = torch.nn.ParameterList([mine]), torch.nn.ParameterList([theirs])
                SyncRefModelCallback.sync_target_model(*of_each, alpha)

    return Renewal(trainer.ref_model, trainer.accelerator)


def keep_reference(trainer: Any, checkpoint: Path) -> None:
    """Write the reference into a checkpoint: a resumed training would have the stage's first one. Every process takes part."""
    from safetensors.torch import save_file

    first, whole = trainer.is_world_process_zero(), {}
    for name, weight in trainer.ref_model.named_parameters():
        with _gathered(trainer, weight):
            if first:
                whole[name] = weight.detach().to("cpu", copy=True).contiguous()
    if first:
        checkpoint.mkdir(parents=True, exist_ok=True)
        save_file(whole, checkpoint / REFERENCE)


def restore_reference(trainer: Any, checkpoint: Path) -> None:
    """The reference as it was when the checkpoint was written, in every process."""
    import torch
    from safetensors import safe_open

    with safe_open(checkpoint / REFERENCE, "pt") as kept, torch.no_grad():
        for name, weight in trainer.ref_model.named_parameters():
            with _gathered(trainer, weight):
                weight.copy_(kept.get_tensor(name))


@contextmanager
def _gathered(trainer: Any, weight: Any) -> Iterator[None]:
    """The whole of a weight, where ZeRO-3 has a shard of it in each process; what is written to it there is shared out again."""
    plugin = trainer.accelerator.state.deepspeed_plugin
    if plugin is None or plugin.zero_stage != 3:
        yield
        return
    import deepspeed  # type: ignore[import-not-found,unused-ignore]

    with deepspeed.zero.GatheredParameters([weight], modifier_rank=0):
        yield
