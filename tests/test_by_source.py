"""A set of several sources, built for real: loaded whole and source by source, from the run's folder and from a Hub."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hub_server import TOKEN
from hub_store import Hub
from pushing import REPO, patient_hub, send

from cards.dataset_card import split_card
from factory.build import build
from factory.by_source import MOST_SOURCES, config_names
from factory.recipe import Changes, load_recipe

pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=<...>':DeprecationWarning")
SOURCES = ("olympiads", "aops forum/2", "all")
QUESTIONS = [(f"What is the sum of {n} and {n * 7}, written as a number?", str(8 * n), SOURCES[n % 3]) for n in range(1, 13)]


def _run(folder: Path, *assignments: str, sources: int = 3) -> Path:
    rows = [{"problem": q, "answer": a, "source": s if sources == 3 else "one"} for q, a, s in QUESTIONS]
    wrong = {QUESTIONS[0][0], QUESTIONS[4][0]}
    said = {q: "8888" if q in wrong else a for q, a, _ in QUESTIONS}
    traces = [{"question": q, "model": "m", "response": f"<think>\nhm\n</think>\n\n\\boxed{{{a}}}"} for q, a in said.items()]
    for name, table in (("problems", rows), ("traces", traces)):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in table), "utf-8")
    changes = Changes(
        problems=(str(folder / "problems.jsonl"),),
        teacher=f"replay:{folder / 'traces.jsonl'}",
        assignments=("clean.benchmarks=[]", "source.columns={source: source}", *assignments),
    )
    return build(load_recipe("openr1-math", changes), runs=folder / "runs")


def _loaded(place: str, names: list[str], home: Path, **settings: str) -> dict[str, list[Any]]:
    # A process of its own: datasets and huggingface_hub read their environment when they are imported.
    code = (
        "import json, sys, datasets\n"
        "found = {n: datasets.load_dataset(sys.argv[1], n, split='train')['id'][:] for n in sys.argv[2:]}\n"
        "assert sorted(datasets.load_dataset(sys.argv[1], split='train')['id'][:]) == sorted(found['all'])\n"
        "print(json.dumps(found))"
    )
    known = os.environ | {"HF_HOME": str(home), "HF_HUB_DISABLE_XET": "1"} | settings
    done = subprocess.run([sys.executable, "-c", code, place, *names], env=known, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    found: dict[str, list[Any]] = json.loads(done.stdout)
    return found


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    with patient_hub(tmp_path, monkeypatch) as server:
        yield server


@pytest.mark.slow
def test_each_source_is_a_configuration_here_and_on_the_hub(tmp_path: Path, hub: Hub) -> None:
    run = _run(tmp_path, "choose.outcomes=[correct, incorrect]")
    rows = pl.read_parquet(run / "dataset" / "*.parquet")
    names = config_names(sorted(SOURCES))
    assert rows.height == 12 and rows["id"].n_unique() == 12
    wanted = {name: sorted(rows.filter(pl.col("source") == source)["id"]) for source, name in names.items()}
    wanted |= {"all": sorted(rows["id"]), "verified": sorted(rows.filter(pl.col("outcome") == "correct")["id"])}
    assert len(wanted["verified"]) == 10
    head, text = split_card((run / "README.md").read_text("utf-8"))
    assert [c["config_name"] for c in head["configs"]] == ["default", "all", "verified", *names.values()]
    assert f"| `{names['olympiads']}` | 4 | source `olympiads` |" in text
    send(hub, run)
    for place, settings in ((str(run), {"HF_HUB_OFFLINE": "1"}), (REPO, {"HF_ENDPOINT": hub.url, "HF_TOKEN": TOKEN})):
        found = _loaded(place, list(wanted), tmp_path / "home", **settings)
        assert {name: sorted(ids) for name, ids in found.items()} == wanted


def test_a_set_of_one_source_stays_as_it_is(tmp_path: Path) -> None:
    run = _run(tmp_path, sources=1)
    assert [p.name for p in (run / "dataset").iterdir()] == ["train-00000-of-00001.parquet"]
    assert json.loads((run / "manifest.json").read_text())["dataset"]["configs"] == []


def test_rows_keep_their_order_and_files_their_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = _run(tmp_path, sources=1)
    order = pl.read_parquet(whole / "dataset" / "*.parquet")["problem"].to_list()
    monkeypatch.setattr("factory.by_source.SHARD_ROWS", 2)
    run = _run(tmp_path)
    assert {pl.read_parquet(p).height for p in (run / "dataset").iterdir()} <= {1, 2}
    assert (run / "dataset" / "aops-forum-2.train-00001-of-00002.parquet").is_file()
    for name in config_names(sorted(SOURCES)).values():
        part = pl.read_parquet(run / "dataset" / f"{name}.*.parquet")["problem"].to_list()
        assert part == [p for p in order if p in part] and part


def test_names_of_configurations_are_safe_and_differ() -> None:
    sources = ["a", "A", "default", "", "../x", "é", "a*b?", "x" * 200, "*", "org/name"]
    names = config_names(sources)
    assert len({n.lower() for n in names.values()}) == len(sources) <= MOST_SOURCES
    assert all(n and not set(n) - set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_") for n in names.values())
    assert names["org/name"] == "org-name" and names["default"].startswith("default-")
