"""Programs through the one call: order and concurrency beside other domains, golds checked by reading."""

import json
import time

import pytest

from curation.verify import check_gold, verify, verify_all

GOLD = json.dumps({"kind": "calls", "fn_name": "f", "inputs": [[2], [5]], "outputs": [4, 10]})
RIGHT = "```python\ndef f(x):\n    return 2 * x\n```"
WRONG = "```python\ndef f(x):\n    return x\n```"
SLEEPS = "```python\nimport time\ndef f(x):\n    time.sleep(99)\n```"


def test_one_program_and_several():
    one = verify(GOLD, RIGHT, domain="code")
    assert (one.outcome, one.why) == ("correct", "tests_passed")
    assert [v.why for v in verify([GOLD, GOLD, None], [RIGHT, WRONG, RIGHT], domain="code")] == [
        "tests_passed",
        "tests_failed",
        "no_gold",
    ]


@pytest.mark.parametrize("workers", [1, 2])
def test_domains_mix_and_keep_their_order(workers):
    rows = [(GOLD, RIGHT, "code"), ("1/2", r"\boxed{0.5}", "math"), (GOLD, WRONG, "code"), ("2*3*4", "2*3*4", "countdown")] * 3
    verdicts = list(verify_all(rows, workers=workers))
    assert [v.outcome for v in verdicts] == ["correct", "correct", "incorrect", "correct"] * 3


def test_a_program_that_sleeps_holds_nobody_up():
    started = time.monotonic()
    rows = [(GOLD, SLEEPS, "code"), (GOLD, SLEEPS, "code"), (GOLD, RIGHT, "code")]
    assert [v.why for v in verify_all(rows, timeout_s=1.0, workers=3)] == ["timeout", "timeout", "tests_passed"]
    assert time.monotonic() - started < 30


@pytest.mark.parametrize(
    ("gold", "why"),
    [
        (GOLD, "equal"),
        ("42", "unparseable_gold"),
        ("{", "unparseable_gold"),
        ("[" * 100_000, "unparseable_gold"),
        (None, "no_gold"),
    ],
)
def test_golds_are_checked_by_reading(gold, why):
    assert check_gold(gold, "code").why == why
