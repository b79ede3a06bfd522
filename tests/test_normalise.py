import time

import pytest

from curation.deciding import deciding
from curation.normalise import is_word, join_tokens, normalise_question, tokens, words

SAME = [
    ("$x$ and $y$", r"\(x\) and \(y\)"),
    (r"What is $\dfrac12$?", r"what is \frac{1}{2}"),
    (r"\left( 3, \frac{\pi}{2} \right)", r"(3,\tfrac{\pi}2)"),
    ("Find x² + 1.", "Find $x^2+1$"),
    ("x₁ ≤ 5", r"$x_1 \leq 5$"),
    (r"$z \not= i$", r"z ≠ i"),
    ("1,000 apples", r"$1{,}000$ apples"),
    ("1,000 apples", r"$1,\!000$ apples"),
    ("1,000 apples", r"\(1,000\) apples"),
    ("an angle of 60°", r"an angle of $60^{\circ}$"),
    ("an angle of 60°", r"an angle of $60^\circ$"),
    (r"$x = 5\text{ if }y$", "x = 5 if y"),
    ("Janet’s well-known trick", "Janet's well known trick"),
    ("the sum $x y$", "the sum xy"),
    ("3 − 4", "3-4"),
    ("words --- and words", "words and words"),
    (r"$\angle ABC$", "∠ABC"),
    (r"point $P_{}^{}$ on $AB^{}_{}$", "point $P$ on $AB$"),
    (r"\[x\\[2pt] y\]", "$x$ $y$"),
    ("  line\nbreaks\tand   spaces\u2028", "line breaks and spaces"),
    ("ＦＵＬＬ ｗｉｄｔｈ", "full width"),
    ("Find \N{GREEK SMALL LETTER THETA}", r"find $\theta$"),
    (r"50\% of \$20", "50% of 20"),
    ("⌊3.7⌋ + ⌈x⌉", r"$\lfloor 3.7 \rfloor + \lceil x\rceil$"),
    ("p ∧ (q ∨ ¬p)", r"$p \land (q \lor \lnot p)$"),
    ("∛8 − ∜x", r"$\sqrt[3]{8} - \sqrt[4]{x}$"),
    ("3∣6, AB ∥ CD ⊥ EF", r"$3 \mid 6$, $AB \parallel CD \perp EF$"),
    ("A ⊆ ∅ ⇔ ∀x ∉ A", r"$A \subseteq \varnothing \Leftrightarrow \forall x \notin A$"),
    ("∏ Δ ⇒ ∂ ≈ ∼", r"$\prod \Delta \Rightarrow \partial \approx \sim$"),
    ("x¹⁰ − aₙ₊₁ + 2ⁿ", "$x^{10} - a_{n+1} + 2^n$"),
    ("f″(x⁻¹)", "$f''(x^{-1})$"),
    ("I ❤️ it", "I ❤ it"),
]
DIFFERENT = [
    ("3+4", "3-4"),
    ("3 * 4", "3 / 4"),
    ("5!", "5"),
    ("f'(x)", "f(x)"),
    ("[0,1]", "(0,1)"),
    ("2^{3x}", "2^3x"),
    ("a ratio of 3:4", "a ratio of 3,4"),
    (".5 kg", "5 kg"),
    ("1.5 kg", "15 kg"),
    ("{100, 200}", "100200"),
    ("the interval [-500,500]", "the interval [-500500]"),
    ("(2+3)*4", "2+3*4"),
    ("x < 3", "x > 3"),
    ("⌊3.7⌋", "⌈3.7⌉"),
    ("p ∧ q", "p ∨ q"),
    ("A ⊂ B", "A ⊃ B"),
    ("AB ∥ CD", "AB ⊥ CD"),
    ("∀x", "∃x"),
    ("¬p", "p"),
    ("∛8", "8"),
    ("3 ∣ 6", "3 ∤ 6"),
    ("a ⊕ b", "a ⊗ b"),
    ("a ⋈ b", "a ⊲ b"),
    ("🍎 + 🍎", "🍌 + 🍌"),
    ("£5", "€5"),
    ("2ⁿ", "2n"),
    ("x⁻¹", "x¹"),
    ("f″(x)", "f(x)"),
]


@pytest.mark.parametrize(("one", "other"), SAME)
def test_one_question_typed_in_two_ways(one: str, other: str) -> None:
    assert normalise_question(one) == normalise_question(other)


@pytest.mark.parametrize(("one", "other"), DIFFERENT)
def test_what_changes_the_answer_stays(one: str, other: str) -> None:
    assert normalise_question(one) != normalise_question(other)


def test_words_are_numbers_letters_and_command_names() -> None:
    assert words(r"If $3x^2 + \frac{1}{2.5} = 0$, find x_1.") == [
        "if",
        "3",
        "x",
        "2",
        "frac",
        "1",
        "2.5",
        "0",
        "find",
        "x",
        "1",
    ]


def test_an_unnamed_sign_decides_and_an_accent_alone_does_not() -> None:
    assert tokens("⌊x⌋ ⋈ 🍎´ ¨") == ["\\lfloor", "x", "\\rfloor", "⋈", "🍎"]
    assert deciding(tokens("How much is 🍎 + 3 ⋈ 4 ?")) == ["🍎", "+", "3", "⋈", "4"]


def test_characters_of_scripts_without_spaces_are_words() -> None:
    assert words("若 $x+3$ 則") == ["若", "x", "3", "則"]


def test_tokens_keep_signs_and_normalised_text_is_made_of_them() -> None:
    found = tokens(r"$\sqrt{x} - 3!$")
    assert found == ["\\sqrt", "x", "-", "3", "!"]
    assert [is_word(token) for token in found] == [True, True, False, True, False]
    assert join_tokens(found) == normalise_question(r"\sqrt x - 3!")


@pytest.mark.parametrize("text", ["", " \n", "?!...", "$$", "\\", "\\\\"])
def test_a_text_without_tokens_is_empty(text: str) -> None:
    assert normalise_question(text) == ""
    assert words(text) == []


@pytest.mark.parametrize("piece", ["{", "\\text{", "$", "\\", "1,", "[asy]", "^{ ", "a ", "'", "-", "\ud800", "(", "1,000"])
def test_time_is_linear_whatever_the_text(piece: str) -> None:
    start = time.perf_counter()
    normalise_question(piece * (400_000 // len(piece)))
    assert time.perf_counter() - start < 10
