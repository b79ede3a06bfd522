"""The cheap tier: what is equal, what is different, and what is left open."""

import pytest

from curation.mathematics import exact

EQUAL = [
    ("1/2", "0.5"),
    ("0.5", r"\frac{1}{2}"),
    (r"\frac12", r"\dfrac{1}{2}"),
    ("3.5", r"3\frac{1}{2}"),
    ("3.5", "3 1/2"),
    ("1000000", "1,000,000"),
    ("15000", r"\$15,\!000"),
    ("10000", "10{,}000"),
    ("0.335", r"33.5\%"),
    ("50", r"50\%"),
    ("1500", r"1.5 \times 10^3"),
    ("2.45e6", r"2.45 × 10^6"),
    ("1e-8", "10^{-8}"),
    ("-5", "−5"),
    ("5", "five"),
    ("3000000", "3 million"),
    (r"\frac{95}{3}", r"31.\overline{6}"),
    (r"\frac{1}{2}", "½"),
    ("2", "+2"),
    ("7", "7."),
    ("2**(1/4)", r"\sqrt{\sqrt{2}}"),
    (r"\sqrt{3} - 1", "-1 + sqrt(3)"),
    (r"3\sqrt{5}/7", r"\frac{3\sqrt{5}}{7}"),
    (r"3\sqrt{13}", "3√13"),
    (r"96-10\sqrt{21}", r"\frac{6\sqrt{1789-240\sqrt{21}}+8\sqrt{1236-240\sqrt{21}}}{5}"),
    ("pi/2", r"\frac{\pi}{2}"),
    ("exp(16)-1", "e^{16}-1"),
    ("A", "A"),
    ("2024^{4046}", "2024^{4046}"),
    ("1/2004!", r"\frac{1}{2004!}"),
    (r"\binom{4}{2}", "6"),
    (r"\log_{2} 8", "3"),
    (r"\sin 30^\circ", "1/2"),
    (r"\sqrt[3]{-8}", "-2"),
    (r"5 \cdot 2^{2/3}", r"5 \sqrt[3]{4}"),
    (r"-\sqrt{3}", r"\frac{\sin 100^\circ (1 + 4 \cos 100^\circ)}{\cos 100^\circ}"),
    (r"\left\lceil 2.1 \right\rceil", "3"),
    ("|-3|", "3"),
    ("x^2-2x+1", "(x-1)^2"),
    (r"2 \arcsin \sqrt{a}", r"\arccos(1-2a)"),
    (r"\cot x", r"\frac{\cos x}{\sin x}"),
    ("n!(n+1)", "(n+1)!"),
    (r"\cos(n\pi)", "(-1)^n"),
    (r"\frac{e^{at}-e^{-at}}{2a}", r"\frac{1}{a}\sinh(at)"),
    (r"x_0 \cos(\omegat)", r"x_0 \cos(\omega t)"),
    ("x=5", "5"),
    ("5", "x = 5"),
    ("2=x", "x=2"),
    ("k=n+1", "n+1"),
    ("f(z)=z", "f(x)=x"),
    ("f(n)=2n+7", "f(m)=2m+7"),
    ("46", "AB = 46"),
    ("106", "128 - 24 + 2 = 106"),
    ("xy = 6", r"\frac{6}{x}"),
    (r"\rho\sin\theta = \sqrt{3}", r"\sqrt{3} \csc\theta"),
    ("y=2x+1", "2x-y+1=0"),
    ("x^2+y^2=4", "2x^2+2y^2=8"),
    ("x<2", "2>x"),
    (r"x = k\pi", r"n\pi"),
    ("2cx^2", "2Cx^2"),
    (r"\frac{\sqrt2}{2}", r"x=y=\frac{\sqrt2}{2}"),
    (r"\frac{1+\sqrt{97}}{8} \approx 1.36", r"\frac{1+\sqrt{97}}{8}"),
    ("(P(x), Q(x)) = (x, 2x)", "(x, 2x)"),
    ("1,-1,7", "-1, 1, 7"),
    (r"\{1,2,3\}", r"\{3, 2, 1\}"),
    ("1 \\pm \\sqrt{19}", r"1+\sqrt{19}, 1-\sqrt{19}"),
    (r"\pm 1, \pm 7", "-7,-1,1,7"),
    ("(6,3),(9,5)", "(9, 5), (6, 3)"),
    ("1,3", r"1 \text{ and } 3"),
    ("16,3,1", "w=16, d=3, a=1"),
    ("1,2", "Minimum: 1, Maximum: 2"),
    ("1,2,3", "(x, y, z) = (1, 2, 3)"),
    (r"(\sqrt2,0),(-\sqrt2,0)", r"(\pm\sqrt2, 0)"),
    (r"\begin{pmatrix} -7 \\ 16 \\ 5 \end{pmatrix}", "(-7,16,5)"),
    (r"\begin{pmatrix} 1/5 \\ 2 \end{pmatrix}", r"\begin{bmatrix} 0.2 \\ 2 \end{bmatrix}"),
    ("(3,331)", "(3, 331)"),
    ("x=2 or x=3", "3, 2"),
    ("x \\in [-2,7]", "[-2, 7]"),
    (r"(-\infty,-5)", "k < -5"),
    ("(3,4]", r"3 < \lambda \leq 4"),
    (r"\{x \mid -1 < x < 1\}", "(-1, 1)"),
    (r"a \leqslant -2 \text{ or } a = 1", r"(-\infty,-2] \cup \{1\}"),
    (r"x \neq 2", r"(-\infty,2)\cup(2,\infty)"),
    (r"\mathbb{R}", r"(-\infty,\infty)"),
    (r"\{x | x < \frac{3}{2}\} - \{-6\}", r"(-\infty,-6)\cup(-6,\frac32)"),
    ("x > 1 and x < 5", "(1,5)"),
    ("[0,1] \\cup [1,2]", "[0,2]"),
    ("10", r"10\text{ cm}"),
    ("540", "540 meters"),
    ("864 \\mbox{ inches}^2", "864"),
    ("74^\\circ", "74°"),
    ("74", r"\angle APC = 74^\circ"),
    ("2\\pi/3", "120^\\circ"),
    ("-10", r"-10\,\text{°F}"),
    ("0.006", r"6 \times 10^{-3} \text{ m/s²}"),
    ("5", "5 dozen"),
    ("60", "5 dozen"),
    ("12", r"12^{\mathrm{th}}"),
    (r"0.56 = 56\%", "0.56"),
    ("1:2:3", "2:4:6"),
    (r"9,\! 000", "9000"),
    ("C(10,3)", "120"),
    ("all real numbers", r"\mathbb{R}"),
    (r"\emptyset", r"\{\}"),
    ("[[1,2],[3,4]]", r"\begin{pmatrix}1&2\\3&4\end{pmatrix}"),
    (r"$\frac{2}{3}$ cup", "2/3"),
    ("6.02 x 10^23", "6.02e23"),
    ("AC", "A and C"),
    ("5 km", r"5\text{ kilometers}"),
    (r"k\in\{1,2\}", "1, 2"),
    ("15", "15th"),
    ("3:1", "3"),
    ("5:8", r"\frac58"),
    (r"\text{(C)}", "C"),
    ("B", "b."),
    (r"\text{Evelyn}", "Evelyn"),
    ("odd $n$", "odd n"),
    ("no solution", r"\emptyset"),
    ("infinitely many", r"\infty"),
    ("-221_3", "-221"),
    ("60^\\circ 42'", r"60.7^\circ"),
    ("15000", r"15,000 \, \text{kcal m}^{-2} \text{ yr}^{-1}"),
    ("SRMC=LRMC", r"\text{SRMC} = \text{LRMC}"),
    ("0.75", "0.750"),
    ("\x0crac{1}{2}", r"\frac12"),
    ("60^\textcirc 42'", r"60^\circ 42'"),
    (r"\\frac{\\pi}{2}", r"\frac{\pi}{2}"),
    ("(- \\frac {1}{2}, 2.]", "(-1/2, 2]"),
]

