"""Rows of a training set that hold a benchmark's question.

The originals' rule (s1 data/decontaminate_util.py, open-r1 scripts/decontaminate.py) drops a row that shares any run of 8
words with a benchmark. It never sees questions of fewer words, and it cries wolf: "relatively prime positive integers find
m + n" is in a third of AIME. Ours asks how much of the benchmark question's distinctive text the row holds. Both work on
words normalised for LaTeX, spacing and punctuation.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from curation.benchmarks import Benchmark
from curation.net import WORD, Caught, Net, caught, read
from curation.normalise import normalise_question, tokens, words
from curation.overlap import Grams, Pairs, closest, covered, grams, parts, rarity, sieve, spans, word_weights
from curation.shingles import BLOCK_CHARACTERS, I64, U64, Hashed, only, runs

__all__ = ["MIN_COVERAGE", "Benchmark", "Hit", "catch", "contamination", "together"]

Rule = Literal["exact", "ngram", "short", "fuzzy", "embedding", "tfidf"]
# tests/benchmarks/contamination_recall.py, with 15,922 problems of MATH, GSM8K, AIME and the 3,437 questions of AIME24, AMC, GSM8K
# test, MATH-500, Minerva, OlympiadBench and MATH-Perturb. Planted edits found at 0.75: one number changed 98 percent, all numbers
# 80, names 89, synonyms 94, sentences moved 100, moved with synonyms and names 87, a tenth of the words gone 97, other letters in
# all formulas 57; every exact copy at any value. It flags 231 rows (the originals' rule 1,623 against the first six alone), all
# read: 13 are the question, 213 the question with other numbers or words, 180 of them what MATH-Perturb was made from, 5 neither.
# At 0.7, of 24 more against the first six none is the question and 11 are neither; 0.9 lets half of the paraphrases pass.
MIN_COVERAGE = 0.75
_WORDS_AT_ONCE = 500_000  # of questions measured, 50 MB
_CLOSEST = 5  # questions measured for a row, those with the highest share of runs


class Hit(NamedTuple):
    benchmark: str
    benchmark_index: int  # row of the question in its benchmark
    question: str  # the benchmark's text
    rule: Rule
    overlap: str  # the question's words that the row holds too, in order, gaps shown as ...
    score: float  # how much of the question's distinctive text the row holds, in [0, 1]
    also: tuple[Hit, ...] = ()  # of a row that matches questions of several benchmarks, the best of each other one


class _Index(NamedTuple):
    """All benchmark questions ("entries"), one after another."""

    names: list[str]
    numbers: list[int]  # row of the entry in its benchmark
    questions: list[str]
    words: list[list[str]]  # of each entry's statement
    exact: dict[str, list[int]]  # normalised question -> such entries
    short: dict[int, list[int]]  # hash of all words of a question of fewer than n -> entries
    sizes: I64  # number of these words
    spans: Hashed  # of these words
    grams: Grams
    net: Net


def contamination(
    texts: Sequence[str],
    benchmarks: Sequence[Benchmark],
    *,
    n: int = 8,
    rule: Literal["coverage", "ngram"] = "coverage",
    min_coverage: float = MIN_COVERAGE,
    block_characters: int = BLOCK_CHARACTERS,
    workers: int = 1,
    found: Caught | None = None,
) -> list[Hit | None]:
    """For each row the benchmark question that it holds most of, None for a clean row.

    Both rules flag a row whose normalised text is a question ("exact"), and one that is a question of fewer than `n` words
    with nothing but words around it ("short"). Of the others "ngram", the originals' rule, flags every row that shares a run
    of `n` words; "coverage" leaves figure code out and flags those that hold `min_coverage` of the question's words, weighted
    by the rarity of the runs they stand in. Ties go to the question that comes first. `also` has the best question of each other
    benchmark, as far as it is a copy or among the five with the highest share of runs. The result does not depend on
    `block_characters`, which bounds the memory, nor on `workers`, the processes that the rows are read with, nor on `found`, what
    `catch` has caught of these rows already with the same benchmarks, n and rule.
    """
    statement = without_figures if rule == "coverage" else str
    index = _index(benchmarks, n, statement)
    if found is None:
        found = caught(texts, index.net, n, statement, block_characters, workers)
    least = min_coverage if rule == "coverage" else 0.0
    exact = ((row, _whole(index, entry, "exact")) for row, entry in _exact_copies(texts, found.whole, index))
    short = ((row, _whole(index, entry, "short")) for row, entry in _short_copies(texts, found.short, index))
    measured = _measured(texts, found.shared, index, n, statement, least)
    ngram = ((row, _hit(index, entry, "ngram", overlap, score)) for row, entry, overlap, score in measured)
    return together(chain(exact, short, ngram), len(texts))


def together(candidates: Iterable[tuple[int, Hit]], rows: int) -> list[Hit | None]:
    """For each of `rows` rows its first candidate, which has the first of each other benchmark as `also`; None without one."""
    found: dict[int, dict[str, Hit]] = {}
    for row, hit in candidates:
        found.setdefault(row, {}).setdefault(hit.benchmark, hit)
    hits: list[Hit | None] = [None] * rows
    for row, (first, *others) in ((row, of_row.values()) for row, of_row in found.items()):
        hits[row] = first._replace(also=tuple(others))
    return hits


def catch(texts: Sequence[str], benchmarks: Sequence[Benchmark], *, n: int, rule: Literal["coverage", "ngram"]) -> Caught:
    """The pass over all rows of `contamination` alone, of each row by itself; curation.net joins those of several parts."""
    statement = without_figures if rule == "coverage" else str
    return caught(texts, _index(benchmarks, n, statement).net, n, statement, BLOCK_CHARACTERS, 1)


def without_figures(text: str) -> str:
    """`text` without its Asymptote code, whose boilerplate many questions share."""
    head, *rest = text.split("[asy]")
    return " ".join([head, *(part.partition("[/asy]")[2] for part in rest)]) if rest else text


def _hit(index: _Index, entry: int, rule: Rule, overlap: str, score: float) -> Hit:
    return Hit(index.names[entry], index.numbers[entry], index.questions[entry], rule, overlap, score)


def _whole(index: _Index, entry: int, rule: Rule) -> Hit:
    return _hit(index, entry, rule, " ".join(words(index.questions[entry])), 1.0)


def _index(benchmarks: Sequence[Benchmark], n: int, statement: Callable[[str], str]) -> _Index:
    names = [b.name for b in benchmarks for _ in b.questions]
    numbers = [number for b in benchmarks for number in range(len(b.questions))]
    questions = [question for b in benchmarks for question in b.questions]
    stated = list(map(statement, questions))
    held = only(read(stated).tokens, WORD)
    exact: dict[str, list[int]] = {}
    for entry, question in enumerate(questions):
        exact.setdefault(normalise_question(question), []).append(entry)
    exact.pop("", None)
    of_hash, short = _short(held, n)
    known = grams(held, n)
    letters = read([questions[entries[0]] for entries in exact.values()]).letters
    net = Net(sieve(letters), short, sieve(known.hashes))
    return _Index(
        names, numbers, questions, list(map(words, stated)), exact, of_hash, np.diff(held.starts), spans(held), known, net
    )


def _short(held: Hashed, n: int) -> tuple[dict[int, list[int]], dict[int, U64]]:
    """Entries of fewer than n words by the hash of their words, and these hashes by the number of words."""
    lengths = np.diff(held.starts)
    entries: dict[int, list[int]] = {}
    hashes: dict[int, U64] = {}
    for size in np.unique(lengths[(lengths > 0) & (lengths < n)]).tolist():
        of_size = np.flatnonzero(lengths == size)
        whole = runs(held, size)
        hashes[size] = whole.hashes[whole.starts[of_size]]
        for entry, one in zip(of_size.tolist(), hashes[size].tolist(), strict=True):
            entries.setdefault(one, []).append(entry)
    return entries, hashes


def _exact_copies(texts: Sequence[str], rows: I64, index: _Index) -> Iterator[tuple[int, int]]:
    """(row, entry) of the rows whose normalised text is an entry's."""
    for row in rows.tolist():
        for entry in index.exact.get(normalise_question(texts[row]), []):
            yield row, entry


