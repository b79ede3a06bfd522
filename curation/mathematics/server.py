"""The slow tier: a clean child process that holds a pebble pool whose workers are really killed.

Why a process between the caller and the pool: a pool started inside a trainer, a thread or an unguarded script would
fork its threads or import its main module again (torch and all). This child is started with `python -c`, so its workers
import nothing of the caller's; it answers JSON lines and ends when its standard input closes, also when the caller is
killed. Workers come from a fork server that has math-verify loaded: a killed worker is replaced in milliseconds.
"""

from __future__ import annotations

import atexit
import concurrent.futures
import itertools
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Any, NamedTuple

from curation.mathematics.answer import Found

Answer = tuple[str, str, float]  # outcome, why, seconds
_START = "import sys; sys.path[:] = {path!r}; from curation.mathematics.server import serve; serve({workers})"
LOST = ("undetermined", "worker_lost", 0.0)


class Question(NamedTuple):
    """What the child owes: the future, and how its answer (None where it died) is read."""

    future: concurrent.futures.Future[Any]
    read: Callable[[Any], Any]


class Server:
    """A running child; `ask` may be called from any thread."""

    def __init__(self, workers: int) -> None:
        self.workers, self.pid = workers, os.getpid()
        code = _START.format(path=sys.path, workers=workers)
        self._child = subprocess.Popen(
            [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, encoding="ascii"
        )
        self._lock = threading.Lock()
        self._waiting: dict[int, Question] = {}
        self._ids = itertools.count()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def ask(self, gold: str, answer: str, timeout_s: float) -> concurrent.futures.Future[Answer]:
        """A future of (outcome, why, seconds) for two bare answers."""
        future: concurrent.futures.Future[Answer] = self._send(
            "ask", [gold, answer], timeout_s, lambda result: tuple(result or LOST)
        )
        return future

    def decide(self, rows: list[tuple[str, str]], timeout_s: float) -> concurrent.futures.Future[list[Found] | None]:
        """A future of the cheap tier's findings on (bare gold, response) pairs; None where the worker was lost."""
        future: concurrent.futures.Future[list[Found] | None] = self._send(
            "decide", rows, timeout_s, lambda result: result and [Found(*f) for f in result]
        )
        return future

    def _send(self, task: str, arguments: list[Any], timeout_s: float, read: Callable[[Any], Any]) -> Any:
        waiting, text = Question(concurrent.futures.Future(), read), json.dumps(arguments)
        assert self._child.stdin is not None
        with self._lock:
            number = next(self._ids)
            self._waiting[number] = waiting
            try:
                self._child.stdin.write(f"{number} {task} {timeout_s} {text}\n")
                self._child.stdin.flush()
            except (BrokenPipeError, ValueError):  # the child died: every waiting row is undetermined, none is lost
                self._waiting.pop(number)
                waiting.future.set_result(read(None))
        return waiting.future

    def alive(self) -> bool:
        return self.pid == os.getpid() and self._child.poll() is None

    def close(self) -> None:
        """End the child and its workers; waits for them."""
        if self.pid != os.getpid():  # a forked copy: the child belongs to the parent
            return
        assert self._child.stdin is not None and self._child.stdout is not None
        with self._lock:
            self._child.stdin.close()
        self._child.wait()
        self._reader.join()
        self._child.stdout.close()

    def _read(self) -> None:
        assert self._child.stdout is not None
        for line in self._child.stdout:
            number, result = line.split(" ", 1)
            with self._lock:
                question = self._waiting.pop(int(number))
            question.future.set_result(question.read(json.loads(result)))
        with self._lock:
            lost, self._waiting = self._waiting, {}
        for question in lost.values():
            question.future.set_result(question.read(None))


_shared: list[Server] = []
_shared_lock = threading.Lock()
_of_parent: list[Server] = []  # kept, so that a forked child does not finalise what is not its own


def shared(workers: int) -> Server:
    """A server of this process with at least `workers` workers, started on first use and closed at exit.

    A smaller one stays until then, for other threads may have rows in it.
    """
    with _shared_lock:
        fitting = [s for s in _shared if s.alive() and s.workers >= workers]
        if not fitting:
            fitting.append(Server(workers))
            _shared.append(fitting[0])
        return fitting[0]


def _after_fork() -> None:
    """In a forked child: another thread may have held the lock, and will never give it back here."""
    global _shared_lock
    _shared_lock = threading.Lock()
    _of_parent.extend(_shared)
    _shared.clear()


os.register_at_fork(after_in_child=_after_fork)


@atexit.register
def close() -> None:
    """Ends the shared server, if there is one."""
    with _shared_lock:
        while _shared:
            _shared.pop().close()


def serve(workers: int) -> None:
    """Body of the child: lines of id, task, timeout_s and JSON arguments in; id and JSON result out as they are done.

    A chunk of the cheap tier passes through unread: parsing its texts here would cost a tenth of judging them.
    """
    import multiprocessing
    import signal

    import pebble

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the caller's to handle; end of input ends us
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["curation.mathematics.preload"])
    from curation.mathematics import answer, worker

    lock = threading.Lock()

    def write(number: str, result: str) -> None:
        with lock:
            print(number, result, flush=True)

    pool = pebble.ProcessPool(max_workers=workers, initializer=worker.start, context=context)
    try:
        for line in sys.stdin:
            number, task, timeout_s, text = line.split(" ", 3)
            if task == "decide":
                future = pool.schedule(answer.decide_all, args=[text], timeout=float(timeout_s))
                future.add_done_callback(lambda f, n=number: write(n, "null" if f.exception() else f.result()))
            else:
                future = pool.schedule(worker.timed, args=json.loads(text), timeout=float(timeout_s))
                future.add_done_callback(lambda f, n=number, t=float(timeout_s): write(n, json.dumps(worker.outcome_of(f, t))))
    finally:
        pool.stop()
        pool.join()
