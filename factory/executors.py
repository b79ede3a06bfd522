"""The shards of a build through datatrove's executors: processes of this machine, a Slurm cluster, a Ray cluster.

Each task does its shards (`factory.tasks`) and leaves its results among the finished pieces; the build then goes on as if it had
done them itself. datatrove waits for ever for a task whose process was killed (its pools are multiprocessing's), so every task is a
process of its own that is watched and started again (`factory.supervising`).
"""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal, NamedTuple

from curation.errors import UserError
from factory import one_shard, scanning, tasks, tracing
from factory.cleaning import Scanned
from factory.one_shard import Judged
from factory.recipe import Recipe
from factory.rounds import Budget
from factory.run import Run
from factory.steps import Piece, link
from factory.supervising import supervise
from factory.tasks import Job, Step
from factory.teachers import parse_teacher
from factory.tracing import Shard
from factory.watching_tasks import watched

# collect: take what the tasks left, and nothing else; onward: so with the scan, and then go on with Slurm
Executor = Literal["local", "slurm", "ray", "collect", "onward"]


# Of the processes of one worker, where there are so many tasks: a start costs 3 s (Python, datatrove, the verifier), and few
# tasks for each leave the workers busy to the end.
STARTS = 4


class Submitted(UserError):
    """Not a mistake: the tasks are with Slurm, and this call has nothing left to do."""


class Place(NamedTuple):
    """Where the shards of a build are done, and what they may cost."""

    executor: Executor
    workers: int  # tasks at a time
    budget: Budget
    command: str


class Done(NamedTuple):
    replayed: Piece | None
    judged: list[Judged]


def scan_shards(run: Run, recipe: Recipe, read: Piece, place: Place) -> Scanned | None:
    """The passes over all problems that `read` kept (factory.scanning), as tasks; None where they are too few for one to pay."""
    parts = _grouped(tracing.shards(read), recipe.executor.shards_per_scan)
    if len(parts) == 1:
        return None
    due = [part for part in parts if not scanning.finished(run.store, recipe.clean, part)]
    folder = next(reversed(folders(run)), None)
    if due and place.executor not in ("collect", "onward"):
        folder = _send(run, recipe, "scan", due, None, place)
        due = [part for part in parts if not scanning.finished(run.store, recipe.clean, part)]
    if due:
        raise UserError(_without_result([shard.number for part in due for shard in part], sum(map(len, parts)), folder))
    return scanning.gather(run.store, recipe.clean, parts)


def judge_shards(run: Run, recipe: Recipe, shards: Sequence[Shard], cleaned: Sequence[Piece], place: Place) -> Done:
    """All shards, those that are not finished as tasks of an executor. Raises UserError where some stay without a result."""
    teacher = parse_teacher(recipe.teacher)
    replay = teacher.kind == "replay"
    replayed = tracing.replay(run.store, teacher.model, shards, cleaned, recipe.clean) if replay else None
    what = one_shard.asked(run, recipe, replayed)
    collecting = place.executor == "collect"
    due = [] if collecting else [s for s in shards if one_shard.finished(what, s, now=False) is None]
    groups = _grouped(due, recipe.executor.shards_per_task)
    folder = _send(run, recipe, "judge", groups, replayed, place) if due else next(reversed(folders(run)), None)
    _gather_spending(run)
    found = {s.number: one_shard.finished(what, s, now=collecting or s in due) for s in shards}
    missing = [number for number, judged in found.items() if judged is None]
    if missing:
        raise UserError(_without_result(missing, len(shards), folder))
    return Done(replayed, [judged for judged in found.values() if judged])


def _grouped(shards: list[Shard], each: int) -> list[list[Shard]]:
    return [shards[at : at + each] for at in range(0, len(shards), each)]


def _gather_spending(run: Run) -> None:
    """The bills of all tasks of this run, beside those of the run's own processes (factory.spending)."""
    for folder in folders(run):
        for bill in folder.glob("work/*/spent/*.json"):
            link(bill, run.folder / "spent" / bill.name)


def _without_result(missing: Sequence[int], shards: int, folder: Path | None) -> str:
    if folder and (told := tasks.trouble(folder)):
        return told
    where = f": their output is in {folder / 'output'}" if folder else ""
    return (
        f"{len(missing):,} of {shards:,} shards have no result (the first is {missing[0]}){where}; what is finished is kept, "
        "and the same command goes on from there"
    )


def _send(run: Run, recipe: Recipe, step: Step, groups: list[list[Shard]], replayed: Piece | None, place: Place) -> Path:
    """Have the shards done, and return the job's folder. With Slurm this does not return: it says what was submitted."""
    refuse(recipe, place)
    on_slurm = place.executor in ("slurm", "onward")
    if on_slurm:
        from factory import slurm

        slurm.refuse(recipe.executor, [] if place.executor == "onward" else folders(run))  # onward: one of its jobs is this one
    folder = _lay_out(run, recipe, step, groups, replayed, place)
    if on_slurm:
        slurm.submit(folder)
    with watched(folder, run.folder):
        if place.executor == "local":
            _run_local(folder, place.workers)
        else:
            from factory import ray_cluster

            ray_cluster.run(folder)
    return folder