DIFFERENT = [
    ("1/2004!", "1/2006!"),
    ("1/2^99", "1/2^98"),
    (r"1-\frac{1}{e}", r"1+\frac{1}{\mathrm{e}}"),
    ("2^{2025}", "3^{2025}"),
    ("2024^{4046}", "2024^{4046}+1"),
    ("42", "43"),
    ("75", "74.999"),
    ("2", "2.0000001"),
    ("31", r"31.\overline{6}"),
    ("0.5", "0.46"),
    ("5", "-5"),
    (r"\infty", r"-\infty"),
    ("(3,4)", "(4,3)"),
    ("[1,2]", "(1,2)"),
    ("(-\\infty,-5)", "k > -5"),
    ("a \\geq 0", "[0, 1)"),
    ("1,2", "1,3"),
    ("1,2", "1"),
    ("(0,2),(0,-2)", "(0,2)"),
    ("x^2", "x^3"),
    ("f(n)=n", "f(n)=n^2"),
    ("n", "n+1"),
    (r"k\pi", r"2n\pi"),
    (r"\lfloor\sqrt{n-1}\rfloor", r"\lfloor\sqrt{n}\rfloor"),
    ("82", r"\cos x = \frac{1}{\sec x}"),
    ("x^2+y^2=4", "x^2+y^2=9"),
    ("(C)", "(D)"),
    ("Evelyn", "Briana"),
    ("odd", "even"),
    (r"\emptyset", "n"),
    (r"0.56 = 56\%", r"0.56 = 66\%"),
    ("f(-3/4) > f(a)", "f(-8/4) > f(a)"),
    (r"2\cos(\pi t+\pi/3)", r"2\cos(\pi t-\pi/3)"),
    ("4:51:06", "4:51:36"),
    ("x=3, y=4", "y=3, x=4"),
    ("3", r"3\sqrt{5}"),
    ("60^\\circ 42'", r"60^\circ"),
    ("5x-7y+4=0", "5x-7y-4=0"),
    (r"\begin{pmatrix} 1 \\ 2 \end{pmatrix}", r"\begin{pmatrix} 1 \\ 3 \end{pmatrix}"),
    ("x", "y"),
]

