"""s1K inside a build: both small models must have spoken, sources must be there, the header's command works."""

import json
from pathlib import Path
from typing import Any

import headers
import polars as pl
import pytest

from curation.errors import UserError
from factory.build import build
from factory.recipe import FileSource, load_recipe

NOUNS = ("lantern", "river", "violin", "comet", "orchard", "glacier", "harbour", "pepper")
PROBLEMS = [
    {
        "question": f"Each {noun} weighs {n} grams; say what {n + 2} of the {noun} kind weigh.",
        "solution": str(n * (n + 2)),
        "source_type": ("qq8933/AIME_1983_2024", "Idavidrein/gpqa", "qfq/openaimath/Algebra", "web")[n % 4],
        "domain": ("11", "51")[n % 2],
    }
    for n, noun in enumerate(NOUNS)
]


def _trace(problem: dict[str, str], model: str, thought: str, answer: str) -> dict[str, str]:
    return {
        "question": problem["question"],
        "model": model,
        "response": f"{thought}\\boxed{{{answer}}}",
    }


def _traces(small: dict[int, tuple[str, ...]]) -> list[dict[str, str]]:
    """A right trace of each problem by the teacher, wrong ones by the models that `small` names for it (none: both)."""
    thoughts = [f"<think>\nWe check {'and so on ' * (n + 1)}.\n</think>\n\n" for n in range(len(PROBLEMS))]
    rows = [_trace(p, "teacher", thought, p["solution"]) for p, thought in zip(PROBLEMS, thoughts, strict=True)]
    for n, p in enumerate(PROBLEMS):
        rows += [_trace(p, model, "", "7") for model in small.get(n, ("small-7b", "small-32b"))]
    return rows


def _run(folder: Path, *settings: str, small: dict[int, tuple[str, ...]] | None = None) -> Path:
    """The first command of the header of s1k."""
    for name, rows in (("pool", PROBLEMS), ("traces", _traces(small or {}))):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return build(load_recipe("s1k", headers.changes(folder, headers.commands("s1k")[0], *settings)), runs=folder / "runs")


def _funnel(run: Path) -> dict[str, Any]:
    return {line["step"]: line for line in json.loads((run / "funnel.json").read_text())}


def test_a_problem_that_one_small_model_never_answered_has_no_difficulty(tmp_path: Path) -> None:
    run = _run(tmp_path, small={0: ("small-7b",), 1: ("small-32b",), 2: ()})
    assert _funnel(run)["s1k: features"]["dropped"] == {"missing_feature": 3}
    assert pl.read_parquet(run / "dataset" / "*.parquet").height == 5
    table = run / "difficulty.parquet"
    other = _run(tmp_path, f"select.0.table={table}", "select.0.models=[]")
    assert _funnel(other)["s1k: features"]["dropped"] == {"missing_feature": 3}  # the teacher, who was right, and both others


def test_the_header_of_s1k_says_what_its_selection_needs(tmp_path: Path) -> None:
    run = _run(tmp_path, "select.0.size=7", "select.0.keep_longer={qfq/openaimath: 30}")
    (state,) = json.loads((run / "selection.json").read_text())
    assert state["mode"] == "notebook" and state["domain_weights"] == {"11": 2, "51": 1}
    chosen = pl.read_parquet(run / "dataset" / "*.parquet")
    assert state["funnel"]["preselected"] == 6 and chosen.height == 7
    assert {"qq8933/AIME_1983_2024", "Idavidrein/gpqa", "qfq/openaimath/Algebra"} <= set(chosen["source"])
    for command in headers.commands("s1k"):
        recipe = load_recipe("s1k", headers.changes(tmp_path, command))
        assert isinstance(recipe.source, FileSource) and recipe.source.columns.source == "source_type"


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (
            ["select.0.keep_sources=[web, typo]"],
            "keep_sources names 'typo', which no row comes from; there are Idavidrein/gpqa, q",
        ),
        (["select.0.keep_longer={typo1: 3}"], "keep_longer names 'typo1', which"),
        (["select.0.benchmark_sources=[typo2]"], "benchmark_sources names 'typo2', which"),
        (["source.columns.source=null"], "which no row comes from; there are pool: .* source.columns.source"),
        (["select.0.benchmark_sources=[]"], "mode notebook weighs domains by benchmark_sources"),
    ],
)
def test_a_source_that_no_row_comes_from_is_named(tmp_path: Path, settings: list[str], said: str) -> None:
    with pytest.raises(UserError, match=said):
        _run(tmp_path, "select.0.keep_longer={qfq/openaimath: 30}", *settings)
