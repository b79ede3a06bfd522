import random

import numpy as np
import pytest

from curation.deciding import same_question
from curation.dedup import Match, exact_duplicates, near_duplicates
from curation.minhash import join_rows, read_rows, some_rows


def _words(count: int) -> list[str]:
    return [f"w{chr(97 + number // 26)}{chr(97 + number % 26)}" for number in range(count)]


STORY = (
    "Natalia sold {0} clips to her friends in the warm month of April, and then she sold {1} clips in the rainy month of May."
    " How many clips did Natalia sell altogether in the two months?"
)


def test_exact_duplicates_point_to_the_first_of_their_kind() -> None:
    texts = ["Find $x$.", "What?", r"find \(x\)", "FIND  x", "", "!", "", "?"]
    assert exact_duplicates(texts) == [None, None, 0, 0, None, None, 4, None]


@pytest.mark.parametrize(
    ("golds", "wanted"),
    [
        (["4", "5", "$4$", "5"], [None, None, 0, 1]),
        (["4", None, "5", None], [None, 0, None, 0]),
        ([None, "4", "5", "4"], [None, 0, None, 0]),  # a row without a gold goes with one of them, and joins no two
        ([None, None, None, "4"], [None, 0, 0, 0]),
        (["!", "?", None, "!"], [None, None, 0, 0]),
    ],
)
def test_golds_that_differ_keep_both_even_of_one_text(golds: list[str | None], wanted: list[int | None]) -> None:
    texts = ["2+2", "$2 + 2$", "2+2", "2 + 2"]
    assert exact_duplicates(texts, golds) == wanted
    assert exact_duplicates([*texts, "3"], [*golds, "4"], found=read_rows([*texts, "3"])) == [*wanted, None]


def test_a_near_duplicate_points_to_the_first_and_carries_the_true_similarity() -> None:
    one = "the cat sat on the mat and looked at the dog"
    texts = ["something else entirely is written here", one, one + " today"]
    assert near_duplicates(texts) == [None, None, Match(1, 10 / 11)]


def test_number_twins_stay() -> None:
    texts = [STORY.format(number, number // 2) for number in range(10, 400, 2)]
    assert near_duplicates(texts) == [None] * len(texts)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (STORY.format(48, 24), STORY.format(24, 48)),  # the same numbers at other places
        (STORY.format("three", 24), STORY.format("four", 24)),
        (STORY.format(48, 24), STORY.format(48, 24).replace("altogether", "at least")),
        ("In how many ways are 5 balls put in 3 boxes, if the balls are alike but the boxes are not?",) * 2,
        ("Which of the many quick numbers in the set of all red ones is the least?",) * 2,
        ("Find the value of the angle $\\angle YZX$ in the well known figure that everybody saw before.",) * 2,
        ("Simplify the long and tiresome expression given as $xy + 3$ in the best way you can think of.",) * 2,
        ("A class of boys and girls meets. Half of the girls and all of the boys came. How many boys are there?",) * 2,
    ],
)
def test_rows_that_differ_in_what_decides_stay(one: str, other: str) -> None:
    swaps = {
        "alike but the boxes are not": "not alike but the boxes are",
        "least": "greatest",
        "YZX": "AYX",
        "xy": "xz",
    }
    swaps |= {"How many boys": "How many girls"}
    if one == other:
        other = next(other.replace(old, new) for old, new in swaps.items() if old in other)
    assert near_duplicates([one, other], threshold=0.5) == [None, None]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("thirty", "forty"),
        ("twenty-one", "twenty-two"),
        ("eighty-one", "ninety-one"),
        ("a dozen", "a score of"),
        ("dozens of", "hundreds of"),
        ("a thousand", "a billion"),
        ("a million", "a trillion"),
        ("every fifth of", "every sixth of"),
        ("a thirtieth of", "a fortieth of"),
    ],
)
def test_twins_of_numbers_in_words_stay(one: str, other: str) -> None:
    texts = [STORY.format(number, 24) for number in (one, other)]
    assert near_duplicates(texts, threshold=0.5) == [None, None]
    assert not same_question(*texts, golds_agree=True)


def test_a_number_is_the_same_in_words_and_in_figures() -> None:
    assert near_duplicates([STORY.format("thirty", 24), STORY.format(30, 24)], threshold=0.7)[1] is not None


def test_brackets_that_change_the_value_keep_both() -> None:
    assert near_duplicates(["What is $88 / (4 / 2)$ then?", "What is $88 / 4 / 2$ then?"]) == [None, None]


@pytest.mark.parametrize(
    "edit",
    [
        ("friends", "dear friends"),  # a word more
        ("warm ", ""),  # a word less
        ("warm", "wram"),  # a typing error
        ("Natalia", "Amanda"),  # another name
        ("two", "2"),
        ("clips to", "clips  to\n"),
    ],
)
def test_edits_that_leave_the_question_are_found(edit: tuple[str, str]) -> None:
    text = STORY.format(48, 24)
    assert near_duplicates([text, text.replace(*edit)], threshold=0.7)[1] is not None


def test_a_sentence_that_moved_is_found_and_numbers_that_changed_places_are_not() -> None:
    one = "Ann has 5 old pears. Bob keeps 3 ripe figs. How many fruits do they have?"
    assert same_question(one, "Bob keeps 3 ripe figs. Ann has 5 old pears. How many fruits do they have?", golds_agree=False)
    assert not same_question(one, "Ann has 3 old pears. Bob keeps 5 ripe figs. How many fruits do they have?", golds_agree=True)


