"""The page of a finished build, answer by answer: its figures, a page of its rows, one row with its texts."""

from __future__ import annotations

from functools import partial
from http import HTTPStatus

from cards.view.deep import search_texts
from cards.view.detail import row
from cards.view.overview import overview
from cards.view.replies import Answer, Reply, json_reply, text_reply
from cards.view.rows import PAGE_ROWS, Rows, filtered, listed


def run_answers(view: Rows) -> Answer:
    """What the server of a run says. The figures are counted once, before the first question."""
    return partial(_answer, view, json_reply(overview(view)))


def _answer(view: Rows, summary: Reply, path: str, query: dict[str, str]) -> Reply | None:
    if path == "/api/overview":
        return summary
    if path == "/api/rows":
        return _rows(view, query)
    if path == "/api/row":
        found = row(view, query.get("id", ""))
        return json_reply(found) if found else text_reply(HTTPStatus.NOT_FOUND, f"no row {query.get('id', '')[:40]!r} in this run")
    return None


def _rows(view: Rows, query: dict[str, str]) -> Reply:
    try:
        start, text = int(query.get("start", "0")), query.get("q", "")
        deep = bool(text and query.get("deep"))
        rows = filtered(view, {key: value for key, value in query.items() if not (deep and key == "q")})
    except ValueError as error:
        return text_reply(HTTPStatus.BAD_REQUEST, f"a number is wanted: {error}")
    if deep:
        found = search_texts(view, rows, text, start)
        return json_reply({"rows": listed(view, found.rows), "total": rows.height, "next": found.next})
    return json_reply({"rows": listed(view, rows.slice(start, PAGE_ROWS)), "total": rows.height, "next": None})
