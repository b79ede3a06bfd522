"""A small server for one reader on this machine: the page's files and what the page asks for, and nothing that writes."""

from __future__ import annotations

import contextlib
import errno
import webbrowser
from collections.abc import Callable
from functools import partial
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import NamedTuple
from urllib.parse import parse_qsl, urlsplit

from cards.run_facts import whole
from cards.view.pipeline_page import is_pipeline, pipeline_watcher
from cards.view.replies import HEADERS, Answer, Reply, file_reply, text_reply
from cards.view.rows import open_rows
from cards.view.run_page import run_answers
from cards.view.training_page import is_training, training_answers, watcher
from curation.errors import UserError


class Opened(NamedTuple):
    """A folder to be looked at."""

    page: str  # the file below page/ that shows it
    answer: Answer
    said: str  # what it is, for the terminal


def serve(folder: Path, port: int, *, open_browser: bool, say: Callable[[str], None]) -> None:
    """Show a run, a model or a pipeline until it is interrupted. Raises UserError for another folder and for a port in use."""
    opened = open_page(folder)
    try:
        server = make_server(opened, port)
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise
        raise UserError(
            f"port {port} is in use: stop what listens there, or choose another with --port (0 takes a free one)"
        ) from None
    address = f"http://127.0.0.1:{server.server_port}/"
    say(f"{address}  {opened.said}; Ctrl-C ends it")
    if open_browser:
        webbrowser.open(address)
    with server, contextlib.suppress(KeyboardInterrupt):
        server.serve_forever()


def open_page(folder: Path) -> Opened:
    """The page that fits a folder. Raises UserError where it holds no finished build, no training and no pipeline."""
    if is_pipeline(folder):
        return Opened("training.html", training_answers(pipeline_watcher(folder)), f"pipeline in {folder}")
    if is_training(folder):
        return Opened("training.html", training_answers(watcher(folder)), f"training in {folder}")
    if (folder / "config.json").is_file():
        raise UserError(f"{folder} is a model without a record of its training: view shows what distill, grpo, build and run leave")
    with whole(folder):
        view = open_rows(folder)
        return Opened("index.html", run_answers(view), f"{view.rows.height:,} rows of {folder}")


def make_server(opened: Opened, port: int = 0) -> ThreadingHTTPServer:
    """A server on 127.0.0.1, not yet serving; port 0 takes a free one. Raises OSError for a port in use."""

    class Handler(_Handler):
        reply = staticmethod(partial(_reply, opened))

    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    server.daemon_threads = True
    return server


def _reply(opened: Opened, target: str) -> Reply:
    parts = urlsplit(target)
    if parts.path.startswith("/api/"):
        found = opened.answer(parts.path, dict(parse_qsl(parts.query)))
        return found or text_reply(HTTPStatus.NOT_FOUND, "no such page")
    return file_reply(parts.path.removeprefix("/") or f"page/{opened.page}")


class _Handler(BaseHTTPRequestHandler):
    reply: Callable[[str], Reply]
    protocol_version = "HTTP/1.1"
    server: ThreadingHTTPServer

    def do_GET(self) -> None:
        # A name that somebody else's page points at 127.0.0.1 arrives with that name (DNS rebinding): it reads nothing here.
        port = self.server.server_port
        if self.headers.get("host") not in (f"127.0.0.1:{port}", f"localhost:{port}"):
            return self.send(text_reply(HTTPStatus.FORBIDDEN, f"open http://127.0.0.1:{port}/"))
        self.send(self.reply(self.path))

    do_HEAD = do_GET

    def send(self, reply: Reply) -> None:
        self.send_response(reply.status)
        for name, value in (HEADERS | {"Content-Type": reply.kind, "Content-Length": str(len(reply.body))}).items():
            self.send_header(name, value)
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # the page was left before the answer
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(reply.body)

    def log_message(self, *args: object) -> None:
        """Nothing: a terminal line for every row looked at helps nobody."""
