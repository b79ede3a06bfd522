"""Problems of a run, or rows of any data set, as the prompts that a student learns from by trying; each left out has its reason."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from curation.errors import UserError
from curation.files import Row as Read
from curation.files import read_rows, write_table
from curation.records import Message, Problem, content_id, from_frame
from curation.sources import Refused
from curation.verify import check_golds, verifier_versions
from factory.hub_sets import names_file, open_hub_set
from factory.ledger import count
from factory.measuring import rates
from factory.progress import say
from factory.steps import Facts, Piece, file_digest, once
from factory.suites import UNREADABLE, Columns, read_questions
from training.grpo_settings import GrpoSettings
from training.grpo_stage import Prompt
from training.parity import Case
from training.rendering import Row, closes_thought, continuation, encode, prompt_text
from training.students import Student

GATED = 200  # prompts that the parity gate looks at
# Settings that decide what the prompts are.
_KEYS = ("system", "prompt", "domain", "prompt_column", "answer_column", "max_prompt_tokens", "min_pass_rate", "max_pass_rate")


class Questions(NamedTuple):
    """Where the problems come from."""

    name: str
    digest: str
    run: dict[str, Any] | None  # the manifest of the run they are of
    folder: Path | None  # of that run
    read: Callable[[GrpoSettings], list[Problem | Refused]]


def open_questions(where: str) -> Questions:
    """A run's problems, a file, or a data set on the Hub (OWNER/NAME[:CONFIG]). Raises UserError for a run that has none."""
    folder = Path(where)
    if folder.is_dir():
        return _of_run(folder)
    if names_file(where):
        name = folder.name.split(".")[0]
        if next(read_rows(folder), None) is None:
            raise UserError(f"{folder.name} has no rows: wanted rows with a problem and a gold answer")
        return Questions(name, file_digest(folder), None, None, lambda settings: _rows(read_rows(folder), name, settings))
    found = open_hub_set(where)
    return Questions(found.name, found.digest, None, None, lambda settings: _rows(found.read(), found.name, settings))


def _of_run(folder: Path) -> Questions:
    files, manifest = sorted((folder / "problems").glob("*.parquet")), folder / "manifest.json"
    if not files or not manifest.is_file():
        raise UserError(
            f"{folder} is no finished run: wanted a folder with manifest.json and problems/, as factory build leaves it"
        )

    def read(settings: GrpoSettings) -> list[Problem | Refused]:
        return [problem for file in files for problem in from_frame(pl.read_parquet(file), Problem)]

    digest = content_id([file_digest(file) for file in files])
    return Questions(folder.name, digest, json.loads(manifest.read_text("utf-8")), folder, read)


def _rows(rows: Iterable[Read], name: str, settings: GrpoSettings) -> list[Problem | Refused]:
    return list(read_questions(rows, Columns(settings.prompt_column, settings.answer_column, settings.domain), name))


def ask(store: Path, questions: Questions, student: Student, settings: GrpoSettings) -> Piece:
    """The prompts in `prompts.parquet` (columns of training.grpo.Prompt), in order of the source.

    A problem is left out, with its reason counted, when it has no gold that the verifier can read, repeats another, is outside
    the band of pass rates, is refused by the template, or is longer than `max_prompt_tokens`. Raises UserError when none is left.
    """
    table = _table(questions, settings)
    known = dict(rates(str(table), settings.difficulty_models).select("problem_id", "pass_rate").iter_rows()) if table else None

    def work(folder: Path) -> Facts:
        found = questions.read(settings)
        golds = check_golds((p.answer, p.domain) if isinstance(p, Problem) else (None, "math") for p in found)
        seen: set[str] = set()
        made = [_prompt(p, gold.why, student, settings, known, seen) for p, gold in zip(found, golds, strict=True)]
        kept = [m for m in made if isinstance(m, Prompt)]
        write_table(pl.DataFrame(kept, schema=dict.fromkeys(Prompt._fields, pl.String), orient="row"), folder / "prompts.parquet")
        longest = max((len(encode(student.tokenizer, p.prompt)) for p in kept), default=0)
        return {"funnel": [count("prompts", "problems", [m if isinstance(m, str) else None for m in made])], "longest": longest}

    inputs = [questions.digest, *([file_digest(table)] if table else [])]
    made_by = content_id(student.tokenizer.chat_template, student.turn, student.tokenizer.backend_tokenizer.to_str())
    keys = {**settings.model_dump(include=set(_KEYS)), "models": settings.difficulty_models if table else []}
    piece = once(store, "prompts", {**keys, "student": made_by, "verifiers": list(verifier_versions())}, inputs, work)
    (line,) = piece.facts["funnel"]
    if not line["kept"]:
        why = ", ".join(f"{n:,} {reason}" for reason, n in line["dropped"].items()) or "it has no rows"
        band = f", with a pass rate from {settings.min_pass_rate:g} to {settings.max_pass_rate:g} (min_pass_rate, max_pass_rate)"
        raise UserError(
            f"{questions.name} leaves no prompt ({why}): wanted problems with golds that the verifier reads (domain "
            f"{settings.domain}, where a row does not say its own), no longer than max_prompt_tokens {settings.max_prompt_tokens}"
            + (band if table else "")
        )
    say(f"prompts: {line['kept']:,} of {line['in']:,}" + "".join(f", {n:,} {why}" for why, n in line["dropped"].items()))
    return piece


