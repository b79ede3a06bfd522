"""The main path: a recipe and a teacher become a curated data set. Read this first."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from factory import auditing, choosing, cleaning, judging, measuring, rounds, tracing
from factory.assemble import assemble
from factory.judge import Judge, open_judge
from factory.recipe import Recipe
from factory.rounds import NO_LIMIT, Budget, Round, Source
from factory.run import Run, open_run
from factory.selecting import select
from factory.steps import Piece


class Judged(NamedTuple):
    """One shard of problems with everything that became of it."""

    shard: tracing.Shard
    traces: Piece
    ruled: Piece  # verdicts of the rule
    verdicts: Piece  # the same, or with the judge's second opinions
    examples: Piece


class Pieces(NamedTuple):
    """Every finished piece of a build, in call order."""

    cleaning: list[Piece]
    replay: Piece | None
    judged: list[Judged]
    audit: Piece
    difficulty: Piece
    selected: Piece | None


def build(
    recipe: Recipe, *, runs: Path, out: Path | None = None, workers: int = 1, command: str = "", budget: Budget = NO_LIMIT
) -> Path:
    """Build the data set of a recipe and return its run directory.

    Whatever is finished already, in this run or in another beside it, is reused; a second call is a no-op. Killed at any
    moment and called again, it ends in the same bytes, and asks a teacher only for the samples that were in flight. Raises
    UserError when the budget is reached; what was sampled is kept.
    """
    judge = open_judge(recipe.verify)
    with open_run(runs, recipe, out) as run:
        read = cleaning.read(run.store, recipe)
        unique = cleaning.deduplicate(run.store, recipe.clean, read, workers)
        clean = cleaning.decontaminate(run.store, recipe.clean, unique)
        checked = cleaning.check_gold(run.store, recipe.clean, clean, workers)

        cleaned = [read, unique, clean, checked]
        shards = tracing.shards(checked)
        with rounds.open_source(run, recipe, shards, cleaned, budget) as source:
            judged = [_judge(run, recipe, judge, shard, source, workers) for shard in shards]
        doubts = auditing.audit(run.store, recipe.audit, cleaned, [(j.shard, j.verdicts) for j in judged], workers)

        difficulty = measuring.measure(run.store, [(j.traces, j.verdicts) for j in judged], recipe.difficulty.verdicts)
        selected = select(run.store, recipe.select, judged, difficulty) if recipe.select else None

        assemble(run, recipe, Pieces(cleaned, source.replayed, judged, doubts, difficulty, selected), command)
        return run.folder


def _judge(run: Run, recipe: Recipe, judge: Judge | None, shard: tracing.Shard, source: Source, workers: int) -> Judged:
    done: list[Round] = []
    while (traces := source.take(shard, done)) is not None:
        ruled = judging.judge_shard(run.store, recipe.traces, shard, traces, workers)
        verdicts = judging.second_opinions(run.store, run.samples, judge, shard, traces, ruled) if judge else ruled
        done.append(Round(traces, ruled, verdicts))
    traces, ruled, verdicts = rounds.together(run, recipe.sample, shard, done)
    examples = choosing.choose_shard(run.store, recipe.choose, shard, traces, verdicts)
    return Judged(shard, traces, ruled, verdicts, examples)
