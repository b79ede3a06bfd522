"""verify where other people's code calls it: many threads, asyncio, children of every start method, and forks at any moment."""

import asyncio
import concurrent.futures
import subprocess
import sys
import time
from pathlib import Path

import pytest

from curation.verify import verify, verify_all

EXACT = ("1/2", r"\boxed{0.5}", "correct")
SLOW = (r"\int x dx", r"\boxed{\int  x  dx + 0}", None)  # beyond the exact tier; what math-verify says does not matter here
ROWS = [EXACT, SLOW, ("18", r"\boxed{19}", "incorrect"), ("5", "<think>5", "incorrect")] * 5


def _fits(rows, verdicts):
    return all(v.why != "worker_lost" and wanted in (None, v.outcome) for (_, _, wanted), v in zip(rows, verdicts, strict=True))


def test_many_threads_share_one_server():
    with concurrent.futures.ThreadPoolExecutor(16) as threads:
        futures = [threads.submit(verify, [g for g, _, _ in ROWS], [r for _, r, _ in ROWS]) for _ in range(32)]
        assert all(_fits(ROWS, future.result()) for future in futures)


def test_a_thread_that_wants_more_workers_takes_nothing_from_the_others():
    def judged(workers):
        rows = [(r"\int x dx", rf"\boxed{{\int  x  dx + {n * workers + 7}}}", "math") for n in range(60)]
        return {v.why for v in verify_all(rows, workers=workers)}

    with concurrent.futures.ThreadPoolExecutor(3) as threads:
        found = []
        for workers in (1, 2, 3):
            found.append(threads.submit(judged, workers))
            time.sleep(0.7)  # the server of the one before has started and has rows
    assert not {"worker_lost", "timeout"} & set().union(*(f.result() for f in found))


def test_from_an_event_loop_that_goes_on_meanwhile():
    ticks = 0

    async def tick():
        nonlocal ticks
        while True:
            ticks += 1
            await asyncio.sleep(0.001)

    async def run():
        ticking = asyncio.create_task(tick())
        loop = asyncio.get_running_loop()
        calls = [loop.run_in_executor(None, verify, gold, response) for gold, response, _ in ROWS * 4]
        verdicts = await asyncio.gather(*calls)
        ticking.cancel()
        return verdicts

    assert _fits(ROWS * 4, asyncio.run(run()))
    assert ticks > 3


CHILD = """
import multiprocessing, sys, threading
from curation.verify import verify

ROWS = [("1/2", "\\\\boxed{0.5}"), ("\\\\int x dx", "\\\\boxed{\\\\int  x  dx + 0}"), ("18", "\\\\boxed{19}")] * 3

def judged(_):
    return [(v.outcome, v.why) for v in verify([g for g, _ in ROWS], [r for _, r in ROWS])]

if __name__ == "__main__":
    method, used_before = sys.argv[1], sys.argv[2] == "True"
    here = judged(0) if used_before else None
    context = multiprocessing.get_context(method)
    if used_before:  # a lock that another thread holds at the moment of a fork is never given back in the child
        busy = threading.Thread(target=lambda: [judged(0) for _ in range(30)], daemon=True)
        busy.start()
    with context.Pool(2) as pool:  # its workers are daemons, as a data loader's are: they may start no multiprocessing children
        there = pool.map(judged, range(4), chunksize=1)
    if used_before:
        busy.join()
    assert all(found == (here or judged(0)) for found in there), there
    assert not any(why == "worker_lost" for found in there for _, why in found), there
    print("same")
"""


@pytest.mark.slow
@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
@pytest.mark.parametrize("used_before", [True, False])
def test_in_a_child_process_of_every_kind(tmp_path, method, used_before):
    script = tmp_path / "child.py"
    script.write_text(CHILD)
    environment = {"PYTHONPATH": str(Path(__file__).parent.parent), "PATH": "/usr/bin:/bin"}
    command = [sys.executable, str(script), method, str(used_before)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, env=environment)
    assert (done.stdout.strip(), done.returncode) == ("same", 0), done.stderr[-2000:]
