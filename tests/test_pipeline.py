"""Pipelines: what is refused, what is done again and what is not, and DeepSeek-R1's four stages with a student made on the spot."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from curation.errors import UserError
from factory.cli import cli
from factory.describe import _header, pipeline_table
from factory.pipeline import load_pipeline, pipeline_names, references, sizes_of
from factory.pipeline_run import RECORD, pipeline_summary, plan_text, run_pipeline
from factory.recipe import CONFIGS, load_recipe

PUZZLES = {"source.count": 30, "source.max_numbers": 3, "clean.near_duplicates": None}
STAGES: list[dict[str, Any]] = [
    {"name": "first", "does": "build", "recipe": "countdown", "set": PUZZLES},
    {
        "name": "second",
        "does": "build",
        "recipe": "countdown",
        "set": {**PUZZLES, "clean.pass_rate": {"low": 0.5}, "clean.pass_rate.table": "@first/difficulty.parquet"},
    },
    {"name": "alone", "does": "build", "recipe": "countdown", "set": {**PUZZLES, "source.seed": 5}},
]


def written(folder: Path, stages: list[dict[str, Any]] = STAGES, **more: Any) -> str:
    path = folder / "mine.yaml"
    path.write_text(yaml.safe_dump({"pipeline": 1, "name": "mine", "description": "d", "stages": stages, **more}))
    return str(path)


def run(folder: Path, *assignments: str, size: str | None = None) -> dict[str, Any]:
    loaded = load_pipeline(str(folder / "mine.yaml"), size, assignments)
    out = run_pipeline(loaded, runs=folder / "runs", out=None, workers=1, command="factory run mine.yaml")
    found: dict[str, Any] = json.loads((out / RECORD).read_text())
    return found


def starts(record: dict[str, Any]) -> dict[str, Any]:
    return {entry["name"]: (entry["key"], entry["started"], entry["folder"]) for entry in record["stages"]}


def test_a_stage_is_done_once_and_again_only_where_a_change_reaches_it(tmp_path: Path) -> None:
    written(tmp_path)
    first = run(tmp_path)
    assert first["state"] == "done" and [e["state"] for e in first["stages"]] == ["done"] * 3
    assert [e["facts"] for e in first["stages"]] == [{"problems": 30, "examples": 30}] * 3
    assert (
        first["stages"][1]["inputs"] == ["first"] and (tmp_path / "runs/mine" / first["stages"][0]["folder"] / "dataset").is_dir()
    )
    again = run(tmp_path)
    assert starts(again) == starts(first)  # nothing was done
    changed = run(tmp_path, "second.set.choose.rule=longest")
    assert [name for name in starts(first) if starts(first)[name] != starts(changed)[name]] == ["second"]
    reached = run(tmp_path, "first.set.source.count=29")
    assert [name for name in starts(first) if starts(first)[name] != starts(reached)[name]] == ["first", "second"]
    back = run(tmp_path)
    same = run(tmp_path, "first.set.audit.min_voters=9")  # another key, but it leaves the same rows
    assert [name for name in starts(back) if starts(back)[name] != starts(same)[name]] == ["first"]


def test_a_change_reaches_the_stage_it_names_and_no_other_with_the_same_alias() -> None:
    stages = {s.name: s for s in load_pipeline("r1", "1.5b", ["second-sft.set.epochs=7"]).pipeline.stages}
    assert (stages["cold-start"].set["epochs"], stages["second-sft"].set["epochs"]) == (2, 7)


def test_a_failed_stage_says_why_and_the_next_call_goes_on(tmp_path: Path) -> None:
    nowhere = {**PUZZLES, "clean.pass_rate": {"low": 0.5}, "clean.pass_rate.table": "@first/none.parquet"}
    written(tmp_path, [STAGES[0], {**STAGES[1], "set": nowhere}, STAGES[2]])
    with pytest.raises(UserError, match=r"none\.parquet"):
        run(tmp_path)
    record = json.loads((tmp_path / "runs/mine" / RECORD).read_text())
    assert record["state"] == "failed" and [e["state"] for e in record["stages"]] == ["done", "failed", "waiting"]
    assert "none.parquet" in record["stages"][1]["error"]
    mended = run(tmp_path, "second.set.clean.pass_rate.table=@first/difficulty.parquet")
    assert starts(mended)["first"] == starts(record)["first"] and mended["state"] == "done"


def test_a_plan_says_what_is_done_and_does_nothing(tmp_path: Path) -> None:
    written(tmp_path)
    where = {"runs": tmp_path / "runs", "out": None}
    before = plan_text(load_pipeline(str(tmp_path / "mine.yaml")), **where)  # type: ignore[arg-type]
    assert before.count("to do") == 3 and not (tmp_path / "runs").exists()
    run(tmp_path)
    loaded = load_pipeline(str(tmp_path / "mine.yaml"), None, ("first.set.source.seed=9",))
    assert [line[:5].strip() for line in plan_text(loaded, **where).splitlines()[1:4]] == ["to do", "to do", "done"]  # type: ignore[arg-type]


def test_mistakes_are_one_sentence(tmp_path: Path) -> None:
    def said(*assignments: str, size: str | None = None, stages: list[dict[str, Any]] = STAGES, name: str = "", **more: Any) -> str:
        with pytest.raises(UserError) as caught:
            load_pipeline(name or written(tmp_path, stages, **more), size, assignments)
        return str(caught.value)

    assert "did you mean 'tinyzero'" in said(name="tinyzro")
    assert "has no size 'huge': wanted 7b" in said(size="huge", sizes={"7b": {}})
    assert "r1 has no size 'tinny' (did you mean 'tiny'?)" in said(name="r1", size="tinny")
    assert "no stage 'frst' (did you mean 'first'?)" in said("frst.recipe=x")
    assert "wanted STAGE.KEY=VALUE" in said("first=x")
    assert "--set first.set={a: the value is no YAML (" in said("first.set={a")
    assert "unknown key 'stage first: recipee' (did you mean 'recipe'?)" in said("first.recipee=x")
    assert "unknown key 'stage first: epochs'; a setting goes under set: first.set.epochs" in said("first.epochs=1")
    later = [{**STAGES[1], "set": {"x": "@alone/y"}}, STAGES[2]]
    assert "stage second takes @alone, which is no stage before it" in said(stages=later)
    assert "two stages are named first" in said(stages=[STAGES[0], STAGES[0]])
    assert "stage first: input tag 'bild'" in said(stages=[{**STAGES[0], "does": "bild"}])
    examined = {"does": "eval", "model": "m", "suites": ["tiny"]}
    compared = {"name": "b", **examined, "against": "@a"}
    assert "stage b is held against @a, which does build: wanted an eval" in said(stages=[{**STAGES[0], "name": "a"}, compared])
    assert "which has no suite tiny" in said(stages=[{"name": "a", **examined, "suites": ["amc"]}, compared])
    assert "stage b: against: string should match pattern" in said(stages=[{**compared, "against": "a"}])
    assert "stage a: data: " in said(stages=[{"name": "a", "does": "distill", "data": [], "student": "s"}])
    done = CliRunner().invoke(
        cli, ["run", "r1", "--size", "tiny", "--plan", "--runs", str(tmp_path / "none")], catch_exceptions=False
    )
    assert "reasoning-rl" in done.output and not (tmp_path / "none").exists()


@pytest.mark.parametrize(
    ("written", "sentence"),
    [
        ("stages: 3", "stages: input should be a valid list, got '3'"),
        ("stages: [3]", "stage 0: input should be a valid dictionary"),
        ("stages: [{name: 3, does: make}]", "stage 3: name: input should be a valid string, got '3'"),
        ("stages: [{name: a, does: make, set: 3}]", "stage a: set: input should be a valid dictionary, got '3'"),
        ("stages: [{name: a, does: make, set: {x: 2026-01-01}}]", "stage a: set: x: input was not a valid JSON value"),
        ("stages: [{name: a, does: make}]\nsizes: [1]", "sizes: input should be a valid dictionary, got '[1]'"),
        ("stages: [{name: a, does: make}]\nsizes: {tiny: 3}", "sizes: tiny: input should be a valid dictionary, got '3'"),
        ("stages:", "stages: input should be a valid list, got 'None'"),
    ],
)
def test_a_file_of_another_shape_is_told_before_anything_is_put_into_it(written: str, sentence: str, tmp_path: Path) -> None:
    path = tmp_path / "p.yaml"
    path.write_text(f"pipeline: 1\nname: p\ndescription: d\n{written}\n")
    for assignments in ((), ("a.set.x=1",)):
        with pytest.raises(UserError) as caught:
            load_pipeline(str(path), None, assignments)
        assert str(caught.value).startswith(f"p.yaml: {sentence}")


def test_an_endpoint_is_no_reference(tmp_path: Path) -> None:
    teacher = {**STAGES[0], "teacher": "openai:deepseek-reasoner@https://api.deepseek.com"}
    loaded = load_pipeline(written(tmp_path, [teacher, {**STAGES[2], "teacher": "hf:@first"}]))
    assert [references(stage) for stage in loaded.pipeline.stages] == [[], ["first"]]


@pytest.mark.parametrize("path", sorted((CONFIGS / "pipelines").glob("*.yaml")), ids=lambda path: path.stem)
def test_every_file_has_its_header_and_every_size_loads(path: Path) -> None:
    assert {"Command", "Needs", "Cost", "Yield", "Original"} <= set(_header(path))
    if "recipe" in yaml.safe_load(path.read_text()):
        load_recipe(str(path))
        return
    for size in [None, *sizes_of(path.stem)]:
        pipeline = load_pipeline(str(path) if size is None else path.stem, size).pipeline
        for stage in pipeline.stages:
            if stage.does == "build" and not stage.recipe.startswith("./"):
                load_recipe(stage.recipe)


def test_a_run_ends_with_a_table_of_what_every_stage_gains(tmp_path: Path) -> None:
    gap = {"stage": "at-start", "method": "paired_bootstrap", "difference": 0.27, "interval": [0.225, 0.318], "p_value": 1e-4}
    first = {"file": "tiny.json", "questions": 150, "pass@1": 0.0, "interval": [0.0, 0.025], "against": None}
    second = {**first, "pass@1": 0.27, "interval": [0.225, 0.318], "against": gap}
    stages = [
        {"name": "start", "does": "make", "seconds": 1.25, "facts": {"parameters": 312_480}},
        {"name": "at-start", "does": "eval", "seconds": 2.0, "facts": {"suites": {"tiny": first}}},
        {"name": "after-sft", "does": "eval", "seconds": 2.0, "facts": {"suites": {"tiny": second}}},
    ]
    (tmp_path / RECORD).write_text(json.dumps({"name": "mine", "size": "tiny", "state": "done", "stages": stages}))
    said = [line.split() for line in pipeline_summary(tmp_path).splitlines()]
    assert ["stage", "pass@1", "95", "percent", "rise", "95", "percent", "p", "over"] in said
    assert ["at-start", "0.0%", "0.0%", "to", "2.5%"] in said
    assert ["after-sft", "27.0%", "22.5%", "to", "31.8%", "+27.0%", "+22.5%", "to", "+31.8%", "0.0001", "at-start"] in said
    assert ["start", "make", "1.2", "s", "parameters", "3.125e+05"] in said


def test_the_list_shows_pipelines_with_their_sizes() -> None:
    assert pipeline_names() == ["limo", "r1", "s1", "tinyzero"]
    table = pipeline_table()
    assert "r1 (tiny, 1.5b, 3b, 7b, 14b)" in table and "yields" in table


@pytest.mark.slow
def test_killed_in_a_stage_it_goes_on_and_leaves_the_same(tmp_path: Path) -> None:
    stages = [{**stage, "set": {**stage["set"], "source.count": 400}} for stage in STAGES]
    path = written(tmp_path, stages)
    command = [sys.executable, "-m", "factory", "run", path, "--workers", "1", "--runs"]
    whole = subprocess.run([*command, str(tmp_path / "whole")], capture_output=True, text=True, check=True)
    assert "mine : done" in whole.stdout or "mine: done" in whole.stdout
    for stage in ("first", "second"):
        process = subprocess.Popen([*command, str(tmp_path / "killed")], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        record = tmp_path / "killed/mine" / RECORD
        until = time.monotonic() + 60
        while process.poll() is None and time.monotonic() < until:
            if record.is_file() and any(
                e["name"] == stage and e["state"] == "running" for e in json.loads(record.read_text())["stages"]
            ):
                os.kill(process.pid, signal.SIGKILL)
                break
            time.sleep(0.01)
        process.wait(60)
    subprocess.run([*command, str(tmp_path / "killed")], capture_output=True, check=True)
    records = [json.loads((tmp_path / name / "mine" / RECORD).read_text()) for name in ("whole", "killed")]
    digests = [[(e["name"], e["key"], e["digest"], e["facts"]) for e in record["stages"]] for record in records]
    assert digests[0] == digests[1] and records[1]["state"] == "done"


SHORT = {
    "s1": ("weak.set.epochs=1", "distill.set.epochs=1"),
    "limo": ("distill.set.epochs=1",),
    "tinyzero": ("base.set.epochs=1", "rl.set.rollouts=1"),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", SHORT)
def test_the_other_tiny_sizes_run_from_end_to_end(name: str, tmp_path: Path) -> None:
    """With an epoch and a rollout of each: what they learn is told in their headers."""
    folder = run_pipeline(load_pipeline(name, "tiny", SHORT[name]), runs=tmp_path, out=None, workers=1, command="")
    record = json.loads((folder / RECORD).read_text())
    assert record["state"] == "done"
    compared = record["stages"][-1]["facts"]["suites"]["tiny"]["against"]
    assert compared["stage"] in {e["name"] for e in record["stages"]} and len(compared["interval"]) == 2
    selected = [e["facts"]["examples"] for e in record["stages"] if e["name"] == "select"]
    assert selected == ([] if name == "tinyzero" else [700])


@pytest.fixture
def one_thread() -> Iterator[None]:
    """On one thread the same seed leaves the same weights, bit by bit on one kind of CPU; two threads round otherwise than one."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.slow
