import itertools
import json

import pytest

from curation.errors import UserError
from curation.records import problem
from factory.replay import index_problems, match, open_replay, read_traces

P = problem(prompt="What is $2+2$?", answer="4", domain="math", source_id="abc-1")
Q = problem(prompt="What is $3+3$?", answer="6", domain="math", source_id="17")


AB = ("replay", "a", "b", "stop")
FAILED = ("replay", None, "", "error")
ASKED = {"role": "user", "content": "q"}
SHAPES = [
    ({"question": "q", "model": "r1", "response": "a\n</think>\nb"}, [("r1", "a", "b", "stop")]),
    ({"question": "q", "response": ["<think>a</think>b", "<think>c"]}, [AB, ("replay", "c", "", "length")]),
    ({"problem": "q", "generations": ["<think>a</think>b"], "finish_reasons": ["length"]}, [("replay", "a", "b", "length")]),
    ({"question": "q", "generations": [None, "<think>a</think>b"], "finish_reasons": ["length", "stop"]}, [FAILED, AB]),
    ({"question": "q", "thinking_trajectories": [None, "a"], "attempt": "b"}, [FAILED, AB]),
    ({"question": "q", "deepseek_thinking_trajectory": "a", "deepseek_attempt": "b"}, [AB]),
    ({"question": "q", "thinking_trajectories": ["a"], "attempt": "b"}, [AB]),
    ({"messages": [ASKED, {"role": "assistant", "content": "<think>a</think>b"}]}, [AB]),
    ({"conversations": [{"from": "human", "value": "q"}, {"from": "gpt", "value": "b"}]}, [("replay", None, "b", "stop")]),
]


@pytest.mark.parametrize(("row", "found"), SHAPES)
def test_every_shape_of_trace_is_read(row, found):
    traces = list(read_traces([row], "file"))
    assert [(t.model, t.reasoning, t.answer_text, t.finish) for t in traces] == found
    assert {t.question for t in traces} == {"q"}


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        ([{"problem": "q", "answer": "1"}], "file has no column that holds traces; it has problem, answer"),
        ([], "file has no rows"),
        ([{"response": None}] * 3, "file holds no trace in response of its first 3 rows"),
        ([{"messages": [1, 2]}, {"messages": "text"}], "file holds no trace in messages of its first 2 rows"),
        (itertools.repeat({"response": None}), "of its first 1,000 rows"),
    ],
)
def test_a_file_without_traces_says_what_it_has(rows, says):
    with pytest.raises(UserError, match=says):
        list(read_traces(rows, "file"))


def test_a_first_row_whose_request_failed_hides_no_others_and_is_counted():
    rows = [{"question": "q", "response": None}, {"question": "q"}, {"question": "q", "response": "<think>a</think>b"}]
    assert [(t.answer_text, t.finish) for t in read_traces(rows, "file")] == [("", "error"), ("", "error"), ("b", "stop")]


def _match(**row):
    (loose,) = read_traces([{"response": "x", **row}], "file")
    return match(loose, index_problems([P, Q]))


@pytest.mark.parametrize(
    ("row", "found"),
    [
        ({"question": "what is \\(2 + 2\\)?"}, P.id),
        ({"question": "Return your final response within \\boxed{}. What is $2+2$?"}, P.id),
        ({"question": "Please reason step by step.\n\nWhat is $3+3$?"}, Q.id),
        ({"question": "What is $3+3$?\nPut your answer in a box."}, Q.id),
        ({"question": "", "problem_id": P.id}, P.id),
        ({"question": "", "uuid": "abc-1"}, P.id),
        ({"question": "", "uuid": "17"}, None),  # a position is nobody's name
        ({"question": "What is $2+3$?"}, None),
        ({"question": ""}, None),
    ],
)
def test_a_trace_finds_its_problem(row, found):
    assert _match(**row) == found


def test_a_replay_that_is_neither_file_nor_data_set_is_refused():
    with pytest.raises(UserError, match="no such file, and not the name of a Hub data set"):
        open_replay("nothing-here")


def test_a_folder_or_a_missing_file_is_no_data_set_of_the_hub(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "traces.jsonl").mkdir()
    with pytest.raises(UserError, match="is a folder: give the path of one file"):
        open_replay("traces.jsonl")
    with pytest.raises(UserError, match="no such file: give the path of a file of traces"):
        open_replay("folder/traces.parquet")


def test_a_changed_file_is_another_replay(tmp_path):
    path = tmp_path / "t.jsonl"
    path.write_text(json.dumps({"question": "q", "response": "r"}))
    before = open_replay(str(path)).identity
    path.write_text(json.dumps({"question": "q", "response": "s"}))
    assert before != open_replay(str(path)).identity
