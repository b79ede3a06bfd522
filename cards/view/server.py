"""A small server for one reader on this machine: the page's files and the run's rows, and nothing that writes."""

from __future__ import annotations

import contextlib
import errno
import json
import mimetypes
import webbrowser
from collections.abc import Callable
from functools import partial
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, urlsplit

from cards.view.deep import search_texts
from cards.view.detail import row
from cards.view.overview import overview
from cards.view.rows import PAGE_ROWS, Rows, filtered, listed, open_rows
from curation.errors import UserError

HERE = Path(__file__).parent
# Scripts and styles only from these files. KaTeX sets the size of a few elements in style attributes, which run nothing.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; style-src-attr 'unsafe-inline'; font-src 'self'; "
    "connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


class Reply(NamedTuple):
    status: HTTPStatus
    kind: str
    body: bytes


def serve(run: Path, port: int, *, open_browser: bool, say: Callable[[str], None]) -> None:
    """Show a finished run until it is interrupted. Raises UserError for a folder that is no run and for a port in use."""
    view = open_rows(run)
    try:
        server = make_server(view, port)
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise
        raise UserError(
            f"port {port} is in use: stop what listens there, or choose another with --port (0 takes a free one)"
        ) from None
    address = f"http://127.0.0.1:{server.server_port}/"
    say(f"{address}  {view.rows.height:,} rows of {run}; Ctrl-C ends it")
    if open_browser:
        webbrowser.open(address)
    with server, contextlib.suppress(KeyboardInterrupt):
        server.serve_forever()


def make_server(view: Rows, port: int = 0) -> ThreadingHTTPServer:
    """A server for `view` on 127.0.0.1, not yet serving; port 0 takes a free one. Raises OSError for a port in use."""
    summary = json.dumps(overview(view)).encode()

    class Handler(_Handler):
        answer = staticmethod(partial(_answer, view, summary))

    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    server.daemon_threads = True
    return server


class _Handler(BaseHTTPRequestHandler):
    answer: Callable[[str], Reply]
    protocol_version = "HTTP/1.1"
    server: ThreadingHTTPServer

    def do_GET(self) -> None:
        # A name that somebody else's page points at 127.0.0.1 arrives with that name (DNS rebinding): it reads nothing here.
        port = self.server.server_port
        if self.headers.get("host") not in (f"127.0.0.1:{port}", f"localhost:{port}"):
            return self.send(_text(HTTPStatus.FORBIDDEN, f"open http://127.0.0.1:{port}/"))
        self.send(self.answer(self.path))

    do_HEAD = do_GET

    def send(self, reply: Reply) -> None:
        self.send_response(reply.status)
        for name, value in (HEADERS | {"Content-Type": reply.kind, "Content-Length": str(len(reply.body))}).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(reply.body)

    def log_message(self, *args: object) -> None:
        """Nothing: a terminal line for every row looked at helps nobody."""


def _answer(view: Rows, summary: bytes, target: str) -> Reply:
    parts = urlsplit(target)
    query = dict(parse_qsl(parts.query))
    if parts.path == "/api/overview":
        return Reply(HTTPStatus.OK, "application/json", summary)
    if parts.path == "/api/rows":
        return _rows(view, query)
    if parts.path == "/api/row":
        found = row(view, query.get("id", ""))
        return _json(found) if found else _text(HTTPStatus.NOT_FOUND, f"no row {query.get('id', '')[:40]!r} in this run")
    return _file(parts.path)


def _rows(view: Rows, query: dict[str, str]) -> Reply:
    try:
        start, text = int(query.get("start", "0")), query.get("q", "")
        deep = bool(text and query.get("deep"))
        rows = filtered(view, {key: value for key, value in query.items() if not (deep and key == "q")})
    except ValueError as error:
        return _text(HTTPStatus.BAD_REQUEST, f"a number is wanted: {error}")
    if deep:
        found = search_texts(view, rows, text, start)
        return _json({"rows": listed(view, found.rows), "total": rows.height, "next": found.next})
    return _json({"rows": listed(view, rows.slice(start, PAGE_ROWS)), "total": rows.height, "next": None})


def _file(path: str) -> Reply:
    name = path.removeprefix("/") or "page/index.html"
    allowed = {p.relative_to(HERE).as_posix(): p for folder in ("page", "katex") for p in (HERE / folder).rglob("*") if p.is_file()}
    if name not in allowed:
        return _text(HTTPStatus.NOT_FOUND, "no such page")
    kind = mimetypes.guess_type(name)[0] or "application/octet-stream"
    return Reply(HTTPStatus.OK, f"{kind}; charset=utf-8" if kind.startswith("text/") else kind, allowed[name].read_bytes())


def _json(value: Any) -> Reply:
    return Reply(HTTPStatus.OK, "application/json", json.dumps(value).encode())


def _text(status: HTTPStatus, sentence: str) -> Reply:
    return Reply(status, "text/plain; charset=utf-8", sentence.encode())
