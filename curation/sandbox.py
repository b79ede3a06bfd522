"""Run Python that nobody trusts: isolated, bounded, and gone afterwards.

Every program is a fresh process under limits of its own, without environment, descriptors, network, or the right to start
another process or signal one (sandbox_child). What keeps it from the file system differs by machine and is said with each
result, as `isolation`:

    bubblewrap  own namespaces: it sees the interpreter and nothing else, and writes to a small scratch in memory
    landlock    names of files and processes are visible, contents are not, but for the interpreter and a scratch folder
    limits      it may read and write what the user may: only for programs that are trusted not to be malicious

Bubblewrap is the Debian package of that name (https://github.com/containers/bubblewrap); inside most containers it cannot work,
because they refuse new namespaces, and Landlock, which any process may use since Linux 5.13, is what is left.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import selectors
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from typing import Literal, NamedTuple

from curation import sandbox_child
from curation.errors import UserError
from curation.sandbox_command import Isolation as Isolation
from curation.sandbox_command import Job as Job
from curation.sandbox_command import Limits as Limits
from curation.sandbox_command import command

How = Literal["exited", "killed", "timeout", "output_limit", "not_started"]

_SCRATCH_FILES = 200  # a program that makes more is stopped (landlock, limits)
_LOOK_S = 0.1  # between looks at the clock and the scratch folder
_GRACE_S = 0.3  # for the others to end when the last process has


class Ended(NamedTuple):
    """How a process ended."""

    how: How
    status: int  # exit status; negative for a signal; 0 where `how` is not "exited" or "killed"
    output: bytes  # standard output after the mark that the limits are in effect, cut at the limit
    seconds: float  # by the clock, start to end
    isolation: Isolation


def isolation() -> Isolation:
    """The strongest isolation that works on this machine; the first call tries it out and logs where it is weak."""
    return available()[0]


@functools.cache
def available() -> tuple[Isolation, ...]:
    """Kinds of isolation that work here, strongest first. Raises UserError where none does."""
    if sys.platform != "linux" or os.uname().machine not in sandbox_child.MACHINES:
        raise UserError(
            f"programs are judged on Linux on {' or '.join(sandbox_child.MACHINES)} only, this is {sys.platform} on "
            f"{os.uname().machine}: judge them on such a machine"
        )
    kinds: list[Isolation] = [k for k in ("bubblewrap", "landlock", "limits") if _works(k)]
    if not kinds:
        raise UserError("programs run under a seccomp filter, which this machine refuses them: judge code on another machine")
    if kinds[0] != "bubblewrap":
        logging.getLogger(__name__).warning(
            "programs run under %s, not bubblewrap: %s. Install bubblewrap, or judge code in a virtual machine of its own.",
            kinds[0],
            "they may see file names" if kinds[0] == "landlock" else "they may read and write what you may",
        )
    return tuple(kinds)


def _works(kind: Isolation) -> bool:
    if kind == "bubblewrap" and shutil.which("bwrap") is None:
        return False
    if kind == "landlock" and sandbox_child.landlock_abi() == 0:
        return False
    return run(Job("curation.sandbox_probe", b""), Limits(), isolation=kind).output == b"works"


def run(job: Job, limits: Limits, *, isolation: Isolation) -> Ended:
    """Run one process to its end."""
    return run_together([job], limits, isolation=isolation)[0]


def run_together(jobs: Sequence[Job], limits: Limits, *, isolation: Isolation) -> list[Ended]:
    """Run processes side by side until the last of `jobs` ends or one is stopped; then none of them is left.

    Their `fds` are closed here once they are handed down, so that each sees the other's end. Safe from any thread.
    """
    scratch = tempfile.mkdtemp(prefix="factory-") if isolation != "bubblewrap" else ""
    processes: list[_Process] = []
    try:
        try:
            for job in jobs:
                processes.append(_Process(job, limits, isolation, scratch))
        finally:
            for descriptor in (fd for job in jobs for fd in job.fds):
                os.close(descriptor)
        _watch(processes, limits, scratch)
    finally:
        ended = [process.end() for process in processes]
        if scratch:
            shutil.rmtree(scratch)
    return ended


class _Process:
    """A started process, what it was not yet sent, and what it wrote."""

    def __init__(self, job: Job, limits: Limits, isolation: Isolation, scratch: str) -> None:
        self.limits, self.isolation = limits, isolation
        self.unsent, self.output = memoryview(job.stdin), bytearray()
        self.stopped: How | None = None
        self.started = time.monotonic()
        self.popen = subprocess.Popen(
            command(job, limits, isolation, scratch),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={"HOME": scratch or "/tmp", "LC_ALL": "C.UTF-8", "PATH": "/usr/bin:/bin", "OPENBLAS_NUM_THREADS": "1"},
            cwd=scratch or "/",
            pass_fds=job.fds,
            start_new_session=True,
            bufsize=0,
        )
        assert self.popen.stdin is not None and self.popen.stdout is not None
        self.stdin, self.stdout = self.popen.stdin, self.popen.stdout
        self.exit = os.pidfd_open(self.popen.pid)  # readable when it has exited, whatever it did with its output
        os.set_blocking(self.stdin.fileno(), False)
        os.set_blocking(self.stdout.fileno(), False)

    def send(self) -> bool:
        """Write some of standard input; False when that is over."""
        try:
            self.unsent = self.unsent[os.write(self.stdin.fileno(), self.unsent[:65536]) :] if self.unsent else self.unsent
        except BrokenPipeError:  # it does not read its input, which is its own affair
            return False
        return len(self.unsent) > 0

    def receive(self) -> bool:
        """Read what there is of standard output; False where there is nothing, at its end, and past the limit."""
        try:
            part = os.read(self.stdout.fileno(), 1 << 20)
        except BlockingIOError:  # bubblewrap exits before its inner process 1 has let go of the pipe
            return False
        self.output += part
        if len(self.output) > self.limits.output_bytes:
            self.stopped = self.stopped or "output_limit"
        return len(part) > 0 and self.stopped is None

    def end(self) -> Ended:
        """Kill what is left of it, reap it, and say how it ended."""
        os.killpg(self.popen.pid, signal.SIGKILL)  # changes nothing where it has exited: it is not reaped yet
        status = self.popen.wait()
        seconds = time.monotonic() - self.started
        if self.isolation == "bubblewrap" and status > 128:
            status = 128 - status  # bubblewrap reports a signal as a shell does
        self.stdin.close()
        self.stdout.close()
        os.close(self.exit)
        sealed = self.output.startswith(sandbox_child.SEALED)
        output = bytes(self.output[len(sandbox_child.SEALED) : self.limits.output_bytes]) if sealed else b""
        how = "not_started" if not sealed else self.stopped or _how(status, seconds, self.limits)
        return Ended(how, status if how in ("exited", "killed") else 0, output, seconds, self.isolation)


def _how(status: int, seconds: float, limits: Limits) -> How:
    if status == -signal.SIGXCPU or (status == -signal.SIGKILL and seconds >= limits.cpu_s):  # it may have caught the first
        return "timeout"
    return "exited" if status >= 0 else "killed"


def _watch(processes: list[_Process], limits: Limits, scratch: str) -> None:
    """Feed and read the processes until the last of them exits; those to be stopped have their reason set."""
    deadline = time.monotonic() + limits.wall_s
    with selectors.DefaultSelector() as selector:
        for process in processes:
            selector.register(process.stdin, selectors.EVENT_WRITE, process)
            selector.register(process.stdout, selectors.EVENT_READ, process)
            selector.register(process.exit, selectors.EVENT_READ, process)
        running, next_look = set(processes), time.monotonic() + _LOOK_S
        while running and not any(process.stopped for process in processes):
            for key, _ in selector.select(_LOOK_S):
                _step(selector, key, running)
            now = time.monotonic()
            if processes[-1] not in running:  # the others should end by themselves now; how they did may matter
                deadline = min(deadline, now + _GRACE_S)
                reason: How = "killed"
            else:
                reason = "timeout"
            if now > deadline:
                _stop(running, reason)
            elif now > next_look:
                next_look = now + _LOOK_S
                if scratch and _overfull(scratch, limits):
                    _stop(running, "output_limit")


def _step(selector: selectors.BaseSelector, key: selectors.SelectorKey, running: set[_Process]) -> None:
    process: _Process = key.data
    if key.fileobj is process.stdin:
        if not process.send():
            selector.unregister(process.stdin)
            process.stdin.close()
    elif key.fileobj is process.stdout:
        if not process.receive():
            selector.unregister(process.stdout)
    else:
        selector.unregister(process.exit)
        running.discard(process)
        while process.receive():  # what it wrote before it exited; nobody else holds the other end
            pass


def _stop(processes: set[_Process], reason: How) -> None:
    for process in processes:
        process.stopped = process.stopped or reason


def _overfull(scratch: str, limits: Limits) -> bool:
    names = os.listdir(scratch)
    size = 0
    for name in names[:_SCRATCH_FILES]:
        with contextlib.suppress(FileNotFoundError):  # the program may have removed it just now
            size += os.lstat(os.path.join(scratch, name)).st_size
    return len(names) > _SCRATCH_FILES or size > limits.scratch_bytes
