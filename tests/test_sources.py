import json

import pytest

from curation.errors import UserError
from curation.records import Problem
from curation.sources import Refused, answer_text, read_problems


def _read(rows, wanted=None, domain="math", only=None, without=None):
    return list(read_problems(rows, wanted or {}, domain=domain, name="set", license="mit", only=only or {}, without=without or {}))


def test_the_usual_columns_are_found_and_labels_are_kept():
    (found,) = _read(
        [{"problem": " 2+2? ", "answer": 4, "solution": "easy", "level": "Level 1", "type": "Algebra", "long": "x" * 300}]
    )
    assert isinstance(found, Problem)
    assert (found.prompt, found.answer, found.solution, found.source, found.license) == ("2+2?", "4", "easy", "set", "mit")
    assert json.loads(found.meta) == {"level": "Level 1", "type": "Algebra"}


def test_chat_turns_are_no_question_and_are_refused_as_that():
    turns = [{"role": "user", "content": "2+2?"}]
    rows = [{"prompt": turns, "answer": "4"}, {"prompt": "2+3?", "answer": "5"}, {"prompt": [], "answer": "5"}]
    first, second, empty = _read(rows)
    assert isinstance(first, Refused) and (first.reason, first.detail) == ("problem_not_text", str(turns))
    assert isinstance(second, Problem) and isinstance(empty, Refused) and empty.reason == "empty_problem"
    (puzzle,) = _read([{"prompt": turns, "nums": [1, 2], "target": 3}], domain="countdown")
    assert isinstance(puzzle, Problem) and "role" not in puzzle.prompt and "3" in puzzle.prompt


def test_a_gsm8k_gold_becomes_its_number_and_stays_as_the_solution():
    (found,) = _read([{"question": "q", "answer": "2+2=<<2+2=4>>4 apples\n#### 4"}])
    assert found.answer == "4" and found.solution.endswith("#### 4")


def test_a_boxed_solution_is_a_gold_where_there_is_no_answer_column():
    (found,) = _read([{"problem": "q", "solution": r"So \boxed{\frac{1}{2}}."}])
    assert found.answer == r"\frac{1}{2}"


@pytest.mark.parametrize(
    ("value", "text"),
    [(11.0, "11"), (1.5, "1.5"), (["606"], "606"), (["1", "2"], "1, 2"), ("  ", None), (None, None), ([], None), (0, "0")],
)
def test_gold_cells_as_text(value, text):
    assert answer_text(value) == text


def test_rows_that_are_no_problem_say_why():
    rows = [
        {"problem": "a", "answer": "proof", "valid": "Yes"},
        {"problem": "b", "answer": "1", "valid": "No"},
        {"problem": "", "answer": "1", "valid": "Yes"},
        {"problem": "d", "answer": None, "valid": "Yes"},
        {"problem": "e", "answer": "1", "valid": "Yes"},
    ]
    found = _read(rows, only={"valid": ["Yes"]}, without={"answer": ["proof"]})
    assert [f.reason if isinstance(f, Refused) else None for f in found] == [
        "answer_not_wanted",
        "valid_not_wanted",
        "empty_problem",
        "no_gold",
        None,
    ]


@pytest.mark.parametrize(
    ("row", "wanted", "says"),
    [
        ({"a": 1, "answer": 2}, {}, "set has no column for the problem; it has a, answer: set source.columns.prompt"),
        ({"problem": 1, "b": 2}, {}, "set has no column for the gold answer; it has problem, b"),
        ({"problem": 1, "answer": 2}, {"prompt": "q"}, "set has no column 'q' for the prompt; it has problem, answer"),
    ],
)
def test_a_missing_column_is_named_with_those_there_are(row, wanted, says):
    with pytest.raises(UserError) as error:
        _read([row], wanted)
    assert says in str(error.value)


def test_a_filter_on_a_missing_column_is_named():
    with pytest.raises(UserError, match="no column 'valid' to filter by"):
        _read([{"problem": "a", "answer": "1"}], only={"valid": ["Yes"]})


NO_NUMBERS = [{"nums": ["a", 2]}, {"nums": "12"}, {"nums": None}, {"nums": [1, float("nan")]}, {"nums": [1], "target": None}]


@pytest.mark.parametrize("row", NO_NUMBERS)
def test_countdown_rows_without_whole_numbers_are_refused(row):
    (found,) = _read([{"target": 3, **row}], domain="countdown")
    assert found.reason == "empty_problem"


def test_countdown_rows_without_a_prompt_get_one():
    (found,) = _read([{"target": 98, "nums": [44, 19, 35]}], domain="countdown")
    assert "44" in found.prompt and "98" in found.prompt
    assert json.loads(found.answer) == {"numbers": [44, 19, 35], "target": 98}
    assert json.loads(found.answer).items() <= json.loads(found.meta).items()  # where the oracle looks


PUBLISHED = [
    {"prompt": "def f(x):\n", "entry_point": "f", "test": "def check(candidate):\n    assert candidate(1) == 2", "task_id": "H/0"},
    {"text": "Double a number.", "test_setup_code": "", "test_list": ["assert f(1) == 2", "assert f(3) == 6"], "task_id": "1"},
    {
        "prompt": "import math",
        "query": "Double x. class Solution: ...",
        "starter_code": "class Solution: ...",
        "entry_point": "Solution().f",
        "test": "def check(candidate):\n    assert candidate(x=1) == 2",
    },
    {"question": "Read n, print 2n.", "input_output": json.dumps({"inputs": ["1\n"], "outputs": ["2\n"]}), "starter_code": ""},
]


@pytest.mark.parametrize(("row", "kind"), list(zip(PUBLISHED, ("check", "asserts", "check", "stdin"), strict=True)))
def test_published_programming_problems_bring_their_tests(row, kind):
    (found,) = _read([row], domain="code")
    assert json.loads(found.answer)["kind"] == kind
    asked = {"check": row.get("query") or row.get("prompt"), "asserts": "assert f(3) == 6", "stdin": row.get("question")}[kind]
    assert asked.strip() in found.prompt  # the function's name, which the tests call, is in the question


def test_tests_that_cannot_be_read_are_no_gold():
    (refused,) = _read([{"question": "Read n.", "input_output": '{"inputs": [', "difficulty": "hard"}], domain="code")
    assert isinstance(refused, Refused) and refused.reason == "no_gold"
