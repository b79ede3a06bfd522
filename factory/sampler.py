"""Sampling that goes on while the build does other things: the teacher never waits for a verifier.

A thread asks the teacher, one call for the whole build, and writes each answer to the store. What it asks for next it takes
from a queue of what the build waits for, and else from the shards ahead, so that the slow answers at the end of one shard do
not leave the teacher idle.
"""

from __future__ import annotations

import contextlib
import gc
import itertools
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from curation.errors import UserError
from curation.records import Trace
from factory.continuing import OnCut, joined, next_part
from factory.journal import Store
from factory.meter import Meter
from factory.sampling import FIRST_REQUESTS, Identity, Request, all_failed, asked_of, for_request, key_of

CHUNK = 256  # traces read from the store at a time
SHOW_S = 0.5
GC_THRESHOLD = 20_000

Ask = Callable[[Iterator[Request | None], threading.Event, Callable[[Trace], None]], Iterator[Trace]]


class _Missing(NamedTuple):
    """What the store does not have."""

    key: str
    request: Request


class Sampler:
    """Use as a context manager. `ahead` gives the requests of each shard in turn; it is read from the sampling thread."""

    def __init__(
        self, store: Store, identity: Identity, ask: Ask, *, on_cut: OnCut | None, meter: Meter, ahead: Iterator[Sequence[Request]]
    ) -> None:
        self.store, self.identity, self.meter, self._ask = store, identity, meter, ask
        self._on_cut, self._ahead = on_cut, itertools.chain.from_iterable(ahead)
        self._changed = threading.Condition()
        self._queue: deque[_Missing] = deque()
        self._asked: dict[tuple[str, int], _Missing] = {}  # by problem and index
        self._out: set[str] = set()  # keys the teacher has been asked for
        self._failed: dict[str, Trace] = {}
        self._waiting: set[str] = set()  # keys that `settle` waits for
        self._telling: set[str] = set()  # the first to be asked, while none of them is answered
        self._bought: set[str] = set()  # keys ever asked for in this build
        self._stop = threading.Event()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="sampling", daemon=True)

    def __enter__(self) -> Sampler:
        # 500 requests in flight are many objects that live for a while: at the usual threshold of 700 the collector
        # goes through them, and through all that was imported, again and again. 436 us of processor time an answer instead of 518.
        self._threshold = gc.get_threshold()
        gc.freeze()
        gc.set_threshold(GC_THRESHOLD, *self._threshold[1:])
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        gc.set_threshold(*self._threshold)
        gc.unfreeze()

    def settle(self, requests: Sequence[Request], show: Callable[[int, int], None]) -> None:
        """Wait until each request has its answer in the store or has failed; `show(done, total)` is called meanwhile.

        Raises UserError when the teacher gives up or the budget is reached: what was sampled until then is kept.
        """
        with self._changed:
            keys = {key_of(r, self.identity): r for r in requests}
            missing = dict(m for key, r in keys.items() if (m := self._missing(r, key)) is not None)
            self._waiting = set(missing)
            self._queue.extendleft(reversed([_Missing(key, r) for key, r in missing.items() if key not in self._out]))
            self.meter.reused += len(keys.keys() - self._bought - missing.keys())
            while self._waiting:
                show(len(requests) - len(self._waiting), len(requests))
                self._changed.wait(SHOW_S)
                self._raise_if_over()
        show(len(requests), len(requests))

    def traces(self, requests: Sequence[Request]) -> Iterator[Trace]:
        """The traces of settled requests in their order, those of several parts joined."""
        for at in range(0, len(requests), CHUNK):
            chunk = requests[at : at + CHUNK]
            keys = [key_of(r, self.identity) for r in chunk]
            found = dict(self.store.get(keys)) | {k: self._failed[k] for k in keys if k in self._failed}
            for request, key in zip(chunk, keys, strict=True):
                yield for_request(joined(self._parts(request, found[key]), self._on_cut), request)

    def _parts(self, request: Request, first: Trace) -> list[Trace]:
        parts = [first]
        while (following := next_part(request, parts, self._on_cut)) is not None:
            key = key_of(following, self.identity)
            if key not in self.store:  # it failed: what there is stays, cut
                break
            parts += [t for _, t in self.store.get([key])]
        return parts

    def _missing(self, request: Request, key: str) -> _Missing | None:
        """A request itself, or what goes on from its cut answer; None where the store has all of it or it has failed."""
        if key in self._failed:
            return None
        if key not in self.store:
            return _Missing(key, request)
        if self._on_cut is None:
            return None
        parts = self._parts(request, next(t for _, t in self.store.get([key])))
        following = next_part(request, parts, self._on_cut)
        if following is None or (key := key_of(following, self.identity)) in self._failed:
            return None
        return _Missing(key, following)

    def _raise_if_over(self) -> None:
        if self._error is not None:
            raise self._error
        if not self._thread.is_alive() and self._waiting:
            if not self.meter.budget_reached:
                raise RuntimeError("the sampling thread has ended while samples are missing")
            raise UserError(over_budget(self.meter))

    # In the sampling thread.

    def _run(self) -> None:
        try:
            with contextlib.closing(self._ask(self._turns(), self._stop, self._take)) as traces:  # type: ignore[type-var]
                for _ in traces:  # each is taken before its place is given to another request
                    pass
        except BaseException as error:  # it belongs to whoever waits
            self._error = error
        with self._changed:
            self._changed.notify_all()

    def _turns(self) -> Iterator[Request | None]:
        while not self._stop.is_set():
            yield self._turn()

    def _turn(self) -> Request | None:
        with self._changed:
            while True:
                missing = self._queue.popleft() if self._queue else self._look_ahead()
                if missing is None:
                    return None
                if missing.key not in self._bought:
                    return self._buy(missing)

    def _look_ahead(self) -> _Missing | None:
        found = (self._missing(request, key_of(request, self.identity)) for request in self._ahead)
        return next((missing for missing in found if missing is not None), None)

    def _buy(self, missing: _Missing) -> Request:
        key, request = missing
        self._out.add(key)
        self._bought.add(key)
        self._asked[request.problem_id, request.index] = missing
        if len(self._bought) <= FIRST_REQUESTS and not self.meter.answers:
            self._telling.add(key)
        return request

    def _take(self, trace: Trace) -> None:
        key, request = self._asked.pop((trace.problem_id, trace.index))
        self.store.add(key, trace, asked_of(request, self.identity))
        with self._changed:
            self._out.discard(key)
            if trace.finish == "error":
                self._failed[key] = trace
                self._tell(key, trace)
            else:
                self._telling.clear()
            if trace.finish == "length":
                self._go_on(key, request)
            self._waiting.discard(key)
            if not self._waiting:
                self._changed.notify_all()

    def _go_on(self, key: str, request: Request) -> None:
        first = Request(request.problem_id, request.index, request.messages)
        following = self._missing(first, key_of(first, self.identity))
        if following is not None:
            self._queue.appendleft(following)
            if key in self._waiting:
                self._waiting.add(following.key)

    def _tell(self, key: str, trace: Trace) -> None:
        failed_first = self._telling & self._failed.keys()
        if key in self._telling and len(failed_first) == FIRST_REQUESTS and not self.meter.reused:
            raise UserError(all_failed(self.identity, trace))


def over_budget(meter: Meter) -> str:
    return (
        f"the budget is reached after {meter.spent().answers:,} answers ({meter.all_spent()}): what was sampled is kept, "
        "and the same command goes on from there with a new budget"
    )
