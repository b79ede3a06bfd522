"""The event loop that keeps endpoints busy: each as full as its limiter lets it be, retries before new requests.

Every attempt is one task. An attempt that failed goes to a heap with the time when it may be tried again, at another endpoint
if there is one; whatever ends pulls the next request at once, so that nothing ever waits for a turn but the heap.
"""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import threading
from collections.abc import Callable, Iterator
from itertools import count
from typing import Any, NamedTuple

import aiohttp

from curation.errors import UserError
from curation.records import Trace
from factory.meter import Meter, Spent, told_or_guessed, worst_case
from factory.sampling import Answer, Identity, Request, Sampling, answered, effective
from factory.teachers import chat_completion, engine_metrics
from factory.teachers.chat_completion import Call, Failure
from factory.teachers.endpoint import PASSING, Endpoint, Watch, count_all, load_of
from factory.teachers.patience import Patience
from factory.teachers.wording import first_refusal, nothing_but_failures, request_body

LONGEST_WAIT_S = 600.0  # a server that asks for more (a daily quota) is not waited for
CONNECT_S = 30.0
TICK_S = 0.1
DOWN_S = 20.0  # an endpoint that cannot be reached is left alone for so long where there is another
CRASHED_S = 0.5
WORTH_KEEPING = 64  # tokens of a broken stream to go on from: a server that breaks every stream is asked no more often for less


class Outcome(NamedTuple):
    trace: Trace
    failure: Failure | None


class _Job(NamedTuple):
    request: Request
    worst: Spent
    attempts: int = 0
    avoid: Endpoint | None = None


