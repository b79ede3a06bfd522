"""An embedding model is part of the key of every step that uses it, and of the manifest: its files, or its commit on the Hub."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from test_selecting import PROBLEMS, _run
from tiny_model import make_tiny_model

from curation.errors import UserError
from curation.vectors import from_model
from factory.embedding import Embedding, embedding


def _changed(folder: Path) -> None:
    """One weight becomes another; the file keeps its size and its name."""
    weights = folder / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)


@pytest.mark.slow
def test_a_changed_model_folder_is_another_step_and_the_manifest_names_it(tmp_path: Path) -> None:
    model = make_tiny_model(tmp_path / "model")
    (tmp_path / "bench.jsonl").write_text(json.dumps({"question": PROBLEMS[2]["problem"]}) + "\n")
    settings = (
        f"clean.benchmarks=[{{name: bench, path: {tmp_path / 'bench.jsonl'}}}]",
        "clean.semantic_duplicates=1.0",
        "clean.neighbours=1.0",
        f"clean.semantic_model={model}",
        "choose.semantic_duplicates=1.0",
        f"choose.semantic_model={model}",
        f"select=[{{rule: diverse, size: 4, model: {model}}}]",
    )

    def keys() -> dict[str, str]:
        made = json.loads((_run(tmp_path, *settings) / "manifest.json").read_text())
        revisions = {one["use"]: (one["model"], one["revision"]) for one in made["embeddings"]}
        assert revisions == dict.fromkeys(("duplicates", "neighbours", "choose", "select.0"), embedding(str(model)))
        return {step["name"]: step["key"] for step in made["steps"]}

    before = keys()
    _changed(model)
    after = keys()
    assert all(before[name] != after[name] for name in ("duplicates", "decontaminate", "examples", "select"))


def test_a_folder_is_known_by_its_bytes_wherever_it_lies(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    for name in ("config.json", "model.safetensors"):
        (folder / name).write_text("{}")
    moved = Path(shutil.copytree(folder, tmp_path / "other"))
    first = embedding(str(folder)).revision
    assert embedding(str(moved)).revision == first
    _changed(folder)
    assert embedding(str(folder)).revision not in (first, None)
    (folder / "config.json").unlink()
    with pytest.raises(UserError, match=r"no folder with a config\.json"):
        embedding(str(folder))


def test_a_name_is_taken_at_the_commit_it_names() -> None:
    commit = "c9745ed1d9f207416be6d2e6f8de32d1f16199bf"
    name = "sentence-transformers/all-MiniLM-L6-v2"
    assert embedding(f"{name}@{commit}") == Embedding(name, commit)
    assert embedding(None) == (None, None)


def test_a_name_is_loaded_at_its_commit(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import transformers

    asked = []
    folder = make_tiny_model(tmp_path)
    for loader in (transformers.AutoModel, transformers.AutoTokenizer):
        load = loader.from_pretrained

        def told(name, load=load, **where):  # type: ignore[no-untyped-def]
            asked.append((name, where))
            return load(folder)

        monkeypatch.setattr(loader, "from_pretrained", told)
    assert np.isfinite(from_model(["one"], "owner/name", "abc")).all()
    assert asked == [("owner/name", {"revision": "abc"})] * 2
