"""What is asked of a teacher, and the loop that never buys a sample twice."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Container, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, Literal, NamedTuple, NotRequired, TypedDict

from pydantic import BaseModel, ConfigDict, Field

from curation.errors import UserError
from curation.records import Finish, Message, Trace, canonical_json, content_id, trace
from curation.thinking import split_thinking
from factory import journal
from factory.journal import Store

FIRST_REQUESTS = 20  # all failed: it is not the prompts


@dataclasses.dataclass(frozen=True, slots=True)
class Request:
    """One sample to be taken."""

    problem_id: str
    index: int  # which of the samples of this problem, from 0
    messages: tuple[Message, ...]  # for `api: completions` one, whose content is the rendered prompt
    prefix: str = ""  # the beginning of an answer that was cut: the teacher goes on from it
    max_tokens: int | None = None  # instead of the sampling's, for what goes on from a prefix


class Sampling(BaseModel):
    """How a teacher samples. None: the teacher's own default, and nothing is sent."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    # These determine the sample: see `effective`.
    api: Literal["chat", "completions"] = "chat"
    temperature: float | None = Field(default=None, ge=0)
    top_p: float | None = Field(default=None, gt=0, le=1)
    top_k: int | None = Field(default=None, ge=-1)
    min_p: float | None = Field(default=None, ge=0, le=1)
    stop: tuple[str, ...] | None = None
    max_tokens: int = Field(ge=1)  # tokens of the answer, thinking included
    seed: int | None = None  # of all; each problem and sample is asked for with one of its own, made from this: `seed_of`
    rows: int | None = Field(default=None, ge=2)  # hf: prompts at a time, each with its own random stream; None: one by one
    extra: dict[str, Any] | None = None  # sent as they are: what only this server knows, such as vLLM's ignore_eos

    # These say only how it is fetched.
    timeout_s: float = Field(default=1800, gt=0)  # of silence, not of length: while tokens arrive an answer may take hours
    in_flight: int = Field(default=512, ge=1)  # requests at a time at most, for each endpoint; the limiter finds how many
    retries: int = Field(default=5, ge=0)  # further attempts of one request
    stream: bool | None = None  # None: where the teacher is an endpoint
    on_cut: Literal["set-aside", "continue"] = "set-aside"  # continue: what a stream brought before it broke is kept as well


def seed_of(sampling: Sampling, request: Request) -> int | None:
    """The seed that a request is sent with, of 31 bits, its own for each problem and sample; None where none is asked for.

    With one for sample i of every problem, vLLM (0.25.1 makes a generator of each request's seed) would draw the same noise for
    all of them: they would err together, and no interval of a score would hold.
    """
    if sampling.seed is None:
        return None
    return int(content_id(sampling.seed, request.problem_id, request.index), 16) % 2**31


_FETCHING = {"timeout_s", "in_flight", "retries", "stream", "on_cut"}


def effective(sampling: Sampling, ignored: Container[str] = ()) -> dict[str, Any]:
    """The values that determine a sample: part of its key, and what `Trace.sampling` says.

    Unset values are absent rather than null: a value added in a later version leaves the keys of old samples alone. So are
    those that the teacher is known to ignore (`factory.teachers.ignored`): what is recorded is what had an effect.
    """
    values = sampling.model_dump(mode="json", exclude=_FETCHING, exclude_none=True)
    return {k: v for k, v in values.items() if k not in ignored and (k, v) != ("api", "chat")}


class Identity(TypedDict):
    """Who answers, and how: with the messages and the index, everything that determines a sample."""

    model: str
    revision: str  # commit, digest of the weights, or empty where the server does not say
    endpoint: str  # URL without credentials, of several the first; empty for a model in this process
    template: NotRequired[str]  # digest of the chat template, where the model's files are known
    engine: NotRequired[list[str] | None]  # arguments of a server of ours that may change an answer (factory.identity)
    sampling: dict[str, Any]  # of `effective`


class Answer(NamedTuple):
    """What a model gave for one request."""

    text: str
    finish: Finish
    reasoning: str | None = None  # where the server tells it from the text
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    seconds: float | None = None  # of the attempt that succeeded, without waiting for a turn
    model: str | None = None  # as the server calls what has answered
    error: str | None = None  # why the answer is not to be used, when finish is "error"


