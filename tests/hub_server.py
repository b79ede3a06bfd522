"""A small Hugging Face Hub on this machine, for the real huggingface_hub and `datasets.load_dataset` to talk to.

It speaks the routes that pushing and loading need: whoami, repository creation and information, validate-yaml, preupload,
LFS batch with upload, commit, branches, tags, refs, discussions and pull requests, tree, paths-info, resolve. Storage is a
toy git: a commit is a dictionary from path to blob. Xet, the binary protocol of the real Hub's file store, is not spoken:
clients run with HF_HUB_DISABLE_XET=1 and take huggingface_hub's LFS way, whose requests are the same before and after the
bytes themselves.

Faults are queued on `hub.faults` and each is used up by the requests it matches.
"""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import yaml

TOKEN = "hf_test"
USER = "tester"
NOW = "2026-01-01T00:00:00.000Z"


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


@dataclasses.dataclass
class Fault:
    """What happens to the next `times` requests whose "METHOD /path" the pattern is found in."""

    pattern: str
    status: int = 503  # 0: the connection is cut
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
        self.lock = threading.RLock()
        self.url = ""

    def main(self, repo: str) -> dict[str, bytes]:
        """Files of the main branch."""
        found = self.repos[repo].find("main")
        assert found is not None
        return {path: self.content(blob) for path, blob in found.tree.items()}

    def content(self, blob: Blob) -> bytes:
        return blob.data if blob.data is not None else (self.lfs / str(blob.sha256)).read_bytes()

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


@contextmanager
def hub_server(folder: Path) -> Iterator[Hub]:
    """A running hub that keeps its LFS objects in `folder`."""
    hub = Hub(folder)
    handler = type("HubHandler", (Handler,), {"hub": hub})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    hub.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class Refused(Exception):
    def __init__(self, status: int, message: str, code: str = "", **fields: str) -> None:
        self.status, self.message, self.code, self.fields = status, message, code, fields


