"""What need not be looked for in a text: repetition and special tokens, ruled out for many texts at a time.

Nearly every text repeats little, and to see that its words need not be known: a run in which each word has the first byte, the
last byte and the length of its fellow is taken for a repetition, a line likewise. That can only say too much, so what is ruled out
here is so, and the rest is read word by word (curation.quality). In numpy, over the bytes of many texts at once: a quarter of the
time of reading texts of 7 kB.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from curation.shingles import BASE, U64

RUN = 20  # words; open-r1's repetition penalty counts runs too (rewards.py), Demystifying Long CoT has 40 tokens
LINE_CHARACTERS = 20  # shorter lines repeat by nature: \\[, "So", a sum's next step (Gopher, 2112.11446, table A1)
_POWERS = {n: np.uint64(pow(BASE, n, 2**64)) for n in (1, 2, 4, 8, 16)}  # of the polynomial hash of runs
_AT_ONCE = 1 << 16  # characters, whose arrays fit into a processor's cache
_MOST_TEXTS = 1 << 11  # at once: their numbers take the upper 12 bits of a key
# Characters beyond ASCII at which str.split() divides, in UTF-8.
_WIDE_SPACES = frozenset(int.from_bytes(chr(c).encode(), "big") for c in range(0x80, 0x3001) if chr(c).isspace())
# The last two bytes of the special tokens that quality.py looks for: |>, ｜>, turn>, INST], SYS>.
_MARK_ENDS = frozenset(int.from_bytes(end.encode()[-2:], "big") for end in ("|>", "｜>", "n>", "T]", "S>"))

# glibc gives memory back whenever 128 kB are free at the top of its heap, and gets it again page by page for the next array, until
# once something larger was freed: 8 MB, never touched, spare a sixth of the time here.
np.empty(1 << 20)

Bytes = npt.NDArray[np.uint8]
Places = npt.NDArray[np.int64]
Shares = npt.NDArray[np.float64]


class Glance(NamedTuple):
    """Upper bounds for one text."""

    words: int  # exact, as str.split() finds them
    runs: float  # no less than the share of runs of 20 words that stood before, in [0, 1]
    lines: float  # no less than the share of the characters of lines that stood before, in [0, 1]
    marks: bool  # False: there is no special token


def glances(texts: Iterable[str]) -> Iterator[Glance]:
    """One for each text, in order; texts are held until a quarter of a million characters have come."""
    held: list[str] = []
    characters = 0
    for text in texts:
        held.append(text)
        characters += len(text)
        if characters >= _AT_ONCE or len(held) == _MOST_TEXTS:
            yield from _glances(held)
            held, characters = [], 0
    yield from _glances(held) if held else ()


def _glances(texts: Sequence[str]) -> Iterator[Glance]:
    parts = [text.encode("utf-8", "surrogatepass") for text in texts]
    data = np.frombuffer(b"\n".join(parts) + b"\n", np.uint8)
    begins = np.concatenate([[0], np.cumsum([len(part) + 1 for part in parts])])
    starts, ends = _words(data)
    bounds = np.searchsorted(starts, begins)  # the first word of each text
    counts = np.diff(bounds)
    owners = np.repeat(np.arange(len(texts), dtype=np.int64), counts)
    runs = _repeated_runs(data, starts, ends, owners, len(texts))
    lines = _repeated_lines(data, starts, ends, owners, len(texts))
    marked = np.searchsorted(begins, _marks(data), side="right") - 1
    marks = np.bincount(marked, minlength=len(texts)) > 0
    return map(Glance, counts.tolist(), runs.tolist(), lines.tolist(), marks.tolist())


def _words(data: Bytes) -> tuple[Places, Places]:
    """Where each word starts, and one after its last byte."""
    word = np.zeros(len(data) + 2, np.bool_)
    word[1:-1] = data > 32
    if data.min() < 9 or ((data > 13) & (data < 28)).any():  # other control characters divide nothing
        word[1:-1] |= (data < 9) | ((data > 13) & (data < 28))
    leads = (data > 0xC1).nonzero()[0]
    if len(leads):
        _unmark_spaces(word[1:-1], data, leads)
    edges = (word[1:] != word[:-1]).nonzero()[0]
    return edges[::2], edges[1::2]


def _unmark_spaces(word: npt.NDArray[np.bool_], data: Bytes, leads: Places) -> None:
    two = data[leads].astype(np.int64) << 8 | data[leads + 1]  # a line's end follows every text
    three = two << 8 | data[np.minimum(leads + 2, len(data) - 1)]
    for width, codes in ((2, two), (3, three)):
        spaces = _WIDE_SPACES.intersection(codes.tolist())
        at = leads[np.isin(codes, list(spaces))] if spaces else leads[:0]
        for place in range(width):
            word[at + place] = False


def _repeated_runs(data: Bytes, starts: Places, ends: Places, owners: Places, texts: int) -> Shares:
    if len(starts) < RUN:
        return np.zeros(texts)
    first, last = data[starts].astype(np.uint64), data[ends - 1].astype(np.uint64)
    keys = run_hashes((ends - starts).view(np.uint64) << np.uint64(16) | first << np.uint64(8) | last)
    whole = owners[: len(keys)] == owners[RUN - 1 :]  # not from one text into the next
    of = owners[: len(keys)][whole]
    keys = keys[whole] >> np.uint64(12) | of.view(np.uint64) << np.uint64(52)
    keys.sort()
    again = (keys[1:][keys[1:] == keys[:-1]] >> np.uint64(52)).view(np.int64)
    return np.bincount(again, minlength=texts) / np.maximum(np.bincount(of, minlength=texts), 1)


def run_hashes(units: U64) -> U64:
    """A hash of each run of 20 units, by doubling: 1, 2, 4, 8, 16 and 16 + 4."""
    two = _joined(units, units, 1)
    four = _joined(two, two, 2)
    eight = _joined(four, four, 4)
    return _joined(_joined(eight, eight, 8), four, 16)


def _joined(left: U64, right: U64, distance: int) -> U64:
    """Hash of each run that starts with `left` and goes on with the run of `right` that starts `distance` words later."""
    return left[: len(right) - distance] * _POWERS[distance] + right[distance : distance + len(left)]


def _repeated_lines(data: Bytes, starts: Places, ends: Places, owners: Places, texts: int) -> Shares:
    """A line reaches from its first word to the end of its last, and counts by its characters."""
    bounds = np.concatenate([[0], np.searchsorted(starts, (data == 10).nonzero()[0])])
    filled = bounds[1:] != bounds[:-1]
    first = bounds[:-1][filled]
    begins, stops = starts[first], ends[bounds[1:][filled] - 1]
    inside = (data & 0xC0 == 0x80).nonzero()[0]  # bytes that begin no character
    lengths = stops - begins - np.searchsorted(inside, stops) + np.searchsorted(inside, begins)
    long = lengths >= LINE_CHARACTERS
    of, lengths, begins, stops = owners[first][long], lengths[long], begins[long], stops[long]
    keys = of << 52 | np.minimum(lengths, (1 << 36) - 1) << 16 | data[begins].astype(np.int64) << 8 | data[stops - 1]
    keys.sort()
    again = keys[1:][keys[1:] == keys[:-1]]
    repeated = np.bincount(again >> 52, again >> 16 & (1 << 36) - 1, texts)
    return repeated / np.maximum(np.bincount(of, lengths, texts), 1)


def _marks(data: Bytes) -> Places:
    """Where two bytes stand in which a special token ends."""
    at = ((data[1:] == ord(">")) | (data[1:] == ord("]"))).nonzero()[0]
    pairs = data[at].astype(np.int64) << 8 | data[at + 1]
    found: Places = at[np.isin(pairs, list(_MARK_ENDS))]
    return found
