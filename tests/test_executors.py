"""Builds whose shards are done by tasks: the same bytes, whoever dies, and nothing bought twice."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest
import solving
from fault_server import FaultServer, serve_faults
from solving import sent

from curation.errors import UserError
from factory import journal
from factory.build import build
from factory.executors import Apart
from factory.recipe import Changes, Recipe, load_recipe
from factory.rounds import Budget
from factory.watching_tasks import facts, line

CLOCK = {"spent", "manifest.json", "README.md", "report.html", "progress.json", ".lock"}


def contents(run: Path) -> dict[str, bytes]:
    """Every file of a run whose bytes must not depend on the clock."""
    files = [p for p in sorted(run.rglob("*")) if p.is_file() and not CLOCK & {p.name, p.parent.name}]
    return {str(p.relative_to(run)): p.read_bytes() for p in files}


def untimed(run: Path) -> dict[str, object]:
    """The same where a teacher is asked: its traces have a column of seconds, and the recipe names the file of the problems."""
    found: dict[str, object] = {**contents(run)}
    for name in found:
        if "traces" in name:
            found[name] = pl.read_parquet(run / name).drop("seconds").to_dicts()
    del found["recipe.json"]
    return found


def countdown(*assignments: str, count: int = 1100) -> Recipe:
    return load_recipe("countdown", Changes(assignments=(f"source.count={count}", *assignments)))


def asking(folder: Path, url: str, prompts: list[str], *assignments: str) -> Recipe:
    folder.mkdir(exist_ok=True)
    return solving.recipe(folder, url, prompts, "sample.max_tokens=150", "sample.in_flight=8", *assignments)


@pytest.fixture(scope="module")
def server() -> Iterator[FaultServer]:
    with serve_faults() as running:
        yield running


def jobs(runs: Path) -> list[list[int]]:
    """The shards that each call has sent to tasks, oldest call first; a run's name begins with no date."""
    told = [json.loads(p.read_text()) for p in sorted((runs / ".tasks").glob("*/job.json"), key=lambda p: p.stat().st_mtime_ns)]
    return [[shard[0] for task in job["tasks"] for shard in task] for job in told]


@pytest.mark.slow
def test_tasks_make_the_bytes_of_one_process_and_only_those_that_are_needed_are_sent(tmp_path: Path) -> None:
    one = build(countdown("sample.per_problem=2"), runs=tmp_path / "one")
    runs = tmp_path / "two"
    two = build(countdown("sample.per_problem=2"), runs=runs, workers=2, executor="local")
    assert contents(one) == contents(two)
    steps = json.loads((two / "manifest.json").read_text())["steps"]
    assert not [s["name"] for s in steps if s["reused"]]
    assert build(countdown("sample.per_problem=2"), runs=runs, workers=2, executor="local") == two
    assert jobs(runs) == [[0, 1, 2]]  # a second call finds all of it

    (tmp_path / "two" / ".tasks").rename(tmp_path / "two" / ".kept")
    for name in ("verdicts", "examples"):  # datatrove's marks say that these are done
        shutil.rmtree(next(runs.glob(f".steps/{name}-*")))
    (tmp_path / "two" / ".kept").rename(tmp_path / "two" / ".tasks")
    assert contents(build(countdown("sample.per_problem=2"), runs=runs, workers=2, executor="local")) == contents(one)
    assert 1 <= len(jobs(runs)[1]) <= 2

    again = build(
        countdown("sample.per_problem=2", "choose.rule=shortest", "executor.shards_per_task=2"),
        runs=runs,
        workers=2,
        executor="local",
    )
    steps = json.loads((again / "manifest.json").read_text())["steps"]
    assert {s["name"] for s in steps if not s["reused"]} == {"examples"}
    told = json.loads((runs / ".tasks" / f"{again.name}-0001" / "job.json").read_text())
    assert [[shard[0] for shard in task] for task in told["tasks"]] == [[0, 1], [2]]


def kill_tasks(runs: Path, kills: int, killed: list[int], over: threading.Event) -> None:
    """SIGKILL for the process of a task that has begun to sample, again and again."""
    while not over.wait(0.05) and len(killed) < kills:
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                words = path.read_bytes().split(b"\0")
            except (FileNotFoundError, ProcessLookupError):
                continue
            number = int(path.parent.name)
            journals = list((runs / ".samples").glob(f"*-{number}-0.jsonl"))
            mine = b"factory.tasks" in words and any(str(runs).encode() in word for word in words)
            if mine and journals and journals[0].stat().st_size > 20_000 and number not in killed and len(killed) < kills:
                os.kill(number, signal.SIGKILL)
                killed.append(number)


