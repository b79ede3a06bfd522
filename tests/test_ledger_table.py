"""`factory why RUN --table FILE`: every row of a run once, with what became of it, over a real build."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest
from click.testing import CliRunner

from curation.errors import UserError
from factory.build import build
from factory.cli import cli
from factory.ledger_table import write_ledger
from factory.recipe import Changes, load_recipe

PROBLEMS = [
    {"problem": "Compute $1+1$ for the child.", "answer": "2"},
    {"problem": "Compute  $1 + 1$  for the child.", "answer": "2"},
    {"problem": "Find the sum of the first ten odd numbers.", "answer": "100"},
    {"problem": "How many positive divisors does 360 have?", "answer": "24"},
]
STRAY = {"question": "A problem that nobody asked.", "response": "\\boxed{1}"}


@pytest.fixture
def run(tmp_path: Path) -> Path:
    answers = {"2": "2", "100": "99"}  # the second is wrong, the third problem has no trace
    traces = [
        {"question": q["problem"], "model": model, "response": f"<think>\n{model}\n</think>\n\n\\boxed{{{answers[q['answer']]}}}"}
        for q in (PROBLEMS[0], PROBLEMS[2])
        for model in ("first", "second")
    ]
    for name, rows in (("problems", PROBLEMS), ("traces", [*traces, STRAY])):
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    changes = Changes(
        problems=(str(tmp_path / "problems.jsonl"),),
        teacher=f"replay:{tmp_path / 'traces.jsonl'}",
        assignments=("choose.rule=first", "choose.per_problem=1", "clean.benchmarks=[]"),
    )
    return build(load_recipe("openr1-math", changes), runs=tmp_path / "runs")


def test_every_row_is_there_once_with_its_end(run: Path, tmp_path: Path) -> None:
    done = CliRunner().invoke(cli, ["why", str(run), "--table", str(tmp_path / "ledger.parquet")], catch_exceptions=False)
    table = pl.read_parquet(tmp_path / "ledger.parquet")
    assert done.exit_code == 0 and f"{table.height} rows in" in done.output
    ends = {
        unit: rows.select("state", pl.coalesce("reason", "outcome").alias("why")).sort("state", "why").rows()
        for (unit,), rows in table.group_by("unit")
    }
    assert ends["problem"] == [
        *[("dropped", reason) for reason in ("exact_duplicate", "no_correct_trace", "no_trace")],
        ("kept", None),
    ]
    assert [state for state, _ in ends["trace"]] == ["dropped"] * 4 + ["kept"]
    (example,) = pl.read_parquet(run / "dataset" / "*.parquet").rows(named=True)
    (kept,) = table.filter((pl.col("unit") == "trace") & (pl.col("state") == "kept")).rows(named=True)
    assert (kept["example_id"], kept["id"], kept["problem_id"]) == (example["id"], example["trace_id"], example["problem_id"])
    assert (kept["outcome"], kept["teacher"], kept["source_id"]) == ("correct", "first", example["source_id"])
    (stray,) = table.filter((pl.col("unit") == "trace") & pl.col("source").is_null()).rows(named=True)
    assert stray["state"] == "dropped" and stray["step"] == "replay"


def test_a_table_for_a_spreadsheet_and_what_is_refused(run: Path, tmp_path: Path) -> None:
    count = write_ledger(run, tmp_path / "ledger.csv")
    assert pl.read_csv(tmp_path / "ledger.csv").height == count == 9
    with pytest.raises(UserError, match=r"is \.parquet or \.csv, got 'ledger\.txt'"):
        write_ledger(run, tmp_path / "ledger.txt")
    with pytest.raises(UserError, match=r"not a finished run: it has no manifest\.json"):
        write_ledger(tmp_path, tmp_path / "ledger.csv")
    assert "name a ROW, or --table FILE" in CliRunner().invoke(cli, ["why", str(run)]).output
