"""`factory eval`: a student is a teacher under test, asked by the same sampler and judged by the same verifier as in a build."""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl
from pydantic import Field

from curation.errors import UserError
from curation.files import read_rows, write_atomic, write_table
from curation.records import Problem, Trace, Verdict, content_id, from_frame
from curation.sources import Refused, read_problems
from curation.verify import check_golds, verifier_version, verify_all
from factory import teachers
from factory.progress import say, track
from factory.sampling import Identity, Request, Sampling, effective, sample
from factory.teachers import Teacher, parse_teacher
from training.scores import Sampled, scores
from training.settings import Settings, load
from training.votes import groups

RESULT = "factory eval 1"
UNANSWERED = ("no_answer", "unclosed_thought")


class Evaluation(Settings):
    """How a model is examined: DeepSeek-R1's protocol (its README), with 4 samples a question instead of 64."""

    samples: int = Field(4, ge=1)
    temperature: float | None = Field(0.6, ge=0)
    top_p: float | None = Field(0.95, gt=0, le=1)
    max_tokens: int = Field(32_768, ge=1)
    seed: int = 0
    domain: str = "math"  # of a suite that is a file; a run's problems say theirs
    system: str | None = None
    prompt: str = "{problem}"  # the bare problem, as students are trained on it
    prompt_column: str | None = None  # of a suite that is a file; None: found by its usual names
    answer_column: str | None = None


class Suite(NamedTuple):
    name: str
    digest: str  # of the questions and golds in use
    problems: list[Problem]
    left_out: int  # without a gold, or with one that the verifier cannot read


