"""What need not be looked for in a thought: the rules of curation.trace_filters, ruled out for many thoughts at a time.

As curation.glance does for faults: what is said here can only be too much. In numpy over the bytes of a column of thoughts and in
Polars' regular expressions, at a fifth of the time of looking into each of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import polars as pl

from curation.languages import KINDS_OF_OTHERS, OTHERS, looked_at
from curation.trace_filters import PARAGRAPH_CHARACTERS, Look

_ROWS = 100  # at once: a megabyte, which a core's caches hold
_FENCE = "```"

Bytes = npt.NDArray[np.uint8]
Places = npt.NDArray[np.int64]


def _any_of(words: frozenset[str]) -> str:
    """A pattern that finds each of `words` where spaces divide it from others; the borders of ASCII are the fast ones."""
    edged = (("(?-u:\\b)" * w[0].isascii(), w, "(?-u:\\b)" * w[-1].isascii()) for w in sorted(words))
    return "|".join(map("".join, edged))


_OTHERS = _any_of(OTHERS)


def looks(thoughts: pl.Series) -> Iterator[Look]:
    """One for each thought of a column of texts, in order; a missing one is an empty one."""
    thoughts = thoughts.fill_null("")
    # Of the whole column at once: a pattern of 90 words takes a millisecond to compile.
    others = pl.Series(map(looked_at, thoughts.to_list()), dtype=pl.String).str.count_matches(_OTHERS) >= KINDS_OF_OTHERS
    fenced = thoughts.str.contains(_FENCE, literal=True)
    parts = (_bytes(thoughts.slice(first, _ROWS)) for first in range(0, len(thoughts), _ROWS))
    told = (one for data, begins in parts for one in zip(_letters(data, begins), _long(data, begins), strict=True))
    for (letters, long), foreign, fence in zip(told, others, fenced, strict=True):
        yield Look(letters, foreign, fence, long)


def _bytes(texts: pl.Series) -> tuple[Bytes, Places]:
    """The texts one after another in UTF-8, and where each begins and the last one ends."""
    _, offsets, held = texts.to_arrow().buffers()
    begins = np.frombuffer(offsets, np.int64)[: len(texts) + 1]
    return np.frombuffer(held, np.uint8)[: begins[-1]], begins


def _letters(data: Bytes, begins: Places) -> list[str]:
    """The characters of each text outside ASCII, all of whose bytes are."""
    at = (data > 0x7F).nonzero()[0]
    held = data[at].tobytes()
    return [held[first:end].decode() for first, end in pairwise(np.searchsorted(at, begins).tolist())]


def _long(data: Bytes, begins: Places) -> list[bool]:
    """Whether a paragraph of each text may be too long: by its bytes, and by as many more as its borders may take."""
    lines = (data == ord("\n")).nonzero()[0]
    empty = lines[:-1][np.diff(lines) == 1]
    borders = np.sort(np.concatenate([begins, empty]))
    far = borders[:-1][np.diff(borders) >= PARAGRAPH_CHARACTERS]
    counts = np.bincount(np.searchsorted(begins, far, side="right") - 1, minlength=len(begins) - 1)
    return [count > 0 for count in counts.tolist()]
