"""Speed and faults of near-duplicate removal: `python tests/benchmarks/duplicates.py [PROBLEMS ...] --rows N`.

Texts are grown from the given files, or made up. Prints texts a second, memory (of this process and its largest child), recall of
planted copies by kind of edit and by true similarity, number twins merged and removals that are false, and the same for
datatrove's MinHash pipeline with its defaults where datatrove[processing] is installed.
"""

from __future__ import annotations

import argparse
import gc
import importlib.util
import json
import resource
import statistics
import tempfile
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from curation.dedup import near_duplicates
from curation.normalise import words

if TYPE_CHECKING:
    from growing import Planted


def _similarity(one: str, other: str, n: int = 2) -> float:
    left, right = ({tuple(w[i : i + n]) for i in range(len(w) - n + 1)} for w in (words(one), words(other)))
    return len(left & right) / max(len(left | right), 1)


def judge(planted: Planted, kept_instead: list[int | None]) -> None:
    """Print recall by kind of edit and by true similarity, twins merged, and false removals.

    A removal is true if both rows ask the same question by how they were made: an edit of one original, or one text after all.
    """
    root, kind = planted.root, planted.kind
    right = [other is not None and root[other] == root[row] for row, other in enumerate(kept_instead)]
    removed = [row for row, other in enumerate(kept_instead) if other is not None]
    wrong = [row for row in removed if not right[row]]
    edits = [row for row, name in enumerate(kind) if name not in ("original", "twin")]
    similar = {row: _similarity(planted.texts[row], planted.texts[planted.source[row]]) for row in edits}
    for name in sorted({kind[row] for row in edits}):
        rows = [row for row in edits if kind[row] == name]
        close = [row for row in rows if similar[row] >= 0.8]
        print(f"  {name:20} {_share(rows, right)} found; at 0.8 or more {_share(close, right)}")
    for low, high in pairwise([0.0, 0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95, 1.0, 1.01]):
        print(f"  similarity {low:.2f} to {high:.2f}  {_share([row for row in edits if low <= similar[row] < high], right)}")
    print(f"  recall at 0.8 or more {_share([row for row in edits if similar[row] >= 0.8], right)}")
    twins = [row for row, name in enumerate(kind) if name == "twin" and root[row] == row]
    merged = [row for row in twins if kept_instead[row] is not None]
    print(f"  twins merged {len(merged) / max(len(twins), 1):.4f} of {len(twins)}")
    print(f"  removed {len(removed)}, false {len(wrong)} ({len(wrong) / max(len(removed), 1):.4f})", flush=True)


def _share(rows: list[int], right: list[bool]) -> str:
    return f"{sum(right[row] for row in rows) / max(len(rows), 1):.4f} of {len(rows):7}"


def main() -> None:
    """Make the texts, run ours and, where it is installed, datatrove's."""
    parser = argparse.ArgumentParser()
    parser.add_argument("files", nargs="*", type=Path, help="problems to grow the texts from; made-up ones where none is given")
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--datatrove-rows", type=int, default=50_000)
    arguments = parser.parse_args()
    from growing import plant, read_texts  # not above: the other processes import this file, and need none of it

    real = read_texts(arguments.files)

    def ours(texts: list[str]) -> list[int | None]:
        return [match and match.kept for match in near_duplicates(texts, workers=arguments.workers)]

    part = plant(min(arguments.datatrove_rows, arguments.rows), arguments.seed, real)
    before = _timed("ours", part, ours)
    if importlib.util.find_spec("datatrove") is None:
        print("datatrove is not installed: no comparison")
    else:
        theirs = _timed("datatrove", part, _datatrove)
        again = [_timed("ours again", part, ours, judged=False) for _ in range(2)]  # minutes later: these machines are noisy
        print(f"datatrove takes {theirs / statistics.median([before, *again]):.1f} times as long as the median of three of ours")
    if arguments.rows > len(part.texts):
        _timed("ours", plant(arguments.rows, arguments.seed, real), ours)


def _timed(name: str, planted: Planted, find: Callable[[list[str]], list[int | None]], *, judged: bool = True) -> float:
    gc.collect()
    gc.freeze()  # what a run before left behind, and the libraries that it loaded, is not searched for garbage in this one
    start = time.perf_counter()
    found = find(planted.texts)
    seconds = time.perf_counter() - start
    peak = sum(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)) / 1e6
    print(f"{name}: {len(found)} texts in {seconds:.1f} s, {len(found) / seconds:.0f} texts/s, peak {peak:.2f} GB")
    if judged:
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
