"""A small run, really built, whose problems and traces are what a page has to stand: mathematics, megabytes, hostile text."""

from __future__ import annotations

import json
from pathlib import Path

from factory.build import build
from factory.recipe import Changes, load_recipe

SCRIPT = "<script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">"
BAD_MODEL = "<b>evil</b>/model"
PROBLEMS = [
    {"problem": "Compute $\\frac{1}{2}+\\frac{1}{2}$ when apples cost $5 and pears $6.", "answer": "1"},
    {"problem": f"How many {SCRIPT} letters are in the word bookkeeper, counted twice?", "answer": "20"},
    {"problem": "Find the sum of the first ten odd numbers, please.", "answer": "100"},
    {"problem": "Evaluate \\[\\sqrt{x^2}\\] for a given positive x equal to seven thousand.", "answer": "7000"},
    {"problem": "How many positive divisors does 360 have in all?", "answer": "24"},
    {"problem": "A question that has no gold answer at all?", "answer": ""},
]
BENCHMARK = [{"question": "How many positive divisors does $360$ have in all?"}]
LONG = "\n\n".join(f"Step {i}: we know that $a_{{{i}}} = {i}^2$ and so \\(b_{{{i}}} = {i}\\) follows, wait." for i in range(2_500))


def _trace(problem: int, model: str, thought: str, answer: str) -> dict[str, str]:
    return {"question": PROBLEMS[problem]["problem"], "model": model, "response": f"<think>\n{thought}\n</think>\n\n{answer}"}


TRACES = [
    _trace(0, "alpha", "a half and a half, the zebra says", "It is **one**: \\boxed{1}."),
    _trace(0, BAD_MODEL, "quarter", "\\boxed{2}"),
    _trace(1, "alpha", f"{SCRIPT}\n\n```\n{SCRIPT} $x$\n```", f"\u202e{SCRIPT} $\\href{{javascript:alert(1)}}{{x}}$ \\boxed{{20}}"),
    _trace(1, BAD_MODEL, "$" * 5_000 + "\\(" * 5_000 + "\\begin{align}" * 2_000, "\\boxed{20}"),
    _trace(2, "alpha", LONG, "Thus $\\boxed{100}$, $\\undefinedmacro{1}$ and $\\def\\a{\\a\\a}\\a$."),
    _trace(2, BAD_MODEL, "x" * 1_000_000, "\\boxed{99}"),
    _trace(3, "alpha", "seven thousand", "\\boxed{7000}"),
    _trace(4, "alpha", "count", "\\boxed{24}"),
    {"question": "Nobody asked this one here?", "model": "alpha", "response": "<think>\nhm\n</think>\n\n\\boxed{1}"},
]


def _jsonl(path: Path, rows: list[dict[str, str]]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return str(path)


def view_run(folder: Path) -> Path:
    """Built below `folder`: nine traces by two models for four problems, one contaminated, one without a gold."""
    changes = Changes(
        problems=(_jsonl(folder / "problems.jsonl", PROBLEMS),),
        benchmarks=(_jsonl(folder / "tests.jsonl", BENCHMARK),),
        teacher=f"replay:{_jsonl(folder / 'traces.jsonl', TRACES)}",
    )
    command = f"factory build openr1-math --problems {folder}/problems.jsonl"
    return build(load_recipe("openr1-math", changes), runs=folder / "runs", command=command)
