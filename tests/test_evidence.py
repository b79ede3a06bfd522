"""contamination.parquet of a build: benchmark, revision, method, threshold, matched pair and score."""

import hashlib
import json
from pathlib import Path

import polars as pl
import pytest
from test_selecting import NOUNS, PROBLEMS, _funnel, _run


def test_neighbours_are_a_method_of_their_own(tmp_path: Path) -> None:
    question = f"A {NOUNS[2]} weighs 2 grams; the {NOUNS[2]} kind, 4 of it: say its weight."
    rows = [{"question": question}, {"question": PROBLEMS[5]["problem"]}]
    (tmp_path / "bench.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    bench = f"clean.benchmarks=[{{name: bench, path: {tmp_path / 'bench.jsonl'}}}]"
    found = pl.read_parquet(_run(tmp_path, bench, "clean.neighbours=0.4") / "contamination.parquet").sort("benchmark_index")
    assert found["method"].to_list() == ["neighbours", "coverage"] and found["threshold"].to_list() == [0.4, 0.75]
    assert (found["score"] >= found["threshold"]).all()
    assert set(found["revision"]) == {"sha256:" + hashlib.sha256((tmp_path / "bench.jsonl").read_bytes()).hexdigest()[:16]}


@pytest.mark.parametrize(
    ("settings", "threshold", "said"),
    [
        (["clean.min_coverage=0.5"], 0.5, '"rule": "coverage", "ngram": 8, "min_coverage": 0.5'),
        (["clean.rule=ngram"], 0.0, '"rule": "ngram", "ngram": 8'),
        (["clean.rule=verbatim"], 0.0, '"rule": "verbatim", "ngram": 8'),
        (["clean.rule=fuzzy", "clean.fuzzy_ratio=96"], 0.96, '"rule": "fuzzy", "fuzzy_ratio": 96'),
    ],
)
def test_evidence_names_every_benchmark_its_revision_the_method_and_its_threshold(
    tmp_path: Path, settings: list[str], threshold: float, said: str
) -> None:
    for name in ("one", "two"):
        (tmp_path / f"{name}.jsonl").write_text(json.dumps({"question": PROBLEMS[2]["problem"], "from": name}) + "\n")
    benches = [f"{{name: {name}, path: {tmp_path / name}.jsonl}}" for name in ("one", "two")]
    run = _run(tmp_path, f"clean.benchmarks=[{', '.join(benches)}]", *settings)
    assert _funnel(run)["decontaminate"]["dropped"] == {"in_one": 1}
    found = pl.read_parquet(run / "contamination.parquet")
    listed = {b["name"]: b["revision"] for b in json.loads((run / "manifest.json").read_text())["benchmarks"]}
    assert dict(zip(found["benchmark"], found["revision"], strict=True)) == listed and len(set(listed.values())) == 2
    assert found["method"].unique().to_list() == [json.loads(f"{{{said}}}")["rule"]]
    assert found["threshold"].unique().to_list() == [threshold]
    assert said in (run / "README.md").read_text()


def test_the_least_coverage_is_a_setting(tmp_path: Path) -> None:
    question = PROBLEMS[2]["problem"] + " " + " ".join(f"further{n}" for n in range(12))
    (tmp_path / "bench.jsonl").write_text(json.dumps({"question": question}) + "\n")
    bench = f"clean.benchmarks=[{{name: bench, path: {tmp_path / 'bench.jsonl'}}}]"
    assert _funnel(_run(tmp_path, bench))["decontaminate"]["dropped"] == {}
    assert _funnel(_run(tmp_path, bench, "clean.min_coverage=0.2"))["decontaminate"]["dropped"] == {"in_bench": 1}
