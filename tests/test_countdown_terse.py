"""Puzzles and traces for students that are trained from random weights."""

from __future__ import annotations

import random

import pytest

from curation.puzzles.countdown import generate, part_of
from curation.verify import verify_all
from factory import oracle
from factory.oracle import countdown_terse
from factory.oracle.telling import Unsolved


def test_every_terse_trace_solves_its_puzzle_and_shows_how() -> None:
    puzzles = list(generate(300, seed=1, min_numbers=3, max_numbers=4, style="terse"))
    traces = [oracle.solve(p, 0) for p in puzzles]
    verdicts = verify_all((p.answer, t.answer_text, p.domain) for p, t in zip(puzzles, traces, strict=True))
    assert [v.outcome for v in verdicts] == ["correct"] * 300
    assert oracle.solve(puzzles[0], 7).reasoning == traces[0].reasoning
    assert all(t.reasoning and " ! " in t.reasoning.replace("\n", " ") for t in traces)


def test_a_terse_trace_is_this_text() -> None:
    told = countdown_terse.tell([4, 84, 70, 2], 58)
    assert told.reasoning.splitlines()[0] == "need 4 : 54 62 232 ; 84 : 26 142 ; 70 : 12 128 ; 2 : 56 60 29 116"
    assert told.reasoning.splitlines()[3:] == [
        "try 4 - 2 : 2 84 70 ; 82 86 42 168 ; 68 72 35 140 ; 56 60 29 116 : 14 154",
        "try 84 - 70 : 14 4 2 ; 10 18 56 !",
        "so 14 * 4 = 56 , 56 + 2 = 58",
    ]
    assert told.answer == "<answer> ( 84 - 70 ) * 4 + 2</answer>"
    draw = random.Random(3)
    for _ in range(200):
        numbers, target = [draw.randint(1, 99) for _ in range(4)], draw.randint(10, 100)
        if countdown_terse.solvable(numbers, target):
            countdown_terse.tell(numbers, target)
        else:
            with pytest.raises(Unsolved):
                countdown_terse.tell(numbers, target)
    assert countdown_terse.tell([9, 4, 2], 3, "-+").reasoning == "have 9 4 2 ; 5 !\nso 9 - 4 = 5 , 5 - 2 = 3"
    for numbers, target in (([1, 1, 1], 9), ([1, 2], 3), ([5, 5, 5, 5], 999)):
        with pytest.raises(Unsolved):
            countdown_terse.tell(numbers, target)


def test_fewer_operators_are_enough_for_their_puzzles() -> None:
    for p in generate(100, seed=2, max_numbers=3, max_number=15, min_target=1, max_target=30, style="terse", operators="+-"):
        trace = oracle.solve(p, 0)
        assert trace.finish == "stop" and not set("*/") & set((trace.reasoning or "") + trace.answer_text.replace("</answer>", ""))


def test_parts_do_not_overlap_whatever_the_seed() -> None:
    def keys(part: str, seed: int) -> set[str]:
        return {p.source_id for p in generate(200, seed=seed, max_numbers=3, max_number=12, part=part)}  # type: ignore[arg-type]

    train, puzzles, targets = keys("train", 1), keys("new-puzzles", 2), keys("new-targets", 3)
    assert not train & puzzles and not train & targets and not puzzles & targets
    assert all(key.endswith("3") for key in targets) and not any(key.endswith("3") for key in train)
    draw = random.Random(0)
    numbers = [draw.randint(1, 99) for _ in range(4)]
    assert part_of(numbers, 50) == part_of(numbers[::-1], 50)
