"""The recipe's settings of the places where tasks are done."""

from __future__ import annotations

from pydantic import Field

from factory.strict import Strict


class Cluster(Strict):
    """What a task of `--executor slurm` or `ray` gets, and how Slurm is asked for it; `local` takes the first two alone."""

    shards_per_task: int = Field(1, ge=1)  # of 500 problems; more where a task loads a model first
    shards_per_scan: int = Field(40, ge=1)  # for duplicates and benchmarks: 1 to 3 s of work, as much as a task takes to start
    cpus: int = Field(1, ge=1)  # one verifier process for each
    memory_gb_per_cpu: int = Field(2, ge=1)
    gpus: int = Field(0, ge=0)
    time: str = Field("24:00:00", pattern=r"^(\d+-)?\d+:[0-5]\d:[0-5]\d$")  # of a task: [days-]hours:minutes:seconds
    partition: str | None = None  # Slurm needs one
    qos: str | None = None
    env_command: str | None = None  # run before a task; None: the virtual environment that is active here
    sbatch: dict[str, str | int] = {}  # further options of sbatch, such as {account: me}
    max_array_size: int = Field(1001, ge=1)  # Slurm's own default; more tasks become several arrays
    address: str | None = None  # of a Ray cluster: HOST:PORT, or auto for the one here; None: RAY_ADDRESS, or a new one
