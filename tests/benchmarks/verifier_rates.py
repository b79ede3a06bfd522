"""Measure the error rates that every card quotes, on labelled suites, and write them to configs/verifier_rates.json.

    python tests/benchmarks/verifier_rates.py hardverify_math.jsonl.gz inspect_math_cases.jsonl.gz

The suites are hard on purpose (answers in unusual forms), so the rates are upper bounds for ordinary answers. To be run again
whenever curation.verify.MATH_VERSION is raised; tests/test_verifier_rates.py says when it was not.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import math
from pathlib import Path
from typing import Any

from verifier import Case, cases, math_verify_alone, ours, trl_reward

from curation.verify import verifier_version

OUT = Path(__file__).parents[2] / "configs" / "verifier_rates.json"
Z_95 = 1.96


def wilson(hits: int, total: int) -> list[float]:
    """[low, high] of a share at 95 percent (Wilson 1927), rounded to 4 digits."""
    share = hits / total
    centre = (share + Z_95**2 / (2 * total)) / (1 + Z_95**2 / total)
    half = Z_95 * math.sqrt(share * (1 - share) / total + Z_95**2 / (4 * total**2)) / (1 + Z_95**2 / total)
    return [round(max(0.0, centre - half), 4), round(min(1.0, centre + half), 4)]


def rates(rows: list[Case], outcomes: list[str]) -> dict[str, Any]:
    """False rejects of the right answers, false accepts of the wrong ones, and what was left undetermined."""
    right = [o for c, o in zip(rows, outcomes, strict=True) if c.right]
    wrong = [o for c, o in zip(rows, outcomes, strict=True) if c.right is False]
    rejected, accepted, open_ = right.count("incorrect"), wrong.count("correct"), outcomes.count("undetermined")
    return {
        "right": len(right),
        "wrong": len(wrong),
        "accepted_of_right": right.count("correct"),
        "false_rejects": {"rows": rejected, "interval": wilson(rejected, len(right))},
        "false_accepts": {"rows": accepted, "interval": wilson(accepted, len(wrong))},
        "undetermined": {"rows": open_, "interval": wilson(open_, len(rows))},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "suites", nargs="+", type=Path, help="labelled JSONL or JSONL.gz files, as tests/benchmarks/verifier.py reads"
    )
    arguments = parser.parse_args()
    names = " ".join(path.name for path in arguments.suites)
    suites = []
    for path in arguments.suites:
        rows = [case for case in cases(path) if case.right is not None]
        other = f"math-verify {importlib.metadata.version('math-verify')}"
        trl = f"trl accuracy_reward {importlib.metadata.version('trl')}"
        measured = {verifier_version(): ours(rows, 1), other: math_verify_alone(rows), trl: trl_reward(rows)}
        suites.append({"suite": path.name.split(".")[0], "verifiers": {v: rates(rows, found) for v, found in measured.items()}})
    written = {
        "verifier": verifier_version(),
        "command": f"python tests/benchmarks/verifier_rates.py {names}",
        "interval": "Wilson, 95 percent",
        "suites": suites,
    }
    OUT.write_text(json.dumps(written, indent=1) + "\n", "utf-8")
    print(OUT.read_text("utf-8"), end="")


if __name__ == "__main__":
    main()
