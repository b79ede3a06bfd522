"""Publishing with the real huggingface_hub to a small Hub on this machine."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import huggingface_hub.constants
import polars as pl
import pytest
from hub_server import TOKEN, Blob, Fault, Hub, blob, hub_server
from make_run import make_run

import cards.retry
from cards.dataset_card import HAND_CLOSE, HAND_OPEN, hand_written, write_card
from cards.push import PushResult, push
from curation.errors import UserError

# huggingface_hub's own LFS upload hands httpx the file under a name that httpx would rather not have.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=<...>':DeprecationWarning")
REPO = "tester/sums"


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr(cards.retry, "WAITS_S", (0, 0))
    monkeypatch.delenv("HF_TOKEN", raising=False)
    with hub_server(tmp_path / "hub") as server:
        yield server


@pytest.fixture
def run(tmp_path: Path) -> Path:
    folder = make_run(tmp_path / "sums-0123")
    write_card(folder)
    return folder


def send(hub: Hub, run: Path, repo: str = REPO, **options: bool) -> PushResult:
    return push(run, repo, token=TOKEN, endpoint=hub.url, **options)


def published(run: Path) -> dict[str, bytes]:
    """What main should hold: the run without its working tables and locks."""
    files = (p for p in run.rglob("*") if p.is_file() and not p.name.startswith("."))
    named = {p.relative_to(run).as_posix(): p.read_bytes() for p in files}
    return {n: b for n, b in named.items() if n.split("/")[0] not in ("problems", "traces", "verdicts")}


def on_main(hub: Hub) -> dict[str, bytes]:
    return {path: data for path, data in hub.main(REPO).items() if path != ".gitattributes"}


def test_main_holds_the_run_byte_for_byte_and_is_tagged(hub: Hub, run: Path) -> None:
    result = send(hub, run)
    assert on_main(hub) == published(run)
    assert result.uploaded == tuple(sorted(published(run))) and result.unchanged == result.deleted == ()
    repo = hub.repos[REPO]
    assert repo.private
    assert repo.refs[f"refs/tags/{result.tag}"] == repo.refs["refs/heads/main"] == result.commit
    assert result.url == f"{hub.url}/datasets/{REPO}"


def test_a_name_without_an_owner_is_the_users_own(hub: Hub, run: Path) -> None:
    assert send(hub, run, "sums").url.endswith("/datasets/tester/sums")
    assert on_main(hub) == published(run)


def test_pushing_again_changes_nothing(hub: Hub, run: Path) -> None:
    first = send(hub, run)
    before = len(hub.requests)
    second = send(hub, run)
    assert second.uploaded == second.deleted == () and second.unchanged == first.uploaded
    assert (second.commit, second.tag) == (first.commit, first.tag)
    assert len(hub.repos[REPO].pulls) == 1
    assert not [r for r in hub.requests[before:] if "commit" in r or "preupload" in r]


def test_load_dataset_gives_the_rows_back(hub: Hub, run: Path, tmp_path: Path) -> None:
    send(hub, run)
    # A process of its own: datasets and huggingface_hub read their environment when they are imported.
    code = (
        "import json, sys, datasets\n"
        "sets = {name: datasets.load_dataset(sys.argv[1], name, split='train').to_list()"
        " for name in ('default', 'rejected_problems', 'rejected_traces')}\n"
        "assert datasets.load_dataset(sys.argv[1], split='train').to_list() == sets['default']\n"
        "print(json.dumps(sets))"
    )
    settings = {"HF_ENDPOINT": hub.url, "HF_TOKEN": TOKEN, "HF_HOME": str(tmp_path / "home"), "HF_HUB_DISABLE_XET": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code, REPO], env=os.environ | settings, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    loaded = json.loads(done.stdout)
    assert loaded["default"] == pl.read_parquet(run / "dataset" / "*.parquet").to_dicts()
    assert loaded["rejected_problems"] == pl.read_parquet(run / "rejected" / "problems.parquet").to_dicts()


def test_the_run_folder_itself_loads_without_options(run: Path, tmp_path: Path) -> None:
    code = "import sys, datasets; print(len(datasets.load_dataset(sys.argv[1], split='train')))"
    settings = {"HF_HOME": str(tmp_path / "home"), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code, str(run)], env=os.environ | settings, capture_output=True, text=True
    )
    assert done.stdout.strip() == "12", done.stderr


# Every request of a push, met by each kind of trouble once: it must end as if nothing had been.
STEPS = (
    "GET /api/whoami-v2",
    "GET /api/datasets/tester/sums$",
    "POST /api/repos/create",
    "GET /api/datasets/tester/sums/tree",
    "GET /api/datasets/tester/sums/discussions",
    "POST /api/datasets/tester/sums/discussions$",
    "POST /api/validate-yaml",
    "POST /api/datasets/tester/sums/preupload",
    "POST /datasets/tester/sums.git/info/lfs/objects/batch",
    "PUT /lfs/",
    "POST /api/datasets/tester/sums/commit",
    "POST /api/datasets/tester/sums/discussions/1/status",
    "POST /api/datasets/tester/sums/discussions/1/merge",
    "POST /api/datasets/tester/sums/tag",
)
TROUBLE = {
    "429": {"status": 429, "headers": {"Retry-After": "0"}},
    "503": {"status": 503, "headers": {"Retry-After": "0"}},
    "cut": {"status": 0},
    "answer lost": {"status": 0, "after": True},
}


@pytest.mark.parametrize("trouble", TROUBLE)
@pytest.mark.parametrize("step", STEPS)
def test_trouble_at_any_step_is_survived(
    hub: Hub, run: Path, step: str, trouble: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    hub.faults.append(Fault(step, **TROUBLE[trouble]))  # type: ignore[arg-type]
    send(hub, run)
    assert hub.faults[0].times == 0, "the step was never reached"
    assert on_main(hub) == published(run)
    assert [p.status for p in hub.repos[REPO].pulls] == ["merged"]