@pytest.mark.slow
def test_killed_workers_are_started_again_and_no_sample_is_lost_or_bought_twice(tmp_path: Path, server: FaultServer) -> None:
    prompts = [f"solve-slowly {n + 10} 2 of {{}} number {n}" for n in range(700)]
    whole = build(asking(tmp_path / "a", server.url, [p.format("whole") for p in prompts]), runs=tmp_path / "one")
    runs = tmp_path / "two"
    over, killed = threading.Event(), list[int]()
    killer = threading.Thread(target=kill_tasks, args=(runs, 3, killed, over))
    killer.start()
    try:
        asked = asking(tmp_path / "b", server.url, [p.format("whole") for p in prompts])
        before = sent(server, "whole")
        run = build(asked, runs=runs, workers=2, executor="local")
    finally:
        over.set()
        killer.join()
    assert len(killed) == 3
    texts, expected = untimed(run), untimed(whole)
    assert texts.keys() == expected.keys()
    assert [name for name in texts if texts[name] != expected[name]] == []
    lines = [line for path in (runs / ".samples").glob("*.jsonl") for line in path.read_bytes().splitlines()]
    keys = [json.loads(line)["key"] for line in lines if line.endswith(b"}}")]
    assert len(keys) == len(set(keys)) == len(journal.read_journal(runs / ".samples")) == 700
    assert 700 <= sent(server, "whole") - before <= 700 + 4 * 3  # each of two tasks has half of the eight connections
    told = json.loads((run / "progress.json").read_text())
    assert told["over"] and told["seconds_left"] == 0
    assert (told["tasks"], told["tasks_done"], told["done"], told["total"]) == (2, 2, 700, 700)
    verdicts = pl.read_parquet(run / "verdicts" / "*.parquet")
    right = verdicts.filter(pl.col("outcome") == "correct").height / 700
    assert abs(told["correct_rate"] - right) < 0.001 and told["truncation_rate"] == 0


