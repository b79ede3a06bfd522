"""The page's rows, figures and server, on a run that was really built."""

from __future__ import annotations

import http.client
import json
import shutil
import socket
import threading
from collections.abc import Iterator
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import polars as pl
import pytest
from view_run import BAD_MODEL, view_run

from cards.public import public_json, public_text
from cards.view.deep import search_texts
from cards.view.detail import ledger, row
from cards.view.overview import against, overview
from cards.view.replies import HERE
from cards.view.rows import Rows, filtered, listed, open_rows
from cards.view.server import make_server, open_page, serve
from curation.errors import UserError


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return view_run(tmp_path_factory.mktemp("view"))


@pytest.fixture(scope="module")
def view(run: Path) -> Rows:
    return open_rows(run)


def found(view: Rows, **query: str) -> list[dict[str, Any]]:
    return listed(view, filtered(view, query))


def test_every_trace_and_every_dropped_problem_is_a_row(view: Rows, run: Path) -> None:
    traces = pl.read_parquet(run / "traces" / "*.parquet")
    rejected = {name: pl.read_parquet(run / "rejected" / f"{name}.parquet") for name in ("traces", "problems")}
    ids = set(traces["id"]) | set(rejected["traces"]["id"])
    assert {r["id"] for r in found(view, kind="trace")} == ids and len(ids) == 9
    assert [r["id"] for r in found(view, kind="problem")] == rejected["problems"]["id"].to_list()
    assert len(found(view, fate="in the set")) == pl.read_parquet(run / "dataset" / "*.parquet").height == 4


def test_filters(view: Rows) -> None:
    assert {r["verdict"] for r in found(view, verdict="incorrect")} == {"incorrect"}
    assert {r["teacher"] for r in found(view, teacher=BAD_MODEL)} == {BAD_MODEL}
    assert [r["fate"] for r in found(view, step="replay")] == ["replay: in_tests", "replay: no_problem"]
    assert all(r["length"] >= 40_000 for r in found(view, min_length="40000")) and len(found(view, min_length="40000")) == 3
    assert {r["pass_rate"] for r in found(view, min_rate="0.4", max_rate="0.6")} == {0.5}
    assert found(view, teacher="nobody") == found(view, q="no such words anywhere") == []


def test_search_is_literal_and_in_question_gold_answer_and_id(view: Rows) -> None:
    assert {r["head"][:8] for r in found(view, q="APPLES COST $5")} == {"Compute "}
    assert {r["extracted"] for r in found(view, q="7000", kind="trace")} == {"7000"}
    assert found(view, q=".*") == []
    first = found(view)[0]
    assert first in found(view, q=first["id"][:12])
    assert [r["fate"] for r in found(view, q="nobody asked")] == ["replay: no_problem"]


def test_orders(view: Rows) -> None:
    lengths = [r["length"] for r in found(view, sort="longest", kind="trace")]
    assert lengths == sorted(lengths, reverse=True) and lengths[0] > 1_000_000
    assert [r["length"] for r in found(view, sort="shortest", kind="trace")] == lengths[::-1]
    rates = [r["pass_rate"] for r in found(view, sort="hardest", kind="trace") if r["pass_rate"] is not None]
    assert rates == sorted(rates)


def test_texts_are_searched_part_by_part(view: Rows, monkeypatch: pytest.MonkeyPatch) -> None:
    every = filtered(view, {})
    hits = search_texts(view, every, "the ZEBRA says", 0)
    assert hits.rows.height == 1 and hits.next is None
    monkeypatch.setattr("cards.view.deep._AT_ONCE", 2)
    monkeypatch.setattr("cards.view.deep.PAGE_ROWS", 2)
    monkeypatch.setattr("cards.view.deep.BUDGET_S", 60)
    ids, start = [], 0
    while start is not None:
        part = search_texts(view, every, "boxed", start)
        assert part.rows.height <= 2
        ids += part.rows["id"].to_list()
        start = part.next
    assert ids == [r["id"] for r in found(view, kind="trace")]
    monkeypatch.setattr("cards.view.deep.BUDGET_S", -1)
    assert search_texts(view, every, "boxed", 0).next == 0


