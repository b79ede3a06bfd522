"""A teacher behind an OpenAI-compatible endpoint: vLLM, SGLang, `transformers serve`, DeepSeek's API, and the like.

`sample` is the way in. It keeps a bounded number of requests in flight on an event loop in a thread of its own, so that
keep-alives and time-outs go on while the caller verifies, and hands over each trace as soon as it is whole. Whatever the
server does to one request ends as a trace; only an endpoint that works for none raises.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import os
import queue
import re
import threading
from collections.abc import Iterable, Iterator
from concurrent.futures import Future
from itertools import count, islice
from typing import Any, NamedTuple
from urllib.parse import unquote, urlsplit, urlunsplit

import aiohttp

from curation.errors import UserError
from curation.records import Trace
from factory.sampling import Answer, Identity, Request, Sampling, answered, effective
from factory.teachers import chat_completion
from factory.teachers.chat_completion import Failure

GIVE_UP_AFTER = 20  # failed requests in a row: more than a bad prompt or a server that restarts
LONGEST_WAIT_S = 600.0  # a server that asks for more (a daily quota) is not waited for
CONNECT_S = 30.0


class _Endpoint(NamedTuple):
    """What every request of one call shares."""

    loop: asyncio.AbstractEventLoop
    session: aiohttp.ClientSession
    url: str
    secret: str  # taken out of whatever the server says
    identity: Identity
    sampling: Sampling
    has_answered: threading.Event  # from the first answer on, a server that cannot be reached is one that restarts


class _Outcome(NamedTuple):
    trace: Trace
    failure: Failure | None


def sample(requests: Iterable[Request], *, model: str, url: str, sampling: Sampling) -> Iterator[Trace]:
    """The trace of each request as soon as it is complete, in any order; requests are pulled as places come free.

    The key comes from FACTORY_API_KEY, or else OPENAI_API_KEY, unless the URL holds credentials. Passing failures are
    tried again `sampling.retries` times; what still fails is a trace with finish "error". Closing the iterator cancels
    what is in flight. Raises UserError when the endpoint cannot be reached or refuses (401, 403, 404) before its first
    answer, and when later 20 requests in a row fail for a reason that is not their own.
    """
    failures_in_a_row = 0
    with _open(model, url, sampling) as endpoint:
        for trace, failure in _outcomes(endpoint, requests):
            yield trace
            failures_in_a_row = 0 if failure is None else failures_in_a_row + (failure.kind != "request")
            if failure and failures_in_a_row >= GIVE_UP_AFTER:
                raise UserError(
                    f"{GIVE_UP_AFTER} requests in a row to {trace.endpoint} failed, the last with: {failure.why}; "
                    "wanted an answer: mend the endpoint and run again, what was sampled is kept"
                )


def _outcomes(endpoint: _Endpoint, requests: Iterable[Request]) -> Iterator[_Outcome]:
    turns = iter(requests)
    done: queue.SimpleQueue[Future[_Outcome]] = queue.SimpleQueue()

    def send(most: int) -> int:
        futures = [asyncio.run_coroutine_threadsafe(_ask(endpoint, r), endpoint.loop) for r in islice(turns, most)]
        for future in futures:
            future.add_done_callback(done.put)
        return len(futures)

    in_flight = send(endpoint.sampling.in_flight)
    while in_flight:
        outcome = done.get().result()
        in_flight += send(1) - 1  # before the caller takes its time over this one
        yield outcome


async def _ask(endpoint: _Endpoint, request: Request) -> _Outcome:
    body = _body(request, endpoint.identity["model"], endpoint.sampling)
    for attempts in count():
        reply = await chat_completion.attempt(endpoint.session, endpoint.url, body, endpoint.secret)
        if isinstance(reply, Answer):
            endpoint.has_answered.set()
            failure = Failure("request", reply.error or "") if reply.finish == "error" else None
            return _Outcome(answered(request, endpoint.identity, reply), failure)
        if reply.kind in ("unreachable", "endpoint") and not endpoint.has_answered.is_set():
            raise UserError(_first_refusal(reply, endpoint.identity))
        passing = reply.kind in ("again", "unreachable") and (reply.wait_s or 0.0) <= LONGEST_WAIT_S
        if not passing or attempts == endpoint.sampling.retries:
            nothing = Answer("", "error", error=reply.why)
            return _Outcome(answered(request, endpoint.identity, nothing), reply)
        await asyncio.sleep(chat_completion.back_off_s(attempts, reply.wait_s))
    raise AssertionError("unreachable")


def _body(request: Request, model: str, sampling: Sampling) -> dict[str, Any]:
    body = {"model": model, "messages": list(request.messages), **effective(sampling)}
    if sampling.seed is not None:
        body["seed"] = sampling.seed + request.index
    return body


def _first_refusal(failure: Failure, identity: Identity) -> str:
    wanted = {
        401: "a key it accepts: set FACTORY_API_KEY",
        402: "an account with money: see to its balance",
        403: "a key with the right to this model: set FACTORY_API_KEY",
        404: f"a chat completions endpoint that serves {identity['model']!r}: check the URL and the model's name",
        None: "a server: start it or correct the URL",
    }
    return (
        f"the endpoint {identity['endpoint']} {failure.why}; "
        f"wanted {wanted.get(failure.status, 'a chat completion: check the URL')}"
    )


def public_url(url: str) -> str:
    """The base of an endpoint's URL as it is stored and compared: without credentials and query, with a version.

    A path that names no version gets /v1, as OpenAI's clients want it. Raises UserError where it is no URL with a host.
    """
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:  # a port or an IPv6 address that is none
        usable = False
    if not usable:
        raise UserError(f"the endpoint {url.rpartition('@')[2]!r} is no URL: wanted one such as http://localhost:8000/v1")
    path = parts.path.rstrip("/").removesuffix("/chat/completions")
    path = path if re.search(r"/v[0-9]", path) else f"{path}/v1"
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2].lower(), path, "", ""))


class _Credentials(NamedTuple):
    authorization: str  # header; empty where there is none
    secret: str


def _credentials(url: str) -> _Credentials:
    parts = urlsplit(url)
    if parts.username is not None:
        user, password = unquote(parts.username), unquote(parts.password or "")
        basic = base64.b64encode(f"{user}:{password}".encode()).decode()
        return _Credentials(f"Basic {basic}", password or user)
    key = (os.environ.get("FACTORY_API_KEY") or os.environ.get("OPENAI_API_KEY") or "").strip()
    return _Credentials(f"Bearer {key}" if key else "", key)


@contextlib.contextmanager
def _open(model: str, url: str, sampling: Sampling) -> Iterator[_Endpoint]:
    """An event loop in a thread, with a session to the endpoint; on exit all in flight is cancelled and awaited."""
    base, credentials = public_url(url), _credentials(url)
    query = urlsplit(url).query  # Azure's api-version
    identity = Identity(model=model, revision="", endpoint=base, sampling=effective(sampling))
    ready: Future[_Held] = Future()
    thread = threading.Thread(target=lambda: asyncio.run(_hold(ready, credentials, sampling)), daemon=True)
    thread.start()
    held = ready.result()
    try:
        address = f"{base}/chat/completions" + (f"?{query}" if query else "")
        yield _Endpoint(held.loop, held.session, address, credentials.secret, identity, sampling, threading.Event())
    finally:
        held.loop.call_soon_threadsafe(held.release.set)
        thread.join()


class _Held(NamedTuple):
    loop: asyncio.AbstractEventLoop
    session: aiohttp.ClientSession
    release: asyncio.Event


async def _hold(ready: Future[_Held], credentials: _Credentials, sampling: Sampling) -> None:
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0),  # the caller bounds what is in flight
        cookie_jar=aiohttp.DummyCookieJar(),
        headers={"Authorization": credentials.authorization} if credentials.authorization else {},
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_S, sock_read=sampling.timeout_s),
    ) as session:
        release = asyncio.Event()
        ready.set_result(_Held(asyncio.get_running_loop(), session, release))
        await release.wait()
        requests = asyncio.all_tasks() - {asyncio.current_task()}
        for request in requests:
            request.cancel()
        await asyncio.gather(*requests, return_exceptions=True)
