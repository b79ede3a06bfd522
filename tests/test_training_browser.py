"""The pages of a training, a pipeline and a difference of two runs in a real browser: headless Chromium, hostile text and all."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from chromium import Page, chromium
from training_folders import SCRIPT, metrics, pipeline, training

from cards.view.pipeline_page import write_pipeline_report
from cards.view.server import make_server, open_page
from cards.view.training_page import write_training_report
from factory.diff import Change, Difference, Moved
from factory.diff_shown import diff_page

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    with chromium(tmp_path_factory.mktemp("profile")) as page:
        yield page


@pytest.fixture
def page(browser: Page) -> Iterator[Page]:
    """Nothing on the console and no request off the machine, whatever a test does."""
    browser.call("Page.navigate", url="about:blank")
    browser.run("1")  # what the test before this one left in the pipe is read, and not taken for ours
    browser.complaints.clear()
    browser.requests.clear()
    browser.shape(1300, 900, "light")
    yield browser
    assert browser.complaints == []
    assert [r for r in browser.requests if not r.startswith(("http://127.0.0.1:", "file:", "data:", "about:"))] == []
    browser.call("Page.navigate", url="about:blank")  # it asks no server that is gone


@contextmanager
def served(folder: Path) -> Iterator[str]:
    server = make_server(open_page(folder))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def difference(folder: Path) -> Path:
    question = "Question {} of $\\frac{1}{2}$ " + SCRIPT
    why = {"step": "choose", "reason": "not_chosen", "causes": ("choose.rule",), "traces_before": ("t1",), "traces_after": ()}
    moved = [Moved("left", f"p{n:03}", question.replace("{}", str(n)), "sums", **why) for n in range(150)]
    moved += [Moved("changed", "p900", "An \u202eother one", "other", "sample", "not_there", (), ("t2",), ("t3",))]
    found = Difference(
        *(("one", SCRIPT), [Change("choose.rule", "longest", SCRIPT)], [Change("polars", "1", None)], [Change("read", 160, 151)]),
        *(Change("examples", 152, 2), Change("problems", 152, 2), 1, moved),
    )
    path = folder / "difference.html"
    path.write_text(diff_page(found), "utf-8")
    return path


def test_curves_come_as_they_are_written(page: Page, tmp_path: Path) -> None:
    metrics(tmp_path / ".student", range(1, 11))
    with served(tmp_path / "student") as address:
        page.open(address)
        page.wait("document.querySelectorAll('.plot svg .line').length === 2")
        assert page.run("document.querySelector('.part-progress .note').textContent").startswith("not finished · step 10 of 100")
        page.run("document.querySelector('.plot').dataset.old = 1")
        metrics(tmp_path / ".student", range(11, 31), mode="a", entropy=0.3)
        page.wait("document.querySelectorAll('.plot svg .line').length === 3")
        assert "step 30 of 100" in page.run("document.querySelector('.part-progress').textContent")
        assert page.run("document.querySelector('[data-name=entropy] figcaption').textContent").startswith(
            "entropy, nats a token0.3"
        )
        training(tmp_path / "student")
        shutil.rmtree(tmp_path / ".student")
        page.wait("document.getElementById('state').textContent === 'finished'")


def test_the_pointer_reads_a_curve(page: Page, tmp_path: Path) -> None:
    with served(training(tmp_path / "student")) as address:
        page.open(address)
        page.wait("document.querySelector('.plot svg')")
        place = "(b => [b.left + b.width / 2, b.top + b.height / 2])(document.querySelector('.plot svg').getBoundingClientRect())"
        x, y = page.run(place)
        page.call("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)
        page.wait("document.querySelector('.plot .now').textContent.includes('at step 4')")


@pytest.mark.parametrize("kind", ["served", "report"])
def test_scores_samples_and_what_it_was_made_of(page: Page, tmp_path: Path, kind: str) -> None:
    folder = training(tmp_path / "student")
    with served(folder) as address:
        page.open(address if kind == "served" else write_training_report(folder).as_uri())
        page.wait("document.querySelectorAll('.part-samples article').length === 3")
        assert "25.0%" in page.run("document.querySelector('.part-scores').innerText")
        page.wait("document.querySelector('.part-samples .katex .mfrac')")
        page.run("document.querySelectorAll('.part-samples details').forEach(d => d.open = true)")
        page.wait(f"document.querySelector('.part-samples').textContent.split({SCRIPT!r}).length === 4")
        assert "⟨U+202E⟩" in page.run("document.querySelector('.part-samples').textContent")
        assert page.run("document.querySelectorAll('main script, main img').length") == 0
        assert page.run("document.title") == "student · factory"
        page.run("document.querySelectorAll('.record').forEach(d => d.open = true)")
        assert "factory distill run" in page.run("document.querySelector('.part-record').innerText")


@pytest.mark.parametrize("kind", ["served", "report"])
def test_a_pipeline_is_shown_stage_by_stage(page: Page, tmp_path: Path, kind: str) -> None:
    folder = pipeline(tmp_path)
    with served(folder) as address:
        page.open(address if kind == "served" else write_pipeline_report(folder).as_uri())
        page.wait("document.querySelectorAll('.stage').length === 5")
        states = page.run("[...document.querySelectorAll('#summary .tag')].map(n => n.textContent)")
        assert states == ["done", "done", "running", "failed", "waiting"]
        assert "+12.5 points" in page.run("document.getElementById('stage-1').innerText")
        assert page.run("document.querySelectorAll('#stage-2 .mark').length") == 3  # a plot for each curve, of two stages
        assert SCRIPT in page.run("document.getElementById('stage-3').innerText")
        assert page.run("document.title") == "r1 tiny · factory"


def test_a_difference_is_searched_and_paged(page: Page, tmp_path: Path) -> None:
    page.open(difference(tmp_path).as_uri())
    page.wait("document.querySelectorAll('#moved tbody tr').length === 100")
    page.press("j")
    page.wait("document.querySelectorAll('#moved tbody tr').length === 51")
    page.press("k")
    page.press("/")
    page.type("question 149")
    page.wait("document.querySelectorAll('#moved tbody tr').length === 1")
    page.wait("document.querySelector('#moved .katex .mfrac')")
    row = page.run("document.querySelector('#moved tbody').innerText")
    assert "choose: not_chosen" in row and "decided by choose.rule" in row and SCRIPT in row and "− trace t1" in row
    page.run("document.querySelector('[name=q]').value = ''")
    page.run("document.querySelector('[name=what]').value = 'changed'")
    page.run("document.querySelector('[name=what]').dispatchEvent(new Event('input', {bubbles: true}))")
    page.wait("document.querySelectorAll('#moved tbody tr').length === 1")
    assert "⟨U+202E⟩" in page.run("document.querySelector('#moved tbody').innerText")
    assert page.run("document.querySelectorAll('main script, main img').length") == 0
    assert page.run("document.title") != "owned"


@pytest.mark.parametrize("width", [360, 1600])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_they_fit_wide_and_narrow_windows(page: Page, tmp_path: Path, width: int, scheme: str) -> None:
    page.shape(width, 900, scheme)
    pages = ((write_pipeline_report(pipeline(tmp_path)), ".plot svg"), (difference(tmp_path), "#moved td"))
    for path, ready in pages:
        page.open(path.as_uri())
        page.wait(f"document.querySelector('{ready}')")
        assert page.run("document.documentElement.scrollWidth <= innerWidth"), path.name
        assert page.run("document.getElementById('name').offsetHeight") < 48, path.name
    ground = page.run("getComputedStyle(document.body).backgroundColor")
    assert ground == ("rgb(255, 255, 255)" if scheme == "light" else "rgb(21, 24, 29)")