def test_a_row_has_its_texts_verdict_siblings_and_ledger(view: Rows) -> None:
    (light,) = found(view, teacher=BAD_MODEL, q="apples")
    full = row(view, light["id"])
    assert full is not None and full["problem"]["answer"] == "1" and full["trace"]["reasoning"] == "quarter"
    assert (full["verdict"]["outcome"], full["verdict"]["extracted"]) == ("incorrect", "2")
    assert [s["teacher"] for s in full["siblings"]] == ["alpha", BAD_MODEL]
    outcomes = {e["step"]: e["outcome"] for e in full["ledger"]}
    assert outcomes["read"] == outcomes["sound"] == "passed"
    assert (outcomes["verify"], outcomes["choose"]) == ("dropped", "not reached")
    assert row(view, "no such id") is None


def test_rows_of_every_kind_open(view: Rows) -> None:
    for light in found(view):
        full = row(view, light["id"])
        assert full is not None and json.dumps(full)
        fallen = [e for e in full["ledger"] if e["outcome"] == "dropped"]
        assert len(fallen) == (light["fate"] != "in the set")
    (stray,) = found(view, fate="replay: no_problem")
    full = row(view, stray["id"])
    assert full is not None and full["problem"] is None and full["row"]["detail"] == "Nobody asked this one here?"


def test_a_dropped_problem_ends_where_it_was_dropped() -> None:
    funnel = [
        {"step": s, "unit": u} for s, u in (("read", "problems"), ("clean", "problems"), ("sound", "traces"), ("solve", "problems"))
    ]
    entries = ledger(funnel, {"kind": "problem", "fate": "clean: exact_duplicate", "detail": "of x"})
    assert [(e["step"], e["outcome"]) for e in entries] == [("read", "passed"), ("clean", "dropped"), ("solve", "not reached")]
    assert entries[1]["reason"] == "exact_duplicate" and entries[1]["detail"] == "of x"


def test_the_figures_add_up(view: Rows, run: Path) -> None:
    data = json.loads(json.dumps(overview(view)))
    assert (data["run"]["examples"], data["run"]["traces"], data["run"]["problems"]) == (4, 9, 4)
    assert sum(bar["n"] for bar in data["pass_rates"]) == 4 and data["pass_rates"][0]["n"] == 0
    assert data["funnel"] == json.loads((run / "funnel.json").read_text("utf-8"))
    for bars in (data["lengths"]["bins"], data["breakdowns"]["teacher"], data["breakdowns"]["finish"]):
        assert sum(bar["n"] for bar in bars) == 9
        assert all(bar["n"] == sum(bar[v] for v in ("correct", "incorrect", "undetermined", "none")) for bar in bars)
    assert dict(data["facets"]["kind"]) == {"trace": 9, "problem": 2}
    (pair,) = data["contamination"]["shown"]
    assert pair["benchmark"] == "tests" and data["contamination"]["pairs"] == 1
    assert data["run"]["command"] == "factory build openr1-math --problems problems.jsonl"
    assert str(run.parent) not in json.dumps(data)


def test_teacher_against_teacher() -> None:
    rows = [
        ("p1", "a", "correct"),
        ("p1", "b", "incorrect"),
        ("p1", "b", "correct"),
        ("p2", "a", "correct"),
        ("p2", "b", "incorrect"),
    ]
    rows += [("p3", "a", "correct"), ("p4", "a", "none"), ("p4", "b", "correct")]
    frame = pl.DataFrame(rows, schema=["problem_id", "teacher", "verdict"], orient="row")
    (pair,) = against(frame.with_columns(pl.col("teacher", "verdict").cast(pl.Categorical)))
    assert pair == {"a": "a", "b": "b", "problems": 2, "both": 1, "only_a": 1, "only_b": 0, "neither": 0}


@pytest.fixture(scope="module")
def server(view: Rows) -> Iterator[ThreadingHTTPServer]:
    made = make_server(open_page(view.run))
    thread = threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield made
    made.shutdown()
    thread.join()
    made.server_close()


def get(
    server: ThreadingHTTPServer, path: str, method: str = "GET", host: str | None = None
) -> tuple[http.client.HTTPResponse, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=30)
    connection.request(method, path, headers={"Host": host} if host else {})
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    return answer, body


