"""What a build will take, predicted from a few of its own problems: tokens, price and hours, each with an interval.

The lengths of reasoning have a heavy tail, so the interval comes from resampling the pilot's problems, not from a standard error.
The pilot's samples are in the store: the build does not buy them again.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from curation.errors import UserError
from curation.records import Problem, Trace, content_id, from_frame
from factory import cleaning, labelling, teachers, tracing
from factory.identity import identity_of
from factory.journal import Store
from factory.meter import Meter, guessed
from factory.prices import Price
from factory.recipe import Recipe
from factory.rounds import NO_LIMIT, on_cut, price_for
from factory.run import open_run
from factory.sampler import Sampler
from factory.sampling import Request
from factory.teachers import parse_teacher
from factory.watching import Watching

DRAWS = 2_000
LEVEL = (5.0, 97.5)  # percentiles: nine builds in ten lie between. At 95.0 one in eight would be dearer, for the tail's sake
LEAST_SPREAD = 0.1  # of a redrawn pilot, as a share of the pilot's


class Range(NamedTuple):
    """A prediction."""

    low: float
    middle: float
    high: float


class Bill(NamedTuple):
    """What one model is asked for and paid."""

    requests: int
    tokens: Range
    usd: Range | None
    hours: Range


class Prediction(NamedTuple):
    """Of the whole build: the pilot's own share is in it, and so are the labels of all problems."""

    problems: int  # to be sampled: those inside the labels' windows
    pilot: int
    samples: int
    most_samples: int  # where every problem needs all its rounds
    tokens: Range
    usd: Range | None
    price: Price | None  # the teacher's
    hours: Range
    cut: float  # share of the pilot's answers
    labels: dict[str, Bill]  # of each label that a model is asked for


def predict(recipe: Recipe, runs: Path, count: int, workers: int = 1) -> Prediction:
    """Clean the problems, sample `count` of them, drawn by their ids, as the build would, and scale up."""
    teacher = parse_teacher(recipe.teacher)
    if teacher.kind in ("oracle", "replay"):
        raise UserError(f"--pilot: the teacher {recipe.teacher!r} runs no model, so there is nothing to predict")
    with open_run(runs, recipe) as run:
        read = cleaning.read(run.store, recipe)
        unique = cleaning.deduplicate(run.store, recipe.clean, read)
        clean = cleaning.decontaminate(run.store, recipe.clean, unique)
        checked = cleaning.check_gold(run.store, recipe.clean, clean, workers)
        every = cleaning.kept(checked)
        order = every.select(pl.col("id").map_elements(lambda i: content_id("pilot", i), pl.String)).to_series().arg_sort()
        drawn = every[order[:count]]
        tried = labelling.try_labels(run, recipe, every, drawn)
        asked = from_frame(drawn.filter(pl.Series(tried.inside, dtype=pl.Boolean)), Problem)
        if drawn.height and not asked:
            raise UserError(f"--pilot: none of {drawn.height} problems is inside the windows of the labels: take more of them")
        meter = Meter(price_for(recipe, teacher, NO_LIMIT))
        traces = _sampled(recipe, run.samples, asked, meter, run.folder)
    problems = round(every.height * len(asked) / max(1, drawn.height))
    return _with_labels(scale(recipe, problems, traces, meter), _bills(recipe, every, tried))


def _bills(recipe: Recipe, every: pl.DataFrame, tried: labelling.Tried) -> dict[str, Bill]:
    """What each label that a model is asked for takes for all problems that have none of their own."""
    found: dict[str, Bill] = {}
    for how, replies, meter in zip(recipe.labels, tried.replies, tried.meters, strict=True):
        if how.judge:
            at_a_time = meter.limit or labelling.in_flight(how)
            found[how.name] = _bill(replies, meter, labelling.unlabelled(how, every), how.samples, how.max_tokens, at_a_time)
    return found


