"""Selection, difficulty and filters inside a build: files, funnel, reasons."""

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from curation.errors import UserError
from factory.build import build
from factory.describe import run_summary
from factory.recipe import Changes, load_recipe

OREAL = "{rule: pass_rate, models: [small], preset: oreal}"
KINDS = ("algebra", "geometry", "counting")
# Each problem in words of its own: near duplicates are not what is tried here.
NOUNS = ("lantern", "river", "violin", "comet", "orchard", "glacier", "harbour", "pepper", "saddle", "thimble", "walnut", "zebra")
PROBLEMS = [
    {
        "problem": f"Each {noun} weighs {n} grams; say what {n + 2} of the {noun} kind weigh.",
        "answer": str(n * (n + 2)),
        "kind": KINDS[n % 3],
    }
    for n, noun in enumerate(NOUNS)
]


def _trace(problem: dict[str, str], model: str, thought: str, answer: str) -> dict[str, str]:
    return {"question": problem["problem"], "model": model, "response": f"<think>\n{thought}\n</think>\n\n\\boxed{{{answer}}}"}


def _traces() -> list[dict[str, str]]:
    rows = []
    for n, p in enumerate(PROBLEMS):
        rows += [_trace(p, "teacher", f"We check it {'and so on ' * k}, therefore {n}.", p["answer"]) for k in (1, n + 2)]
        rows += [
            _trace(p, "small", f"I guess {n} {k}.", p["answer"] if n % 4 == 0 or (n % 4 == 1 and k == 0) else "7") for k in range(4)
        ]
    return rows


def _run(folder: Path, *assignments: str, problems: list[dict[str, str]] = PROBLEMS) -> Path:
    for name, rows in (("problems", problems), ("traces", _traces())):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    changes = Changes(
        problems=(str(folder / "problems.jsonl"),),
        teacher=f"replay:{folder / 'traces.jsonl'}",
        assignments=("clean.benchmarks=[]", "choose.teachers=[teacher]", "choose.per_problem=9", *assignments),
    )
    return build(load_recipe("openr1-math", changes), runs=folder / "runs")


def _dataset(run: Path) -> pl.DataFrame:
    return pl.read_parquet(run / "dataset" / "*.parquet")


def _funnel(run: Path) -> dict[str, Any]:
    return {line["step"]: line for line in json.loads((run / "funnel.json").read_text())}


def _accounts_for(run: Path, problems: int, traces: int) -> None:
    examples = _dataset(run)
    away = {name: pl.read_parquet(run / "rejected" / f"{name}.parquet") for name in ("problems", "traces")}
    assert examples["problem_id"].n_unique() + away["problems"].height == problems
    assert examples["trace_id"].n_unique() + away["traces"].height == traces


def test_a_run_has_its_pass_rates_and_another_recipe_reads_them(tmp_path: Path) -> None:
    run = _run(tmp_path)
    table = pl.read_parquet(run / "difficulty.parquet").filter(pl.col("model") == "small")
    assert sorted(table["pass_rate"]) == [0.0] * 6 + [0.25] * 3 + [1.0] * 3
    assert set(table["judged"]) == {4}
    window = f"clean.pass_rate={{table: {run / 'difficulty.parquet'}, models: [small], low: 0.1, high: 0.5}}"
    narrow = _run(tmp_path, window)
    assert _funnel(narrow)["check gold"]["dropped"] == {"too_hard": 6, "too_easy": 3}
    assert _dataset(narrow)["problem_id"].n_unique() == 3
    dropped = pl.read_parquet(narrow / "rejected" / "problems.parquet")
    assert set(dropped["detail"]) == {"0 of 4", "4 of 4"}


def test_a_window_before_sampling_needs_a_table(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"clean\.pass_rate has no table"):
        _run(tmp_path, "clean.pass_rate={low: 0.5}")


