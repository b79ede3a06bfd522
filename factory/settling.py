"""Which problems have enough samples, and the account of the rounds that it took: settled in which, and what the others cost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import polars as pl

from curation.difficulty import pass_rates, place
from factory.judging import is_correct
from factory.ledger import Count, checked
from factory.recipe import Sample

if TYPE_CHECKING:
    from factory.rounds import Round


class Account(NamedTuple):
    lines: list[Count]  # the funnel's, one for each round that the recipe allows
    told: list[dict[str, int]]  # the manifest's: problems, settled ones, traces and tokens of each round


def finished(sample: Sample, rounds: Sequence[Round]) -> dict[str, str]:
    """The problems that need no further round, each with the word for it.

    "solved" where enough samples are right; where a recipe settles pass rates "inside", "too_easy" or "too_hard".
    """
    if sample.settle is None:
        rows = (row for r in rounds for row in pl.read_parquet(_verdicts(r)).iter_rows(named=True))
        correct = Counter(row["problem_id"] for row in rows if is_correct(row))
        return {problem: "solved" for problem, count in correct.items() if count >= sample.until_correct}
    measured = pass_rates(pl.concat([pl.scan_parquet(_verdicts(r)) for r in rounds]))
    words = measured.select("problem_id", place(sample.settle.low, sample.settle.high).alias("place"))
    return {problem: word for problem, word in words.iter_rows() if word != "undecided"}


def _verdicts(one: Round) -> str:
    return str(one.verdicts.folder / "verdicts.parquet")


def account(sample: Sample, problems: Sequence[str], rounds: Sequence[Round]) -> Account:
    """The funnel's line of each round, and what each cost: what the hard problems cost is in the later ones.

    With `settle`, what was spent on problems that no round settled is told apart, round by round.
    """
    lines, told, before = [], [], dict[str, str]()
    most = -(-sample.most_per_problem() // sample.per_problem)
    final = finished(sample, rounds)
    for number in range(1, most + 1):
        now = finished(sample, rounds[:number])
        coming = [p for p in problems if p not in before]
        words = Counter(now[p] for p in coming if p in now)
        still = len(coming) - words.total()
        why = ("undecided" if sample.settle else "given_up") if number == most else "asked_again"
        dropped = {why: still} if still else {}
        lines.append(
            checked({"step": f"round {number}", "unit": "problems", "in": len(coming), "kept": words.total(), "dropped": dropped})
        )
        cost = _cost(sample, rounds[number - 1], final) if number <= len(rounds) else _cost(sample, None, final)
        kinds = ("inside", "too_easy", "too_hard") if sample.settle else ("solved",)
        told.append({"problems": len(coming), **{kind: words[kind] for kind in kinds}, **cost})
        before |= {p: now[p] for p in coming if p in now}
    return Account(lines, told)


def _cost(sample: Sample, one: Round | None, final: dict[str, str]) -> dict[str, int]:
    facts = one.traces.facts if one else {}
    cost = {name: facts.get(name, 0) for name in ("traces", "completion_tokens")}
    if sample.settle is None:
        return cost
    if one is None:
        return {**cost, "undecided_traces": 0, "undecided_tokens": 0}
    spent = pl.read_parquet(one.traces.folder / "traces.parquet", columns=["problem_id", "completion_tokens"])
    lost = spent.filter(~pl.col("problem_id").is_in(list(final)))
    return {**cost, "undecided_traces": lost.height, "undecided_tokens": int(lost["completion_tokens"].sum() or 0)}
