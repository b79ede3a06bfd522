"""Rows that are unlike each other, or that stand for the others: k-centre greedy and facility location over vectors.

k-centre greedy: Gonzalez 1985; Sener and Savarese 2018 for training sets. Facility location with lazy evaluation: Minoux 1978;
Wei, Iyer and Bilmes 2015.
"""

from __future__ import annotations

import heapq
from typing import Literal

import numpy as np
import numpy.typing as npt
import polars as pl

from curation.selection import Selection, selection, stages_of
from curation.vectors import F32, one_thread

Method = Literal["k_centre", "facility_location"]
_BLOCK_ROWS = 1_024


@one_thread()
def diverse(table: pl.DataFrame, vectors: F32, *, size: int, method: Method, seed: int = 0) -> Selection:
    """`size` rows by `method` over `vectors`, one of length 1 for each row; column id, to which ties and the start are tied.

    k_centre takes the row farthest from those taken, again and again: outliers first, size x rows steps. facility_location takes
    the row that adds most to the likeness of every row to its nearest taken one: typical rows first, rows x rows steps at first.
    """
    order = np.array(table.select("id").with_row_index("row").sort("id")["row"].to_list(), np.int64)
    size = min(size, table.height)
    sorted_vectors = vectors[order]
    found = _k_centre(sorted_vectors, size, seed) if method == "k_centre" else _facility_location(sorted_vectors, size)
    drawn = [int(order[place]) for place in found]
    taken = set(drawn)
    reasons, stages = stages_of(
        [("diverse", [None if row in taken else "like_a_taken_row" for row in range(table.height)])], table.height
    )
    state = {"rule": "diverse", "method": method, "size": size, "seed": seed, "drawn": [table["id"][row] for row in drawn]}
    return selection(reasons, state, stages, _nearest(vectors, table["id"].to_list(), drawn))


def _nearest(vectors: F32, ids: list[str], drawn: list[int]) -> list[str]:
    """For each row its cosine to the likest of the `drawn`, and which that is."""
    details: list[str] = []
    for start in range(0, len(vectors), _BLOCK_ROWS) if drawn else ():
        cosines = vectors[start : start + _BLOCK_ROWS] @ vectors[drawn].T
        likest = cosines.argmax(axis=1)
        details += [f"cosine {row[place]:.2f} to {ids[drawn[place]]}" for row, place in zip(cosines, likest, strict=True)]
    return details or [""] * len(vectors)


def _k_centre(vectors: F32, size: int, seed: int) -> list[int]:
    if not size:
        return []
    found = [int(np.random.default_rng(seed).integers(len(vectors)))]
    nearest = vectors @ vectors[found[0]]  # likeness to the nearest taken row
    while len(found) < size:
        nearest[found[-1]] = np.inf  # a taken row is never the farthest
        found.append(int(nearest.argmin()))
        np.maximum(nearest, vectors @ vectors[found[-1]], out=nearest)
    return found


def _facility_location(vectors: F32, size: int) -> list[int]:
    """Greedy, with gains looked up again only when they come to the top: a gain never grows, so an old one is a bound."""
    best = np.zeros(len(vectors), np.float32)
    heap = [(-gain, row) for row, gain in enumerate(_first_gains(vectors))]
    heapq.heapify(heap)
    found: list[int] = []
    while len(found) < size and heap:
        _, row = heapq.heappop(heap)
        likeness = vectors @ vectors[row]
        gain = float(np.maximum(likeness - best, 0).sum())
        if heap and -heap[0][0] > gain:
            heapq.heappush(heap, (-gain, row))
            continue
        found.append(row)
        np.maximum(best, likeness, out=best)
    return found


def _first_gains(vectors: F32) -> list[float]:
    gains: list[npt.NDArray[np.float32]] = []
    for start in range(0, len(vectors), _BLOCK_ROWS):
        gains.append(np.maximum(vectors[start : start + _BLOCK_ROWS] @ vectors.T, 0).sum(axis=1))
    return [float(gain) for part in gains for gain in part]
