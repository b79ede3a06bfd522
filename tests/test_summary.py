"""What a build and a push print: short, cut to the terminal, and no terminal codes from a model's text."""

import json
from pathlib import Path

import polars as pl
import pytest
from make_run import make_run

from cards.push import PushResult
from factory.describe import push_summary, run_summary


def _run(folder: Path) -> Path:
    run = make_run(folder / "sums", audit={"refused_gold": 0, "outvoted_gold": 0, "conflicting_golds": 0})
    recipe = json.loads((run / "recipe.json").read_text()) | {"choose": {"teachers": []}}
    (run / "recipe.json").write_text(json.dumps(recipe))
    for shard in (run / "dataset").glob("*.parquet"):
        rows = pl.read_parquet(shard)
        rows.with_columns(problem=pl.lit("\x1b[31mred\u202e " + "why " * 100)).write_parquet(shard)
    return run


@pytest.mark.parametrize("columns", [60, 100])
def test_three_rows_cut_to_the_terminal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, columns: int) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    text = run_summary(_run(tmp_path))
    samples = [line for line in text.splitlines() if line.startswith("  ") and "why" in line]
    assert len(samples) == 3 and {len(line) for line in samples} == {columns}
    assert "\x1b" not in text and "\u202e" not in text
    assert "    <think> 11 and 0 </think> \\boxed{11}" in text  # the last of twelve
    assert "factory view" in text and "report.html" in text
    funnel = text.splitlines()[: text.splitlines().index("")]
    assert max(map(len, funnel)) <= max(columns, 80) and "= 11" in text  # the gold stays, however long its question is


def test_reasons_wrap_between_and_not_inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = _run(tmp_path)
    lines = json.loads((run / "funnel.json").read_text())
    lines[1]["dropped"] = {f"reason_{name}": 1000 for name in "abcdefghi"}
    (run / "funnel.json").write_text(json.dumps(lines))
    for columns in (80, 120):
        monkeypatch.setenv("COLUMNS", str(columns))
        funnel = run_summary(run).split("\n\n")[0].splitlines()
        assert max(map(len, funnel)) <= columns and not [line for line in funnel if line.endswith(tuple("0123456789 "))]


def test_a_reason_longer_than_its_column_stays_one_word(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = _run(tmp_path)
    lines = json.loads((run / "funnel.json").read_text())
    lines[1]["dropped"] = {"undetermined_unproven": 1, "undetermined_unparseable_answer": 1_234}
    (run / "funnel.json").write_text(json.dumps(lines))
    monkeypatch.setenv("COLUMNS", "80")
    assert "1,234 undetermined_unparseable_answer" in run_summary(run)


def test_a_dry_run_names_every_change() -> None:
    dry = PushResult("http://hub/datasets/a/b", None, ("README.md",), ("x.parquet",), ("old.parquet",), "factory-1")
    assert push_summary(dry).splitlines()[1:] == [
        "a dry run: 1 files to upload, 1 to delete, 1 unchanged",
        "upload     README.md",
        "delete     old.parquet",
    ]
    assert "uploaded   1 files, 1 deleted, 1 unchanged\ntag        factory-1" in push_summary(dry._replace(commit="c"))