def answered(request: Request, identity: Identity, answer: Answer) -> Trace:
    """The trace of an answer; thinking comes from the reasoning field, else from the text (`curation.thinking`).

    A server that says it answered with another model than it was asked for is taken at its word: an alias stands for one version
    today and for another next month, so the name is the trace's revision where none is known.
    """
    reasoning, text = _parts(request, answer)
    other = answer.model if answer.model != identity["model"] else None
    return trace(
        problem_id=request.problem_id,
        index=request.index,
        teacher=identity["model"],
        revision=identity["revision"] or other or "",
        endpoint=identity["endpoint"],
        sampling=canonical_json(identity["sampling"]),
        reasoning=reasoning,
        answer_text=text,
        finish=answer.finish,
        prompt_tokens=answer.prompt_tokens,
        completion_tokens=answer.completion_tokens,
        seconds=answer.seconds,
        error=answer.error,
    )


def _parts(request: Request, answer: Answer) -> tuple[str | None, str]:
    """(reasoning, answer) of an answer. White space at a cut is kept on both sides: the two are put together again."""
    if request.prefix:
        return answer.reasoning or None, answer.text
    tail = ""
    if answer.finish == "length":
        last = answer.text or answer.reasoning or ""
        tail = last[len(last.rstrip()) :]
    apart = bool(answer.reasoning and answer.reasoning.strip())  # DeepSeek and vLLM send "" or null where there is none
    thought = split_thinking(answer.text)
    reasoning = answer.reasoning.strip() if answer.reasoning and apart else thought.reasoning
    text = answer.text.strip() if apart else thought.answer
    return (reasoning + tail, "") if reasoning is not None and not text else (reasoning, text + tail)


def sample(
    requests: Iterable[Request],
    *,
    ask: Callable[[Iterable[Request]], Iterator[Trace]],
    identity: Identity,
    journal_folder: Path,
) -> Iterator[Trace]:
    """A trace for each request: those in the store first and for nothing, then the rest from the teacher.

    Each new trace is in the store before it is yielded. The order is not that of the requests. Requests that differ only
    in their problem are asked for once. Closing the iterator stops the teacher. For a build there is `factory.sampler`, which
    goes on while the caller works. Raises UserError when the first 20 requests all fail, ValueError when two requests share
    problem and index but not messages, and whatever `ask` raises.
    """
    wanted = _by_key(requests, identity)
    asked = len(wanted)
    with Store(journal_folder) as store:
        for key, kept in store.get(list(wanted)):
            for request in wanted.pop(key, ()):
                yield for_request(kept, request)
        if not wanted:
            return
        # A refusal comes in milliseconds and an answer in minutes, so the first to be asked tell, not the first to arrive.
        telling = set(islice(wanted, FIRST_REQUESTS)) if len(wanted) == asked else set()
        keys = {(r.problem_id, r.index): key for key, group in wanted.items() for r in group}
        failed_first = 0
        for new in ask(group[0] for group in wanted.values()):
            key = keys[new.problem_id, new.index]
            store.add(key, new, asked_of(wanted[key][0], identity))
            for request in wanted[key]:
                yield for_request(new, request)
            failed_first += new.finish == "error" and key in telling
            if failed_first == FIRST_REQUESTS:
                raise UserError(all_failed(identity, new))


def all_failed(identity: Identity, last: Trace) -> str:
    return (
        f"the first {FIRST_REQUESTS} requests to {identity['model']} all failed, one of them with: {last.error}; "
        "wanted an answer to one of them: mend the cause and run again"
    )


def key_of(request: Request, identity: Identity) -> str:
    """The key of a request's sample in the store."""
    if request.max_tokens is not None:
        identity = {**identity, "sampling": {**identity["sampling"], "max_tokens": request.max_tokens}}
    return journal.sample_key(request.messages, request.index, identity, request.prefix)


def asked_of(request: Request, identity: Identity) -> dict[str, Any]:
    """What of a request its trace does not say: kept beside it, so that `factory cached` can compare field by field."""
    asked = {
        "messages": list(request.messages),
        "prefix": request.prefix,
        "template": identity.get("template", ""),
        "engine": identity.get("engine"),
        "endpoint": identity["endpoint"],
    }
    return {**{name: value for name, value in asked.items() if value}, "revision": identity["revision"]}


def _by_key(requests: Iterable[Request], identity: Identity) -> dict[str, list[Request]]:
    groups: dict[str, list[Request]] = {}
    keys: dict[tuple[str, int], str] = {}
    for request in requests:
        key = key_of(request, identity)
        if keys.setdefault((request.problem_id, request.index), key) != key:
            raise ValueError(f"two different requests for sample {request.index} of problem {request.problem_id}")
        groups.setdefault(key, []).append(request)
    return groups


def for_request(found: Trace, request: Request) -> Trace:
    """A stored trace as the answer to a request that may differ from the one it was bought for in its problem's id alone."""
    if (found.problem_id, found.index) == (request.problem_id, request.index):
        return found
    values = {name: getattr(found, name) for name in found.__dataclass_fields__}
    del values["id"]
    return trace(**(values | {"problem_id": request.problem_id, "index": request.index}))
