"""What may leave a machine: of a path on somebody's disk only the last part, since a card and a report are for others to read."""

from __future__ import annotations

import re
from typing import Any

# "/a/b", "~/b", "./b", "../a/b", "C:\\b", "file:///a/b", quoted ones with their spaces. Not "/think", one part that gives nothing
# away, nor "http://host/a", whose slashes follow a colon and a slash, nor "OWNER/NAME", which may be a repository.
_START = r"(?:file://)?(?:(?:~|\.{1,2}|[A-Za-z]:)[/\\]|/(?=[^\s'\",\])/\\]+[/\\]))"
_PATH = re.compile(rf"(?<=['\"])(?:{_START})[^'\"]*(?=['\"])|(?:(?<=[\s'\"=:,\[(])|^){_START}[^\s'\",\])]*")


def public_text(value: str) -> str:
    """`value` with each local path in it cut to its last part."""
    return _PATH.sub(lambda found: _last_part(found[0]), value)


def _last_part(path: str) -> str:
    return re.split(r"[/\\]", path.rstrip("/\\"))[-1] or path[:1]


_WORDS = ("prompt", "system", "description")  # keys of a recipe whose text is what a model or a reader is told


def public_json(value: Any) -> Any:
    """The same JSON value with every string in it cut like that, but those that are words and name no file."""
    if isinstance(value, dict):
        return {key: inner if key in _WORDS else public_json(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [public_json(inner) for inner in value]
    return public_text(value) if isinstance(value, str) else value