def _short_copies(texts: Sequence[str], found: I64, index: _Index) -> Iterator[tuple[int, int]]:
    """(row, entry) of the rows that are an entry of fewer than n words, with little else."""
    for row, one in zip(found[:, 0].tolist(), found[:, 1].astype(np.uint64).tolist(), strict=True):
        split = tokens(texts[row])
        for entry in index.short[one]:
            if _wraps(split, tokens(index.questions[entry])):
                yield row, entry


def _measured(
    texts: Sequence[str], runs_shared: I64, index: _Index, n: int, statement: Callable[[str], str], least: float
) -> Iterator[tuple[int, int, str, float]]:
    """(row, entry, overlap, score) of each row that shares a run, for its entries of score `least` and more, the highest first.

    Of each benchmark one entry, and of all of them none but the row's closest.
    """
    weight = rarity(runs_shared[:, 1], index.grams)
    pairs = closest(runs_shared[:, 0], runs_shared[:, 1], index.grams, weight, _CLOSEST)
    weights = {e: word_weights(weight[index.grams.of_question[e]], n) for e in np.unique(pairs.questions).tolist()}
    names = np.unique(index.names, return_inverse=True)[1]
    order = np.lexsort((pairs.questions, pairs.rows))
    pairs = Pairs(pairs.rows[order], pairs.questions[order])
    for part in parts(pairs.rows, index.sizes[pairs.questions], _WORDS_AT_ONCE):
        row, entry = pairs.rows[part], pairs.questions[part]
        distinct, place = np.unique(row, return_inverse=True)
        held = spans(only(read([statement(texts[r]) for r in distinct.tolist()]).tokens, WORD))
        flags = covered(held, index.spans, index.sizes, Pairs(place, entry))
        ends = np.cumsum(index.sizes[entry])
        starts = ends - index.sizes[entry]
        weighed = np.concatenate([weights[e] for e in entry.tolist()])
        # Rounded, so that the same share is a tie however it was summed.
        scores = np.round(np.add.reduceat(weighed * flags, starts) / np.add.reduceat(weighed, starts), 9)
        for at in _best(row, names[entry], scores, least):
            shown = _shown(index.words[entry[at]], flags[starts[at] : ends[at]].tolist())
            yield int(row[at]), int(entry[at]), shown, float(scores[at])


def _best(rows: I64, benchmarks: I64, scores: npt.NDArray[np.float64], least: float) -> list[int]:
    """The place of the highest score of each row and benchmark, row by row from the highest; of several alike the first."""
    order = np.lexsort((-scores, rows))
    order = order[scores[order] >= least]
    pairs = np.stack([rows[order], benchmarks[order]], axis=1)
    best: list[int] = order[np.sort(np.unique(pairs, axis=0, return_index=True)[1])].tolist()
    return best


def _shown(question: list[str], flags: list[bool]) -> str:
    marked = [word if flag else "..." for word, flag in zip(question, flags, strict=True)]
    return " ".join(word for at, word in enumerate(marked) if word != "..." or marked[at - 1 : at] != ["..."])


def _wraps(row: list[str], question: list[str]) -> bool:
    """Whether `row` is `question` with nothing but words around it: a number or a symbol more is another problem."""
    row, question = ([t.lstrip("\\") for t in found if t not in "{}"] for found in (row, question))
    for at in range(len(row) - len(question) + 1):
        if row[at : at + len(question)] == question:
            return all(len(t) > 1 and t.isalpha() for t in row[:at] + row[at + len(question) :])
    return False
