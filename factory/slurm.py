"""A build's tasks as a Slurm array, and a job after it that goes on with the build: datatrove writes and submits the scripts."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from curation.errors import UserError
from curation.files import write_atomic
from factory import tasks
from factory.cluster import Cluster
from factory.executors import Apart, Submitted

JOBS = "slurm.json"


def refuse(settings: Cluster, before: Sequence[Path]) -> None:
    """Raise UserError where Slurm cannot be asked, or is at work on one of the jobs `before`."""
    if settings.partition is None:
        raise UserError("--executor slurm: no partition is named; wanted one: --set executor.partition=NAME")
    if shutil.which("sbatch") is None:
        raise UserError("--executor slurm: there is no sbatch here: run this on a machine that submits to Slurm")
    for jobs in [folder / JOBS for folder in before if (folder / JOBS).is_file()]:
        _refuse_twice(json.loads(jobs.read_text("utf-8")))


def submit(folder: Path) -> None:
    """Submit a job's tasks and the collecting job; raises Submitted, which says what comes next."""
    job = tasks.read_job(folder)
    array, after = _launch(folder, job.recipe.executor)
    write_atomic(folder / JOBS, json.dumps({"tasks": array, "collect": after}) + "\n")
    then = "puts the data set together" if job.step == "judge" else "goes on with the build"
    raise Submitted(
        f"submitted {len(job.tasks):,} tasks as Slurm job {array}, and job {after}, which {then} after "
        f"them in {job.run}; logs are in {folder}, and `squeue -j {array},{after}` shows how far they are. If a task fails, "
        "the same command submits what is missing"
    )


def _launch(folder: Path, settings: Cluster) -> tuple[str, str]:
    from datatrove.executor import SlurmPipelineExecutor

    job = tasks.read_job(folder)
    every = SlurmPipelineExecutor(
        [Apart(folder, "apart")],
        tasks=len(job.tasks),
        workers=job.at_a_time,
        gpus_per_task=settings.gpus if job.step == "judge" else 0,
        logging_dir=str(folder / "datatrove"),
        **_arguments(settings, f"factory-{job.recipe.name}"),
    )
    after = SlurmPipelineExecutor(
        [Apart(folder, "collect")],
        tasks=1,
        depends=every,
        run_on_dependency_fail=True,  # it says which tasks have no result; a job that waits for success would wait for ever
        logging_dir=str(folder / "datatrove-collect"),
        **_arguments(settings, f"factory-{job.recipe.name}-collect"),
    )
    after.run()
    return str(after.depends_job_id), str(after.job_id)


def _arguments(settings: Cluster, name: str) -> dict[str, Any]:
    active = f". {sys.prefix}/bin/activate" if sys.prefix != sys.base_prefix else ""
    return {
        "job_name": name,
        "time": settings.time,
        "partition": settings.partition,
        "cpus_per_task": settings.cpus,
        "mem_per_cpu_gb": settings.memory_gb_per_cpu,
        "qos": settings.qos,
        "env_command": settings.env_command or active,
        "sbatch_args": dict(settings.sbatch),
        "max_array_size": settings.max_array_size,
    }


def _refuse_twice(known: dict[str, str]) -> None:
    """Two jobs over the same shards would buy everything twice."""
    asked = subprocess.run(["squeue", "-h", "-j", ",".join(known.values())], capture_output=True, text=True, check=False)
    if asked.returncode == 0 and asked.stdout.strip():
        raise UserError(
            f"Slurm jobs {known['tasks']} and {known['collect']} are at work on this run: wait for them, or end them with "
            f"scancel {known['tasks']} {known['collect']} and call again"
        )
