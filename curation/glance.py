"""What need not be looked for in a text: repetition and special tokens, ruled out for many texts at a time.

Nearly every text repeats little, and to see that its words need not be known: a run in which each word has the first byte, the
last byte and the length of its fellow is taken for a repetition, a line likewise. That can only say too much, so what is ruled out
here is so, and the rest is read word by word (curation.quality). In numpy, over the bytes of many texts at once: a fifth of the
time of reading texts of 12 kB.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from curation.shingles import BASE

RUN = 20  # words; open-r1's repetition penalty counts runs too (rewards.py), Demystifying Long CoT has 40 tokens
LINE_CHARACTERS = 20  # shorter lines repeat by nature: \\[, "So", a sum's next step (Gopher, 2112.11446, table A1)
STRETCH = 200  # characters; that many alike, letters or digits, are no text
DIVIDERS = frozenset(" \n\t-=_*.#~|&+")  # and of these it may well be
_POWERS = {n: np.uint64(pow(BASE, n, 2**64)) for n in (1, 2, 4, 8, 16)}  # of the polynomial hash of runs
_AT_ONCE = 1 << 18  # characters: some arrays fit into a core's cache, and calls of numpy cost little beside the work
_MOST_TEXTS = 1 << 11  # at once: their numbers take the upper 12 bits of a key
_EVERY = STRETCH // 4 - 2  # bytes, a multiple of 2, 3 and 4: four bytes so far apart are alike in a stretch of any one character
_NO_DIVIDER = np.array([chr(code) not in DIVIDERS for code in range(256)])


def _pairs(ends: Iterable[bytes]) -> npt.NDArray[np.bool_]:
    """For each number of two bytes whether one of `ends` is it."""
    known = np.zeros(1 << 16, np.bool_)
    known[[int.from_bytes(end, "big") for end in ends]] = True
    return known


# Characters beyond ASCII at which str.split() divides, in UTF-8, and what the first two bytes of one can be.
_WIDE_SPACES = frozenset(int.from_bytes(chr(c).encode(), "big") for c in range(0x80, 0x3001) if chr(c).isspace())
_SPACE_BEGINS = _pairs(chr(c).encode()[:2] for c in range(0x80, 0x3001) if chr(c).isspace())
# The last two bytes of the special tokens that quality.py looks for (|>, ｜>, turn>, INST], SYS>) and of U+FFFD.
_MARK_ENDS = _pairs(end.encode()[-2:] for end in ("|>", "｜>", "n>", "T]", "S>", "\ufffd"))
_MARK_LASTS = (ord(">"), ord("]"), "\ufffd".encode()[-1])

# glibc gives memory back whenever 128 kB are free at the top of its heap, and gets it again page by page for the next array, until
# once something larger was freed: 8 MB, never touched, spare a sixth of the time here.
np.empty(1 << 20)

Bytes = npt.NDArray[np.uint8]
Places = npt.NDArray[np.int64]
Shares = npt.NDArray[np.float64]
Hashes = TypeVar("Hashes", npt.NDArray[np.uint32], npt.NDArray[np.uint64])


class Glance(NamedTuple):
    """Upper bounds for one text."""

    words: int  # exact, as str.split() finds them
    runs: float  # no less than the share of runs of 20 words that stood before, in [0, 1]
    lines: float  # no less than the share of the characters of lines that stood before, in [0, 1]
    marks: bool  # False: there is no special token, no U+FFFD and no U+0000
    stretch: bool  # False: nowhere does one character, that divides nothing, stand 200 times


UNREAD = Glance(words=0, runs=1.0, lines=1.0, marks=True, stretch=True)  # of a text that was not glanced at


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
    inside = _words(data)
    edges = (inside[1:] != inside[:-1]).nonzero()[0]
    starts, ends = edges[::2], edges[1::2]
    bounds = np.searchsorted(starts, begins)  # the first word of each text
    runs = _repeated_runs(data, edges, bounds.tolist())
    lines = _repeated_lines(data, inside[1:-1], starts, ends, begins)
    marks, stretches = (_texts_at(places, begins) for places in (_marks(data), _stretches(data)))
    return map(Glance, np.diff(bounds).tolist(), runs, lines.tolist(), marks.tolist(), stretches.tolist())


def _texts_at(places: Places, begins: Places) -> npt.NDArray[np.bool_]:
    """For each text whether one of some places is in it."""
    return np.bincount(np.searchsorted(begins, places, side="right") - 1, minlength=len(begins) - 1) > 0


def _words(data: Bytes) -> npt.NDArray[np.bool_]:
    """For each byte whether it is part of a word; and before the first and after the last one that none is."""
    word = np.zeros(len(data) + 2, np.bool_)
    word[1:-1] = data > 32
    if data.min() < 9 or ((data > 13) & (data < 28)).any():  # other control characters divide nothing
        word[1:-1] |= (data < 9) | ((data > 13) & (data < 28))
    leads = (data > 0xC1).nonzero()[0]
    if len(leads):
        _unmark_spaces(word[1:-1], data, leads)
    return word


def _unmark_spaces(word: npt.NDArray[np.bool_], data: Bytes, leads: Places) -> None:
    two = data[leads].astype(np.int64) << 8 | data[leads + 1]  # a line's end follows every text
    maybe = _SPACE_BEGINS[two]
    leads, two = leads[maybe], two[maybe]
    three = two << 8 | data[np.minimum(leads + 2, len(data) - 1)]
    for width, codes in ((2, two), (3, three)):
        spaces = _WIDE_SPACES.intersection(codes.tolist())
        at = leads[np.isin(codes, list(spaces))] if spaces else leads[:0]
        for place in range(width):
            word[at + place] = False


def _repeated_runs(data: Bytes, edges: Places, bounds: Sequence[int]) -> list[float]:
    """Of each text, whose words have the numbers from one of `bounds` to the next; `edges`: where a word starts or has ended."""
    at = edges.copy()
    at[1::2] -= 1
    found = data[at].astype(np.uint32)
    words = (edges[1::2] - edges[::2]).astype(np.uint32) << np.uint32(16) | found[::2] << np.uint32(8) | found[1::2]
    keys = run_hashes(words) if len(words) >= RUN else words[:0]
    return [_repeated(keys[first : end - RUN + 1]) if end - first > RUN else 0.0 for first, end in pairwise(bounds)]


def _repeated(keys: npt.NDArray[np.uint32]) -> float:
    ordered = np.sort(keys)
    return np.count_nonzero(ordered[1:] == ordered[:-1]) / len(keys)


def run_hashes(units: Hashes) -> Hashes:
    """A hash of each run of 20 units, by doubling: 1, 2, 4, 8, 16 and 16 + 4."""
    two = _joined(units, units, 1)
    four = _joined(two, two, 2)
    eight = _joined(four, four, 4)
    return _joined(_joined(eight, eight, 8), four, 16)


def _joined(left: Hashes, right: Hashes, distance: int) -> Hashes:
    """Hash of each run that starts with `left` and goes on with the run of `right` that starts `distance` words later."""
    factor = _POWERS[distance].astype(left.dtype)
    return left[: len(right) - distance] * factor + right[distance : distance + len(left)]


def _repeated_lines(data: Bytes, inside: npt.NDArray[np.bool_], starts: Places, ends: Places, begins: Places) -> Shares:
    """A line reaches from its first word to the end of its last, and counts by its characters."""
    stops = (data == 10).nonzero()[0]
    firsts = np.concatenate([[0], stops[:-1] + 1])
    long = stops - firsts >= LINE_CHARACTERS
    firsts, stops = firsts[long], stops[long]
    spaced = (~(inside[firsts] & inside[stops - 1])).nonzero()[0]  # few begin or end with a space
    first, after = np.searchsorted(starts, (firsts[spaced], stops[spaced]))
    filled = first < after
    firsts[spaced] = stops[spaced]  # nothing but spaces
    firsts[spaced[filled]], stops[spaced[filled]] = starts[first[filled]], ends[after[filled] - 1]
    within = (data & 0xC0 == 0x80).nonzero()[0]  # bytes that begin no character
    lengths = stops - firsts - np.searchsorted(within, stops) + np.searchsorted(within, firsts)
    long = lengths >= LINE_CHARACTERS
    lengths, firsts, stops = lengths[long], firsts[long], stops[long]
    of = np.searchsorted(begins, firsts, side="right") - 1
    keys = of << 52 | np.minimum(lengths, (1 << 36) - 1) << 16 | data[firsts].astype(np.int64) << 8 | data[stops - 1]
    keys.sort()
    again = keys[1:][keys[1:] == keys[:-1]]
    texts = len(begins) - 1
    repeated = np.bincount(again >> 52, again >> 16 & (1 << 36) - 1, texts)
    return repeated / np.maximum(np.bincount(of, lengths, texts), 1)


def _marks(data: Bytes) -> Places:
    """Where two bytes stand in which a special token or U+FFFD ends, and U+0000."""
    lasts = data[1:]
    at = ((lasts == _MARK_LASTS[0]) | (lasts == _MARK_LASTS[1]) | (lasts == _MARK_LASTS[2])).nonzero()[0]
    found = at[_MARK_ENDS[data[at].astype(np.int64) << 8 | data[at + 1]]]
    return found if data.min() else np.concatenate([found, (data == 0).nonzero()[0]])


def _stretches(data: Bytes) -> Places:
    """Places in what may be a stretch of one character, of one to four bytes: four bytes in a row of some that are looked at."""
    some = data[::_EVERY]
    alike = (some[1:] == some[:-1]) & _NO_DIVIDER[some[1:]]
    found: Places = (alike[2:] & alike[1:-1] & alike[:-2]).nonzero()[0] * _EVERY
    return found
