"""A run directory: one build's result, a database that a person opens with Polars or DuckDB. One process at a time.

runs/<recipe>-<hash>/  README.md  recipe.json  manifest.json  funnel.json
                       problems/  traces/  verdicts/  dataset/  rejected/
                       contamination.parquet  audit.parquet  duplicates.parquet  difficulty.parquet  selection.json
                       trace_duplicates.parquet  labels.parquet, where a recipe asks for them
runs/.steps/           finished pieces of work, shared by all runs beside them (factory.steps)
runs/.samples/         every sample paid for, shared likewise (factory.journal)
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from curation.errors import UserError
from curation.files import write_atomic
from factory.recipe import Recipe
from factory.steps import link, remove_abandoned


class Run(NamedTuple):
    folder: Path
    store: Path  # finished pieces
    samples: Path  # journals of samples


@contextlib.contextmanager
def open_run(runs: Path, recipe: Recipe, out: Path | None = None) -> Iterator[Run]:
    """The run directory of a recipe, made if need be and locked for this process.

    Raises UserError, saying who holds it, when another process is building it.
    """
    run = Run(out or runs / recipe.run_name(), runs / ".steps", runs / ".samples")
    for folder in run:
        folder.mkdir(parents=True, exist_ok=True)
    with locked(run.folder):
        remove_abandoned(run.store)
        write_atomic(run.folder / "recipe.json", json.dumps(recipe.model_dump(mode="json"), indent=2, ensure_ascii=False) + "\n")
        yield run


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold a folder for this process. Raises UserError, saying who holds it, when another does."""
    # The kernel drops the lock with the process, however it dies; the text is only there to say who holds it.
    with (folder / ".lock").open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            holder = file.read().strip() or "another process"
            raise UserError(f"{folder} is in use by {holder}: wait for it, stop it, or go elsewhere with --out") from None
        file.truncate(0)
        file.write(f"process {os.getpid()} on {socket.gethostname()} since {time.strftime('%Y-%m-%d %H:%M:%S')}")
        file.flush()
        yield


def replace_folder(folder: Path, files: dict[str, Path]) -> None:
    """Make `folder` hold exactly `files` (name -> where its bytes are), as hard links, and swap it in whole."""
    fresh = folder.with_name(f".{folder.name}.new")
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir()
    for name, source in files.items():
        link(source, fresh / name)
    shutil.rmtree(folder, ignore_errors=True)
    fresh.rename(folder)
