"""Waiting for the Hub where huggingface_hub itself does not."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import TypeVar

import httpx

T = TypeVar("T")

WAITS_S = (1, 2, 4, 8, 16)
LONGEST_WAIT_S = 300  # one window of the Hub's rate limits (hub documentation, rate-limits)
_TRANSIENT = (429, 500, 502, 503, 504)


def patiently(call: Callable[[], T]) -> T:
    """The answer of `call`, repeated while the Hub is busy, failing or cut off; `call` must be harmless to repeat.

    Waits as long as the Hub asks, else 1 to 16 s, six tries in all. Raises what the last try raised, and at once where the
    Hub refuses or asks for more than five minutes.
    """
    from huggingface_hub.errors import HfHubHTTPError

    for wait_s in WAITS_S:
        try:
            return call()
        except HfHubHTTPError as error:
            asked_s = _asked_wait_s(error.response)
            if error.response.status_code not in _TRANSIENT or (asked_s or 0) > LONGEST_WAIT_S:
                raise
            time.sleep(wait_s if asked_s is None else asked_s)
        except (httpx.TransportError, json.JSONDecodeError):
            # JSONDecodeError: the check of a card's metadata reads the body before it looks at the status.
            time.sleep(wait_s)
    return call()


def _asked_wait_s(response: httpx.Response) -> int | None:
    """Seconds the Hub asks to wait: `Retry-After`, or the reset time of its `RateLimit` header."""
    from huggingface_hub.utils._http import parse_ratelimit_headers

    after = response.headers.get("retry-after", "")
    if after.isdecimal():
        return int(after)
    limits = parse_ratelimit_headers(response.headers)
    return limits.reset_in_seconds if limits else None
