"""A build's shards as tasks for other processes and machines: the job on disk, and what one task does.

    .tasks/<run>-<n>/  job.json  what is asked of each task, for any machine that sees this folder
                       work/<task>/progress.json  output/<task>.txt  trouble/<task>.txt
                       datatrove/  logs, statistics and marks of datatrove's executor
                       purse/  the common budget

Every call makes a folder of its own with the shards that are not finished, so datatrove's marks of an earlier call, of another
recipe or of deleted results have no say: a task is finished when `factory.one_shard` or `factory.scanning` finds its records.

The executors start `python -m factory.tasks local FOLDER TASK COUNT`, `... apart FOLDER TASK PID` or `... collect FOLDER 0 0`.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from curation.errors import UserError
from curation.files import write_atomic
from factory import one_shard, rounds, scanning
from factory.purse import Purse
from factory.recipe import Recipe
from factory.rounds import Budget, Source
from factory.run import Run
from factory.steps import read_piece
from factory.strict import Strict
from factory.teachers import parse_teacher
from factory.tracing import Shard

LOOK_S = 0.5
Step = Literal["scan", "judge"]


class Job(Strict):
    """What the tasks of one call are asked to do; all paths are absolute."""

    step: Step  # scan: factory.scanning for the problems as read; judge: factory.one_shard for those that stayed
    recipe: Recipe
    run: Path
    store: Path
    samples: Path
    working_directory: Path  # the recipe's own paths start there
    replayed: str | None  # name of the piece that holds the traces, where they exist already
    tasks: list[list[Shard]]
    workers: int  # as the call said
    at_a_time: int
    verifiers: int  # processes of one task
    budget_usd: float | None
    budget_tokens: int | None
    command: str


def write_job(folder: Path, job: Job) -> None:
    write_atomic(folder / "job.json", job.model_dump_json(indent=1) + "\n")


def read_job(folder: Path) -> Job:
    return Job.model_validate_json((folder / "job.json").read_text("utf-8"))


def trouble(folder: Path) -> str | None:
    """The sentence with which a task of a job has ended, the last one; None where none has."""
    told = sorted((folder / "trouble").glob("*.txt"), key=lambda path: path.stat().st_mtime)
    return told[-1].read_text("utf-8") if told else None


def do_task(folder: Path, number: int) -> None:
    """Sample and judge the shards of one task, or scan them. Raises UserError, as every later task of the job then does at once."""
    job = read_job(folder)
    os.chdir(job.working_directory)
    if told := trouble(folder):  # a teacher that refuses everything is asked by one task, not by a thousand
        raise UserError(told)
    try:
        if job.step == "scan":
            scanning.scan(job.store, job.recipe.clean, job.tasks[number])
            return
        with _budget(job, folder, number) as budget:
            _do(job, folder / "work" / f"{number:05}", job.tasks[number], budget)
    except UserError as error:
        write_atomic(folder / "trouble" / f"{number:05}.txt", str(error))
        raise


def _do(job: Job, folder: Path, shards: list[Shard], budget: Budget) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    run = Run(folder, job.store, job.samples)
    recipe = share_of(job.recipe, job.at_a_time)
    what = one_shard.asked(run, recipe, read_piece(job.store / job.replayed) if job.replayed else None)
    if what.judge:
        each = max(1, what.judge.sampling.in_flight // job.at_a_time)
        what = what._replace(judge=what.judge._replace(sampling=what.judge.sampling.model_copy(update={"in_flight": each})))
    with _source(what, shards, budget) as source:
        for shard in shards:
            one_shard.finish(what, shard, source, job.verifiers)


def share_of(recipe: Recipe, at_a_time: int) -> Recipe:
    """The recipe with one task's share of the connections to an endpoint; an engine of a task's own is not shared."""
    if parse_teacher(recipe.teacher).kind != "openai":
        return recipe
    each = max(1, recipe.sample.in_flight // at_a_time)
    return recipe.model_copy(update={"sample": recipe.sample.model_copy(update={"in_flight": each})})


@contextlib.contextmanager
def _source(what: one_shard.Asked, shards: list[Shard], budget: Budget) -> Iterator[Source]:
    if what.replayed:
        with rounds.open_meters(what.run, what.recipe, budget) as meters:
            yield rounds.replayed_source(what.run, what.replayed, meters.judge)
        return
    with rounds.open_source(what.run, what.recipe, shards, [], budget) as source:
        yield source


@contextlib.contextmanager
def _budget(job: Job, folder: Path, number: int) -> Iterator[Budget]:
    if job.budget_usd is None and job.budget_tokens is None:
        yield rounds.NO_LIMIT
        return
    purse = Purse(folder / "purse", f"{number:05}")
    try:
        yield Budget(job.budget_usd, job.budget_tokens, purse)
    finally:
        purse.close()


def datatrove_step(data: Any, rank: int, world_size: int, *, folder: Path) -> Any:
    """A step of a datatrove pipeline that does the task of its rank in this process."""
    do_task(folder, rank)
    return data


def end_with(parent: int, also: int = 0) -> None:
    """End this process and its group when `parent` is gone; `also`, whose only child that was, has nothing to wait for then."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(LOOK_S)
        with contextlib.suppress(ProcessLookupError):
            if also:
                os.kill(also, signal.SIGKILL)
        os.killpg(0, signal.SIGKILL)

    threading.Thread(target=watch, daemon=True).start()


def main(how: str, folder: Path, number: int, more: int) -> None:
    end_with(os.getppid(), more if how == "apart" else 0)
    if how == "apart":
        do_task(folder, number)
        return
    from factory import executors

    if how == "local":
        executors.run_ranks(folder, number, more)
    else:
        executors.collect(folder)


if __name__ == "__main__":
    try:
        main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))
    except UserError as error:
        print(f"factory: {error}", file=sys.stderr)
        sys.exit(2)
