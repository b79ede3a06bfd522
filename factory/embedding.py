"""Which embedding model a recipe names: its files in a folder, or a commit on the Hub, so that another model is another step."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import NamedTuple

from curation.errors import UserError
from curation.records import content_id
from factory.problems import hub_commit
from factory.steps import Facts, file_digest


class Embedding(NamedTuple):
    """What makes vectors: a model, or hashed TF-IDF with SVD."""

    model: str | None  # folder, or name on the Hub; None: no model
    revision: str | None  # commit on the Hub, or digest of a folder's files


def embedding(model: str | None) -> Embedding:
    """The model of a recipe: a folder, NAME or NAME@REVISION of the Hub. Raises UserError where there is no such one."""
    if model is None:
        return Embedding(None, None)
    folder = Path(model).expanduser()
    if folder.exists():
        files = [(f.name, file_digest(f)) for f in sorted(folder.iterdir()) if f.is_file()] if folder.is_dir() else []
        if "config.json" not in dict(files):
            raise UserError(f"embedding model {model!r} is no folder with a config.json: name one as save_pretrained writes it")
        return Embedding(str(folder), content_id(files))
    name, _, revision = model.partition("@")
    return Embedding(name, _commit(name, revision or None))


@functools.cache
def _commit(name: str, revision: str | None) -> str:
    """One commit for all of a build, however long it takes and however many shards ask."""
    return hub_commit(name, revision, "model")


def embedding_facts(model: str | None, use: str) -> Facts:
    """The same for a step's settings and its facts, which the manifest lists; nothing without a model."""
    return {"embeddings": [{"use": use, **embedding(model)._asdict()}]} if model else {}
