"""Countdown: the generator's promises, and a table of what the checker says."""

import json
import time

import pytest

from curation.errors import UserError
from curation.puzzles.arithmetic import read_equation
from curation.puzzles.countdown import VERSION, check, generate, key
from curation.verify import check_gold

GOLD = "(8 - 2) * 4"


@pytest.mark.parametrize("size", [3, 4, 5, 6])
def test_every_puzzle_is_solved_by_its_gold(size):
    puzzles = list(generate(200, seed=size, min_numbers=size, max_numbers=size))
    for puzzle in puzzles:
        meta = json.loads(puzzle.meta)
        (gold,) = read_equation(puzzle.answer)
        assert sorted(gold.numbers) == sorted(meta["numbers"]) and len(meta["numbers"]) == size
        assert gold.value == meta["target"] and 10 <= meta["target"] <= 100
        assert check(puzzle.answer, f"<answer>{puzzle.answer}</answer>").why == "equal"
        assert check(puzzle.meta, f"<think>hm</think>so {puzzle.answer} = {meta['target']}").why == "equal"
        assert all(str(n) in puzzle.prompt for n in (*meta["numbers"], meta["target"])) and "<answer>" in puzzle.prompt
    assert len({p.source_id for p in puzzles}) == len({p.id for p in puzzles}) == 200


def test_the_first_puzzles_do_not_depend_on_how_many_are_asked_for():
    assert list(generate(50, seed=7)) == list(generate(300, seed=7))[:50]
    assert list(generate(50, seed=7)) != list(generate(50, seed=8))


def test_key_ignores_the_order_of_the_numbers():
    assert key([12, 3, 8], 24) == key([8, 12, 3], 24) == "3,8,12=24"


def test_settings_that_cannot_be_met_are_the_users_error():
    with pytest.raises(UserError, match=r"found \d+ different puzzles of the 1000"):
        list(generate(1000, seed=1, min_numbers=3, max_numbers=3, max_number=3, min_target=5, max_target=9))
    with pytest.raises(UserError, match="it needs 2 to 9 numbers"):
        list(generate(1, seed=1, min_numbers=5, max_numbers=4))


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        ("(8-2)*4", "equal"),
        ("$(8 - 2) \\times 4$", "equal"),
        ("\\left(8-2\\right)\\cdot 4", "equal"),
        ("(8 − 2) × 4", "equal"),
        ("[8 - 2] x 4", "equal"),
        ("4(8-2)", "equal"),
        ("(8-2)*4 = 24", "equal"),
        ("24 = (8-2)*4", "equal"),
        ("(8-2)*4 = 6*4 = 24", "equal"),
        ("(8-2)*4 = 24.0", "equal"),
        ("-(2-8)*4", "equal"),
        ("\n**(8-2)*4**\n", "equal"),
        ("Expression: `(8-2)*4`", "equal"),
        ("The expression is (8-2)*4.", "equal"),
        ("\\boxed{(8-2)*4}", "equal"),
        ("(8-2)*4 = 25", "wrong_value"),
        ("8-2*4", "wrong_value"),
        ("\\frac{8}{2}*4", "wrong_value"),
        ("8*4-2*4", "wrong_numbers"),
        ("82-4", "wrong_numbers"),
        ("24", "wrong_numbers"),
        ("4/(2-2)+8", "division_by_zero"),
        ("(8-2)**4", "unparseable_answer"),
        ("9**9**9**9", "unparseable_answer"),
        ("8//2*4", "unparseable_answer"),
        ("8.2*4", "unparseable_answer"),
        ("2^4+8", "unparseable_answer"),
        ("4!", "unparseable_answer"),
        ("(8--2)*4", "unparseable_answer"),
        ("(8+-2)*4", "unparseable_answer"),
        ("8/2(4)", "unparseable_answer"),
        ("8 2 + 4", "unparseable_answer"),
        ("(8-2)*4 #", "unparseable_answer"),
        ("８*(4-2)", "unparseable_answer"),
        ("sqrt(8)-2*4", "unparseable_answer"),
        ("8-2=6, 6*4=24", "unparseable_answer"),
        ("__import__('os').getpid()", "unparseable_answer"),
        ("(" * 100 + "8" + ")" * 100, "too_long"),
        ("(" * 5_000_000, "too_long"),
        ("8" * 13, "too_long"),
    ],
)
def test_verdict_on_what_stands_in_the_tags(answer, why):
    verdict = check(GOLD, f"Some words, 1 + 1.\n<answer>{answer}</answer>")
    assert (verdict.why, verdict.rule, verdict.verifier) == (why, "answer_tag", VERSION)
    assert verdict.outcome == ("correct" if why == "equal" else "incorrect")