def test_every_row_that_a_selection_drops_is_stored_with_its_reason(tmp_path: Path) -> None:
    window = "{rule: pass_rate, models: [small], high: 0.5}"
    rules = f"[{window}, {{rule: per_problem, k: 1, by: longest}}, {{rule: mixture, by: kind, size: 6}}]"
    run = _run(tmp_path, f"select={rules}")
    assert _dataset(run).height == 6
    _accounts_for(run, 12, 72)
    funnel = _funnel(run)
    assert funnel["pass_rate"]["dropped"] == {"too_easy": 6} and funnel["per_problem"]["dropped"] == {"not_chosen": 9}
    assert funnel["mixture"] == {"step": "mixture", "unit": "examples", "in": 9, "kept": 6, "dropped": {"over_quota": 3}}
    traces = pl.read_parquet(run / "rejected" / "traces.parquet")
    assert set(traces.filter(pl.col("step").str.starts_with("select"))["step"]) == {
        "select pass_rate",
        "select per_problem",
        "select mixture",
    }
    states = json.loads((run / "selection.json").read_text())
    assert [state["rule"] for state in states] == ["pass_rate", "per_problem", "mixture"]
    assert _run(tmp_path, f"select={rules}") == run


def test_oreals_repeats_stand_again_under_ids_of_their_own(tmp_path: Path) -> None:
    run = _run(tmp_path, f"select=[{OREAL}, {{rule: per_problem, k: 1, by: first}}]")
    assert _dataset(run).height == 9
    run = _run(tmp_path, "choose.per_problem=1", "select=[{rule: pass_rate, models: [small], preset: oreal}]")
    examples = _dataset(run)
    assert examples.height == 6 * 6 + 3 * 4 and examples["id"].n_unique() == examples.height
    assert examples["trace_id"].n_unique() == 9
    assert _funnel(run)["pass_rate"]["repeated"] == 39
    _accounts_for(run, 12, 72)


def test_s1k_over_a_run_keeps_wrong_traces_where_the_recipe_does(tmp_path: Path) -> None:
    rule = "{rule: s1k, size: 3, domain: kind, models: [small], mode: paper}"
    run = _run(tmp_path, "choose.per_problem=1", f"select=[{rule}]")
    funnel = _funnel(run)
    assert funnel["s1k: difficulty"]["dropped"] == {"solved_by_a_small_model": 6}
    assert funnel["s1k: draw"]["kept"] == 3 == _dataset(run).height
    wrong = _run(tmp_path, "choose.outcomes=[incorrect]", "choose.teachers=[small]", "choose.per_problem=1")
    assert set(_dataset(wrong)["outcome"]) == {"incorrect"}


def test_a_label_that_no_row_has_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no example has 'msc'.*kind"):
        _run(tmp_path, "select=[{rule: mixture, by: msc}]")
    with pytest.raises(UserError, match="no model 'other'; it has small, teacher"):
        _run(tmp_path, "select=[{rule: pass_rate, models: [other]}]")


def test_the_sources_own_domain_is_not_taken_for_what_golds_are_read_as(tmp_path: Path) -> None:
    labelled = [{**problem, "domain": problem["kind"]} for problem in PROBLEMS]
    with pytest.raises(UserError, match=r"'domain' is 'math' in every example.*wanted meta\.domain"):
        _run(tmp_path, "select=[{rule: mixture, by: domain}]", problems=labelled)
    run = _run(tmp_path, "select=[{rule: mixture, by: meta.domain, quotas: {algebra: 3}}]", problems=labelled)
    assert {json.loads(meta)["domain"] for meta in _dataset(run)["meta"]} == {"algebra"} and _dataset(run).height == 3


def test_limo_and_diversity_run_over_examples(tmp_path: Path) -> None:
    run = _run(tmp_path, "select=[{rule: limo, size: 8}, {rule: diverse, size: 4, dimensions: 8}]")
    assert _dataset(run).height == 4
    assert _funnel(run)["limo: best trace"]["dropped"] == {"not_best_of_problem": 12}
    assert _funnel(run)["diverse"]["dropped"] == {"like_a_taken_row": 4}
    _accounts_for(run, 12, 72)


