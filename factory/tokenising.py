"""Examples of a run, or any rows with `messages`, as the tokens that a student is trained on; each row left out has its reason."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, get_args

import polars as pl

from curation.errors import UserError
from curation.files import Row as Read
from curation.files import read_rows, write_atomic, write_table
from curation.records import Message, content_id
from curation.thinking import join_thinking
from factory.hub_sets import names_file, open_hub_set
from factory.ledger import count
from factory.progress import track
from factory.steps import Facts, Piece, file_digest, once
from training.parity import Case
from training.rendering import Row, labels, opens_thought, prompt_text, render
from training.sft_settings import Learned
from training.students import Student

GATED = 2_000  # rows that the parity gate looks at, drawn with a seed: a minute for traces of 4,000 tokens
_BESIDE = ("reasoning_content", "reasoning", "thinking")  # fields of a message that hold thinking
_PART = 5_000  # rows of a file; of 8,000 tokens, 500 MB while it is written


class Examples(NamedTuple):
    """Where the rows to train on come from."""

    name: str
    digest: str
    run: dict[str, Any] | None  # the manifest of the run they are of
    read: Callable[[], Iterator[Read]]


def open_examples(where: str) -> Examples:
    """A run's data set, a file, or a data set on the Hub (OWNER/NAME[:CONFIG]). Raises UserError for a run that is not finished."""
    folder = Path(where)
    if not folder.is_dir():
        return _one_file(folder) if names_file(where) else _of_hub(where)
    manifest, files = folder / "manifest.json", sorted((folder / "dataset").glob("*.parquet"))
    if not files or not manifest.is_file():
        raise UserError(f"{where} is no finished run: wanted a folder with manifest.json and dataset/, as factory build leaves it")
    digest = content_id([file_digest(f) for f in files])
    return Examples(folder.name, digest, json.loads(manifest.read_text("utf-8")), lambda: (r for f in files for r in read_rows(f)))


def _one_file(path: Path) -> Examples:
    first = next(read_rows(path), None)  # before hashing: what cannot be read says so
    if first is None:
        raise UserError(f"{path.name} has no rows: wanted rows with a column messages")
    return Examples(path.name.split(".")[0], file_digest(path), None, lambda: read_rows(path))


def _of_hub(where: str) -> Examples:
    found = open_hub_set(where)
    return Examples(found.name, found.digest, None, found.read)


def tokenise(
    store: Path, examples: Examples, student: Student, max_length: int, outcomes: Sequence[Learned] = ("correct",)
) -> Piece:
    """Rows in `rows-00000.parquet`, ..., with input_ids and labels, and in `gate.json` a sample of them, the longest too.

    A row is left out, with its reason counted, when its verdict in column `outcome` (where there is one) is none of `outcomes`,
    or its messages lack a role or a content, do not end with an answer, are longer than `max_length`, or would teach to stop in
    the middle. Raises UserError when none is left, and for rows without a column `messages`.
    """
    made_by = content_id(student.tokenizer.chat_template, student.turn, student.tokenizer.backend_tokenizer.to_str())

    def work(folder: Path) -> Facts:
        reasons: list[str | None] = []
        kept, tokens, learned = _Kept(folder), 0, 0
        for row in track(examples.read(), "tokenise", None, "rows"):
            case = _case(row, student, max_length, outcomes)
            reasons.append(case if isinstance(case, str) else None)
            if isinstance(case, Case):
                kept.add(case)
                tokens, learned = tokens + len(case.row.input_ids), learned + sum(case.row.learned)
        kept.close()
        return {"funnel": [count("tokenise", "examples", reasons)], "tokens": tokens, "learned_tokens": learned}

    settings = {"max_length": max_length, "student": made_by, "thinking": _BESIDE, "outcomes": sorted(set(outcomes))}
    piece = once(store, "rows", settings, [examples.digest], work)
    (line,) = piece.facts["funnel"]
    if not line["kept"]:
        raise nothing_left(examples, left_out(line["dropped"], outcomes) or "it has no rows", outcomes, max_length)
    return piece


def nothing_left(examples: Examples, why: str, outcomes: Sequence[str], max_length: int) -> UserError:
    return UserError(
        f"{examples.name} leaves nothing to train on ({why}): wanted examples with a verdict of "
        f"outcomes [{', '.join(outcomes)}] that fit max_length {max_length}"
    )


