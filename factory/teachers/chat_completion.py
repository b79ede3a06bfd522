"""One request to an OpenAI-compatible endpoint, and what comes of it: an answer, or a failure and whether it may pass."""

from __future__ import annotations

import json
import random
import re
import time
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Annotated, Any, Literal, NamedTuple

import aiohttp
from pydantic import BaseModel, BeforeValidator, Field, ValidationError
from pydantic_core import to_json

from curation.records import Finish
from factory.sampling import Answer
from factory.teachers.streamed import Pieces

BACK_OFF_S = 2.0  # doubled with each attempt: five retries span about a minute, the period of most rate limits
LONGEST_BACK_OFF_S = 60.0
LONGEST_NAME = 200  # characters of a model's name
QUOTED_CHARACTERS = 300  # of what a server says of its failure


class Failure(NamedTuple):
    """An attempt that gave no usable answer."""

    # again: may pass (429, 5xx, cut connection or stream); silent: no byte for too long; unreachable: no connection at all;
    # endpoint: wrong for every request (401, 404); request: wrong for this one (400, 422); streaming: the server does not stream
    kind: Literal["again", "silent", "unreachable", "endpoint", "request", "streaming"]
    why: str
    status: int | None = None  # HTTP status, where there was one
    wait_s: float | None = None  # as the server asked, in Retry-After
    lost_tokens: int = 0  # that had arrived when a stream broke, and will be on the bill
    brought: Answer | None = None  # those tokens, as an answer that was cut


class Call(NamedTuple):
    """Where and how one request is sent."""

    session: aiohttp.ClientSession
    url: str
    headers: dict[str, str]
    secret: str  # taken out of whatever the server says
    timeout: aiohttp.ClientTimeout
    accepted: Callable[[], None]  # called when the answer begins
    heard: Callable[[int], None]  # called with the number of pieces that arrived


async def attempt(call: Call, body: dict[str, Any]) -> Answer | Failure:
    """Send one request and read its answer, streamed or whole; every way it can fail is a Failure, told without the secret."""
    began = time.monotonic()
    pieces = Pieces()
    try:
        async with call.session.post(
            call.url, data=to_json(body), headers=call.headers, allow_redirects=False, timeout=call.timeout
        ) as response:
            if response.status != 200:
                return _refusal(response.status, response.headers.get("Retry-After"), await response.read(), call.secret, body)
            call.accepted()
            if response.content_type != "text/event-stream":  # one that does not know `stream` answers whole
                return read_answer(await response.read(), time.monotonic() - began, call.secret)
            await _gather(response, pieces, call)
    except aiohttp.ConnectionTimeoutError as error:
        return Failure("unreachable", f"cannot be reached: {error}")
    except TimeoutError:
        return _broken(pieces, time.monotonic() - began, "silent", f"no byte for {call.timeout.sock_read:g} s")
    except aiohttp.ClientConnectorError as error:
        return Failure("unreachable", f"cannot be reached: {error}")
    except aiohttp.ClientError as error:
        why = f"connection lost: {type(error).__name__}: {error}"[:QUOTED_CHARACTERS]
        return _broken(pieces, time.monotonic() - began, "again", why)
    return streamed_answer(pieces, time.monotonic() - began, call.secret)


async def _gather(response: aiohttp.ClientResponse, pieces: Pieces, call: Call) -> None:
    async for data in response.content.iter_any():
        before = pieces.count
        pieces.feed(data)
        call.heard(pieces.count - before)
        if pieces.problem:
            return


def streamed_answer(pieces: Pieces, seconds: float, secret: str) -> Answer | Failure:
    """The answer whose pieces have arrived; a Failure where the stream ended before the answer did."""
    characters = sum(map(len, pieces.text)) + sum(map(len, pieces.reasoning))
    if pieces.problem:
        said = _quote(pieces.problem.encode(), secret)
        return _broken(pieces, seconds, "again", f"the stream broke after {characters:,} characters: {said}", 200)
    if pieces.finish is None:
        return _broken(pieces, seconds, "again", f"the stream was cut after {characters:,} characters", 200)
    return _answer(_gathered(pieces), pieces.finish, pieces.usage, seconds, pieces.count, pieces.model)


