"""The command line that starts a sandboxed process: bubblewrap where asked, Python, and the settings it seals itself with."""

from __future__ import annotations

import functools
import json
import math
import os
import resource
import shutil
import sys
from pathlib import Path
from typing import Literal, NamedTuple

Isolation = Literal["bubblewrap", "landlock", "limits"]

_PACKAGE = Path(__file__).parent
_STACK_BYTES = 100 << 20  # for recursion through C functions; above 128 MiB the kernel lays memory out differently
_START = "import sys; sys.path.insert(0, {root!r}); from curation.sandbox_child import main; main()"
# --unshare-all alone goes on without a user namespace where there is none.
_ISOLATED = ("--unshare-all", "--unshare-user", "--die-with-parent", "--new-session", "--cap-drop", "ALL", "--hostname", "sandbox")


class Limits(NamedTuple):
    """What one process may use."""

    cpu_s: float = 5.0  # processor time, rounded up to whole seconds
    wall_s: float = 12.0  # by the clock, from the start
    memory_bytes: int = 1 << 30  # address space
    output_bytes: int = 8 << 20  # standard output; it is killed past that
    scratch_bytes: int = 16 << 20  # files
    open_files: int = 64


class Job(NamedTuple):
    """One process: `main(*fds)` of a module of this package, and its standard input."""

    module: str
    stdin: bytes
    fds: tuple[int, ...] = ()  # of this process, handed down


def command(job: Job, limits: Limits, isolation: Isolation, scratch: str) -> list[str]:
    """Arguments of the process for `job`; `scratch` is its folder where bubblewrap makes none."""
    cpu_s = math.ceil(limits.cpu_s)
    settings = {
        "module": job.module,
        "fds": job.fds,
        "packages": _packages(),
        "readable": _readable(),
        "landlock": isolation == "landlock",
        "scratch": scratch,
        "limits": [
            (resource.RLIMIT_CPU, cpu_s, cpu_s + 1),  # SIGXCPU may be caught; SIGKILL a second later may not
            (resource.RLIMIT_AS, limits.memory_bytes, limits.memory_bytes),
            (resource.RLIMIT_FSIZE, limits.scratch_bytes, limits.scratch_bytes),
            (resource.RLIMIT_NOFILE, limits.open_files, limits.open_files),
            (resource.RLIMIT_STACK, _STACK_BYTES, _STACK_BYTES),
            (resource.RLIMIT_CORE, 0, 0),
        ],
    }
    start = _START.format(root=str(_PACKAGE.parent))
    python = [os.path.realpath(sys.executable), "-I", "-S", "-c", start, json.dumps(settings)]
    return [*_bubblewrap(limits), *python] if isolation == "bubblewrap" else python


def _packages() -> list[str]:
    return [p for p in sys.path if p.endswith(("site-packages", "dist-packages"))]


@functools.cache
def _readable() -> list[str]:
    """What an interpreter needs to read: itself, its packages, this one, the system's libraries."""
    paths = ["/usr", "/lib", "/lib64", "/etc/ld.so.cache", sys.base_prefix, *_packages(), str(_PACKAGE)]
    return [p for p in dict.fromkeys(paths) if os.path.exists(p)]


def _bubblewrap(limits: Limits) -> list[str]:
    options = [shutil.which("bwrap") or "bwrap", *_ISOLATED]
    options += ["--dev", "/dev", "--size", str(limits.scratch_bytes), "--tmpfs", "/tmp"]
    for path in _readable():
        link = os.path.islink(path) and path in ("/lib", "/lib64")
        options += ["--symlink", os.readlink(path), path] if link else ["--ro-bind", path, path]
    # No /proc: run by root, a program could write /proc/sys/kernel/core_pattern, which names a command for the kernel.
    return [*options, "--remount-ro", "/dev", "--remount-ro", "/", "--chdir", "/tmp", "--"]  # both are tmpfs without a size
