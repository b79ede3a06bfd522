"""The reference of the KL, which becomes the policy every so many steps."""

from __future__ import annotations

from typing import Any


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
