"""Predictions from a pilot: near the truth, honest about the tail, and paid once."""

from __future__ import annotations

import dataclasses
import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from fault_server import FaultServer, serve_faults
from solving import hard, recipe, sent

from curation.errors import UserError
from curation.records import Trace, trace
from factory.build import build
from factory.meter import Meter
from factory.pilot import predict, prediction_text, scale
from factory.prices import Price, price_of
from factory.recipe import Changes, load_recipe


@pytest.fixture(scope="module")
def server() -> Iterator[FaultServer]:
    with serve_faults() as running:
        yield running


MOST = 32_768  # tokens of an answer


def log_normal(draw: random.Random) -> float:
    return draw.lognormvariate(8, 1)  # a hundredth is ten times the median


def pareto(draw: random.Random) -> float:
    return 1000 * draw.paretovariate(1.5)  # without the cap its variance would have no end


def drawn(draw: random.Random, count: int, length: Callable[[random.Random], float] = log_normal) -> list[Trace]:
    """Traces with lengths as reasoning has them."""
    lengths = [min(MOST, int(length(draw))) for _ in range(count)]
    return [
        trace(problem_id=f"p{n}", index=0, teacher="m", prompt_tokens=100, completion_tokens=length, seconds=length / 50)
        for n, length in enumerate(lengths)
    ]


@pytest.mark.slow
@pytest.mark.parametrize("length", [log_normal, pareto])
@pytest.mark.parametrize("count", [20, 60, 200])
def test_nine_intervals_in_ten_hold_the_truth(count: int, length: Callable[[random.Random], float]) -> None:
    asked = load_recipe("openr1-math", Changes(assignments=(f"sample.max_tokens={MOST}", "sample.per_problem=1")))
    held, low = 0, 0
    for seed in range(100):
        draw = random.Random(seed)
        every = drawn(draw, 1000, length)
        predicted = scale(asked, 1000, every[:count], Meter(Price(1.0, 10.0, "", "")))
        truth = sum(t.completion_tokens or 0 for t in every) + 1000 * 100
        held += predicted.tokens.low <= truth <= predicted.tokens.high
        low += truth < predicted.tokens.low
        assert predicted.usd is not None and predicted.usd.low < predicted.usd.middle < predicted.usd.high
    assert 0.82 * 100 <= held <= 0.97 * 100  # nominal: 0.9
    assert low <= 0.09 * 100  # nominal: 0.05


def test_a_pilot_of_everything_is_exact() -> None:
    asked = load_recipe("openr1-math")
    traces = drawn(random.Random(0), 40)
    predicted = scale(asked, 40, traces, Meter())
    assert set(predicted.tokens) == {sum(t.completion_tokens or 0 for t in traces) + 4000}


def test_what_broke_off_in_the_pilot_is_in_the_price() -> None:
    asked = load_recipe("openr1-math")
    whole, torn = Meter(), Meter(prompt_tokens=500, completion_tokens=1500, lost_tokens=500)
    traces = drawn(random.Random(0), 40)
    without, with_lost = (scale(asked, 400, traces, meter).tokens.middle for meter in (whole, torn))
    assert with_lost == pytest.approx(1.25 * without)


def test_a_server_that_counts_no_tokens_is_priced_by_the_length_of_its_answers() -> None:
    counted = drawn(random.Random(0), 40)
    silent = [dataclasses.replace(t, completion_tokens=None, answer_text="word" * (t.completion_tokens or 0)) for t in counted]
    asked = load_recipe("openr1-math")
    assert scale(asked, 400, silent, Meter()).tokens == scale(asked, 400, counted, Meter()).tokens


def test_a_pilot_is_sampled_once_and_the_build_does_not_buy_it_again(tmp_path: Path, server: FaultServer) -> None:
    priced = ("sample.price.input_usd=1", "sample.price.output_usd=10")
    asked = recipe(tmp_path, server.url, hard("pilot", *[1] * 30), *priced)
    predicted = predict(asked, tmp_path / "runs", 5)
    assert sent(server, "pilot") == 5
    assert (predicted.problems, predicted.pilot, predicted.samples) == (30, 5, 30)
    assert predicted.tokens.middle == pytest.approx(30 * 120) and predicted.usd is not None
    assert predicted.usd.middle == pytest.approx(30 * (20 + 1000) / 1e6)
    assert "price      $0.03" in prediction_text(predicted) and prediction_text(predicted).count("by the recipe\n") == 1
    dated = predicted._replace(price=Price(1, 10, "2026-01-31", "https://prices.example"))
    assert "by https://prices.example, read 2026-01-31\n" in prediction_text(dated)
    build(asked, runs=tmp_path / "runs")
    assert sent(server, "pilot") == 30


