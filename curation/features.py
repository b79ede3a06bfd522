"""What a trace looks like in numbers: its length, and how often it checks, doubts and connects.

The word lists of LIMO are not published; these are ours, after the examples its paper gives (check, verify; perhaps, might;
therefore, since). Counts are of whole words, small or with a capital, one pass of a compiled regex each.
"""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

WORDS: dict[str, str] = {
    "verifying": "check|checks|checked|checking|verify|verifies|verified|verifying|confirm|confirms|confirmed|confirming|"
    "validate|validated|recheck|rechecking",
    "tentative": "perhaps|maybe|might|could|possibly|probably|alternatively|suppose|wait|hmm|likely|seems|unless",
    "connective": "therefore|since|because|thus|hence|so|then|consequently|accordingly|implies|follows|given",
}
FEATURES = ("characters", "words", *WORDS)


def trace_features(texts: pl.Series, names: Sequence[str] = FEATURES) -> pl.DataFrame:
    """One row for each text, in order: characters, words, and for each list of WORDS in `names` its matches divided by the words.

    A text without words has 0 of each.
    """
    frame = texts.alias("text").to_frame()
    words = pl.col("text").str.count_matches(r"\S+").cast(pl.Float64)
    counts = [pl.col("text").str.count_matches(_pattern(listed)).alias(name) for name, listed in WORDS.items() if name in names]
    found = frame.select(pl.col("text").str.len_chars().cast(pl.Int64).alias("characters"), words.alias("words"), *counts)
    share = [(pl.col(name) / pl.max_horizontal("words", pl.lit(1.0))).alias(name) for name in WORDS if name in names]
    return found.with_columns(*share)


def _pattern(listed: str) -> str:
    """A regex for the words, small or with a capital: `(?i)` leaves the regex's search for literals and takes five times as long.

    ASCII word borders for the same reason; every listed word is ASCII.
    """
    return rf"(?-u)\b(?:{'|'.join(f'[{word[0].upper()}{word[0]}]{word[1:]}' for word in listed.split('|'))})\b"
