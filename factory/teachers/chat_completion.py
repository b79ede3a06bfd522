"""One request to an OpenAI-compatible endpoint, and what comes of it: an answer, or a failure and whether it may pass."""

from __future__ import annotations

import json
import random
import re
import time
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Annotated, Any, Literal, NamedTuple

import aiohttp
from pydantic import BaseModel, BeforeValidator, Field, ValidationError

from curation.records import Finish
from factory.sampling import Answer

BACK_OFF_S = 2.0  # doubled with each attempt: five retries span about a minute, the period of most rate limits
LONGEST_BACK_OFF_S = 60.0
QUOTED_CHARACTERS = 300  # of what a server says of its failure


class Failure(NamedTuple):
    """An attempt that gave no usable answer."""

    # again: may pass (429, 5xx, cut connection); unreachable: no connection at all; endpoint: wrong for every request
    # (401, 404); request: wrong for this one (400, 422)
    kind: Literal["again", "unreachable", "endpoint", "request"]
    why: str
    status: int | None = None  # HTTP status, where there was one
    wait_s: float | None = None  # as the server asked, in Retry-After


async def attempt(session: aiohttp.ClientSession, url: str, body: dict[str, Any], secret: str) -> Answer | Failure:
    """Send one chat completion request and read its answer; every way it can fail is a Failure, told without the secret."""
    began = time.monotonic()
    try:
        async with session.post(url, json=body, allow_redirects=False) as response:
            content = await response.read()
    except aiohttp.ConnectionTimeoutError as error:
        return Failure("unreachable", f"cannot be reached: {error}")
    except TimeoutError:
        return Failure("again", f"no byte for {session.timeout.sock_read:g} s")
    except aiohttp.ClientConnectorError as error:
        return Failure("unreachable", f"cannot be reached: {error}")
    except aiohttp.ClientError as error:
        return Failure("again", f"connection lost: {type(error).__name__}: {error}"[:QUOTED_CHARACTERS])
    if response.status != 200:
        return _refusal(response.status, response.headers.get("Retry-After"), _quote(content, secret))
    return read_answer(content, time.monotonic() - began, secret)


def back_off_s(attempts: int, asked_s: float | None) -> float:
    """Seconds to wait after failed attempt `attempts` (from 0): what the server asked, then exponential with full jitter.

    Full jitter as in "Exponential Backoff And Jitter", AWS Architecture Blog, 2015: clients that failed together do not
    return together, which after a common Retry-After they otherwise would.
    """
    return (asked_s or 0.0) + random.uniform(0, min(LONGEST_BACK_OFF_S, BACK_OFF_S * 2**attempts))


def retry_after_s(header: str | None, now: datetime) -> float | None:
    """Seconds that a Retry-After header asks to wait, as number or HTTP date (RFC 9110, 10.2.3), or None."""
    if header is None:
        return None
    if re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,9})?", header.strip()):
        return float(header)
    try:
        date = parsedate_to_datetime(header)
    except ValueError:
        return None
    return max(0.0, (date.replace(tzinfo=date.tzinfo or UTC) - now).total_seconds())


def _refusal(status: int, retry_after: str | None, said: str) -> Failure:
    why = f"answered {status}: {said}"
    if status in (408, 409, 425, 429) or status >= 500:
        return Failure("again", why, status, retry_after_s(retry_after, datetime.now(UTC)))
    # 402: DeepSeek, out of money. A redirect is not followed: the POST would arrive as a GET, and the key elsewhere.
    if status < 400 or status in (401, 402, 403, 404, 405):
        return Failure("endpoint", why, status)
    return Failure("request", why, status)


def _quote(content: bytes, secret: str) -> str:
    # Servers do quote the key they refuse; it goes before the text is cut, which could leave half of it.
    text = content[:20_000].decode("utf-8", "replace")
    words = (text.replace(secret, "***") if secret else text).split()
    return " ".join(words)[:QUOTED_CHARACTERS] or "(empty)"


def _storable(value: Any) -> Any:
    # JSON may carry half of a surrogate pair (a token cut inside an emoji); neither UTF-8 nor Parquet can.
    if isinstance(value, str) and not value.isascii():
        return value.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return value


Text = Annotated[str, BeforeValidator(_storable)]


class _Message(BaseModel):
    content: Text | None = None
    reasoning_content: Text | None = None  # DeepSeek, SGLang, vLLM before 0.12
    reasoning: Text | None = None  # vLLM since, OpenRouter


class _Choice(BaseModel):
    message: _Message
    finish_reason: str | None = None


class _Completion(BaseModel):
    choices: list[_Choice] = Field(min_length=1)
    usage: Any = None


_FINISH: dict[str | None, Finish] = {"stop": "stop", "eos_token": "stop", "length": "length"}  # eos_token: TGI
_PASSING = ("insufficient_system_resource", "abort")  # DeepSeek's API; vLLM and SGLang when they shut down


def read_answer(content: bytes, seconds: float, secret: str) -> Answer | Failure:
    """The answer in a response body; blank lines before the JSON are DeepSeek's keep-alives."""
    try:
        completion = _Completion.model_validate(json.loads(content))
    except (ValidationError, ValueError, RecursionError):
        return Failure("again", f"answered 200 with no whole chat completion: {_quote(content, secret)}", 200)
    choice = completion.choices[0]
    finish = _FINISH.get(choice.finish_reason, "error")
    error = None if finish != "error" else f"finish_reason {choice.finish_reason!r}"
    if choice.finish_reason in _PASSING:
        return Failure("again", f"answered 200 with {error}", 200)
    return Answer(
        text=choice.message.content or "",
        finish=finish,
        reasoning=choice.message.reasoning_content or choice.message.reasoning,
        prompt_tokens=_tokens(completion.usage, "prompt_tokens"),
        completion_tokens=_tokens(completion.usage, "completion_tokens"),
        seconds=seconds,
        error=error,
    )


def _tokens(usage: Any, name: str) -> int | None:
    # A server that miscounts has still answered, and been paid: no count rather than no answer.
    value = usage.get(name) if isinstance(usage, dict) else None
    return value if isinstance(value, int) and 0 <= value < 2**31 else None