def _with_labels(p: Prediction, labels: dict[str, Bill]) -> Prediction:
    """The prediction for the teacher with what the labels take beside it; no price where one of the models has none."""
    parts = [bill.usd for bill in labels.values() if bill.usd is not None]
    whole = p.usd is not None and len(parts) == len(labels)
    return p._replace(
        tokens=_sum([p.tokens, *(bill.tokens for bill in labels.values())]),
        usd=_sum([p.usd, *parts]) if p.usd is not None and whole else None,
        hours=_sum([p.hours, *(bill.hours for bill in labels.values())]),
        labels=labels,
    )


def _sum(ranges: Sequence[Range]) -> Range:
    """Of parts that may all be high at once."""
    return Range(*(sum(ends) for ends in zip(*ranges, strict=True)))


def _sampled(recipe: Recipe, samples: Path, drawn: list[Problem], meter: Meter, folder: Path) -> list[Trace]:
    teacher = parse_teacher(recipe.teacher)
    identity = identity_of(recipe)
    asked = [Request(p.id, n, tracing.messages(recipe, p)) for p in drawn for n in range(recipe.sample.per_problem)]
    how: dict[str, Any] = {
        "sampling": tracing.to_sampling(recipe.sample),
        "meter": meter,
        "engine": recipe.engine,
        "log": folder / "vllm.log",
    }

    def ask(requests: Any, stop: Any, keep: Any) -> Any:
        return teachers.ask(teacher, identity, requests, stop=stop, keep=keep, **how)

    with (
        Watching(folder, meter, len(asked)) as watching,
        Store(samples) as store,
        Sampler(store, identity, ask, on_cut=on_cut(recipe.sample), meter=meter, ahead=iter(())) as sampler,
    ):
        sampler.settle(asked, watching.show)
        found = [t for t in sampler.traces(asked) if t.finish != "error"]
    if not found:
        raise UserError("--pilot: every request of the pilot failed: mend the endpoint and run again")
    return found


def scale(recipe: Recipe, problems: int, traces: list[Trace], meter: Meter) -> Prediction:
    """The prediction for `problems` problems from the traces of a few; order does not matter."""
    values = recipe.sample
    cut = on_cut(values)
    at_a_time = values.in_flight if meter.limit == 0 else max(1.0, meter.limit)
    longest = cut.total_tokens if cut else values.max_tokens
    bill = _bill(traces, meter, problems, values.per_problem, longest, at_a_time)
    return Prediction(
        problems=problems,
        pilot=len({t.problem_id for t in traces}),
        samples=bill.requests,
        most_samples=problems * values.most_per_problem(),
        tokens=bill.tokens,
        usd=bill.usd,
        price=meter.price,
        hours=bill.hours,
        cut=sum(t.finish == "length" for t in traces) / len(traces),
        labels={},
    )


def _bill(traces: Sequence[Trace], meter: Meter, problems: int, each: int, longest: int, at_a_time: float) -> Bill:
    """What `each` answers of at most `longest` tokens to all problems take, from the answers to a few of them."""
    groups: dict[str, list[Trace]] = {}
    for trace in traces:
        groups.setdefault(trace.problem_id, []).append(trace)
    # Of each problem: prompt tokens, answer tokens and seconds of all its samples. The build is a draw of problems.
    prompt, completion, seconds = (
        np.array([sum(map(of_one, group)) for group in groups.values()], dtype=float)
        for of_one in (lambda t: t.prompt_tokens or 0, _completion_tokens, lambda t: t.seconds or 0.0)
    )
    most, most_prompt = each * longest, float(prompt.max(initial=0.0))
    # What broke in the pilot will break again.
    again = 1 + meter.lost_tokens / max(1, meter.completion_tokens + meter.prompt_tokens)
    price = meter.price
    dollars = None if price is None else (prompt * price.input_usd + completion * price.output_usd) / 1e6
    pace = 1 / min(at_a_time, max(1, problems * each)) / 3600
    return Bill(
        requests=problems * each,
        tokens=_total((prompt + completion) * again, problems, (most_prompt + most) * again),
        usd=None if price is None or dollars is None else _total(dollars * again, problems, _dollars(most_prompt, most, price)),
        hours=_total(seconds * pace, problems),
    )


