"""Traces that already exist, out of a file or a Hub data set, matched to the problems they answer.

Data sets keep a trace in many shapes: one text with tags, thinking and answer in two columns, a list of generations, a
conversation. Each row becomes one or more traces; each trace finds its problem by id or by its question.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from curation.errors import UserError
from curation.files import Row, read_rows, storable
from curation.normalise import normalise_question
from curation.records import Problem, Trace, trace
from curation.sources import prompt_column
from curation.thinking import split_thinking
from factory.hub_sets import names_file
from factory.problems import hub_commit, hub_rows
from factory.steps import file_digest

# Pairs of thinking and answer come first: where they exist, no tag has to be found.
PAIRS = (
    ("reasoning_content", "content"),
    ("reasoning", "answer_text"),
    ("deepseek_thinking_trajectory", "deepseek_attempt"),
    ("deepseek_reasoning", "deepseek_solution"),
    ("thinking_trajectories", "attempt"),
    ("Complex_CoT", "Response"),
)
TEXTS = (
    "response",
    "responses",
    "generations",
    "generation",
    "output",
    "completion",
    "reannotated_assistant_content",
    "trace",
)
CONVERSATIONS = ("messages", "conversations")
MODELS = ("model", "teacher", "generator", "model_name")
IDS = ("problem_id", "uuid")
FINISHES = ("finish", "finish_reason", "finish_reasons")
LOOKED_THROUGH = 1_000  # rows for a first trace: failed requests leave empty ones, and a table of millions is not read for none
HEAD_CHARACTERS = 400  # how far into a question an instruction before the problem is looked for

NOTHING = ("", None, "", "error")  # a generation that failed: null in its column, or in its place of a list


class Loose(NamedTuple):
    """A trace that has not found its problem yet."""

    question: str
    ids: tuple[str, ...]
    model: str
    reasoning: str | None
    answer_text: str
    finish: str  # stop, length, or error where the row holds a generation that failed


class Replay(NamedTuple):
    identity: str  # what its bytes are: "sha256:..." of a file, or "owner/name@commit" on the Hub, with the part of it that is read
    traces: Iterator[Loose]


def open_replay(where: str) -> Replay:
    """The traces of `replay:WHERE`: an existing file, or REPO[[:CONFIG]:SPLIT] on the Hub."""
    path = Path(where)
    if path.is_dir():
        raise UserError(f"replay:{where} is a folder: give the path of one file of traces")
    if names_file(where):
        if not path.is_file():
            raise UserError(f"replay:{where}: no such file: give the path of a file of traces")
        rows = read_rows(path)
        return Replay(f"sha256:{file_digest(path)}", read_traces(rows, path.name))
    repo, _, part = where.partition(":")
    config, _, split = part.rpartition(":")
    if repo.count("/") != 1:
        raise UserError(
            f"replay:{where}: no such file, and not the name of a Hub data set (owner/name): give the path of a file of traces"
        )
    commit = hub_commit(repo, None)
    rows = hub_rows(repo, config or None, split or "train", commit)
    return Replay(f"{repo}@{commit}" + (f":{part}" if part else ""), read_traces(rows, repo))


def read_traces(rows: Iterable[Row], where: str) -> Iterator[Loose]:
    """Every trace in the rows. Raises UserError where there are no rows, and where none of the first thousand holds a trace."""
    number, row, found = 0, Row(), False
    for number, row in enumerate(map(storable, rows), 1):
        for one in _traces_of(row):
            found = found or one.finish != "error"
            yield one
        if not found and number == LOOKED_THROUGH:
            break
    if not found:
        raise UserError(_without_traces(row, number, where))


def _without_traces(last: Row, rows: int, where: str) -> str:
    if not rows:
        return f"{where} has no rows: wanted one or more with a trace"
    known = [*TEXTS, *CONVERSATIONS, *(name for pair in PAIRS for name in pair)]
    if named := [name for name in last if name in known]:
        return f"{where} holds no trace in {', '.join(named)} of its first {rows:,} rows: wanted a text, several, or a conversation"
    return (
        f"{where} has no column that holds traces; it has {', '.join(last)}: "
        f"wanted one of {', '.join(TEXTS + CONVERSATIONS)}, or a pair such as {' and '.join(PAIRS[0])}"
    )


def _traces_of(row: Row) -> Iterator[Loose]:
    model = next((str(row[m]) for m in MODELS if row.get(m)), "replay")
    ids = tuple(str(row[i]) for i in IDS if row.get(i) is not None)
    asked_in = prompt_column([name for name, value in row.items() if isinstance(value, str) and value])
    question = str(row[asked_in]) if asked_in else ""
    for asked, reasoning, answer, finish in list(_texts(row)) or [NOTHING]:
        yield Loose(asked or question, ids, model, reasoning, answer, finish)


def _texts(row: Row) -> Iterator[tuple[str, str | None, str, str]]:
    """(question or "", thinking, answer, finish) of each trace in a row."""
    for thinking, answer in PAIRS:
        if row.get(thinking) and row.get(answer) is not None:
            for one in _list(row[thinking]):
                yield ("", str(one).strip(), str(row[answer]).strip(), _finish(row, 0)) if one else NOTHING
            return
    for column in TEXTS:
        if row.get(column) is not None:
            for index, text in enumerate(_list(row[column])):
                if text is None:
                    yield NOTHING
                    continue
                thought = split_thinking(str(text))
                finish = "stop" if thought.closed and _finish(row, index) == "stop" else "length"
                yield "", thought.reasoning, thought.answer, finish
            return
    for column in CONVERSATIONS:
        if turns := _turns(row.get(column)):
            asked = next((text for role, text in turns if role in ("user", "human")), "")
            said = next((text for role, text in reversed(turns) if role in ("assistant", "gpt")), None)
            if said is not None:
                thought = split_thinking(said)
                yield asked, thought.reasoning, thought.answer, "stop" if thought.closed else "length"
            return


def _turns(value: Any) -> list[tuple[str, str]]:
    """(role, text) of each turn of a conversation; none of what is no conversation."""
    if not isinstance(value, list) or not all(isinstance(turn, dict) for turn in value):
        return []
    return [(str(t.get("role") or t.get("from")), str(t.get("content") or t.get("value") or "")) for t in value]


def _list(value: Any) -> Sequence[Any]:
    return value if isinstance(value, list) else [value]


def _finish(row: Row, index: int) -> str:
    for column in FINISHES:
        if row.get(column) is not None:
            values = _list(row[column])
            return "length" if index < len(values) and values[index] == "length" else "stop"
    return "stop"


class Index(NamedTuple):
    """Problems by what a trace may know of them."""

    by_id: Mapping[str, str]
    by_question: Mapping[str, str]
    by_prompt: Mapping[str, str]  # the same by the very words, which need not be normalised


def index_problems(problems: Iterable[Problem]) -> Index:
    by_id: dict[str, str] = {}
    by_question: dict[str, str] = {}
    by_prompt: dict[str, str] = {}
    for p in problems:
        by_id.setdefault(p.id, p.id)
        if not p.source_id.isdigit():  # "17" is a position, and every file has a row 17
            by_id.setdefault(p.source_id, p.id)
        if normal := normalise_question(p.prompt):
            by_prompt[p.prompt] = by_question.setdefault(normal, p.id)
    return Index(by_id, by_question, by_prompt)


normal_form = functools.lru_cache(maxsize=1_000)(normalise_question)  # a question's traces mostly come one after another


def match(loose: Loose, index: Index) -> str | None:
    """The id of the problem that a trace answers, by id, else by its question with or without an instruction around it."""
    for known in loose.ids:
        if known in index.by_id:
            return index.by_id[known]
    if loose.question in index.by_prompt:
        return index.by_prompt[loose.question]
    for question in _without_instruction(loose.question):
        normal = normal_form(question)
        if normal in index.by_question:
            return index.by_question[normal]
    return None


def _without_instruction(question: str) -> Iterator[str]:
    """The question as it is, then without each of its first sentences, then without its last paragraph."""
    yield question
    for mark in ("\n", ". ", ": "):
        start = question.find(mark)
        while 0 <= start < HEAD_CHARACTERS:
            yield question[start + len(mark) :]
            start = question.find(mark, start + 1)
    head, separator, _ = question.rstrip().rpartition("\n")
    if separator:
        yield head


def to_trace(loose: Loose, problem_id: str, index: int) -> Trace:
    return trace(
        problem_id=problem_id,
        index=index,
        teacher=loose.model,
        reasoning=loose.reasoning,
        answer_text=loose.answer_text,
        finish=loose.finish,
    )
