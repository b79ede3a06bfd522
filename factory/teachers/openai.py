"""A teacher behind OpenAI-compatible endpoints: vLLM, SGLang, `transformers serve`, DeepSeek's API, and the like.

`sample` is the way in. It runs `factory.teachers.sending` on an event loop in a thread of its own, so that keep-alives and
time-outs go on while the caller verifies, and hands over each trace as soon as it is whole. Whatever a server does to one
request ends as a trace; only endpoints that work for none raise.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import os
import queue
import re
import threading
from collections.abc import Callable, Generator, Iterable, Iterator
from typing import NamedTuple
from urllib.parse import unquote, urlsplit, urlunsplit

from curation.errors import UserError
from curation.records import Trace
from factory.limiter import Limiter
from factory.meter import Meter
from factory.progress import say
from factory.sampling import Identity, Request, Sampling, effective
from factory.teachers.endpoint import Endpoint, Watch
from factory.teachers.sending import Outcome, Sender

GIVE_UP_AFTER = 20  # failed requests in a row: more than a bad prompt or a server that restarts
LOOK_S = 0.5
FLUSH_S = (
    0.005  # answers cross to the caller's thread together: at 1,000 a second each crossing costs 0.4 ms of waiting for the GIL
)


def sample(
    requests: Iterable[Request | None],
    *,
    model: str,
    url: str,
    sampling: Sampling,
    identity: Identity | None = None,
    meter: Meter | None = None,
    watch: Watch | None = None,
    stop: threading.Event | None = None,
    keep: Callable[[Trace], None] | None = None,
) -> Iterator[Trace]:
    """The trace of each request as soon as it is complete, in any order; requests are pulled as places come free.

    `url` may name several endpoints of the same model, with commas between: each is filled as far as it goes, and what fails
    at one is tried at another; each trace says who gave it. A request None means: none just now, ask again. The key comes
    from FACTORY_API_KEY, or else OPENAI_API_KEY, unless the URL holds credentials. Passing failures are tried again
    `sampling.retries` times; what still fails is a trace with finish "error". Where the meter's budget is reached it ends
    early. `keep` is called with each trace, in the sending thread, before its place is given to another request. Closing the
    iterator, or setting `stop`, cancels what is in flight. Raises UserError when no endpoint can be reached or all refuse
    (401, 403, 404) before their first answer, and when later 20 requests in a row fail for a reason that is not their own.
    """
    endpoints = [_endpoint(one, sampling) for one in url.split(",")]
    said = effective(sampling, ignored(model, endpoints[0].public))
    known = identity or Identity(model=model, revision="", endpoint=endpoints[0].public, sampling=said)
    failures_in_a_row, told = 0, {known["revision"]}
    with contextlib.closing(_outcomes(endpoints, iter(requests), known, sampling, meter or Meter(), watch, stop, keep)) as outcomes:
        for trace, failure in outcomes:
            if trace.revision not in told:
                told.add(trace.revision)
                say(f"{trace.endpoint} was asked for {model!r} and answers as {trace.revision!r}: the traces' revision says so")
            yield trace
            failures_in_a_row = 0 if failure is None else failures_in_a_row + (failure.kind != "request")
            if failure and failures_in_a_row >= GIVE_UP_AFTER:
                raise UserError(
                    f"{GIVE_UP_AFTER} requests in a row to {trace.endpoint} failed, the last with: {failure.why}; "
                    "wanted an answer: mend the endpoint and run again, what was sampled is kept"
                )


def _outcomes(
    endpoints: list[Endpoint],
    requests: Iterator[Request | None],
    identity: Identity,
    sampling: Sampling,
    meter: Meter,
    watch: Watch | None,
    stop: threading.Event | None,
    keep: Callable[[Trace], None] | None,
) -> Generator[Outcome, None, None]:
    done: queue.SimpleQueue[list[Outcome] | Exception | None] = queue.SimpleQueue()
    batch: list[Outcome] = []
    started: queue.SimpleQueue[tuple[asyncio.AbstractEventLoop, Sender]] = queue.SimpleQueue()

    def flush() -> None:
        if batch:
            done.put(batch.copy())
            batch.clear()

    def deliver(outcome: Outcome) -> None:
        if keep is not None:
            keep(outcome.trace)
        batch.append(outcome)
        if keep is None:  # the caller keeps it, so it must have it now
            flush()
        elif len(batch) == 1:
            asyncio.get_running_loop().call_later(FLUSH_S, flush)

    async def send() -> None:
        sender = Sender(endpoints, requests, deliver, identity, sampling, meter, watch, stop)
        asyncio.get_running_loop().call_soon(started.put, (asyncio.get_running_loop(), sender))
        await sender.run()

    def run() -> None:
        try:
            asyncio.run(send())
            flush()
            done.put(None)
        except Exception as error:  # of the requests' iterator, or of an endpoint: it belongs to the caller
            flush()
            done.put(error)

    thread = threading.Thread(target=run, name="sending", daemon=True)
    thread.start()
    loop, sender = started.get()
    try:
        while True:
            try:
                outcomes = done.get(timeout=LOOK_S)
            except queue.Empty:  # a wait without end is not interrupted where the kernel gives Ctrl-C to another thread
                continue
            if outcomes is None:
                return
            if isinstance(outcomes, Exception):
                raise outcomes
            yield from outcomes
    finally:
        with contextlib.suppress(RuntimeError):  # the loop has ended by itself
            loop.call_soon_threadsafe(sender.stop)
        thread.join()


def _endpoint(url: str, sampling: Sampling) -> Endpoint:
    base, credentials = public_url(url), _credentials(url)
    query = urlsplit(url).query  # Azure's api-version
    path = "completions" if sampling.api == "completions" else "chat/completions"
    return Endpoint(
        url=f"{base}/{path}" + (f"?{query}" if query else ""),
        public=base,
        metrics_url=re.sub(r"/v[0-9].*", "/metrics", base) if base.startswith("http://") else "",
        headers={"Content-Type": "application/json"} | ({"Authorization": a} if (a := credentials.authorization) else {}),
        secret=credentials.secret,
        limiter=Limiter(sampling.in_flight),
        streams=sampling.stream is not False,
    )


def ignored(model: str, endpoint: str) -> frozenset[str]:
    """Sampling values that an endpoint accepts and does not use.

    DeepSeek's API docs, "Thinking Mode": temperature, top_p and the penalties have no effect on the reasoner; there is no seed.
    """
    if (urlsplit(endpoint).hostname or "").endswith("deepseek.com"):
        always = frozenset({"seed", "top_k", "min_p"})
        return always | {"temperature", "top_p"} if model == "deepseek-reasoner" else always
    return frozenset()


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