@pytest.mark.parametrize(
    ("response", "why", "rule"),
    [
        ("<answer>8-2</answer> no: <answer>(8-2)*4</answer>", "equal", "answer_tag"),
        ("I tried.\n<answer>(8-2)*4", "equal", "answer_tag_unclosed"),  # a stop string ate the tag: seen in Claude 3.5
        ("so \\boxed{(8-2)\\times 4}", "equal", "boxed"),
        ("(8-2)*4 = 24\nThe target \\boxed{24} is reached.", "equal", "last_line"),
        ("(8-2)*4", "equal", "last_line"),  # no tags at all: seen in QwQ
        ("1. 8 - 2 = 6\n2. So, (8 - 2) * 4 = 24\n\n", "equal", "last_line"),
        ("The answer is: (8 - 2) * 4.\nLet me know!", "equal", "last_line"),
        ("<think><answer>(8-2)*4</answer></think>I give up", "no_answer", None),
        ("<think>(8-2)*4", "no_answer", None),
        ("<answer></answer>", "no_answer", None),
        ("sqrt (8) + 2 * 4", "no_answer", None),
        ("", "no_answer", None),
    ],
)
def test_where_the_answer_is_looked_for(response, why, rule):
    verdict = check(GOLD, response)
    assert (verdict.why, verdict.rule) == (why, rule)


@pytest.mark.parametrize(
    ("gold", "answer"),  # scored 1.0 by reasoning-gym 0.1.25, which compares the numbers as sets
    [
        ("46 + 39 + 72 + (7 - 53)/46", "(72+7-46/46)*((53+39)/46)"),
        ("43*31 - 17*94 + 5", "31*(43-17-5)*(94/94)"),
        ("80*(90 + 72)/81 + 81 - 94", "90+81-72/(94-90-(81-80))"),
    ],
)
def test_a_number_used_twice_is_refused(gold, answer):
    assert check(gold, f"<answer>{answer}</answer>").why == "wrong_numbers"


def test_golds():
    assert check('{"nums": [8, 2, 4], "target": 24}', "<answer>(8-2)*4</answer>").why == "equal"
    assert check("-5 - 87 + 93*(-2 + (86 + 62)/(2*2))/5", "<answer>93*((86+62)/(2*2)-2)/5-87-5</answer>").why == "equal"
    for gold in ("", "24", "eight", '{"target": 24}', "{'nums': [8]}", "1/2", "8**2", '{"nums": ["x"], "target": 1}'):
        verdict = check(gold, "<answer>(8-2)*4</answer>")
        assert (verdict.outcome, verdict.why) == ("undetermined", "unparseable_gold"), gold


@pytest.mark.parametrize(
    "text", ["(", "x", "a", "9**", "1 + ", "\\frac{1}{2}", "\\boxed{", "{", "*", "\n", "1,000", "- ", "<answer>", "a: "]
)
def test_megabytes_are_read_in_one_pass(text):
    started = time.perf_counter()
    for response in (text * 200_000, f"<answer>{text * 200_000}</answer>"):
        assert check(GOLD, response).outcome == "incorrect"
    assert time.perf_counter() - started < 20  # a quadratic pass takes many minutes


@pytest.mark.parametrize(
    ("gold", "outcome", "why"),
    [
        ('{"numbers": [2, 3, 4], "target": 24}', "correct", "equal"),
        ('{"nums": [2, 3, 4], "target": 24}', "correct", "equal"),
        ('{"nums": [2, 3, 4]}', "undetermined", "unparseable_gold"),
        ("2 * 3 * 4", "correct", "equal"),
        ("2 ^ 3", "undetermined", "unparseable_gold"),
    ],
)
def test_a_gold_may_be_the_task_itself(gold, outcome, why):
    verdict = check_gold(gold, "countdown")
    assert (verdict.outcome, verdict.why) == (outcome, why)
