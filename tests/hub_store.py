"""What a small Hub remembers: repositories as a toy git, whose commits are dictionaries from path to blob, and LFS files."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import json
import re
import subprocess
import threading
from pathlib import Path
from typing import Any

USER = "tester"


def sha1(data: bytes) -> str:
    return hashlib.sha1(data).hexdigest()


def blob(data: bytes) -> Blob:
    return Blob(sha1(b"blob %d\0" % len(data) + data), len(data), data)


class Refused(Exception):
    def __init__(self, status: int, message: str, code: str = "", **fields: str) -> None:
        self.status, self.message, self.code, self.fields = status, message, code, fields


@dataclasses.dataclass(frozen=True)
class Blob:
    oid: str  # as git names it
    size: int
    data: bytes | None  # None: the bytes are an LFS object
    sha256: str | None = None


Tree = dict[str, Blob]


@dataclasses.dataclass
class Commit:
    oid: str
    parent: str | None
    title: str
    tree: Tree


@dataclasses.dataclass
class Pull:
    num: int
    title: str
    base: str  # commit of main it was opened on
    status: str = "draft"  # as the Hub opens those made through the API
    author: str = USER
    merge_commit: str | None = None


@dataclasses.dataclass
class Repo:
    name: str
    private: bool
    commits: dict[str, Commit]
    refs: dict[str, str]  # refs/heads/main, refs/tags/..., refs/pr/1
    pulls: list[Pull] = dataclasses.field(default_factory=list)

    def commit(self, ref: str, tree: Tree, title: str) -> Commit:
        parent = self.refs.get(ref)
        listing = json.dumps([parent, title, sorted((p, b.oid) for p, b in tree.items())])
        oid = hashlib.sha1(listing.encode()).hexdigest()
        self.commits[oid] = Commit(oid, parent, title, tree)
        self.refs[ref] = oid
        return self.commits[oid]

    def find(self, revision: str) -> Commit | None:
        for ref in (revision, f"refs/heads/{revision}", f"refs/tags/{revision}"):
            if ref in self.refs:
                return self.commits[self.refs[ref]]
        return next((c for oid, c in self.commits.items() if oid.startswith(revision) and len(revision) >= 7), None)

    def at(self, revision: str) -> Commit:
        found = self.find(revision)
        if found is None:
            raise Refused(404, f"Invalid rev id: {revision}", "RevisionNotFound")
        return found

    def merge(self, pull: Pull) -> dict[str, str]:
        if pull.status != "open":
            raise Refused(403, f"a pull request that is {pull.status} cannot be merged")
        base, main, ours = self.commits[pull.base].tree, self.at("main").tree, self.at(f"refs/pr/{pull.num}").tree
        changed = {p for p in base | ours if base.get(p) != ours.get(p)}
        if conflicts := sorted(p for p in changed if main.get(p) not in (base.get(p), ours.get(p))):
            raise Refused(409, f"conflicts in {conflicts}")
        merged = {p: b for p in main | ours if (b := (ours if p in changed else main).get(p)) is not None}
        pull.merge_commit = self.commit("refs/heads/main", merged, f"{pull.title} (#{pull.num})").oid
        pull.status = "merged"
        return {}


def entries(tree: Tree) -> list[dict[str, Any]]:
    """Folders and files as the Hub lists them."""
    folders = {"/".join(p.split("/")[:i]) for p in tree for i in range(1, p.count("/") + 1)}
    listed: list[dict[str, Any]] = [{"type": "directory", "path": f, "oid": sha1(f.encode()), "size": 0} for f in sorted(folders)]
    for path, found in sorted(tree.items()):
        entry: dict[str, Any] = {"type": "file", "path": path, "oid": found.oid, "size": found.size}
        if found.sha256:
            entry["lfs"] = {"oid": found.sha256, "size": found.size, "pointerSize": 130}
        listed.append(entry)
    return listed


KILL, SILENCE = -9, -1


@dataclasses.dataclass
class Fault:
    """What happens to the next `times` requests whose "METHOD /path" the pattern is found in."""

    pattern: str
    status: int = 503  # 0: the connection is cut; KILL: so is the client; SILENCE: no answer ever comes
    times: int = 1
    headers: dict[str, str] = dataclasses.field(default_factory=dict)
    after: bool = False  # the work is done, and only then the answer is lost
    skip: int = 0  # let this many through first


class Hub:
    """State of the server; `url` is the endpoint."""

    def __init__(self, folder: Path) -> None:
        self.lfs = folder / "lfs"
        self.lfs.mkdir(parents=True)
        self.repos: dict[str, Repo] = {}
        self.faults: list[Fault] = []
        self.requests: list[str] = []  # "METHOD /path", in order of arrival
        self.received = 0  # bytes of LFS files that arrived, those of torn uploads too
        self.lock = threading.RLock()
        self.url = ""
        self.victim: subprocess.Popen[str] | None = None  # whom a KILL kills
        self.stopping = threading.Event()

    def forget(self) -> None:
        """Back to an empty server."""
        self.repos.clear()
        for stored in self.lfs.iterdir():
            stored.unlink()

    def main(self, repo: str) -> dict[str, bytes]:
        """Files of the main branch."""
        found = self.repos[repo].find("main")
        assert found is not None
        return {path: self.content(blob) for path, blob in found.tree.items()}

    def content(self, blob: Blob) -> bytes:
        return blob.data if blob.data is not None else (self.lfs / str(blob.sha256)).read_bytes()

    def apply(self, tree: Tree, key: str, value: dict[str, Any]) -> None:
        """One line of a commit."""
        if key == "file":
            tree[value["path"]] = blob(base64.b64decode(value["content"]))
        elif key == "lfsFile":
            stored = self.lfs / value["oid"]
            if not stored.is_file() or stored.stat().st_size != value["size"]:
                raise Refused(400, f"LFS object {value['oid']} was never uploaded")
            pointer = sha1(f"pointer {value['oid']}".encode())
            tree[value["path"]] = Blob(pointer, value["size"], None, value["oid"])
        elif key == "deletedFile":
            del tree[value["path"]]
        else:
            raise Refused(400, f"unknown operation {key}")

    def fault(self, line: str) -> Fault | None:
        with self.lock:
            for fault in self.faults:
                if re.search(fault.pattern, line) and fault.times > 0:
                    if fault.skip > 0:
                        fault.skip -= 1
                        return None
                    fault.times -= 1
                    return fault
        return None
