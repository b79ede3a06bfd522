"""Filters of problems and traces: a case for each rule, and cases that must stay."""

import random
import time
from typing import Any

import polars as pl
import pytest

from curation.problem_filters import PROBLEM_RULES, problem_fault, several_answers
from curation.thought_glance import looks
from curation.trace_filters import TRACE_RULES, boxes, has_long_paragraph, longest_paragraph, trace_filter

GOOD = "Find the sum of all integers n with n^2 + 3n < 40 for which n is a multiple of 4."

ENGLISH = (
    "First I add the two numbers and see what is left of them. Wait, let me check that again: the sum is 12 and the rest is 5, so"
    " the answer must be 7. That agrees with what the problem says about the apples in each box, and we are done."
)
GERMAN = (
    "Zuerst betrachten wir die Gleichung x^2 + 3x = 10 und bringen alles auf eine Seite. Dann ist x^2 + 3x - 10 = 0, also"
    " (x+5)(x-2) = 0. Da nach der positiven Lösung gefragt ist, nehmen wir x = 2. Probe: 4 + 6 = 10, das stimmt."
)
FRENCH = (
    "On pose x = 3 et on remplace dans la première équation. Cela donne 2y = 8, donc y = 4. Vérifions : 3 + 4 = 7, ce qui est bien"
    " la somme demandée. Mais est-ce que nous avons utilisé toutes les conditions ?"
)
SPANISH = (
    "Sea n el entero buscado. Como n deja resto 2 al dividir por 3 y resto 3 al dividir por 5, probamos n = 8: 8 = 3*2 + 2 y"
    " 8 = 5 + 3. Funciona. Pero queremos el menor mayor que 10, entonces sumamos 15 y obtenemos 23."
)
ITALIAN = (
    "Chiamiamo x il prezzo del libro e y quello della penna. Dalla prima condizione abbiamo x + y = 11, dalla seconda x - y = 10."
    " Sommando le due equazioni si trova 2x = 21, quindi x = 10,5 e y = 0,5. La risposta è 0,5."
)
PORTUGUESE = (
    "Seja x a quantidade de laranjas. Temos que 3x + 2 = 20, então 3x = 18 e x = 6. Mas o problema pede o dobro, logo a resposta é"
    " 12. Vamos verificar: 3 vezes 6 são 18, mais 2 dá 20. Está certo."
)


@pytest.mark.parametrize(
    ("prompt", "answer", "solution", "rule"),
    [
        ("In the Figure below, find x.", "3", None, "figures"),
        ("ABC is drawn (see figure.) Find x.", "3", None, "figures"),
        ("The figure shows four entries of a square. Find x.", "3", None, "figures"),
        ("[asy] draw((0,0)--(1,1)); [/asy] Find x.", "3", None, "figures"),
        ("See https://example.com and compute it.", "3", None, "links"),
        ("a) Find x. b) Find y.", "3", None, "multipart"),
        ("Let ABC be a triangle.\n(i) Find its area.\n(ii) Find its perimeter.", "3", None, "multipart"),
        ("Let ABC be a triangle. (a) What is its area? (b) Prove that it is right.", "3", None, "multipart"),
        ("Prove that there are infinitely many primes.", None, None, "proofs"),
        ("How many are there?", "3", "... which was to be shown. \\boxed{}", "proofs"),
        ("Find x.", "proof", None, "proofs"),
        ("Find x.", "1, 2", None, "several_answers"),
        ("Find x.", "x=1 or x=2", None, "several_answers"),
        ("Find x.", " ", None, "several_answers"),
        ("Find x. Answer: 3", "3", None, "answer_in_problem"),
        ("**Problem 3.** Find x.", "3", None, "s1_format"),
        ("p12. Find x.", "3", None, "s1_format"),
        ("Find x.", "3", None, "short"),
        ("Find x.", "3", " \n", "no_solution"),
        ("Find x.", "3", None, "no_solution"),
        ("Find x.", "3", "So x is 3.", "unboxed_solution"),
    ],
)
def test_each_problem_rule(prompt: str, answer: str | None, solution: str | None, rule: Any) -> None:
    assert problem_fault((rule,), prompt, answer, solution, "web") == rule
    assert problem_fault((), prompt, answer, solution, "web") is None