class Sender:
    """One call of `factory.teachers.openai.sample`; `run` ends when every request has been delivered."""

    def __init__(
        self,
        endpoints: list[Endpoint],
        requests: Iterator[Request | None],
        deliver: Callable[[Outcome], None],
        identity: Identity,
        sampling: Sampling,
        meter: Meter,
        watch: Watch | None,
        stop: threading.Event | None,
    ) -> None:
        self.endpoints, self.requests, self.deliver = endpoints, requests, deliver
        self.identity, self.sampling, self.meter, self.watch, self._stop_asked = identity, sampling, meter, watch, stop
        self._again: list[tuple[float, int, _Job]] = []
        self._numbers = count()
        self._held: Request | None = None  # pulled, and too dear for what is left of the budget
        self._exhausted = False
        self._tasks: dict[asyncio.Task[None], float] = {}  # when each started
        self._patience = Patience()
        self._timer: asyncio.TimerHandle | None = None
        self._error: Exception | None = None
        self._said = effective(sampling)
        self._timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_S, sock_read=sampling.timeout_s)
        self._patient = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_S)

    async def run(self) -> None:
        self._loop, self._over = asyncio.get_running_loop(), asyncio.Event()
        connector = aiohttp.TCPConnector(limit=0)  # the limiters bound what is in flight
        async with aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar(), read_bufsize=1 << 18) as session:
            self._session = session
            helpers = [asyncio.create_task(self._tick()), *(asyncio.create_task(self._follow(e)) for e in self.endpoints)]
            self._pump()
            await self._over.wait()
            for task in (*helpers, *self._tasks):
                task.cancel()
            await asyncio.gather(*helpers, *self._tasks, return_exceptions=True)
        if self._error:
            raise self._error

    def stop(self) -> None:
        self._over.set()

    # What is sent next, and where.

    def _pump(self) -> None:
        try:
            while not self._over.is_set():
                now = self._loop.time()
                endpoint, wait_s = self._place(now)
                if endpoint is None:
                    if wait_s < TICK_S and self._timer is None:
                        self._timer = self._loop.call_later(wait_s, self._pump_later)
                    return
                job = self._next(now)
                if job is None:
                    return
                self._launch(job, endpoint, now)
        except Exception as error:  # what the requests raise, or a server of ours that is gone: it belongs to the caller
            self._end(error)

    def _pump_later(self) -> None:
        self._timer = None
        self._pump()

    def _place(self, now: float) -> tuple[Endpoint | None, float]:
        """The endpoint with the most room, and how long to wait where there is none."""
        if self.watch is not None:
            self.watch.raise_if_gone()
            if not self.watch.ready():
                return None, float("inf")
        open_ = [e for e in self.endpoints if e.refusal is None and e.down_until <= now] or self.endpoints
        wait_s, _, _, endpoint = min(
            (e.limiter.wait_s(now), e.limiter.in_flight - e.limiter.limit, n, e) for n, e in enumerate(open_)
        )
        return (endpoint, 0.0) if wait_s <= 0 else (None, wait_s)

    def _next(self, now: float) -> _Job | None:
        if self._again and self._again[0][0] <= now:
            return heapq.heappop(self._again)[2]
        request = self._held or (None if self._exhausted else self._pull())
        if request is None:
            if self._exhausted and not self._tasks and not self._again:
                self._end(None)
            return None
        asked = sum(len(m["content"].encode()) for m in request.messages) + len(request.prefix.encode())
        worst = worst_case(asked, request.max_tokens or self.sampling.max_tokens)
        if not self.meter.affords(worst):
            self._held = request  # those in flight may turn out cheaper than they might have been
            if not self._tasks and not self._again and not self.meter.waits_for_others():
                self.meter.budget_reached = True
                self._end(None)
            return None
        self._held = None
        self.meter.promise(worst)
        return _Job(request, worst)

    def _pull(self) -> Request | None:
        try:
            return next(self.requests)
        except StopIteration:
            self._exhausted = True
            return None

    def _launch(self, job: _Job, endpoint: Endpoint, now: float) -> None:
        if endpoint is job.avoid and len(self.endpoints) > 1:
            others = [e for e in self.endpoints if e is not job.avoid and e.refusal is None and e.limiter.wait_s(now) <= 0]
            endpoint = others[0] if others else endpoint
        if job.avoid is not None and endpoint is not job.avoid:
            self.meter.failed_over += 1
        endpoint.limiter.started(now)
        task = self._loop.create_task(self._attempt(job, endpoint, now))
        self._tasks[task] = now
        task.add_done_callback(self._tasks.pop)

    # One attempt, and what becomes of it.

    async def _attempt(self, job: _Job, endpoint: Endpoint, started_at: float) -> None:
        with self._own_error():
            try:
                reply = await chat_completion.attempt(self._call(endpoint), self._body(job.request, endpoint.streams))
            except asyncio.CancelledError:
                if self._over.is_set():
                    raise
                reply = Failure("silent", f"the engine made no token for {self.sampling.timeout_s:g} s")
            self._settle(job, endpoint, reply, started_at)
        self._loop.call_soon(self._pump)

    def _call(self, endpoint: Endpoint) -> Call:
        def accepted() -> None:
            self._patience.heard()
            endpoint.limiter.accepted(self._loop.time())

        # Where the engine shows that it is at work, an answer that is not streamed may be silent until it is whole.
        engine_works = endpoint.engine_moved_at is not None and not endpoint.streams
        timeout = self._patient if engine_works else self._timeout
        return Call(self._session, endpoint.url, endpoint.headers, endpoint.secret, timeout, accepted, self._heard)

    def _heard(self, pieces: int) -> None:
        self.meter.pieces += pieces

    @contextlib.contextmanager
    def _own_error(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # in a task it would be seen by nobody
            self._end(error)

    def _settle(self, job: _Job, endpoint: Endpoint, reply: Answer | Failure, started_at: float) -> None:
        now = self._loop.time()
        if isinstance(reply, Answer):
            self._patience.heard()
            endpoint.has_answered = True
            failure = Failure("request", reply.error or "") if reply.finish == "error" else None
            self._deliver(job, endpoint, reply, failure)
            endpoint.limiter.ended(now, "answered", started_at)  # its place is free when it is kept: a kill loses those in flight
            return
        asked_s = reply.wait_s if (reply.wait_s or 0.0) <= LONGEST_WAIT_S else None
        # A server of ours that went down under a request: no fault of the request, and nothing about load. Its watch may not
        # know yet, and counts the starts, so that a request that kills every server is not sent for ever.
        crashed = self.watch is not None and reply.status is None and reply.kind in ("again", "unreachable")
        endpoint.limiter.ended(now, "answered" if crashed else load_of(reply), started_at, asked_s)
        if reply.brought and reply.lost_tokens >= WORTH_KEEPING and self.sampling.on_cut == "continue":
            self._deliver(job, endpoint, reply.brought, None)
            return
        if reply.lost_tokens or reply.status == 200:  # it was at work
            self.meter.lose(job.worst, reply.lost_tokens)
        if reply.kind == "streaming":
            endpoint.streams = False
            self._try_again(job, now)
        elif crashed:
            self._try_again(job, now + CRASHED_S)
        elif not self._useless(endpoint, reply, job, now) and not self._all_fail(endpoint, reply, now):
            self._retry_or_give_up(job, endpoint, reply, now)

    def _all_fail(self, endpoint: Endpoint, reply: Failure, now: float) -> bool:
        this = asyncio.current_task()
        oldest = min((at for task, at in self._tasks.items() if task is not this), default=now)
        if reply.kind == "request" or not self._patience.ends(now, oldest):
            return False
        self._end(UserError(nothing_but_failures(reply, endpoint.public, self._patience.failures, self._patience.so_long_s(now))))
        return True

    def _useless(self, endpoint: Endpoint, reply: Failure, job: _Job, now: float) -> bool:
        """Deal with an endpoint that cannot be reached or refuses whatever it is asked."""
        if reply.kind not in ("unreachable", "endpoint") or endpoint.has_answered:
            if reply.kind == "unreachable":
                endpoint.down_until = now + DOWN_S
            return False
        endpoint.refusal = reply
        if all(e.refusal for e in self.endpoints):
            self._end(UserError(first_refusal(reply, endpoint.public, self.identity["model"])))
        else:
            self._try_again(job._replace(avoid=endpoint), now)
        return True

    def _retry_or_give_up(self, job: _Job, endpoint: Endpoint, reply: Failure, now: float) -> None:
        self.meter.refused += reply.status == 429
        elsewhere = len(self.endpoints) > 1
        passing = reply.kind in PASSING and ((reply.wait_s or 0.0) <= LONGEST_WAIT_S or elsewhere)
        passing = passing or (elsewhere and reply.kind == "endpoint")
        if not passing or job.attempts == self.sampling.retries:
            self._deliver(job, endpoint, Answer("", "error", error=reply.why), reply)
            return
        self.meter.retries += 1
        wait_s = chat_completion.back_off_s(job.attempts, None if elsewhere else reply.wait_s)
        self._try_again(job._replace(attempts=job.attempts + 1, avoid=endpoint), now + wait_s)

    def _try_again(self, job: _Job, at: float) -> None:
        heapq.heappush(self._again, (at, next(self._numbers), job))
        self._loop.call_at(at, self._pump)

    def _deliver(self, job: _Job, endpoint: Endpoint, reply: Answer, failure: Failure | None) -> None:
        self.meter.answers += failure is None
        self.meter.cut += reply.finish == "length"
        self.meter.failed += failure is not None
        self.meter.settle(job.worst, told_or_guessed(reply, job.worst))
        identity: Identity = {**self.identity, "endpoint": endpoint.public}
        self.deliver(Outcome(answered(job.request, identity, reply), failure))

    def _end(self, error: Exception | None) -> None:
        self._error = self._error or error
        self._over.set()

    def _body(self, request: Request, streams: bool) -> dict[str, Any]:
        body = request_body(request, self.identity["model"], self.sampling, self._said)
        return {**body, "stream": True, "stream_options": {"include_usage": True}} if streams else body

    # What happens by itself.

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(TICK_S)
            if self._stop_asked is not None and self._stop_asked.is_set():
                self._end(None)
            for endpoint in self.endpoints:
                endpoint.limiter.tick(self._loop.time())
            count_all(self.endpoints, self.meter)
            self._pump()

    async def _follow(self, endpoint: Endpoint) -> None:
        await engine_metrics.follow(self._session, endpoint, self.sampling.timeout_s, self._cut_short)

    def _cut_short(self) -> None:
        for task in tuple(self._tasks):
            task.cancel()
