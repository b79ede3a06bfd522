"""s1K inside a build: both small models must have spoken, sources must be there, the header's command works."""

import json
from pathlib import Path
from typing import Any

import polars as pl

from factory.build import build
from factory.recipe import Changes, load_recipe

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
        "response": f"<think>\n{thought}\n</think>\n\n\\boxed{{{answer}}}",
    }


def _traces(small: dict[int, tuple[str, ...]]) -> list[dict[str, str]]:
    """A right trace of each problem by the teacher, wrong ones by the models that `small` names for it (none: both)."""
    rows = [_trace(p, "teacher", f"We check {p['question']} and so on.", p["solution"]) for p in PROBLEMS]
    for n, p in enumerate(PROBLEMS):
        rows += [_trace(p, model, f"I guess it is {n}.", "7") for model in small.get(n, ("small-7b", "small-32b"))]
    return rows


def _written(folder: Path, problems: list[dict[str, str]], traces: list[dict[str, str]]) -> Changes:
    for name, rows in (("pool", problems), ("traces", traces)):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    settings = ("clean.benchmarks=[]", "choose.teachers=[teacher]", "select.0.models=[small-7b, small-32b]")
    return Changes(problems=(str(folder / "pool.jsonl"),), teacher=f"replay:{folder / 'traces.jsonl'}", assignments=settings)


def _run(folder: Path, *settings: str, small: dict[int, tuple[str, ...]] | None = None) -> Path:
    changes = _written(folder, PROBLEMS, _traces(small or {}))
    return build(load_recipe("s1k", changes._replace(assignments=(*changes.assignments, *settings))), runs=folder / "runs")


def _funnel(run: Path) -> dict[str, Any]:
    return {line["step"]: line for line in json.loads((run / "funnel.json").read_text())}


def test_a_problem_that_one_small_model_never_answered_has_no_difficulty(tmp_path: Path) -> None:
    run = _run(tmp_path, "source.columns.source=source_type", small={0: ("small-7b",), 1: ("small-32b",), 2: ()})
    assert _funnel(run)["s1k: features"]["dropped"] == {"missing_feature": 3}
    assert pl.read_parquet(run / "dataset" / "*.parquet").height == 5
    table = run / "difficulty.parquet"
    other = _run(tmp_path, "source.columns.source=source_type", f"select.0.table={table}", "select.0.models=[]")
    assert _funnel(other)["s1k: features"]["dropped"] == {"missing_feature": 3}  # the teacher, who was right, and both others