@pytest.mark.parametrize(
    ("prompt", "answer"),
    [
        (GOOD, "28"),
        ("Ann tries to figure out how many apples there are. She figures that 12 fit a box. Find it.", "\\$1,\\!657"),
        ("He sells 2 action figures; each figure is worth $15. What does he get?", "30"),
        ("A figure skater turns by 2250 degrees. Miriam figures if she counts it is 6. How many turns?", "6.25"),
        ("A figure is made by joining A to B to C. Find the area of this figure, a 2-dimensional figure.", "7"),
        ("Find the least k for which (i) k is even and (ii) k is a square.", "4"),
        ("What is the smallest n such that one can show that n! > 2^n? Prove that and find n.", "4"),  # it asks for a number
        ("Find the pair (a, b) with (a) + (b) = 3.", "(1, 2)"),
        ("A plane flies at a) speed; find it.", "1,234,567"),
        ("How many points f(1) and f(2) are there?", "\\left[0, 1\\right]"),
        ("**Note** that x is real. Find x.", "3"),
    ],
)
def test_good_problems_stay(prompt: str, answer: str) -> None:
    rules = tuple(rule for rule in PROBLEM_RULES if rule not in ("short", "no_solution", "unboxed_solution"))
    assert problem_fault(rules, prompt, answer, None, "web") is None


def test_aime_may_have_figure_code_in_s1s_rule() -> None:
    assert problem_fault(("s1_format",), "Find x. [asy] draw(); [/asy]", "3", None, "web") == "s1_format"
    assert problem_fault(("s1_format",), "Find x. [asy] draw(); [/asy]", "3", None, "qq8933/AIME_1983_2024") is None


@pytest.mark.parametrize(
    ("answer", "several"),
    [
        ("10,000", False),
        ("10,000,5", True),
        ("(1,2)", False),
        ("\\{1,2,3\\}", False),
        ("1; 2", True),
        ("north and south", True),
        ("2 \\text{ or } 3", True),
        ("x=1\\quad\\text{or}\\quad x=2", True),
        ("1 \\textrm{ and } 2", True),
        ("2 \\text{, or } 3", True),
        ("x = 2 \\lor x = 3", True),
        ("\\pm 2", True),
        ("±2", True),
        ("\\frac{1 \\pm \\sqrt{5}}{2}", True),
        ("(\\pm 1, 0)", True),
        ("3 ∓ x", True),
        ("\\{\\pm 1\\}", False),
        ("\\left\\{1 \\text{ or } 2\\right\\}", False),
        ("(2, 3)", False),
        ("[2, 3) \\cup (4, \\infty)", False),
        ("\\text{(E)}", False),
        ("\\text{east or west}", False),
        ("x\\text{ for all } x", False),
        ("5 \\text{ oranges}", False),
        ("\\pmb{3}", False),
    ],
)
def test_several_answers(answer: str, several: bool) -> None:
    assert several_answers(answer) is several


@pytest.mark.parametrize(
    ("question", "thought", "answer", "rule"),
    [
        (GOOD, "First we try n = 4. 所以我们 continue.", "28", "language_mixing"),
        (GOOD, "So поэтому it is.", "28", "language_mixing"),
        (GOOD, "So το άθροισμα είναι 28.", "28", "language_mixing"),
        (GOOD, GERMAN, "28", "language_mixing"),
        (GOOD, FRENCH, "28", "language_mixing"),
        (GOOD, PORTUGUESE, "28", "language_mixing"),
        (GOOD, ITALIAN, "28", "language_mixing"),
        (GOOD, f"{ENGLISH} {SPANISH}", "28", "language_mixing"),
        (GOOD, f"{ENGLISH} " * 200 + f"{SPANISH} " * 200, "28", "language_mixing"),
        ("若 $中$ 是一个正整数，求它的平方。", ENGLISH, "28", "language_mixing"),
        ("求所有整数的和", "First we look at all the integers and then add them up, which gives it.", "28", "language_mixing"),
        (GOOD, "```python\nprint(1)\n```", "28", "code_in_thought"),
        (GOOD, "so " * 1_500, "28", "long_paragraph"),
        (GOOD, "so", "\\boxed{1} or \\boxed{2}", "several_boxes"),
        (GOOD, "so", "It is 28.", "no_box"),
    ],
)
def test_each_trace_rule(question: str, thought: str, answer: str, rule: Any) -> None:
    assert trace_filter((rule,), question, thought, answer) == rule


def test_good_traces_stay() -> None:
    thought = "Let α be the angle, so sin α = 1/2.\n\nNaïve check: 3 × 4 = 12 ≤ 20."
    assert trace_filter(TRACE_RULES, GOOD, thought, "\\boxed{\\frac{1}{2}}, that is \\boxed{ \\frac{1}{2} }") is None
    assert trace_filter(("language_mixing",), "求 $x$ 的值", "我们有 $\\frac{x}{2}=1$，所以 x=2。", "答案是 \\boxed{2}") is None
    assert trace_filter(TRACE_RULES, GOOD, None, "\\boxed{28}") is None


