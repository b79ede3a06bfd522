"""Tokens by bytes are the tokens of the regular expression, and hash alike whichever way they were found."""

from __future__ import annotations

import random

import numpy as np
import pytest

from curation import minhash, net
from curation.ascii_tokens import COMMAND, LETTERS, NUMBER, SIGN, find
from curation.normalise import spelled, tokens_of

TEXTS = [
    r"\frac{1}{2}x^2-3y \\\pi\w \n \nn",
    "1.2.3.4 .5 ..6 7. x.8 9.a",
    "well-known a-b x-ab 3--4 -5",
    "ratio 3:4 a:b 3:b :4",
    "5! n! an! (n)! ! !! x_n!",
    "f'(x) f'' x''' ' a' (b)' _'",
    "",
    "\n \t",
    "[0, 1) {a|b} 50% <= >= a/b*c+d=e",
]


def byte_tokens(text: str) -> list[str]:
    found = find(text.encode())
    return [text[start:end] for start, end in zip(found.starts.tolist(), found.ends.tolist(), strict=True)]


@pytest.mark.parametrize("text", TEXTS)
def test_the_same_tokens(text: str) -> None:
    assert byte_tokens(text) == tokens_of(text)


def test_the_same_tokens_of_any_characters() -> None:
    draw = random.Random(3)
    text = "\n".join("".join(draw.choices("abzi019..!!''::--\\\\_^{}()$,;= \t%", k=draw.randint(0, 30))) for _ in range(5_000))
    assert byte_tokens(text) == tokens_of(text)


def test_what_a_token_is() -> None:
    assert find(rb"ab \pi 3.5 .5 -").kinds.tolist() == [LETTERS, COMMAND, NUMBER, NUMBER, SIGN]


@pytest.mark.parametrize("module", [minhash, net])
def test_both_ways_of_reading_give_the_same_numbers(module: object) -> None:
    reader = module._reader()  # type: ignore[attr-defined]
    texts = [*TEXTS, "Thirteen apples, not an odd number: a or b?", "naïve 等于 $3$", r"\begin{cases} \no x \nn \end{cases}"]
    found, slowly = reader.read(texts), reader._by_tokens(list(map(spelled, texts)))
    np.testing.assert_array_equal(found.tokens.hashes, slowly.tokens.hashes)
    np.testing.assert_array_equal(found.tokens.starts, slowly.tokens.starts)
    np.testing.assert_array_equal(found.letters, slowly.letters)