class Handler(BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, *args: object) -> None:
        pass

    def do_GET(self) -> None:
        self.answer()

    do_HEAD = do_POST = do_PUT = do_DELETE = do_GET

    def answer(self) -> None:
        parts = urlsplit(self.path)
        line = f"{self.command} {unquote(parts.path)}"
        self.hub.requests.append(line)
        fault = self.hub.fault(line)
        if fault is not None and fault.status == 0 and not fault.after:
            self.rfile.read(min(1024, int(self.headers.get("content-length") or 0)))  # in the middle of an upload
            self.cut()
            return
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        if fault is not None and not fault.after:
            self.send(fault.status, b"the server is not well", fault.headers)
            return
        try:
            reply = self.route(unquote(parts.path), parse_qs(parts.query), body)
        except Refused as refused:
            headers = {"X-Error-Message": refused.message} | ({"X-Error-Code": refused.code} if refused.code else {})
            reply = refused.status, json.dumps({"error": refused.message} | refused.fields).encode(), headers
        if fault is not None:
            self.cut() if fault.status == 0 else self.send(fault.status, b"lost", fault.headers)
            return
        self.send(*reply)

    def cut(self) -> None:
        """Close the connection: a network that fails."""
        self.close_connection = True
        self.connection.shutdown(2)

    def send(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        size = {"Content-Length": str(len(body))}
        for name, value in (size | headers).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def route(self, path: str, query: dict[str, list[str]], body: bytes) -> tuple[int, bytes, dict[str, str]]:
        if path.startswith("/lfs/"):
            return self.store(path.removeprefix("/lfs/"), body)
        if self.headers.get("authorization") != f"Bearer {TOKEN}":
            raise Refused(401, "Invalid username or password.")
        if match := re.fullmatch(r"/datasets/([^/]+/[^/]+)/resolve/(refs/pr/\d+|[^/]+)/(.+)", path):
            return self.resolve(*match.groups())
        with self.hub.lock:
            return 200, json.dumps(self.api(path, query, body)).encode(), {"Content-Type": "application/json"}

    def api(self, path: str, query: dict[str, list[str]], body: bytes) -> Any:
        if path == "/api/whoami-v2":
            return {"name": USER, "type": "user"}
        if path == "/api/repos/create":
            return self.create_repo(json.loads(body))
        if path == "/api/validate-yaml":
            return self.validate(json.loads(body)["content"])
        if match := re.fullmatch(r"/datasets/([^/]+/[^/]+)\.git/info/lfs/objects/batch", path):
            return self.lfs_batch(json.loads(body))
        match = re.fullmatch(r"/api/datasets/([^/]+/[^/]+)(?:/(.+))?", path)
        if not match:
            raise Refused(404, f"no route {path}")
        repo = self.hub.repos.get(match[1])
        if repo is None:
            raise Refused(404, "Repository not found", "RepoNotFound")
        return self.in_repo(repo, match[2] or "", query, body)

    def in_repo(self, repo: Repo, path: str, query: dict[str, list[str]], body: bytes) -> Any:
        verb, _, rest = path.partition("/")
        if verb in ("", "revision"):
            return self.info(repo, rest or "main")
        if verb == "refs":
            return self.refs(repo)
        if verb == "tree":
            return self.listing(repo, rest, query)
        if verb == "paths-info":
            wanted = parse_qs(body.decode())["paths"] if body[:1] != b"{" else json.loads(body)["paths"]
            return [e for e in self.entries(self.commit_at(repo, rest).tree) if e["path"] in wanted]
        if verb == "preupload":
            return self.preupload(repo, rest, json.loads(body))
        if verb == "commit":
            return self.commit(repo, rest, body)
        if verb == "branch":
            return self.set_ref(repo, f"refs/heads/{rest}", json.loads(body).get("startingPoint", "main"))
        if verb == "tag":
            return self.set_ref(repo, f"refs/tags/{json.loads(body)['tag']}", rest)
        if verb == "discussions":
            return self.discussions(repo, rest, query, json.loads(body or b"{}"))
        raise Refused(404, f"no route {path}")

    def create_repo(self, wish: dict[str, Any]) -> Any:
        name = f"{wish['organization'] or USER}/{wish['name']}"
        if name in self.hub.repos:
            raise Refused(
                409, "You already created this dataset repo", url=f"{self.hub.url}/datasets/{name}", name=name
            )
        repo = self.hub.repos[name] = Repo(name, wish.get("visibility") == "private", {}, {})
        data = b"*.parquet filter=lfs diff=lfs merge=lfs -text\n"
        repo.commit("refs/heads/main", {".gitattributes": blob(data)}, "initial commit")
        return {"url": f"{self.hub.url}/datasets/{name}", "name": name}

    def validate(self, card: str) -> Any:
        head = card.removeprefix("---\n").partition("\n---\n")[0]
        if not isinstance(yaml.safe_load(head), dict):
            raise Refused(400, "metadata is no mapping")
        return {"errors": [], "warnings": []}

    def lfs_batch(self, wish: dict[str, Any]) -> Any:
        return {"transfer": "basic", "objects": [self.lfs_action(o["oid"], o["size"]) for o in wish["objects"]]}

    def lfs_action(self, oid: str, size: int) -> Any:
        known = {"oid": oid, "size": size}
        if (self.hub.lfs / oid).is_file():
            return known
        return known | {"actions": {"upload": {"href": f"{self.hub.url}/lfs/{oid}", "header": {}}}}

    def store(self, oid: str, body: bytes) -> tuple[int, bytes, dict[str, str]]:
        if hashlib.sha256(body).hexdigest() != oid:
            raise Refused(400, "the bytes are not those of the name")
        (self.hub.lfs / oid).write_bytes(body)
        return 200, b"", {}

    def commit_at(self, repo: Repo, revision: str) -> Commit:
        found = repo.find(revision)
        if found is None:
            raise Refused(404, f"Invalid rev id: {revision}", "RevisionNotFound")
        return found

    def info(self, repo: Repo, revision: str) -> Any:
        commit = self.commit_at(repo, revision)
        siblings = [{"rfilename": path} for path in sorted(commit.tree)]
        fields = {"id": repo.name, "sha": commit.oid, "private": repo.private, "siblings": siblings}
        return fields | {"tags": [], "downloads": 0, "likes": 0, "lastModified": NOW, "author": USER}

    def refs(self, repo: Repo) -> Any:
        named = {"branches": "refs/heads/", "tags": "refs/tags/", "pullRequests": "refs/pr/"}
        return {"converts": []} | {
            kind: [
                {"name": ref.removeprefix(prefix), "ref": ref, "targetCommit": oid}
                for ref, oid in repo.refs.items()
                if ref.startswith(prefix)
            ]
            for kind, prefix in named.items()
        }

    def listing(self, repo: Repo, rest: str, query: dict[str, list[str]]) -> Any:
        match = re.fullmatch(r"(refs/pr/\d+|[^/]+)(?:/(.*))?", rest)
        assert match
        tree, folder = self.commit_at(repo, match[1]).tree, f"{match[2]}/" if match[2] else ""
        inside = {p: b for p, b in tree.items() if p.startswith(folder)}
        if folder and not inside:
            raise Refused(404, f"{folder} does not exist", "EntryNotFound")
        entries = self.entries(inside)
        if query.get("recursive", ["false"])[0].lower() == "true":
            return entries
        return [e for e in entries if "/" not in e["path"].removeprefix(folder)]

    def entries(self, tree: Tree) -> list[dict[str, Any]]:
        folders = {"/".join(p.split("/")[:i]) for p in tree for i in range(1, p.count("/") + 1)}
        listed = [{"type": "directory", "path": f, "oid": sha1(f.encode()), "size": 0} for f in sorted(folders)]
        for path, found in sorted(tree.items()):
            entry: dict[str, Any] = {"type": "file", "path": path, "oid": found.oid, "size": found.size}
            if found.sha256:
                entry["lfs"] = {"oid": found.sha256, "size": found.size, "pointerSize": 130}
            listed.append(entry)
        return listed

    def preupload(self, repo: Repo, revision: str, wish: dict[str, Any]) -> Any:
        tree = self.commit_at(repo, revision).tree
        return {
            "files": [
                {
                    "path": f["path"],
                    "uploadMode": "lfs" if f["path"].endswith(".parquet") else "regular",
                    "shouldIgnore": False,
                    "oid": (b.sha256 or b.oid) if (b := tree.get(f["path"])) else None,
                }
                for f in wish["files"]
            ]
        }

    def commit(self, repo: Repo, revision: str, body: bytes) -> Any:
        ref = revision if revision.startswith("refs/") else f"refs/heads/{revision}"
        head = self.commit_at(repo, ref)
        lines = [json.loads(line) for line in body.splitlines()]
        title, tree = lines[0]["value"]["summary"], dict(head.tree)
        parent = lines[0]["value"].get("parentCommit")
        if parent and not head.oid.startswith(parent):
            raise Refused(412, "A commit has happened since. Please refresh and try again.")
        for line in lines[1:]:
            self.apply(tree, line["key"], line["value"])
        commit = repo.commit(ref, tree, title)
        url = f"{self.hub.url}/datasets/{repo.name}/commit/{commit.oid}"
        return {"commitUrl": url, "commitOid": commit.oid, "pullRequestUrl": None}

    def apply(self, tree: Tree, key: str, value: dict[str, Any]) -> None:
        if key == "file":
            tree[value["path"]] = blob(base64.b64decode(value["content"]))
        elif key == "lfsFile":
            stored = self.hub.lfs / value["oid"]
            if not stored.is_file() or stored.stat().st_size != value["size"]:
                raise Refused(400, f"LFS object {value['oid']} was never uploaded")
            pointer = sha1(f"pointer {value['oid']}".encode())
            tree[value["path"]] = Blob(pointer, value["size"], None, value["oid"])
        elif key == "deletedFile":
            del tree[value["path"]]
        else:
            raise Refused(400, f"unknown operation {key}")

    def set_ref(self, repo: Repo, ref: str, revision: str) -> Any:
        if ref in repo.refs:
            raise Refused(409, "Tag or branch already exists")
        repo.refs[ref] = self.commit_at(repo, revision).oid
        return {}

    def discussions(self, repo: Repo, rest: str, query: dict[str, list[str]], wish: dict[str, Any]) -> Any:
        if not rest and self.command == "GET":
            author = query.get("author", [None])[0]
            found = [self.detail(repo, p) for p in repo.pulls if author in (None, p.author)]
            return {"discussions": found, "count": len(found), "start": 0}
        if not rest:
            base = self.commit_at(repo, "main").oid
            pull = Pull(len(repo.pulls) + 1, wish["title"], base)
            repo.pulls.append(pull)
            repo.refs[f"refs/pr/{pull.num}"] = base
            return {"num": pull.num, "pullRequest": True}
        number, _, action = rest.partition("/")
        pull = repo.pulls[int(number) - 1]
        if action == "status":
            pull.status = wish["status"]
            event = {"id": "e1", "type": "status-change", "createdAt": NOW, "author": {"name": USER}}
            return {"newStatus": event | {"data": {"status": pull.status}}}
        return self.merge(repo, pull) if action == "merge" else self.detail(repo, pull)

    def detail(self, repo: Repo, pull: Pull) -> Any:
        return {
            "title": pull.title,
            "num": pull.num,
            "author": {"name": pull.author},
            "createdAt": NOW,
            "status": pull.status,
            "repo": {"name": repo.name, "type": "dataset"},
            "isPullRequest": True,
            "events": [],
            "filesWithConflicts": [],
            "changes": {"base": "refs/heads/main", "mergeCommitId": pull.merge_commit},
        }

    def merge(self, repo: Repo, pull: Pull) -> Any:
        if pull.status != "open":
            raise Refused(403, f"a pull request that is {pull.status} cannot be merged")
        base, ours = repo.commits[pull.base].tree, self.commit_at(repo, f"refs/pr/{pull.num}").tree
        main = self.commit_at(repo, "main").tree
        changed = {p for p in base | ours if base.get(p) != ours.get(p)}
        if conflicts := sorted(p for p in changed if main.get(p) not in (base.get(p), ours.get(p))):
            raise Refused(409, f"conflicts in {conflicts}")
        merged = {p: b for p in main | ours if (b := (ours if p in changed else main).get(p)) is not None}
        pull.merge_commit = repo.commit("refs/heads/main", merged, f"{pull.title} (#{pull.num})").oid
        pull.status = "merged"
        return {}

    def resolve(self, name: str, revision: str, path: str) -> tuple[int, bytes, dict[str, str]]:
        repo = self.hub.repos.get(name)
        if repo is None:
            raise Refused(404, "Repository not found", "RepoNotFound")
        commit = self.commit_at(repo, revision)
        if path not in commit.tree:
            raise Refused(404, "Entry not found", "EntryNotFound")
        found = commit.tree[path]
        data = self.hub.content(found)
        headers = {"ETag": f'"{found.sha256 or found.oid}"', "X-Repo-Commit": commit.oid, "Accept-Ranges": "bytes"}
        match = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("range") or "")
        if not match:
            return 200, data, headers
        start, end = int(match[1]), min(int(match[2] or len(data) - 1), len(data) - 1)
        return 206, data[start : end + 1], headers | {"Content-Range": f"bytes {start}-{end}/{len(data)}"}


def sha1(data: bytes) -> str:
    return hashlib.sha1(data).hexdigest()


def blob(data: bytes) -> Blob:
    return Blob(sha1(b"blob %d\0" % len(data) + data), len(data), data)
