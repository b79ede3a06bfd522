import gzip
import json
from pathlib import Path

import polars as pl
import pytest

from curation.errors import UserError
from curation.files import read_rows, read_yaml, write_atomic, write_table

ROWS = [{"a": "x\u2028y", "b": 1}, {"a": 'quo"ted,\nline', "b": 2}]


def _write(path, rows):
    lines = "".join(json.dumps(r, ensure_ascii=False) + "\n" for r in rows).encode()
    if path.suffix == ".parquet":
        pl.DataFrame(rows).write_parquet(path)
    elif path.suffix == ".csv":
        pl.DataFrame(rows).write_csv(path)
    elif path.suffix == ".json":
        path.write_text(json.dumps(rows))
    else:
        path.write_bytes(gzip.compress(lines) if path.suffix == ".gz" else lines)


@pytest.mark.parametrize("name", ["r.jsonl", "r.jsonl.gz", "r.json", "r.parquet", "r.csv"])
def test_rows_come_back_in_order_from_every_format(tmp_path, name):
    _write(tmp_path / name, ROWS)
    found = list(read_rows(tmp_path / name))
    assert [r["a"] for r in found] == [r["a"] for r in ROWS]
    assert [int(r["b"]) for r in found] == [1, 2]


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("r.jsonl", b'{"a": 1}\n{"a": \n', "line 2 is not JSON"),
        ("r.jsonl", b"[1]\n", "line 1 is a list"),
        ("r.json", b'{"a": 1}', "no list of objects"),
        ("r.json", b'{"a": 1}\n{"a": 2}', "name it .jsonl"),
        ("r.txt", b"a", "cannot tell"),
        ("r.parquet", b"PAR1 no", "not a whole Parquet file"),
        ("r.jsonl.gz", b"not gzip", "not a whole gzip file"),
        ("r.csv", b"a,b\n\xff\xfe,1\n", "not UTF-8"),
        ("r.jsonl", '{"a": "ä"}\n'.encode("latin-1"), "not UTF-8"),
        ("r.jsonl", '{"a": "x"}\n'.encode("utf-16"), "not UTF-8"),
        ("r.json", '[{"a": "ä"}]'.encode("latin-1"), "not UTF-8"),
        ("r.jsonl", b'{"a": ' + b"[" * 100_000 + b"]" * 100_000 + b"}\n", "line 1 is not JSON (maximum recursion depth"),
        ("r.json", b"[" * 100_000 + b"]" * 100_000, "is not one JSON value"),
        ("r.csv", b"a,b\n1,2\n1,2,3\n", "line 3 has more cells than columns"),
        ("r.csv", b"a,b\r1,2\r", "is not CSV (new-line character"),
    ],
)
def test_what_cannot_be_read_is_named(tmp_path, name, content, says):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError) as error:
        list(read_rows(tmp_path / name))
    assert says in str(error.value) and name in str(error.value)


def test_a_parquet_file_with_a_damaged_page_is_named(tmp_path):
    path = tmp_path / "r.parquet"
    pl.DataFrame({"a": [f"{n} {n * n}" for n in range(50_000)]}).write_parquet(path)
    data = path.read_bytes()
    third = len(data) // 3
    path.write_bytes(data[:third] + b"\xff" * third + data[2 * third :])
    with pytest.raises(UserError, match=r"r\.parquet is not a whole Parquet file"):
        list(read_rows(path))


def test_yaml_that_is_no_text_is_named(tmp_path):
    (tmp_path / "r.yaml").write_bytes(b"\xff\xfe")
    with pytest.raises(UserError, match=r"r\.yaml is not YAML"):
        read_yaml(tmp_path / "r.yaml")


def test_a_missing_file_is_named():
    with pytest.raises(UserError, match=r"no file 'nowhere\.jsonl'"):
        list(read_rows(Path("nowhere.jsonl")))


def test_a_csv_cell_may_hold_a_whole_trace(tmp_path):
    _write(tmp_path / "r.csv", [{"a": "x" * 200_000}])
    assert len(next(read_rows(tmp_path / "r.csv"))["a"]) == 200_000


def test_writing_replaces_whole_files_and_leaves_nothing_beside(tmp_path):
    write_atomic(tmp_path / "a.txt", "one")
    write_atomic(tmp_path / "a.txt", "two")
    assert [(p.name, p.read_text()) for p in tmp_path.iterdir()] == [("a.txt", "two")]


def test_the_same_table_gives_the_same_bytes(tmp_path):
    frame = pl.DataFrame({"a": [f"text {i % 50}" for i in range(25_000)], "b": range(25_000)})
    for name in ("one", "two"):
        write_table(frame.clone(), tmp_path / name)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
