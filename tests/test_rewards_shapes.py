"""Rewards of length, repetition, language and form against values worked out by hand from their sources' formulas."""

from __future__ import annotations

import math
import time

import pytest

from curation.errors import UserError
from training.grpo_settings import GrpoSettings
from training.reward_language import language_reward
from training.reward_lengths import cosine_reward, length_reward, overlong_reward, repetition_reward
from training.reward_logic import closing_line_reward, logic_reward, thought_reward, thoughtful_accuracy_reward
from training.reward_mix import JUDGED, PLAIN, mixed
from training.settings import load

RIGHT, WRONG, DOUBT = "\\boxed{2}", "\\boxed{3}", "\\boxed{\\int_0^1 y dy + z}"


def ids(*lengths: int) -> list[list[int]]:
    return [[7] * n for n in lengths]


@pytest.mark.parametrize(
    ("text", "tokens", "wanted"),
    [  # open-r1, rewards.py: lo + (hi - lo) / 2 * (1 + cos(pi * tokens / max_tokens)), 0.5..1 where right, -0.5..0 where wrong
        (RIGHT, 0, 1.0),
        (RIGHT, 500, 0.75),
        (RIGHT, 1000, 0.5),
        (RIGHT, 250, 0.5 + 0.25 * (1 + math.sqrt(2) / 2)),
        (WRONG, 0, -0.5),
        (WRONG, 500, -0.25),
        (WRONG, 1000, 0.0),
        (RIGHT, 3000, 0.5),  # open-r1 lets the cosine rise again beyond the limit
        (DOUBT, 10, None),
    ],
)
def test_cosine(text: str, tokens: int, wanted: float | None) -> None:
    assert cosine_reward([text], ids(tokens), answer=["2"]) == [pytest.approx(wanted)]


def test_cosine_of_demystify_has_a_reward_of_its_own_for_the_limit() -> None:
    """arXiv 2502.03373: wrong -10..0, right 1..2, exceed -10 where tokens + 16 reach the limit."""
    how = {"max_tokens": 100.0, "min_correct": 1.0, "max_correct": 2.0, "min_wrong": 0.0, "max_wrong": -10.0, "exceed": -10.0}
    texts = [RIGHT, RIGHT, RIGHT, WRONG]
    assert cosine_reward(texts, ids(50, 83, 84, 50), answer=["2"] * 4, **how) == [
        pytest.approx(1.5),
        pytest.approx(1 + 0.5 * (1 + math.cos(math.pi * 0.83))),
        -10.0,
        pytest.approx(-5.0),
    ]


@pytest.mark.parametrize(
    ("tokens", "wanted"), [(0, 0.0), (16384, 0.0), (17408, -0.25), (18432, -0.5), (20480, -1.0), (30000, -1.0)]
)
def test_overlong(tokens: int, wanted: float) -> None:
    """DAPO, equation 13, with its 20,480 and 4,096."""
    assert overlong_reward([""], ids(tokens)) == [wanted]
    assert overlong_reward([""], ids(tokens), max_tokens=20480.0, buffer_tokens=4096.0) == [wanted]


def test_overlong_takes_a_fifth_for_the_buffer() -> None:
    assert overlong_reward([""] * 3, ids(80, 90, 101), max_tokens=100.0) == [0.0, -0.5, -1.0]


def test_length_compares_within_a_prompt() -> None:
    """Kimi k1.5: 0.5 - (tokens - shortest) / (longest - shortest), wrong ones at most 0, one length 0."""
    texts = [RIGHT, RIGHT, WRONG, WRONG, RIGHT, DOUBT, RIGHT]
    prompts = ["a", "a", "a", "a", "a", "a", "b"]
    found = length_reward(texts, ids(10, 20, 10, 30, 30, 20, 99), prompts=prompts, answer=["2"] * 7)
    assert found == [0.5, 0.0, 0.0, -0.5, -0.5, None, 0.0]


@pytest.mark.parametrize(
    ("text", "wanted"),
    [  # open-r1: (1 - distinct / all) * -1, of groups of three words
        ("", 0.0),
        ("one two", 0.0),
        ("one two three four", 0.0),
        ("a a a a", -0.5),  # 2 groups, 1 distinct
        ("A a a A a", -(1 - 1 / 3)),
        ("x y z x y z x y z", -(1 - 3 / 7)),
    ],
)
def test_repetition(text: str, wanted: float) -> None:
    assert repetition_reward([text]) == [pytest.approx(wanted)]


@pytest.mark.parametrize(
    ("text", "language", "wanted"),
    [
        ("<think>\nlet us add 2 + 2 = 4\n</think>\n\n4", "en", 1.0),
        ("<think>\nlet us 加 two\n</think>\n\n答案是四", "en", 0.75),  # three words and one character; the answer does not count
        ("<think>\n我们 think 一下\n</think>\n\n4", "zh", 0.8),
        ("<think>\n\\frac{1}{2} + \\alpha = 3\n</think>\n\n4", "en", 0.0),  # commands and digits are no words
        ("<think>\nпривет the world\n</think>\n\n4", "en", pytest.approx(2 / 3)),
        ("plain words without a thought", "en", 1.0),
        ("", "en", 0.0),
    ],
)
def test_language(text: str, language: str, wanted: float) -> None:
    assert language_reward([text], language=language) == [wanted]


