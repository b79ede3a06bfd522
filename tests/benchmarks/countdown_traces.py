"""Puzzles as in Stream of Search, and processes that tell the oracle's traces of them while a student is trained.

Four numbers from 1 to 99, a target from 10 to 100, both drawn evenly until there is a solution (arXiv 2404.03683, section 3).
"""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import queue
import random
import threading
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from curation.puzzles.countdown import Part, part_of, terse_prompt
from curation.thinking import join_thinking
from factory.oracle.countdown_terse import LARGEST, OPERATORS, solvable, tell
from factory.oracle.telling import Unsolved

CHUNK = 128  # traces that a process hands over at once
ANY_STEP = 1_000_000  # test puzzles may need steps beyond what the oracle tells; about one in twenty does


class Kind(NamedTuple):
    """Which puzzles are drawn."""

    numbers: int
    largest: int
    low: int
    high: int
    operators: str = OPERATORS


class Puzzle(NamedTuple):
    numbers: tuple[int, ...]
    target: int

    def gold(self) -> str:
        return json.dumps({"numbers": self.numbers, "target": self.target})


class Row(NamedTuple):
    """A conversation as tokens."""

    ids: NDArray[np.uint16]
    start: int  # of the answer


def draw(rng: random.Random, kind: Kind, part: Part, largest_step: int = LARGEST) -> Puzzle:
    while True:
        numbers, target = [rng.randint(1, kind.largest) for _ in range(kind.numbers)], rng.randint(kind.low, kind.high)
        if part_of(numbers, target) == part and solvable(numbers, target, largest_step) and _by_operators(numbers, target, kind):
            return Puzzle(tuple(numbers), target)


def _by_operators(numbers: list[int], target: int, kind: Kind) -> bool:
    if kind.operators == OPERATORS:
        return True
    try:
        tell(numbers, target, kind.operators)
    except Unsolved:
        return False
    return True


def save_puzzles(path: Path, count: int, kind: Kind, seed: int) -> None:
    """Training puzzles drawn beforehand, which takes a processor 3 ms each; a row is the numbers and the target."""
    rng, drawn = random.Random(f"puzzles {seed}"), set[Puzzle]()
    while len(drawn) < count:
        drawn.add(draw(rng, kind, "train"))
        if len(drawn) % 10_000 == 0:
            print(f"{len(drawn):,} of {count:,} puzzles", flush=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, np.array([[*p.numbers, p.target] for p in sorted(drawn, key=repr)], dtype=np.uint8))


def load_puzzles(path: Path, seed: int) -> list[Puzzle]:
    rows = np.random.default_rng(seed).permutation(np.load(path)).tolist()
    return [Puzzle(tuple(row[:-1]), row[-1]) for row in rows]


def prompt_text(puzzle: Puzzle) -> str:
    """ChatML as the student's template renders it; `check_rendering` holds the two against each other."""
    return f"<|im_start|>user\n{terse_prompt(list(puzzle.numbers), puzzle.target)}<|im_end|>\n<|im_start|>assistant\n"


def answer_text(puzzle: Puzzle, kind: Kind) -> str:
    told = tell(list(puzzle.numbers), puzzle.target, kind.operators)
    return join_thinking(told.reasoning, told.answer)


def encode_row(tokenizer: Any, prompt: str, answer: str) -> Row:
    """`tokenizer` is a tokenizers.Tokenizer; prompt and answer are encoded apart, as the model will see them."""
    before = tokenizer.encode(prompt).ids
    return Row(np.array(before + tokenizer.encode(f"{answer}<|im_end|>").ids, dtype=np.uint16), len(before))


def check_rendering(folder: Path, kind: Kind) -> None:
    """The fast path above gives the rows of training.rendering, token for token and mask for mask; 50 puzzles."""
    from tokenizers import Tokenizer
    from transformers import AutoTokenizer

    from training.rendering import end_of_turn, render

    slow, fast = AutoTokenizer.from_pretrained(folder), Tokenizer.from_file(str(folder / "tokenizer.json"))
    turn, rng = end_of_turn(slow), random.Random(0)
    assert turn is not None
    for _ in range(50):
        puzzle = draw(rng, kind, "train")
        asked = {"role": "user", "content": terse_prompt(list(puzzle.numbers), puzzle.target)}
        wanted = render([asked, {"role": "assistant", "content": answer_text(puzzle, kind)}], slow, turn)
        row = encode_row(fast, prompt_text(puzzle), answer_text(puzzle, kind))
        assert row.ids.tolist() == wanted.input_ids and row.start == wanted.learned.index(True)


class Tellers:
    """Processes that tell training puzzles, those given or else ones that they draw, until they are stopped."""

    def __init__(self, count: int, folder: Path, kind: Kind, seed: int, given: list[Puzzle]) -> None:
        context = multiprocessing.get_context("spawn")
        self.told: Any = context.Queue(maxsize=400)
        self.over = context.Event()
        shares = [given[n::count] for n in range(count)]
        arguments = [(self.told, self.over, folder / "tokenizer.json", kind, f"{seed} {n}", shares[n]) for n in range(count)]
        self.running = [context.Process(target=_tell_on, args=a, daemon=True) for a in arguments]
        for process in self.running:
            process.start()

    def gather(self, pool: list[Row]) -> None:
        """Move what is told to the pool, in a thread, until they are stopped.

        A look at the queue between steps found it empty more often than not, since a chunk is on its way for a moment: two runs
        learned from 32,000 and 44,000 traces instead of ten times as many, and knew them by heart.
        """
        threading.Thread(target=self._gather, args=(pool,), daemon=True).start()

    def _gather(self, pool: list[Row]) -> None:
        while not self.over.is_set():
            with contextlib.suppress(queue.Empty):
                flat, lengths, starts = self.told.get(timeout=1)
                pool += [Row(ids, start) for ids, start in zip(np.split(flat, np.cumsum(lengths)[:-1]), starts, strict=True)]

    def stop(self) -> None:
        self.over.set()
        for process in self.running:
            process.terminate()


def _tell_on(told: Any, over: Any, tokenizer: Path, kind: Kind, seed: str, given: list[Puzzle]) -> None:
    from tokenizers import Tokenizer

    encoder, rng, at = Tokenizer.from_file(str(tokenizer)), random.Random(seed), 0
    while not over.is_set() and not (given and at >= len(given)):
        puzzles = given[at : at + CHUNK] or [draw(rng, kind, "train") for _ in range(CHUNK)]
        at += CHUNK
        rows = [encode_row(encoder, prompt_text(p), answer_text(p, kind)) for p in puzzles]
        told.put((np.concatenate([r.ids for r in rows]), [len(r.ids) for r in rows], [r.start for r in rows]))
