"""Speed and faults of near-duplicate removal on texts of our own making: `python tests/benchmarks/duplicates.py --rows N`.

Prints texts a second, recall of planted copies by kind of edit and by true similarity, number twins merged and removals that
are false, and the same for datatrove's MinHash pipeline with its defaults where datatrove[processing] is installed.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import random
import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from curation.dedup import near_duplicates
from curation.normalise import normalise_question, words


def _words(listed: str) -> list[str]:
    return listed.split()


NAMES = _words("Ada Bo Chen Dara Emre Fadi Gita Hugo Ines Jonas Kofi Lena Mika Nadia Omar Priya Quinn Rosa Sami Tara")
THINGS = _words("apples marbles pencils stickers tickets cookies books stamps shells coins buttons ribbons candles maps")
PLACES = _words("market harbour library garden station museum bakery stadium theatre farm castle workshop school village")
VERBS = _words("buys collects finds receives borrows wins gathers packs orders paints repairs counts trades carries")
FILLER = _words(
    "early quiet narrow silver distant wooden gentle crowded ancient frozen yellow broken shallow curious "
    "heavy golden rapid hidden modern purple rough simple tender useful vivid warm bright calm dense "
    "empty"
)
SENTENCES = (
    "{name} {verb} {a} {adj} {things} at the {adj} {place} before noon.",
    "On the way to the {adj} {place}, {name} gives {b} {things} to a {adj} friend and keeps the rest in a {adj} box.",
    "Every {adj} {thing} costs {c} dollars, and the {adj} {place} adds a fee of {d} dollars for each visit.",
    "Later that day {name} {verb} {e} more {adj} {things} from the {adj} {place} near the {adj} river.",
    "Let $x$ be the number of {adj} {things}, so that ${a}x + {b} = {c}x - {d}$ holds at the {adj} {place}.",
)
QUESTIONS = (
    "How many {things} does {name} have when the {adj} {place} closes?",
    "What does {name} pay for the {things} at the {adj} {place}?",
    "Find the value of $x$ for which {name} leaves the {adj} {place} with no {things}.",
)


class Planted(NamedTuple):
    texts: list[str]
    kind: list[str]  # of each row: original, twin, or the kind of edit
    source: list[int]  # row that this one was made from; its own for an original


def _problem(draw: random.Random) -> str:
    lines = [*draw.sample(SENTENCES, draw.randint(1, 4)), draw.choice(QUESTIONS)]
    thing = draw.choice(THINGS)
    name = draw.choice(NAMES)
    return " ".join(_fill(line, draw, name, thing) for line in lines)


def _fill(line: str, draw: random.Random, name: str, things: str) -> str:
    while "{adj}" in line:
        line = line.replace("{adj}", draw.choice(FILLER), 1)
    numbers = {letter: str(draw.randint(2, 999)) for letter in "abcde"}
    return line.format(name=name, things=things, thing=things[:-1], place=draw.choice(PLACES), verb=draw.choice(VERBS), **numbers)


def _spots(text: str) -> tuple[list[str], list[int]]:
    """The words of a text and the places of those that may be edited without changing the answer."""
    split = text.split(" ")
    return split, [at for at, word in enumerate(split) if word in FILLER]


def _replace(text: str, draw: random.Random, count: int) -> str:
    split, spots = _spots(text)
    for at in draw.sample(spots, min(count, len(spots))):
        split[at] = "plain" + split[at]
    return " ".join(split)


def _drop(text: str, draw: random.Random) -> str:
    split, spots = _spots(text)
    del split[draw.choice(spots)]
    return " ".join(split)


def _insert(text: str, draw: random.Random) -> str:
    split, spots = _spots(text)
    split.insert(draw.choice(spots), "very")
    return " ".join(split)


def _typo(text: str, draw: random.Random) -> str:
    split, spots = _spots(text)
    at = draw.choice(spots)
    split[at] = split[at][0] + split[at][2] + split[at][1] + split[at][3:]
    return " ".join(split)


def _retype(text: str, draw: random.Random) -> str:
    return "  ".join(text.upper().split(" ")).replace("$X$", "\\(X\\)").replace(",", " ,")


def _frame(text: str, draw: random.Random) -> str:
    return f"Solve the following problem. {text}"


def _move(text: str, draw: random.Random) -> str:
    first, _, rest = text.partition(". ")
    middle, _, last = rest.rpartition(". ")
    return f"{middle}. {first}. {last}" if middle else text.replace(". ", ".\n")


def _twin(text: str, draw: random.Random) -> str:
    split = text.split(" ")
    spots = [at for at, word in enumerate(split) if word.isdigit()]
    if not spots:
        return text.replace("x +", "x -") if "x +" in text else f"{text} Then add {draw.randint(2, 99)}."
    at = draw.choice(spots)
    split[at] = str(int(split[at]) + draw.randint(1, 50))
    return " ".join(split)


EDITS: dict[str, Callable[[str, random.Random], str]] = {
    "retyped": _retype,
    "one word replaced": lambda text, draw: _replace(text, draw, 1),
    "two words replaced": lambda text, draw: _replace(text, draw, 2),
    "word dropped": _drop,
    "word inserted": _insert,
    "typing error": _typo,
    "sentence put before": _frame,
    "sentence moved": _move,
}


def plant(rows: int, seed: int) -> Planted:
    """Half originals, a quarter copies with one edit, a quarter number twins, shuffled within the limits of their source."""
    draw = random.Random(seed)
    texts: list[str] = []
    kind: list[str] = []
    source: list[int] = []
    for row in range(rows):
        role = draw.random() if row > rows // 4 else 0.0
        origin = draw.randrange(row) if role > 0.5 else row
        while kind and origin < row and kind[origin] != "original":
            origin = draw.randrange(row)
        if role <= 0.5:
            texts.append(_problem(draw))
            kind.append("original")
        else:
            name = draw.choice(list(EDITS)) if role <= 0.75 else "twin"
            texts.append(EDITS[name](texts[origin], draw) if name != "twin" else _twin(texts[origin], draw))
            kind.append(name)
        source.append(origin)
    return Planted(texts, kind, source)


def _similarity(one: str, other: str, n: int = 2) -> float:
    left, right = ({tuple(w[i : i + n]) for i in range(len(w) - n + 1)} for w in (words(one), words(other)))
    return len(left & right) / max(len(left | right), 1)


def judge(planted: Planted, kept_instead: list[int | None]) -> None:
    """Print recall by edit and by similarity, twins merged, and false removals.

    A removal is true if both rows come from one original, or are one text after all: two twins may change one number alike.
    """

    def same_text(row: int) -> bool:
        return normalise_question(planted.texts[row]) == normalise_question(planted.texts[kept_instead[row] or 0])

    root = [row if kind in ("original", "twin") else planted.source[row] for row, kind in enumerate(planted.kind)]
    removed = [row for row, other in enumerate(kept_instead) if other is not None]
    wrong = [row for row in removed if root[row] != root[kept_instead[row] or 0] and not same_text(row)]
    for name in EDITS:
        rows = [row for row, kind in enumerate(planted.kind) if kind == name]
        close = [r for r in rows if _similarity(planted.texts[r], planted.texts[planted.source[r]]) >= 0.8]
        print(
            f"  {name:20} {len(rows):7} planted, {_share(rows, kept_instead):.4f} found;"
            f" {len(close):7} at 0.8 or more, {_share(close, kept_instead):.4f} found"
        )
    twins = [row for row, kind in enumerate(planted.kind) if kind == "twin"]
    merged = [row for row in wrong if planted.kind[row] == "twin"]
    print(f"  twins merged {len(merged) / max(len(twins), 1):.4f} of {len(twins)}")
    print(f"  removed {len(removed)}, false {len(wrong)} ({len(wrong) / max(len(removed), 1):.4f})", flush=True)


def _share(rows: list[int], kept_instead: list[int | None]) -> float:
    return sum(kept_instead[row] is not None for row in rows) / max(len(rows), 1)


def main() -> None:
    """Make the texts, run ours and, where it is installed, datatrove's."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--datatrove-rows", type=int, default=20_000)
    arguments = parser.parse_args()
    planted = plant(arguments.rows, arguments.seed)
    ours = _timed("ours", planted, lambda: [m and m.earlier for m in near_duplicates(planted.texts, workers=arguments.workers)])
    if importlib.util.find_spec("datatrove") is None:
        print("datatrove is not installed: no comparison")
        return
    part = plant(min(arguments.datatrove_rows, arguments.rows), arguments.seed)
    theirs = _timed("datatrove", part, lambda: _datatrove(part.texts))
    ours = _timed(
        "ours, same rows", part, lambda: [m and m.earlier for m in near_duplicates(part.texts, workers=arguments.workers)]
    )
    print(f"datatrove takes {theirs / ours:.1f} times as long")


