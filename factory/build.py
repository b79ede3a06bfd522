"""The main path: a recipe and a teacher become a curated data set. Read this first."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import NamedTuple

from factory import auditing, cleaning, labelling, measuring, rounds, tracing
from factory.assemble import assemble
from factory.executors import Executor, Place, judge_shards, scan_shards
from factory.judge import open_judge
from factory.one_shard import Judged, judge_shard
from factory.recipe import Recipe
from factory.rounds import NO_LIMIT, Budget
from factory.run import open_run
from factory.selecting import select
from factory.steps import Piece


class Pieces(NamedTuple):
    """Every finished piece of a build, in call order."""

    cleaning: list[Piece]
    replay: Piece | None
    judged: list[Judged]
    audit: Piece
    difficulty: Piece
    selected: Piece | None


def build(
    recipe: Recipe,
    *,
    runs: Path,
    out: Path | None = None,
    workers: int = 1,
    command: str = "",
    budget: Budget = NO_LIMIT,
    executor: Executor | None = None,
) -> Path:
    """Build the data set of a recipe and return its run directory.

    Whatever is finished already, in this run or in another beside it, is reused; a second call is a no-op. Killed at any
    moment and called again, it ends in the same bytes, and asks a teacher only for the samples that were in flight. Raises
    UserError when the budget is reached; what was sampled is kept. With an executor the shards are done by `workers` tasks at a
    time; without one in this process, with so many verifiers; where they are done changes no byte.
    """
    judge = open_judge(recipe.verify)
    with open_run(runs, recipe, out) as run:
        read = cleaning.read(run.store, recipe)
        place = executor and Place(executor, workers, budget, command)
        scan = functools.cache(lambda: scan_shards(run, recipe, read, place) if place else None)
        unique = cleaning.deduplicate(run.store, recipe.clean, read, workers, scan)
        clean = cleaning.decontaminate(run.store, recipe.clean, unique, workers, scan)
        checked = cleaning.check_gold(run.store, recipe.clean, clean, workers)

        cleaned = [read, unique, clean, checked]
        if recipe.labels:
            labelled, budget = labelling.label(run, recipe, checked, budget)
            cleaned.append(labelled)
        shards = tracing.shards(cleaned[-1])
        if place is None:
            with rounds.open_source(run, recipe, shards, cleaned, budget) as source:
                judged = [judge_shard(run, recipe, judge, shard, source, workers) for shard in shards]
            replayed = source.replayed
        else:
            replayed, judged = judge_shards(run, recipe, shards, cleaned, place._replace(budget=budget))
        doubts = auditing.audit(run.store, recipe.audit, cleaned, [(j.shard, j.verdicts) for j in judged], workers)

        difficulty = measuring.measure(run.store, [(j.traces, j.verdicts) for j in judged], recipe.difficulty.verdicts)
        selected = select(run.store, recipe.select, judged, difficulty) if recipe.select else None

        assemble(run, recipe, Pieces(cleaned, replayed, judged, doubts, difficulty, selected), command)
        return run.folder