@pytest.mark.parametrize("edit", [("the two", "two"), ("grandpa", "grandap"), ("$240", " $240"), ("John", "Solve this. John")])
def test_money_is_no_mathematics_in_which_words_are_symbols(edit: tuple[str, str]) -> None:
    one = "John gets $240 from the grandpa and $776 from his grandma. How much did he get from the two grandparents?"
    assert same_question(one, one.replace(*edit), golds_agree=False)


@pytest.mark.parametrize("math", ["$xy + 3$", "\\(xy + 3\\)", "the \\$5 of $xy + 3$"])
def test_a_symbol_in_mathematics_decides(math: str) -> None:
    one = f"Simplify the long and tiresome expression given as {math} in the best way."
    assert not same_question(one, one.replace("xy", "xz"), golds_agree=True)


def test_a_sentence_without_tokens_is_none() -> None:
    one = "Ann has 5 old pears. ? Bob keeps 3 ripe figs. How many?"
    assert same_question(one, "Bob keeps 3 ripe figs. ? Ann has 5 old pears. How many?", golds_agree=False)


def test_golds_that_differ_keep_both_and_a_missing_gold_does_not() -> None:
    texts = [STORY.format(48, 24)] * 4
    assert near_duplicates(texts, ["72", "73", None, "$72$"]) == [None, None, Match(0, 1.0), Match(0, 1.0)]


def test_a_missing_gold_does_not_join_two_that_differ() -> None:
    base = " ".join(_words(40))
    texts = [base, base + " extra", base + " extra words"]
    assert near_duplicates(texts, ["1", None, "2"]) == [None, Match(0, 39 / 40), None]


def test_of_a_group_the_row_of_the_highest_worth_is_kept_whatever_the_order() -> None:
    text = STORY.format(48, 24)
    texts = ["another text of other words", text, text + " Well?", text + " Say.", "a fifth text and its twin"]
    golds = [None, None, "72", "72", None]
    for worth in ([0, 0, 2, 3, 0], [0, 0, 2, 3, 9]):
        for workers in (1, 2):
            found = near_duplicates(texts, golds, worth=worth, workers=workers, block_characters=100)
            assert [match and match.kept for match in found] == [None, 3, 3, None, None]
    assert near_duplicates(texts, golds, worth=[0] * 5) == near_duplicates(texts, golds)
    similarity = near_duplicates(texts, golds, worth=[0, 0, 0, 3, 0])[2]
    assert similarity == Match(3, near_duplicates(texts[2:4])[1].similarity)  # type: ignore[union-attr]


def test_of_exact_copies_the_row_of_the_highest_worth_is_kept() -> None:
    texts, golds = ["2+2", "$2 + 2$", "2+2", "2 + 2"], [None, "4", "5", "4"]
    assert exact_duplicates(texts, golds, worth=[1, 2, 2, 3]) == [3, 3, None, None]
    assert exact_duplicates(texts, golds, worth=[1, 2, 2, 3], found=read_rows(texts)) == [3, 3, None, None]
    assert exact_duplicates(texts, worth=[0, 2, 2, 1]) == [1, None, 1, 1]


def test_a_chain_is_one_component_whose_first_row_stays() -> None:
    found_words = _words(40)
    texts = [" ".join(found_words[start : start + 30]) for start in (0, 2, 4, 6)]
    found = near_duplicates(texts)
    assert [match and match.kept for match in found] == [None, 0, 0, 0]
    assert found[3] is not None
    assert found[3].similarity == 23 / 35  # under the threshold: linked through the rows between


def test_the_result_depends_neither_on_blocks_nor_on_the_process() -> None:
    draw = random.Random(1)
    base = [" ".join(draw.choices(["abcdefgh", "klm", "nop", "qrs", "tuv", "xyz"], k=25)) + f" {n % 7}" for n in range(200)]
    texts = base + [text + " again" for text in base]
    whole = near_duplicates(texts)
    assert whole == near_duplicates(texts, block_characters=1) == near_duplicates(texts, block_characters=777)
    assert sum(match is not None for match in whole) >= 200


def test_many_copies_of_one_text_and_empty_texts() -> None:
    texts = ["", *["the same words over and over"] * 500, "", "one", "one"]
    found = near_duplicates(texts)
    assert found[:2] == [None, None]
    assert set(found[2:501]) == {Match(1, 1.0)}
    assert found[501:] == [None, None, Match(502, 1.0)]


def test_no_texts() -> None:
    assert near_duplicates([]) == []
    assert exact_duplicates([]) == []


def test_processes_do_not_change_the_result() -> None:
    texts = [f"{name} carries {number} stones over the {adjective} bridge at noon and rests." for number in range(2, 20)
             for name in ("Ada", "Bo") for adjective in ("old", "new")]  # fmt: skip
    texts += [text.replace("rests", "then rests") for text in texts]
    one = near_duplicates(texts, threshold=0.6, block_characters=500)
    assert any(one)
    assert near_duplicates(texts, threshold=0.6, block_characters=500, workers=2) == one


def test_texts_that_were_read_before_in_parts_give_the_same_duplicates() -> None:
    texts = ["$x y$ is 3", "xy is 3", ".", "!", ".", *(f"{word} pears cost 5 dollars at the old market in town" for word in "abcb")]
    found = join_rows([read_rows(texts[:4]), read_rows(texts[4:])])
    exact = exact_duplicates(texts, found=found)
    assert exact == exact_duplicates(texts) == [None, 0, None, None, 2, None, None, None, 6]
    left = [row for row, match in enumerate(exact) if match is None]
    rest = [texts[row] for row in left]
    assert near_duplicates(rest, threshold=0.5, found=some_rows(found, np.array(left))) == near_duplicates(rest, threshold=0.5)
