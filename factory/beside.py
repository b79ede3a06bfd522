"""A training under the name that its model will have, which is where `factory view` looks for one that goes on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def shown_beside(work: Path, folder: Path) -> Iterator[None]:
    """A link `.NAME` to `work` beside the folder NAME until the model is there; none where `work` has that very name.

    A training that fails or is killed leaves the link, so that its curves can be looked at; the next one takes it over.
    """
    link = folder.absolute().with_name(f".{folder.name}")
    if link.is_symlink():
        link.unlink()
    if not link.exists():
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(work.resolve(), target_is_directory=True)
    yield
    if link.is_symlink():
        link.unlink()