def test_it_listens_on_this_machine_only(server: ThreadingHTTPServer) -> None:
    assert server.server_address[0] == "127.0.0.1"


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:{port}", "127.0.0.1", "127.0.0.1:1", "127.0.0.1:{port}.evil.example"]
)
def test_other_hosts_are_refused(server: ThreadingHTTPServer, host: str) -> None:
    answer, body = get(server, "/api/overview", host=host.format(port=server.server_port))
    assert answer.status == 403 and b"openr1" not in body
    assert get(server, "/api/overview", host=f"localhost:{server.server_port}")[0].status == 200


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
def test_nothing_can_be_written(server: ThreadingHTTPServer, method: str) -> None:
    assert get(server, "/api/rows", method)[0].status == 501


def test_every_answer_forbids_foreign_scripts(server: ThreadingHTTPServer) -> None:
    for path in ("/", "/page/main.js", "/katex/fonts/KaTeX_Main-Regular.woff2", "/api/overview", "/nothing"):
        headers = get(server, path)[0].headers
        policy = headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy and "script-src 'self';" in policy and "unsafe-eval" not in policy
        assert headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize(
    "path", ["/../server.py", "/page/../server.py", "/%2e%2e/server.py", "/etc/passwd", "//etc/passwd", "/page/"]
)
def test_only_the_pages_files_are_served(server: ThreadingHTTPServer, path: str) -> None:
    assert get(server, path)[0].status == 404


def test_rows_come_by_page(server: ThreadingHTTPServer, view: Rows) -> None:
    answer, body = get(server, "/api/rows?" + urlencode({"verdict": "correct", "start": "1"}))
    data = json.loads(body)
    assert answer.headers["Content-Type"] == "application/json"
    assert data["total"] == len(found(view, verdict="correct")) and data["rows"] == found(view, verdict="correct")[1:]
    deep = json.loads(get(server, "/api/rows?q=zebra&deep=1")[1])
    assert [r["teacher"] for r in deep["rows"]] == ["alpha"] and deep["next"] is None
    one = json.loads(get(server, f"/api/row?id={data['rows'][0]['id']}")[1])
    assert one["trace"]["id"] == data["rows"][0]["id"]
    assert get(server, "/api/row?id=nothing")[0].status == 404
    assert get(server, "/api/rows?min_length=many")[0].status == 400
    assert get(server, "/", "HEAD")[1] == b""


def test_a_folder_that_is_no_run_and_a_port_in_use_are_said(tmp_path: Path, run: Path) -> None:
    with pytest.raises(UserError, match="not a finished run"):
        serve(tmp_path, 0, open_browser=False, say=print)
    shutil.copytree(run, tmp_path / "run")
    shutil.rmtree(tmp_path / "run" / "traces")
    with pytest.raises(UserError, match=r"holds no traces/\*\.parquet"):
        open_rows(tmp_path / "run")
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(UserError, match="choose another with --port"):
        serve(run, taken.getsockname()[1], open_browser=False, say=print)


def test_the_page_loads_nothing_from_elsewhere_and_has_no_inline_script() -> None:
    page = (HERE / "page" / "index.html").read_text("utf-8")
    assert "http" not in page and "<script>" not in page and " on" not in page.replace(" only", "")
    scripts = "".join(p.read_text("utf-8") for p in (HERE / "page").glob("*.js"))
    assert not [
        word
        for word in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "http:", "https:")
        if word in scripts
    ]
    assert "MIT License" in (HERE / "katex" / "LICENSE").read_text("utf-8")


@pytest.mark.parametrize(
    ("text", "public"),
    [
        ("factory build x --problems /home/me/a.jsonl --runs ../r/s", "factory build x --problems a.jsonl --runs s"),
        ("replay:/data/t.jsonl.gz", "replay:t.jsonl.gz"),
        ("--set 'source.paths=[\"/home/me/My files/a.jsonl\"]' ~/b/c", "--set 'source.paths=[\"a.jsonl\"]' c"),
        ("C:\\Users\\me\\f.csv file:///home/me/x /a/b/", "f.csv x b"),
        ("openai:org/model@http://localhost:8000/v1", "openai:org/model@http://localhost:8000/v1"),
        ("owner/name and/or 1/2 /no_think", "owner/name and/or 1/2 /no_think"),
    ],
)
def test_only_the_last_part_of_a_local_path_is_public(text: str, public: str) -> None:
    assert public_text(text) == public
    assert public_json({"a": [text, 1, None]}) == {"a": [public, 1, None]}
