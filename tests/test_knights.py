"""Knights and knaves: the generator's promises, and a table of what the checker says."""

import itertools
import json
import time

import pytest

from curation.errors import UserError
from curation.puzzles.knights import VERSION, check, generate, key
from curation.puzzles.statements import Roles, opposite, solutions, words, worlds

GOLD = "Emma is a knight, Noah is a knave, and Mary Ann is a knight."


def holds(statement, knights):
    """The same truth table written plainly."""
    operator, *parts = statement
    if operator in ("telling-truth", "lying"):
        return knights[parts[0]] == (operator == "telling-truth")
    values = [holds(part, knights) for part in parts]
    return {
        "not": not values[0],
        "and": all(values),
        "or": any(values),
        "->": not values[0] or values[-1],
        "<=>": values[0] == values[-1],
    }[operator]


@pytest.mark.parametrize("people", range(2, 9))
def test_every_puzzle_has_one_solution_and_it_is_the_gold(people):
    for puzzle in generate(30, seed=people, min_people=people, max_people=people):
        meta = json.loads(puzzle.meta)
        found = [
            list(knights)
            for knights in itertools.product((False, True), repeat=people)
            if all(holds(s, knights) == knights[i] for i, s in enumerate(meta["statements"]))
        ]
        assert found == [meta["solution"]]
        assert check(puzzle.answer, f"<answer>{puzzle.answer}</answer>").why == "equal"
        assert all(name in puzzle.prompt for name in meta["names"]) and "<answer>" in puzzle.prompt


def test_the_first_puzzles_do_not_depend_on_how_many_are_asked_for():
    first, more = list(generate(40, seed=3)), list(generate(200, seed=3))
    assert first == more[:40]
    assert len({p.source_id for p in more}) == 200


def test_too_many_puzzles_of_two_people_are_the_users_error():
    with pytest.raises(UserError, match="found 45 different puzzles of the 1000"):
        list(generate(1000, seed=1, min_people=2, max_people=2))
    with pytest.raises(UserError, match="needs 2 to 8 people"):
        list(generate(1, seed=1, max_people=9))


def test_deeper_and_wider_statements():
    for puzzle in generate(50, seed=1, min_people=2, max_people=4, max_depth=3, max_width=4):
        assert check(puzzle.answer, puzzle.answer).why == "equal"


def test_key_is_blind_to_the_numbering_of_three_people_and_to_the_order_of_and():
    statements = [["and", ["lying", 1], ["lying", 2]], ["telling-truth", 2], ["lying", 0]]
    renumbered = [["telling-truth", 1], ["lying", 2], ["and", ["lying", 1], ["lying", 0]]]
    assert key(statements) == key(renumbered)
    condition, conclusion = ["lying", 0], ["lying", 1]
    assert key([["->", condition, conclusion], condition]) != key([["->", conclusion, condition], condition])


