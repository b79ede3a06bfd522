import functools
import gzip
import json
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import polars as pl
import pytest

from curation.benchmarks import Benchmark, read_benchmark
from curation.decontaminate import Hit, contamination, without_figures
from curation.errors import UserError
from curation.normalise import normalise_question, words
from curation.verbatim import verbatim_contamination

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


def _by_hand(text: str, question: str, n: int) -> bool:
    """open-r1's rule with sets of strings."""
    return not _runs(text.lower().split(), n).isdisjoint(_runs(question.lower().split(), n))


def _runs(found: list[str], n: int) -> set[str]:
    return {" ".join(found[at : at + n]) for at in range(len(found) - n + 1)}


@pytest.mark.parametrize("n", [2, 3, 8])
def test_the_verbatim_rule_hits_what_sets_of_strings_hit(n: int) -> None:
    draw = random.Random(n)
    alphabet = ["a", "B", "b,", "c.", "$x$", "\u0130x", "\u00df", "\ud800", "\u3000", "\n", "\x1c", "", "tab\there", "\x00"]
    lines = [" ".join(draw.choices(alphabet, k=draw.randint(0, 30))) for _ in range(300)]
    asked = lines[250:]
    texts = [*lines[:220], *(f"{q[3:-3]}  and\nmore" for q in asked[:30])]
    expected = [next((number for number, q in enumerate(asked) if _by_hand(t, q, n)), None) is not None for t in texts]
    hits = verbatim_contamination(texts, [_bench(*asked[:20], name="a"), _bench(*asked[20:])], n=n, block_characters=999)
    assert [hit is not None for hit in hits] == expected
    assert 0 < sum(expected) < 250
    for text, hit in zip(texts, hits, strict=True):
        assert hit is None or (hit.overlap in " ".join(text.lower().split()) and _by_hand(hit.overlap, hit.question, n))


@pytest.mark.parametrize("rule", ["coverage", "ngram"])
def test_the_rules_hit_what_a_comparison_of_all_pairs_hits(rule: Literal["coverage", "ngram"]) -> None:
    draw = random.Random(7)
    lexicon = [*"abcxyz", "12", "$x$", "\\frac12", "sum", "of", "the", "two", "dogs,", "dogs", "+", "-", "[asy] a b c d [/asy]"]
    lines = [" ".join(draw.choices(lexicon, k=draw.choice([2, 4, 12, 30]))) for _ in range(300)]
    asked, n = lines[:60], 4
    texts = [*lines[60:], *(f"Now solve. {q}" for q in lines[:30]), *(q.replace(" ", "  ") for q in lines[30:60])]
    hits = contamination(texts, [_bench(*asked)], n=n, rule=rule, block_characters=500)
    said = without_figures if rule == "coverage" else str
    runs = {line: _runs(words(said(line)), n) for line in {*texts, *asked}}
    for text, hit in zip(texts, hits, strict=True):
        normal = normalise_question(text)
        copies = [number for number, q in enumerate(asked) if normal and normalise_question(q) == normal]
        share = [q for q in asked if not runs[text].isdisjoint(runs[q])]
        if copies:
            assert hit is not None and (hit.rule, hit.benchmark_index) == ("exact", copies[0])
        elif hit is None:
            assert rule == "coverage" or not share
        else:
            assert hit.rule == "short" or (hit.question in share and 0 <= hit.score <= 1)


@pytest.mark.parametrize("rule", ["coverage", "ngram"])
@pytest.mark.parametrize(
    ("question", "copy"),
    [
        ("What is $1+1$?", "What is \\( 1 + 1 \\) ?"),
        ("Compute $\\dfrac12$.", "compute \\frac{1}{2}"),
        ("Find x.", "FIND $x$"),
        ("Solve $x^2\\leq 4$.", "Solve x\u00b2 \u2264 4"),
        ("$\\sqrt{2}$?", "\\sqrt 2"),
        ("Evaluate $1,000\\cdot2$.", "Evaluate 1{,}000 * 2"),
        ("How many?", "\uff28\uff4f\uff57 many"),
        ("What's the sum xy?", "What\u2019s the sum $x y$?"),
        ("5!", "5!"),
        ("\u6c42 $x$ \u7684\u503c\u3002", "\u6c42x\u7684\u503c"),
    ],
)
def test_every_copy_of_a_short_question_is_found_however_it_is_typed(
    question: str, copy: str, rule: Literal["coverage", "ngram"]
) -> None:
    others = ["What is $1-1$?", "Find y.", "Solve $x^2\\geq 4$."]
    hits = contamination([*others, copy, question], [_bench("some other question", question)], rule=rule)
    assert [hit and (hit.rule, hit.benchmark_index) for hit in hits] == [None, None, None, ("exact", 1), ("exact", 1)]


@pytest.mark.slow
def test_processes_do_not_change_the_hits() -> None:
    rows = [LONG.replace("7", str(number)) for number in range(40)] + ["clean", "", "What is 2+2?", LONG]
    benches = [_bench(LONG, "What is $2+2$?", STOCK)]
    assert contamination(rows, benches, block_characters=2_000, workers=2) == contamination(rows, benches)
    assert verbatim_contamination(rows, benches, block_characters=2_000, workers=2) == verbatim_contamination(rows, benches)


def test_nothing_in_nothing_out() -> None:
    assert contamination([], [_bench(LONG)]) == []
    assert contamination([LONG, ""], []) == [None, None]
    assert contamination(["", "?"], [_bench("?", "!")]) == [None, None]
    assert verbatim_contamination([], [_bench(LONG)]) == []
    assert verbatim_contamination([LONG, ""], []) == [None, None]
    assert verbatim_contamination(["", "?"], [_bench("?", "!")]) == [None, None]


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


@pytest.mark.parametrize("found", [contamination, functools.partial(contamination, rule="ngram"), verbatim_contamination])
def test_a_row_in_several_benchmarks_names_the_best_question_of_each(found: Callable[..., list[Hit | None]]) -> None:
    near = f"{LONG} Say it in feet."
    benches = [_bench("other question", near, name="a"), _bench(LONG, near, name="b"), _bench("something else", name="c")]
    (hit,) = found([LONG], benches)
    assert hit is not None and [(one.benchmark, one.benchmark_index) for one in (hit, *hit.also)] in (
        [("b", 0), ("a", 1)],
        [("a", 1), ("b", 0)],  # verbatim knows no better and no worse, and says the first
    )
    assert all(one.also == () for one in hit.also)
