"""Every sample that was paid for, in append-only JSON Lines: what a killed run, or another run, need not buy again.

One file per writer, so that many processes, hosts and network disks never write to the same one. A line is
`{"key": ..., "trace": {...}}`, written whole and handed to the operating system before the sample counts. Killing the
process can therefore tear only the last line, and a torn line is left out when the file is read.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import json
import logging
import os
import socket
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from curation.errors import UserError
from curation.records import Message, Trace, content_id

log = logging.getLogger(__name__)

# Every line starts like this, so that a reader passes over the samples of other runs without parsing them.
_BEFORE_KEY = b'{"key":"'
_KEY_DIGITS = 16  # of curation.records.content_id
_ENCODER = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))
_FIELDS = [field.name for field in dataclasses.fields(Trace)]


def sample_key(messages: Sequence[Message], index: int, identity: Mapping[str, Any]) -> str:
    """The name of a sample: a content id over everything that determines it.

    `identity` holds model, revision, endpoint and effective sampling values (`factory.sampling.Identity`). A changed
    system prompt, endpoint or temperature is another key: curator 0.1.31 and datatrove 0.10.1 answer those from a stale
    cache.
    """
    return content_id(list(messages), index, dict(identity))


def read_journal(folder: Path) -> dict[str, Trace]:
    """The successful samples of all writers by key; of a sample journaled twice, the first by file name and line."""
    traces: dict[str, Trace] = {}
    for key, trace in entries(folder):
        traces.setdefault(key, trace)
    return traces


def entries(folder: Path, wanted: Container[str] | None = None) -> Iterator[tuple[str, Trace]]:
    """(key, trace) of each successful sample under `folder`, by file name and line; one trace in memory at a time.

    With `wanted`, only those keys. Failed samples are passed over, so that they are asked for again. So are torn lines,
    and their number is logged as a warning for each file.
    """
    for path in sorted(folder.glob("*.jsonl")):
        torn = 0
        with path.open("rb") as file:
            for line in file:
                if not _is_wanted(line, wanted):
                    continue
                try:
                    record = json.loads(line.decode("utf-8"))
                except ValueError:  # UnicodeDecodeError is one too
                    torn += 1
                    continue
                if record["trace"]["finish"] != "error":
                    yield record["key"], Trace(**record["trace"])
        if torn:
            log.warning("%s: %d torn line(s) left out; their samples will be asked for again", path, torn)


def _is_wanted(line: bytes, wanted: Container[str] | None) -> bool:
    start = len(_BEFORE_KEY)
    if wanted is None or len(line) < start + _KEY_DIGITS:  # a stump of a line: let it be counted as torn
        return True
    return line[start : start + _KEY_DIGITS].decode("ascii", "replace") in wanted


@contextlib.contextmanager
def writer(folder: Path) -> Iterator[Callable[[str, Trace], None]]:
    """A function `append(key, trace)` that has the sample with the operating system when it returns.

    Raises UserError when the disk is full; what was appended before stays readable.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path, file = _new_file(folder)

    def append(key: str, trace: Trace) -> None:
        values = {name: getattr(trace, name) for name in _FIELDS}  # dataclasses.asdict copies each value
        line = _ENCODER.encode({"key": key, "trace": values})
        _write_whole(file, line.encode("utf-8") + b"\n", folder)

    try:
        with file:
            yield append
            os.fsync(file.fileno())  # a killed process loses nothing without it; a power cut might
    finally:
        if path.stat().st_size == 0:
            path.unlink()


def _new_file(folder: Path) -> tuple[Path, BinaryIO]:
    # Never an existing file: host and pid come back (pid 1 in every container), and its last line may be torn.
    for number in range(1_000_000):
        path = folder / f"{socket.gethostname()}-{os.getpid()}-{number}.jsonl"
        with contextlib.suppress(FileExistsError):
            return path, path.open("xb", buffering=0)
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