def test_words_and_opposites():
    names, roles = ["Ada", "Leo"], Roles("angel", "devil")
    statement = ["->", ["lying", 0], ["not", ["telling-truth", 1]]]
    assert words(statement, names, roles) == "if Ada is a devil, then Leo is not an angel"
    assert words(statement, names, roles, speaker=0) == "if I am a devil, then Leo is not an angel"
    assert words(opposite(statement), names, roles) == "Ada is a devil and Leo is an angel"
    for kind in ("and", "or", "->", "<=>"):
        formula = ["not", [kind, ["lying", 0], ["not", ["<=>", ["telling-truth", 0], ["lying", 1]]]]]
        assert worlds(opposite(formula), 2) == 0b1111 ^ worlds(formula, 2)
    assert solutions([["lying", 0]]) == []
    with pytest.raises(ValueError, match="nobody has the number 2"):
        worlds(["lying", 2], 2)


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        ("Emma is a knight, Noah is a knave, and Mary Ann is a knight", "equal"),
        ("(1) Emma is a knight\n(2) Noah is a knave\n(3) Mary Ann is a knight", "equal"),
        ("**Emma**: knight\n**Noah**: knave\n**Mary Ann**: knight", "equal"),
        ("Knights: Emma, Mary Ann. Knaves: Noah", "equal"),
        ("Knights:\n- Emma\n- Mary Ann\n\nKnaves:\n- Noah", "equal"),
        ("The knights are Emma and Mary Ann, and the only knave is Noah", "equal"),
        ("Emma and Mary Ann are both knights; Noah is a liar.", "equal"),
        ("Emma is a knight, Noah is not a knight, Mary Ann isn't a knave", "equal"),
        ("Emma is a knight, not a knave. Noah is a knave. Mary Ann is a knight.", "equal"),
        ("| Emma | Knight |\n| Noah | Knave |\n| Mary Ann | Knight |", "equal"),
        ('{"Emma": "knight", "Noah": "knave", "Mary Ann": "knight"}', "equal"),
        ("emma is a knight, noah is a knave, mary ann is a knight", "equal"),
        ("Emma is a saint, Noah is a sinner, Mary Ann is a saint", "equal"),
        (
            "Emma is a knight, Noah is an knave, Mary Ann is a knight",
            "equal",
        ),  # articles: seen in Claude 3.5 and o3-mini
        ("Emma is a knight, Noah is a knave, Mary Ann is a knave", "wrong_roles"),
        ("Everyone is a knight", "wrong_roles"),
        ("None of them is a knight", "wrong_roles"),
        ("Emma is a knight, Noah is a knave", "missing_names"),
        ("Emma is a knight, Noah is a knave, Mary Ann is a knight, Zoe is a knight", "unknown_name"),
        ("Emma is a knight/knave, Noah is a knight/knave, Mary Ann is a knight/knave", "contradictory"),
        ("Emma is a knight, Emma is a knave, Noah is a knave, Mary Ann is a knight", "contradictory"),
        ("yes", "unparseable_answer"),
        ("Emma " * 10_000, "too_long"),
    ],
)
def test_verdict_on_what_stands_in_the_tags(answer, why):
    verdict = check(GOLD, f"Suppose Noah is a knight.\n<answer>{answer}</answer>")
    assert (verdict.why, verdict.rule, verdict.verifier) == (why, "answer_tag", VERSION)
    assert verdict.outcome == ("correct" if why == "equal" else "incorrect")


@pytest.mark.parametrize(
    ("response", "why", "rule"),
    [
        ("\\boxed{\\text{Emma is a knight, Noah is a knave, and Mary Ann is a knight}}", "equal", "boxed"),
        (
            "Suppose Emma is a knave.\n\nSo Emma is a knight.\nNoah is a knave.\nMary Ann is a knight.\nDone!",
            "equal",
            "last_line",
        ),
        ("<think>Emma is a knight</think>", "no_answer", None),
        ("<think>Emma is a knight, Noah is a knave, and Mary Ann is a knight", "no_answer", None),
        ("Let me solve this step by step:\n\n1)", "no_answer", "last_line"),  # cut: seen in Claude 3.5
        ("", "no_answer", None),
    ],
)
def test_where_the_answer_is_looked_for(response, why, rule):
    verdict = check(GOLD, response)
    assert (verdict.why, verdict.rule) == (why, rule)


def test_golds():
    for gold in (
        "(1) Emma is a hero\n(2) Noah is a villain",
        '{"Emma": true, "Noah": false}',
        "Emma: altruist, Noah: egoist",
    ):
        assert check(gold, "<answer>Emma is a knight, Noah is a knave</answer>").why == "equal", gold
    for gold in ("", "42", "{", "Emma is a knight and Emma is a knave"):
        assert check(gold, "<answer>Emma is a knight</answer>").outcome == "undetermined", gold


@pytest.mark.parametrize("text", ["Emma is a knight and ", "<answer>", "A-", "knight ", "not ", "Emma ", "A", "\n"])
def test_megabytes_are_read_in_one_pass(text):
    started = time.perf_counter()
    for response in (text * 100_000, f"<answer>{text * 1_000}</answer>"):
        assert check(GOLD, response).outcome == "incorrect"
    assert time.perf_counter() - started < 20  # a quadratic pass takes many minutes
