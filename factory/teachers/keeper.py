"""Runs a command and ends it, with all its children, when whoever started this is gone: `python -I keeper.py COMMAND...`.

The starter holds the other end of this process's standard input. However it dies, SIGKILL included, the kernel closes that
end; then the command's process group gets SIGTERM, and after GRACE_S SIGKILL. A server of a dead build would hold its GPUs.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys

GRACE_S = 15.0
LOOK_S = 0.2


def main(command: list[str]) -> int:
    signal.signal(signal.SIGTERM, lambda *_: None)  # the starter says "end" by closing the pipe; a stray signal is no reason
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole terminal: the starter decides
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True)
    while process.poll() is None:
        readable, _, _ = select.select([0], [], [], LOOK_S)
        if readable and not os.read(0, 4096):
            break
    _end(process)
    return process.wait()


def _end(process: subprocess.Popen[bytes]) -> None:
    # Its children too, even where it has died itself: vLLM's workers outlive a killed front end.
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(GRACE_S)
        os.killpg(process.pid, signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]) & 0xFF)
