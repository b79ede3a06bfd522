"""Files of responses with their golds, in the shapes that people keep them: which column is which, one response at a time."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from curation.errors import UserError
from curation.files import Row, read_rows
from curation.sources import ANSWER_NAMES, PROMPT_NAMES, answer_text, task_of, tests_column

RESPONSE_NAMES = (
    *("response", "responses", "prediction", "predictions", "output", "outputs", "completion", "completions"),
    *("generation", "generations", "model_output", "model_answer", "pred", "text", "messages"),
)
MODEL_NAMES = ("model", "teacher", "generator", "model_name")
ID_NAMES = ("problem_id", "question_id", "uuid", "unique_id", "id", "idx")


class Columns(NamedTuple):
    gold: str
    response: str
    question: str | None
    model: str | None
    id: str | None


class Answer(NamedTuple):
    """One response; a row with a list of responses gives several."""

    row: Row  # of the file, with this response alone in its column
    number: int  # of the row in the file, from 0
    gold: str | None
    response: str
    question: str
    model: str
    id: str


class Answers(NamedTuple):
    columns: Columns
    each: Iterator[Answer]


def open_answers(path: Path, *, gold: str | None, response: str | None, domain: str = "math") -> Answers:
    """The responses in a file, streamed in order; columns that are not named are found by their usual names.

    For domain `code` without a named gold, the tests are read from the fields that published sets have (curation.code_gold).

    Raises UserError for a file without rows and for a column that is not there.
    """
    rows = read_rows(path)
    first = next(rows, None)
    if first is None:
        raise UserError(f"{path.name} has no rows: nothing to grade")
    tests = tests_column(list(first)) if domain == "code" and gold is None else None
    columns = _columns(first, gold or tests, response, path)
    return Answers(columns, _answers(itertools.chain([first], rows), columns, published=tests is not None))


def _columns(row: Row, gold: str | None, response: str | None, path: Path) -> Columns:
    gold = _named(row, gold, [n for n in ANSWER_NAMES if n != response], path, "--gold")
    response = _named(row, response, [n for n in RESPONSE_NAMES if n != gold], path, "--response")
    others = [name for name in row if name not in (gold, response)]
    return Columns(gold, response, *(_first(names, others) for names in (PROMPT_NAMES, MODEL_NAMES, ID_NAMES)))


def _named(row: Row, named: str | None, usual: Sequence[str], path: Path, option: str) -> str:
    if named is not None and named not in row:
        raise UserError(f"{path.name} has no column {named!r}; it has {', '.join(row)}: name the right one with {option}")
    found = named or _first(usual, list(row))
    if found is None:
        raise UserError(
            f"{path.name} has no column with a usual name for {option}; it has {', '.join(row)}: name it with {option} COLUMN"
        )
    return found


def _first(candidates: Sequence[str], names: Sequence[str]) -> str | None:
    """The first candidate that is a name, whatever its case, as for problems (curation.sources)."""
    lower = {name.lower(): name for name in reversed(names)}
    return next((lower[c] for c in candidates if c in lower), None)


def _answers(rows: Iterator[Row], columns: Columns, *, published: bool) -> Iterator[Answer]:
    for number, row in enumerate(rows):
        question, model, identity = (str(row.get(c) or "") if c else "" for c in columns[2:])
        task = task_of(row) if published else None
        gold = task.gold if task else answer_text(row.get(columns.gold))
        for said in _responses(row.get(columns.response)):
            alone = {**row, columns.response: said}
            yield Answer(alone, number, gold, _text(said), question, model, identity)


def _responses(value: Any) -> list[Any]:
    """A list of texts or of conversations is several responses; one conversation is one."""
    if not isinstance(value, list) or _is_conversation(value):
        return [value]
    return value


def _is_conversation(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(turn, dict) and "content" in turn for turn in value)


def _text(said: Any) -> str:
    if _is_conversation(said):
        return str(said[-1]["content"] or "")
    return "" if said is None else str(said)
