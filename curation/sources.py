"""Problems out of a table: which column is which, which rows are wanted, what the gold answer is."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from curation.code_gold import Task, published_task
from curation.errors import UserError
from curation.extract import extract_gold
from curation.files import Row, storable
from curation.puzzles import countdown
from curation.records import Problem, canonical_json, problem

# The usual names, most specific first; taken from the data sets of this field.
PROMPT_NAMES = (
    *("problem", "question", "problem_statement", "problem_description", "question_content"),
    *("prompt", "query", "instruction", "quiz", "input", "text"),
)
ANSWER_NAMES = (
    "answer",
    "gold",
    "ground_truth",
    "gold_answer",
    "gt_answer",
    "gt",
    "final_answer",
    "expected_answer",
    "target",
    "solution",
)
SOLUTION_NAMES = ("solution", "gt_cot", "ground_truth_solution", "rationale")
LONGEST_EXTRA = 200  # characters; a longer column is a text of its own (a trace, a solution), not a label


class Mapped(NamedTuple):
    """Which column holds what; None where the table has no such column."""

    prompt: str | None
    answer: str | None
    solution: str | None
    source: str | None
    id: str | None


class Refused(NamedTuple):
    """A row that is no problem we can use, with the reason."""

    problem: Problem
    reason: str
    detail: str


def map_columns(
    names: Sequence[str], wanted: Mapping[str, str | None], *, domain: str, where: str, needs_gold: bool = True
) -> Mapped:
    """Find the columns: those `wanted` by name must be there, the others are the first usual name that is.

    Raises UserError when a wanted column, or any column for the prompt, is missing.
    """
    for role, name in wanted.items():
        if name is not None and name not in names:
            raise UserError(f"{where} has no column {name!r} for the {role}; it has {', '.join(names)}: set source.columns.{role}")
    prompt = wanted.get("prompt") or prompt_column(names)
    answer = wanted.get("answer") or _first(ANSWER_NAMES, names)
    if prompt is None and not (domain == "countdown" and _numbers_column(names)):
        raise UserError(f"{where} has no column for the problem; it has {', '.join(names)}: set source.columns.prompt")
    if answer is None and needs_gold and not (domain == "code" and tests_column(names)):
        raise UserError(f"{where} has no column for the gold answer; it has {', '.join(names)}: set source.columns.answer")
    solution = wanted.get("solution") or _first([n for n in SOLUTION_NAMES if n != answer], names)
    return Mapped(
        prompt,
        answer,
        solution,
        wanted.get("source"),
        wanted.get("id") or _first(("uuid", "id", "idx", "unique_id"), names),
    )


def prompt_column(names: Sequence[str]) -> str | None:
    """The column that most likely holds the question, or None."""
    return _first(PROMPT_NAMES, names)


def _first(candidates: Iterable[str], names: Sequence[str]) -> str | None:
    """The first candidate that is a name, whatever its case: AIME_2024 has Problem and Answer, GPQA has Question."""
    lower = {name.lower(): name for name in reversed(names)}
    return next((lower[c] for c in candidates if c in lower), None)


def _numbers_column(names: Sequence[str]) -> str | None:
    return _first(("nums", "numbers"), names)


def tests_column(names: Sequence[str]) -> str | None:
    """The column in which published programming problems keep their tests, or None."""
    return _first(("test_list", "test", "input_output"), names)


def read_problems(
    rows: Iterable[Row],
    wanted: Mapping[str, str | None],
    *,
    domain: str,
    name: str,
    license: str,
    only: Mapping[str, Sequence[Any]],
    without: Mapping[str, Sequence[Any]],
    needs_gold: bool = True,
) -> Iterator[Problem | Refused]:
    """Every row as a Problem, or as the reason why not, in order.

    `only` and `without` map a column to the values that keep or drop a row. Raises UserError for a missing column; that of the
    golds may be missing where they are not needed.
    """
    mapped: Mapped | None = None
    for position, row in enumerate(map(storable, rows)):
        if mapped is None:
            for column in (*only, *without):
                if column not in row:
                    raise UserError(
                        f"{name} has no column {column!r} to filter by; it has {', '.join(row)}: mend source.only or source.without"
                    )
            mapped = map_columns(list(row), wanted, domain=domain, where=name, needs_gold=needs_gold)
        task = task_of(row) if domain == "code" and not wanted.get("answer") else None
        found = _to_problem(row, mapped, position, task, domain=domain, name=name, license=license)
        yield _refuse(found, row, mapped, only, without) or found


def _refuse(
    found: Problem, row: Row, mapped: Mapped, only: Mapping[str, Sequence[Any]], without: Mapping[str, Sequence[Any]]
) -> Refused | None:
    for column, values in only.items():
        if row.get(column) not in values:
            return Refused(found, f"{column}_not_wanted", str(row.get(column))[:LONGEST_EXTRA])
    for column, values in without.items():
        if row.get(column) in values:
            return Refused(found, f"{column}_not_wanted", str(row[column])[:LONGEST_EXTRA])
    if not found.prompt:
        cell = row.get(mapped.prompt or "")
        return (
            Refused(found, "problem_not_text", str(cell)[:LONGEST_EXTRA]) if _nested(cell) else Refused(found, "empty_problem", "")
        )
    if not found.answer:
        return Refused(found, "no_gold", "")
    return None


def task_of(row: Row) -> Task | None:
    """The published programming task of a row; a row whose tests cannot be read has no gold, which its refusal says."""
    try:
        return published_task(row)
    except (ValueError, TypeError, KeyError):
        return None


def _to_problem(row: Row, mapped: Mapped, position: int, task: Task | None, *, domain: str, name: str, license: str) -> Problem:
    gold_text = answer_text(row.get(mapped.answer or ""))
    solution = answer_text(row.get(mapped.solution or "")) or None
    asked = row.get(mapped.prompt or "")
    prompt = "" if _nested(asked) else str(asked or "").strip()
    used = {c for c in mapped if c}
    meta = {k: v for k, v in row.items() if k not in used and _is_label(v)}
    answer: str | None = gold_text
    if domain == "countdown" and (puzzle := _countdown_puzzle(row)):
        prompt, answer = prompt or countdown.prompt(**puzzle), canonical_json(puzzle)
        meta |= puzzle
    elif task:
        prompt, answer = task
    elif gold_text is not None and domain == "math":
        answer = extract_gold(gold_text)
        if answer != gold_text and solution is None:
            solution = gold_text  # a GSM8K gold is a whole solution that ends in `#### n`: keep it
    return problem(
        prompt=prompt,
        answer=answer,
        domain=domain,
        solution=solution,
        source=str(row.get(mapped.source or "") or name),
        source_id=str(row[mapped.id]) if mapped.id and row.get(mapped.id) is not None else str(position),
        license=license,
        meta=canonical_json(meta),
    )


def _nested(cell: Any) -> bool:
    """Whether a cell is no text at all, such as the chat turns of sets for reinforcement learning: as text it would be Python."""
    return isinstance(cell, list | dict) and bool(cell)


def _countdown_puzzle(row: Row) -> dict[str, Any] | None:
    """Numbers and target of a row that has them as columns, as Countdown-Tasks-3to4 does; it has no prompt and no gold.

    None where they are no whole numbers: such a row is refused for want of a problem.
    """
    column = _numbers_column(list(row))
    given = row[column] if column else None
    if not isinstance(given, list) or "target" not in row:
        return None
    try:
        return {"numbers": [int(n) for n in given], "target": int(row["target"])}
    except (TypeError, ValueError, OverflowError):
        return None


def _is_label(value: Any) -> bool:
    if isinstance(value, float):
        return value == value and abs(value) != float("inf")
    if isinstance(value, list):
        return len(value) <= 10 and all(isinstance(v, int | float) and _is_label(v) for v in value)
    return isinstance(value, bool | int) or (isinstance(value, str) and 0 < len(value) <= LONGEST_EXTRA)


def answer_text(value: Any) -> str | None:
    """A gold cell as text: 11.0 is "11", ["606"] is "606", several answers are joined with commas, empty is None."""
    if isinstance(value, list):
        parts = [text for v in value if (text := answer_text(v))]
        return ", ".join(parts) or None
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, dict):
        return json.dumps(value, ensure_ascii=False, sort_keys=True)
    return (str(value).strip() or None) if value is not None else None