def prompts_of(piece: Piece) -> list[Prompt]:
    return [Prompt(*row) for row in pl.read_parquet(piece.folder / "prompts.parquet").iter_rows()]


def _table(questions: Questions, settings: GrpoSettings) -> Path | None:
    """Whose pass rates decide, None where none are asked for. Raises UserError where there is no table."""
    if not settings.difficulty and (settings.min_pass_rate, settings.max_pass_rate) == (0.0, 1.0):
        return None
    table = Path(settings.difficulty) if settings.difficulty else (questions.folder or Path()) / "difficulty.parquet"
    if not table.is_file():
        raise UserError(f"no table of pass rates {str(table)!r}: min_pass_rate and max_pass_rate need one: name it with difficulty")
    return table


def _prompt(
    found: Problem | Refused,
    gold: str,
    student: Student,
    settings: GrpoSettings,
    known: dict[str, float | None] | None,
    seen: set[str],
) -> Prompt | str:
    """The prompt of a problem, or why it is left out."""
    from jinja2 import TemplateError

    if not isinstance(found, Problem):
        return found.reason
    if found.answer is None or gold in UNREADABLE:
        return "no_gold" if found.answer is None else "unreadable_gold"
    if found.id in seen:
        return "duplicate"
    seen.add(found.id)
    if known is not None and (why := _outside(known.get(found.id), settings)):
        return why
    try:
        text = prompt_text(student.tokenizer, messages(found.prompt, settings))
    except TemplateError:
        return "refused_by_template"
    if len(encode(student.tokenizer, text)) > settings.max_prompt_tokens:
        return "prompt_too_long"
    return Prompt(text, found.answer, found.domain, found.id, found.prompt)


def _outside(rate: float | None, settings: GrpoSettings) -> str | None:
    if rate is None:
        return "no_pass_rate"
    if rate < settings.min_pass_rate:
        return "too_hard"
    return "too_easy" if rate > settings.max_pass_rate else None


def messages(problem: str, settings: GrpoSettings) -> list[Message]:
    system = [{"role": "system", "content": settings.system}] if settings.system else []
    return [*system, {"role": "user", "content": settings.prompt.replace("{problem}", problem)}]


def gate_cases(prompts: Sequence[Prompt], student: Student, settings: GrpoSettings) -> list[Case]:
    """The first prompts as conversations with a made-up answer, and the tokens that the trainer sees and the student writes."""
    cases = []
    for found in prompts[:GATED]:
        answer = "4" if closes_thought(found.prompt) else "<think>\n2 + 2\n</think>\n\n4"
        asked = encode(student.tokenizer, found.prompt)
        said = encode(student.tokenizer, continuation(found.prompt, answer) + student.turn.closing)
        row = Row(asked + said, [False] * len(asked) + [True] * len(said))
        cases.append(Case([*messages(found.problem, settings), {"role": "assistant", "content": answer}], row))
    return cases
