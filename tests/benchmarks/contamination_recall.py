"""Recall of decontamination by coverage on planted edits, and its precision on rows labelled by hand, at several thresholds.

    python tests/benchmarks/contamination_recall.py --pool math.jsonl gsm8k.jsonl --benchmarks aime24.jsonl math500.jsonl \
        [--labelled read_by_hand.jsonl]

The pool's problems give the rarity of phrases. Each kind of edit is planted in every benchmark question that it changes, beside
the pool. A labelled row has prompt, question and label: "same" question, a "variant" of it with other numbers or words, or
"neither"; it counts where the rule flags its prompt. Three minutes of one core for 16,000 problems and 3,400 questions.
"""

from __future__ import annotations

import argparse
import random
import re
from collections.abc import Callable, Sequence
from pathlib import Path

from curation.benchmarks import Benchmark, read_benchmark
from curation.decontaminate import contamination
from curation.files import read_rows
from curation.neighbours import neighbours
from curation.sources import prompt_column

THRESHOLDS = (0.5, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9)
_NUMBER = re.compile(r"(?<![\d.\\^_{])\d+(?![\d.])")
_NAME = re.compile(r"(?<=[a-z,;] )[A-Z][a-z]{2,}(?=['s ,.])")
_SENTENCE = re.compile(r"(?<=[a-z$)][.?!]) +")
_MATH = re.compile(r"\$[^$]+\$")
NAMES = ("Noor", "Bram", "Ilse", "Tomas", "Yuki", "Femi", "Lena", "Omar", "Priya", "Goran")
SYNONYMS = {
    "find": "determine",
    "compute": "work out",
    "determine": "find",
    "evaluate": "compute",
    "what is": "find",
    "how many": "what number of",
    "such that": "for which",
    "let": "suppose",
    "denote": "stand for",
    "given that": "if",
    "each": "every",
    "total": "overall",
    "buys": "purchases",
    "bought": "purchased",
    "money": "cash",
    "positive integer": "natural number",
    "possible value": "value that can occur",
    "exactly": "precisely",
    "express your answer": "give your answer",
    "suppose": "assume",
    "there are": "we have",
    "can be written": "may be expressed",
}
Edit = Callable[[str, random.Random], str]


def one_number(text: str, draw: random.Random) -> str:
    found = list(_NUMBER.finditer(text))
    if not found:
        return text
    m = draw.choice(found)
    return f"{text[: m.start()]}{int(m[0]) + draw.randint(1, 9)}{text[m.end() :]}"


def all_numbers(text: str, draw: random.Random) -> str:
    return _NUMBER.sub(lambda m: str(int(m[0]) + draw.randint(1, 9)), text)


def names(text: str, draw: random.Random) -> str:
    new = {name: draw.choice(NAMES) for name in sorted(set(_NAME.findall(text)))}
    return re.sub("|".join(map(re.escape, new)), lambda m: new[m[0]], text) if new else text


def letters(text: str, draw: random.Random) -> str:
    """Other letters for the variables of all formulas."""
    new = dict(zip("abcmnkxyz", draw.sample("pqrstuvwh", 9), strict=True))
    return _MATH.sub(lambda m: re.sub(r"(?<![\\a-zA-Z])[a-z](?![a-zA-Z])", lambda one: new.get(one[0], one[0]), m[0]), text)


def synonyms(text: str, _: random.Random) -> str:
    pattern = rf"\b(?:{'|'.join(SYNONYMS)})\b"
    return re.sub(pattern, lambda m: SYNONYMS[m[0].lower()], text, flags=re.IGNORECASE)


def words_gone(text: str, draw: random.Random) -> str:
    found = text.split()
    gone = set(draw.sample(range(len(found)), len(found) // 10))
    return " ".join(word for at, word in enumerate(found) if at not in gone)


def moved(text: str, _: random.Random) -> str:
    """The last sentence first."""
    found = _SENTENCE.split(text)
    return " ".join([found[-1], *found[:-1]])


def paraphrase(text: str, draw: random.Random) -> str:
    """The last sentence first, other words, and other names."""
    return moved(names(synonyms(text, draw), draw), draw)


def wrapped(text: str, _: random.Random) -> str:
    return f"Solve the following problem and explain every step.\n\n{text}\n\nThe answer is of the form $m/n$; give $m+n$."


EDITS: dict[str, Edit] = {
    "exact copy": lambda text, _: text,
    "wrapped in instructions": wrapped,
    "one number changed": one_number,
    "all numbers changed": all_numbers,
    "names changed": names,
    "letters of formulas changed": letters,
    "synonyms": synonyms,
    "last sentence first": moved,
    "all of the last two and names": paraphrase,
    "a tenth of the words gone": words_gone,
}


def main() -> None:
    """Print recall by kind of edit, flagged rows of the pool, and precision, a column for each threshold."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--pool", type=Path, nargs="+", required=True)
    parser.add_argument("--benchmarks", type=Path, nargs="+", required=True)
    parser.add_argument("--labelled", type=Path)
    how = parser.parse_args()
    benchmarks = [read_benchmark(path) for path in how.benchmarks]
    pool = [text for path in how.pool for text in _prompts(path)]
    print(f"{'':<38}" + "".join(f"{t:>8}" for t in THRESHOLDS))
    for name, edit in EDITS.items():
        draw = random.Random(name)
        planted = [(q, edit(q, draw)) for b in benchmarks for q in b.questions]
        changed = [new for old, new in planted if new != old or name == "exact copy"]
        _line(f"{name} ({len(changed):,})", [[s >= t for s in _scores(pool, changed, benchmarks)] for t in THRESHOLDS])
    scores = _scores([], pool, benchmarks)
    print(f"{f'flagged of the pool ({len(pool):,})':<38}" + "".join(f"{sum(s >= t for s in scores):>8}" for t in THRESHOLDS))
    near = [hit.score if hit else 0.0 for hit in neighbours(pool, benchmarks, threshold=THRESHOLDS[0])]
    print(f"{'neighbours in the pool, cosine':<38}" + "".join(f"{sum(s >= t for s in near):>8}" for t in THRESHOLDS))
    if how.labelled:
        _precision(list(read_rows(how.labelled)), pool, benchmarks)


def _precision(rows: list[dict[str, str]], pool: list[str], benchmarks: Sequence[Benchmark]) -> None:
    scores = _scores(pool, [row["prompt"] for row in rows], benchmarks)
    for label in ("same", "variant", "neither"):
        counts = [sum(s >= t and row["label"] == label for s, row in zip(scores, rows, strict=True)) for t in THRESHOLDS]
        print(f"{f'labelled {label}':<38}" + "".join(f"{count:>8}" for count in counts))


def _scores(pool: list[str], texts: list[str], benchmarks: Sequence[Benchmark]) -> list[float]:
    """The score of each of `texts`, 0 where it shares no phrase with a question, in the company of the pool."""
    hits = contamination([*pool, *texts], benchmarks, min_coverage=0.0)
    return [hit.score if hit else 0.0 for hit in hits[len(pool) :]]


def _prompts(path: Path) -> list[str]:
    rows = list(read_rows(path))
    column = prompt_column(list(rows[0]))
    assert column, f"{path} has no column of questions"
    return [row[column] for row in rows]


def _line(name: str, found: list[list[bool]]) -> None:
    print(f"{name:<38}" + "".join(f"{sum(each) / max(1, len(each)):>8.1%}" for each in found))


if __name__ == "__main__":
    main()
