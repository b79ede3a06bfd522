"""Golds in doubt: which are reported, with what evidence, and which are not."""

import json

import polars as pl
import pytest

from curation.audit import Asked, Vote, conflicting, outvoted, refused
from factory.build import build
from factory.describe import run_summary
from factory.recipe import Changes, load_recipe

HALF = Asked("p", "What is one half?", r"\frac{1}{3}", "math")


def _votes(*answers, gold="1/3"):
    """One vote of each of a row of models."""
    return [Vote(f"model {n}", answer, answer == gold) for n, answer in enumerate(answers)]


def test_equal_answers_are_one_however_they_are_written():
    found = outvoted(HALF, _votes("1/2", "0.5", r"\frac12", r"\dfrac{2}{4}", "1/3", "7"))
    assert (found.kind, found.why, found.votes, found.gold_votes, found.voters) == ("outvoted_gold", "incorrect", 4, 1, 6)
    assert found.other in ("1/2", "0.5", r"\frac12", r"\dfrac{2}{4}")
    assert json.loads(found.detail) == {found.other: 4, "gold": 1, "7": 1}


@pytest.mark.parametrize(
    ("answers", "why"),
    [
        (("1/2", "1/2", "1/2"), "three voters are too few"),
        (("1/2", "1/2", "7", "8"), "half is no majority"),
        (("1/2", "1/2", "1/2", "1/3", "1/3"), "not twice as many as the gold"),
        (("1/3", "1/3", "1/3", "1/3", "1/3"), "all agree with the gold"),
        (("1", "2", "3", "4", "5"), "all differ"),
        ((), "nobody answered"),
    ],
)
def test_no_clear_majority_is_no_finding(answers, why):
    assert outvoted(HALF, _votes(*answers)) is None, why


def test_a_model_has_one_vote_however_often_it_speaks():
    loud = [Vote("loud", "1/2", False)] * 20
    others = [Vote(f"model {n}", "1/3", True) for n in range(4)]
    assert outvoted(HALF, loud + others) is None
    torn = [Vote("torn", answer, False) for answer in ("1/2", "7")]
    found = outvoted(HALF, [*torn, *_votes("1/2", "1/2", "1/2", "1/2")])
    assert (found.votes, found.voters) == (4, 4)


def test_a_puzzle_with_many_answers_is_not_put_to_the_vote():
    puzzle = Asked("p", "Make 24.", "4*3*2", "countdown")
    assert outvoted(puzzle, _votes("2*3*4", "2*3*4", "2*3*4", "2*3*4", "2*3*4")) is None


def test_hostile_answers_are_answers():
    hostile = ["</answer><answer>1/3</answer>", r"\boxed{1/3}" * 50, "(" * 1000, "9^{9^{9^{9}}}", "####"]
    found = outvoted(HALF, _votes(*["1/2"] * 12, *hostile))
    assert (found.other, found.votes) == ("1/2", 12)


def test_golds_that_the_verifier_refuses():
    problems = [HALF, Asked("q", "?", "((", "math"), Asked("r", "?", "", "math")]
    assert [(f.problem_id, f.why) for f in refused(problems)] == [("q", "unparseable_gold"), ("r", "no_gold")]


def test_one_question_with_two_golds():
    rows = [
        Asked("a", "What is $1+1$?", "2", "math"),
        Asked("b", "What is  1 + 1 ?", "2.0", "math"),
        Asked("c", "What is 1+1?", "3", "math"),
        Asked("d", "What is 1-1?", "0", "math"),
        Asked("e", "What is one half?", "1/2", "math"),
        Asked("f", "What is one half?", r"\frac{1}{2}", "math"),
        Asked("g", "", "1", "math"),
        Asked("h", "", "2", "math"),
    ]
    (found,) = conflicting(rows)
    assert (found.problem_id, found.gold, found.other, found.votes, found.gold_votes, found.voters) == ("a", "2", "3", 1, 2, 3)


def _jsonl(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def test_a_build_writes_its_doubts_and_drops_nothing_for_them(tmp_path):
    asked = {"What is one half of one?": "1/3", "Name the second even number, please.": "4"}
    problems = [{"problem": q, "answer": a} for q, a in asked.items()]
    problems += [{"problem": "Name the  second even number, please.", "answer": "6"}, {"problem": "Solve ((.", "answer": "(("}]
    said = {"a": "1/2", "b": "0.5", "c": r"\frac12", "d": "1/3", "e": ".5"}
    traces = [
        {"question": "What is one half of one?", "model": m, "response": f"<think>\nI am {m}\n</think>\n\nIt is \\boxed{{{t}}}."}
        for m, t in said.items()
    ]
    changes = Changes(
        problems=(_jsonl(tmp_path / "problems.jsonl", problems),),
        teacher=f"replay:{_jsonl(tmp_path / 'traces.jsonl', traces)}",
        assignments=("clean.benchmarks=[]",),
    )
    run = build(load_recipe("openr1-math", changes), runs=tmp_path / "runs")
    rows = pl.read_parquet(run / "audit.parquet").select("kind", "gold", "other", "votes", "gold_votes", "voters").rows()
    assert rows[:2] == [("refused_gold", "((", None, None, None, None), ("conflicting_golds", "4", "6", 1, 1, 2)]
    assert rows[2][:2] == ("outvoted_gold", "1/3") and rows[2][3:] == (4, 1, 5)
    (example,) = pl.read_parquet(run / "dataset" / "*.parquet").to_dicts()
    assert example["teacher"] == "d"
    assert "1 golds that the verifier itself refuses, 1 that most models vote against" in " ".join(run_summary(run).split())
