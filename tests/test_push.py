"""Publishing with the real huggingface_hub to a small Hub on this machine."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest
from hub_server import TOKEN, hub_server
from hub_store import Fault, Hub
from make_run import make_run
from pushing import REPO, finished_run, on_main, patient_hub, published, send

import cards.retry
from cards.dataset_card import write_card
from cards.push import push
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
    done = subprocess.run([sys.executable, "-c", code, str(run)], env=os.environ | settings, capture_output=True, text=True)
    assert done.stdout.strip() == "12", done.stderr


def test_a_new_run_replaces_the_old_one_and_its_shards(hub: Hub, run: Path, tmp_path: Path) -> None:
    first = send(hub, run)
    smaller = make_run(tmp_path / "smaller", problems=4, seed=9)
    (smaller / "contamination.parquet").unlink()
    write_card(smaller)
    second = send(hub, smaller)
    assert on_main(hub) == published(smaller)
    assert second.deleted == (
        "contamination.parquet",
        "dataset/train-00000-of-00003.parquet",
        "dataset/train-00001-of-00003.parquet",
        "dataset/train-00002-of-00003.parquet",
    )
    assert "rejected/traces.parquet" in second.unchanged
    assert {f"refs/tags/{first.tag}", f"refs/tags/{second.tag}"} < set(hub.repos[REPO].refs)


def test_a_dry_run_says_what_would_change_and_changes_nothing(hub: Hub, run: Path) -> None:
    wish = send(hub, run, dry_run=True)
    assert hub.repos == {} and wish.commit is None
    assert wish.uploaded == send(hub, run).uploaded
    (run / "contamination.parquet").unlink()
    before = dict(hub.repos[REPO].refs)
    wish = send(hub, run, dry_run=True)
    assert wish.deleted == ("contamination.parquet",) and wish.uploaded == ()
    assert hub.repos[REPO].refs == before


def test_public_only_when_asked(hub: Hub, run: Path) -> None:
    send(hub, run, private=False)
    assert not hub.repos[REPO].private


def test_no_token_says_what_to_do(hub: Hub, run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.get_token", lambda: None)
    with pytest.raises(UserError, match="`hf auth login` or set HF_TOKEN"):
        push(run, REPO, token=None, endpoint=hub.url)
    with pytest.raises(UserError, match="refused the token"):
        push(run, REPO, token="hf_wrong", endpoint=hub.url)
    assert hub.repos == {}


def test_a_token_that_may_not_write_says_so(hub: Hub, run: Path) -> None:
    hub.faults.append(Fault("POST /api/repos/create", 403))
    with pytest.raises(UserError, match="may not write to tester/sums"):
        send(hub, run)


def test_a_hub_that_is_not_there_says_so(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cards.retry, "WAITS_S", (0,))
    with hub_server(tmp_path / "gone") as gone:
        pass
    with pytest.raises(UserError, match="does not answer"):
        send(gone, run)


@pytest.mark.parametrize("name", ["", "a/b/c", "a b", "/a", "a/", "https://huggingface.co/a/b", "-a", "a--b", "a.git"])
def test_what_is_no_repository_name(hub: Hub, run: Path, name: str) -> None:
    with pytest.raises(UserError, match="NAME or OWNER/NAME"):
        send(hub, run, name)


@pytest.mark.parametrize("missing", ["manifest.json", "README.md"])
def test_an_unfinished_run_is_refused(hub: Hub, run: Path, missing: str) -> None:
    (run / missing).unlink()
    with pytest.raises(UserError, match=f"not a finished run: it has no {missing}"):
        send(hub, run)
    assert hub.requests == []


def test_a_data_file_that_is_not_the_manifests_is_refused(hub: Hub, run: Path) -> None:
    shard = run / "dataset" / "train-00001-of-00003.parquet"
    pl.read_parquet(shard).head(2).write_parquet(shard)
    with pytest.raises(UserError, match=r"train-00001-of-00003\.parquet is not the file that manifest\.json lists"):
        send(hub, run)
    shard.unlink()
    with pytest.raises(UserError, match=r"is not the file that manifest\.json lists"):
        send(hub, run)


def test_what_was_evidence_is_published(hub: Hub, run: Path) -> None:
    for name in ("duplicates", "audit", "difficulty"):
        pl.DataFrame({"problem_id": ["p"]}).write_parquet(run / f"{name}.parquet")
    send(hub, run)
    assert {"duplicates.parquet", "audit.parquet", "difficulty.parquet", "funnel.svg"} <= set(on_main(hub))


def test_a_set_without_an_example_is_not_published(hub: Hub, run: Path) -> None:
    manifest = json.loads((run / "manifest.json").read_text())
    manifest["dataset"]["rows"] = 0
    (run / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(UserError, match="has no example to publish"):
        send(hub, run)
    assert not hub.repos
