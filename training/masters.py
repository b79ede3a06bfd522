"""AdamW for bf16 weights that keeps fp32 masters: the passes run in bf16 alone, and no update is lost.

Mixed precision as in Micikevicius et al. (arXiv 1710.03740) with bf16 for fp16. Against fp32 weights under autocast it saves the
casts of every weight and activation: a 1.5B student ran 36,200 tokens/s instead of 30,900 on an H200 with sequences of 16,384.
bf16 weights without masters would lose the updates: at 1 the next bf16 number is 0.0078 away, and AdamW at 1e-5 moves 1e-5.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch


class MasterAdamW(torch.optim.AdamW):  # type: ignore[misc]  # torch is not typed for mypy here
    """AdamW over fp32 copies of `params`; after each step the copies are rounded into them. Gradients are summed in fp32.

    `param_groups` are those of the copies, so that schedulers work; `state_dict` holds the copies, so that a training goes on
    exactly where it was.
    """

    def __init__(self, groups: Iterable[dict[str, Any]], **kwargs: Any) -> None:
        self.pairs: list[tuple[torch.nn.Parameter, torch.Tensor]] = []
        super().__init__(
            [{**group, "params": [self._master(p) for p in group["params"]]} for group in groups], fused=True, **kwargs
        )

    def _master(self, param: torch.nn.Parameter) -> torch.Tensor:
        param.grad_dtype = torch.float32  # summing in bf16 over 128 passes would lose what is 256 times smaller than the sum
        master = param.detach().clone().float()
        self.pairs.append((param, master))
        return master

    def step(self, closure: None = None) -> None:
        for param, master in self.pairs:
            self._bring(master, param.device)
            master.grad = param.grad
        super().step()
        with torch.no_grad():
            torch._foreach_copy_([param for param, _ in self.pairs], [master for _, master in self.pairs])
        for _, master in self.pairs:
            master.grad = None  # the loop frees the model's own

    def _bring(self, master: torch.Tensor, device: torch.device) -> None:
        """A master with its moments: the trainer makes us before its model is on the GPU, and there a checkpoint may be read."""
        if master.device == device:
            return
        master.data = master.data.to(device)
        for name, value in self.state[master].items():
            self.state[master][name] = value.to(device)

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "masters": [master for _, master in self.pairs]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        for (_, master), saved in zip(self.pairs, state_dict["masters"], strict=True):
            master.copy_(saved)
        super().load_state_dict({name: state_dict[name] for name in ("state", "param_groups")})


def master_adamw(model: Any, **kwargs: Any) -> MasterAdamW:
    """The optimiser of a bf16 model; biases and norms are not decayed, as in transformers' Trainer."""
    from transformers.trainer_pt_utils import get_parameter_names

    weight_decay = kwargs.pop("weight_decay")
    decayed = set(get_parameter_names(model, [torch.nn.LayerNorm], ["bias", "norm"]))
    named = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    groups = [
        {"params": [p for name, p in named if name in decayed], "weight_decay": weight_decay},
        {"params": [p for name, p in named if name not in decayed], "weight_decay": 0.0},
    ]
    return MasterAdamW(groups, **kwargs)
