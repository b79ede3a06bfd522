"""What a build and a push print: short, cut to the terminal, and no terminal codes from a model's text."""

from pathlib import Path

import polars as pl
import pytest
from make_run import make_run

from cards.push import PushResult
from factory.describe import push_summary, run_summary


def _run(folder: Path) -> Path:
    run = make_run(folder / "sums", audit={"refused_gold": 0, "outvoted_gold": 0, "conflicting_golds": 0})
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


def test_a_dry_run_names_every_change() -> None:
    dry = PushResult("http://hub/datasets/a/b", None, ("README.md",), ("x.parquet",), ("old.parquet",), "factory-1")
    assert push_summary(dry).splitlines()[1:] == [
        "a dry run: 1 files to upload, 1 to delete, 1 unchanged",
        "upload     README.md",
        "delete     old.parquet",
    ]
    assert "uploaded   1 files, 1 deleted, 1 unchanged\ntag        factory-1" in push_summary(dry._replace(commit="c"))
