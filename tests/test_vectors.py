"""Vectors of texts, duplicates found by them, repeated traces, and the fuzzy rule."""

import random
from pathlib import Path

import numpy as np
import pytest
from tiny_model import make_tiny_model

from curation.benchmarks import Benchmark
from curation.dedup_semantic import repeated_traces, semantic_duplicates
from curation.fuzzy import fuzzy_contamination
from curation.neighbours import neighbours
from curation.shingles import Hashes, hash_text
from curation.vectors import from_model, tfidf_svd, unit

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
    counts = v._counted(texts, Hashes(hash_text))
    sparse = v._weighted(counts, v._fit(counts, 6, np.random.default_rng(0)).rarity)
    columns, inverse = np.unique(sparse.columns, return_inverse=True)
    dense = np.zeros((120, len(columns)))
    dense[np.repeat(np.arange(120), np.diff(sparse.starts)), inverse] = sparse.values
    left, values, _ = np.linalg.svd(dense, full_matrices=False)
    exact = v.unit(left[:, :6] * values[:6])
    found = tfidf_svd(texts, dimensions=6)
    assert np.abs(found @ found.T - exact @ exact.T).max() < 0.01


def test_more_texts_than_are_fitted_get_vectors_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("curation.vectors._FITTED", 40)
    draw = random.Random(0)
    topics = [[f"w{t}x{n}" for n in range(30)] for t in range(6)]
    which = [draw.randrange(6) for _ in range(200)]
    vectors = tfidf_svd([" ".join(draw.choices(topics[t], k=25)) for t in which], dimensions=6)
    same = np.equal.outer(which, which)
    likeness = vectors @ vectors.T
    assert likeness[same].mean() > 0.9 > 0.5 > likeness[~same].mean()


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
    assert [m and m.kept for m in found[:4]] == [None, 0, None, None]
    assert semantic_duplicates(texts, [None] * 12, vectors, 0.7) == [None] * 12


def test_of_paraphrases_the_row_of_the_highest_worth_is_kept() -> None:
    texts = [BOATS, *OTHERS, BOATS_AGAIN]
    found = semantic_duplicates(texts, ["40", *["1"] * 8, "40"], tfidf_svd(texts), 0.7, [2] * 9 + [3])
    assert found[0] and found[0].kept == 9 and found[1:] == [None] * 9


def test_blocks_find_what_every_pair_of_rows_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("curation.dedup_semantic._BLOCK_ROWS", 7)
    monkeypatch.setattr("curation.dedup_semantic._KEPT_ROWS", 5)
    draw = np.random.default_rng(0)
    vectors = unit(draw.standard_normal((12, 4))[draw.integers(12, size=200)] + 0.3 * draw.standard_normal((200, 4)))
    golds = [str(draw.integers(3)) for _ in range(200)]
    texts = [f"Of the {'four' if draw.integers(2) else 4 + draw.integers(2)} boats." for _ in range(200)]
    wanted: list[int | None] = []
    for row in range(200):
        same = [e for e in range(row) if wanted[e] is None and golds[e] == golds[row] and _number(texts[e]) == _number(texts[row])]
        wanted.append(next((e for e in same if vectors[e] @ vectors[row] >= 0.9), None))
    found = semantic_duplicates(texts, golds, vectors, 0.9)
    assert [m and m.kept for m in found] == wanted
    assert 50 < sum(e is not None for e in wanted) < 190
    assert all(m is None or m.similarity >= 0.8999 for m in found)


def _number(text: str) -> str:
    return text.split()[2].replace("four", "4")


def test_the_nearest_question_of_the_benchmarks_and_how_it_was_found(tmp_path: Path) -> None:
    benches = [Benchmark("a", tuple(OTHERS), "r"), Benchmark("b", ("Something else.", BOATS), "r")]
    hits = neighbours([BOATS_AGAIN, APPLES], benches, threshold=0.7)
    assert [hit and (hit.benchmark, hit.benchmark_index, hit.question, hit.rule) for hit in hits] == [
        ("b", 1, BOATS, "tfidf"),
        None,
    ]
    assert hits[0] is not None and 0.7 <= hits[0].score <= 1
    model = neighbours([BOATS], benches, threshold=0.99, model=str(make_tiny_model(tmp_path)))
    assert model[0] is not None and (model[0].benchmark_index, model[0].rule) == (1, "embedding")
    assert neighbours([], benches, threshold=0.5) == [] and neighbours([BOATS], [], threshold=0.5) == [None]


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
    assert [m and m.kept for m in found] == [None, None, 0, 0, None]


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