def test_filters_drop_problems_and_traces_by_name(tmp_path: Path) -> None:
    problems = [*PROBLEMS, {"problem": "In the figure, find x.", "answer": "3", "kind": "geometry"}]
    run = _run(tmp_path, "clean.filters=[figures]", "choose.near_duplicates=0.3", problems=problems)
    assert _funnel(run)["read"]["dropped"] == {"figures": 1}
    assert _funnel(run)["choose"]["dropped"]["other_teacher"] == 15  # the small model's correct ones
    near = pl.read_parquet(run / "rejected" / "traces.parquet").filter(pl.col("reason") == "near_duplicate_trace")
    assert near.height and near["detail"].str.contains("Jaccard").all()
    pairs = pl.read_parquet(run / "trace_duplicates.parquet")
    assert pairs["dropped_id"].to_list() == near["id"].to_list() and set(pairs["method"]) == {"near"}
    assert (pairs["similarity"] >= 0.3).all() and not set(pairs["kept_id"]) & set(pairs["dropped_id"])
    assert not (_run(tmp_path, problems=problems) / "trace_duplicates.parquet").exists()


def test_traces_of_one_problem_in_other_words_are_pairs_too(tmp_path: Path) -> None:
    run = _run(tmp_path, "choose.semantic_duplicates=0.9", "choose.per_problem=9")
    alike = pl.read_parquet(run / "rejected" / "traces.parquet").filter(pl.col("reason") == "semantic_duplicate_trace")
    pairs = pl.read_parquet(run / "trace_duplicates.parquet")
    assert alike.height == pairs.height > 0 and set(pairs["method"]) == {"semantic"} and (pairs["similarity"] >= 0.9).all()
    kept = dict(_dataset(run).select("trace_id", "problem_id").iter_rows())
    assert all(kept[one] == row for one, row in zip(pairs["kept_id"], alike["problem_id"], strict=True))
    assert _dataset(_run(tmp_path, "choose.per_problem=9")).height == _dataset(run).height + pairs.height


def test_problems_without_a_gold_stay_where_the_recipe_says_so(tmp_path: Path) -> None:
    problems = [{**PROBLEMS[0], "answer": ""}, *PROBLEMS[1:]]
    run = _run(tmp_path, "clean.require_gold=false", "choose.without_gold=true", problems=problems)
    assert _funnel(run)["read"]["dropped"] == {}
    row = _dataset(run).filter(pl.col("problem") == PROBLEMS[0]["problem"])
    assert row.height and row["answer"].null_count() == row.height
    assert "no_gold" in _funnel(_run(tmp_path, problems=problems))["read"]["dropped"]
    bare = [{"problem": row["problem"]} for row in PROBLEMS]  # not even a column for them
    assert _dataset(_run(tmp_path, "clean.require_gold=false", "choose.without_gold=true", problems=bare)).height
    with pytest.raises(UserError, match="no column for the gold answer"):
        _run(tmp_path, problems=bare)


def test_semantic_duplicates_need_equal_golds_and_their_pairs_are_stored(tmp_path: Path) -> None:
    twin = {**PROBLEMS[3], "problem": f"Please say: {PROBLEMS[3]['problem']}"}
    other = {**PROBLEMS[4], "problem": f"Please say: {PROBLEMS[4]['problem']}", "answer": "1"}
    rules = ("clean.near_duplicates=null", "clean.semantic_duplicates=0.8")
    run = _run(tmp_path, *rules, problems=[*PROBLEMS, twin, other])
    assert _funnel(run)["duplicates"]["dropped"] == {"semantic_duplicate": 1}
    (pair,) = pl.read_parquet(run / "duplicates.parquet").to_dicts()
    assert pair["method"] == "semantic" and 0.8 <= pair["similarity"] <= 1.0001


def test_openthoughts_fuzzy_rule(tmp_path: Path) -> None:
    (tmp_path / "bench.jsonl").write_text(json.dumps({"question": PROBLEMS[2]["problem"].replace(";", ",")}) + "\n")
    bench = f"clean.benchmarks=[{{name: bench, path: {tmp_path / 'bench.jsonl'}}}]"
    assert _funnel(_run(tmp_path, bench, "clean.rule=fuzzy"))["decontaminate"]["dropped"] == {"in_bench": 1}
    assert _funnel(_run(tmp_path, bench, "clean.rule=fuzzy", "clean.fuzzy_ratio=99"))["decontaminate"]["dropped"] == {}


