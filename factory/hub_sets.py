"""Data sets of the Hub as a command names them: OWNER/NAME, or OWNER/NAME:CONFIG of those that have several configurations."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from curation.files import SUFFIXES, Row
from factory.problems import hub_commit, hub_rows


class HubSet(NamedTuple):
    """The rows of one configuration, split train, at the commit of now."""

    name: str
    digest: str  # the commit, with the configuration where one is named
    read: Callable[[], Iterator[Row]]


def open_hub_set(where: str) -> HubSet:
    """Raises UserError for a Hub that does not answer; `read` does for a configuration that is missing or not there."""
    repo, _, config = where.partition(":")
    commit = hub_commit(repo, None)
    short = where.rpartition("/")[2]
    return HubSet(short, f"{commit}:{config}" if config else commit, lambda: hub_rows(repo, config or None, "train", commit))


def names_file(where: str) -> bool:
    """Is it a file, there or not? A dot alone does not say so: simplescaling/s1K-1.1 is a data set."""
    path = Path(where)
    known = where.endswith(SUFFIXES) or path.is_absolute() or where.startswith(".")
    return path.is_file() or known or ("." in path.name and where.count("/") != 1)
