"""reasoning-gym as a source; the package is an optional extra, so most of this needs it."""

import importlib.util
import itertools
import json

import pytest

from curation import countdown, knights
from curation.errors import UserError
from curation.puzzles import _different, from_reasoning_gym

INSTALLED = importlib.util.find_spec("reasoning_gym") is not None


def test_only_generators_that_can_be_checked():
    with pytest.raises(UserError, match="'sudoku' has no checker here"):
        from_reasoning_gym("sudoku", 1, 0)


def test_what_to_do_without_the_package(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "reasoning_gym", None)
    with pytest.raises(UserError, match=r"pip install 'cot-factory\[gym\]'"):
        from_reasoning_gym("countdown", 1, 0)


def test_repeats_are_left_out_and_running_dry_is_the_users_error():
    few = list(countdown.generate(3, seed=1))
    assert list(_different(iter([few[0], few[0], few[1]]), "countdown", 2)) == few[:2]
    with pytest.raises(UserError, match="gave 3 different puzzles of the 4 asked for"):
        list(_different(iter(few), "countdown", 4))


if INSTALLED:

    def test_countdown():
        puzzles = list(from_reasoning_gym("countdown", 40, 7, min_numbers=3, max_numbers=4))
        assert puzzles[:9] == list(from_reasoning_gym("countdown", 9, 7, min_numbers=3, max_numbers=4))
        for puzzle in puzzles:
            assert countdown.check(puzzle.answer, f"<answer>{puzzle.answer}</answer>").why == "equal"
            assert countdown.check(puzzle.meta, puzzle.answer).why == "equal"

    def test_knights_and_knaves_without_repeats():
        puzzles = list(from_reasoning_gym("knights_knaves", 40, 7, n_people=2))
        assert len({p.source_id for p in puzzles}) == 40
        for puzzle in itertools.chain(puzzles, from_reasoning_gym("knights_knaves", 20, 7, n_people=4)):
            assert knights.check(puzzle.answer, f"<answer>{puzzle.answer}</answer>").why == "equal"
            assert len(json.loads(puzzle.meta)["names"]) == len(json.loads(puzzle.meta)["statements"])

    def test_wrong_settings():
        with pytest.raises(UserError, match="does not take these settings"):
            from_reasoning_gym("countdown", 1, 0, colour="red")
