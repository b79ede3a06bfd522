"""Tries, from inside, what a sandboxed process must not be able to do; writes "works" when all of it is refused."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable


def main() -> None:
    """Write `works` to standard output if no process and no connection can be made from here."""
    if _refused(os.fork) and _refused(lambda: socket.socket(socket.AF_INET, socket.SOCK_STREAM)):
        os.write(1, b"works")


def _refused(attempt: Callable[[], object]) -> bool:
    try:
        attempt()
    except OSError:
        return True
    return False
