"""Why a sample would be reused or asked for anew."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest
from fault_server import FaultServer, serve_faults
from solving import hard, recipe, sent

from curation.errors import UserError
from factory.build import build
from factory.cached import explain
from factory.recipe import load_recipe


@pytest.fixture(scope="module")
def server() -> Iterator[FaultServer]:
    with serve_faults() as running:
        yield running


def lines(told: str, how: str) -> set[str]:
    return {line.split(maxsplit=1)[1].split("  ")[0].strip() for line in told.splitlines() if line.startswith(f"  {how}")}


def test_it_says_field_by_field_why(tmp_path: Path, server: FaultServer) -> None:
    asked = recipe(tmp_path, server.url, hard("cached", 1, 1))
    run = build(asked, runs=tmp_path / "runs")
    problem = pl.read_parquet(run / "problems" / "*.parquet")["id"][0]
    told = explain(asked, tmp_path / "runs", problem[:8], 0)
    assert told.startswith("reused: sample ") and lines(told, "differs") == set()
    changed = {
        "temperature": asked.model_copy(update={"sample": asked.sample.model_copy(update={"temperature": 0.6})}),
        "system message": asked.model_copy(update={"system": "Be brief."}),
        "user message": asked.model_copy(update={"prompt": "{problem} now"}),
        "model": asked.model_copy(update={"teacher": f"openai:other@{server.url}"}),
        "endpoint": asked.model_copy(update={"teacher": "openai:m@http://localhost:1"}),
    }
    for field, other in changed.items():
        told = explain(other, tmp_path / "runs", problem, 0)
        assert told.startswith("asked anew: ") and lines(told, "differs") == {field}, told
    told = explain(asked, tmp_path / "runs", problem, 3)
    assert lines(told, "differs") == {"index"} and "stored 0, now 3" in told
    assert sent(server, "cached") == 2


def test_a_model_that_answers_under_another_name_is_reused_all_the_same(tmp_path: Path, server: FaultServer) -> None:
    asked = recipe(tmp_path, server.url, ["wrong-model 2 of alias"])
    run = build(asked, runs=tmp_path / "runs")
    assert pl.read_parquet(run / "traces" / "*.parquet")["revision"].to_list() == ["a-cheaper-one"]
    problem = pl.read_parquet(run / "problems" / "*.parquet")["id"][0]
    assert explain(asked, tmp_path / "runs", problem, 0).startswith("reused: ")
    told = explain(asked, tmp_path / "runs", problem, 1)
    assert lines(told, "differs") == {"index"}, told


def test_a_failed_request_is_the_reason(tmp_path: Path, server: FaultServer) -> None:
    asked = recipe(tmp_path, server.url, ["400 2 of refused", "ok 3 of refused"])
    run = build(asked, runs=tmp_path / "runs")
    problems = pl.read_parquet(run / "problems" / "*.parquet")
    problem = problems.filter(pl.col("prompt").str.starts_with("400"))["id"][0]
    told = explain(asked, tmp_path / "runs", problem, 0)
    assert told.startswith("asked anew: the last request for sample ") and " failed (answered 400: " in told


def test_mistakes_are_one_sentence(tmp_path: Path, server: FaultServer) -> None:
    asked = recipe(tmp_path, server.url, hard("mistakes", 1, 1))
    with pytest.raises(UserError, match="holds no run"):
        explain(asked, tmp_path / "runs", "0", 0)
    build(asked, runs=tmp_path / "runs")
    with pytest.raises(UserError, match=r"0 problems in .* have an id that begins with 'zz'"):
        explain(asked, tmp_path / "runs", "zz", 0)
    with pytest.raises(UserError, match="runs no model"):
        explain(load_recipe("countdown"), tmp_path / "runs", "", 0)
