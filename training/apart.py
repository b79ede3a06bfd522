"""Work in a process of its own that tells how it goes.

What vLLM holds of a GPU is given back only when the process ends, and so is the port through which TRL sends weights to a server.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

from curation.errors import UserError

Work = Callable[..., int]  # its last argument is the function that tells


def apart(work: Work, *arguments: Any, tell: Callable[[dict[str, Any]], None]) -> int:
    """`work(*arguments, tell)` in a new process; what it tells is told here, in order, and what it returns or raises is too.

    Everything must be picklable. Raises UserError where the process is lost, which is nearly always for want of memory.
    """
    context = multiprocessing.get_context("spawn")  # a forked child cannot use CUDA
    mine, theirs = context.Pipe(duplex=False)
    child = context.Process(target=_child, args=(theirs, work, arguments), daemon=True)
    child.start()
    theirs.close()
    try:
        while True:
            kind, value = mine.recv()
            if kind == "done":
                return int(value)
            if kind == "mistake":
                raise UserError(value)
            tell(value)
    except EOFError:
        child.join()
        raise UserError(
            f"the process of this stage ended with status {child.exitcode} and no word, as one does that is out of memory: run the "
            "same command again to go on from its last checkpoint, or lower completions_per_pass or vllm_memory_share"
        ) from None
    finally:
        child.terminate()
        child.join()


def _child(pipe: Connection, work: Work, arguments: tuple[Any, ...]) -> None:
    try:
        pipe.send(("done", work(*arguments, lambda line: pipe.send(("line", line)))))
    except UserError as error:
        pipe.send(("mistake", str(error)))
