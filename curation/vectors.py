"""Texts as vectors whose inner product is their likeness: without a download by hashed TF-IDF and SVD, or from a model.

Hashed TF-IDF (Weinberger et al. 2009, the hashing trick) with a randomised truncated SVD (Halko, Martinsson and Tropp 2011): latent
semantic analysis. It knows which words stand together in these texts and nothing of their meaning; whoever needs meaning names
an embedding model.

A product of matrices on two threads differs from that on one by 1e-7, which is another byte in a table and now and then another
row kept: everything that is made of vectors is made under `one_thread`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

from curation.normalise import words
from curation.shingles import BLOCK_CHARACTERS, I64, Hashes, blocks, hash_text, hashed

if TYPE_CHECKING:
    import torch

F32 = npt.NDArray[np.float32]
BUCKETS = 1 << 17  # columns of the hashed matrix; 20,000 words of a problem set rarely meet in one
_EXTRA = 10  # columns beyond the wanted ones, and two power steps: Halko's advice for a slowly falling spectrum
_POWER_STEPS = 2
_FITTED = 50_000  # texts that the axes are fitted on; more hardly turn them, and each is passed over six times
_ROWS = 65_536  # of a dense matrix in double precision at once
_BATCH_TEXTS = 32
_BATCH_TOKENS = 512
COSINE_DIGITS = 6  # of stored cosines: more are noise in single precision


class Sparse(NamedTuple):
    """A matrix by rows: entries starts[i] to starts[i + 1] are row i's columns and values."""

    starts: I64
    columns: npt.NDArray[np.int32]
    values: F32


class Fitted(NamedTuple):
    """What turns a text into a vector."""

    rarity: F32  # weight of each bucket
    projection: F32  # BUCKETS x dimensions


@contextmanager
def one_thread() -> Iterator[None]:
    """The linear algebra of NumPy on one thread, so that its bytes do not depend on the number of cores."""
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1, user_api="blas"):
        yield


@one_thread()
def tfidf_svd(texts: Sequence[str], dimensions: int = 128, seed: int = 0) -> F32:
    """len(texts) x dimensions, rows of length 1 (0 for a text without words). Words and pairs of words, sublinear counts.

    Fitted on all texts, or on a seeded draw of 50,000 where there are more; then text by text, in bounded memory beside the result.
    Fewer dimensions come back where the texts have fewer. The same texts and seed give the same vectors on any number of cores; a
    processor with other instructions may give other last digits.
    """
    draw = np.random.default_rng(seed)
    sample = texts if len(texts) <= _FITTED else [texts[row] for row in np.sort(draw.choice(len(texts), _FITTED, replace=False))]
    table = Hashes(hash_text)
    fitted = _fit(_counted(sample, table), min(dimensions, len(texts), BUCKETS), draw)
    parts = [np.zeros((0, fitted.projection.shape[1]), np.float32)]
    for _, block in blocks(texts, BLOCK_CHARACTERS):
        parts.append(unit(_times(_weighted(_counted(block, table), fitted.rarity), fitted.projection)))
    return np.concatenate(parts)


def _fit(counts: Sparse, rank: int, draw: np.random.Generator) -> Fitted:
    rows = len(counts.starts) - 1
    holders = np.bincount(counts.columns, minlength=BUCKETS)
    rarity = (np.log((1 + rows) / (1 + holders)) + 1).astype(np.float32)
    matrix = _weighted(counts, rarity)
    other = _transposed(matrix, rows)
    basis = _orthogonal(_times(matrix, draw.standard_normal((BUCKETS, min(rank + _EXTRA, max(rows, 1)))).astype(np.float32)))
    for _ in range(_POWER_STEPS):
        basis = _orthogonal(_times(matrix, _times(other, basis)))
    small = _times(other, basis).astype(np.float64)  # the matrix's transpose times the basis: BUCKETS x k
    squares, right = np.linalg.eigh(small.T @ small)  # ascending
    scale = np.where(squares > squares.max(initial=0) * 1e-10, 1 / np.sqrt(np.maximum(squares, 1e-300)), 0)
    singular = small @ (right * scale)  # right singular vectors of the matrix, the weightiest last
    return Fitted(rarity, np.ascontiguousarray(singular[:, ::-1][:, :rank], np.float32))


def vectors_of(texts: Sequence[str], model: str | None, revision: str | None = None) -> F32:
    """Vectors from an embedding model where one is named, else hashed TF-IDF with SVD."""
    return from_model(texts, model, revision) if model else tfidf_svd(texts)


def unit(vectors: npt.NDArray[np.floating]) -> F32:
    """The rows, each of length 1 or 0."""
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    scaled: F32 = (vectors / np.where(norms > 1e-6, norms, np.inf)).astype(np.float32)
    return scaled


