"""What a build will take, predicted from a few of its own problems: tokens, price and hours, each with an interval.

The lengths of reasoning have a heavy tail, so the interval comes from resampling the pilot's problems (percentile bootstrap,
Efron 1979), not from a standard error. The pilot's samples are in the store: the build does not buy them again.
"""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from curation.errors import UserError
from curation.records import Problem, Trace, content_id
from factory import cleaning, teachers, tracing
from factory.meter import Meter
from factory.progress import track
from factory.recipe import Recipe
from factory.rounds import NO_LIMIT, price_for
from factory.run import open_run
from factory.sampling import Request, sample
from factory.teachers import parse_teacher

DRAWS = 2_000
LEVEL = (5.0, 95.0)  # percentiles: nine builds in ten lie between


class Range(NamedTuple):
    """A prediction."""

    low: float
    middle: float
    high: float


class Prediction(NamedTuple):
    """Of the whole build: the pilot's own share is in it."""

    problems: int
    pilot: int
    samples: int
    most_samples: int  # where every problem needs all its rounds
    tokens: Range
    usd: Range | None
    hours: Range
    cut: float  # share of the pilot's answers
    tokens_per_s: float


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
        problems = [p for shard in tracing.shards(checked) for p in tracing.problems_of(shard)]
        drawn = sorted(problems, key=lambda p: content_id("pilot", p.id))[:count]
        meter, began = Meter(price_for(recipe, teacher, NO_LIMIT)), time.monotonic()
        traces = _sampled(recipe, run.samples, drawn, meter, run.folder)
        seconds = time.monotonic() - began
    return scale(recipe, len(problems), traces, meter, seconds)


def _sampled(recipe: Recipe, samples: Path, drawn: list[Problem], meter: Meter, folder: Path) -> list[Trace]:
    teacher = parse_teacher(recipe.teacher)
    identity = tracing.identify(teacher, recipe.sample)
    asked = [Request(p.id, n, tracing.messages(recipe, p)) for p in drawn for n in range(recipe.sample.per_problem)]
    sampling = tracing.to_sampling(recipe.sample)
    ask = partial(teachers.ask, teacher, identity, sampling=sampling, meter=meter, engine=recipe.engine, log=folder / "vllm.log")
    arriving = sample(asked, ask=ask, identity=identity, journal_folder=samples)
    found = [t for t in track(arriving, "pilot", len(asked), "traces") if t.finish != "error"]
    if not found:
        raise UserError("--pilot: every request of the pilot failed: mend the endpoint and run again")
    return found


def scale(recipe: Recipe, problems: int, traces: list[Trace], meter: Meter, seconds: float) -> Prediction:
    """The prediction for `problems` problems from the traces of a few; order does not matter."""
    groups: dict[str, list[Trace]] = {}
    for trace in traces:
        groups.setdefault(trace.problem_id, []).append(trace)
    # Of each problem: prompt tokens, answer tokens and seconds of all its samples. The build is a draw of problems.
    sums = np.array(
        [
            (sum(t.prompt_tokens or 0 for t in g), sum(t.completion_tokens or 0 for t in g), sum(t.seconds or 0.0 for t in g))
            for g in groups.values()
        ],
        dtype=float,
    )
    totals = _bootstrap(sums, problems)
    at_a_time = recipe.sample.in_flight if meter.limit == 0 else max(1.0, meter.limit)
    hours = totals[:, 2] / min(at_a_time, max(1, problems * recipe.sample.per_problem)) / 3600
    price = meter.price
    usd = None if price is None else _range((totals[:, 0] * price.input_usd + totals[:, 1] * price.output_usd) / 1e6)
    return Prediction(
        problems=problems,
        pilot=len(groups),
        samples=problems * recipe.sample.per_problem,
        most_samples=problems * recipe.sample.most_per_problem(),
        tokens=_range(totals[:, 0] + totals[:, 1]),
        usd=usd,
        hours=_range(hours),
        cut=sum(t.finish == "length" for t in traces) / len(traces),
        tokens_per_s=meter.completion_tokens / seconds if seconds else 0.0,
    )


def _bootstrap(sums: NDArray[np.float64], problems: int) -> NDArray[np.float64]:
    """Totals over `problems` problems, DRAWS times: the pilot is drawn anew (what it may have missed), then the build from it."""
    draw = np.random.default_rng(0)
    pilots = sums[draw.integers(len(sums), size=(DRAWS, len(sums)))]
    mean, spread = pilots.mean(axis=1), pilots.std(axis=1)
    totals: NDArray[np.float64] = problems * mean + np.sqrt(problems) * spread * draw.standard_normal((DRAWS, 1))
    return totals.clip(0)


def _range(values: NDArray[np.float64]) -> Range:
    low, high = np.percentile(values, LEVEL)
    return Range(float(low), float(np.median(values)), float(high))


def prediction_text(p: Prediction) -> str:
    lines = [f"pilot      {p.pilot:,} of {p.problems:,} problems after cleaning; its samples are kept and not bought again"]
    rounds = f", {p.most_samples:,} if every problem needs all its rounds" if p.most_samples > p.samples else ""
    lines.append(f"samples    {p.samples:,}{rounds}; {p.cut:.1%} were cut")
    lines.append(f"tokens     {p.tokens.middle:,.0f} ({p.tokens.low:,.0f} to {p.tokens.high:,.0f} in nine cases of ten)")
    if p.usd is None:
        lines.append("price      unknown for this model: --set sample.price.input_usd=... --set sample.price.output_usd=...")
    else:
        lines.append(f"price      ${p.usd.middle:,.2f} (${p.usd.low:,.2f} to ${p.usd.high:,.2f})")
    lines.append(f"hours      {p.hours.middle:,.2f} ({p.hours.low:,.2f} to {p.hours.high:,.2f}) at the pilot's pace and limit")
    return "\n".join(lines)