def test_language_knows_two() -> None:
    with pytest.raises(UserError, match="knows no language 'fr': wanted en or zh"):
        language_reward(["bonjour"], language="fr")


FORM = "<think>\nhm\n</think>\n<answer>\n{}\n</answer>"


@pytest.mark.parametrize(
    ("text", "wanted"),
    [  # Logic-RL, kk.py: format 1 or -1; answer 2, -1.5, or -2 where missing or where the format failed
        (FORM.format("(1) Ann is a knight\n(2) Bob is a knave"), 3.0),
        (FORM.format("(1) Ann is a knave\n(2) Bob is a knave"), -0.5),
        (FORM.format("I cannot tell"), -1.0),
        ("(1) Ann is a knight\n(2) Bob is a knave", -3.0),
        ("<answer>(1) Ann is a knight (2) Bob is a knave</answer><think>late</think>", -3.0),
        (FORM.format("(1) Ann is a knight\n(2) Bob is a knave") + "<think>", -3.0),
    ],
)
def test_logic(text: str, wanted: float) -> None:
    assert logic_reward([text], answer=["Ann: knight, Bob: knave"]) == [wanted]


def test_logic_is_silent_where_the_gold_cannot_be_read() -> None:
    assert logic_reward([FORM.format("(1) Ann is a knight")], answer=["???"]) == [None]


def test_thoughts_and_closing_lines() -> None:
    texts = ["<think>a</think> 2", "a</think> 2", "<think>a 2", "x <think>a</think> 2", "<think>a</think><think>b</think>2"]
    assert thought_reward(texts) == [1.0, 0.0, 0.0, 0.0, 0.0]
    assert thought_reward(["a</think> 2"], prompts=["Q<think>\n"]) == [1.0]
    assert thoughtful_accuracy_reward([f"<think>a</think> {RIGHT}", RIGHT, f"<think>a</think> {DOUBT}"], answer=["2"] * 3) == [
        1,
        0,
        None,
    ]
    lines = ["so\n#### The final answer is 4", "#### The final answer is 4\nor so", "#### The final answer is ", "#### 4"]
    assert closing_line_reward(lines) == [1.0, 0.0, 0.0, 0.0]


@pytest.mark.parametrize("name", ["format", "tag_count", "thought", "closing_line", "repetition", "language", "logic"])
@pytest.mark.parametrize("piece", ["<think>\n", "</think>", "<answer>", "#### ", "\\a", "字", " a", "\n"])
def test_hostile_texts_take_linear_time(name: str, piece: str) -> None:
    """Two million characters each; a pass that is quadratic would take hours, so the bound is no measure of the machine."""
    reward = (JUDGED | PLAIN)[name]
    began = time.process_time()
    reward([piece * (2_000_000 // len(piece))], answer=["Ann: knight"])
    assert time.process_time() - began < 30


def test_rewards_are_mixed_by_name() -> None:
    settings = load(
        GrpoSettings,
        ("max_completion_tokens=100", "rewards={format: 0.5, accuracy: {weight: 2}, overlong: 1, cosine: {max_tokens: 50}}"),
    )
    found = mixed(settings)
    assert found.weights == (0.5, 2.0, 1.0, 1.0) and found.judging == (1, 3)
    over, cosine = found.functions[2], found.functions[3]
    assert over([""], completion_ids=ids(90)) == [-0.5]  # the limit is that of the settings
    assert cosine([RIGHT], completion_ids=ids(50), answer=["2"]) == [0.5]  # or its own


def test_doubt_can_be_held_for_wrong() -> None:
    for name in ("accuracy", "cosine", "length", "thoughtful_accuracy"):
        asked = {"completion_ids": ids(5, 7), "answer": ["2", "2"]}
        texts = [f"<think>a</think>{DOUBT}", f"<think>a</think>{RIGHT}"]
        (skip,) = mixed(load(GrpoSettings, (f"rewards={{{name}: 1}}",))).functions
        (wrong,) = mixed(load(GrpoSettings, (f"rewards={{{name}: 1}}", "doubt=wrong"))).functions
        assert skip(texts, **asked)[0] is None
        assert wrong(texts, **asked)[0] is not None


def test_a_misspelt_reward_or_parameter_says_what_there_is() -> None:
    with pytest.raises(UserError, match="no reward 'acuracy': wanted one of accuracy, countdown"):
        mixed(load(GrpoSettings, ("rewards={acuracy: 1}",)))
    with pytest.raises(UserError, match="reward overlong has no parameter 'buffer': it has weight, max_tokens, buffer_tokens"):
        mixed(load(GrpoSettings, ("rewards={overlong: {buffer: 1}}",)))
    with pytest.raises(UserError, match="rewards is empty"):
        load(GrpoSettings, ("rewards={}",))
