"""`factory verify` on files: columns, order, both kinds of output, the summary, one row explained, golds audited."""

import json

import polars as pl
import pytest

from curation.errors import UserError
from factory.grading import Wanted, audit_file, explain_row, grade_file


def _wanted(path, rows, *, gold=None, response=None, domain="math"):
    if path.name.endswith(".parquet"):
        pl.DataFrame(rows).write_parquet(path)
    else:
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return Wanted(path, gold, response, domain, 1)


def _read(path):
    return [json.loads(line) for line in path.read_text().split("\n") if line]


ROWS = [
    {"answer": "1/2", "model": "a", "response": "So \\boxed{0.5}."},
    {"answer": "1/2", "model": "b", "response": ["\\boxed{0.5}", "\\boxed{2}"]},
    {"answer": 4.0, "model": "b", "response": None},
]


def test_rows_keep_their_order_and_a_list_gives_a_row_each(tmp_path):
    out = tmp_path / "new" / "graded.jsonl"
    summary = grade_file(_wanted(tmp_path / "f.jsonl", ROWS), out)
    graded = _read(out)
    assert [(g["model"], g["response"], g["outcome"], g["why"], g["extracted"], g["rule"]) for g in graded] == [
        ("a", "So \\boxed{0.5}.", "correct", "equal", "0.5", "boxed"),
        ("b", "\\boxed{0.5}", "correct", "equal", "0.5", "boxed"),
        ("b", "\\boxed{2}", "incorrect", "different", "2", "boxed"),
        ("b", None, "incorrect", "no_answer", None, None),
    ]
    assert all(g["seconds"] >= 0 for g in graded)
    assert list(out.parent.iterdir()) == [out]
    assert "4 responses in column 'response' against golds in 'answer'" in summary
    assert "correct              2   50.0%  2 equal" in summary


def test_the_summary_counts_each_model(tmp_path):
    *_, a, b = grade_file(_wanted(tmp_path / "f.jsonl", ROWS), None).splitlines()
    assert a.split() == ["a", "1", "1", "0", "0", "100.0%"]
    assert b.split() == ["b", "3", "1", "2", "0", "33.3%"]


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ({"gold": "2", "completion": "\\boxed{2}"}, "completion"),
        ({"question": "1+1?", "ground_truth": "2", "responses": ["\\boxed{2}"]}, "responses"),
        ({"prompt": "1+1?", "solution": "So \\boxed{2}", "generations": ["\\boxed{2}"]}, "generations"),
        ({"target": "2", "messages": [{"role": "user", "content": "3"}, {"role": "assistant", "content": "2"}]}, "messages"),
        ({"gold": "2", "completions": [[{"role": "assistant", "content": "\\boxed{2}"}]]}, "completions"),
        ({"gold": ["2"], "pred": 2}, "pred"),
    ],
)
def test_columns_by_their_usual_names(tmp_path, row, expected):
    summary = grade_file(_wanted(tmp_path / "f.jsonl", [row]), None)
    assert f"1 responses in column {expected!r}" in summary and "100.0%" in summary


def test_parquet_in_and_out_keeps_types(tmp_path):
    rows = [{"id": n, "answer": str(n), "response": [f"\\boxed{{{n}}}", "-1"], "score": n / 2, "none": None} for n in range(1200)]
    out = tmp_path / "out.parquet"
    grade_file(_wanted(tmp_path / "in.parquet", rows), out)
    frame = pl.read_parquet(out)
    assert frame.height == 2400 and frame["id"].to_list() == [n for n in range(1200) for _ in "ab"]
    assert (frame.schema["id"], frame.schema["score"], frame.schema["none"]) == (pl.Int64, pl.Float64, pl.String)
    assert frame["outcome"].to_list() == ["correct", "incorrect"] * 1200


