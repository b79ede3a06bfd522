"""Publishing with the real huggingface_hub to a small Hub on this machine."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import huggingface_hub.constants
import polars as pl
import pytest
from hub_server import TOKEN, hub_server
from hub_store import KILL, SILENCE, Fault, Hub, Pull, blob
from make_run import make_run

import cards.retry
from cards.dataset_card import HAND_CLOSE, hand_written, write_card
from cards.public import public_json
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
    records = {n: json.dumps(public_json(json.loads(named[n])), indent=1) + "\n" for n in ("manifest.json", "recipe.json")}
    named |= {n: record.encode() for n, record in records.items()}
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
    done = subprocess.run([sys.executable, "-c", code, str(run)], env=os.environ | settings, capture_output=True, text=True)
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


def edit_on_hub(hub: Hub, path: str, content: str) -> None:
    repo = hub.repos[REPO]
    repo.commit("refs/heads/main", repo.at("main").tree | {path: blob(content.encode())}, "by hand")


def test_what_a_person_wrote_on_the_hub_stays(hub: Hub, run: Path, tmp_path: Path) -> None:
    send(hub, run)
    card = hub.main(REPO)["README.md"].decode()
    head, close = card.split(HAND_CLOSE)
    edit_on_hub(hub, "README.md", f"{head}\nAsk Ada.\n{HAND_CLOSE}{close}".replace("---\n", "---\npretty_name: Sums\n", 1))
    edit_on_hub(hub, "notes.txt", "kept")
    other = make_run(tmp_path / "other", problems=7)
    write_card(other)
    send(hub, other)
    after = on_main(hub)
    assert hand_written(after["README.md"].decode()) == "Ask Ada."
    assert b"pretty_name: Sums" in after["README.md"] and b"**7** examples" in after["README.md"]
    assert after["notes.txt"] == b"kept"
    assert send(hub, other).uploaded == ()


def test_a_file_that_the_repository_ignores_is_said_and_not_tried_for_ever(hub: Hub, run: Path) -> None:
    send(hub, run)
    edit_on_hub(hub, ".gitignore", "contamination.parquet\n")
    pl.DataFrame({"problem_id": ["p"]}).write_parquet(run / "contamination.parquet")
    with pytest.raises(UserError, match=r"does not take contamination\.parquet: its \.gitignore names it"):
        send(hub, run)


def test_a_foreign_card_becomes_the_hand_written_part(hub: Hub, run: Path) -> None:
    send(hub, run)
    edit_on_hub(hub, "README.md", "---\nextra_gated_prompt: Agree.\nlicense: gpl\n---\n# Ours\n\nAll by hand.\n")
    send(hub, run)
    card = on_main(hub)["README.md"].decode()
    assert hand_written(card) == "# Ours\n\nAll by hand."
    assert "extra_gated_prompt: Agree." in card and "license: mit" in card and "gpl" not in card


def test_two_hand_written_parts_that_differ_are_a_question(hub: Hub, run: Path) -> None:
    send(hub, run)
    card = (run / "README.md").read_text("utf-8")
    edit_on_hub(hub, "README.md", card.replace(HAND_CLOSE, f"Theirs.\n{HAND_CLOSE}"))
    (run / "README.md").write_text(card.replace(HAND_CLOSE, f"Ours.\n{HAND_CLOSE}"), "utf-8")
    with pytest.raises(UserError, match=r"hand-written part of README\.md is not the same"):
        send(hub, run)
    (run / "README.md").write_text(card.replace(HAND_CLOSE, f"Theirs.\nOurs.\n{HAND_CLOSE}"), "utf-8")
    send(hub, run)
    assert hand_written(on_main(hub)["README.md"].decode()) == "Theirs.\nOurs."


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


def test_no_path_of_this_machine_is_published(hub: Hub, run: Path) -> None:
    manifest = json.loads((run / "manifest.json").read_text("utf-8"))
    manifest["command"] = f"factory build sums --problems {run}/sums.jsonl"
    manifest["teacher"]["spec"] = f"replay:{run}/traces.jsonl"
    (run / "manifest.json").write_text(json.dumps(manifest), "utf-8")
    recipe = json.loads((run / "recipe.json").read_text("utf-8"))
    recipe["source"]["paths"], recipe["prompt"] = [f"{run}/sums.jsonl"], "Solve /a/b: {problem}"
    (run / "recipe.json").write_text(json.dumps(recipe), "utf-8")
    write_card(run)
    send(hub, run)
    texts = {name: data.decode() for name, data in on_main(hub).items() if not name.endswith(".parquet")}
    assert not [name for name, text in texts.items() if str(run.parent) in text or "/home/me" in text]
    assert json.loads(texts["recipe.json"])["source"]["paths"] == ["sums.jsonl"]
    assert json.loads(texts["recipe.json"])["prompt"] == "Solve /a/b: {problem}"
    assert "--problems sums.jsonl" in texts["README.md"] and "replay:traces.jsonl" in texts["README.md"]


def test_licences_that_clash_are_published_only_on_demand(hub: Hub, tmp_path: Path) -> None:
    sources = [{"name": n, "license": n, "revision": None, "rows": 1, "path_or_repo": n} for n in ("cc-by-sa-4.0", "cc-by-nc-4.0")]
    run = make_run(tmp_path / "clash", sources=sources)
    write_card(run)
    with pytest.raises(UserError, match=r"cc-by-nc-4\.0 does not allow.*--allow-license-clash"):
        send(hub, run)
    assert hub.requests == []
    send(hub, run, allow_license_clash=True)
    assert on_main(hub) == published(run)


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