def _timed(name: str, planted: Planted, find: Callable[[], list[int | None]]) -> float:
    start = time.perf_counter()
    found = find()
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    print(f"{name}: {len(found)} texts in {seconds:.1f} s, {len(found) / seconds:.0f} texts/s, peak {peak:.2f} GB")
    judge(planted, found)
    return seconds


def _datatrove(texts: list[str]) -> list[int | None]:
    """What datatrove's four MinHash steps with their defaults remove, on two workers; the first of a cluster stands for it."""
    from datatrove.executor import LocalPipelineExecutor
    from datatrove.pipeline.dedup import (
        MinhashDedupBuckets,
        MinhashDedupCluster,
        MinhashDedupFilter,
        MinhashDedupSignature,
    )
    from datatrove.pipeline.readers import JsonlReader
    from datatrove.pipeline.writers import JsonlWriter

    with tempfile.TemporaryDirectory() as folder:
        rows = Path(folder, "in")
        rows.mkdir()
        for part in range(2):
            lines = (json.dumps({"text": text, "id": str(row)}) for row, text in enumerate(texts) if row % 2 == part)
            (rows / f"{part}.jsonl").write_text("\n".join(lines), encoding="utf-8")
        removed = JsonlWriter(f"{folder}/removed", compression=None)
        steps = (
            (2, [JsonlReader(str(rows)), MinhashDedupSignature(f"{folder}/sig")]),
            (14, [MinhashDedupBuckets(f"{folder}/sig", f"{folder}/buckets")]),
            (1, [MinhashDedupCluster(f"{folder}/buckets", f"{folder}/ids", save_cluster_id=True)]),
            (
                2,
                [
                    JsonlReader(str(rows)),
                    MinhashDedupFilter(f"{folder}/ids", exclusion_writer=removed, load_cluster_ids=True),
                    JsonlWriter(f"{folder}/kept", compression=None),
                ],
            ),
        )
        for number, (tasks, pipeline) in enumerate(steps):
            LocalPipelineExecutor(pipeline, tasks=tasks, workers=2, logging_dir=f"{folder}/logs{number}").run()
        first = {cluster: row for row, cluster in _clusters(Path(folder, "kept"))}
        found: list[int | None] = [None] * len(texts)
        for row, cluster in _clusters(Path(folder, "removed")):
            found[row] = first[cluster]
        return found


def _clusters(folder: Path) -> list[tuple[int, int]]:
    documents = [json.loads(line) for file in sorted(folder.glob("*.jsonl")) for line in file.open(encoding="utf-8")]
    return [(int(d["id"]), d["metadata"]["minhash_cluster_id"]) for d in documents if d["metadata"]["minhash_cluster_id"] >= 0]


if __name__ == "__main__":
    main()