def _counted(texts: Sequence[str], table: Hashes) -> Sparse:
    """1 + log of how often each bucket's words stand in each text; 8 bytes an entry, some 80 entries a problem."""
    every = hashed(map(_terms, texts), table)
    row = np.repeat(np.arange(len(texts)), np.diff(every.starts))
    cells, times = np.unique(row * BUCKETS + (every.hashes % np.uint64(BUCKETS)).astype(np.int64), return_counts=True)
    rows, columns = np.divmod(cells, BUCKETS)
    return Sparse(_starts(rows, len(texts)), columns.astype(np.int32), (1 + np.log(times)).astype(np.float32))


def _starts(rows: I64, count: int) -> I64:
    return np.concatenate([np.zeros(1, np.int64), np.cumsum(np.bincount(rows, minlength=count))])


def _weighted(counts: Sparse, rarity: F32) -> Sparse:
    """Each count times the rarity of its bucket, each row of length 1."""
    values = counts.values * rarity[counts.columns]
    lengths = np.diff(counts.starts)
    filled = np.flatnonzero(lengths)
    if len(filled):
        norms = np.sqrt(np.add.reduceat(values * values, counts.starts[filled]))
        values /= np.repeat(norms, lengths[filled])
    return Sparse(counts.starts, counts.columns, values)


def _terms(text: str) -> list[str]:
    found = words(text)
    return found + [f"{one} {two}" for one, two in pairwise(found)]


def _transposed(matrix: Sparse, rows: int) -> Sparse:
    order = np.argsort(matrix.columns, kind="stable")
    row = np.repeat(np.arange(rows, dtype=np.int32), np.diff(matrix.starts))
    return Sparse(_starts(matrix.columns.astype(np.int64), BUCKETS), row[order], matrix.values[order])


def _times(matrix: Sparse, dense: F32) -> F32:
    """The product of a sparse and a dense matrix, row by row: each is a small product, 20 us for a problem's 80 entries."""
    out = np.zeros((len(matrix.starts) - 1, dense.shape[1]), np.float32)
    starts = matrix.starts.tolist()
    for row in np.flatnonzero(np.diff(matrix.starts)).tolist():
        a, b = starts[row], starts[row + 1]
        out[row] = matrix.values[a:b] @ dense[matrix.columns[a:b]]
    return out


def _orthogonal(matrix: F32) -> F32:
    """An orthonormal basis of the columns, through the small matrix of their products: ten times as fast as QR."""
    wide = np.zeros((matrix.shape[1], matrix.shape[1]))
    for start in range(0, len(matrix), _ROWS):
        part = matrix[start : start + _ROWS].astype(np.float64)
        wide += part.T @ part
    squares, turned = np.linalg.eigh(wide)
    scale = np.where(squares > squares[-1] * 1e-12, 1 / np.sqrt(np.maximum(squares, 1e-300)), 0) if len(squares) else squares
    change = turned * scale
    basis = np.empty_like(matrix)
    for start in range(0, len(matrix), _ROWS):
        basis[start : start + _ROWS] = matrix[start : start + _ROWS].astype(np.float64) @ change
    return basis


def from_model(texts: Sequence[str], model: str, revision: str | None = None) -> F32:
    """Mean of a transformer's last hidden states over each text's tokens, length 1; texts are cut at 512 tokens.

    `model` is a name on the Hub or a folder, such as sentence-transformers/all-MiniLM-L6-v2; `revision` is the commit
    of the former. Needs torch and transformers.
    """
    import torch
    from transformers import AutoModel, AutoTokenizer

    where = {} if Path(model).exists() else {"revision": revision}
    tokenizer = AutoTokenizer.from_pretrained(model, **where)
    network = AutoModel.from_pretrained(model, **where).eval()

    def embedded(start: int) -> F32:
        batch = list(texts[start : start + _BATCH_TEXTS])
        with torch.inference_mode():
            found = tokenizer(batch, padding=True, truncation=True, max_length=_BATCH_TOKENS, return_tensors="pt")
            return _mean(network(**found).last_hidden_state, found["attention_mask"])

    # Batches beside each other, each on one thread: a product divided among threads has other last digits.
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            parts = list(pool.map(embedded, range(0, len(texts), _BATCH_TEXTS)))
    finally:
        torch.set_num_threads(threads)
    return unit(np.concatenate(parts)) if parts else np.zeros((0, 1), np.float32)


def _mean(states: torch.Tensor, mask: torch.Tensor) -> F32:
    weights = mask.unsqueeze(-1)
    mean: F32 = ((states * weights).sum(1) / weights.sum(1).clamp(min=1)).float().numpy()
    return mean
