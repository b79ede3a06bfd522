"""The rates that cards quote are those of the verifier that is here, and a card shows them."""

import json

import pytest
from make_run import make_run

from cards.dataset_card import render
from cards.verifier_rates import RATES, measured_rates
from curation.verify import verifier_version

MEASURED = json.loads(RATES.read_text())


def test_the_rates_are_of_this_verifier():
    assert MEASURED["verifier"] == verifier_version(), "run tests/benchmarks/verifier_rates.py again"
    assert all(verifier_version() in suite["verifiers"] for suite in MEASURED["suites"])


@pytest.mark.parametrize("suite", MEASURED["suites"], ids=lambda s: s["suite"])
def test_intervals_hold_their_rates(suite):
    for rates in suite["verifiers"].values():
        assert rates["right"] and rates["wrong"]
        every = {"false_rejects": rates["right"], "false_accepts": rates["wrong"], "undetermined": rates["right"] + rates["wrong"]}
        for name, of in every.items():
            low, high = rates[name]["interval"]
            assert low <= rates[name]["rows"] / of <= high <= 1


def test_a_card_quotes_them(tmp_path):
    card = render(make_run(tmp_path / "run", verifier=[verifier_version()]))
    assert measured_rates([verifier_version()]) in card
    assert "right answers called incorrect" in card and MEASURED["command"] in card


def test_a_card_of_another_version_says_that_there_are_none(tmp_path):
    assert "No error rates were measured for this version" in render(make_run(tmp_path / "run"))


def test_a_card_names_the_judge(tmp_path):
    judge = {"model": "m", "endpoint": "http://localhost:8000/v1", "judged": {"different": 4, "equivalent": 2}}
    card = render(make_run(tmp_path / "run", judge=judge))
    assert "were shown to `m` at `http://localhost:8000/v1`, which said of the whole run's: 4 different, 2 equivalent" in card
