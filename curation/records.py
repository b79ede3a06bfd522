"""The nouns of the factory: problem, trace, verdict. Frozen, typed, and named by their content.

Identity is content: the same problem read from two files has one id, and an id never depends on a row number, a clock or
a random number. That is what lets a build be killed, repeated, extended and compared.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import types
import typing
from collections.abc import Iterable
from typing import Any, Literal, TypeVar

import polars as pl
from pydantic_core import PydanticSerializationError, to_json

Domain = Literal["math", "countdown", "knights-and-knaves", "code", "text"]
Finish = Literal["stop", "length", "error"]
Outcome = Literal["correct", "incorrect", "undetermined"]
Message = dict[str, str]  # {"role": ..., "content": ...}, as chat templates take it


def canonical_json(value: object) -> str:
    """The one JSON text of `value`: sorted keys, no spaces, no NaN; what every hash in the factory is taken of."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def content_id(*parts: object) -> str:
    """First 16 hexadecimal digits (64 bits) of the SHA-256 of `parts` as canonical JSON.

    64 bits: the chance of one collision among ten million rows is 3e-6.
    """
    return hashlib.sha256(canonical_json(parts).encode("utf-8", "surrogatepass")).hexdigest()[:16]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """A question with a checkable answer."""

    id: str  # content id of (domain, prompt, answer)
    prompt: str  # the question as the source states it, without our instructions
    answer: str | None  # gold answer as text; None where the source has none
    domain: str  # which verifier judges it: a value of Domain
    solution: str | None = None  # the source's own worked solution
    source: str = ""  # name of the data set or generator
    source_id: str = ""  # the row's own id there, or its position
    license: str = "unknown"  # SPDX identifier of the source, lower case as the Hub writes it
    meta: str = "{}"  # JSON object: what the domain needs (numbers, statements) and other columns worth keeping


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """One sampled answer to one problem, good or bad; a failed request is a trace too."""

    id: str  # content id of everything below that is not a measurement
    problem_id: str
    index: int  # which of the samples of this problem by this teacher, from 0
    teacher: str  # "oracle", "replay", or the model's name
    revision: str = ""  # model revision or search version, where known
    endpoint: str = ""  # where it was sampled, without credentials
    sampling: str = "{}"  # JSON object: sampling values in effect
    reasoning: str | None = None  # the thinking, without its tags; None where the answer has none
    answer_text: str = ""  # what follows the thinking
    finish: str = "stop"  # a value of Finish; "length" means cut
    prompt_tokens: int | None = None  # tokens, as the teacher counted them
    completion_tokens: int | None = None  # tokens, thinking included
    seconds: float | None = None  # wall time of the request; None where nothing was asked of a machine
    error: str | None = None  # why there is no answer, when finish is "error"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What the verifier says of one response against one gold."""

    outcome: Outcome
    why: str  # short reason in snake_case: equal, different, no_answer, timeout, ...
    extracted: str | None  # the answer as it was found in the response
    rule: str | None = None  # which extraction rule found it
    verifier: str = ""  # name and version of what decided
    seconds: float = 0.0  # time spent judging; never stored in a run, whose bytes must not depend on the clock
    trace_id: str = ""  # empty when the response judged is not a stored trace


def problem(*, prompt: str, answer: str | None, domain: str, **fields: Any) -> Problem:
    """A Problem with its content id."""
    return Problem(id=content_id(domain, prompt, answer), prompt=prompt, answer=answer, domain=domain, **fields)


def trace(**fields: Any) -> Trace:
    """A Trace with its content id: all fields but the measured `seconds`."""
    unnamed = Trace(id="", **fields)
    values = {f: getattr(unnamed, f) for f in Trace.__dataclass_fields__}  # dataclasses.asdict copies each: 80 us a trace
    del values["id"]
    return Trace(id=_content_id_of_texts([values[k] for k in sorted(values) if k != "seconds"]), **values)


def _content_id_of_texts(texts: list[str | int | None]) -> str:
    # Without floats and mappings both write the same bytes, and pydantic's does 15 kB in 7 us instead of 50.
    try:
        return hashlib.sha256(to_json([texts])).hexdigest()[:16]
    except PydanticSerializationError:  # half of a surrogate pair
        return content_id(texts)


Record = TypeVar("Record", Problem, Trace, Verdict)

_POLARS: dict[Any, type[pl.DataType]] = {str: pl.String, int: pl.Int64, float: pl.Float64}


def schema(record: type[Record]) -> pl.Schema:
    """Column names and types of a table of `record`s, from its annotations."""
    hints = typing.get_type_hints(record)
    return pl.Schema({f.name: _POLARS[_bare(hints[f.name])] for f in dataclasses.fields(record)})


def _bare(hint: Any) -> Any:
    if typing.get_origin(hint) is Literal:
        return str
    if isinstance(hint, types.UnionType):
        return next(a for a in typing.get_args(hint) if a is not type(None))
    return hint


def to_frame(records: Iterable[Record], record: type[Record]) -> pl.DataFrame:
    """A table with one row for each record, in order."""
    names = [f.name for f in dataclasses.fields(record)]
    rows = [tuple(getattr(r, n) for n in names) for r in records]
    return pl.DataFrame(rows, schema=schema(record), orient="row")


def from_frame(frame: pl.DataFrame, record: type[Record]) -> list[Record]:
    """The records of a table, in order; columns that the record does not have are left out."""
    names = [f.name for f in dataclasses.fields(record)]
    return [record(**dict(zip(names, row, strict=True))) for row in frame.select(names).iter_rows()]
