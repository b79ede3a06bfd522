"""What a server of the page can answer: JSON, a sentence, or one of the page's own files; and the headers of all of them."""

from __future__ import annotations

import json
import mimetypes
from collections.abc import Callable
from http import HTTPStatus
from pathlib import Path
from typing import Any, NamedTuple

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


Answer = Callable[[str, dict[str, str]], Reply | None]  # path and query of an address below api/; None: there is no such


def json_reply(value: Any) -> Reply:
    return Reply(HTTPStatus.OK, "application/json", json.dumps(value, allow_nan=False).encode())


def text_reply(status: HTTPStatus, sentence: str) -> Reply:
    return Reply(status, "text/plain; charset=utf-8", sentence.encode())


def file_reply(name: str) -> Reply:
    """A file below page/ or katex/, and nothing else of this machine."""
    allowed = {p.relative_to(HERE).as_posix(): p for folder in ("page", "katex") for p in (HERE / folder).rglob("*") if p.is_file()}
    if name not in allowed:
        return text_reply(HTTPStatus.NOT_FOUND, "no such page")
    kind = mimetypes.guess_type(name)[0] or "application/octet-stream"
    return Reply(HTTPStatus.OK, f"{kind}; charset=utf-8" if kind.startswith("text/") else kind, allowed[name].read_bytes())