def test_what_tasks_tell_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "job.json").write_text(json.dumps({"tasks": [[], [], [], []]}))
    (tmp_path / "datatrove" / "completions").mkdir(parents=True)
    (tmp_path / "datatrove" / "completions" / "00000").touch()
    said = dict.fromkeys(("retries", "refused", "failed", "prompt_tokens", "completion_tokens", "usd", "reused"), 0)
    for task, done, rate in (("00000", 500, 0.5), ("00001", 100, None), ("00002", 0, None)):
        (tmp_path / "work" / task).mkdir(parents=True)
        now = {"done": done, "total": 500, "cut": done // 10, "correct_rate": rate, "tokens_per_s": 40, "in_flight": 7, "limit": 8}
        (tmp_path / "work" / task / "progress.json").write_text(json.dumps({**said, **now}))
    assert line(facts(tmp_path, 60.0)) == (
        "tasks: 1 of 4, 600 of 2,000 samples, 2m20s left, 50.0% correct, 10.0% cut, 80 tokens/s, 14 in flight (limit 16)"
    )


@pytest.mark.slow
def test_workers_share_the_budget_and_the_connections(tmp_path: Path) -> None:
    with serve_faults() as server:
        prompts = [f"solve-slowly {n + 10} 1 of shared number {n}" for n in range(600)]
        asked = asking(tmp_path / "p", server.url, prompts)
        with pytest.raises(UserError, match=r"the budget is reached after \d+ answers .* goes on from there with a new budget"):
            build(asked, runs=tmp_path / "runs", workers=2, executor="local", budget=Budget(tokens=24_000))
        assert 195 <= sent(server, "shared") <= 200  # 120 tokens each, and the last might have cost up to 260
        build(asked, runs=tmp_path / "runs", workers=2, executor="local")
        assert sent(server, "shared") == 600
        assert server.most_in_flight[0] <= 8


@pytest.mark.slow
def test_a_teacher_that_refuses_is_told_once_and_failed_requests_are_asked_again_by_the_next_call(tmp_path: Path) -> None:
    with serve_faults() as server:
        refusing = asking(tmp_path / "r", server.url, [f"401 {n} of refused number {n}" for n in range(510)])
        with pytest.raises(UserError, match="401"):
            build(refusing, runs=tmp_path / "runs", workers=1, executor="local")
        assert sent(server, "refused") <= 8

        prompts = [f"solve {n + 10} 1 of failing number {n}" for n in range(501)]
        failing = asking(tmp_path / "f", server.url, ["400/400/solve 5 1 of failing first", *prompts])
        run = build(failing, runs=tmp_path / "runs", workers=2, executor="local")
        assert sent(server, "failing") == 502
        assert "400" in pl.read_parquet(run / "traces" / "00000.parquet")["error"].drop_nulls()[0]
        build(failing, runs=tmp_path / "runs", workers=2, executor="local")
        build(failing, runs=tmp_path / "runs", workers=2, executor="local")
        assert jobs(tmp_path / "runs")[-2:] == [[0], [0]] and sent(server, "failing") == 504
        assert not pl.read_parquet(run / "traces" / "00000.parquet")["error"].drop_nulls().len()


@pytest.mark.parametrize(
    ("executor", "teacher", "says"),
    [
        ("local", "oracle", 'needs datatrove, which is not installed here: pip install "cot-factory[datatrove]"'),
        ("ray", "oracle", 'needs datatrove and ray, which is not installed here: pip install "cot-factory[ray]"'),
    ],
)
def test_what_is_not_installed_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, executor: str, teacher: str, says: str
) -> None:
    for name in ("datatrove", "ray"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(UserError) as error:
        build(countdown(count=5), runs=tmp_path, workers=2, executor=executor)  # type: ignore[arg-type]
    assert says in str(error.value)


def test_one_gpu_is_not_given_to_two_servers(tmp_path: Path) -> None:
    recipe = countdown(count=5).model_copy(update={"teacher": f"vllm:{tmp_path}"})
    with pytest.raises(UserError, match=r"--executor local starts one process for each worker, .* engine\.data_parallel"):
        build(recipe, runs=tmp_path / "runs", workers=2, executor="local")


def test_plan_says_how_many_tasks_there_would_be() -> None:
    command = [
        sys.executable,
        "-m",
        "factory",
        "plan",
        "countdown",
        "--set",
        "source.count=1600",
        "--set",
        "executor.shards_per_task=2",
    ]
    said = subprocess.run(command, capture_output=True, text=True, check=True, cwd=Path(__file__).parent.parent).stdout
    assert "tasks      2 at most, one for 1,000 problems, with --executor" in said


def test_one_worker_here_needs_nothing_new(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "factory", "build", "countdown", "--set", "source.count=5", "--runs", str(tmp_path)]
    environment = {**os.environ, "PYTHONPROFILEIMPORTTIME": "1"}
    root = Path(__file__).parent.parent
    options = ["--workers", "1", "--executor", "local"]
    done = subprocess.run([*command, *options], capture_output=True, text=True, check=True, cwd=root, env=environment)
    assert "datatrove" not in done.stderr and not (tmp_path / ".tasks").exists()


@pytest.mark.slow
def test_the_tasks_end_with_a_build_that_is_killed(tmp_path: Path, server: FaultServer) -> None:
    prompts = [f"solve-slowly {n + 10} 1 of orphaned number {n}" for n in range(600)]
    asked = asking(tmp_path / "p", server.url, prompts, "sample.in_flight=2").model_dump_json()
    program = (
        "import sys; from pathlib import Path; from factory.build import build; from factory.recipe import Recipe; "
        "build(Recipe.model_validate_json(sys.argv[1]), runs=Path(sys.argv[2]), workers=2, executor='local')"
    )
    process = subprocess.Popen([sys.executable, "-c", program, asked, str(tmp_path / "runs")], cwd=Path(__file__).parent.parent)
    while sent(server, "orphaned") < 20:
        assert process.poll() is None
        time.sleep(0.05)
    process.kill()
    process.wait()
    deadline = time.monotonic() + 20
    while (left := commands_with(str(tmp_path / "runs"))) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not left
    build(Recipe.model_validate_json(asked), runs=tmp_path / "runs", workers=2, executor="local")
    assert 600 <= sent(server, "orphaned") <= 602


def commands_with(text: str) -> list[bytes]:
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            found.append(path.read_bytes())
        except (FileNotFoundError, ProcessLookupError):
            continue
    return [command for command in found if text.encode() in command]


def test_a_key_that_is_handed_on_to_another_machine_is_not_shown(tmp_path: Path) -> None:
    step = Apart(tmp_path, "apart", environment={"FACTORY_API_KEY": "sk-secret"}, in_pool=True)
    assert "secret" not in f"{step!r} {step}"  # datatrove writes this into logs and executor.json
