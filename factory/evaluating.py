"""`factory eval`: a student is a teacher under test, asked by the same sampler and judged by the same verifier as in a build."""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl
from pydantic import Field

from curation.errors import UserError
from curation.files import write_atomic, write_table
from curation.records import Problem, Trace, Verdict, content_id
from curation.thinking import join_thinking
from curation.verify import verifier_version, verify_all
from factory import teachers
from factory.forcing import Forcing, force
from factory.progress import say, track
from factory.recipe import Engine
from factory.sampling import Identity, Request, Sampling, effective, sample
from factory.suites import Columns, Suite, load_suite
from factory.teachers import Teacher, parse_teacher
from training.best import Choice, choice_values, handed_in
from training.scores import Sampled, scored, scores
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
    prompt: str = Field("{problem}", pattern=r"\{problem\}")  # the bare problem, as students are trained on it
    rows: int | None = Field(None, ge=2)  # of a model in this process: prompts at a time through it; None: one by one
    wait: int = Field(0, ge=0)  # budget forcing: times that "Wait" is appended where the thinking ends (factory.forcing)
    thinking_tokens: int | None = Field(None, ge=1)  # likewise: the end of the thinking is forced there
    tensor_parallel: int = Field(1, ge=1)  # vllm: GPUs that share one copy of the model, where one cannot hold it
    data_parallel: int = Field(1, ge=1)  # vllm: copies of the model, each with GPUs of its own
    best: Choice | None = None  # best-of-n: which of a question's samples is handed in (training.best); scored as best@n
    prompt_column: str | None = None  # of a suite that is a file; None: found by its usual names
    answer_column: str | None = None


def evaluate(
    model: str, suite: str, assignments: Sequence[str], *, limit: int | None, runs: Path, out: Path | None, workers: int
) -> Path:
    """Sample `model` on `suite`, judge and score it; return the result file; no sample is paid for twice.

    Beside the result lies a table of every sample with its verdict. Raises UserError where a sample cannot be had, so that no
    score is ever of a part of the suite.
    """
    wanted = load(Evaluation, assignments)
    asked = load_suite(suite, Columns(wanted.prompt_column, wanted.answer_column, wanted.domain), limit, workers)
    teacher = examined(model)
    _refuse_unused(wanted, teacher)
    sampling = Sampling(**wanted.model_dump(include={"temperature", "top_p", "max_tokens", "seed", "rows"}))
    known = teachers.identity(teacher)
    identity = Identity(
        model=known.name, revision=known.revision, endpoint=known.endpoint, sampling=effective(sampling, teachers.ignored(teacher))
    )
    engine = Engine(**wanted.model_dump(include={"tensor_parallel", "data_parallel"}))
    ask = partial(teachers.ask, teacher, identity, sampling=sampling, engine=engine, log=runs / "vllm.log")
    traces = list(_sampled(ask, identity, wanted, asked.problems, runs / ".samples"))
    verdicts = _judged(traces, asked.problems, workers)
    questions = _by_question(asked.problems, traces, verdicts)
    result = _result(asked, wanted, identity, questions)
    if wanted.best:
        result["scores"][f"best@{wanted.samples}"] = {"by": wanted.best, **_best(wanted, questions, traces)}
    key = content_id(identity, asked.digest, wanted.model_dump())[:8]
    path = out or runs / "evals" / f"{_stem(known.name)}-{asked.name}-{key}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_table(_table(asked.problems, traces, verdicts), path.with_suffix(".parquet"))
    write_atomic(path, json.dumps(result, indent=1, ensure_ascii=False) + "\n")
    return path


def examined(model: str) -> Teacher:
    """The student that a model's folder or specification names. Raises UserError for what runs no model."""
    spec = f"hf:{model}" if Path(model).is_dir() else model
    if spec.partition(":")[0] not in ("hf", "openai", "vllm"):
        raise UserError(f"{model!r} is no model to examine: wanted a folder, hf:MODEL, vllm:MODEL or openai:MODEL@URL")
    return parse_teacher(spec)


def _refuse_unused(wanted: Evaluation, teacher: Teacher) -> None:
    """Raise UserError for a setting that this examination would leave unused."""
    if teacher.kind != "vllm" and (wanted.tensor_parallel, wanted.data_parallel) != (1, 1):
        raise UserError(f"tensor_parallel and data_parallel are of vllm:MODEL, and {teacher.kind}: has neither: leave them out")
    if wanted.best and wanted.samples == 1:
        raise UserError(f"best {wanted.best} chooses among samples, and samples is 1: set samples to 2 or more")


def _sampled(
    ask: Callable[..., Iterator[Trace]], identity: Identity, wanted: Evaluation, problems: Sequence[Problem], store: Path
) -> Iterator[Trace]:
    """Every sample of every problem, in order of problem and index."""
    system = ({"role": "system", "content": wanted.system},) if wanted.system else ()
    asked = {p.id: (*system, {"role": "user", "content": wanted.prompt.replace("{problem}", p.prompt)}) for p in problems}
    requests = [Request(p.id, index, asked[p.id]) for p, index in itertools.product(problems, range(wanted.samples))]

    def kept(due: Iterable[Request]) -> Iterator[Trace]:
        listed = list(due)
        return track(sample(listed, ask=ask, identity=identity, journal_folder=store), "sample", len(listed), "samples")

    forced = wanted.wait or wanted.thinking_tokens
    forcing = Forcing(wanted.wait, wanted.thinking_tokens, wanted.max_tokens)
    arriving = force(requests, kept, forcing) if forced else kept(requests)
    found = {(t.problem_id, t.index): t for t in arriving}
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


def _best(wanted: Evaluation, questions: Sequence[Sequence[Sampled]], traces: Sequence[Trace]) -> dict[str, Any]:
    assert wanted.best is not None
    written = iter(traces)
    shares = []
    for question in questions:
        texts = [join_thinking(t.reasoning, t.answer_text) for t in itertools.islice(written, len(question))]
        values = choice_values(wanted.best, texts, [s.tokens for s in question])
        shares.append(handed_in(values, [s.correct for s in question], [not s.no_answer for s in question]))
    return scored(shares, wanted.seed)


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