def _gathered(pieces: Pieces) -> _Message:
    return _Message(content="".join(pieces.text), reasoning_content="".join(pieces.reasoning) or None)


def _broken(pieces: Pieces, seconds: float, kind: Literal["again", "silent"], why: str, status: int | None = None) -> Failure:
    """The failure of a stream, with what it had brought: as many tokens, at least, as pieces."""
    if not pieces.count:
        return Failure(kind, why, status)
    brought = _answer(_gathered(pieces), "length", None, seconds, None, pieces.model)
    assert isinstance(brought, Answer)
    return Failure(kind, why, status, None, pieces.count, brought._replace(completion_tokens=pieces.count))


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


def _refusal(status: int, retry_after: str | None, content: bytes, secret: str, asked: dict[str, Any]) -> Failure:
    said = _quote(content, secret)
    why = f"answered {status}: {said}"
    if status == 429 and b"insufficient_quota" in content:  # OpenAI's word for an account without money: no wait helps
        return Failure("endpoint", why, status)
    if "stream" in asked and status in (400, 422, 501) and "stream" in said.lower():
        return Failure("streaming", why, status)
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
    message: _Message | None = None
    text: Text | None = None  # of the completions API
    finish_reason: str | None = None


class _Completion(BaseModel):
    choices: list[_Choice] = Field(min_length=1)
    usage: Any = None
    model: Any = None


_FINISH: dict[str | None, Finish] = {"stop": "stop", "eos_token": "stop", "length": "length"}  # eos_token: TGI
_PASSING = ("insufficient_system_resource", "abort")  # DeepSeek's API; vLLM and SGLang when they shut down


def read_answer(content: bytes, seconds: float, secret: str) -> Answer | Failure:
    """The answer in a response body; blank lines before the JSON are DeepSeek's keep-alives."""
    nothing = "answered 200 with no whole chat completion: "
    try:
        completion = _completion(content)
    except (ValueError, RecursionError):
        return Failure("again", nothing + _quote(content, secret), 200)
    choice = completion.choices[0]
    message = choice.message or (None if choice.text is None else _Message(content=choice.text))
    if message is None:
        return Failure("again", nothing + _quote(content, secret), 200)
    return _answer(message, choice.finish_reason, completion.usage, seconds, None, completion.model)


def _completion(content: bytes) -> _Completion:
    try:
        return _Completion.model_validate_json(content)  # in a tenth of json's time, but it refuses half of a surrogate pair
    except ValidationError:
        return _Completion.model_validate(json.loads(content))


def _answer(message: _Message, reason: str | None, usage: Any, seconds: float, pieces: int | None, model: Any) -> Answer | Failure:
    finish = _FINISH.get(reason, "error")
    error = None if finish != "error" else f"finish_reason {reason!r}"
    completion_tokens = _tokens(usage, "completion_tokens")
    if reason in _PASSING:
        return Failure("again", f"answered 200 with {error}", 200, None, completion_tokens or pieces or 0)
    return Answer(
        text=message.content or "",
        finish=finish,
        reasoning=message.reasoning_content or message.reasoning,
        prompt_tokens=_tokens(usage, "prompt_tokens"),
        completion_tokens=completion_tokens,
        seconds=seconds,
        error=error,
        model=_storable(model)[:LONGEST_NAME] if isinstance(model, str) else None,
    )


def _tokens(usage: Any, name: str) -> int | None:
    # A server that miscounts has still answered, and been paid: no count rather than no answer.
    value = usage.get(name) if isinstance(usage, dict) else None
    return value if isinstance(value, int) and 0 <= value < 2**31 else None