def test_what_runs_no_model_has_no_pilot(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="runs no model"):
        predict(load_recipe("countdown"), tmp_path, 3)


def test_prices_are_by_host_and_model_and_unknown_ones_are_none() -> None:
    known = price_of("deepseek-reasoner", "https://api.deepseek.com/v1")
    assert known is not None and known.as_of and known.source.startswith("https://") and known.output_usd > known.input_usd > 0
    assert price_of("deepseek-reasoner", "https://elsewhere.example/v1") is None
    assert price_of("unheard-of", "https://api.deepseek.com/v1") is None
    assert price_of("any", "http://localhost:8000/v1") == Price(
        0.0, 0.0, "", "a server of your own: what its machine costs is not counted"
    )


def _levels(tag: str, *levels: str) -> list[str]:
    return [f"label-{level} 42 is how much of {tag} number {n}" for n, level in enumerate(levels)]


def test_the_labels_of_a_recipe_are_in_the_price_and_their_windows_in_the_count(tmp_path: Path, server: FaultServer) -> None:
    label = f"labels=[{{name: level, rubric: difficulty, judge: 'openai:j@{server.url}', samples: 2, high: 8.5}}]"
    priced = ("sample.price.input_usd=1", "sample.price.output_usd=10", label, "prompt='solve 42 1 {problem}'")
    judged = ("labels.0.price.input_usd=100", "labels.0.price.output_usd=1000")
    prompts = _levels("labels", *["4", "9"] * 15)
    asked = recipe(tmp_path, server.url, prompts, *priced, *judged)
    predicted = predict(asked, tmp_path / "runs", 6)
    inside = sum(seen.fault == "solve" for seen in server.seen if "of labels " in seen.prompt)
    assert sent(server, "labels") == 2 * 6 + inside and 0 < inside < 6
    assert predicted.problems == predicted.samples == 5 * inside
    bill = predicted.labels["level"]
    assert bill.requests == 60 and bill.usd is not None and predicted.usd is not None
    assert bill.tokens.middle == pytest.approx(60 * 18)
    assert bill.usd.middle == pytest.approx(60 * (7 * 100 + 11 * 1000) / 1e6)
    assert predicted.tokens.middle == pytest.approx(60 * 18 + 5 * inside * 120)
    assert predicted.usd.middle == pytest.approx(bill.usd.middle + 5 * inside * (20 + 1000) / 1e6)
    assert "labels     level: 60 requests, 1,080 tokens, $0.70; in the sums below" in prediction_text(predicted)
    build(asked, runs=tmp_path / "runs")
    assert sent(server, "labels") == 2 * 30 + 15


def test_a_pilot_says_whose_price_is_unknown_and_asks_for_no_label_that_is_given(tmp_path: Path, server: FaultServer) -> None:
    label = f"labels=[{{name: level, rubric: difficulty, given: rank, judge: 'openai:j@{server.url}'}}]"
    asked = recipe(tmp_path, server.url, _levels("given", *["4"] * 8), label, "prompt='solve 42 1 {problem}'")
    path = tmp_path / "problems.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    path.write_text("".join(json.dumps(row | ({"rank": 3.0} if n % 2 else {})) + "\n" for n, row in enumerate(rows)))
    predicted = predict(asked, tmp_path / "runs", 8)
    assert sent(server, "given") == 8 + 4 and predicted.labels["level"].requests == 4
    nothing = predicted._replace(usd=None, labels={"level": predicted.labels["level"]._replace(usd=None)})
    assert "price      unknown for the label level: --set labels.N.price.input_usd=..." in prediction_text(nothing)


def test_a_pilot_outside_every_window_says_so(tmp_path: Path, server: FaultServer) -> None:
    label = f"labels=[{{name: level, rubric: difficulty, judge: 'openai:j@{server.url}', low: 5}}]"
    with pytest.raises(UserError, match="none of 3 problems is inside the windows of the labels"):
        predict(recipe(tmp_path, server.url, _levels("outside", *["4"] * 8), label), tmp_path / "runs", 3)
