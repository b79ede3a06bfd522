"""Who writes the traces. A teacher is named by one string: oracle, replay:WHERE, openai:MODEL@URL, vllm:MODEL or hf:MODEL."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Literal, NamedTuple, cast, get_args

from curation.errors import UserError
from curation.records import Trace, content_id
from factory.meter import Meter
from factory.prices import Price, price_of
from factory.problems import hub_commit
from factory.recipe import Engine
from factory.sampling import Identity, Request, Sampling
from factory.steps import file_digest

Kind = Literal["oracle", "replay", "openai", "vllm", "hf"]


class Teacher(NamedTuple):
    spec: str  # as the person gave it
    kind: Kind
    model: str  # model name, or where a replay reads from
    url: str = ""  # of an OpenAI-compatible endpoint, or of several, with commas between


def parse_teacher(spec: str) -> Teacher:
    """The teacher that a string names. Raises UserError with the forms there are."""
    kind, _, rest = spec.partition(":")
    if kind not in get_args(Kind) or (kind == "oracle") == bool(rest):
        raise UserError(f"no teacher {spec!r}: wanted oracle, replay:FILE_OR_DATASET, openai:MODEL@URL, vllm:MODEL or hf:MODEL")
    if kind != "openai":
        return Teacher(spec, cast(Kind, kind), rest)
    model, at, url = rest.rpartition("@")
    if not (model and at and url.startswith(("http://", "https://"))):
        raise UserError(
            f"teacher {spec!r} names no endpoint: wanted openai:MODEL@URL, such as openai:my-model@http://localhost:8000/v1"
        )
    return Teacher(spec, "openai", model, url)


class Model(NamedTuple):
    """What of a teacher decides its samples, besides the request."""

    name: str
    revision: str  # commit on the Hub, digest of a local folder, or empty where an endpoint does not say
    endpoint: str  # URL without credentials, of several the first; "vllm"; empty for a model in this process
    template: str = ""  # digest of the chat template, where the model's files are here


def identity(teacher: Teacher) -> Model:
    if teacher.kind == "openai":
        from factory.teachers.openai import public_url

        return Model(teacher.model, "", public_url(teacher.url.split(",")[0]))
    folder = Path(teacher.model)
    endpoint = "vllm" if teacher.kind == "vllm" else ""
    if folder.is_dir():
        return Model(teacher.model, _folder_revision(folder), endpoint, _template(folder))
    return Model(teacher.model, hub_commit(teacher.model, None, "model"), endpoint)


def _folder_revision(folder: Path) -> str:
    # A student is trained again and saved under the same path: only its bytes tell one from the other.
    return content_id([(f.name, file_digest(f)) for f in sorted(folder.iterdir()) if f.is_file()])


def _template(folder: Path) -> str:
    # It is part of the revision already; on its own it lets `factory cached` say that the template and nothing else has changed.
    files = [f for f in (folder / "chat_template.jinja", folder / "tokenizer_config.json") if f.is_file()]
    return content_id([(f.name, file_digest(f)) for f in files]) if files else ""


def ignored(teacher: Teacher) -> frozenset[str]:
    """Sampling values that the teacher takes and does not use: neither sent nor recorded."""
    if teacher.kind != "openai":
        return frozenset()
    from factory.teachers import openai

    return openai.ignored(teacher.model, identity(teacher).endpoint)


def price(teacher: Teacher) -> Price | None:
    """What the teacher costs; None where that is not known."""
    if teacher.kind == "openai":
        return price_of(teacher.model, identity(teacher).endpoint)
    return price_of(teacher.model, "http://localhost")


def ask(
    teacher: Teacher,
    identity: Identity,
    requests: Iterable[Request | None],
    *,
    sampling: Sampling,
    meter: Meter | None = None,
    stop: threading.Event | None = None,
    engine: Engine | None = None,
    log: Path | None = None,
    keep: Callable[[Trace], None] | None = None,
) -> Iterator[Trace]:
    """Sample from a teacher that runs a model; each trace as soon as it is there, in any order.

    A request None means: none just now. `stop` ends it early. A model of our own is loaded, and a server of our own started
    by `engine` with its output in `log`, when the first request comes. `keep` is called with each trace, in the sampling thread.
    """
    meter, stop = meter or Meter(), stop or threading.Event()
    if teacher.kind == "openai":
        from factory.teachers import openai

        yield from openai.sample(
            requests, model=teacher.model, url=teacher.url, sampling=sampling, identity=identity, meter=meter, stop=stop, keep=keep
        )
        return
    coming = iter(requests)
    first = next(_present(coming, stop), None)
    if first is None:
        return
    every = itertools.chain([first], coming)
    if teacher.kind == "vllm":
        from factory.teachers import vllm

        yield from vllm.sample(every, identity, sampling, meter, stop, engine or Engine(), log or Path("vllm.log"), keep)
        return
    from factory.teachers import hf

    asked = _pausing(every, stop) if sampling.rows else _present(every, stop)
    for trace in hf.sample(asked, model=identity["model"], revision=identity["revision"], sampling=sampling):
        meter.count(trace)
        if keep is not None:
            keep(trace)
        yield trace


def _pausing(requests: Iterable[Request | None], stop: threading.Event) -> Iterator[Request | None]:
    """The same with a pause at each None, where a batch that is not full is to be sent."""
    for request in requests:
        if request is None and stop.wait(0.02):
            return
        yield request


def _present(requests: Iterable[Request | None], stop: threading.Event) -> Iterator[Request]:
    for request in requests:
        if request is not None:
            yield request
        elif stop.wait(0.02):
            return
