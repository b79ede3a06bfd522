"""What the tests of publishing share: a push to a small Hub on this machine, and what its main branch should hold then."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import huggingface_hub.constants
import pytest
from hub_server import TOKEN, hub_server
from hub_store import Hub, blob
from make_run import make_run

import cards.retry
from cards.dataset_card import write_card
from cards.public import public_json
from cards.push import PushResult, push

REPO = "tester/sums"


@contextmanager
def patient_hub(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A Hub for a client that does not wait between its tries."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr(cards.retry, "WAITS_S", (0, 0))
    monkeypatch.delenv("HF_TOKEN", raising=False)
    with hub_server(folder / "hub") as server:
        yield server


def finished_run(folder: Path) -> Path:
    run = make_run(folder / "sums-0123")
    write_card(run)
    return run


def send(hub: Hub, run: Path, repo: str = REPO, **options: bool) -> PushResult:
    return push(run, repo, token=TOKEN, endpoint=hub.url, **options)


def published(run: Path) -> dict[str, bytes]:
    """What main should hold: the run without its working tables and locks."""
    files = (p for p in run.rglob("*") if p.is_file() and not p.name.startswith("."))
    named = {p.relative_to(run).as_posix(): p.read_bytes() for p in files}
    records = {n: json.dumps(public_json(json.loads(named[n])), indent=1) + "\n" for n in ("manifest.json", "recipe.json")}
    named |= {n: record.encode() for n, record in records.items()}
    return {n: b for n, b in named.items() if n.split("/")[0] not in ("problems", "traces", "verdicts")}


def on_main(hub: Hub) -> dict[str, bytes]:
    return {path: data for path, data in hub.main(REPO).items() if path != ".gitattributes"}


def edit_on_hub(hub: Hub, path: str, content: str) -> None:
    repo = hub.repos[REPO]
    repo.commit("refs/heads/main", repo.at("main").tree | {path: blob(content.encode())}, "by hand")
