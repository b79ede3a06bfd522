"""Where the answer stands: a table of what models really write, one line for each finding."""

import time

import pytest

from curation.extract import extract, extract_gold

CASES = [
    # (response, answer, rule)
    (r"so \boxed{42}", "42", "boxed"),
    (r"\boxed{\frac{1}{2}}", r"\frac{1}{2}", "boxed"),
    (r"first \boxed{1}, then, no: \boxed{2}.", "2", "boxed"),
    (r"The roots are \boxed{2} and \boxed{3}.", "2, 3", "boxed"),
    (r"$\boxed{2}$, $\boxed{3}$", "2, 3", "boxed"),
    (r"\boxed{5} ... again \boxed{5}", "5", "boxed"),
    (r"\boxed{\{1, 2\}}", r"\{1, 2\}", "boxed"),
    (r"\boxed{540} meters", "540", "boxed"),
    (r"$x = \boxed{\$18}$", r"\$18", "boxed"),
    (r"\fbox{7}", "7", "boxed"),
    (r"\boxed 5 .", "5", "boxed"),
    (r"\beginboxed{8\sqrt{6}}", r"8\sqrt{6}", "boxed"),
    (r"\boxed{\boxed{9}}", "9", "boxed"),
    (r"\boxed{} so the answer is 4.", "4.", "answer_is"),
    (r"\boxed{12 The answer is 8", "8", "answer_is"),
    ("<answer> 17 </answer>", "17", "answer_tag"),
    (r"<answer>\boxed{17}</answer>", "17", "answer_tag"),
    ("<answer>5</answer> no: <answer>6", "6", "answer_tag"),
    ('{"reasoning": "...", "answer": "17"}', "17", "json"),
    ('```json\n{"reasoning": "x", "answer": "\\\\frac{1}{2}"\n}\n```', r"\frac{1}{2}", "json"),
    ('{"answer": "\\sqrt{2}"}', r"\sqrt{2}", "json"),
    ('{"reasoning": "cut", "answer": 12, ', "12", "json"),
    ('{"answer": "5', "5", "json"),
    ('{\\"answer\\": \\"40\\"}', "40", "json"),
    ('{"answer": "4\\u03c0/3"}', "4π/3", "json"),
    ('{"answer": "x"} then \\boxed{3}', "3", "boxed"),
    ('{"reasoning": "\\boxed{3}", "answer": "4"}', "4", "json"),
    ('{"answer": "The total cost of all the apples together is 12 dollars"}', "12", "json"),
    ("Final Answer: The final answer is 3.61e-10. I hope it is correct.", "3.61e-10.", "final_answer"),
    ("The final answer is: $42$.", "$42$.", "final_answer"),
    (r"**Answer:** Terry spends **\$75.00** on yogurt over 30 days.", r"\$75.00", "answer_label"),
    ("Answer: Gerald has $50 left.", "$50", "answer_label"),
    ("**Answer**: 27 square miles", "27 square miles", "answer_label"),
    ('Answer: "4"', "4", "answer_label"),
    ("Natalia sold 48/2 = 24.\n#### 72", "72", "hashes"),
    ("The answer is $$42$$", "$$42$$", "answer_is"),
    ("I think the answer is 42, since 40 + 2 = 42", "42, since 40 + 2 = 42", "answer_is"),
    ("The sum of these values is indeed 46.", "46", "last_number"),
    ("It is 19.", "19", "last_number"),
    ("So we get 19 apples", "19", "last_number"),
    ("We add them. Altogether there are 1,234 of them on the big table.", "1,234", "last_number"),
    (r"After some work we finally arrive at \(x = 3\).", "x = 3", "last_math"),
    ("x=2", "x=2", "whole"),
    (r"odd $n$", r"odd $n$", "whole"),
    (r"10\text{ cm}", r"10\text{ cm}", "whole"),
    (r"(-\infty,-8)\cup (8,\infty)", r"(-\infty,-8)\cup (8,\infty)", "whole"),
    ("<think>maybe \\boxed{1}</think>\\boxed{2}", "2", "boxed"),
    ("so 5\n</think>\n\nThe answer is 6", "6", "answer_is"),
    (
        "<|begin_of_thought|>7?<|end_of_thought|><|begin_of_solution|>\\boxed{8}<|end_of_solution|>",
        "8",
        "boxed",
    ),
]


@pytest.mark.parametrize(("response", "answer", "rule"), CASES)
def test_rule_and_answer(response: str, answer: str, rule: str) -> None:
    assert extract(response) == (answer, rule)


@pytest.mark.parametrize(
    ("response", "rule"),
    [
        ("<think>still thinking \\boxed{5}", "unclosed_thought"),
        ("<|begin_of_thought|>still \\boxed{5}", "unclosed_thought"),
        ("", "no_answer"),
        ("<think>5</think>", "no_answer"),
        ("...", "no_answer"),
    ],
)
def test_no_answer_says_why(response: str, rule: str) -> None:
    assert extract(response) == (None, rule)


@pytest.mark.parametrize(
    ("gold", "bare"),
    [
        ("18", "18"),
        ("He pays 3 + 4 = <<3+4=7>>7.\n#### 7", "7"),
        ("#### 1,450,000", "1,450,000"),
        (r"Adding gives \[\boxed{\frac{3}{4}}.\]", r"\frac{3}{4}"),
        (r"$f(x)=2 x$", r"$f(x)=2 x$"),
        ("  ", None),
    ],
)
def test_bare_gold(gold: str, bare: str | None) -> None:
    assert extract_gold(gold) == bare


@pytest.mark.parametrize(
    "piece",
    [
        r"\boxed{",
        "{",
        "$",
        r"\(",
        r"\[ ",
        "answer is ",
        "final answer ",
        "answer to ",
        '"answer": "',
        "**",
        "#### ",
        "<answer>",
        "<think>",
        "</think>",
        r"\boxed{5} and ",
        r"\text{",
        "1",
        "a ",
        "\n",
        " ",
        "-",
        "3,",
        "İ",
        '"answer"  ',
    ],
)
def test_linear_in_hostile_text(piece: str) -> None:
    """300,000 characters of anything end within two seconds; the worst real rule needs about 0.2."""
    started = time.perf_counter()
    extract(piece * (300_000 // len(piece)))
    assert time.perf_counter() - started < 2
