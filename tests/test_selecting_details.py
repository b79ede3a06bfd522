"""What a selection leaves behind: its whole settings, and of every row it dropped what was measured of it."""

import json
from pathlib import Path

import polars as pl
import pytest
from pydantic import TypeAdapter

from curation.errors import UserError
from curation.selection import Selection
from curation.selection.diversity import diverse
from curation.selection.limo import limo
from curation.selection.mixture import mixture
from curation.selection.pass_rate import Band, by_pass_rate
from curation.selection.per_problem import per_problem
from curation.selection.s1k import s1k
from curation.vectors import tfidf_svd
from factory.build import build
from factory.lineage import row_history
from factory.recipe import Changes, load_recipe
from factory.rules import Select

NOUNS = ("lantern", "river", "violin", "comet", "orchard", "glacier")
PROBLEMS = [
    {
        "problem": f"Each {noun} weighs {n} grams; say what {n + 2} of the {noun} kind weigh.",
        "answer": str(n * (n + 2)),
        "kind": kind,
    }
    for n, (noun, kind) in enumerate(zip(NOUNS, "ababab", strict=True))
]


def _trace(problem: dict[str, str], model: str, thought: str, answer: str) -> dict[str, str]:
    response = f"<think>\n{thought}\n</think>\n\n\\boxed{{{answer}}}"
    return {"question": problem["problem"], "model": model, "response": response}


def _run(folder: Path, rules: str) -> Path:
    traces = [_trace(p, "teacher", f"We check {'and so on ' * k}, perhaps {k}.", p["answer"]) for p in PROBLEMS for k in (1, 9)]
    traces += [_trace(p, "small", f"I guess {n}.", p["answer"] if n < 2 else "7") for n, p in enumerate(PROBLEMS)]
    for name, rows in (("problems", PROBLEMS), ("traces", traces)):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    changes = Changes(
        problems=(str(folder / "problems.jsonl"),),
        teacher=f"replay:{folder / 'traces.jsonl'}",
        assignments=("clean.benchmarks=[]", "choose.teachers=[teacher]", "choose.per_problem=2", f"select={rules}"),
    )
    return build(load_recipe("openr1-math", changes), runs=folder / "runs")


def _details(run: Path, step: str) -> list[str]:
    away = pl.read_parquet(run / "rejected" / "traces.parquet").filter(pl.col("step") == f"select {step}")
    return sorted(away["detail"])


def test_every_row_that_a_rule_drops_says_what_was_measured_of_it(tmp_path: Path) -> None:
    rate, mixed = "{rule: pass_rate, models: [small], high: 0.5}", "{rule: mixture, by: kind, size: 3, seed: 4}"
    run = _run(tmp_path, f"[{rate}, {mixed}, {{rule: limo, size: 1}}]")
    assert _details(run, "pass_rate") == ["rate 1.0000"] * 4
    assert set(_details(run, "mixture")) == {"group a", "group b"}
    assert all(text.startswith("score ") and text.endswith(" of 3") for text in _details(run, "limo"))
    rejected = pl.read_parquet(run / "rejected" / "problems.parquet").filter(pl.col("step").str.starts_with("select"))
    assert rejected.height == 5 and "" not in rejected["detail"].to_list()
    dropped = rejected.filter(pl.col("step") == "select pass_rate")["id"][0]
    assert "rate 1.0000" in row_history(run, dropped)


def test_s1k_says_who_solved_a_problem_and_how_a_trace_ranks(tmp_path: Path) -> None:
    run = _run(tmp_path, "[{rule: per_problem, k: 1, by: longest}, {rule: s1k, size: 1, domain: kind, models: [small], seed: 2}]")
    assert _details(run, "per_problem") == ["rank 2 of its problem by longest"] * 6
    said = [text.split(", ") for text in _details(run, "s1k")]
    assert [parts[0] for parts in said if parts[2] == "solved by small"] == ["domain a", "domain b"]
    assert len(said) == 5 and {parts[2] for parts in said} <= {"solved by small", "rank 1 of 2", "rank 2 of 2"}


