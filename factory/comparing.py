"""Results of `factory eval` as a table for a person, and two of them compared on the questions both have."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from curation.errors import UserError
from factory.evaluating import RESULT
from training.scores import Difference, compare

RATES = ("truncated", "no_answer", "undetermined")


def read_result(path: Path) -> dict[str, Any]:
    """A result file. Raises UserError where it is none."""
    try:
        found = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read as a result ({error}): wanted a file that factory eval wrote") from None
    if not isinstance(found, dict) or found.get("result") != RESULT:
        raise UserError(f"{path} is no result of this factory eval: wanted a JSON file with result {RESULT!r}")
    return found


def result_table(path: Path, against: Path | None = None) -> str:
    """The scores of a result in lines, and with `against` what they gain or lose, with the method of the test."""
    found = read_result(path)
    lines = list(_scores(found))
    if against:
        lines += ["", *_comparison(found, against)]
    return "\n".join([*lines, f"written to {path} and {path.with_suffix('.parquet').name}"])


def _scores(found: dict[str, Any]) -> Iterator[str]:
    suite, scores = found["suite"], found["scores"]
    yield f"{found['model']['model']} on {suite['name']}: {suite['questions']:,} questions, {scores['samples']} samples each"
    yield f"{'':<13} {'':>8}  over questions    over samples"
    for name, score in scores.items():
        if isinstance(score, dict) and "value" in score and name not in RATES:
            samples = _interval(score["samples_interval"]) if "samples_interval" in score else ""
            yield f"{name:<13} {score['value']:>8.1%}  {_interval(score['questions_interval'])}  {samples}".rstrip()
    for name in RATES:
        yield f"{name:<13} {scores[name]['value']:>8.1%}  {_interval(scores[name]['questions_interval'])}"
    if length := scores["tokens"]:
        yield f"{'tokens':<13} {length['mean']:>8,.0f}  median {length['median']:,.0f}, 95 percent under {length['p95']:,.0f}"
    yield "intervals: 95 percent, seeded bootstrap; over questions holds the noise of the samples too (training/scores.py)"


def compared(found: dict[str, Any], path: Path) -> Difference:
    """How much better a result is than that in `path`, on the questions that both have. Raises UserError where there are none."""
    mine, theirs = found["correct"], read_result(path)["correct"]
    both = [problem for problem in mine if problem in theirs]
    if not both:
        raise UserError(f"{path} has none of these questions: wanted a result on the same suite")
    return compare([mine[p] for p in both], [theirs[p] for p in both], seed=found["settings"]["seed"])


def _comparison(found: dict[str, Any], path: Path) -> Iterator[str]:
    gap, other = compared(found, path), read_result(path)
    test = {"mcnemar_exact": "McNemar's exact test", "paired_bootstrap": "paired bootstrap over questions"}[gap.method]
    yield f"against {other['model']['model']} on {gap.questions:,} questions that both have ({test})"
    ends = f"from {gap.interval.low:+.1%} to {gap.interval.high:+.1%}"
    yield f"pass@1 {gap.difference:+.1%}, 95 percent {ends}, p = {gap.p_value:.2g}"
    differing = [k for k in found["settings"] if found["settings"][k] != other["settings"].get(k)]
    if differing:
        told = ", ".join(f"{k} {found['settings'][k]!r} against {other['settings'].get(k)!r}" for k in differing)
        yield f"not under the same settings: {told}"


def _interval(ends: list[float]) -> str:
    return f"{ends[0]:>6.1%} to {ends[1]:>6.1%}"
