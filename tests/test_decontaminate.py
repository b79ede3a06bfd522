import gzip
import json
import time
from pathlib import Path

import polars as pl
import pytest

from curation.benchmarks import Benchmark, read_benchmark
from curation.decontaminate import contamination, without_figures
from curation.errors import UserError

LONG = (
    "A gardener plants tulips in $7$ rows of $\\frac{12}{5}$ metres, with $n$ bulbs in every row, and waters each bulb twice a"
    " week. How many litres of water does she need in the month of June?"
)
STOCK = "The answer is $\\frac{m}{n}$ where $m$ and $n$ are relatively prime positive integers. Find $m+n$."


def _bench(*questions: str, name: str = "bench") -> Benchmark:
    return Benchmark(name, questions, "r1")


def _rules(texts: list[str], *questions: str, **settings: object) -> list[str | None]:
    return [hit and hit.rule for hit in contamination(texts, [_bench(*questions)], **settings)]  # type: ignore[arg-type]


def test_a_copy_typed_in_another_way_is_exact() -> None:
    copy = LONG.upper().replace("\\FRAC{12}{5}", "\\dfrac{12}5").replace("$N$", "\\(n\\)")
    hits = contamination(["clean words", copy], [_bench("other question", name="a"), _bench("x", LONG, name="b")])
    assert hits[0] is None
    assert hits[1] is not None
    assert hits[1][:4] == ("b", 1, LONG, "exact")
    assert hits[1].score == 1.0
    assert hits[1].overlap.startswith("a gardener plants tulips in 7 rows of frac 12 5 metres")


@pytest.mark.parametrize(
    "edit",
    [
        ("tulips", "roses"),
        ("A gardener", "Maria"),
        ("$7$", "$9$"),
        ("How many", "Solve this. How many"),
        ("June?", "June? " + STOCK),
    ],
)
def test_a_changed_copy_is_found_by_what_it_covers(edit: tuple[str, str]) -> None:
    assert _rules([LONG.replace(*edit)], LONG) == ["ngram"]


def test_a_stock_phrase_is_a_hit_of_the_originals_rule_alone() -> None:
    rows = [f"Ring number {number} rolls over the blue table and stops. {STOCK}" for number in range(5)]
    question = "Let $T$ be the triangle that the three tallest towers of a town span. " + STOCK
    assert _rules(rows, question, rule="ngram") == ["ngram"] * 5
    assert _rules(rows, question) == [None] * 5


def test_the_best_hit_is_reported_not_the_first() -> None:
    near = LONG.replace("bulb twice a week", "plant once each day at dawn, noon and dusk")
    hits = contamination([LONG.replace("June", "May")], [_bench(near, LONG)])
    assert hits[0] is not None
    assert hits[0].benchmark_index == 1
    assert hits[0].score > 0.9
    assert hits[0].overlap.endswith("in the month of ...")


@pytest.mark.parametrize("row", ["What is 2+2?", "what is $2 + 2$", "Hello. What is 2+2? Please reason step by step, and box it."])
def test_a_short_question_with_nothing_but_words_around_it_is_found(row: str) -> None:
    assert _rules([row], "What is $2+2$?")[0] in ("exact", "short")


@pytest.mark.parametrize("row", ["What is 2+2+2?", "What is 2-2?", "What is 2+23?", "If x = 5, what is 2+2?", "What is it?"])
def test_a_short_question_inside_another_problem_is_none(row: str) -> None:
    assert _rules([row], "What is $2+2$?") == [None]


def test_a_short_question_in_a_long_text_is_none() -> None:
    assert _rules(["Someone asks what is two? " + "and says more words " * 10], "What is two?") == [None]


def test_figure_code_does_not_make_two_problems_one() -> None:
    figure = "[asy] size(180); defaultpen(linewidth(.7pt)+fontsize(10pt)); draw((0,0)--(1,0)--(1,1)--cycle); [/asy]"
    question = f"Find the length of the longest diagonal of the kite in the picture. {figure}"
    row = f"What fraction of the large square does the shaded region cover? {figure}"
    assert _rules([row], question, rule="ngram") == ["ngram"]
    assert _rules([row, question], question) == [None, "exact"]
    assert without_figures(f"a {figure} b [asy] cut") == "a   b  "


