"""What sampling costs the client: processor time, memory, crashes, refusals. tests/fault_server.py serves from its own process.

    python tests/benchmarks/sampler.py rate [REQUESTS] [IN_FLIGHT]        beside bare aiohttp, on answers of 15 kB
    python tests/benchmarks/sampler.py compare PEER=PYTHON...             and beside openai, curator, datatrove, distilabel
    python tests/benchmarks/sampler.py memory [SAMPLES] [KILOBYTES]       peak of one process; 200000 40: 8 GB of disk
    python tests/benchmarks/sampler.py limiter [REQUESTS_A_SECOND]        a server whose limit changes fourfold, up and down
    python tests/benchmarks/sampler.py kills [KILLS]                      a build killed at random moments

PYTHON is the interpreter of an environment that holds the peer (tests/benchmarks/sampling_peers.py). The server shares the
machine's cores with the client, so bare aiohttp, which only reads the bodies, is the ceiling. Ours is what a build does: an answer
counts when it is in the store.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp

from factory.journal import Store
from factory.meter import Meter
from factory.sampler import Sampler
from factory.sampling import Identity, Request, Sampling, effective
from factory.teachers import openai

SERVER = Path(__file__).parent.parent / "fault_server.py"
PEERS = ("openai", "curator", "datatrove", "distilabel")
PEER_REQUESTS = 2_000


class Cost(NamedTuple):
    what: str
    requests_per_s: float
    processor_us: float  # of each request
    note: str = ""


@contextlib.contextmanager
def serving() -> Iterator[str]:
    server = subprocess.Popen([sys.executable, str(SERVER), "0"], stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    with server:
        try:
            yield server.stdout.readline().strip()
        finally:
            server.terminate()


def measured(what: str, requests: int, work: Callable[[], None]) -> Cost:
    began, used = time.monotonic(), time.process_time()
    work()
    return Cost(what, requests / (time.monotonic() - began), (time.process_time() - used) / requests * 1e6)


def show(cost: Cost, bare: Cost) -> None:
    rate = f"{cost.requests_per_s:8,.0f} requests/s, {cost.requests_per_s / bare.requests_per_s:5.0%} of bare aiohttp"
    used = f"{cost.processor_us:6,.0f} us of processor time each, {cost.processor_us / bare.processor_us:.2f} of bare"
    print(f"{cost.what:<24} {rate}, {used}" if not cost.note else f"{cost.what:<24} {cost.note}", flush=True)


async def read_all(url: str, requests: int, in_flight: int) -> None:
    turns = iter(range(requests))

    async def worker(session: aiohttp.ClientSession) -> None:
        for n in turns:
            body = {"model": "m", "max_tokens": 64, "messages": [{"role": "user", "content": f"long bare {n}"}]}
            async with session.post(f"{url}/v1/chat/completions", json=body) as response:
                assert len(await response.read()) > 15_000

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        await asyncio.gather(*(worker(session) for _ in range(in_flight)))


def take_all(url: str, prompts: list[str], in_flight: int, folder: Path, stream: bool = False) -> None:
    """What a build does: ask for every prompt, and wait until all answers are in the store."""
    sampling = Sampling(max_tokens=64, in_flight=in_flight, stream=stream)
    identity = Identity(model="m", revision="", endpoint=openai.public_url(url), sampling=effective(sampling))
    meter = Meter()
    asked = [Request(f"p{n}", 0, ({"role": "user", "content": prompt},)) for n, prompt in enumerate(prompts)]
    ask = partial(openai.sample, model="m", url=url, sampling=sampling, identity=identity, meter=meter)

    def asking(requests: Any, stop: Any, keep: Any) -> Any:
        return ask(requests, stop=stop, keep=keep)

    with Store(folder) as store, Sampler(store, identity, asking, on_cut=None, meter=meter, ahead=iter([asked])) as sampler:
        sampler.settle(asked, lambda done, of: None)
        assert len(store) == len(prompts)


def read_back(folder: Path) -> None:
    with Store(folder) as store:
        for _ in store.every():
            pass


def rate(requests: int = 10_000, in_flight: int = 500) -> list[Cost]:
    prompts = [f"long {n}" for n in range(requests)]
    with serving() as url, tempfile.TemporaryDirectory() as folder:
        works: dict[str, Callable[[], None]] = {
            "bare aiohttp": lambda: asyncio.run(read_all(url, requests, in_flight)),
            "factory": lambda: take_all(url, prompts, in_flight, Path(folder) / "whole"),
            "factory, streamed": lambda: take_all(url, prompts, in_flight, Path(folder) / "streamed", True),
            "read from the store": lambda: read_back(Path(folder) / "whole"),
        }
        costs: list[Cost] = []
        for what, work in works.items():
            costs.append(measured(what, requests, work))
            show(costs[-1], costs[0])
    print(f"peak {_peak_mib()} MiB", flush=True)
    return costs


def compare(*peers: str) -> None:
    given = dict(peer.split("=", 1) for peer in peers)
    bare, ours, *_ = rate()
    with serving() as url:
        for name in PEERS:
            show(_of_peer(name, given.get(name), url, 500), bare)
    print(f"ours: {ours.requests_per_s:,.0f} requests/s", flush=True)


def _of_peer(name: str, python: str | None, url: str, in_flight: int) -> Cost:
    if python is None:
        return Cost(name, 0, 0, f"NOT MEASURED: no environment given ({name}=PYTHON)")
    command = [python, str(Path(__file__).with_name("sampling_peers.py")), name, url, str(PEER_REQUESTS), str(in_flight)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    if ended.returncode:
        return Cost(name, 0, 0, f"NOT MEASURED: {ended.stderr.strip().splitlines()[-1][:200]}")
    said = json.loads(ended.stdout.splitlines()[-1])
    return Cost(name, said["requests"] / said["seconds"], said["processor_s"] / said["requests"] * 1e6)


def memory(samples: int = 20_000, kilobytes: int = 40) -> None:
    """Through one process to the store and back: what grows with the number is an index and the prompts."""
    with serving() as url, tempfile.TemporaryDirectory() as folder:
        prompts = [f"kilobytes {kilobytes} of {n}" for n in range(samples)]
        cost = measured("memory", samples, lambda: take_all(url, prompts, 500, Path(folder)))
        read_back(Path(folder))
        stored = sum(f.stat().st_size for f in Path(folder).iterdir())
        print(f"{samples:,} samples of {kilobytes} kB, {cost.requests_per_s:,.0f}/s; {stored / 1e9:.2f} GB stored")
        Store(Path(folder)).close()  # packs what its writer has left
        packed = sum(f.stat().st_size for f in Path(folder).iterdir())
    print(f"{packed / 1e9:.2f} GB packed; peak {_peak_mib()} MiB")


def limiter(allowed: float = 50.0, seconds: float = 60.0) -> None:
    """Answers a second and refusals in the second half of each minute, under a limit that goes up and down fourfold."""
    sys.path.insert(0, str(SERVER.parent))
    from fault_server import serve_faults

    with serve_faults() as server:
        meter = Meter()
        asked = (Request(f"p{n}", 0, ({"role": "user", "content": f"ok limited {n}"},)) for n in range(10**9))
        sampling = Sampling(max_tokens=8, retries=10**6, in_flight=1024)
        traces = openai.sample(asked, model="m", url=server.url, sampling=sampling, meter=meter)
        for limit in (allowed, 4 * allowed, allowed, allowed / 4, allowed):
            server.allowed.rate, began = limit, time.monotonic()
            _take_for(traces, seconds / 2)
            before, at = (server.allowed.taken, server.allowed.refused), time.monotonic()
            _take_for(traces, began + seconds - at)
            taken, refused = server.allowed.taken - before[0], server.allowed.refused - before[1]
            share = taken / (time.monotonic() - at) / limit
            print(f"{limit:6.0f} allowed a second: {share:.1%} used, {refused / (taken + refused):.2%} refused", flush=True)
        traces.close()  # type: ignore[attr-defined]


def _take_for(traces: Iterator[Any], seconds: float) -> None:
    until = time.monotonic() + seconds
    for _ in traces:
        if time.monotonic() > until:
            return


def kills(times: int = 100) -> None:
    """One build killed `times` times at random moments beside an undisturbed one: same samples, how many more requests."""
    sys.path.insert(0, str(SERVER.parent))
    from fault_server import serve_faults
    from solving import kill_again_and_again, sent

    from factory import journal

    with serve_faults() as server, tempfile.TemporaryDirectory() as folder:
        stores = []
        for name, count in (("killed", times), ("whole", 0)):
            (Path(folder) / name).mkdir()
            killed = kill_again_and_again(Path(folder) / name, server, "kills", count, 2_000)
            stores.append(journal.read_journal(Path(folder) / name / "runs" / ".samples"))
            print(f"{name}: {killed} kills, {sent(server, 'kills'):,} requests so far, {len(stores[-1]):,} samples")
        texts = [{key: (t.reasoning, t.answer_text) for key, t in store.items()} for store in stores]
        print("the same samples" if texts[0] == texts[1] else "DIFFERENT samples")


def _peak_mib() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


if __name__ == "__main__":
    mode, *given = sys.argv[1:] or ["rate"]
    if mode == "compare":
        compare(*given)
    else:
        {"rate": rate, "memory": memory, "limiter": limiter, "kills": kills}[mode](*map(int, given))  # type: ignore[operator]
