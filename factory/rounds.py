"""Where the traces of each shard come from, and how often: more samples for the problems that have not enough of them."""

from __future__ import annotations

import contextlib
import itertools
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

import polars as pl

from curation.errors import UserError
from curation.files import write_table
from curation.records import Problem, Trace
from factory import oracle, teachers, tracing
from factory.continuing import OnCut
from factory.first_look import FirstLook
from factory.identity import identity_of
from factory.journal import Store
from factory.judging import is_correct
from factory.meter import Meter
from factory.prices import Price
from factory.progress import track
from factory.purse import Purse
from factory.recipe import ModelPrice, Recipe, Sample
from factory.run import Run
from factory.sampler import Sampler
from factory.sampling import Identity, Request
from factory.settling import account, finished
from factory.spending import Spending
from factory.steps import Facts, Piece, is_finished, once
from factory.teachers import Teacher, parse_teacher
from factory.tracing import Shard
from factory.watching import Watching


class Budget(NamedTuple):
    """What one call may spend; None: no limit."""

    usd: float | None = None
    tokens: int | None = None
    purse: Purse | None = None  # where several processes spend it


NO_LIMIT = Budget()


class Round(NamedTuple):
    """What became of one round of a shard."""

    traces: Piece
    ruled: Piece  # verdicts of the rule
    verdicts: Piece  # the same, or with the judge's second opinions


class Source(NamedTuple):
    """Where traces come from. `take` gives the traces of a shard's next round, None where no problem is to get more."""

    replayed: Piece | None
    take: Callable[[Shard, Sequence[Round]], Piece | None]
    judging: Meter  # of the judge, on the same budget


class Meters(NamedTuple):
    teacher: Meter
    judge: Meter
    spending: Spending


@contextlib.contextmanager
def open_source(run: Run, recipe: Recipe, shards: Sequence[Shard], cleaned: Sequence[Piece], budget: Budget) -> Iterator[Source]:
    """The teacher of a recipe. One that runs a model samples in the background, ahead of the shard that is asked for."""
    teacher = parse_teacher(recipe.teacher)
    with open_meters(run, recipe, budget) as (meter, judging, spending):
        if teacher.kind == "replay":
            replayed = tracing.replay(run.store, teacher.model, shards, cleaned, recipe.clean)
            yield replayed_source(run, replayed, judging)
            return
        identity = identity_of(recipe)
        if teacher.kind == "oracle":
            yield Source(None, partial(_told, run, recipe, identity), judging)
            return
        with Store(run.samples) as store, _sampler(run, recipe, teacher, identity, store, meter, shards) as sampler:
            total = sum(len(tracing.problems_of(s)) for s in shards) * recipe.sample.per_problem
            with Watching(run.folder, meter, total, spending.write) as watching:
                yield Source(None, partial(_sampled, run, recipe, identity, sampler, watching), judging)


@contextlib.contextmanager
def open_meters(run: Run, recipe: Recipe, budget: Budget) -> Iterator[Meters]:
    """Of the teacher and of the judge, on one budget; what they have spent is noted in the run's folder."""
    with contextlib.ExitStack() as stack:
        purse = stack.enter_context(contextlib.closing(budget.purse.beside("judge"))) if budget.purse else None
        meter = Meter(price_for(recipe, parse_teacher(recipe.teacher), budget), budget.usd, budget.tokens, purse=budget.purse)
        judging = Meter(_judge_price(recipe, budget), budget.usd, budget.tokens, purse=purse)
        meter.beside, judging.beside = judging, meter
        with Spending(run.folder, {"teacher": meter, "judge": judging}) as spending:
            yield Meters(meter, judging, spending)


def replayed_source(run: Run, replayed: Piece, judging: Meter) -> Source:
    return Source(replayed, lambda shard, before: None if before else tracing.replayed_shard(run.store, replayed, shard), judging)


def price_for(recipe: Recipe, teacher: Teacher, budget: Budget) -> Price | None:
    """What the recipe says, or else the price list. Raises UserError where a budget in dollars needs a price and there is none."""
    return price_said(recipe.sample.price, teacher, budget, "sample.price")


def _judge_price(recipe: Recipe, budget: Budget) -> Price | None:
    if recipe.verify.judge is None:
        return None
    return price_said(recipe.verify.judge_price, parse_teacher(recipe.verify.judge), budget, "verify.judge_price")


def price_said(said: ModelPrice | None, teacher: Teacher, budget: Budget, setting: str) -> Price | None:
    """What the recipe says at `setting`, or else the price list; UserError as in `price_for`."""
    if said:
        return Price(said.input_usd, said.output_usd, "", "the recipe")
    price = teachers.price(teacher)
    if price is None and budget.usd is not None:
        raise UserError(
            f"--budget-usd: no price is known for {teacher.model!r} there; wanted one: "
            f"--set {setting}.input_usd=... --set {setting}.output_usd=... (a million tokens), or use --budget-tokens"
        )
    return price


@contextlib.contextmanager
def _sampler(
    run: Run, recipe: Recipe, teacher: Teacher, identity: Identity, store: Store, meter: Meter, shards: Sequence[Shard]
) -> Iterator[Sampler]:
    how = {"sampling": tracing.to_sampling(recipe.sample), "meter": meter, "engine": recipe.engine, "log": run.folder / "vllm.log"}
    # A finished piece needs no samples, even where the store of samples was deleted.
    due = (s for s in shards if not is_finished(run.store, "traces", _settings(recipe, identity), [s.digest], _failed))
    ahead = ([request for request, _ in _requests(recipe, shard, [])] for shard in due)
    with FirstLook(shards, meter) as look:
        ask = partial(_ask, teacher, identity, look, **how)
        with Sampler(store, identity, ask, on_cut=on_cut(recipe.sample), meter=meter, ahead=ahead) as sampler:
            yield sampler


