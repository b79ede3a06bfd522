"""Rows of a training set that hold a benchmark's question.

The originals' rule (s1 data/decontaminate_util.py, open-r1 scripts/decontaminate.py) drops a row that shares any run of 8
words with a benchmark. It never sees questions of fewer words, and it cries wolf: "relatively prime positive integers find
m + n" is in a third of AIME. Ours asks how much of the benchmark question's distinctive text the row holds. Both work on
words normalised for LaTeX, spacing and punctuation.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from typing import Literal, NamedTuple

import numpy as np

from curation.benchmarks import Benchmark
from curation.normalise import is_word, join_tokens, normalise_question, tokens, words
from curation.overlap import Grams, closest, covered, grams, rarity, shared, spans, word_weights
from curation.shingles import BLOCK_CHARACTERS, I64, Hashed, Hashes, blocks, hash_text, hashed, only, runs

__all__ = ["Benchmark", "Hit", "contamination"]

Rule = Literal["exact", "ngram", "short", "fuzzy"]
# tests/benchmarks/contamination_recall.py, with 15,922 problems of MATH, GSM8K, AIME and the 3,437 questions of AIME24, AMC, GSM8K
# test, MATH-500, Minerva, OlympiadBench and MATH-Perturb. Planted edits found at 0.75: one number changed 98 percent, all numbers
# 80, names 89, synonyms 94, sentences moved 100, moved with synonyms and names 87, a tenth of the words gone 97, other letters in
# all formulas 57; every exact copy at any value. It flags 231 rows (the originals' rule 1,623 against the first six alone), all
# read: 13 are the question, 213 the question with other numbers or words, 180 of them what MATH-Perturb was made from, 5 neither.
# At 0.7, of 24 more against the first six none is the question and 11 are neither; 0.9 lets half of the paraphrases pass.
_MIN_COVERAGE = 0.75
_CLOSEST = 5  # questions measured for a row, those with the highest share of runs
_WRAPPING = 16  # words: "please reason step by step, and put your final answer within \\boxed{}" and a few more


class Hit(NamedTuple):
    benchmark: str
    benchmark_index: int  # row of the question in its benchmark
    question: str  # the benchmark's text
    rule: Rule
    overlap: str  # the question's words that the row holds too, in order, gaps shown as ...
    score: float  # how much of the question's distinctive text the row holds, in [0, 1]


class _Index(NamedTuple):
    """All benchmark questions ("entries"), one after another."""

    names: list[str]
    numbers: list[int]  # row of the entry in its benchmark
    questions: list[str]
    words: list[list[str]]  # of each entry's statement
    exact: dict[str, int]  # normalised question -> first such entry
    spaceless: set[str]  # the same without spaces: cheaper to look up
    short: dict[int, dict[int, list[int]]]  # words in the question, if fewer than n -> hash of them -> entries
    grams: Grams
    table: Hashes


def contamination(
    texts: Sequence[str],
    benchmarks: Sequence[Benchmark],
    *,
    n: int = 8,
    rule: Literal["coverage", "ngram"] = "coverage",
    min_coverage: float = _MIN_COVERAGE,
    block_characters: int = BLOCK_CHARACTERS,
) -> list[Hit | None]:
    """For each row the benchmark question that it holds most of, None for a clean row.

    Both rules flag a row whose normalised text is a question ("exact"), and one that is a question of fewer than `n` words
    with nothing but words around it ("short"). Of the others "ngram", the originals' rule, flags every row that shares a run
    of `n` words; "coverage" leaves figure code out and flags those that hold `min_coverage` of the question's words, weighted
    by the rarity of the runs they stand in. Ties go to the question that comes first. The result does not depend on
    `block_characters`, which bounds the memory.
    """
    statement = without_figures if rule == "coverage" else str
    index = _index(benchmarks, n, statement)
    found = [_scan(first, block, index, n, statement) for first, block in blocks(texts, block_characters)]
    hits: list[Hit | None] = [None] * len(texts)
    runs_shared = np.concatenate([np.zeros((0, 2), np.int64), *(part.shared for part in found)])
    for row, entry, overlap, score in _measured(texts, runs_shared, index, n, statement):
        if rule == "ngram" or score >= min_coverage:
            hits[row] = _hit(index, entry, "ngram", overlap, score)
    for part in found:
        for row, (entry, how) in part.copies.items():
            hits[row] = _hit(index, entry, how, " ".join(words(index.questions[entry])), 1.0)
    return hits


def without_figures(text: str) -> str:
    """`text` without its Asymptote code, whose boilerplate many questions share."""
    head, *rest = text.split("[asy]")
    return " ".join([head, *(part.partition("[/asy]")[2] for part in rest)]) if rest else text


def _hit(index: _Index, entry: int, rule: Rule, overlap: str, score: float) -> Hit:
    return Hit(index.names[entry], index.numbers[entry], index.questions[entry], rule, overlap, score)


def _hash_token(token: str) -> int:
    return hash_text(token.lstrip("\\")) >> 1 << 1 | is_word(token)


def _index(benchmarks: Sequence[Benchmark], n: int, statement: Callable[[str], str]) -> _Index:
    names = [b.name for b in benchmarks for _ in b.questions]
    numbers = [number for b in benchmarks for number in range(len(b.questions))]
    questions = [question for b in benchmarks for question in b.questions]
    split = [tokens(statement(question)) for question in questions]
    table = Hashes(_hash_token)
    held = only(hashed(split, table), 1)
    exact: dict[str, int] = {}
    for entry, question in enumerate(questions):
        exact.setdefault(normalise_question(question), entry)
    exact.pop("", None)
    spaceless = {normal.replace(" ", "") for normal in exact}
    words_of = [[t.lstrip("\\") for t in found if is_word(t)] for found in split]
    return _Index(names, numbers, questions, words_of, exact, spaceless, _short(held, n), grams(held, n), table)


def _short(held: Hashed, n: int) -> dict[int, dict[int, list[int]]]:
    short: dict[int, dict[int, list[int]]] = {}
    for entry, (start, end) in enumerate(zip(held.starts[:-1].tolist(), held.starts[1:].tolist(), strict=True)):
        if 0 < (size := end - start) < n:
            whole = runs(Hashed(held.hashes[start:end], np.array([0, size])), size).hashes[0]
            short.setdefault(size, {}).setdefault(int(whole), []).append(entry)
    return short


class _Found(NamedTuple):
    copies: dict[int, tuple[int, Rule]]  # row -> entry that it is a copy of
    shared: I64  # (row, run) that the row shares with some entry


def _scan(first: int, block: list[str], index: _Index, n: int, statement: Callable[[str], str]) -> _Found:
    whole = [tokens(text) for text in block]
    stated = [found if statement(t) is t else tokens(statement(t)) for t, found in zip(block, whole, strict=True)]
    held = only(hashed(stated, index.table), 1)
    copies: dict[int, tuple[int, Rule]] = {}
    for place, entry in _short_copies(held, whole, index).items():
        copies[first + place] = entry, "short"
    for place, found in enumerate(whole):
        if "".join(found).replace("\\", "") in index.spaceless and (normal := join_tokens(found)) in index.exact:
            copies[first + place] = index.exact[normal], "exact"
    return _Found(copies, shared(runs(held, n), index.grams) + np.array([first, 0]))


def _measured(
    texts: Sequence[str], runs_shared: I64, index: _Index, n: int, statement: Callable[[str], str]
) -> Iterator[tuple[int, int, str, float]]:
    """(row, entry, overlap, score) of each row that shares a run, for the entry with the highest score."""
    weight = rarity(runs_shared[:, 1], index.grams)
    pairs = closest(runs_shared[:, 0], runs_shared[:, 1], index.grams, weight, _CLOSEST)
    of_question = index.grams.of_question
    weights = {e: word_weights(weight[of_question[e]], n) for e in np.unique(pairs.questions).tolist()}
    for row, group in groupby(zip(pairs.rows.tolist(), pairs.questions.tolist(), strict=True), lambda pair: pair[0]):
        held = set(spans(words(statement(texts[row]))))
        best, best_flags, best_score = -1, np.zeros(0, np.bool_), -1.0
        for entry in sorted(entry for _, entry in group):
            flags = covered(index.words[entry], held)
            score = float(weights[entry] @ flags / weights[entry].sum())
            if score > best_score:
                best, best_flags, best_score = entry, flags, score
        yield row, best, _shown(index.words[best], best_flags.tolist()), min(best_score, 1.0)


def _shown(question: list[str], flags: list[bool]) -> str:
    marked = [word if flag else "..." for word, flag in zip(question, flags, strict=True)]
    return " ".join(word for at, word in enumerate(marked) if word != "..." or marked[at - 1 : at] != ["..."])


def _short_copies(held: Hashed, split: list[list[str]], index: _Index) -> dict[int, int]:
    """Rows of a block that are a question of fewer than n words and little else -> its entry."""
    copies: dict[int, int] = {}
    lengths = np.diff(held.starts)
    for size, known in sorted(index.short.items(), reverse=True):
        found = runs(held, size)
        at = np.flatnonzero(np.isin(found.hashes, np.fromiter(known, np.uint64)))
        rows = np.searchsorted(found.starts, at, side="right") - 1
        for row, run in zip(rows.tolist(), found.hashes[at].tolist(), strict=True):
            if row not in copies and lengths[row] <= size + _WRAPPING:
                same = [entry for entry in known[run] if _wraps(split[row], tokens(index.questions[entry]))]
                if same:
                    copies[row] = same[0]
    return copies


def _wraps(row: list[str], question: list[str]) -> bool:
    """Whether `row` is `question` with nothing but words around it: a number or a symbol more is another problem."""
    row, question = ([t.lstrip("\\") for t in found if t not in "{}"] for found in (row, question))
    for at in range(len(row) - len(question) + 1):
        if row[at : at + len(question)] == question:
            return all(len(t) > 1 and t.isalpha() for t in row[:at] + row[at + len(question) :])
    return False