def evaluate(
    model: str, suite: Path, assignments: Sequence[str], *, limit: int | None, runs: Path, out: Path | None, workers: int
) -> Path:
    """Sample `model` on `suite`, judge and score it; return the result file; no sample is paid for twice.

    Beside the result lies a table of every sample with its verdict. Raises UserError where a sample cannot be had, so that no
    score is ever of a part of the suite.
    """
    wanted = load(Evaluation, assignments)
    asked = load_suite(suite, wanted, limit, workers)
    teacher = _teacher(model)
    sampling = Sampling(**wanted.model_dump(include={"temperature", "top_p", "max_tokens", "seed"}))
    known = teachers.identity(teacher)
    identity = Identity(
        model=known.name, revision=known.revision, endpoint=known.endpoint, sampling=effective(sampling, teachers.ignored(teacher))
    )
    traces = list(_sampled(teacher, identity, sampling, wanted, asked.problems, runs / ".samples"))
    verdicts = _judged(traces, asked.problems, workers)
    result = _result(asked, wanted, identity, _by_question(asked.problems, traces, verdicts))
    path = (
        out
        or runs / "evals" / f"{_stem(known.name)}-{asked.name}-{content_id(identity, asked.digest, wanted.model_dump())[:8]}.json"
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    write_table(_table(asked.problems, traces, verdicts), path.with_suffix(".parquet"))
    write_atomic(path, json.dumps(result, indent=1, ensure_ascii=False) + "\n")
    return path


def load_suite(where: Path, wanted: Evaluation, limit: int | None, workers: int) -> Suite:
    """The questions of a run's problems, or of a file. Raises UserError where none of them has a gold."""
    if where.is_dir():
        files = sorted((where / "problems").glob("*.parquet"))
        if not files:
            raise UserError(f"{where} is no finished run: it has no problems/*.parquet; give a run or a file of questions")
        found: list[Problem | Refused] = [p for f in files for p in from_frame(pl.read_parquet(f), Problem)]
    else:
        columns = {"prompt": wanted.prompt_column, "answer": wanted.answer_column}
        name = where.name.split(".")[0]
        rows = read_problems(read_rows(where), columns, domain=wanted.domain, name=name, license="", only={}, without={})
        found = list(rows)
    unique = list({p.id: p for p in found if isinstance(p, Problem)}.values())[:limit]
    refused = sum(not isinstance(p, Problem) for p in found)
    golds = check_golds([(p.answer, p.domain) for p in unique], workers=workers)
    problems = [p for p, verdict in zip(unique, golds, strict=True) if p.answer is not None and verdict.why not in _UNREADABLE]
    if not problems:
        raise UserError(f"{where} has no question with a gold that the verifier can read: wanted a column of answers")
    digest = content_id([(p.id, p.answer) for p in problems])
    return Suite(where.name.split(".")[0], digest, problems, len(unique) - len(problems) + refused)


_UNREADABLE = ("no_gold", "unparseable_gold", "too_long")


def _teacher(model: str) -> Teacher:
    spec = f"hf:{model}" if Path(model).is_dir() else model
    teacher = parse_teacher(spec)
    if teacher.kind not in ("hf", "openai"):
        raise UserError(f"{model!r} is no model to examine: wanted a folder, hf:MODEL or openai:MODEL@URL")
    return teacher


def _sampled(
    teacher: Teacher, identity: Identity, sampling: Sampling, wanted: Evaluation, problems: Sequence[Problem], store: Path
) -> Iterator[Trace]:
    """Every sample of every problem, in order of problem and index."""
    system = ({"role": "system", "content": wanted.system},) if wanted.system else ()
    asked = {p.id: (*system, {"role": "user", "content": wanted.prompt.replace("{problem}", p.prompt)}) for p in problems}
    requests = (Request(p.id, index, asked[p.id]) for p, index in itertools.product(problems, range(wanted.samples)))
    ask = partial(teachers.ask, teacher, identity, sampling=sampling)
    arriving = sample(requests, ask=ask, identity=identity, journal_folder=store)
    found = {(t.problem_id, t.index): t for t in track(arriving, "sample", len(problems) * wanted.samples, "samples")}
    if failed := [t for t in found.values() if t.finish == "error"]:
        raise UserError(
            f"{len(failed):,} of {len(found):,} samples failed, one with: {failed[0].error}; there is no score of a part: "
            "run the same command again, only those are asked for"
        )
    return (found[p.id, index] for p, index in itertools.product(problems, range(wanted.samples)))


def _judged(traces: Sequence[Trace], problems: Sequence[Problem], workers: int) -> list[Verdict]:
    golds = {p.id: (p.answer, p.domain) for p in problems}
    rows = ((golds[t.problem_id][0], t.answer_text, golds[t.problem_id][1]) for t in traces)
    return list(track(verify_all(rows, workers=workers), "verify", len(traces), "samples"))


def _by_question(problems: Sequence[Problem], traces: Sequence[Trace], verdicts: Sequence[Verdict]) -> list[list[Sampled]]:
    count = len(traces) // len(problems)
    questions = []
    for number, problem in enumerate(problems):
        own = slice(number * count, (number + 1) * count)
        right = [v.outcome == "correct" for v in verdicts[own]]
        same = groups([v.extracted for v in verdicts[own]], right, problem.domain)
        rows = zip(traces[own], verdicts[own], right, same, strict=True)
        questions.append([_one(trace, verdict, correct, group) for trace, verdict, correct, group in rows])
    return questions


def _one(trace: Trace, verdict: Verdict, correct: bool, group: int | None) -> Sampled:
    unanswered = verdict.why in UNANSWERED or verdict.extracted is None
    doubt = verdict.outcome == "undetermined"
    return Sampled(trace.problem_id, correct, doubt, trace.finish == "length", unanswered, trace.completion_tokens, group)


def _result(suite: Suite, wanted: Evaluation, identity: Identity, questions: Sequence[Sequence[Sampled]]) -> dict[str, Any]:
    if suite.left_out:
        say(f"{suite.left_out:,} questions have no gold that the verifier can read and are left out")
    return {
        "result": RESULT,
        "created": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "model": identity,
        "suite": {"name": suite.name, "digest": suite.digest, "questions": len(suite.problems), "left_out": suite.left_out},
        "settings": wanted.model_dump(mode="json"),
        "verifier": verifier_version(),
        "scores": scores(questions, seed=wanted.seed),
        "correct": {question[0].problem_id: [s.correct for s in question] for question in questions},
    }


def _table(problems: Sequence[Problem], traces: Sequence[Trace], verdicts: Sequence[Verdict]) -> pl.DataFrame:
    asked = {p.id: p for p in problems}
    columns: dict[str, list[Any]] = {
        "prompt": [asked[t.problem_id].prompt for t in traces],
        "answer": [asked[t.problem_id].answer for t in traces],
        **{n: [getattr(t, n) for t in traces] for n in ("problem_id", "index", "finish", "completion_tokens", "reasoning")},
        "answer_text": [t.answer_text for t in traces],
        **{n: [getattr(v, n) for v in verdicts] for n in ("outcome", "why", "extracted")},
    }
    return pl.DataFrame(columns, schema_overrides={"reasoning": pl.String, "extracted": pl.String, "completion_tokens": pl.Int64})


def _stem(name: str) -> str:
    return Path(name).name.replace(":", "-")[:60] or "model"