def test_a_column_that_fills_late_or_appears_late(tmp_path):
    rows = [{"answer": "1", "response": "1", "note": None} for _ in range(1500)] + [
        {"answer": "1", "response": "1", "note": "x", "new": 1.5}
    ]
    grade_file(_wanted(tmp_path / "in.jsonl", rows), tmp_path / "out.parquet")
    assert pl.read_parquet(tmp_path / "out.parquet").select("note", "new").tail(2).rows() == [(None, None), ("x", 1.5)]


@pytest.mark.parametrize("rows_between", [0, 1500])
def test_a_column_of_two_kinds_wants_json_lines(tmp_path, rows_between):
    rows = [{"answer": "1", "response": "1", "mixed": 1}] * (1 + rows_between)
    wanted = _wanted(tmp_path / "in.jsonl", [*rows, {"answer": "1", "response": "1", "mixed": "two"}])
    with pytest.raises(UserError, match=r"column 'mixed' does not fit into Parquet.*write \.jsonl instead"):
        grade_file(wanted, tmp_path / "out.parquet")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in.jsonl"]
    grade_file(wanted, tmp_path / "out.jsonl")
    assert [row["mixed"] for row in _read(tmp_path / "out.jsonl")] == [1] * (1 + rows_between) + ["two"]


def test_hostile_text_comes_through_unchanged(tmp_path):
    said = "half \ud83d, line\u2028separator, \x00, <answer>\\boxed{1}</answer>"
    grade_file(_wanted(tmp_path / "in.jsonl", [{"answer": "1", "response": said}]), tmp_path / "out.jsonl")
    (row,) = _read(tmp_path / "out.jsonl")
    assert row["response"] == said


def test_columns_of_an_earlier_run_are_replaced_and_that_is_said(tmp_path):
    rows = [{"answer": "1", "response": "1", "outcome": "incorrect"}]
    summary = grade_file(_wanted(tmp_path / "in.jsonl", rows), tmp_path / "out.jsonl")
    assert "its columns outcome are of this run" in summary
    assert _read(tmp_path / "out.jsonl")[0]["outcome"] == "correct"


def test_usual_names_of_columns_are_known_in_any_case(tmp_path):
    summary = grade_file(_wanted(tmp_path / "in.jsonl", [{"Answer": "1", "Response": "\\boxed{1}"}]), None)
    assert "1 responses in column 'Response' against golds in 'Answer'" in summary


def test_mistakes_are_named_before_anything_is_judged(tmp_path):
    wanted = _wanted(tmp_path / "in.jsonl", [{"a": 1, "answer": "1"}])
    with pytest.raises(UserError, match="no column with a usual name for --response; it has a, answer"):
        grade_file(wanted, None)
    with pytest.raises(UserError, match="no column 'b'; it has a, answer: name the right one with --gold"):
        grade_file(wanted._replace(gold="b"), None)
    with pytest.raises(UserError, match=r"wanted a name that ends in \.jsonl or \.parquet"):
        grade_file(wanted, tmp_path / "out.csv")
    with pytest.raises(UserError, match="has no rows"):
        grade_file(_wanted(tmp_path / "empty.jsonl", []), None)


def test_a_row_is_explained(tmp_path):
    rows = [
        {"answer": "#### 18", "response": "<think>\nlet me see</think> It is \\boxed{\\$18}."},
        {"answer": "(1, 2]", "response": ["The answer is 7", "\\boxed{1 < x \\le 2}"]},
        {"answer": "18", "response": "<think>and so on"},
        {"answer": "5", "response": "\\boxed{\\int_0^1 y dy}"},
    ]
    wanted = _wanted(tmp_path / "in.jsonl", rows)
    first = explain_row(wanted, 0)
    assert "gold        #### 18" in first and "thinking    10 characters, form think" in first
    assert "by rule     boxed, the last \\boxed{}" in first
    assert "answer tree 18" in first and "decided by  the exact tier" in first
    assert "verdict     correct: equal, the answer says what the gold says" in first
    second = explain_row(wanted, 1)
    assert second.count("row 1 of in.jsonl") == 2
    assert "by rule     answer_is" in second and "correct: equal" in second
    assert "unclosed_thought, the thinking never ends" in explain_row(wanted, 2)
    assert "decided by  the slow tier: math-verify in a worker" in explain_row(wanted, 3)
    with pytest.raises(UserError, match=r"--explain 4: in\.jsonl has rows 0 to 3"):
        explain_row(wanted, 4)


