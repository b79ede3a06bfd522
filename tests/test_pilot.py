"""Predictions from a pilot: near the truth, honest about the tail, and paid once."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from fault_server import FaultServer, serve_faults
from test_rounds import hard, recipe, sent

from curation.errors import UserError
from curation.records import Trace, trace
from factory.build import build
from factory.meter import Meter
from factory.pilot import predict, prediction_text, scale
from factory.prices import Price, price_of
from factory.recipe import load_recipe


@pytest.fixture(scope="module")
def server() -> Iterator[FaultServer]:
    with serve_faults() as running:
        yield running


def drawn(draw: random.Random, count: int) -> list[Trace]:
    """Traces with lengths as reasoning has them: log-normal, a hundredth ten times the median."""
    lengths = [int(draw.lognormvariate(8, 1)) for _ in range(count)]
    return [
        trace(problem_id=f"p{n}", index=0, teacher="m", prompt_tokens=100, completion_tokens=length, seconds=length / 50)
        for n, length in enumerate(lengths)
    ]


def test_nine_intervals_in_ten_hold_the_truth() -> None:
    asked = load_recipe("openr1-math")
    held = 0
    for seed in range(60):
        draw = random.Random(seed)
        predicted = scale(asked, 2000, drawn(draw, 60), Meter(Price(1.0, 10.0, "", "")), 10.0)
        truth = sum(t.completion_tokens or 0 for t in drawn(draw, 2000)) + 2000 * 100
        held += predicted.tokens.low <= truth <= predicted.tokens.high
        assert predicted.usd is not None and predicted.usd.low < predicted.usd.middle < predicted.usd.high
    assert held >= 0.7 * 60  # a pilot of 60 sees the tail rarely: below nine in ten, as the bootstrap is known to be


def test_a_pilot_is_sampled_once_and_the_build_does_not_buy_it_again(tmp_path: Path, server: FaultServer) -> None:
    priced = ("sample.price.input_usd=1", "sample.price.output_usd=10")
    asked = recipe(tmp_path, server.url, hard("pilot", *[1] * 30), *priced)
    predicted = predict(asked, tmp_path / "runs", 5)
    assert sent(server, "pilot") == 5
    assert (predicted.problems, predicted.pilot, predicted.samples) == (30, 5, 30)
    assert predicted.tokens.middle == pytest.approx(30 * 120) and predicted.usd is not None
    assert predicted.usd.middle == pytest.approx(30 * (20 + 1000) / 1e6)
    assert "price      $0.03" in prediction_text(predicted)
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
