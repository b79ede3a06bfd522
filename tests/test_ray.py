"""Builds on a Ray cluster of two nodes, for real: the same bytes, also where a worker or a whole node is killed."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from fault_server import serve_faults
from test_executors import asking, sent, untimed

from curation.errors import UserError
from factory import journal
from factory.build import build
from factory.ray_cluster import _reachable, seconds

ROOT = Path(__file__).parent.parent
# Ray warns of much, and warnings are errors here: whatever touches it runs in a process of its own.
CLUSTER = """
import sys
import ray
from ray.cluster_utils import Cluster
small = {"num_cpus": 1, "object_store_memory": 80 << 20, "memory": 3 << 30, "include_dashboard": False}
cluster = Cluster(initialize_head=True, head_node_args=small)
second = cluster.add_node(num_cpus=1, object_store_memory=80 << 20, memory=3 << 30)
print(second.all_processes["raylet"][0].process.pid, cluster.address, flush=True)
sys.stdin.read()
cluster.shutdown()
"""
BUILD = """
import sys
from pathlib import Path
from factory.build import build
from factory.recipe import Recipe
build(Recipe.model_validate_json(sys.argv[1]), runs=Path(sys.argv[2]), workers=2, executor="ray")
"""


class Nodes(NamedTuple):
    environment: dict[str, str]  # in which the cluster is found
    second: int  # the process that is the second node; all that runs there is below it


@contextlib.contextmanager
def two_nodes(folder: Path) -> Iterator[Nodes]:
    """A cluster of two nodes with a CPU each."""
    environment = {**os.environ, "RAY_USAGE_STATS_ENABLED": "0"}
    pipe = subprocess.PIPE
    with (folder / "ray.txt").open("w") as errors:
        process = subprocess.Popen(
            [sys.executable, "-c", CLUSTER], stdin=pipe, stdout=pipe, stderr=errors, text=True, env=environment
        )
        assert process.stdout is not None and process.stdin is not None
        with process.stdout, process.stdin:
            told = next((found for line in process.stdout if (found := re.fullmatch(r"(\d+) (\S+:\d+)\n", line))), None)
            assert told, (folder / "ray.txt").read_text()
            try:
                yield Nodes({**environment, "RAY_ADDRESS": told[2]}, int(told[1]))
            finally:
                process.stdin.close()
                process.wait(timeout=60)


def parents(runs: Path) -> list[tuple[int, int, int]]:
    """For each task of a build that is at work: its process, the pool's that waits for it, and Ray's actor above that."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            words = path.read_bytes().split(b"\0")
            if b"factory.tasks" in words and any(str(runs).encode() in word for word in words):
                task = int(path.parent.name)
                found.append((task, _parent(task), _parent(_parent(task))))
    return found


def _parent(process: int) -> int:
    return int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[1])


def _below(process: int) -> set[int]:
    """A process and all that it has started, through however many others."""
    above = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            above[int(path.parent.name)] = _parent(int(path.parent.name))
    found, grown = {process}, True
    while grown:
        more = {child for child, parent in above.items() if parent in found} - found
        found, grown = found | more, bool(more)
    return found


def kill_one_of_each(runs: Path, second: int, killed: list[int], over: threading.Event) -> None:
    """SIGKILL for a task, then the pool's process above one, then an actor, then a node with all on it, each amid its sampling."""
    while len(killed) < 4 and not over.wait(0.1):
        for chain in parents(runs):
            journals = list((runs / ".samples").glob(f"*-{chain[0]}-0.jsonl"))
            if not journals or journals[0].stat().st_size < 10_000 or len(killed) == 4:
                continue
            victims = {chain[len(killed)]} if len(killed) < 3 else _below(second)
            if len(killed) < 3 or chain[0] in victims:
                for victim in victims:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(victim, signal.SIGKILL)
                killed.append(second if len(killed) == 3 else chain[len(killed)])
                time.sleep(0.5)


@pytest.mark.slow
def test_two_nodes_make_the_bytes_of_one_process_whoever_is_killed(tmp_path: Path) -> None:
    prompts = [f"solve-slowly {n + 10} 2 of nodes number {n}" for n in range(900)]
    runs = tmp_path / "two"
    over, killed = threading.Event(), list[int]()
    with serve_faults() as server:
        asked = asking(tmp_path / "p", server.url, prompts)
        whole = untimed(build(asked, runs=tmp_path / "one"))
        with two_nodes(tmp_path) as nodes:
            killer = threading.Thread(target=kill_one_of_each, args=(runs, nodes.second, killed, over))
            killer.start()
            try:
                command = [sys.executable, "-c", BUILD, asked.model_dump_json(), str(runs)]
                done = subprocess.run(command, capture_output=True, text=True, env=nodes.environment, cwd=ROOT, timeout=300)
            finally:
                over.set()
                killer.join()
        assert done.returncode == 0, done.stderr
        assert len(killed) == 4 and killed[3] == nodes.second
        (run,) = runs.glob("openr1-math-*")
        found = untimed(run)
        assert found.keys() == whole.keys() and [name for name in found if found[name] != whole[name]] == []
        assert len(journal.read_journal(runs / ".samples")) == 900
        assert 900 <= sent(server, "nodes") - 900 <= 900 + 4 * 4  # each of two tasks has half of the eight connections


def test_a_cluster_that_is_not_there_is_one_sentence() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        with pytest.raises(UserError, match=r"no Ray cluster answers at 127\.0\.0\.1:\d+ .* start one with `ray start --head`"):
            _reachable(f"127.0.0.1:{taken.getsockname()[1]}")
    assert _reachable("local") == "local"


def test_time_is_written_as_slurm_writes_it() -> None:
    assert [seconds(t) for t in ("00:00:30", "1:30:00", "2-01:00:00")] == [30, 5400, 49 * 3600]
