"""Work that is done once: each piece has a key made of its settings and its inputs' contents.

A finished piece is a folder `STORE/<name>-<key>` that appears by one rename, so it is whole or absent, whatever kills the
process. The same settings over the same input bytes find it again, in this run or another; anything else is another key.
Runs hold hard links to these files: the store can be deleted at any time and costs only the time to redo it.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import socket
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from curation.records import canonical_json, content_id

Facts = dict[str, Any]  # counts and reasons, JSON, the same every time the piece is done
MARK = "step.json"
RULES = "4"  # raised whenever a step gives other rows for the same rows and settings: what older rules left is done again


class Piece(NamedTuple):
    """One finished piece of work."""

    name: str
    key: str
    folder: Path
    digest: str  # SHA-256 over the names and bytes of its files and its facts: what the next key is made of
    facts: Facts
    seconds: float  # time it took when it was done
    reused: bool  # True: it was there already


def once(
    store: Path,
    name: str,
    settings: object,
    inputs: Sequence[str],
    work: Callable[[Path], Facts],
    stale: Callable[[Facts], bool] = lambda facts: False,
) -> Piece:
    """The piece `name` for these settings and input digests: found in `store`, or done by `work` in an empty folder.

    `work` writes its files into the folder it is given and returns its facts. `stale` may refuse a finished piece, such as
    one in which requests failed, so that it is done again.
    """
    key = _key(name, settings, inputs)
    final = store / f"{name}-{key}"
    if final.is_dir():
        piece = _read(name, key, final, reused=True)
        if not stale(piece.facts):
            return piece
        shutil.rmtree(final)
    working = store / f".{name}-{key}@{socket.gethostname()}@{os.getpid()}"
    shutil.rmtree(working, ignore_errors=True)
    working.mkdir(parents=True)
    try:
        _finish(working, work, settings, inputs)
        os.rename(working, final)
    except BaseException as error:
        shutil.rmtree(working)
        if isinstance(error, OSError) and final.is_dir():  # another process finished the same piece first
            return _read(name, key, final, reused=True)
        raise
    return _read(name, key, final, reused=False)


def is_finished(
    store: Path, name: str, settings: object, inputs: Sequence[str], stale: Callable[[Facts], bool] = lambda facts: False
) -> bool:
    """Would `once` find this piece?"""
    folder = store / f"{name}-{_key(name, settings, inputs)}"
    return folder.is_dir() and not stale(_read(name, "", folder, reused=True).facts)


def find(store: Path, name: str, settings: object, inputs: Sequence[str]) -> Piece | None:
    """The piece that `once` would find, None where it would have to be done."""
    folder = store / f"{name}-{_key(name, settings, inputs)}"
    return read_piece(folder) if folder.is_dir() else None


def read_piece(folder: Path) -> Piece:
    """The finished piece in a folder of the store."""
    name, _, key = folder.name.rpartition("-")
    return _read(name, key, folder, reused=True)


def _key(name: str, settings: object, inputs: Sequence[str]) -> str:
    return content_id(name, RULES, settings, list(inputs))


def _finish(folder: Path, work: Callable[[Path], Facts], settings: object, inputs: Sequence[str]) -> None:
    started = time.monotonic()
    facts = work(folder)
    seconds = time.monotonic() - started
    files = {str(p.relative_to(folder)): file_digest(p) for p in sorted(folder.rglob("*")) if p.is_file()}
    digest = hashlib.sha256(canonical_json([files, facts]).encode()).hexdigest()
    mark = {
        "digest": digest,
        "files": files,
        "facts": facts,
        "settings": settings,
        "inputs": list(inputs),
        "seconds": seconds,
    }
    (folder / MARK).write_text(json.dumps(mark, indent=1, ensure_ascii=False), "utf-8")


def _read(name: str, key: str, folder: Path, *, reused: bool) -> Piece:
    mark = json.loads((folder / MARK).read_text("utf-8"))
    return Piece(name, key, folder, mark["digest"], mark["facts"], mark["seconds"], reused)


def file_digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def remove_abandoned(store: Path) -> None:
    """Remove working folders whose process, on this host, is gone: what a kill left behind."""
    for folder in store.glob(".*@*@*"):
        _, host, pid = folder.name.split("@")
        if host == socket.gethostname() and not is_alive(int(pid)):
            shutil.rmtree(folder)


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # somebody else's process, alive
        return True
    return True


def link(source: Path, target: Path) -> None:
    """Make `target` the same file as `source`, by hard link, or by copy on a disk that has none; replaces atomically."""
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name}.{os.getpid()}")
    temporary.unlink(missing_ok=True)
    try:
        os.link(source, temporary)
    except OSError:
        shutil.copyfile(source, temporary)
    os.replace(temporary, target)
    temporary.unlink(missing_ok=True)  # rename does nothing where both names are already the same file