# Pairs in which the gold has a say of its own: how many digits count, a letter among choices, a number instead of words.
GOLD_FIRST = [
    ("0.333", "1/3", "correct"),
    ("85.71", r"\frac{600}{7}", "correct"),
    (r"\frac{600}{7}", "85.71", "correct"),
    (r"\frac{600}{7}", "85.7", "undetermined"),
    (r"41.4\%", r"\sqrt2-1", "correct"),
    ("20.39", "20.385", "correct"),
    ("0.022", "0.0225", "undetermined"),
    ("0.33", "0.34", "incorrect"),
    ("784", "785.12", "incorrect"),
    ("(C)", r"\textbf{(C)}\ 42", "correct"),
    ("17", "cannot be determined", "incorrect"),
    ("25", r"\text{No solution}", "incorrect"),
    ("0", "none", "undetermined"),
    ("1/3", "0.333...", "undetermined"),
    ("0.333...", "1/3", "correct"),
    ("B) 7", "B", "correct"),
    ("B) 7", "C", "incorrect"),
    ("B) 7", "7", "correct"),
]

OPEN = [
    ("0.33", "1/3"),  # two digits may be a rounding, or wrong
    ("12.5", "12.54"),  # a decimal beside a finer one: its own error or the gold's rounding
    ("n+1", "k+1"),  # another letter
    ("3,4", "p=4, q=3"),  # named in an order that the gold may or may not mean
    (r"\log 100", "2"),  # log of which base
    ("10^{1000000}", "10^{1000000}+1"),  # too large to be exact
    ("9^{9^{9^{9}}}", "9^{9^{9^{9}}}+1"),
    ("221_3", "25"),  # the same number, written as the question did not ask
    ("3,331", "3, 331"),  # a thousand or two numbers
    ("1128", "18.8 hours"),  # the same in minutes
    ("(1,2)", r"\{1,2\}"),
    ("3i+4j", "(3,4)"),
    ("I(0)e^{-t}", "I(0)e^{t}"),
    ("6630.65", "6630.64"),
    (r"f(x) = 1 \text{ for all } x > 0", r"f(x) = 1 \text{ for all } x > 5"),
    ("T(10)=2, T(11)=4", "T(10)=2, T(17)=4"),
    ("12 cm^2", "12 cm^3"),
    (r"1\text{ hour }30\text{ minutes}", "90 minutes"),
    (r"5 \mod 7", "5"),
    ("Petya will receive the last token.", "Petya"),
    ("(C)", "z = c"),
    (r"\int_0^1 x dx", "1/2"),  # beyond the grammar: for the slow tier
]


@pytest.mark.parametrize(("gold", "answer"), EQUAL)
def test_equal_whichever_stands_first(gold: str, answer: str) -> None:
    assert exact.compare(gold, answer) == ("correct", "equal")
    assert exact.compare(answer, gold) == ("correct", "equal")


@pytest.mark.parametrize(("gold", "answer"), DIFFERENT)
def test_different_whichever_stands_first(gold: str, answer: str) -> None:
    assert exact.compare(gold, answer) == ("incorrect", "different")
    assert exact.compare(answer, gold) == ("incorrect", "different")


@pytest.mark.parametrize(("gold", "answer", "outcome"), GOLD_FIRST)
def test_the_gold_has_a_say(gold: str, answer: str, outcome: str) -> None:
    decision = exact.compare(gold, answer)
    assert (decision.outcome if decision else "undetermined") == outcome


@pytest.mark.parametrize(("gold", "answer"), OPEN)
def test_left_open(gold: str, answer: str) -> None:
    decision = exact.compare(gold, answer)
    assert decision is None or decision.outcome == "undetermined"


@pytest.mark.parametrize(
    "gold",
    [
        r"10\text{ cm}",
        "(3,4]",
        r"\begin{pmatrix} 1 & 2 \\ 3 & 4 \end{pmatrix}",
        "Evelyn",
        r"\text{(C)}",
        "1,000,000",
        r"3\frac{1}{2}",
        r"x \in [-2,7]",
        r"\text{October}",
        r"\frac{11+9a}{20}",
        "18.8^{\\circ}",
        "x = y = z = 1",
        "$1$,$2$",
    ],
)
def test_readable_golds(gold: str) -> None:
    assert exact.readable(gold)


@pytest.mark.parametrize("gold", [r"\int_0^1 x dx", "1 + ", r"\frac{1}{", "2 +* 3", "((("])
def test_unreadable_golds(gold: str) -> None:
    assert not exact.readable(gold)