def test_a_row_of_a_puzzle_is_explained(tmp_path):
    wanted = _wanted(tmp_path / "in.jsonl", [{"gold": "2*3*4", "response": "\\boxed{2*3+4}"}], domain="countdown")
    assert "incorrect: wrong_value, the expression has another value than the target" in explain_row(wanted, 0)


def test_hostile_text_is_explained_in_short_lines(tmp_path):
    rows = [{"answer": "1", "response": "\x1b[31m\\boxed{" + "(" * 3000 + "1" + ")" * 3000 + "}" + "x" * 10**6}]
    said = explain_row(_wanted(tmp_path / "in.jsonl", rows), 0)
    assert max(map(len, said.splitlines())) < 500 and "\x1b" not in said


VOTES = [{"question": "One half?", "answer": "1/3", "model": f"m{n}", "response": f"\\boxed{{{a}}}"} for n, a in enumerate(
    ("1/2", "0.5", ".5", "\\frac12", "1/3", "7")
)]  # fmt: skip


def test_the_golds_of_a_file_are_audited(tmp_path):
    rows = [*VOTES, {"question": "One  half ?", "answer": "0.5", "model": "m0", "response": "1/2"}]
    rows += [{"question": "Broken?", "answer": "((", "model": "m0", "response": "1"}]
    for out in (tmp_path / "out.jsonl", tmp_path / "out.parquet"):
        summary = audit_file(_wanted(tmp_path / "in.jsonl", rows), out)
        found = _read(out) if out.suffix == ".jsonl" else pl.read_parquet(out).to_dicts()
        assert [(f["kind"], f["gold"]) for f in found] == [
            ("refused_gold", "(("),
            ("conflicting_golds", "1/3"),
            ("outvoted_gold", "1/3"),
        ]
        assert (found[2]["votes"], found[2]["gold_votes"], found[2]["voters"]) == (4, 1, 6)
    assert "3 golds, 8 answers; a model of column 'model' has one vote a problem" in summary
    assert "1 golds that the verifier itself refuses, 1 that most models vote against, 1 questions" in summary


def test_without_models_each_response_votes_and_that_is_said(tmp_path):
    row = {"id": 7, "answer": "1/3", "responses": [r["response"] for r in VOTES]}
    summary = audit_file(_wanted(tmp_path / "in.jsonl", [row]), None)
    assert "no column names a model: each response is a vote" in summary
    assert "outvoted_gold     7: 1/3 (incorrect); 4 of 6 say" in summary


def test_an_audit_needs_to_know_the_problems(tmp_path):
    with pytest.raises(UserError, match="nothing tells which responses answer the same problem"):
        audit_file(_wanted(tmp_path / "in.jsonl", [{"answer": "1", "response": "1"}]), None)


def test_programs_are_graded_by_the_published_tests_of_their_rows(tmp_path):
    task = {"text": "Double a number.", "test_setup_code": "", "test_list": ["assert f(1) == 2", "assert f(3) == 6"]}
    said = ["```python\ndef f(x): return 2 * x\n```", "```python\ndef f(x): return x + 1\n```"]
    summary = grade_file(_wanted(tmp_path / "f.jsonl", [{**task, "response": said}], domain="code"), tmp_path / "out.jsonl")
    assert [row["why"] for row in _read(tmp_path / "out.jsonl")] == ["tests_passed", "tests_failed"]
    assert "2 responses in column 'response' against golds in 'test_list'" in summary