def refuse(recipe: Recipe, place: Place) -> None:
    """Raise UserError where this executor cannot do this build."""
    extra = "ray" if place.executor == "ray" else "datatrove"
    absent = [name for name in {"datatrove", extra} if importlib.util.find_spec(name) is None]
    if absent:
        raise UserError(
            f"--executor {place.executor} with {place.workers} workers needs {' and '.join(sorted(absent))}, which is not "
            f'installed here: pip install "cot-factory[{extra}]"'
        )
    if place.executor == "local" and parse_teacher(recipe.teacher).kind == "vllm":
        raise UserError(
            "--executor local starts one process for each worker, and each would start its own vLLM server on the same GPUs: "
            "leave --executor out and give the one server all GPUs with --set engine.data_parallel=N"
        )


def _lay_out(run: Run, recipe: Recipe, step: Step, groups: list[list[Shard]], replayed: Piece | None, place: Place) -> Path:
    run = run._replace(**{name: path.resolve() for name, path in run._asdict().items()})
    job = Job(
        step=step,
        recipe=recipe,
        run=run.folder,
        store=run.store,
        samples=run.samples,
        working_directory=Path.cwd(),
        replayed=replayed.folder.name if replayed else None,
        tasks=groups,
        workers=place.workers,
        at_a_time=min(place.workers, len(groups)),
        verifiers=1 if place.executor == "local" else recipe.executor.cpus,
        budget_usd=place.budget.usd,
        budget_tokens=place.budget.tokens,
        command=place.command,
    )
    folder = _next_folder(run)
    tasks.write_job(folder, job)
    return folder


def folders(run: Run) -> list[Path]:
    """The folders of a run's jobs, the latest last."""
    return sorted((run.store.parent / ".tasks").resolve().glob(f"{run.folder.name}-[0-9][0-9][0-9][0-9]"))


def _next_folder(run: Run) -> Path:
    before = folders(run)
    number = int(before[-1].name[-4:]) + 1 if before else 1
    folder = run.store.parent / ".tasks" / f"{run.folder.name}-{number:04}"
    folder.mkdir(parents=True)
    return folder


def task_command(how: str, folder: Path, number: int, more: int = 0) -> list[str]:
    return [sys.executable, "-m", "factory.tasks", how, str(folder), str(number), str(more)]


def _run_local(folder: Path, workers: int) -> None:
    total = len(tasks.read_job(folder).tasks)
    each = max(1, total // (STARTS * workers))
    commands = {n: task_command("local", folder, n, min(each, total - n)) for n in range(0, total, each)}
    supervise(commands, workers, folder / "output", stop=lambda: tasks.trouble(folder) is not None)


def run_ranks(folder: Path, first: int, count: int) -> None:
    """Some tasks of a job through datatrove's local executor, in this process; those with its mark are passed over."""
    from datatrove.executor import LocalPipelineExecutor

    step = partial(tasks.datatrove_step, folder=folder)
    total = len(tasks.read_job(folder).tasks)
    LocalPipelineExecutor(
        [step], tasks=total, workers=1, local_tasks=count, local_rank_offset=first, logging_dir=str(folder / "datatrove")
    ).run()


class Apart:
    """A step of a datatrove pipeline that does the task of its rank in a process of its own, and again where it was killed.

    `environment` holds keys that the machine of the task may lack; it is neither written nor shown.
    """

    def __init__(self, folder: Path, how: str, *, environment: dict[str, str] | None = None, in_pool: bool = False) -> None:
        self.folder, self.how, self.in_pool = folder, how, in_pool
        self._environment = environment or {}

    def __repr__(self) -> str:
        return f"{self.how}: {self.folder}"

    def __call__(self, data: Any, rank: int, world_size: int) -> Any:
        os.environ.update(self._environment)
        # In a pool nobody notices when this process is killed, so its parent, Ray's actor, is to go with it.
        command = task_command(self.how, self.folder, rank, os.getppid() if self.in_pool else 0)
        if supervise({rank: command}, 1, self.output()):
            raise RuntimeError(f"task {rank} has failed: its output is {self.output() / f'{rank:05}.txt'}")
        return data

    def output(self) -> Path:
        return self.folder / ("collect" if self.how == "collect" else "output")


def collect(folder: Path) -> None:
    """Go on with a build whose tasks are done, as its command would have."""
    from factory.build import build

    job = tasks.read_job(folder)
    os.chdir(job.working_directory)
    asked = partial(build, job.recipe, runs=job.store.parent, out=job.run, command=job.command)
    if job.step == "judge":
        asked(workers=job.verifiers, executor="collect")
        return
    for name in [name for name in os.environ if name.startswith("SLURM_") and name != "SLURM_CONF"]:
        del os.environ[name]  # this job's own: datatrove would take itself for a task of it, sbatch its memory for what is asked
    try:
        asked(workers=job.workers, budget=Budget(job.budget_usd, job.budget_tokens), executor="onward")
    except Submitted as said:
        print(said)
