"""Vectors of texts, duplicates found by them, repeated traces, and the fuzzy rule."""

import random
from pathlib import Path

import numpy as np
import pytest
from tiny_model import make_tiny_model

from curation.benchmarks import Benchmark
from curation.dedup_semantic import repeated_traces, semantic_duplicates
from curation.fuzzy import fuzzy_contamination
from curation.vectors import from_model, tfidf_svd

BOATS = "A boat crosses the river in 12 minutes. How wide is the river?"
BOATS_AGAIN = "In 12 minutes a boat crosses the river. How wide is the river then?"
APPLES = "Ann buys 12 apples and eats 5 of them on the way home."
WORDS = ["stone", "cloud", "fire", "paper", "glass", "wood", "iron", "silk"]
OTHERS = [f"Question {n} is about {word} alone." for n, word in enumerate(WORDS)]


def test_likeness_follows_the_words_and_rows_have_length_one() -> None:
    vectors = tfidf_svd([BOATS, BOATS_AGAIN, APPLES, "", *OTHERS], dimensions=10)
    assert vectors.shape == (12, 10)
    lengths = np.linalg.norm(vectors, axis=1)
    assert lengths[3] == 0 and np.allclose(np.delete(lengths, 3), 1, atol=1e-5)
    assert vectors[0] @ vectors[1] > 0.8 > 0.5 > vectors[0] @ vectors[2]
    assert np.array_equal(vectors, tfidf_svd([BOATS, BOATS_AGAIN, APPLES, "", *OTHERS], dimensions=10))


def test_the_svd_is_the_best_approximation() -> None:
    # Against LAPACK on the full matrix: all pairwise likenesses of a rank-reduced TF-IDF, up to the rotation.
    from curation import vectors as v

    draw = random.Random(0)
    topics = [[f"w{t}x{n}" for n in range(30)] for t in range(6)]
    texts = [" ".join(draw.choices(draw.choice(topics), k=25)) for _ in range(120)]
    sparse = v._tfidf(texts)
    columns, inverse = np.unique(sparse.columns, return_inverse=True)
    dense = np.zeros((120, len(columns)))
    dense[np.repeat(np.arange(120), np.diff(sparse.starts)), inverse] = sparse.values
    left, values, _ = np.linalg.svd(dense, full_matrices=False)
    exact = v.unit(left[:, :6] * values[:6])
    found = tfidf_svd(texts, dimensions=6)
    assert np.abs(found @ found.T - exact @ exact.T).max() < 0.01


@pytest.mark.parametrize("texts", [[], ["one"], ["same", "same"], ["", ""]])
def test_few_texts(texts: list[str]) -> None:
    vectors = tfidf_svd(texts)
    assert vectors.shape[0] == len(texts) and np.isfinite(vectors).all()


def test_a_model_in_a_folder_gives_vectors(tmp_path: Path) -> None:
    folder = make_tiny_model(tmp_path)
    vectors = from_model([BOATS, BOATS, APPLES], str(folder))
    assert vectors.shape[0] == 3
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5) and np.allclose(vectors[0], vectors[1], atol=1e-5)


def test_a_paraphrase_goes_and_number_twins_and_other_golds_stay() -> None:
    twin = BOATS.replace("12", "15")
    texts = [BOATS, BOATS_AGAIN, twin, BOATS_AGAIN.replace("then", "now"), *OTHERS]
    vectors = tfidf_svd(texts)
    found = semantic_duplicates(texts, ["40", "40", "40", "41", *["1"] * 8], vectors, 0.7)
    assert [m and m.earlier for m in found[:4]] == [None, 0, None, None]
    assert semantic_duplicates(texts, [None] * 12, vectors, 0.7) == [None] * 12


def test_symbols_and_capitals_are_not_rubbed_out() -> None:
    texts = [
        "Arrange the letters of the word PROOF.",
        "Arrange the letters of the word RADII.",
        "Find C(n, 1).",
        "Find C(n, n - 1).",
    ]
    assert semantic_duplicates(texts, ["60", "60", "n", "n"], np.ones((4, 1), np.float32), 0.5) == [None] * 4


def test_traces_repeat_only_those_of_their_own_problem() -> None:
    one = "First we add the three numbers, and then we take away the last of them, which gives seven."
    close = one.replace("seven", "eight")
    found = repeated_traces([one, one, close, one, "Quite another way to think of it all."], ["p", "q", "p", "p", "p"], 0.8)
    assert [m and m.earlier for m in found] == [None, None, 0, 0, None]


def test_the_fuzzy_rule_takes_the_nearest_question_and_no_part_of_one() -> None:
    benches = [Benchmark("a", ("x", BOATS.replace("12", "13")), "r"), Benchmark("b", (BOATS,), "r")]
    hits = fuzzy_contamination([BOATS.replace("wide", "broad"), f"{APPLES} {BOATS}", "", BOATS], benches, ratio=90)
    assert [hit and (hit.benchmark, hit.benchmark_index, hit.rule) for hit in hits] == [
        ("b", 0, "fuzzy"),
        None,
        None,
        ("b", 0, "fuzzy"),
    ]
    assert hits[3] is not None and hits[3].score == 1.0
    assert fuzzy_contamination([BOATS], []) == [None]