def test_a_rules_whole_settings_are_kept_so_that_it_can_be_repeated(tmp_path: Path) -> None:
    run = _run(tmp_path, "[{rule: mixture, by: kind, weights: {a: 2, b: 1}, size: 6}, {rule: limo, size: 2}]")
    states = json.loads((run / "selection.json").read_text())
    assert states[0]["settings"]["weights"] == {"a": 2, "b": 1} and states[0]["settings"]["size"] == 6
    for state in states:
        rule = TypeAdapter(Select).validate_python({key: value for key, value in state["settings"].items() if key != "digest"})
        assert rule.rule == state["rule"]
    kept = pl.read_parquet(run / "dataset" / "*.parquet")
    assert set(states[1]["scores"]) == set(kept["id"]) and all(isinstance(score, float) for score in states[1]["scores"].values())


POOL = pl.DataFrame(
    {
        "id": ["a", "b", "c"],
        "problem_id": ["p", "p", "q"],
        "problem": ["Find x of 2.", "Find x of 3.", "Prove that it is so."],
        "source": ["web", "web", None],
        "domain": ["11", "11", None],
        "length": [30, 90, 20],
        "characters": [30, 90, 20],
        "correct": [True, True, True],
        "easy": [False, False, True],
        "words": [1.0, 3.0, 2.0],
        "pass_rate": [0.25, None, 1.0],
        "low": [0.1, 0.0, 0.6],
        "high": [0.5, 1.0, 1.0],
    }
)


@pytest.mark.parametrize(
    ("done", "details"),
    [
        (
            limo(POOL, size=1, weights={"words": 2.0}),
            [f"score {z}, rank {n} of 3" for z, n in (("-2.4495", 3), ("2.4495", 1), ("0.0000", 2))],
        ),
        (by_pass_rate(POOL, (Band(0.1, 0.5),)), ["rate 0.2500", "", "rate 1.0000"]),
        (by_pass_rate(POOL, (Band(0.1, 0.5),), surely=True), ["rate 0.2500, 0.100 to 0.500", "", "rate 1.0000, 0.600 to 1.000"]),
        (mixture(POOL, by="source"), ["group web", "group web", ""]),
        (
            per_problem(POOL, k=1, by="shortest"),
            ["rank 1 of its problem by shortest", "rank 2 of its problem by shortest", "rank 1 of its problem by shortest"],
        ),
        (
            s1k(POOL.with_columns(pl.col("source").fill_null("")), size=1, mode="paper", seed=0),
            ["domain 11, length 30, rank 2 of 2", "domain 11, length 90, rank 1 of 2", "no domain"],
        ),
    ],
)
def test_details(done: Selection, details: list[str]) -> None:
    assert done.details == details


def test_a_row_that_is_like_another_says_which() -> None:
    done = diverse(POOL, tfidf_svd(POOL["problem"].to_list(), 3, 0), size=2, method="k_centre")
    (away,) = [row for row, reason in enumerate(done.reasons) if reason]
    assert done.details[away] == f"cosine {float(done.details[away].split()[1]):.2f} to {'ab'[away == 0]}"
    assert diverse(POOL.clear(), tfidf_svd(POOL["problem"].to_list(), 3, 0)[:0], size=2, method="k_centre").details == []


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ("by: words, edges: [800, 200]", "edges must ascend"),
        ("by: kind, weights: {a: -1, b: 2}", r"select.0.mixture.weights.a: input should be greater than or equal to 0"),
        ("by: kind, weights: {a: 0}", "all weights are 0"),
        ("by: kind, quotas: {a: -3}", "greater than or equal to 0"),
        ("by: words, edges: [.nan]", "finite number"),
        ("by: kind, edges: [1, 2]", "edges cut a number, and kind holds others, such as 'a'"),
    ],
)
def test_a_mixture_that_shares_nothing_out_is_refused(tmp_path: Path, settings: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        _run(tmp_path, f"[{{rule: mixture, {settings}}}]")
