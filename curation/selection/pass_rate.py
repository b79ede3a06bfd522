"""Windows and bands of pass rates, with the originals' as presets."""

from __future__ import annotations

from typing import NamedTuple

import polars as pl

from curation.selection import Selection, selection, stages_of


class Band(NamedTuple):
    """Pass rates from `low` to `high`; each end belongs to the band or not."""

    low: float
    high: float
    low_in: bool = True
    high_in: bool = True
    times: int = 1  # how often a row of the band stands in the result

    def holds(self, rate: float) -> bool:
        above = rate >= self.low if self.low_in else rate > self.low
        return above and (rate <= self.high if self.high_in else rate < self.high)


PRESETS: dict[str, tuple[Band, ...]] = {
    # recipes/dataset_filtering of open-r1: 8 samples, 0.2 < pass rate < 0.8
    "open-r1": (Band(0.2, 0.8, low_in=False, high_in=False),),
    # INTELLECT-MATH and PRIME filter batches online to 0.2 to 0.8; that the ends belong to it is our reading
    "intellect": (Band(0.2, 0.8),),
    # OREAL's balance sampler: easy problems leave, hard ones come back up to six times
    "oreal": (
        Band(0.0, 0.2, high_in=False, times=6),
        Band(0.2, 0.6, high_in=False, times=4),
        Band(0.6, 0.8, high_in=False, times=2),
    ),
    # DeepScaleR had a model grade the difficulty and filtered by none of it. That its trainer skips groups of samples that are all
    # right or all wrong, which teach GRPO nothing, is unconfirmed
    "deepscaler": (Band(0.0, 1.0, low_in=False, high_in=False),),
    # LIMO v2, second filter: right in 1 to 3 of 32. The end is under 4 of 32, so that 3 of 31 stay where one sample is undecided
    "limo": (Band(1 / 32, 4 / 32, high_in=False),),
}


def by_pass_rate(table: pl.DataFrame, bands: tuple[Band, ...], *, surely: bool = False) -> Selection:
    """Rows whose `pass_rate` lies in one of `bands`, the first that holds it, repeated as often as that says.

    With `surely` the interval from column low to column high must lie in that band too. A row whose rate is null is dropped:
    nobody measured it.
    """
    rates = table["pass_rate"].to_list()
    found = [next((b for b in bands if r is not None and b.holds(r)), None) for r in rates]
    reasons = [_reason(r, b, bands) for r, b in zip(rates, found, strict=True)]
    spans = [""] * table.height
    if surely:
        ends = table.select("low", "high").rows()
        spans = [f", {low:.3f} to {high:.3f}" for low, high in ends]
        sure = [b is not None and b.low <= low and high <= b.high for b, (low, high) in zip(found, ends, strict=True)]
        reasons = [reason or (None if known else "not_surely") for reason, known in zip(reasons, sure, strict=True)]
    final, stages = stages_of([("pass rate", reasons)], table.height)
    state = {"rule": "pass_rate", "bands": [list(b) for b in bands], "surely": surely}
    details = [f"rate {r:.4f}{span}" if r is not None else "" for r, span in zip(rates, spans, strict=True)]
    return selection(final, state, stages, details, [b.times if b else 0 for b in found])


def _reason(rate: float | None, band: Band | None, bands: tuple[Band, ...]) -> str | None:
    if band:
        return None
    if rate is None:
        return "no_pass_rate"
    if rate >= max(b.high for b in bands):
        return "too_easy"
    return "too_hard" if rate <= min(b.low for b in bands) else "between_bands"