@pytest.mark.usefixtures("one_thread")
def test_r1_at_its_tiny_size_rises_from_stage_to_stage(tmp_path: Path) -> None:
    """The whole of R1 with 0.3 million random weights; the pass rate on 600 held-out puzzles rises with each of its four stages.

    Another CPU rounds otherwise, which is as good as another seed: in two seeds the smallest rise, 2.7 points, was 4.9 standard
    errors of the paired bootstrap, where 2 are asserted.
    """
    loaded = load_pipeline("r1", "tiny")
    folder = run_pipeline(loaded, runs=tmp_path, out=None, workers=2, command="factory run r1 --size tiny")
    record = json.loads((folder / RECORD).read_text())
    assert record["state"] == "done" and all(e["state"] == "done" for e in record["stages"])
    found = {e["name"]: e["facts"]["suites"]["tiny"] for e in record["stages"] if e["does"] == "eval"}
    table = pipeline_summary(folder)
    assert found["at-start"]["pass@1"] == 0.0 and found["at-start"]["questions"] == 600, table
    for name in ("after-cold-start", "after-reasoning-rl", "after-second-sft", "after-final-rl"):
        gap = found[name]["against"]  # 95 percent, paired question by question with the stage before
        assert gap["interval"][0] > 0 and gap["p_value"] < 0.05, table
    folders = {e["name"]: e["folder"] for e in record["stages"]}
    assert all(
        (folder / folders[name] / "metrics.jsonl").is_file() for name in ("cold-start", "reasoning-rl", "second-sft", "final-rl")
    )
    started = [e["started"] for e in record["stages"]]
    run_pipeline(loaded, runs=tmp_path, out=None, workers=2, command="factory run r1 --size tiny")
    assert [e["started"] for e in json.loads((folder / RECORD).read_text())["stages"]] == started  # finished: a no-op
