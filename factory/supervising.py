"""Runs commands, so many at a time, and starts those again that were killed: a worker that dies takes nothing with it."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping
from pathlib import Path

RESTARTS = 3  # of one command: what kills it a fourth time, such as too little memory, will kill it again
LOOK_S = 0.1
PACKAGES = Path(__file__).parent.parent  # from there `-m factory...` is this code, installed or not


def supervise(
    commands: Mapping[int, list[str]], at_a_time: int, output: Path, *, stop: Callable[[], bool] = lambda: False
) -> dict[int, int]:
    """Run commands by number, with their output in `output`/<number>.txt; returns the exit codes of those that failed.

    Each is the head of a process group that is killed when it ends, however it does. One that a signal ended is started again.
    Once `stop()` says so no further one is started. When this is interrupted, or its own parent is gone, all are killed.
    """
    output.mkdir(parents=True, exist_ok=True)
    parent, waiting, deaths = os.getppid(), deque(commands), Counter[int]()
    running: dict[int, subprocess.Popen[bytes]] = {}
    failed: dict[int, int] = {}
    try:
        while (waiting and not stop()) or running:
            while waiting and len(running) < at_a_time and not stop():
                number = waiting.popleft()
                running[number] = _start(commands[number], output / f"{number:05}.txt")
            time.sleep(LOOK_S)
            if os.getppid() != parent:
                raise RuntimeError("the process that asked for this is gone")
            for number, process in [(n, p) for n, p in running.items() if p.poll() is not None]:
                _end(running.pop(number))
                if process.returncode < 0 and deaths[number] < RESTARTS:
                    deaths[number] += 1
                    waiting.appendleft(number)
                elif process.returncode != 0:
                    failed[number] = process.returncode
    finally:
        for process in running.values():
            _end(process)
    return failed


def _start(command: list[str], output: Path) -> subprocess.Popen[bytes]:
    with output.open("ab") as file:
        return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=file, stderr=file, cwd=PACKAGES, start_new_session=True)


def _end(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