def test_words_per_run_can_be_set() -> None:
    assert _rules(["one two three nine nine"], "zero one two three four five six seven", rule="ngram", n=3) == ["ngram"]
    assert _rules(["one two three nine nine"], "zero one two three four five six seven", rule="ngram", n=4) == [None]


def test_the_score_is_the_share_of_the_words_covered() -> None:
    question = "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu"
    row = "alpha beta gamma delta epsilon zeta eta theta iota other words"
    (hit,) = contamination([row], [_bench(question)], min_coverage=0.7)
    assert hit is not None
    assert hit[:5] == ("bench", 0, question, "ngram", "alpha beta gamma delta epsilon zeta eta theta iota ...")
    assert hit.score == pytest.approx(9 / 12, abs=0.1)


def test_blocks_do_not_change_the_result() -> None:
    rows = [LONG.replace("7", str(number)) for number in range(40)] + ["clean", "", "What is 2+2?"]
    benches = [_bench(LONG, "What is $2+2$?", STOCK)]
    assert contamination(rows, benches) == contamination(rows, benches, block_characters=1)


def test_nothing_in_nothing_out() -> None:
    assert contamination([], [_bench(LONG)]) == []
    assert contamination([LONG, ""], []) == [None, None]
    assert contamination(["", "?"], [_bench("?", "!")]) == [None, None]


def test_time_does_not_grow_with_the_square_of_a_phrase_in_every_row() -> None:
    start = time.perf_counter()
    contamination([f"{STOCK} {number}" for number in range(3000)], [_bench(*[f"{number} {STOCK}" for number in range(1000)])])
    assert time.perf_counter() - start < 30


def _write(path: Path, rows: list[dict[str, object]]) -> Path:
    lines = "\n".join(json.dumps(row, ensure_ascii=False) for row in rows) + "\n"
    if path.name.endswith(".gz"):
        path.write_bytes(gzip.compress(lines.encode()))
    elif path.suffix == ".jsonl":
        path.write_text(lines, encoding="utf-8", newline="\n")
    elif path.suffix == ".csv":
        pl.DataFrame(rows).write_csv(path)
    else:
        pl.DataFrame(rows).write_parquet(path)
    return path


@pytest.mark.parametrize("name", ["aime.jsonl", "aime.jsonl.gz", "aime.parquet", "aime.csv"])
def test_benchmarks_are_read_in_every_format(tmp_path: Path, name: str) -> None:
    rows: list[dict[str, object]] = [{"id": 1, "Problem": "one\u2028line"}, {"id": 2, "Problem": 'two, "too"\nhere'}]
    read = read_benchmark(_write(tmp_path / name, rows))
    assert read.name == "aime"
    assert read.questions == ("one\u2028line", 'two, "too"\nhere')
    assert read.revision.startswith("sha256:")
    assert len(read.revision) == 23


def test_the_question_column_is_preferred_to_the_prompt(tmp_path: Path) -> None:
    path = _write(tmp_path / "b.jsonl", [{"prompt": "import math", "answer": "3", "question": "Which?"}])
    assert read_benchmark(path).questions == ("Which?",)


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.txt", b"x", "wanted a name that ends in .jsonl"),
        ("a.jsonl", b'{"answer": "3"}\n', "no column of questions; it has answer"),
        ("a.jsonl", b'{"question": "x"}\n{"question": null}\n', "row 1 has None in column 'question'"),
        ("a.jsonl", b"", "no column of questions; it has no rows"),
        ("a.jsonl.gz", b"not gzip", "not a whole gzip file"),
    ],
)
def test_what_cannot_be_read_is_the_users_error(tmp_path: Path, name: str, content: bytes, words: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(UserError) as raised:
        read_benchmark(path)
    assert words in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_missing_file_is_the_users_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no file"):
        read_benchmark(tmp_path / "none.jsonl")
