"""Texts as vectors whose inner product is their likeness: without a download by hashed TF-IDF and SVD, or from a model.

Hashed TF-IDF (Weinberger et al. 2009, the hashing trick) with a randomised truncated SVD (Halko, Martinsson and Tropp 2011): latent
semantic analysis. It knows which words stand together in these texts and nothing of their meaning; whoever needs meaning names
an embedding model.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
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
_BLOCK = 1 << 18  # entries of the sparse matrix multiplied at once: 100 MB with 100 columns
_ROWS = 65_536  # of a dense matrix in double precision at once
_BATCH_TEXTS = 32
_BATCH_TOKENS = 512


class Sparse(NamedTuple):
    """A matrix by rows: entries starts[i] to starts[i + 1] are row i's columns and values."""

    starts: I64
    columns: npt.NDArray[np.int32]
    values: F32


def tfidf_svd(texts: Sequence[str], dimensions: int = 128, seed: int = 0) -> F32:
    """len(texts) x dimensions, rows of length 1 (0 for a text without words). Words and pairs of words, sublinear counts.

    Fewer dimensions come back where the texts have fewer. The same texts and seed give the same vectors on one machine; a
    linear algebra library may differ in the last digits on another.
    """
    matrix = _tfidf(texts)
    rank = min(dimensions, len(texts), BUCKETS)
    draw = np.random.default_rng(seed).standard_normal((BUCKETS, min(rank + _EXTRA, max(len(texts), 1)))).astype(np.float32)
    other = _transposed(matrix, len(texts))
    basis = _orthogonal(_times(matrix, draw))
    for _ in range(_POWER_STEPS):
        basis = _orthogonal(_times(matrix, _times(other, basis)))
    small = _times(other, basis).astype(np.float64)  # the matrix's transpose times the basis: BUCKETS x k
    squares, right = np.linalg.eigh(small.T @ small)  # ascending
    scaled = right * np.sqrt(np.maximum(squares, 0))
    return unit(basis @ scaled[:, ::-1][:, :rank])


def vectors_of(texts: Sequence[str], model: str | None) -> F32:
    """Vectors from an embedding model where one is named, else hashed TF-IDF with SVD."""
    return from_model(texts, model) if model else tfidf_svd(texts)


def unit(vectors: npt.NDArray[np.floating]) -> F32:
    """The rows, each of length 1 or 0."""
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    scaled: F32 = (vectors / np.where(norms > 1e-6, norms, np.inf)).astype(np.float32)
    return scaled


def _tfidf(texts: Sequence[str]) -> Sparse:
    """Weighted and normalised counts; 8 bytes an entry, some 80 entries a problem."""
    table = Hashes(hash_text)
    columns, counts, sizes = [np.zeros(0, np.int32)], [np.zeros(0, np.float32)], [np.zeros(0, np.int64)]
    for _, block in blocks(texts, BLOCK_CHARACTERS):
        every = hashed(map(_terms, block), table)
        row = np.repeat(np.arange(len(block)), np.diff(every.starts))
        cells, times = np.unique(row * BUCKETS + (every.hashes % np.uint64(BUCKETS)).astype(np.int64), return_counts=True)
        rows, found = np.divmod(cells, BUCKETS)
        columns.append(found.astype(np.int32))
        counts.append((1 + np.log(times)).astype(np.float32))
        sizes.append(np.bincount(rows, minlength=len(block)))
    starts = np.concatenate([np.zeros(1, np.int64), np.cumsum(np.concatenate(sizes))])
    return _weighted(Sparse(starts, np.concatenate(columns), np.concatenate(counts)), len(texts))


def _weighted(counted: Sparse, rows: int) -> Sparse:
    """Each count times the rarity of its word, each row of length 1."""
    holders = np.bincount(counted.columns, minlength=BUCKETS)
    values = counted.values
    values *= (np.log((1 + rows) / (1 + holders)) + 1).astype(np.float32)[counted.columns]
    filled = np.flatnonzero(np.diff(counted.starts))
    norms = np.sqrt(np.add.reduceat(values * values, counted.starts[filled])) if len(filled) else values
    values /= np.repeat(norms, np.diff(counted.starts)[filled])
    return counted


def _terms(text: str) -> list[str]:
    found = words(text)
    return found + [f"{one} {two}" for one, two in pairwise(found)]


def _transposed(matrix: Sparse, rows: int) -> Sparse:
    order = np.argsort(matrix.columns, kind="stable")
    starts = np.concatenate([np.zeros(1, np.int64), np.cumsum(np.bincount(matrix.columns, minlength=BUCKETS))])
    row = np.repeat(np.arange(rows, dtype=np.int32), np.diff(matrix.starts))
    return Sparse(starts, row[order], matrix.values[order])


def _times(matrix: Sparse, dense: F32) -> F32:
    """The product of a sparse and a dense matrix, some rows at a time."""
    out = np.zeros((len(matrix.starts) - 1, dense.shape[1]), np.float32)
    for first, last in _row_blocks(matrix.starts):
        a, b = matrix.starts[first], matrix.starts[last]
        filled = first + np.flatnonzero(np.diff(matrix.starts[first : last + 1]))
        if len(filled):
            weighted = dense[matrix.columns[a:b]] * matrix.values[a:b, None]
            out[filled] = np.add.reduceat(weighted, matrix.starts[filled] - a, axis=0)
    return out


def _row_blocks(starts: I64) -> Iterator[tuple[int, int]]:
    first, rows = 0, len(starts) - 1
    while first < rows:
        last = max(first + 1, int(np.searchsorted(starts, starts[first] + _BLOCK)) - 1)
        yield first, min(last, rows)
        first = min(last, rows)


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


def from_model(texts: Sequence[str], model: str) -> F32:
    """Mean of a transformer's last hidden states over each text's tokens, length 1; texts are cut at 512 tokens.

    `model` is a name on the Hub or a folder, such as sentence-transformers/all-MiniLM-L6-v2. Needs torch and transformers.
    """
    import torch
    from transformers import AutoModel, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(model)
    network = AutoModel.from_pretrained(model).eval()
    parts = []
    for start in range(0, len(texts), _BATCH_TEXTS):
        batch = list(texts[start : start + _BATCH_TEXTS])
        found = tokenizer(batch, padding=True, truncation=True, max_length=_BATCH_TOKENS, return_tensors="pt")
        with torch.no_grad():
            states = network(**found).last_hidden_state
        parts.append(_mean(states, found["attention_mask"]))
    return unit(np.concatenate(parts)) if parts else np.zeros((0, 1), np.float32)


def _mean(states: torch.Tensor, mask: torch.Tensor) -> F32:
    weights = mask.unsqueeze(-1)
    mean: F32 = ((states * weights).sum(1) / weights.sum(1).clamp(min=1)).float().numpy()
    return mean
