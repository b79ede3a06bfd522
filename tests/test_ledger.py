import polars as pl
import pytest

from factory import ledger


def test_a_line_counts_reasons_with_the_most_frequent_first():
    line = ledger.count("verify", "traces", ["b", None, "a", "b", None])
    assert line == {"step": "verify", "unit": "traces", "in": 5, "kept": 2, "dropped": {"b": 2, "a": 1}}
    assert list(line["dropped"]) == ["b", "a"]


def test_shards_add_up():
    one, two = ledger.count("s", "traces", ["a", None]), ledger.count("s", "traces", ["b", "b", None])
    assert ledger.total([one, two]) == {"step": "s", "unit": "traces", "in": 5, "kept": 2, "dropped": {"b": 2, "a": 1}}


def test_a_line_that_does_not_add_up_fails_the_build():
    with pytest.raises(AssertionError, match="does not add up at s"):
        ledger.checked({"step": "s", "unit": "traces", "in": 5, "kept": 2, "dropped": {"b": 2}})


def test_every_row_is_in_one_of_the_two_tables(tmp_path):
    rows = 2 * (2 * ledger.SHARD_ROWS + 7)
    frame = pl.DataFrame({"id": [f"{i}" for i in range(rows)]})
    reasons = ["odd" if i % 2 else None for i in range(rows)]
    ledger.settle(tmp_path, "s", "problems", frame, reasons, [""] * rows)
    kept = [pl.read_parquet(p) for p in sorted(tmp_path.glob("kept-*.parquet"))]
    assert [f.height for f in kept] == [ledger.SHARD_ROWS, ledger.SHARD_ROWS, 7]
    dropped = pl.read_parquet(tmp_path / "rejected.parquet")
    assert dropped.columns == ["id", "step", "reason", "detail"]
    assert sorted([*pl.concat(kept)["id"], *dropped["id"]]) == sorted(frame["id"])
