"""Every sample that was paid for: what a killed run, or another run, need not buy again.

Samples go to append-only JSON Lines, one file for each writer, so that many processes, hosts and network disks never write to
the same one. A line is handed to the operating system whole before the sample counts; killing the process can tear only the
last line, and a torn line is left out. Files whose writers are gone are packed into Parquet (`factory.packing`).

    {"key": ..., "finish": ..., "asked": {"messages": [...], "prefix": ..., "template": ...}, "trace": {...}}
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import logging
import os
import re
import socket
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from pydantic_core import from_json, to_json

from curation.errors import UserError
from curation.records import Message, Trace, content_id
from factory import packing
from factory.packing import Packed

log = logging.getLogger(__name__)

# Every line starts like this, so that a reader passes over samples without parsing them.
_START = re.compile(rb'\{"key":"([0-9a-f]{16})","finish":"([a-z]+)",')
_END = b"}}\n"
_FIELDS = tuple(Trace.__dataclass_fields__)


def sample_key(messages: Sequence[Message], index: int, identity: Mapping[str, Any], prefix: str = "") -> str:
    """The name of a sample: a content id over everything that determines it.

    `identity` holds model, revision, endpoint, chat template and effective sampling values (`factory.sampling.Identity`);
    `prefix` is the cut answer that a continuation goes on from. A changed system prompt, endpoint or temperature is another
    key: curator 0.1.31 and datatrove 0.10.1 answer those from a stale cache.
    """
    return content_id(list(messages), index, dict(identity), *([prefix] if prefix else []))


class _Place(NamedTuple):
    file: int
    at: int  # byte of a journal, row of a packed file


class Sample(NamedTuple):
    """One stored sample and what was asked for it."""

    key: str
    asked: dict[str, Any]  # messages, prefix, template
    trace: Trace


class Store:
    """All samples in a folder, found by key; and one journal of its own. For threads of one process."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._lock = threading.Lock()
        self._places: dict[int, _Place] = {}  # key as a number: 150 bytes a sample
        self._files: list[BinaryIO | Packed] = []
        self._own: BinaryIO | None = None
        self._own_number = self._own_size = 0
        folder.mkdir(parents=True, exist_ok=True)
        packing.pack(folder)
        self._index()

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __len__(self) -> int:
        return len(self._places)

    def __contains__(self, key: str) -> bool:
        return int(key, 16) in self._places

    def get(self, keys: Iterable[str]) -> Iterator[tuple[str, Trace]]:
        """(key, trace) of those keys that are there, in the order in which they lie on disk: one trace in memory at a time."""
        numbers = {int(key, 16): key for key in keys}
        with self._lock:
            places = sorted((self._places[n], key) for n, key in numbers.items() if n in self._places)
        for place, key in places:
            yield key, self.read(place).trace

    def read(self, place: _Place) -> Sample:
        with self._lock:
            file = self._files[place.file]
            if isinstance(file, Packed):
                return Sample(*file.row(place.at))
            file.seek(place.at)
            record = from_json(file.readline())
        return Sample(record["key"], record["asked"], Trace(**record["trace"]))

    def every(self) -> Iterator[Sample]:
        for place in sorted(self._places.values()):
            yield self.read(place)

    def failure(self, key: str) -> str | None:
        """Why the last request for a sample failed, as a journal that is not packed yet says it; None where none did."""
        said, start = None, f'{{"key":"{key}","finish":"error",'.encode()
        for path in sorted(self.folder.glob("*.jsonl"), key=lambda p: p.stat().st_mtime_ns):
            with path.open("rb") as file:
                said = next((from_json(line)["trace"]["error"] for line in file if line.startswith(start) and is_whole(line)), said)
        return said

    def where(self, key: str) -> str:
        """The file that holds a sample."""
        file = self._files[self._places[int(key, 16)].file]
        return file.path.name if isinstance(file, Packed) else Path(file.name).name

    def add(self, key: str, trace: Trace, asked: Mapping[str, Any]) -> None:
        """Write a sample; it is with the operating system when this returns.

        Raises UserError when the disk is full; what was added before stays readable.
        """
        values = {name: getattr(trace, name) for name in _FIELDS}
        # json takes 50 us for 15 kB, this 7.
        line = to_json({"key": key, "finish": trace.finish, "asked": asked, "trace": values}) + b"\n"
        with self._lock:
            if self._own is None:
                self._start_own()
            assert self._own is not None
            _write_whole(self._own, line, self.folder)
            if trace.finish != "error":
                self._places.setdefault(int(key, 16), _Place(self._own_number, self._own_size))
            self._own_size += len(line)

    def close(self) -> None:
        for file in self._files:
            file.close()
        if self._own is not None:
            os.fsync(self._own.fileno())  # a killed process loses nothing without it; a power cut might
            self._own.close()

    def _start_own(self) -> None:
        path, self._own = _new_file(self.folder)
        self._own_number, self._own_size = len(self._files), 0
        self._files.append(path.open("rb"))

    def _index(self) -> None:
        # Packed files first: where a kill came between packing and deleting, both hold the sample.
        for path in sorted(self.folder.glob("packed-*.parquet")):  # not those that are being written: their names begin with a dot
            packed = Packed(path)
            for row, key in packed.answers():
                self._places.setdefault(int(key, 16), _Place(len(self._files), row))
            self._files.append(packed)
        for path in sorted(self.folder.glob("*.jsonl")):
            with contextlib.suppress(FileNotFoundError):  # packed by another process since
                self._index_journal(path)

    def _index_journal(self, path: Path) -> None:
        file, at, torn = path.open("rb"), 0, 0
        for line in file:
            start = _START.match(line)
            if start is None or not is_whole(line):
                torn += 1
            elif start[2] != b"error":
                self._places.setdefault(int(start[1], 16), _Place(len(self._files), at))
            at += len(line)
        self._files.append(file)
        if torn:
            log.warning("%s: %d torn line(s) left out; their samples will be asked for again", path, torn)


def is_whole(line: bytes) -> bool:
    """Was this line written to its end? A power cut may leave zeros, a kill a line without its end."""
    if line.endswith(_END) and b"\0" not in line:
        return True
    try:
        json.loads(line)
    except ValueError:
        return False
    return True


def _new_file(folder: Path) -> tuple[Path, BinaryIO]:
    # Never an existing file: host and pid come back (pid 1 in every container), and its last line may be torn.
    for number in range(1_000_000):
        path = folder / f"{socket.gethostname()}-{os.getpid()}-{number}.jsonl"
        with contextlib.suppress(FileExistsError):
            file = path.open("xb", buffering=0)
            fcntl.flock(file, fcntl.LOCK_EX)  # until it is closed or its process is dead: packing leaves it alone
            if os.fstat(file.fileno()).st_nlink:
                return path, file
            file.close()  # between the two lines above it was packed, empty as it was
    raise FileExistsError(f"{folder} holds a million journals of this process id")


def _write_whole(file: BinaryIO, line: bytes, folder: Path) -> None:
    try:
        if file.write(line) != len(line):  # a disk that fills up takes a part first
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    except OSError as error:
        raise UserError(
            f"a sample could not be written to {folder} ({error.strerror}): wanted room for {len(line):,} bytes; "
            "make room and run again, the samples before it are kept"
        ) from error


def read_journal(folder: Path) -> dict[str, Trace]:
    """The successful samples of all writers by key."""
    with Store(folder) as store:
        return {sample.key: sample.trace for sample in store.every()}
