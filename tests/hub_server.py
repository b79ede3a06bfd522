"""A small Hugging Face Hub on this machine, for the real huggingface_hub and `datasets.load_dataset` to talk to.

It speaks the routes that pushing and loading need: whoami, repository creation and information, validate-yaml,
preupload, LFS batch with upload, commit, branches, tags, refs, discussions and pull requests, tree, paths-info, resolve.
Xet, the binary protocol of the real Hub's file store, is not spoken: clients run with HF_HUB_DISABLE_XET=1 and take
huggingface_hub's LFS way, whose requests are the same before and after the bytes themselves.

Faults are queued on `hub.faults` and each is used up by the requests it matches.
"""

from __future__ import annotations

import hashlib
import json
import re
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import yaml
from hub_store import KILL, SILENCE, USER, Fault, Hub, Pull, Refused, Repo, blob, entries

TOKEN = "hf_test"
NOW = "2026-01-01T00:00:00.000Z"


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
        hub.stopping.set()
        server.shutdown()
        thread.join()
        server.server_close()


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
        path = unquote(parts.path)
        self.hub.requests.append(f"{self.command} {path}")
        fault = self.hub.fault(f"{self.command} {path}")
        size = int(self.headers.get("content-length") or 0)
        if fault is not None and not fault.after:
            self.rfile.read(min(size, 1024) if fault.status <= 0 else size)  # cut in the middle of an upload
            return self.misbehave(fault)
        try:
            body = b"" if path.startswith("/lfs/") else self.rfile.read(size)
            reply = self.route(path, parse_qs(parts.query), body)
        except Refused as refused:
            headers = {"X-Error-Message": refused.message} | ({"X-Error-Code": refused.code} if refused.code else {})
            reply = refused.status, json.dumps({"error": refused.message} | refused.fields).encode(), headers
        if fault is not None:
            return self.misbehave(fault)
        self.send(*reply)

    def misbehave(self, fault: Fault) -> None:
        if fault.status > 0:
            return self.send(fault.status, b"the server is not well", fault.headers)
        if fault.status == KILL:
            assert self.hub.victim is not None
            self.hub.victim.kill()
        if fault.status == SILENCE:
            self.hub.stopping.wait()
        self.cut()

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
            return self.store(path.removeprefix("/lfs/"))
        if self.headers.get("authorization") != f"Bearer {TOKEN}":
            raise Refused(401, "Invalid username or password.")
        if match := re.fullmatch(r"(?:/datasets)?/([^/]+/[^/]+)/resolve/(refs/pr/\d+|[^/]+)/(.+)", path):
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
        if match := re.fullmatch(r"(?:/datasets)?/([^/]+/[^/]+)\.git/info/lfs/objects/batch", path):
            return self.lfs_batch(json.loads(body))
        match = re.fullmatch(r"/api/(?:datasets|models)/([^/]+/[^/]+)(?:/(.+))?", path)
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
            return [e for e in entries(repo.at(rest).tree) if e["path"] in wanted]
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
            raise Refused(409, "You already created this dataset repo", url=f"{self.hub.url}/datasets/{name}", name=name)
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

    def store(self, oid: str) -> tuple[int, bytes, dict[str, str]]:
        left, digest = int(self.headers["content-length"]), hashlib.sha256()
        with tempfile.NamedTemporaryFile(dir=self.hub.lfs, delete=False) as file:
            while left and (chunk := self.rfile.read(min(left, 1 << 20))):
                left -= len(chunk)
                self.hub.received += len(chunk)
                digest.update(chunk)
                file.write(chunk)
        if left or digest.hexdigest() != oid:
            Path(file.name).unlink()
            raise Refused(400, "the bytes are not those of the name")
        Path(file.name).rename(self.hub.lfs / oid)
        return 200, b"", {}

    def info(self, repo: Repo, revision: str) -> Any:
        commit = repo.at(revision)
        siblings = [{"rfilename": path} for path in sorted(commit.tree)]
        fields = {"id": repo.name, "sha": commit.oid, "private": repo.private, "siblings": siblings}
        return fields | {"tags": [], "downloads": 0, "likes": 0, "lastModified": NOW, "author": USER}

    def refs(self, repo: Repo) -> Any:
        def under(prefix: str) -> list[dict[str, str]]:
            found = {ref: oid for ref, oid in repo.refs.items() if ref.startswith(prefix)}
            return [{"name": r.removeprefix(prefix), "ref": r, "targetCommit": oid} for r, oid in found.items()]

        named = {"branches": under("refs/heads/"), "tags": under("refs/tags/"), "pullRequests": under("refs/pr/")}
        return named | {"converts": []}

    def listing(self, repo: Repo, rest: str, query: dict[str, list[str]]) -> Any:
        match = re.fullmatch(r"(refs/pr/\d+|[^/]+)(?:/(.*))?", rest)
        assert match
        tree, folder = repo.at(match[1]).tree, f"{match[2]}/" if match[2] else ""
        inside = {p: b for p, b in tree.items() if p.startswith(folder)}
        if folder and not inside:
            raise Refused(404, f"{folder} does not exist", "EntryNotFound")
        found = entries(inside)
        if query.get("recursive", ["false"])[0].lower() == "true":
            return found
        return [e for e in found if "/" not in e["path"].removeprefix(folder)]

    def preupload(self, repo: Repo, revision: str, wish: dict[str, Any]) -> Any:
        tree = repo.at(revision).tree
        ignored = (tree[".gitignore"].data or b"").decode().split() if ".gitignore" in tree else []

        def mode(path: str) -> dict[str, Any]:
            held = tree.get(path)
            known = {"oid": (held.sha256 or held.oid) if held else None, "shouldIgnore": path in ignored}
            return known | {"path": path, "uploadMode": "lfs" if path.endswith((".parquet", ".safetensors")) else "regular"}

        return {"files": [mode(f["path"]) for f in wish["files"]]}

    def commit(self, repo: Repo, revision: str, body: bytes) -> Any:
        ref = revision if revision.startswith("refs/") else f"refs/heads/{revision}"
        head = repo.at(ref)
        lines = [json.loads(line) for line in body.splitlines()]
        title, tree = lines[0]["value"]["summary"], dict(head.tree)
        parent = lines[0]["value"].get("parentCommit")
        if parent and not head.oid.startswith(parent):
            raise Refused(412, "A commit has happened since. Please refresh and try again.")
        for line in lines[1:]:
            self.hub.apply(tree, line["key"], line["value"])
        commit = repo.commit(ref, tree, title)
        url = f"{self.hub.url}/datasets/{repo.name}/commit/{commit.oid}"
        return {"commitUrl": url, "commitOid": commit.oid, "pullRequestUrl": None}

    def set_ref(self, repo: Repo, ref: str, revision: str) -> Any:
        if ref in repo.refs:
            raise Refused(409, "Tag or branch already exists")
        repo.refs[ref] = repo.at(revision).oid
        return {}

    def discussions(self, repo: Repo, rest: str, query: dict[str, list[str]], wish: dict[str, Any]) -> Any:
        if not rest and self.command == "GET":
            author = query.get("author", [None])[0]
            found = [self.detail(repo, p) for p in repo.pulls if author in (None, p.author)]
            return {"discussions": found, "count": len(found), "start": 0}
        if not rest:
            base = repo.at("main").oid
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
        return repo.merge(pull) if action == "merge" else self.detail(repo, pull)

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

    def resolve(self, name: str, revision: str, path: str) -> tuple[int, bytes, dict[str, str]]:
        repo = self.hub.repos.get(name)
        if repo is None:
            raise Refused(404, "Repository not found", "RepoNotFound")
        commit = repo.at(revision)
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
