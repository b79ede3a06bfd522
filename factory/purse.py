"""One budget for the processes of a build: each keeps a file of what it has spent and of what its requests in flight may cost.

A process that wants to send a request adds up all files under one lock, so the budget holds whatever they do at the same time
(on a shared file system with flock, as the store of samples needs it too). What a killed process had spent stays counted, its
requests in flight do not: the lock on its file went with it.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

_ROW = struct.Struct("<5q")
_DONE = "done.spent"  # the sum of those that ended: one file to read instead of a thousand


class Counts(NamedTuple):
    """What a process has spent, and what it has promised to its requests in flight; tokens and answers."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    answers: int = 0
    promised_prompt: int = 0
    promised_completion: int = 0


class Purse:
    """The share of one process in a common budget: `folder` is common, `owner` tells it from the others and outlives a kill."""

    def __init__(self, folder: Path, owner: str, lock: Path | None = None) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._lock = lock or folder / ".lock"
        self.folder, self._path = folder, folder / f"{owner}.spent"
        self._file = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o644)
        fcntl.flock(self._file, fcntl.LOCK_EX)  # waits for an earlier process of this owner that is not dead yet
        self._before = _added(_read(self._file)._replace(promised_prompt=0, promised_completion=0))

    def close(self) -> None:
        with self.locked():
            done = os.open(self.folder / _DONE, os.O_RDWR | os.O_CREAT, 0o644)
            _write(done, _added(_read(done), _read(self._file)._replace(promised_prompt=0, promised_completion=0)))
            os.close(done)
            self._path.unlink()
        os.close(self._file)

    def beside(self, name: str) -> Purse:
        """The share of the same process in what another model spends, whose tokens have another price."""
        return Purse(self.folder / name, self._path.stem, self._lock)

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        with self._lock.open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def write(self, mine: Counts) -> None:
        """Note what this process has spent and promised since it was started."""
        _write(self._file, _added(self._before, mine))

    def others(self) -> Counts:
        """The sum over all other processes, those that ended and earlier ones of this owner included."""
        return _added(self._before, spent_in(self.folder, without=self._path))


def spent_in(folder: Path, without: Path | None = None) -> Counts:
    """The sum of all files of a common budget."""
    return _added(*(_counted(path) for path in folder.glob("*.spent") if path != without))


def _counted(path: Path) -> Counts:
    try:
        file = os.open(path, os.O_RDONLY)
    except FileNotFoundError:  # closed since; its counts are with those that ended, and are read at the next request
        return Counts()
    try:
        counts = _read(file)
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            counts = counts._replace(promised_prompt=0, promised_completion=0)  # its process is gone
        return counts
    finally:
        os.close(file)


def _read(file: int) -> Counts:
    raw = os.pread(file, _ROW.size, 0)
    return Counts(*_ROW.unpack(raw)) if len(raw) == _ROW.size else Counts()


def _write(file: int, counts: Counts) -> None:
    os.pwrite(file, _ROW.pack(*counts), 0)


def _added(*all_counts: Counts) -> Counts:
    return Counts(*map(sum, zip(Counts(), *all_counts, strict=True)))
