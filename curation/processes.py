"""One function over many items on several cores, results in order: for the heavy passes over text that Python does on one."""

from __future__ import annotations

import collections
import multiprocessing
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")
AHEAD = 2  # items in flight for each process: enough to keep it busy, few enough to stay small in memory


def in_order(function: Callable[[Item], Result], items: Iterable[Item], workers: int) -> Iterator[Result]:
    """`function` of each item, in their order; with one worker in this process.

    Items and results are pickled, so an item should be worth milliseconds. Processes start afresh ("spawn"): a fork of a process
    that holds Polars' threads can hang. A script that asks for more than one worker needs `if __name__ == "__main__"`.
    """
    if workers <= 1:
        yield from map(function, items)
        return
    waiting: collections.deque[Future[Result]] = collections.deque()
    with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        for item in items:
            waiting.append(pool.submit(function, item))
            if len(waiting) > AHEAD * workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
