"""The files that launch a plan: accelerate's configuration, and DeepSpeed's beside it."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from curation.files import write_atomic
from training.sft_settings import Strategy

GPUS_OF_A_HOST = 8


class Layout(NamedTuple):
    """How a training lies on its GPUs, as far as what launches it must know."""

    strategy: Strategy
    processes: int  # one a GPU
    bf16: bool


def write_launch_files(layout: Layout, folder: Path, deepspeed: Path) -> Path:
    """Write `accelerate.yaml` for a layout, and `deepspeed.json` where it has one; `deepspeed` is the folder of ours.

    `accelerate launch --config_file` takes it. For several hosts it wants --machine_rank and --main_process_ip beside it.
    Checkpointing, batch and precision of a ZeRO run come from the trainer.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "accelerate.yaml"
    write_atomic(path, yaml.safe_dump(accelerate_config(layout, folder), sort_keys=False))
    if layout.strategy.startswith("zero"):
        shutil.copy(deepspeed / f"{layout.strategy}.json", folder / "deepspeed.json")
    return path


def hosts(processes: int) -> int:
    """Machines that so many GPUs are in, as they are usually built."""
    return -(-processes // GPUS_OF_A_HOST)


def accelerate_config(layout: Layout, folder: Path) -> dict[str, Any]:
    """accelerate 1.15's configuration; where it names a DeepSpeed file, it refuses to be given a precision or a batch beside it."""
    config: dict[str, Any] = {
        "compute_environment": "LOCAL_MACHINE",
        "distributed_type": "NO",
        "num_machines": hosts(layout.processes),
        "machine_rank": 0,
        "num_processes": layout.processes,
        "main_training_function": "main",
        "rdzv_backend": "static",
        "same_network": True,
        "use_cpu": False,
    }
    if config["num_machines"] == 1:
        config["main_process_port"] = 0  # a free one, for two trainings beside each other on a host
    precision = {"mixed_precision": "bf16" if layout.bf16 else "no"}
    if layout.strategy == "ddp":
        return config | precision | {"distributed_type": "MULTI_GPU"}
    if layout.strategy == "fsdp2":
        return config | precision | {"distributed_type": "FSDP", "fsdp_config": _FSDP}
    if layout.strategy == "single":
        return config | precision
    named = {"deepspeed_config_file": str((folder / "deepspeed.json").resolve()), "zero3_init_flag": layout.strategy != "zero2"}
    return config | {"distributed_type": "DEEPSPEED", "deepspeed_config": named}


# As TRL 1.16's fsdp2.yaml: the trainer's own checkpointing is used, not FSDP's, and rank 0 reads the weights for all.
_FSDP = {
    "fsdp_version": 2,
    "fsdp_auto_wrap_policy": "TRANSFORMER_BASED_WRAP",
    "fsdp_reshard_after_forward": True,
    "fsdp_state_dict_type": "FULL_STATE_DICT",
    "fsdp_cpu_ram_efficient_loading": True,
    "fsdp_offload_params": False,
    "fsdp_activation_checkpointing": False,
}
