"""A local model behind a `vllm serve` of our own: started, watched, started again after a crash, and stopped on every exit."""

from __future__ import annotations

import contextlib
import os
import shlex
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from curation.errors import UserError
from curation.ports import free_port
from curation.records import Trace
from factory.meter import Meter
from factory.progress import say
from factory.recipe import Engine
from factory.sampling import Identity, Request, Sampling
from factory.teachers import keeper, openai

EXECUTABLE = "FACTORY_VLLM"  # what is run instead of `vllm`: a path, or a command such as `docker run ... vllm`
LOOK_S = 0.5
TAIL_LINES = 8


def sample(
    requests: Iterable[Request | None],
    identity: Identity,
    sampling: Sampling,
    meter: Meter,
    stop: threading.Event,
    engine: Engine,
    log: Path,
    keep: Callable[[Trace], None] | None = None,
) -> Iterator[Trace]:
    """As `factory.teachers.openai.sample`, from a server that lives as long as this iterator.

    Requests that a crash of the server takes down are sent again to its successor, and are not counted as attempts.
    """
    # Not streamed unless asked for: the engine's /metrics say that it is at work, and a million events a minute cost it time.
    quiet = sampling.model_copy(update={"stream": bool(sampling.stream)})
    with Server(identity, engine, log) as server:
        server.wait_until_ready(stop)
        if not stop.is_set():
            model = identity["model"]
            yield from openai.sample(
                requests,
                model=model,
                url=server.url,
                sampling=quiet,
                identity=identity,
                meter=meter,
                watch=server,
                stop=stop,
                keep=keep,
            )


class Server:
    """One `vllm serve` process and the thread that watches it. Use as a context manager."""

    def __init__(self, identity: Identity, engine: Engine, log: Path) -> None:
        self.engine, self.log = engine, log
        self.port = engine.port or free_port()
        self.url = f"http://127.0.0.1:{self.port}/v1"
        self.command = command(identity["model"], identity["revision"], engine, self.port)
        self._starts = 0
        self._ready = threading.Event()
        self._leaving = threading.Event()
        self._gone: UserError | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._thread = threading.Thread(target=self._watch, name="vllm", daemon=True)

    def __enter__(self) -> Server:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._leaving.set()
        self._thread.join()

    def ready(self) -> bool:
        return self._ready.is_set()

    def raise_if_gone(self) -> None:
        if self._gone is not None:
            raise self._gone

    def wait_until_ready(self, stop: threading.Event) -> None:
        """Raises UserError, with the end of the log, when the server ends or is not ready in time."""
        while not self._ready.wait(LOOK_S) and not stop.is_set():
            self.raise_if_gone()
        self.raise_if_gone()

    def _watch(self) -> None:
        while not self._leaving.is_set():
            self._run_once()
            if self._leaving.is_set():
                return
            if self._gone is not None:
                return
            if self._starts > self.engine.restarts:
                self._gone = UserError(self._said(f"ended {self._starts} times"))
                return
            say(f"vllm serve has ended; starting it again ({self._starts} of {self.engine.restarts})")

    def _run_once(self) -> None:
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as log:
            try:
                process = subprocess.Popen(
                    [sys.executable, "-I", keeper.__file__, *self.command], stdin=subprocess.PIPE, stdout=log, stderr=log
                )
            except OSError as error:
                self._gone = UserError(f"the server could not be started ({error.strerror})")
                return
        self._process, self._starts = process, self._starts + 1
        try:
            self._until_it_ends(process)
        finally:
            self._ready.clear()
            assert process.stdin is not None
            with contextlib.suppress(BrokenPipeError):
                process.stdin.close()
            process.wait()

    def _until_it_ends(self, process: subprocess.Popen[bytes]) -> None:
        began, was_ready = time.monotonic(), False
        while process.poll() is None and not self._leaving.wait(LOOK_S if was_ready else LOOK_S / 5):
            if not was_ready and self._is_healthy():
                was_ready = True
                self._ready.set()
            if not was_ready and time.monotonic() - began > self.engine.ready_s:
                self._gone = UserError(self._said(f"was not ready after {self.engine.ready_s:g} s"))
                return
        if not was_ready and not self._leaving.is_set():  # what fails to start once fails again
            self._gone = UserError(self._said("ended before it was ready"))

    def _is_healthy(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/health", timeout=5) as response:
                return bool(response.status == 200)
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            return False

    def _said(self, what: str) -> str:
        lines = [line.strip() for line in self.log.read_text("utf-8", "replace").splitlines() if line.strip()]
        tail = " | ".join(lines[-TAIL_LINES:])[-800:] or "(nothing)"
        return (
            f"`{' '.join(self.command[:3])}` {what}; wanted a server: what it said last is {tail}; all of it is in {self.log}. "
            "Is vLLM installed (pip install 'cot-factory[vllm]'), and does the model fit this machine?"
        )


def command(model: str, revision: str, engine: Engine, port: int) -> list[str]:
    """The command line of the server."""
    executable = shlex.split(os.environ.get(EXECUTABLE, "vllm"))
    line = [*executable, "serve", model, "--host", "127.0.0.1", "--port", str(port), "--served-model-name", model]
    if revision and not Path(model).is_dir():
        line += ["--revision", revision]
    if engine.tensor_parallel > 1:
        line += ["--tensor-parallel-size", str(engine.tensor_parallel)]
    if engine.data_parallel > 1:
        line += ["--data-parallel-size", str(engine.data_parallel)]
    return [*line, *engine.arguments]