def _completion_tokens(trace: Trace) -> float:
    """As the server counted them; of one that does not, a guess by the length."""
    if trace.completion_tokens is not None:
        return trace.completion_tokens
    return guessed(len(f"{trace.reasoning or ''}{trace.answer_text}".encode()))


def _dollars(prompt_tokens: float, completion_tokens: float, price: Price) -> float:
    return (prompt_tokens * price.input_usd + completion_tokens * price.output_usd) / 1e6


def _total(of_each: NDArray[np.float64], problems: int, most: float = np.inf) -> Range:
    """The sum over the pilot's problems, which are known, and the others; `most` is the largest that one of them can be.

    Bootstrap-t (Efron & Tibshirani, "An Introduction to the Bootstrap", 1993, chapter 12): a pilot that happens to miss the tail
    has a small mean and a small spread at once, which plain percentiles do not know. Of pilots of 20 to 200 problems with
    log-normal or Pareto lengths 87 to 93 intervals in a hundred hold the truth, of the percentiles 71 to 92.
    """
    known, left, count = of_each.sum(), max(0, problems - len(of_each)), len(of_each)
    if not count:  # the pilot has seen none of them
        return Range(0.0, 0.0, left * most if left and most < np.inf else 0.0)
    mean, spread = of_each.mean(), of_each.std(ddof=1) if count > 1 else 0.0
    if left == 0 or spread == 0:
        return Range(*[float(known + left * mean)] * 3)
    draw = np.random.default_rng(0)
    pilots = of_each[draw.integers(count, size=(DRAWS, count))]
    # A draw of equals knows nothing of the spread.
    spreads = np.maximum(pilots.std(axis=1, ddof=1), LEAST_SPREAD * spread)
    coming = mean + spread / np.sqrt(left) * draw.standard_normal(DRAWS)
    low, high = mean + spread * np.percentile((coming - pilots.mean(axis=1)) / spreads, LEVEL)
    bounds = np.clip([low, mean, high], 0.0, most)
    return Range(*(float(known + left * bound) for bound in bounds))


def prediction_text(p: Prediction) -> str:
    lines = [f"pilot      {p.pilot:,} of {p.problems:,} problems after cleaning; its samples are kept and not bought again"]
    rounds = f", {p.most_samples:,} if every problem needs all its rounds" if p.most_samples > p.samples else ""
    lines.append(f"samples    {p.samples:,}{rounds}; {p.cut:.1%} were cut")
    for name, bill in p.labels.items():
        usd = "price unknown" if bill.usd is None else f"${bill.usd.middle:,.2f}"
        lines.append(f"labels     {name}: {bill.requests:,} requests, {bill.tokens.middle:,.0f} tokens, {usd}; in the sums below")
    lines.append(f"tokens     {p.tokens.middle:,.0f} ({p.tokens.low:,.0f} to {p.tokens.high:,.0f} in nine cases of ten)")
    if p.usd is None or p.price is None:
        unknown = [name for name, bill in p.labels.items() if bill.usd is None]
        what = f"the label {unknown[0]}: --set labels.N.price" if unknown else "this model: --set sample.price"
        lines.append(f"price      unknown for {what}.input_usd=..., and .output_usd=... likewise")
    else:
        source = f"{p.price.source}, read {p.price.as_of}" if p.price.as_of else p.price.source
        lines.append(f"price      ${p.usd.middle:,.2f} (${p.usd.low:,.2f} to ${p.usd.high:,.2f}), the teacher's by {source}")
    lines.append(f"hours      {p.hours.middle:,.2f} ({p.hours.low:,.2f} to {p.hours.high:,.2f}) at the pilot's pace and limit")
    return "\n".join(lines)
