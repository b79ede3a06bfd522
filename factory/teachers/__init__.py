"""Who writes the traces. A teacher is named by one string: oracle, replay:WHERE, openai:MODEL@URL or hf:MODEL."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Literal, NamedTuple, cast, get_args

from curation.errors import UserError
from curation.records import Trace, content_id
from factory.problems import hub_commit
from factory.sampling import Identity, Request, Sampling
from factory.steps import file_digest

Kind = Literal["oracle", "replay", "openai", "hf"]


class Teacher(NamedTuple):
    spec: str  # as the person gave it
    kind: Kind
    model: str  # model name, or where a replay reads from
    url: str = ""  # of an OpenAI-compatible endpoint


def parse_teacher(spec: str) -> Teacher:
    """The teacher that a string names. Raises UserError with the forms there are."""
    kind, _, rest = spec.partition(":")
    if kind not in get_args(Kind) or (kind == "oracle") == bool(rest):
        raise UserError(f"no teacher {spec!r}: wanted oracle, replay:FILE_OR_DATASET, openai:MODEL@URL or hf:MODEL")
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
    endpoint: str  # URL without credentials; empty for a model in this process


def identity(teacher: Teacher) -> Model:
    if teacher.kind == "openai":
        from factory.teachers.openai import public_url

        return Model(teacher.model, "", public_url(teacher.url))
    folder = Path(teacher.model)
    revision = _folder_revision(folder) if folder.is_dir() else hub_commit(teacher.model, None, "model")
    return Model(teacher.model, revision, "")


def _folder_revision(folder: Path) -> str:
    # A student is trained again and saved under the same path: only its bytes tell one from the other.
    return content_id([(f.name, file_digest(f)) for f in sorted(folder.iterdir()) if f.is_file()])


def ask(teacher: Teacher, identity: Identity, requests: Iterable[Request], *, sampling: Sampling) -> Iterator[Trace]:
    """Sample from a teacher that runs a model; each trace as soon as it is there, in any order."""
    if teacher.kind == "openai":
        from factory.teachers import openai

        return openai.sample(requests, model=teacher.model, url=teacher.url, sampling=sampling)
    from factory.teachers import hf

    return hf.sample(requests, model=identity["model"], revision=identity["revision"], sampling=sampling)
