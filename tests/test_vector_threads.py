"""What is made of vectors has the same bytes whatever the threads of the linear algebra."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from tiny_model import make_tiny_model

from curation.vectors import from_model

MADE = """
import json, random, sys
import polars as pl
from curation.benchmarks import Benchmark
from curation.dedup_semantic import semantic_duplicates
from curation.neighbours import neighbours
from curation.selection.diversity import diverse
from curation.vectors import tfidf_svd

draw = random.Random(3)
stock = [a + b + c for a in "bdfgklmnpr" for b in "aeiou" for c in ("lm", "nt", "rk", "st", "pp", "x", "zz", "w")]
texts = [" ".join(draw.choices(stock, k=draw.randint(20, 60))) for _ in range(700)]
texts += [" ".join([*text.split()[4:], *text.split()[:3]]) for text in texts[:200]]
vectors = tfidf_svd(texts)
sys.stdout.buffer.write(vectors.tobytes())
pairs = semantic_duplicates(texts, ["1"] * len(texts), vectors, 0.5)
assert sum(p is not None for p in pairs) > 100
hits = neighbours(texts[700:], [Benchmark("b", tuple(texts[:200]), "r")], threshold=0.5)
assert sum(h is not None for h in hits) > 100
table = pl.DataFrame({"id": [f"{n:04}" for n in range(len(texts))]})
rows = [diverse(table, vectors, size=60, method=m).taken for m in ("k_centre", "facility_location")]
print(json.dumps([pairs, hits, rows]))
"""


def _made(threads: int, script: str = MADE, *arguments: str) -> bytes:
    # OMP_NUM_THREADS too: it says how many threads torch takes, and OpenBLAS where its own variable is not set.
    several = dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"), str(threads))
    root = str(Path(__file__).parent.parent)
    command = [sys.executable, "-c", script, *arguments]
    return subprocess.run(command, env={**os.environ, **several, "PYTHONPATH": root}, check=True, capture_output=True).stdout


@pytest.mark.slow
def test_vectors_duplicates_neighbours_and_selection_on_one_thread_and_on_two() -> None:
    one = _made(1)
    assert len(one) > 100_000 and _made(2) == one


def test_batches_beside_each_other_come_back_in_order(tmp_path: Path) -> None:
    texts = [f"{n} boats and {other} oars." for n in range(16) for other in range(8)]
    folder = str(make_tiny_model(tmp_path))
    one = np.concatenate([from_model([text], folder) for text in texts[::16]])
    assert len(texts) == 128 and np.allclose(from_model(texts, folder)[::16], one, atol=1e-5)