def test_neighbours_beside_the_rule_are_evidence_under_their_own_name(tmp_path: Path) -> None:
    question = f"A {NOUNS[2]} weighs 2 grams; the {NOUNS[2]} kind, 4 of it: say its weight."
    rows = [{"question": question}, {"question": PROBLEMS[5]["problem"]}]
    (tmp_path / "bench.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    bench = f"clean.benchmarks=[{{name: bench, path: {tmp_path / 'bench.jsonl'}}}]"
    plain, near = _run(tmp_path, bench), _run(tmp_path, bench, "clean.neighbours=0.4")
    assert _funnel(plain)["decontaminate"]["dropped"] == {"in_bench": 1}
    assert _funnel(near)["decontaminate"]["dropped"] == {"in_bench": 2}
    found = pl.read_parquet(near / "contamination.parquet").sort("benchmark_index")
    assert found["rule"].to_list() == ["tfidf", "exact"] and found["question"][0] == question
    assert '"neighbours": 0.4' in (near / "README.md").read_text()


def test_traces_of_a_dropped_problem_say_why_even_where_its_copies_were_dropped_before(tmp_path: Path) -> None:
    question = f"Please tell me this. {PROBLEMS[5]['problem']} Thank you."
    (tmp_path / "bench.jsonl").write_text(json.dumps({"question": PROBLEMS[5]["problem"]}) + "\n")
    bench = f"clean.benchmarks=[{{name: bench, path: {tmp_path / 'bench.jsonl'}}}]"
    polite = {**PROBLEMS[5], "problem": question}
    problems = [*PROBLEMS[:5], polite, polite]
    for name, rows in (("problems", problems), ("traces", [_trace(polite, "teacher", "Hm, 5.", polite["answer"])])):
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    changes = Changes(
        problems=(str(tmp_path / "problems.jsonl"),), teacher=f"replay:{tmp_path / 'traces.jsonl'}", assignments=(bench,)
    )
    funnel = _funnel(build(load_recipe("openr1-math", changes), runs=tmp_path / "runs"))
    assert funnel["duplicates"]["dropped"] == {"exact_duplicate": 1} and funnel["decontaminate"]["dropped"] == {"in_bench": 1}
    assert funnel["replay"]["dropped"] == {"problem_in_bench": 1}


def test_what_a_rule_asked_for_and_did_not_get_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "132")
    mixed = "{rule: mixture, by: kind, weights: {algebra: 3, geometry: 1}, size: 40}"
    text = run_summary(_run(tmp_path, f"select=[{mixed}, {{rule: limo, size: 900}}]"))
    assert "short      mixture: 16 of 40 rows, algebra 8 of 30, geometry 8 of 10: no more were there to take\n" in text
    assert "short      limo: 8 of 900 rows: no more were there to take\n" in text
    quotas = "{rule: mixture, by: kind, quotas: {algebra: 2, geometry: 9}}"
    text = run_summary(_run(tmp_path, f"select=[{quotas}, {{rule: limo, size: 5}}]"))
    assert text.count("short      ") == 1 and "mixture: geometry 8 of 9: no more" in text


STRANGE = "has the pass rates of 1 problems, and none of the 12 here: a problem is known by its domain"


@pytest.mark.parametrize(
    "setting",
    [
        "clean.pass_rate={table: TABLE, high: 0.5}",
        "select=[{rule: pass_rate, table: TABLE, high: 0.5}]",
        "select=[{rule: mixture, by: pass_rate, table: TABLE, edges: [0.5]}]",
        "select=[{rule: s1k, domain: kind, models: [small], table: TABLE}]",
    ],
)
def test_a_table_of_other_problems_is_refused(tmp_path: Path, setting: str) -> None:
    (tmp_path / "t.csv").write_text("problem_id,model,correct,judged\n0123456789abcdef,small,1,4\n")
    with pytest.raises(UserError, match=STRANGE):
        _run(tmp_path, setting.replace("TABLE", str(tmp_path / "t.csv")))


def test_a_teacher_of_whom_no_trace_is_there_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "132")
    text = run_summary(_run(tmp_path, "choose.teachers=[teacher, smal]"))
    assert "unknown    no trace is of smal (choose.teachers); there are small, teacher\n" in text
    assert "unknown  " not in run_summary(_run(tmp_path))
