"""The history of a row and the difference of two runs, over real builds."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from cards.parcel import parcel
from cards.view.server import open_page
from curation.errors import UserError
from factory.build import build
from factory.diff import causes, compare_runs
from factory.diff_shown import diff_runs
from factory.ledger_table import write_ledger
from factory.lineage import row_history
from factory.recipe import Changes, load_recipe

PROBLEMS = [
    {"problem": "Compute $1+1$ for the child.", "answer": "2"},
    {"problem": "Compute  $1 + 1$  for the child.", "answer": "2"},
    {"problem": "Find the sum of the first ten odd numbers.", "answer": "100"},
    {"problem": "How many positive divisors does 360 have?", "answer": "24"},
    {"problem": "What is the square of the number twelve?", "answer": "144"},
]
TRACES = [
    {"question": q["problem"], "model": model, "response": f"<think>\n{thought}\n</think>\n\n\\boxed{{{answer}}}"}
    for q in PROBLEMS
    for model, thought, answer in (("good", "short", q["answer"]), ("good", "a longer thought", q["answer"]), ("bad", "hm", "7"))
]


def _run(folder: Path, *assignments: str, benchmark: bool = False) -> Path:
    for name, rows in (("problems", PROBLEMS), ("traces", TRACES), ("tests", [{"question": PROBLEMS[3]["problem"]}])):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    changes = Changes(
        problems=(str(folder / "problems.jsonl"),),
        benchmarks=(str(folder / "tests.jsonl"),) if benchmark else (),
        teacher=f"replay:{folder / 'traces.jsonl'}",
        assignments=("choose.rule=shortest", *(() if benchmark else ("clean.benchmarks=[]",)), *assignments),
    )
    return build(load_recipe("openr1-math", changes), runs=folder / "runs")


def test_a_problem_tells_its_way_and_that_of_its_traces(tmp_path: Path) -> None:
    run = _run(tmp_path, benchmark=True)
    row = pl.read_parquet(run / "dataset" / "*.parquet").filter(pl.col("problem").str.contains("child")).row(0, named=True)
    told = row_history(run, row["problem_id"])
    for part in (
        "source     problems row 0",
        "(exact, 1.000)",
        "check gold     kept",
        "pass rate      bad: 0 of 1",
        "good: 2 of 2",
    ):
        assert part in told
    assert told.count("trace      ") == 6 and "verify     dropped: incorrect_different" in told
    assert "choose     dropped: not_chosen" in told
    assert f"example    {row['id']} of trace {row['trace_id']}" in told
    assert row_history(run, row["problem_id"][:10]) == told
    of_trace = row_history(run, row["trace_id"])
    assert of_trace.count("trace      ") == 1 and "  thinking short" in of_trace
    assert row_history(run, row["id"]) == of_trace


def test_a_dropped_problem_and_a_trace_without_one_say_why(tmp_path: Path) -> None:
    run = _run(tmp_path, benchmark=True)
    rejected = pl.read_parquet(run / "rejected" / "problems.parquet")
    away = rejected.filter(pl.col("step") == "decontaminate").row(0, named=True)
    told = row_history(run, away["id"])
    assert "decontaminate  dropped: in_tests question 0" in told
    assert "like tests question 0 (exact, 1.00, coverage from 0.75)" in told
    assert told.endswith("example    none")
    trace = pl.read_parquet(run / "rejected" / "traces.parquet").filter(pl.col("reason") == "in_tests").row(0, named=True)
    assert "dropped: in_tests" in row_history(run, trace["id"])


def test_an_id_that_is_not_there_or_not_one_is_refused(tmp_path: Path) -> None:
    run = _run(tmp_path)
    with pytest.raises(UserError, match="has the id 'zz'"):
        row_history(run, "zz")
    with pytest.raises(UserError, match="ids begin with ''"):
        row_history(run, "")
    with pytest.raises(UserError, match=r"not a finished run: it has no manifest\.json"):
        row_history(tmp_path, "a")


def test_the_difference_of_two_runs_names_rows_reasons_and_settings(tmp_path: Path) -> None:
    one, two = _run(tmp_path), _run(tmp_path, "choose.rule=longest", benchmark=True)
    told = diff_runs(one, two)
    assert 'choose.rule: "shortest" -> "longest"' in told
    assert "benchmark tests: null" in told or "benchmark tests: None" in told
    assert "4 examples of 4 problems before" in told and "3 examples of 3 problems after" in told
    assert "0 problems have the same examples, 3 others" in told
    assert "1 dropped there by decontaminate: in_tests; clean.benchmarks" in told
    back = diff_runs(two, one)
    assert "1 problems entered" in back and "dropped before by decontaminate" in back
    assert "the recipes are the same" in diff_runs(one, one)


def test_a_row_that_a_selection_dropped_names_the_rule(tmp_path: Path) -> None:
    one, two = _run(tmp_path), _run(tmp_path, "select=[{rule: mixture, by: source, size: 2}]")
    told = diff_runs(one, two)
    assert "2 dropped there by select mixture: over_quota; select" in told
    dropped = pl.read_parquet(two / "rejected" / "problems.parquet").filter(pl.col("step") == "select mixture")["id"][0]
    assert "select mixture dropped: over_quota" in row_history(two, dropped)


def test_a_problem_without_an_example_is_laid_to_the_steps_that_took_its_traces(tmp_path: Path) -> None:
    settings = ["traces.max_characters", "verify.judge", "choose.rule", "clean.ngram", "select.0.size"]
    assert causes("solve", "no_sound_trace", settings) == ("traces.max_characters",)
    assert causes("solve", "no_correct_trace", settings) == ("traces.max_characters", "verify.judge")
    assert causes("select mixture", "over_quota", settings) == ("choose.rule", "select.0.size")
    assert causes("decontaminate", "in_tests", settings) == ("clean.ngram",)
    semantic = ["clean.semantic_duplicates", "clean.semantic_model"]
    assert causes("duplicates", "semantic_duplicate", [*semantic, "sample.seed"]) == tuple(semantic)
    one, two = _run(tmp_path), _run(tmp_path, "traces.max_characters=10", "choose.rule=longest")
    page = tmp_path / "difference.html"
    assert "1 dropped there by solve" not in diff_runs(one, one, page) and "a longer thought" not in page.read_text("utf-8")
    told = diff_runs(one, two, page)
    assert f"written to {page}" in told and '"choose.rule"' in page.read_text("utf-8")


@pytest.mark.parametrize(
    ("changed", "caused"),
    [
        (["labels.0.given", "clean.ngram"], ("labels.0.given",)),
        (["difficulty.verdicts"], ("difficulty.verdicts",)),
        (["source.paths", "sample.in_flight", "executor.kind", "engine.port", "name"], ("source.paths",)),
        (["sample.temperature", "sample.timeout_s", "sample.price.input_usd"], ("sample.temperature",)),
        (["name", "audit.min_voters"], ()),
    ],
)
def test_what_a_selection_takes_is_laid_to_its_settings_or_to_all_that_change_rows(
    changed: list[str], caused: tuple[str, ...]
) -> None:
    assert causes("select mixture 2", "over_quota", changed) == caused


def test_a_change_inside_a_list_of_rules_stands_at_its_own_place(tmp_path: Path) -> None:
    rules = "[{rule: mixture, by: source, size: 2, seed: %d}, {rule: per_problem, k: %d}]"
    one, two = (_run(tmp_path, f"select={rules % numbers}") for numbers in ((0, 1), (8, 2)))
    told = diff_runs(one, two)
    assert "select.0.seed: 0 -> 8\nselect.1.k: 1 -> 2\n" in told
    assert "dropped there by select mixture: over_quota; select.0.seed, select.1.k (" in told
    more = diff_runs(one, _run(tmp_path, f"select={(rules % (0, 1))[:-1]}, {{rule: limo, size: 1}}]"))
    assert 'select.2: null -> {"rule": "limo", "size": 1, "weights": {}}' in more and "select.0" not in more


def test_a_selection_over_other_files_names_the_files(tmp_path: Path) -> None:
    select = "select=[{rule: mixture, by: source, size: 2, seed: 1}]"
    one = _run(tmp_path, select)
    further = [
        {"problem": f"Find the number of {word} in the old garden.", "answer": "2"} for word in ("roses", "lamps", "benches")
    ]
    (tmp_path / "other").mkdir()
    for name, rows in (("problems", [*PROBLEMS, *further]), ("traces", [*TRACES, *map(_further_trace, further)])):
        (tmp_path / "other" / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    changes = Changes(
        problems=(str(tmp_path / "other" / "problems.jsonl"),),
        teacher=f"replay:{tmp_path / 'traces.jsonl'}",
        assignments=("choose.rule=shortest", "clean.benchmarks=[]", select),
    )
    (tmp_path / "traces.jsonl").write_text((tmp_path / "other" / "traces.jsonl").read_text())
    told = diff_runs(one, build(load_recipe("openr1-math", changes), runs=tmp_path / "runs"))
    assert "dropped there by select mixture: over_quota; source.paths (" in told


def _further_trace(problem: dict[str, str]) -> dict[str, str]:
    return {"question": problem["problem"], "model": "good", "response": "<think>\nhm\n</think>\n\n\\boxed{2}"}


READERS: list[tuple[str, Callable[[Path, str], object]]] = [
    ("rejected/problems.parquet", row_history),
    ("dataset/train-00000-of-00001.parquet", row_history),
    ("rejected/traces.parquet", lambda run, _: write_ledger(run, run / "ledger.csv")),
    ("dataset/train-00000-of-00001.parquet", lambda run, _: compare_runs(run, run)),
    ("rejected/problems.parquet", lambda run, _: open_page(run)),
    ("dataset/train-00000-of-00001.parquet", lambda run, _: parcel(run, False)),
]


def test_half_a_copy_of_a_run_is_told_by_all_who_read_it(tmp_path: Path) -> None:
    run = _run(tmp_path)
    row = pl.read_parquet(run / "problems" / "*.parquet")["id"][0]
    for number, (table, read) in enumerate(READERS):
        copy = Path(shutil.copytree(run, tmp_path / f"copy-{number}"))
        (copy / table).write_bytes(b"PAR1 and no more of it")
        with pytest.raises(UserError, match=rf"copy-{number} is not whole \(.*: copy it again"):
            read(copy, row)
    (copy / table).unlink()
    with pytest.raises(UserError, match="is not whole"):
        parcel(copy, False)
