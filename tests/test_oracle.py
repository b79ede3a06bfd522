"""The oracle: right, deterministic, varied, and readable."""

import itertools
import json
import re

import pytest

from curation.errors import UserError
from curation.puzzles import countdown, knights
from curation.records import problem
from factory.oracle import VERSION, solve
from factory.oracle.telling import listed

COUNTDOWN = [p for n in (3, 4, 5, 6) for p in countdown.generate(60, seed=n, min_numbers=n, max_numbers=n)]
KNIGHTS = [p for n in range(2, 9) for p in knights.generate(30, seed=n, min_people=n, max_people=n)]
STEP = re.compile(r"(?<![-+*/(] )(?<![\d(])(\d+) ([-+*/]) (\d+) = (\d+)")
MORE = {"domain": "knights-and-knaves", "prompt": "?", "answer": None}


def word_count(trace):
    return len(f"{trace.reasoning} {trace.answer_text}".split())


@pytest.mark.parametrize("index", [0, 3])
def test_every_answer_passes_the_checker(index):
    for puzzle in COUNTDOWN:
        assert countdown.check(puzzle.answer, solve(puzzle, index).answer_text).why == "equal"
        assert countdown.check(puzzle.meta, solve(puzzle, index).answer_text).why == "equal"
    for puzzle in KNIGHTS:
        assert knights.check(puzzle.answer, solve(puzzle, index).answer_text).why == "equal"


def test_traces_are_of_readable_length_and_clean():
    for puzzle in COUNTDOWN + KNIGHTS:
        trace = solve(puzzle, 1)
        text = f"{trace.reasoning}\n{trace.answer_text}"
        assert 120 <= word_count(trace) <= 1_600
        assert not re.search(r" \n| $|  |\.\.|,\.|\?\.| ,|\n\n\n", text), text
        assert not re.search(r"\ba [aeiou]|\ban [^aeiou]", text), text
        assert "<" not in trace.reasoning and "{" not in text
        for paragraph in trace.reasoning.split("\n\n"):
            said = re.split(r"(?<=[.!?]) ", paragraph)
            assert all(one != other for one, other in itertools.pairwise(said)), paragraph


def test_most_searches_turn_back():
    backs = [solve(p, 0).reasoning.count("\n\n") >= 3 for p in COUNTDOWN + KNIGHTS]
    assert sum(backs) > 0.9 * len(backs)


def test_all_arithmetic_is_right():
    for puzzle in COUNTDOWN:
        steps = STEP.findall(solve(puzzle, 2).reasoning)
        assert len(steps) > 2
        for left, operator, right, result in steps:
            a, b, c = int(left), int(right), int(result)
            assert {"+": a + b == c, "-": a - b == c, "*": a * b == c, "/": b * c == a}[operator], (
                left,
                operator,
                right,
                result,
            )


def test_same_index_same_bytes_other_index_other_text():
    for puzzle in (COUNTDOWN[100], KNIGHTS[100]):
        assert solve(puzzle, 5) == solve(puzzle, 5)
        assert len({solve(puzzle, index).reasoning for index in range(8)}) == 8
        trace = solve(puzzle, 5)
        assert (trace.teacher, trace.revision, trace.index, trace.finish) == ("oracle", VERSION, 5, "stop")
        assert trace.completion_tokens is None and trace.seconds is None and json.loads(trace.sampling)


def test_other_role_words_and_nested_statements():
    meta = {
        "names": ["Ada", "Leo", "Mia"],
        "roles": ["angel", "egoist"],
        "statements": [
            ["->", ["<=>", ["telling-truth", 1], ["lying", 2]], ["not", ["telling-truth", 1]]],
            ["<=>", ["lying", 0], ["telling-truth", 0]],
            ["or", ["and", ["telling-truth", 0], ["lying", 1]], ["lying", 1]],
        ],
    }
    text = solve(problem(**MORE, meta=json.dumps(meta)), 0).answer_text
    assert text.endswith("<answer>Ada is an angel, Leo is an egoist, and Mia is an angel</answer>")


def test_steps_through_zero_and_one_where_nothing_else_does():
    for numbers, target in (([3, 4, 1], 12), ([5, 5, 7], 7), ([6, 1], 6), ([0, 9, 2], 18)):
        puzzle = problem(prompt="?", answer=None, domain="countdown", meta=json.dumps({"numbers": numbers, "target": target}))
        assert countdown.check(puzzle.meta, solve(puzzle, 0).answer_text).why == "equal"


def test_a_puzzle_without_a_solution_is_a_trace_with_an_error():
    puzzle = problem(prompt="?", answer=None, domain="countdown", meta='{"numbers": [1, 1], "target": 50}')
    assert (solve(puzzle, 0).finish, solve(puzzle, 0).reasoning) == ("error", None)
    assert solve(puzzle, 0).error == "50 cannot be made of 1 and 1 in whole, non-negative steps"
    meta = {"names": ["Ada", "Leo"], "statements": [["telling-truth", 1], ["telling-truth", 0]]}
    assert solve(problem(**MORE, meta=json.dumps(meta)), 0).error == "the statements have 2 solutions and not exactly one"


@pytest.mark.parametrize(
    ("domain", "meta", "message"),
    [
        ("math", "{}", "searches only countdown and knights-and-knaves"),
        ("countdown", "{}", 'needs "numbers"'),
        ("countdown", '{"numbers": ["3"], "target": 3}', 'needs "numbers"'),
        ("countdown", '{"numbers": [3, 4]}', 'needs "numbers"'),
        ("knights-and-knaves", '{"names": ["Ada"]}', 'needs "names"'),
        ("knights-and-knaves", '{"names": ["Ada", "Leo"], "statements": [["hm", 0], ["lying", 0]]}', 'needs "names"'),
        ("knights-and-knaves", '{"names": ["Ada", "Leo"], "statements": [[], 7]}', 'needs "names"'),
    ],
)
def test_what_is_not_a_puzzle_is_the_users_error(domain, meta, message):
    with pytest.raises(UserError, match=message):
        solve(problem(prompt="?", answer=None, domain=domain, meta=meta), 0)


def test_listed():
    assert [listed([3]), listed([3, 8]), listed([3, 8, 50], "or")] == ["3", "3 and 8", "3, 8 or 50"]
