"""The page in a real browser: headless Chromium on a run with mathematics, very long traces and hostile text."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from urllib.parse import quote

import pytest
from chromium import Page, chromium
from view_run import BAD_MODEL, LONG, SCRIPT, view_run

from cards.view.rows import Rows, filtered, open_rows
from cards.view.server import make_server, open_page

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def view(tmp_path_factory: pytest.TempPathFactory) -> Rows:
    return open_rows(view_run(tmp_path_factory.mktemp("view")))


@pytest.fixture(scope="module")
def address(view: Rows) -> Iterator[str]:
    server = make_server(open_page(view.run))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    with chromium(tmp_path_factory.mktemp("profile")) as page:
        yield page


@pytest.fixture(params=["served", "report"])
def home(request: pytest.FixtureRequest, address: str, view: Rows) -> str:
    return address if request.param == "served" else (view.run / "report.html").as_uri()


@pytest.fixture
def page(browser: Page, home: str) -> Iterator[Page]:
    """Nothing on the console and no request off the machine, whatever a test does."""
    browser.call("Page.navigate", url="about:blank")
    browser.run("1")  # what the test before this one left in the pipe is read, and not taken for ours
    browser.complaints.clear()
    browser.requests.clear()
    browser.shape(1300, 900, "light")
    yield browser
    assert browser.complaints == []
    assert [r for r in browser.requests if not r.startswith((home, "data:", "about:"))] == []


HEADS = "[...document.querySelectorAll('#list .head')].map(n => n.textContent)"
OPENED = "document.querySelector('#reader .id')?.textContent"


def row_id(view: Rows, **query: str) -> str:
    return str(filtered(view, query)["id"][0])


def open_row(page: Page, home: str, row: str) -> None:
    page.open(f"{home}#rows?row={row}")
    page.wait(f"{OPENED} === '{row}'")


def test_the_overview_shows_the_figures(page: Page, home: str) -> None:
    page.open(home)
    page.wait("document.querySelectorAll('#overview .panel').length >= 8")
    text = page.run("document.getElementById('overview').innerText")
    for words in (
        "Funnel",
        "incorrect_different 1",
        "none correct",
        BAD_MODEL,
        "One against another",
        "all correct",
        "1 pairs of a problem",
    ):
        assert words in text
    page.run("document.querySelector('a.chip[href*=incorrect_different]').click()")
    page.wait("document.querySelectorAll('#list li').length === 1")


def test_search_filter_open_and_walk(page: Page, home: str) -> None:
    page.open(f"{home}#rows")
    page.wait("document.querySelectorAll('#list li').length === 11")
    page.press("/")
    page.wait("document.activeElement.name === 'q'")
    page.type("apples")
    page.wait("document.querySelectorAll('#list li').length === 2")
    assert "q=apples" in page.run("location.hash")
    page.press("Escape")
    page.press("j")
    first = page.wait(OPENED)
    page.press("j")
    second = page.wait(f"{OPENED} !== '{first}' && {OPENED}")
    page.press("k")
    page.wait(f"{OPENED} === '{first}'")
    assert first != second and page.run("document.querySelectorAll('#list [aria-current]').length") == 1
    page.run("document.querySelector('[name=verdict]').value = 'incorrect'")
    page.run("document.querySelector('[name=verdict]').dispatchEvent(new Event('input', {bubbles: true}))")
    page.wait("document.querySelectorAll('#list li').length === 1")
    page.press("Escape")
    page.wait("!location.hash.includes('row=')")


def test_the_texts_of_traces_are_searched(page: Page, home: str) -> None:
    page.open(f"{home}#rows?q=the+zebra&deep=1")
    page.wait("document.querySelectorAll('#list li').length === 1")
    assert "1 found" in page.run("document.getElementById('found').textContent")


def test_mathematics_is_rendered_and_money_is_not(page: Page, home: str, view: Rows) -> None:
    open_row(page, home, row_id(view, q="apples", verdict="correct"))
    page.wait("document.querySelector('.question .katex .mfrac')")
    question = page.run("document.querySelector('.question').innerText")
    assert "$5 and pears $6" in question
    page.run("document.fonts.load('16px KaTeX_Main')")
    page.wait("document.fonts.check('16px KaTeX_Main')")
    assert page.run("document.querySelector('.answers').innerText").split() == ["Gold", "1", "Answer", "found", "1"]
    assert page.wait("document.querySelector('#reader .prose strong')?.textContent") == "one"


def test_a_formula_that_cannot_be_rendered_is_its_text(page: Page, home: str, view: Rows) -> None:
    open_row(page, home, row_id(view, q="odd numbers", verdict="correct"))
    page.wait("document.querySelectorAll('#reader .unrendered').length === 2")
    assert page.run("document.querySelector('.unrendered').textContent") == "\\undefinedmacro{1}"


def test_a_script_in_a_trace_is_shown_and_not_run(page: Page, home: str, view: Rows) -> None:
    open_row(page, home, row_id(view, q="bookkeeper", teacher="alpha"))
    page.press("f")
    page.wait("document.querySelector('#thinking').open")
    page.wait("document.getElementById('reader').textContent.includes('⟨U+202E⟩')")
    assert page.run("document.getElementById('reader').textContent").count(SCRIPT) >= 3
    assert page.run("document.querySelectorAll('#reader script, #reader img, #reader a[href^=javascript]').length") == 0
    assert page.run("document.title") == "openr1-math · factory"
    open_row(page, home, row_id(view, q="bookkeeper", teacher=BAD_MODEL))
    page.press("f")
    page.wait("document.querySelector('#thinking .prose').textContent.length > 30000")
    assert page.run("document.querySelectorAll('#list b').length") == 0


def test_thirty_thousand_tokens_are_folded_open_at_once_and_render_where_they_are_read(page: Page, home: str, view: Rows) -> None:
    open_row(page, home, row_id(view, q="odd numbers", verdict="correct"))
    assert not page.run("document.querySelector('#thinking').open")
    page.run("window.began = performance.now(), document.querySelector('#thinking').open = true")
    took_ms = page.wait("document.querySelectorAll('#thinking p').length > 1200 && performance.now() - began")
    assert took_ms < 2000
    page.wait("document.querySelector('#thinking .katex')")
    assert page.run("document.querySelectorAll('#thinking .katex').length") < 400  # of 5,000: those near the window
    page.run("document.querySelector('#thinking p:last-child').scrollIntoView()")
    page.wait("document.querySelector('#thinking p:last-child .katex')")
    assert len(LONG) > 120_000


def test_a_million_characters_without_a_space_open(page: Page, home: str, view: Rows) -> None:
    open_row(page, home, row_id(view, q="odd numbers", teacher=BAD_MODEL))
    page.press("f")
    page.wait("document.querySelectorAll('#thinking p').length >= 30")
    assert page.run("document.documentElement.scrollWidth <= innerWidth")


def test_the_ledger_and_the_other_traces(page: Page, home: str, view: Rows) -> None:
    open_row(page, home, row_id(view, q="apples", verdict="incorrect"))
    ledger = page.run("[...document.querySelectorAll('.ledger li')].map(n => n.innerText.replace(/\\s+/g, ' '))")
    assert ledger[0].startswith("source problems 0") and "verify dropped incorrect_different" in ledger
    page.run("document.querySelector('.siblings li:not([aria-current]) a').click()")
    page.wait(f"{OPENED} === '{row_id(view, q='apples', verdict='correct')}'")


def test_a_row_that_is_not_there_is_said(page: Page, home: str) -> None:
    page.open(f"{home}#rows?row={quote('<b>none</b>')}")
    assert page.wait("document.querySelector('#reader .note')?.textContent").startswith(("no row", "This row is not"))
    # Chromium itself notes a 404 on the console.
    page.complaints[:] = [c for c in page.complaints if "404" not in c]


@pytest.mark.parametrize("width", [360, 800, 1600])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_wide_and_narrow_windows(page: Page, home: str, view: Rows, width: int, scheme: str) -> None:
    page.shape(width, 900, scheme)
    for place, ready in (
        ("", "#overview .panel"),
        ("#rows", "#list li"),
        (f"#rows?row={row_id(view, q='apples')}", "#reader .ledger"),
    ):
        page.open(home + place)
        page.wait(f"document.querySelector('{ready}')")
        assert page.run("document.documentElement.scrollWidth <= innerWidth"), place
    ground = page.run("getComputedStyle(document.body).backgroundColor")
    assert ground == ("rgb(255, 255, 255)" if scheme == "light" else "rgb(21, 24, 29)")
    assert page.run("getComputedStyle(document.getElementById('finder')).display === 'none'") == (width < 960)
    assert page.picture().startswith(b"\x89PNG")
