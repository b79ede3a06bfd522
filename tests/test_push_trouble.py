"""Publishing through a Hub that fails, falls silent or is overtaken, and with a process that is killed at every step."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hub_server import TOKEN
from hub_store import KILL, SILENCE, Fault, Hub, Pull, blob
from make_run import make_run
from pushing import REPO, edit_on_hub, finished_run, on_main, patient_hub, published, send

import cards.retry
from cards.dataset_card import write_card
from curation.errors import UserError

# huggingface_hub's own LFS upload hands httpx the file under a name that httpx would rather not have.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=<...>':DeprecationWarning")


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    with patient_hub(tmp_path, monkeypatch) as server:
        yield server


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return finished_run(tmp_path)


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
TROUBLE: dict[str, dict[str, Any]] = {
    "429": {"status": 429, "headers": {"Retry-After": "0"}},
    "503": {"status": 503, "headers": {"Retry-After": "0"}},
    "cut": {"status": 0},
    "answer lost": {"status": 0, "after": True},
}


@pytest.mark.parametrize("trouble", TROUBLE)
@pytest.mark.parametrize("step", STEPS)
def test_trouble_at_any_step_is_survived(hub: Hub, run: Path, step: str, trouble: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    hub.faults.append(Fault(step, **TROUBLE[trouble]))
    send(hub, run)
    assert hub.faults[0].times == 0, "the step was never reached"
    assert on_main(hub) == published(run)
    assert [p.status for p in hub.repos[REPO].pulls] == ["merged"]


PUSHER = """
import sys, cards.retry
from pathlib import Path
from cards.push import push
cards.retry.WAITS_S = ()
push(Path(sys.argv[1]), sys.argv[2], token=sys.argv[3], endpoint=sys.argv[4])
"""


@pytest.mark.slow
@pytest.mark.parametrize("after", [False, True], ids=["before the work", "after the work"])
def test_killed_at_any_step_it_shows_nothing_and_goes_on(hub: Hub, run: Path, tmp_path: Path, after: bool) -> None:
    for step in STEPS:
        hub.forget()
        hub.faults = [Fault(step, KILL, after=after)]
        command = [sys.executable, "-c", PUSHER, str(run), REPO, TOKEN, hub.url]
        settings = os.environ | {"HF_HUB_DISABLE_XET": "1"}
        hub.victim = subprocess.Popen(command, env=settings, stderr=subprocess.DEVNULL, text=True)
        assert hub.victim.wait(60) == -9, f"{step} was never reached"
        held = on_main(hub) if REPO in hub.repos else {}
        assert held in ({}, published(run)), step
        send(hub, run)
        assert on_main(hub) == published(run), step
        assert [p.status for p in hub.repos[REPO].pulls] == ["merged"], step
        assert len(hub.repos[REPO].commits) == 3, step  # the first one, ours, the merge


def test_a_resumed_push_sends_only_what_is_missing(hub: Hub, run: Path) -> None:
    hub.faults.append(Fault("PUT /lfs/", 400, skip=3))
    with pytest.raises(UserError, match="the Hub answered 400"):
        send(hub, run)
    assert on_main(hub) == {}
    stored = {p.name for p in hub.lfs.iterdir()}
    before = len(hub.requests)
    send(hub, run)
    assert on_main(hub) == published(run)
    assert len(stored) >= 3 and not [r for r in hub.requests[before:] if r.removeprefix("PUT /lfs/") in stored]


def test_many_files_go_in_several_commits_and_appear_at_once(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cards.push._FILES_PER_COMMIT", 4)
    run = make_run(tmp_path / "many", problems=11, per_shard=1)
    write_card(run)
    hub.faults.append(Fault("/commit/", 400, skip=2))
    with pytest.raises(UserError, match="nothing changed on main"):
        send(hub, run)
    assert on_main(hub) == {}
    send(hub, run)
    assert on_main(hub) == published(run)
    assert sum("/commit/" in r for r in hub.requests) == 6  # 19 files by fours, and the one that failed


def test_a_silent_hub_does_not_hold_it_for_ever(hub: Hub, run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cards.retry, "SILENCE_S", 0.3)
    hub.faults.append(Fault("/tree/", SILENCE))
    send(hub, run)
    assert on_main(hub) == published(run)


def test_it_waits_as_long_as_the_hub_asks(hub: Hub, run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []
    monkeypatch.setattr("time.sleep", waits.append)
    hub.faults.append(Fault("/commit/", 429, headers={"Retry-After": "7"}))
    hub.faults.append(Fault("/merge", 429, headers={"RateLimit": '"api";r=0;t=9'}))
    send(hub, run)
    assert waits == [7, 9]


def test_an_hour_is_too_long_to_wait(hub: Hub, run: Path) -> None:
    hub.faults.append(Fault("/commit/", 429, headers={"Retry-After": "3600"}))
    with pytest.raises(UserError, match=r"the Hub answered 429 .*the same command goes on from there"):
        send(hub, run)
    assert on_main(hub) == {}


def test_main_that_moves_meanwhile_is_not_overwritten(hub: Hub, run: Path) -> None:
    send(hub, run)
    other = run.with_name("other")
    write_card(make_run(other, problems=7))
    hub.faults.append(Fault("/merge", 400))
    with pytest.raises(UserError, match="the Hub answered 400"):
        send(hub, other)
    edit_on_hub(hub, "recipe.json", "{}")
    send(hub, other)
    assert on_main(hub) == published(other)
    assert [p.status for p in hub.repos[REPO].pulls] == ["merged", "closed", "merged"]


def test_a_pull_request_of_somebody_else_is_not_taken_for_ours(hub: Hub, run: Path) -> None:
    hub.faults.append(Fault("/merge", 400))
    with pytest.raises(UserError):
        send(hub, run)
    repo = hub.repos[REPO]
    ours = repo.pulls[0]
    foreign = Pull(2, ours.title, ours.base, author="stranger")
    repo.pulls = [Pull(1, ours.title, ours.base, "closed"), foreign]
    repo.refs["refs/pr/2"] = repo.commits[ours.base].oid
    repo.commit("refs/pr/2", {"evil.py": blob(b"boo")}, "evil")
    send(hub, run)
    assert on_main(hub) == published(run) and foreign.status == "draft"


def test_a_file_that_the_repository_ignores_is_said_and_not_tried_for_ever(hub: Hub, run: Path) -> None:
    send(hub, run)
    edit_on_hub(hub, ".gitignore", "contamination.parquet\n")
    pl.DataFrame({"problem_id": ["p"]}).write_parquet(run / "contamination.parquet")
    with pytest.raises(UserError, match=r"does not take contamination\.parquet: its \.gitignore names it"):
        send(hub, run)
