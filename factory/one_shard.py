"""What becomes of one shard of problems: traces, verdicts, examples. Done here, or by another process that leaves a record."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from curation.verify import verifier_versions
from factory import choosing, judging, rounds
from factory.identity import identity_of
from factory.judge import PROMPT_VERSION, Judge, open_judge
from factory.recipe import Recipe
from factory.rounds import Round, Source
from factory.run import Run
from factory.sampling import Identity
from factory.steps import Facts, Piece, find, once, read_piece
from factory.tracing import Shard


class Judged(NamedTuple):
    """One shard of problems with everything that became of it."""

    shard: Shard
    traces: Piece
    ruled: Piece  # verdicts of the rule
    verdicts: Piece  # the same, or with the judge's second opinions
    examples: Piece


def judge_shard(run: Run, recipe: Recipe, judge: Judge | None, shard: Shard, source: Source, workers: int) -> Judged:
    done: list[Round] = []
    while (traces := source.take(shard, done)) is not None:
        ruled = judging.judge_shard(run.store, recipe.traces, shard, traces, workers)
        verdicts = judging.second_opinions(run.store, run.samples, judge, shard, traces, ruled, source.judging) if judge else ruled
        done.append(Round(traces, ruled, verdicts))
    traces, ruled, verdicts = rounds.together(run, recipe.sample, shard, done)
    examples = choosing.choose_shard(run.store, recipe.choose, shard, traces, verdicts)
    return Judged(shard, traces, ruled, verdicts, examples)


class Asked(NamedTuple):
    """What is asked of every shard of a build, wherever it is done."""

    run: Run
    recipe: Recipe
    judge: Judge | None
    identity: Identity | None  # of the teacher; None: the traces are there already
    replayed: Piece | None


def asked(run: Run, recipe: Recipe, replayed: Piece | None) -> Asked:
    identity = None if replayed else identity_of(recipe)
    return Asked(run, recipe, open_judge(recipe.verify), identity, replayed)


def finish(what: Asked, shard: Shard, source: Source, workers: int) -> None:
    """Do a shard and leave a record of it among the finished pieces."""

    def work(folder: Path) -> Facts:
        judged = judge_shard(what.run, what.recipe, what.judge, shard, source, workers)
        pieces = {name: getattr(judged, name) for name in _NAMES}
        failed = judged.traces.facts["failed"] + judged.verdicts.facts.get("failed", 0)
        return {"pieces": {name: [p.folder.name, p.reused] for name, p in pieces.items()}, "failed": failed}

    store = what.run.store
    once(store, "shard", _settings(what), _inputs(what, shard), work, stale=lambda facts: _is_stale(store, facts))


def finished(what: Asked, shard: Shard, *, now: bool) -> Judged | None:
    """What a process left of a shard: in this call (`now`), or earlier and with no failed request that is to be asked again."""
    store = what.run.store
    record = find(store, "shard", _settings(what), _inputs(what, shard))
    if record is None or _is_stale(store, record.facts | ({"failed": 0} if now else {})):
        return None
    named = record.facts["pieces"].items()
    made = {name: read_piece(store / folder)._replace(reused=reused or not now) for name, (folder, reused) in named}
    # Whoever asks whether there are second opinions asks whether these two are one.
    verdicts = made["ruled"] if made["ruled"].key == made["verdicts"].key else made["verdicts"]
    return Judged(shard, made["traces"], made["ruled"], verdicts, made["examples"])


# What a shard's result does not depend on: how samples are fetched, how problems come here, and what follows on all shards. A
# setting that is new belongs to the key until it is named here.
_FETCHED = {"timeout_s", "in_flight", "retries", "stream", "price"}
_ELSEWHERE = {"recipe", "name", "description", "source", "teacher", "limit", "clean", "labels", "sample", "engine", "executor"}
_AFTER = {"difficulty", "audit", "select"}
_NAMES = ("traces", "ruled", "verdicts", "examples")


def _is_stale(store: Path, facts: Facts) -> bool:
    return facts["failed"] > 0 or not all((store / folder).is_dir() for folder, _ in facts["pieces"].values())


def _settings(what: Asked) -> dict[str, Any]:
    recipe = what.recipe
    return {
        "teacher": what.identity,
        "judge": what.judge and [what.judge.identity, PROMPT_VERSION],
        "verifiers": verifier_versions(),
        "sample": recipe.sample.model_dump(mode="json", exclude=_FETCHED),
        **recipe.model_dump(mode="json", exclude=_ELSEWHERE | _AFTER),
    }


def _inputs(what: Asked, shard: Shard) -> Sequence[str]:
    return [shard.digest, *([what.replayed.digest] if what.replayed else [])]