def left_out(dropped: Mapping[str, int], outcomes: Sequence[str]) -> str:
    """Rows by the reason why they are left out, and the setting that keeps those whose verdict is the reason; "" for none."""
    why = ", ".join(f"{n:,} {reason}" for reason, n in dropped.items())
    others = [word for word in get_args(Learned) if word not in outcomes and _reason(word) in dropped]
    if not others:
        return why
    return f"{why}; outcomes decides: --set 'outcomes=[{', '.join([*outcomes, *others])}]' trains on {', '.join(others)} rows too"


def gate_cases(piece: Piece) -> list[Case]:
    rows = json.loads((piece.folder / "gate.json").read_text("utf-8"))
    return [Case(r["messages"], Row(r["input_ids"], r["learned"])) for r in rows]


def _case(row: Read, student: Student, max_length: int, outcomes: Sequence[str]) -> Case | str:
    """The row as tokens, or why it is left out."""
    from jinja2 import TemplateError

    messages = conversation(row, outcomes)
    if isinstance(messages, str):
        return messages
    try:
        made = render(messages, student.tokenizer, student.turn)
        prompt = prompt_text(student.tokenizer, messages[:-1])
    except TemplateError:
        return "refused_by_template"
    if opens_thought(prompt) and "</think>" not in messages[-1]["content"]:
        return "thinking_missing"
    if student.turn.end_id in made.input_ids[made.learned.index(True) : -1]:
        return "end_inside_answer"
    return Case(messages, made) if len(made.input_ids) <= max_length else "too_long"


def conversation(row: Read, outcomes: Sequence[str]) -> list[Message] | str:
    """The turns of a row, whose last one answers, or why it is left out. Raises UserError for a row without `messages`."""
    if (verdict := _verdict(row)) not in outcomes:
        return _reason(verdict)
    messages = _messages(row)
    if messages is None:
        return "malformed_messages"
    if len(messages) < 2 or messages[-1]["role"] != "assistant" or not messages[-1]["content"].strip():
        return "no_answer_turn"
    return messages


def _verdict(row: Read) -> str:
    """The word of a row's verdict; a run says undetermined where there is no gold, too."""
    said = str(row.get("outcome", "correct"))
    return "no_gold" if said == "undetermined" and row.get("answer", "?") in (None, "") else said


def _reason(verdict: str) -> str:
    return verdict if verdict == "no_gold" else f"{verdict}_answer"


def _messages(row: Read) -> list[Message] | None:
    """The conversation of a row; None where a turn has no role or no content, or one that is no text, such as a list of parts."""
    if "messages" not in row:
        raise UserError(
            f"the rows have no column messages; they have {', '.join(row)}: wanted a run, or a list of role and content"
        )
    turns = row["messages"]
    if not isinstance(turns, list) or not all(isinstance(turn, dict) and {"role", "content"} <= turn.keys() for turn in turns):
        return None
    if not all(isinstance(turn.get(name), str | None) for turn in turns for name in ("content", *_BESIDE)):
        return None
    return [{"role": str(turn["role"]), "content": join_thinking(_reasoning(turn), turn["content"] or "")} for turn in turns]


def _reasoning(message: dict[str, Any]) -> str | None:
    """Thinking that a server or a data set keeps beside the content: vLLM's and DeepSeek's field, OpenRouter's, gpt-oss's."""
    return next((message[name] for name in _BESIDE if message.get(name)), None)


class _Kept:
    """Writes rows in parts, and keeps a uniform sample of the cases for the gate (reservoir sampling, Vitter 1985)."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.draw = folder, random.Random(0)
        self.held: list[Row] = []
        self.sample: list[Case] = []
        self.longest: Case | None = None
        self.count = self.parts = 0

    def add(self, case: Case) -> None:
        self.count += 1
        self.held.append(case.row)
        if self.longest is None or len(case.row.input_ids) > len(self.longest.row.input_ids):
            self.longest = case
        if len(self.sample) < GATED:
            self.sample.append(case)
        elif (at := self.draw.randrange(self.count)) < GATED:
            self.sample[at] = case
        if len(self.held) == _PART:
            self._flush()

    def close(self) -> None:
        if self.held:
            self._flush()
        gated = self.sample if self.count <= GATED or self.longest is None else [*self.sample, self.longest]
        rows = [{"messages": c.messages, "input_ids": c.row.input_ids, "learned": c.row.learned} for c in gated]
        write_atomic(self.folder / "gate.json", json.dumps(rows, ensure_ascii=False))

    def _flush(self) -> None:
        ids = pl.Series("input_ids", [r.input_ids for r in self.held], pl.List(pl.Int32))
        wanted = pl.Series("labels", [labels(r) for r in self.held], pl.List(pl.Int32))
        write_table(pl.DataFrame([ids, wanted]), self.folder / f"rows-{self.parts:05}.parquet")
        self.held.clear()
        self.parts += 1
