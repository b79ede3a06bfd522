"""Requests a second of the endpoint teacher with the journal, beside bare aiohttp, on answers of 15 kB.

    python tests/benchmarks/sampler.py [REQUESTS] [IN_FLIGHT]
    python tests/benchmarks/sampler.py kills [KILLS]

The server is tests/fault_server.py in a process of its own; it shares the machine's cores with the client, so that bare
aiohttp, which only reads the bodies, is the ceiling here.
"""

from __future__ import annotations

import asyncio
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import aiohttp

from curation.records import Trace
from factory.sampling import Identity, Request, Sampling, effective, sample
from factory.teachers import openai

SERVER = Path(__file__).parent.parent / "fault_server.py"


def main(requests: int = 10_000, in_flight: int = 500) -> None:
    server = subprocess.Popen([sys.executable, str(SERVER), "0"], stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    with server, tempfile.TemporaryDirectory() as folder:
        url = server.stdout.readline().strip()
        try:
            bare = report("bare aiohttp", requests, lambda: asyncio.run(read_all(url, requests, in_flight)))
            asked = report("factory", requests, lambda: take_all(url, requests, in_flight, Path(folder)))
            report("factory, streamed", requests, lambda: take_all(url, requests, in_flight, Path(folder) / "streamed", True))
            report("again, from the store", requests, lambda: take_all(url, requests, in_flight, Path(folder)))
        finally:
            server.terminate()
    print(f"{asked / bare:.0%} of bare aiohttp; peak {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MiB")


def report(what: str, requests: int, work: Callable[[], None]) -> float:
    began, used = time.monotonic(), time.process_time()
    work()
    rate = requests / (time.monotonic() - began)
    print(f"{what}: {rate:,.0f} requests/s, {(time.process_time() - used) / requests * 1e6:.0f} us of processor time each")
    return rate


async def read_all(url: str, requests: int, in_flight: int) -> None:
    turns = iter(range(requests))

    async def worker(session: aiohttp.ClientSession) -> None:
        for n in turns:
            body = {"model": "m", "max_tokens": 64, "messages": [{"role": "user", "content": f"long bare {n}"}]}
            async with session.post(f"{url}/v1/chat/completions", json=body) as response:
                assert len(await response.read()) > 15_000

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        await asyncio.gather(*(worker(session) for _ in range(in_flight)))


def take_all(url: str, requests: int, in_flight: int, folder: Path, stream: bool = False) -> None:
    sampling = Sampling(max_tokens=64, in_flight=in_flight, stream=stream)
    identity = Identity(model="m", revision="", endpoint=openai.public_url(url), sampling=effective(sampling))

    def ask(missing: Iterable[Request]) -> Iterator[Trace]:
        return openai.sample(missing, model="m", url=url, sampling=sampling)

    asked = (Request(f"p{n}", 0, ({"role": "user", "content": f"long {n}"},)) for n in range(requests))
    traces = sample(asked, ask=ask, identity=identity, journal_folder=folder)
    assert sum(t.finish == "stop" for t in traces) == requests


def kill(kills: int) -> None:
    """One build killed `kills` times at random moments beside an undisturbed one: same samples, how many more requests."""
    sys.path.insert(0, str(SERVER.parent))
    from fault_server import serve_faults
    from test_rounds import kill_again_and_again, sent

    from factory import journal

    with serve_faults() as server, tempfile.TemporaryDirectory() as folder:
        stores = []
        for name, times in (("killed", kills), ("whole", 0)):
            (Path(folder) / name).mkdir()
            killed = kill_again_and_again(Path(folder) / name, server, "kills", times, 2_000)
            stores.append(journal.read_journal(Path(folder) / name / "runs" / ".samples"))
            print(f"{name}: {killed} kills, {sent(server, 'kills'):,} requests so far, {len(stores[-1]):,} samples")
        texts = [{key: (t.reasoning, t.answer_text) for key, t in store.items()} for store in stores]
        print("the same samples" if texts[0] == texts[1] else "DIFFERENT samples")


if __name__ == "__main__":
    if sys.argv[1:2] == ["kills"]:
        kill(*map(int, sys.argv[2:] or ["100"]))
    else:
        main(*map(int, sys.argv[1:]))