@pytest.mark.parametrize(
    ("question", "thought"),
    [
        ("Translate into Chinese: I have a small dog.", "A small dog: 小狗. So 我有一只小狗."),
        ("Translate into Chinese: I have a small dog.", "Have is to own, a dog is an animal; small is its size."),
        ("What is the German for it? Translate the sentence into German.", GERMAN),
        ("Translate 'der Hund ist nicht groß' for me.", GERMAN),
        ("Let х be a number for which 3х + 2 = 11. Find it.", ENGLISH),
        ("Let х be a number for which 3х + 2 = 11. Find it.", "So 3х = 9, and х = 3. Check: х = 3 gives 3х + 2 = 11."),
        ("The sign 中 stands for the product. What is 3 中 4?", ENGLISH),
        ("The sign 中 stands for the product. What is 3 中 4?", "3 中 4 is 12, as 4 中 3 is; 中 is the product."),
        ("Find the sum of the angles.", "Let α, β, γ be the angles; αβγ = 1 and αβγδ is 2, so αβγ + βγδ + γδα is known."),
        (GOOD, "In Los Angeles and Las Vegas the de Broglie wavelength of El Niño is what is asked. " * 3),
        (GOOD, "The side da is 3 and du is 4, so da du is 12, as du da is. " * 5),
        (GERMAN, GERMAN),
        ("Berechne 3 + 4.", GERMAN),
        (SPANISH, SPANISH),
        ("Сколько будет 3 + 4?", "Складываем числа: 3 + 4 = 7, ответ 7."),
    ],
)
def test_thoughts_in_the_language_of_the_question_stay(question: str, thought: str) -> None:
    assert trace_filter(("language_mixing",), question, thought, "28") is None


def test_the_answer_may_be_in_any_language() -> None:
    assert trace_filter(("language_mixing",), "Put it in other words: I have a dog.", "A dog, so.", "我有一只小狗。") is None
    assert trace_filter(("language_mixing",), GOOD, ENGLISH, GERMAN) is None


def test_boxes_are_found_with_their_braces() -> None:
    assert boxes("\\boxed{a{b}c} and \\boxed{ d } and \\boxed{open") == ["a{b}c", "d"]


@pytest.mark.parametrize("piece", ["\\boxed{", "**1", "(a) ", "show that ", "p1", "[(", "所", "a) b) ", "```", "\n\n"])
def test_time_is_linear(piece: str) -> None:
    text = piece * (300_000 // len(piece))
    start = time.perf_counter()
    problem_fault(PROBLEM_RULES, text, text, text, "web")
    for rule in PROBLEM_RULES:
        problem_fault((rule,), text, text, text, "web")
    for rule_ in TRACE_RULES:
        trace_filter((rule_,), "q", text, text)
    assert time.perf_counter() - start < 10


def test_a_long_paragraph_is_found_as_by_division() -> None:
    draw = random.Random(2)
    for _ in range(300):
        pieces = draw.choices(["a" * 1499, "b" * 1500, "c" * 3000, "d", "e\nf"], k=draw.randint(1, 8))
        text = "".join(piece + "\n" * draw.choice([0, 1, 2, 2, 2, 3, 5]) for piece in pieces)
        assert has_long_paragraph(text) == (longest_paragraph(text) > 3_000)


def test_a_look_at_thoughts_changes_no_reason() -> None:
    draw = random.Random(5)
    words = [
        "so",
        "x = 3",
        "und",
        "der",
        "ist",
        "está",
        "não",
        "\u00a0",
        "Найдём",
        "小狗",
        "άρα έχω",
        "αβγ",
        "≤",
        "😀",
        "```",
        "\x1c",
    ]
    thoughts: list[str | None] = [
        None,
        "",
        "\n",
        "der\nund\x1cist " * 20,
        "está não também é " * 30,
        "x" * 2_999 + "\n\n" + "y" * 3_001,
    ]
    for _ in range(600):
        some = draw.choices(words, k=draw.randint(1, 4))
        gaps = draw.choice([[" "], [" ", "\n"], [" ", "\n\n"], ["\n\n\n", " "]])
        thoughts.append("".join(piece + draw.choice(gaps) for piece in draw.choices(some, k=draw.randint(1, 900))))
    found = list(looks(pl.Series(thoughts, dtype=pl.String)))
    told = set()
    for thought, look in zip(thoughts, found, strict=True):
        for rule in ("language_mixing", "code_in_thought", "long_paragraph"):
            reason = trace_filter((rule,), GOOD, thought, "28")
            assert reason == trace_filter((rule,), GOOD, thought, "28", look)
            told.add((rule, reason, look.others, look.fenced, look.long))
    assert {reason for _, reason, *_ in told} == {None, "language_mixing", "code_in_thought", "long_paragraph"}
    assert not all(others and fenced and long for *_, others, fenced, long in told)
