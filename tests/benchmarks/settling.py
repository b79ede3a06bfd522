"""How often adaptive sampling settles a pass rate wrongly or not at all, and its cost: `python tests/benchmarks/settling.py`.

True rates are drawn evenly from 0 to 1, and near the window's lower edge, where mistakes gather.
"""

from __future__ import annotations

import argparse

import numpy as np
import polars as pl

from curation.difficulty import place, wilson


def main() -> None:
    """Simulate problems of known rates, one look at their interval after each round."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--low", type=float, default=0.2)
    parser.add_argument("--high", type=float, default=0.8)
    parser.add_argument("--per-round", type=int, default=4)
    parser.add_argument("--at-most", type=int, default=64)
    parser.add_argument("--problems", type=int, default=40_000)
    how = parser.parse_args()
    even = np.linspace(0, 1, how.problems)
    for name, rates in (("rates spread evenly", even), (f"rate {how.low - 0.02:.2f}", np.full(how.problems, how.low - 0.02))):
        words, taken = simulate(rates, how.low, how.high, how.per_round, how.at_most)
        truth = np.where(rates < how.low, "too_hard", np.where(rates > how.high, "too_easy", "inside"))
        wrong = np.mean((words != truth) & (words != "undecided"))
        print(f"{name}: {wrong:.1%} wrong, {np.mean(words == 'undecided'):.1%} undecided, {taken.mean():.1f} samples a problem")


def simulate(rates: np.ndarray, low: float, high: float, per_round: int, at_most: int) -> tuple[np.ndarray, np.ndarray]:
    """The word for each problem, and its samples."""
    draw = np.random.default_rng(0)
    correct, taken = np.zeros(len(rates), np.int64), np.zeros(len(rates), np.int64)
    words = np.full(len(rates), "undecided", dtype="<U9")
    for _ in range(at_most // per_round):
        open_ = words == "undecided"
        correct[open_] += draw.binomial(per_round, rates[open_])
        taken[open_] += per_round
        ends = wilson(pl.col("correct"), pl.col("judged"))
        frame = pl.DataFrame({"correct": correct, "judged": taken})
        found = frame.with_columns(ends[0].alias("low"), ends[1].alias("high")).select(place(low, high))
        words[open_] = found.to_series().to_numpy()[open_].astype("<U9")
    return words, taken


if __name__ == "__main__":
    main()
