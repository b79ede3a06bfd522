"""`factory verify`: a file of responses graded against its golds, its golds audited, or one of its rows explained."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import json
from collections import Counter, defaultdict, deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from curation.audit import Asked, Finding, Vote, conflicting, outvoted, refused
from curation.errors import UserError
from curation.files import Row, write_atomic, write_table
from curation.records import Verdict
from curation.verify import verify, verify_all
from factory.answers import Answer, Answers, open_answers
from factory.auditing import count_kinds, findings_frame, strongest_first
from factory.describe import doubts
from factory.explaining import explanation
from factory.progress import track
from factory.row_files import check_name, open_rows

ADDED = ("outcome", "why", "extracted", "rule", "seconds")
OUTCOMES = ("correct", "incorrect", "undetermined")
MODELS_SHOWN = 40
FINDINGS_SHOWN = 10


class Wanted(NamedTuple):
    """What of a file is graded, and how."""

    path: Path
    gold: str | None  # column, or None: found by name
    response: str | None
    domain: str
    workers: int


def grade_file(wanted: Wanted, out: Path | None) -> str:
    """Grade every response and return a summary; `out` gets the rows in their order with outcome, why, extracted, rule, seconds.

    A row with a list of responses becomes one row for each. Memory holds some thousand rows, whatever the file's size.
    Raises UserError for a column that is not there or an `out` that is neither .jsonl nor .parquet.
    """
    check_name(out)
    answers = open_answers(wanted.path, gold=wanted.gold, response=wanted.response, domain=wanted.domain)
    counted: Counter[tuple[str, str, str]] = Counter()
    replaced: set[str] = set()
    with open_rows(out) if out else contextlib.nullcontext(_nowhere) as write:
        for answer, verdict in _verdicts(answers, wanted):
            counted[answer.model, verdict.outcome, verdict.why] += 1
            replaced.update(name for name in ADDED if name in answer.row)
            write(answer.row | {name: getattr(verdict, name) for name in ADDED})
    return "\n".join(_summary(counted, answers, out, replaced))


def _nowhere(row: Row) -> None:
    """What takes the rows where no file is asked for."""


def _verdicts(answers: Answers, wanted: Wanted) -> Iterator[tuple[Answer, Verdict]]:
    waiting: deque[Answer] = deque()

    def items() -> Iterator[tuple[str | None, str, str]]:
        for answer in answers.each:
            waiting.append(answer)
            yield answer.gold, answer.response, wanted.domain

    for verdict in track(verify_all(items(), workers=wanted.workers), "verify", None, "responses"):
        yield waiting.popleft(), verdict


def _summary(counted: Counter[tuple[str, str, str]], answers: Answers, out: Path | None, replaced: set[str]) -> Iterator[str]:
    total = counted.total()
    yield f"{total:,} responses in column {answers.columns.response!r} against golds in {answers.columns.gold!r}"
    for outcome in OUTCOMES:
        whys = Counter[str]()
        for (_, o, why), n in counted.items():
            whys[why] += n if o == outcome else 0
        reasons = ", ".join(f"{n:,} {why}" for why, n in whys.most_common() if n)
        yield f"{outcome:<13}{whys.total():>9,}  {whys.total() / max(total, 1):>6.1%}  {reasons}"
    if answers.columns.model:
        yield from _by_model(counted)
    if out:
        yield f"written to {out}" + (f"; its columns {', '.join(sorted(replaced))} are of this run" if replaced else "")


def _by_model(counted: Counter[tuple[str, str, str]]) -> Iterator[str]:
    models: dict[str, Counter[str]] = defaultdict(Counter)
    for (model, outcome, _), n in counted.items():
        models[model][outcome] += n
    ranked = sorted(models, key=lambda m: (-models[m]["correct"] / models[m].total(), m))
    width = max(5, *(len(m) for m in ranked[:MODELS_SHOWN]))
    yield ""
    yield f"{'model':<{width}} {'responses':>10} {'correct':>10} {'incorrect':>10} {'undetermined':>13} {'correct':>8}"
    for m in ranked[:MODELS_SHOWN]:
        counts = models[m]
        each = f"{counts['correct']:>10,} {counts['incorrect']:>10,} {counts['undetermined']:>13,}"
        yield f"{m:<{width}} {counts.total():>10,} {each} {counts['correct'] / counts.total():>8.1%}"
    if len(ranked) > MODELS_SHOWN:
        yield f"and {len(ranked) - MODELS_SHOWN:,} more models"


def explain_row(wanted: Wanted, number: int) -> str:
    """How each response of one row, counted from 0, was judged. Raises UserError where the file has no such row."""
    answers = open_answers(wanted.path, gold=wanted.gold, response=wanted.response, domain=wanted.domain)
    last, parts = -1, []
    for answer in itertools.takewhile(lambda a: a.number <= number, answers.each):
        last = answer.number
        if last == number:
            verdict = verify(answer.gold, answer.response, domain=wanted.domain)
            head = f"row {number} of {wanted.path.name}{f', {answer.model}' if answer.model else ''}"
            parts.append("\n".join([head, *explanation(answer.gold, answer.response, wanted.domain, verdict)]))
    if not parts:
        raise UserError(f"--explain {number}: {wanted.path.name} has rows 0 to {last}: give one of those")
    return "\n\n".join(parts)


def audit_file(wanted: Wanted, out: Path | None) -> str:
    """The golds of a file that deserve doubt (curation.audit); `out` gets all findings.

    Problems are told apart by their question, or by their id where the file has no question; each distinct value of the
    model column has one vote, and each response where there is none. Raises UserError where the file has neither.
    """
    check_name(out)
    answers = open_answers(wanted.path, gold=wanted.gold, response=wanted.response, domain=wanted.domain)
    if not (answers.columns.question or answers.columns.id):
        raise UserError(
            f"{wanted.path.name} has no column of questions or ids, so nothing tells which responses answer the same problem: "
            "wanted one named problem, question, prompt or id"
        )
    votes: dict[Asked, list[Vote]] = {}
    names: dict[tuple[str, str | None], Asked] = {}
    for answer, verdict in _verdicts(answers, wanted):
        question = answer.question or answer.id
        asked = Asked(answer.id or str(answer.number), question, answer.gold or "", wanted.domain)
        ballot = votes.setdefault(names.setdefault((question, answer.gold), asked), [])
        if verdict.extracted is not None:
            voter = answer.model if answers.columns.model else str(len(ballot))
            ballot.append(Vote(voter, verdict.extracted, verdict.outcome == "correct"))
    findings = list(_findings(votes, wanted.workers))
    if out:
        _write_findings(findings, out)
    return "\n".join(_audit_summary(findings, votes, answers.columns.model, out))


def _findings(votes: dict[Asked, list[Vote]], workers: int) -> Iterator[Finding]:
    yield from refused(list(votes), workers=workers)
    yield from conflicting(votes)
    tried = (outvoted(asked, ballot) for asked, ballot in track(votes.items(), "audit", len(votes), "golds"))
    yield from strongest_first(found for found in tried if found)


def _write_findings(findings: list[Finding], out: Path) -> None:
    if out.name.endswith(".parquet"):
        out.parent.mkdir(parents=True, exist_ok=True)
        write_table(findings_frame(findings), out)
    else:
        write_atomic(out, "".join(json.dumps(dataclasses.asdict(f), ensure_ascii=False) + "\n" for f in findings))


def _audit_summary(findings: list[Finding], votes: dict[Asked, list[Vote]], model: str | None, out: Path | None) -> Iterator[str]:
    ballots = sum(map(len, votes.values()))
    who = f"a model of column {model!r} has one vote a problem" if model else "no column names a model: each response is a vote"
    yield f"{len(votes):,} golds, {ballots:,} answers; {who}"
    yield doubts(count_kinds(findings))
    for found in findings[:FINDINGS_SHOWN]:
        against = f"; {found.votes} of {found.voters} say {_short(found.other)}, {found.gold_votes} the gold" if found.other else ""
        yield f"  {found.kind:<17} {_short(found.problem_id)}: {_short(found.gold)} ({found.why}){against}"
    if len(findings) > FINDINGS_SHOWN:
        rest = len(findings) - FINDINGS_SHOWN
        yield f"  and {rest:,} more" + ("" if out else ": --out FILE lists all, with their questions and every answer's votes")
    if out:
        yield f"written to {out}"


def _short(text: Any) -> str:
    flat = " ".join(str(text).split())
    return flat if len(flat) <= 60 else f"{flat[:57]}..."
