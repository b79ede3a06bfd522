"""The measured error rates of the verifier, as configs/verifier_rates.json has them, in a card's words."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from cards.markdown import code, number, table

RATES = Path(__file__).parent.parent / "configs" / "verifier_rates.json"  # beside the packages, in a wheel too


def measured_rates(verifiers: list[str]) -> str:
    """A table of the rates measured for the verifier of mathematics; the others compare exactly and have none."""
    verifier = next((name for name in verifiers if "math-verify" in name), None)
    if verifier is None:
        return "It compares exactly: the answer is parsed, computed and held against the puzzle or the tests."
    measured = json.loads(RATES.read_text("utf-8"))
    if measured["verifier"] != verifier:
        return f"No error rates were measured for this version of the verifier; the last are of {code(measured['verifier'])}."
    rows = [_row(suite["suite"], suite["verifiers"][verifier]) for suite in measured["suites"]]
    return "\n\n".join(
        [
            f"Its error rates on labelled answers in forms chosen to be hard ({measured['interval']}, by "
            f"{code(measured['command'])}):",
            table(
                ["suite", "right answers called incorrect", "wrong answers accepted", "left undetermined"], rows, right=(1, 2, 3)
            ),
        ]
    )


def _row(suite: str, rates: dict[str, Any]) -> list[str]:
    every = rates["right"] + rates["wrong"]
    counts = (("false_rejects", rates["right"]), ("false_accepts", rates["wrong"]), ("undetermined", every))
    return [code(suite), *(_share(rates[name], of) for name, of in counts)]


def _share(found: dict[str, Any], of: int) -> str:
    low, high = found["interval"]
    return f"{number(found['rows'])} of {number(of)} ({low:.1%} to {high:.1%})"
