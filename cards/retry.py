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
SILENCE_S = 300.0  # between two bytes, either way; merging a large pull request takes the Hub minutes
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


def set_client_timeout() -> None:
    """Give huggingface_hub's shared client a limit: it has none, and a Hub that falls silent would hold it for ever."""
    from huggingface_hub import set_client_factory
    from huggingface_hub.utils._http import default_client_factory

    def client() -> httpx.Client:
        made = default_client_factory()
        # A hook and not `made.timeout`: listings pass `timeout=None` with the request, which would win.
        made.event_hooks = {"request": [*made.event_hooks["request"], _limit_silence]}
        return made

    set_client_factory(client)


def _limit_silence(request: httpx.Request) -> None:
    limits = request.extensions.get("timeout", {})
    request.extensions["timeout"] = {k: limits.get(k) or SILENCE_S for k in ("connect", "read", "write", "pool")}


def _asked_wait_s(response: httpx.Response) -> int | None:
    """Seconds the Hub asks to wait: `Retry-After`, or the reset time of its `RateLimit` header."""
    from huggingface_hub.utils._http import parse_ratelimit_headers

    after = response.headers.get("retry-after", "")
    if after.isdecimal():
        return int(after)
    limits = parse_ratelimit_headers(response.headers)
    return limits.reset_in_seconds if limits else None
