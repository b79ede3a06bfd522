"""What a model costs, from a dated file. A model that is not in it has no price: a wrong one is worse than none."""

from __future__ import annotations

from typing import NamedTuple
from urllib.parse import urlsplit

import yaml

from factory.recipe import CONFIGS


class Price(NamedTuple):
    input_usd: float  # US dollars for a million prompt tokens that are in no cache: the dearest case
    output_usd: float  # US dollars for a million tokens of answers, thinking included
    as_of: str  # the day on which it was read
    source: str


def price_of(model: str, endpoint: str) -> Price | None:
    """The price of a model at an endpoint, by the endpoint's host; None where the file has none."""
    host = urlsplit(endpoint).hostname
    if host in ("127.0.0.1", "localhost", "::1"):
        return Price(0.0, 0.0, "", "a server of your own: what its machine costs is not counted")
    for row in yaml.safe_load((CONFIGS / "prices.yaml").read_text("utf-8")):
        if row["host"] == host and row["model"] == model:
            return Price(row["input_usd"], row["output_usd"], str(row["as_of"]), row["source"])
    return None
