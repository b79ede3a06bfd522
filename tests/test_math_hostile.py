"""What a model may write to stop the verifier: none of it may hang or raise in the cheap tier."""

import time

import pytest

from curation.mathematics import exact

HOSTILE = [
    "9" * 4400,
    "2^{2^{2^{2^{2^{99}}}}}",
    "((((((5!)!)!)!)!)!)",
    r"\frac{" * 300 + "1" + "}{2}" * 300,
    "(" * 900 + "1" + ")" * 900,
    "{" * 1000,
    r"\sqrt{" * 400 + "2" + "}" * 400,
    "-" * 1900 + "1",
    "|" * 1000,
    r"\sin " * 400 + "1",
    "x^" * 500 + "2",
    "\x00\x01" * 100,
    "½" * 200,
    r"\cos(10^{10^{9}})",
    "(10^{10^{9}})!",
    r"\sqrt[10^9]{10^{10^9}}",
    ",".join(["1"] * 900),
    r"\pm 1" * 200,
    "(" + ",".join([r"\pm 1"] * 200) + ")",
    r"\cup".join(["(1,2)"] * 150),
    "1" + "+1" * 900,
    "a" * 1900,
    "ab " * 600,
    r"\text{" * 300,
    r"\begin{pmatrix}" * 100,
    "x_{" * 500,
    "f(" * 500,
    "1e999999",
    "1e9999",
    "0." + "3" * 1900,
    "2^{-10^{18}}",
    "e^{e^{e^{e^{e}}}}",
    "0/0",
    "1/0",
    "0^0",
    r"\tan(\pi/2)",
    "x<" * 200 + "1",
    r"\{x|" * 100,
    "lcm(" + ",".join(str(n) for n in range(2, 400)) + ")",
    "(x+1)^{1000000}",
    r"\log_{1}(5)",
    r"\log_{0}(0)",
    "5'" * 500,
    "x'" * 500,
    "\ud800",
    "gcd(" + ",".join(["10^{4000}"] * 100) + ")",
    r"\binom{10^{9}}{5\cdot 10^8}",
    "٥",
    "五",
    "1_{2}" * 300,
]


@pytest.mark.parametrize("text", HOSTILE)
def test_nothing_hangs_or_raises(text: str) -> None:
    """The worst of these needs 0.15 s; two seconds leave room for a slow machine."""
    started = time.perf_counter()
    for gold in ("5", "x^2+1", "(1,2)", r"\{1,2\}"):
        exact.compare(gold, text)
        exact.compare(text, gold)
    assert time.perf_counter() - started < 4
