"""What a push makes of cards and records: a person's words stay, paths go, licences that clash are said."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from hub_store import Hub
from make_run import make_run
from pushing import REPO, edit_on_hub, finished_run, on_main, patient_hub, published, send
from view_run import view_run

from cards.dataset_card import HAND_CLOSE, hand_written, write_card
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
    held, asked = on_main(hub), published(run)
    assert {name for name in asked if held[name] != asked[name]} == {"README.md", "manifest.json"} and set(held) == set(asked)
    (clash,) = json.loads(held["manifest.json"])["license_clash_allowed"]
    assert clash.startswith("cc-by-sa-4.0 asks the whole") and b"published all the same" in held["README.md"]
    assert b"published all the same" not in asked["README.md"]
    assert send(hub, run, allow_license_clash=True).uploaded == ()


def test_every_file_of_a_build_is_published_or_left_out_on_purpose(hub: Hub, tmp_path: Path) -> None:
    run = view_run(tmp_path)
    send(hub, run)
    inside = {p.relative_to(run).as_posix() for p in run.rglob("*") if p.is_file()}
    missing = {path.split("/")[0] for path in inside - set(on_main(hub))}
    assert missing == {".lock", "problems", "report.html", "traces", "verdicts"}  # why: cards/parcel.py
