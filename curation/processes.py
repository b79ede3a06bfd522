"""One function over many items on several cores, results in order: for the heavy passes over text that Python does on one."""

from __future__ import annotations

import collections
import contextlib
import functools
import multiprocessing
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from typing import Protocol, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")
AHEAD = 2  # items in flight for each process: enough to keep it busy, few enough to stay small in memory
_HELD = 32  # results of one process that wait for an earlier item, such as the first, for which a process has yet to start


class Mapped(Protocol):
    """Of a function and items the results, in the order of the items."""

    def __call__(self, function: Callable[[Item], Result], items: Iterable[Item], /) -> Iterator[Result]: ...


@contextlib.contextmanager
def processes(workers: int) -> Iterator[Mapped]:
    """A `map` that works in this process and in `workers` - 1 others, which stay for all its uses.

    Items and results are pickled, so an item should be worth milliseconds. Processes start afresh ("spawn"): a fork of a process
    that holds Polars' threads can hang. They take half a second to, in which this one is at work already. A script that asks for
    more than one worker needs `if __name__ == "__main__"`.
    """
    if workers <= 1:
        yield map
        return
    with ProcessPoolExecutor(workers - 1, mp_context=multiprocessing.get_context("spawn")) as pool:
        yield functools.partial(_shared, pool, workers - 1)


def in_order(function: Callable[[Item], Result], items: Iterable[Item], workers: int) -> Iterator[Result]:
    """`function` of each item, in their order, by so many `processes`."""
    with processes(workers) as mapped:
        yield from mapped(function, items)


def _shared(pool: ProcessPoolExecutor, others: int, function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
    """Each item goes to the other processes where they have too little to do, else it is done here."""
    waiting: collections.deque[Future[Result]] = collections.deque()
    for item in items:
        if sum(not future.done() for future in waiting) < AHEAD * others:
            waiting.append(pool.submit(function, item))
        else:
            waiting.append(Future())
            waiting[-1].set_result(function(item))
        while waiting and (waiting[0].done() or len(waiting) > _HELD * others):
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()
