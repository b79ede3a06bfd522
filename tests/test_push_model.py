"""A model's folder, with or without a record of its training, published by the real huggingface_hub to a small Hub."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import huggingface_hub.constants
import pytest
from hub_server import TOKEN, hub_server
from hub_store import Hub, blob
from huggingface_hub import ModelCard

import cards.retry
from cards.dataset_card import HAND_CLOSE, hand_written, split_card
from cards.model_card import render_model_card
from cards.push import push
from curation.errors import UserError

pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=<...>':DeprecationWarning")
REPO = "tester/student"
SOURCES = [{"name": "sums", "license": "mit", "revision": "0123", "rows": 1200, "path_or_repo": "/home/me/sums.jsonl"}]
TRAINING: dict[str, Any] = {
    "name": "student",
    "method": "sft",
    "base": {"name": "org/base", "commit": "abc", "license": "apache-2.0"},
    "data": {
        "name": "/home/me/runs/sums-0123",
        "digest": "0123",
        "sources": SOURCES,
        "teacher": {
            "spec": "openai:deepseek-ai/DeepSeek-R1@http://localhost:1",
            "model": "deepseek-ai/DeepSeek-R1",
            "revision": "",
        },
        "step": "tokenise",
        "unit": "examples",
        "in": 1300,
        "kept": 1200,
        "dropped": {"too_long": 100},
    },
    "settings": {"learning_rate": 1e-5, "epochs": 3, "chat_template": "/home/me/t.jinja"},
    "training": {"steps": 100, "tokens": 10, "first_loss": 2.0, "last_loss": 0.02},
    "hardware": {"gpu": "H100", "gpus": 1},
    "end_of_turn": "<|im_end|>",
    "description": "A student | of <b>sums</b>.",
    "limits": "Sums only.",
    "command": "factory distill /home/me/runs/sums-0123 --student org/base",
    "factory": "0.1.0",
}
RESULT = {
    "result": 1,
    "suite": {"name": "aime25", "questions": 30},
    "settings": {"samples": 4},
    "scores": {"questions": 30, "pass@1": {"value": 0.25, "questions_interval": [0.1, 0.4]}, "tokens": None},
}


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr(cards.retry, "WAITS_S", (0, 0))
    with hub_server(tmp_path / "hub") as server:
        yield server


@pytest.fixture
def model(tmp_path: Path) -> Path:
    folder = tmp_path / "student-model"
    (folder / "checkpoint-10").mkdir(parents=True)
    (folder / "config.json").write_text('{"model_type": "qwen2"}', "utf-8")
    for name in ("model.safetensors", "optimizer.pt", "checkpoint-10/model.safetensors", ".cache", "report.html"):
        (folder / name).write_bytes(name.encode() * 1000)
    return folder


def record(model: Path, **changes: Any) -> None:
    """What training and two commands after it leave."""
    (model / "training_manifest.json").write_text(json.dumps(TRAINING | changes), "utf-8")
    lines = [{"step": n, "loss": 2.0 / n, "note": "x"} for n in range(1, 101)]
    (model / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), "utf-8")
    (model / "chat_template.jinja").write_text("{% for m in messages %}```{{ m }}{% endfor %}", "utf-8")
    (model / "training.svg").write_text("<svg/>", "utf-8")
    (model / "evals").mkdir(exist_ok=True)
    (model / "evals" / "aime25.json").write_text(json.dumps(RESULT), "utf-8")


def send(hub: Hub, model: Path, **options: bool) -> Any:
    return push(model, REPO, token=TOKEN, endpoint=hub.url, **options)


def test_a_model_is_published_whole_and_without_what_training_left(hub: Hub, model: Path) -> None:
    record(model)
    wish = send(hub, model, dry_run=True)
    assert hub.repos == {} and not (model / "README.md").exists()
    result = send(hub, model)
    held = hub.main(REPO)
    ours = {"README.md", "config.json", "model.safetensors", "training_manifest.json", "training.svg"}
    assert set(held) == {".gitattributes", *ours, "metrics.jsonl", "chat_template.jinja", "evals/aime25.json"}
    assert held["model.safetensors"] == (model / "model.safetensors").read_bytes()
    assert b"/home/me" not in held["training_manifest.json"] + held["README.md"]
    assert result.url == f"{hub.url}/{REPO}" and wish.uploaded == result.uploaded
    assert hub.repos[REPO].private and f"refs/tags/{result.tag}" in hub.repos[REPO].refs
    again = send(hub, model)
    assert again.uploaded == again.deleted == () and again.tag == result.tag


def test_the_card_is_written_from_the_record(model: Path) -> None:
    record(model)
    card = render_model_card(model)
    data, _ = split_card(str(ModelCard(card)))  # as huggingface_hub reads it
    assert (data["license"], data["base_model"], data["library_name"]) == ("apache-2.0", "org/base", "transformers")
    assert "| `aime25` | 30 | `pass@1` | 25.0% | 10.0% to 40.0% |" in card and '`aime25` with `{"samples": 4}`' in card
    assert "| `sums` | `mit` | `0123` |" in card and "| `learning_rate` | `1e-05` |" in card
    assert "| `DeepSeek-R1` | MIT | **allowed** |" in card and "A turn ends with `<|im_end|>`." in card.replace("\\|", "|")
    curve = card.split("## Training curve")[1].split("##")[0]
    assert "| 1 | 2 |" in curve and "| 100 | 0.02 |" in curve and curve.count("\n| ") == 14 and "(training.svg)" in curve
    assert "````jinja" in card and "A student \\| of &lt;b&gt;sums&lt;/b&gt;." in card
    assert "factory distill sums-0123 --student org/base" in card


def test_without_a_record_the_card_says_so(model: Path) -> None:
    card = render_model_card(model)
    assert "How it was trained is not recorded in this folder." in card and "## " not in card
    assert split_card(card)[0]["license"] == "unknown"


def test_each_missing_part_is_left_out(model: Path) -> None:
    for key in TRAINING:
        (model / "training_manifest.json").write_text(json.dumps({k: v for k, v in TRAINING.items() if k != key}), "utf-8")
        assert render_model_card(model).startswith("---\nlicense: ")


def test_weights_that_are_gone_go_and_what_others_added_stays(hub: Hub, model: Path) -> None:
    (model / "model-00002-of-00002.safetensors").write_bytes(b"two")
    send(hub, model)
    repo = hub.repos[REPO]
    repo.commit("refs/heads/main", repo.at("main").tree | {"notes.md": blob(b"kept")}, "by hand")
    (model / "model-00002-of-00002.safetensors").unlink()
    assert send(hub, model).deleted == ("model-00002-of-00002.safetensors",)
    assert hub.main(REPO)["notes.md"] == b"kept"


def test_what_a_person_wrote_stays(hub: Hub, model: Path) -> None:
    record(model)
    send(hub, model)
    repo = hub.repos[REPO]
    card = hub.main(REPO)["README.md"].decode().replace(HAND_CLOSE, f"Ask Ada.\n{HAND_CLOSE}")
    repo.commit("refs/heads/main", repo.at("main").tree | {"README.md": blob(card.encode())}, "by hand")
    record(model, limits="Sums and differences.")
    send(hub, model)
    after = hub.main(REPO)["README.md"].decode()
    assert hand_written(after) == "Ask Ada." and "Sums and differences." in after
    (model / "README.md").write_text("# All mine\n", "utf-8")
    with pytest.raises(UserError, match=r"hand-written part of README\.md is not the same"):
        send(hub, model)
    mine = "---\nlicense: mit\n---\n# All mine\n\nAsk Ada.\n"
    (model / "README.md").write_text(mine, "utf-8")
    send(hub, model)
    assert hub.main(REPO)["README.md"].decode() == mine


def test_metadata_that_the_hub_refuses_is_said(hub: Hub, model: Path) -> None:
    (model / "README.md").write_text("---\n- no mapping\n---\n# All mine\n", "utf-8")
    with pytest.raises(UserError, match=r"the Hub refuses the metadata of README\.md"):
        send(hub, model)
    assert set(hub.main(REPO)) == {".gitattributes"}


def test_licences_that_clash_and_folders_without_weights_are_refused(hub: Hub, model: Path) -> None:
    clashing = [s | {"license": name} for s in SOURCES for name in ("cc-by-sa-4.0", "cc-by-nc-4.0")]
    record(model, data=TRAINING["data"] | {"sources": clashing})
    with pytest.raises(UserError, match="--allow-license-clash"):
        send(hub, model)
    send(hub, model, allow_license_clash=True)
    assert len(json.loads(hub.main(REPO)["training_manifest.json"])["license_clash_allowed"]) == 1
    assert b"These do not go together" in (card := hub.main(REPO)["README.md"]) and b"by decision of whoever pushed it" in card
    (model / "model.safetensors").unlink()
    with pytest.raises(UserError, match="holds no weights"):
        send(hub, model)
