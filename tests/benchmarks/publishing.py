"""Publishing and looking, against what is to be reached: `python tests/benchmarks/publishing.py push|kills|view`.

push   `push` of so many megabytes to the small Hub of the tests, beside copying the same files to the same server by HTTP PUT,
       one after the other and five at a time (as many as huggingface_hub sends at once); wanted: 70 percent of the quicker one
kills  a push killed at random moments and called again, so often; wanted: main always whole, at the end equal byte by byte
view   report and page of a run of so many traces; wanted: report under 60 s and 1 GiB, page and filters under 300 ms
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import multiprocessing
import os
import random
import resource
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from big_run import heavy_run, long_run  # puts tests/ on the path
from hub_server import TOKEN, hub_server
from hub_store import Hub
from pushing import on_main, published

REPO = "tester/sums"
PUSHER = """
import sys
from pathlib import Path
from cards.push import push
push(Path(sys.argv[1]), sys.argv[2], token=sys.argv[3], endpoint=sys.argv[4])
"""


def main() -> None:
    """Measure one of the three."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["push", "kills", "view"])
    parser.add_argument("--megabytes", type=int, help="of the run that is pushed: 2000, and 200 for kills")
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--traces", type=int, default=100_000)
    parser.add_argument("--characters", type=int, default=8_000, help="of a trace")
    parser.add_argument("--seed", type=int, default=0, help="of the moments of the kills")
    parser.add_argument("--folder", type=Path, help="where to work, instead of a folder for temporary files")
    given = parser.parse_args()
    os.environ |= {"HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
    with tempfile.TemporaryDirectory(dir=given.folder) as name:
        folder = Path(name)
        if given.what == "push":
            _push(folder, given.megabytes or 2000)
        elif given.what == "kills":
            _kills(folder, given.megabytes or 200, given.kills, random.Random(given.seed))
        else:
            _view(folder, given.traces, given.characters)


def _push(folder: Path, megabytes: int) -> None:
    run = heavy_run(folder / "run", megabytes)
    files = {path: name for name, path in _names(run).items()}
    size = sum(path.stat().st_size for path in files)
    speeds = {}
    for threads in (1, 5):
        with _server(folder / f"copy-{threads}") as url:
            began = time.monotonic()
            with ThreadPoolExecutor(threads) as pool:
                list(pool.map(lambda path: _put(url, path, files[path]), files))
            speeds[threads] = size / (time.monotonic() - began) / 1e6
            print(f"copy by HTTP, {threads} at a time   {speeds[threads]:,.0f} MB/s")
    with _server(folder / "push") as url:
        began = time.monotonic()
        subprocess.run(_command(run, url), check=True, stderr=subprocess.DEVNULL)
        speed = size / (time.monotonic() - began) / 1e6
    print(f"push of {size / 1e6:,.0f} MB in {len(files)} files   {speed:,.0f} MB/s, {speed / max(speeds.values()):.0%} of the copy")


def _names(run: Path) -> dict[str, Path]:
    """Files by their SHA-256, which the server asks for; taken before the clock starts."""
    listed = json.loads((run / "manifest.json").read_text("utf-8"))["dataset"]["files"]
    return {entry["sha256"]: run / entry["path"] for entry in listed}


def _put(url: str, path: Path, name: str) -> None:
    connection = http.client.HTTPConnection(urlsplit(url).netloc)
    with path.open("rb") as file:
        connection.request("PUT", f"/lfs/{name}", body=file, headers={"Content-Length": str(path.stat().st_size)})
    assert connection.getresponse().status == 200
    connection.close()


def _command(run: Path, url: str) -> list[str]:
    return [sys.executable, "-c", PUSHER, str(run), REPO, TOKEN, url]


@contextlib.contextmanager
def _server(folder: Path) -> Iterator[str]:
    """A Hub in a process of its own, so that it does not share an interpreter with who is measured."""
    ours, theirs = multiprocessing.get_context("spawn").Pipe()
    process = multiprocessing.get_context("spawn").Process(target=_serve, args=(folder, theirs))
    process.start()
    yield ours.recv()
    ours.send("stop")
    process.join()


def _serve(folder: Path, pipe: Any) -> None:
    with hub_server(folder) as hub:
        pipe.send(hub.url)
        pipe.recv()


def _kills(folder: Path, megabytes: int, wanted: int, draw: random.Random) -> None:
    """Push one run after another; kill at a random moment of the time that an undisturbed push takes, and push again."""
    killed = finished = 0
    whole: dict[str, bytes] = {}
    unique = 0
    with hub_server(folder / "hub") as hub:
        run = heavy_run(folder / "run-0", megabytes, 8)
        takes = _undisturbed(folder, run)
        while killed < wanted or whole != published(run):
            process = subprocess.Popen(_command(run, hub.url), stderr=subprocess.DEVNULL, start_new_session=True)
            if _ends_within(process, draw.uniform(0, takes) if killed < wanted else None):
                assert process.returncode == 0, process.returncode
                whole = on_main(hub)
                assert whole == published(run), "what is on main is not the run"
                finished += 1
                unique += _uploaded_once(hub)
                if killed < wanted:
                    run = heavy_run(folder / f"run-{finished}", megabytes, 8, seed=str(finished))
                continue
            killed += 1
            held = on_main(hub) if REPO in hub.repos else {}
            assert held in (whole, published(run)), "something half-done is on main"
        repo = hub.repos[REPO]
        merged = [pull.status for pull in repo.pulls].count("merged")
        assert merged == finished and len(repo.commits) == len({c.oid for c in repo.commits.values()})
        print(f"{killed} kills in {finished} pushes of {megabytes} MB ({takes:.1f} s each): main equal byte by byte, always whole")
        extra = (hub.received - unique) / 1e6
        print(f"uploaded {hub.received / 1e6:,.0f} MB for {unique / 1e6:,.0f} MB of files: {extra:,.0f} MB extra")


def _undisturbed(folder: Path, run: Path) -> float:
    with hub_server(folder / "trial") as hub:
        began = time.monotonic()
        subprocess.run(_command(run, hub.url), check=True, stderr=subprocess.DEVNULL)
        return time.monotonic() - began


def _ends_within(process: subprocess.Popen[bytes], seconds: float | None) -> bool:
    try:
        process.wait(seconds)
        return True
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        return process.wait() != -signal.SIGKILL


def _uploaded_once(hub: Hub) -> int:
    """Bytes of the LFS files that are new since this was asked last."""
    stored = {path: path.stat().st_size for path in hub.lfs.iterdir() if len(path.name) == 64}
    for path in stored:
        _SEEN.setdefault(path, 0)
    fresh = sum(size for path, size in stored.items() if not _SEEN[path])
    _SEEN.update(dict.fromkeys(stored, 1))
    return fresh


_SEEN: dict[Path, int] = {}


def _view(folder: Path, traces: int, characters: int) -> None:
    run = long_run(folder / "run", traces, characters)
    began = time.monotonic()
    code = "import sys, pathlib; from cards.view.report import write_report; write_report(pathlib.Path(sys.argv[1]))"
    subprocess.run([sys.executable, "-c", code, str(run)], check=True)
    took, peak = time.monotonic() - began, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    size = (run / "report.html").stat().st_size / 1e6
    print(f"report of {traces:,} traces of {characters:,} characters   {took:.1f} s, {peak:,.0f} MiB at most, {size:.1f} MB")
    from cards.view.server import make_server, open_page

    began = time.monotonic()
    server = make_server(open_page(run))
    print(f"factory view is ready after   {time.monotonic() - began:.1f} s")
    threading.Thread(target=server.serve_forever, daemon=True).start()
    ask = _asker(server.server_port)
    _time("first page (page, figures, rows)", lambda: [ask(path) for path in ("/", "/api/overview", "/api/rows?start=0")])
    for query in (
        "verdict=incorrect",
        "teacher=model-2&min_length=2500",
        "q=x_%7B42%7D",
        "sort=longest",
        f"q={traces // 9}&verdict=correct",
    ):
        _time(f"filter {query}", lambda query=query: ask(f"/api/rows?{query}"))
    first = json.loads(ask("/api/rows?start=0"))["rows"][0]["id"]
    _time("one row", lambda: ask(f"/api/row?id={first}"))
    server.shutdown()


def _asker(port: int) -> Callable[[str], bytes]:
    def ask(path: str) -> bytes:
        connection = http.client.HTTPConnection("127.0.0.1", port)
        connection.request("GET", path)
        answer = connection.getresponse()
        body = answer.read()
        connection.close()
        assert answer.status == 200, body[:200]
        return body

    return ask


def _time(what: str, call: Callable[[], object], repeats: int = 9) -> None:
    took = []
    for _ in range(repeats):
        began = time.monotonic()
        call()
        took.append((time.monotonic() - began) * 1000)
    print(f"{what}   {statistics.median(took):,.0f} ms, {max(took):,.0f} ms at most")


if __name__ == "__main__":
    main()