def _ask(teacher: Teacher, identity: Identity, look: FirstLook, requests: Any, stop: Any, keep: Any, **how: Any) -> Any:
    def kept(trace: Trace) -> None:
        keep(trace)
        look.take(trace)

    return teachers.ask(teacher, identity, requests, stop=stop, keep=kept, **how)


def on_cut(values: Sample) -> OnCut | None:
    if values.on_cut == "set-aside":
        return None
    return OnCut(values.max_tokens, values.total_tokens or 4 * values.max_tokens)


def _settings(recipe: Recipe, identity: Identity) -> dict[str, Any]:
    cut = on_cut(recipe.sample)
    asked = {"teacher": identity, "system": recipe.system, "prompt": recipe.prompt, "n": recipe.sample.per_problem}
    return {**asked, "total_tokens": cut.total_tokens} if cut else asked


def _failed(facts: Facts) -> bool:
    return bool(facts["failed"])


def _told(run: Run, recipe: Recipe, identity: Identity, shard: Shard, before: Sequence[Round]) -> Piece | None:
    wanted = _requests(recipe, shard, before)

    def work(folder: Any) -> Facts:
        traces = (oracle.solve(problem, request.index) for request, problem in wanted)
        return tracing.write_traces(track(traces, "solve", len(wanted), "traces"), folder)

    inputs = [shard.digest, *(r.verdicts.digest for r in before)]
    return once(run.store, "traces", _settings(recipe, identity), inputs, work) if wanted or not before else None


def _sampled(
    run: Run, recipe: Recipe, identity: Identity, sampler: Sampler, watching: Watching, shard: Shard, before: Sequence[Round]
) -> Piece | None:
    """The traces of one round. A piece in which requests failed is done again by the next build."""
    if before:
        _tell(sampler.meter, before[-1])
    wanted = [request for request, _ in _requests(recipe, shard, before)]
    if before and not wanted:
        return None
    if before:
        watching.another_round(len(wanted))

    def work(folder: Any) -> Facts:
        sampler.settle(wanted, watching.show)
        return tracing.write_traces(sampler.traces(wanted), folder)

    inputs = [shard.digest, *(r.verdicts.digest for r in before)]
    piece = once(run.store, "traces", _settings(recipe, identity), inputs, work, stale=_failed)
    watching.finished(len(wanted))
    return piece


def _tell(meter: Meter, last: Round) -> None:
    rows = pl.read_parquet(last.verdicts.folder / "verdicts.parquet").to_dicts()
    meter.judged += len(rows)
    meter.correct += sum(map(is_correct, rows))


def _requests(recipe: Recipe, shard: Shard, before: Sequence[Round]) -> list[tuple[Request, Problem]]:
    """What the next round of a shard asks for: all problems first, then those that are short."""
    sample, taken = recipe.sample, recipe.sample.per_problem * len(before)
    until = min(sample.most_per_problem(), taken + sample.per_problem)
    problems = tracing.problems_of(shard)
    if before:
        enough = finished(sample, before)
        problems = [p for p in problems if p.id not in enough]
    asked = {p.id: tracing.messages(recipe, p) for p in problems}
    return [(Request(p.id, n, asked[p.id]), p) for p, n in itertools.product(problems, range(taken, until))]


def together(run: Run, sample: Sample, shard: Shard, rounds: Sequence[Round]) -> Round:
    """The rounds of a shard as if they had been one, with the account of them in the traces' facts."""
    if not sample.has_rounds():
        return rounds[0]
    problems = [p.id for p in tracing.problems_of(shard)]
    lines, told = account(sample, problems, rounds)

    settings: list[Any] = ["rounds", sample.until_correct, sample.per_problem, sample.most_per_problem()]
    settings += [sample.settle.model_dump()] if sample.settle else []
    places = {"problem_id": problems, "place": range(len(problems))}
    order = pl.DataFrame(places, schema={"problem_id": pl.String, "place": pl.Int64})

    def merge(name: str, pieces: Sequence[Piece], facts: Facts) -> Piece:
        def work(folder: Any) -> Facts:
            frame = pl.concat([pl.read_parquet(p.folder / f"{name}.parquet") for p in pieces])
            placed = frame.join(order, on="problem_id", how="left", maintain_order="left")
            write_table(placed.sort("place", maintain_order=True).drop("place"), folder / f"{name}.parquet")
            return facts

        return once(run.store, name, settings, [shard.digest, *(p.digest for p in pieces)], work)

    counts = ("traces", "failed", "prompt_tokens", "completion_tokens")
    summed = {k: sum(r.traces.facts[k] for r in rounds) for k in counts}
    traces = merge("traces", [r.traces for r in rounds], {**summed, "funnel": lines, "rounds": told})
    ruled = merge("verdicts", [r.ruled for r in rounds], _summed([r.ruled for r in rounds]))
    same = all(r.ruled.digest == r.verdicts.digest for r in rounds)
    verdicts = ruled if same else merge("verdicts", [r.verdicts for r in rounds], _summed([r.verdicts for r in rounds]))
    return Round(traces, ruled, verdicts)


def _summed(pieces: Sequence[Piece]) -> Facts:
    """The facts of a judge's pieces as of one; none where the rule judged alone."""
    if "judge" not in pieces[0].facts:
        return {}
    judged: Counter[str] = Counter()
    for piece in pieces:
        judged.update(piece.facts["judged"])
    failed = sum(piece.facts["failed"] for piece in pieces)
    return {"judge": pieces[0].facts["judge"], "judged": dict(sorted(judged.items())), "failed": failed}
