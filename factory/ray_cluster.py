"""A build's tasks on a Ray cluster, through datatrove's executor."""

from __future__ import annotations

import logging
import os
import socket
from pathlib import Path

from curation.errors import UserError
from factory import tasks
from factory.cluster import Cluster
from factory.executors import Apart

# Nodes have the environment in which they were started, not that of whoever sends tasks.
HANDED_ON = ("FACTORY_API_KEY", "OPENAI_API_KEY", "HF_TOKEN", "HF_HOME", "HF_ENDPOINT", "FACTORY_VLLM")
GIB = 1 << 30
CONNECT_S = 10


def run(folder: Path) -> None:
    """Do a job's tasks on the cluster that the recipe or RAY_ADDRESS names, or else on one of this machine for this call."""
    import ray
    from datatrove.executor import RayPipelineExecutor
    from datatrove.utils.logging import logger

    logger.disable("datatrove")  # its lines are in the tasks' logs; here they would cross the progress
    job = tasks.read_job(folder)
    settings = job.recipe.executor
    started = not ray.is_initialized()
    if started:
        # Never Ray's own guess: it takes the last cluster that was started here, and tries for ever where that is gone.
        address = _reachable(settings.address or os.environ.get("RAY_ADDRESS") or "local")
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    try:
        _refuse_too_large(settings, ray.nodes())
        environment = {name: os.environ[name] for name in HANDED_ON if name in os.environ}
        RayPipelineExecutor(
            [Apart(folder, "apart", environment=environment, in_pool=True)],
            tasks=len(job.tasks),
            workers=job.at_a_time,
            cpus_per_task=settings.cpus,
            mem_per_cpu_gb=settings.memory_gb_per_cpu,
            gpus_per_task=settings.gpus if job.step == "judge" else 0,
            time=seconds(settings.time),
            logging_dir=str(folder / "datatrove"),
        ).run()
    finally:
        if started:
            ray.shutdown()


def _reachable(address: str) -> str:
    host, colon, port = address.rpartition(":")
    if colon and port.isdecimal() and "/" not in host:
        try:
            socket.create_connection((host, int(port)), timeout=CONNECT_S).close()
        except OSError as error:
            raise UserError(
                f"no Ray cluster answers at {address} ({error}): start one with `ray start --head`, correct RAY_ADDRESS or "
                "executor.address, or leave them out for a cluster of this machine alone"
            ) from None
    return address


def _refuse_too_large(settings: Cluster, nodes: list[dict[str, object]]) -> None:
    """A task that fits nowhere would wait for ever."""
    wanted = {"CPU": settings.cpus, "GPU": settings.gpus, "memory": settings.cpus * settings.memory_gb_per_cpu * GIB}
    alive = [node["Resources"] for node in nodes if node["Alive"]]
    if not any(all(has.get(name, 0) >= least for name, least in wanted.items()) for has in alive):  # type: ignore[attr-defined]
        largest = max((int(has.get("CPU", 0)), int(has.get("memory", 0)) // GIB, int(has.get("GPU", 0))) for has in alive)  # type: ignore[attr-defined]
        raise UserError(
            f"no node of the Ray cluster has {settings.cpus} CPUs, {settings.cpus * settings.memory_gb_per_cpu} GB and "
            f"{settings.gpus} GPUs for a task, the largest of {len(alive)} has {largest[0]}, {largest[1]} and {largest[2]}: "
            "--set executor.cpus=N, executor.memory_gb_per_cpu=N or executor.gpus=N"
        )


def seconds(time: str) -> int:
    """[days-]hours:minutes:seconds, as Slurm writes it."""
    days, _, clock = time.rpartition("-")
    hours, minutes, rest = map(int, clock.split(":"))
    return ((int(days or 0) * 24 + hours) * 60 + minutes) * 60 + rest
