"""The server of our own, with a real process in place of vLLM: started, watched, started again, and gone on every exit."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest
from test_executors import asking

from curation.errors import UserError
from curation.records import Trace
from factory.build import build
from factory.cached import explain
from factory.journal import read_journal
from factory.meter import Meter
from factory.recipe import Engine
from factory.sampling import Identity, Request, Sampling, effective
from factory.teachers import ask, parse_teacher, vllm

SERVER = Path(__file__).parent / "fault_server.py"
SAMPLING = Sampling(max_tokens=8, retries=2)
IDENTITY = Identity(model="tiny", revision="r1", endpoint="vllm", sampling=effective(SAMPLING))
pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def stand_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(vllm.EXECUTABLE, f"{sys.executable} {SERVER}")


def requests(*plans: str) -> list[Request]:
    return [Request(f"p{n}", 0, ({"role": "user", "content": f"{plan} {n}"},)) for n, plan in enumerate(plans)]


def sample(folder: Path, asked: list[Request], **engine: object) -> Iterator[Trace]:
    settings = Engine.model_validate({"ready_s": 20, **engine})
    return vllm.sample(asked, IDENTITY, SAMPLING, Meter(), threading.Event(), settings, folder / "vllm.log")


def serving() -> list[str]:  # -ww: where COLUMNS is set, ps cuts its lines even into a pipe
    found = subprocess.run(["ps", "-ww", "-eo", "pid,args"], capture_output=True, text=True, check=True).stdout
    return [line for line in found.splitlines() if "serve tiny" in line and "fault_server" in line]


def gone(within_s: float = 5.0) -> bool:
    began = time.monotonic()
    while serving() and time.monotonic() - began < within_s:
        time.sleep(0.05)
    return not serving()


def test_the_command_says_what_the_recipe_says() -> None:
    engine = Engine(tensor_parallel=4, data_parallel=2, arguments=["--max-model-len", "32768"])
    line = vllm.command("org/model", "abc", engine, 8123)
    assert line[2:] == [
        *("serve", "org/model", "--host", "127.0.0.1", "--port", "8123", "--served-model-name", "org/model"),
        *("--revision", "abc", "--tensor-parallel-size", "4", "--data-parallel-size", "2", "--max-model-len", "32768"),
    ]


def test_an_argument_that_may_change_an_answer_is_part_of_the_key(tmp_path: Path) -> None:
    """The same model under another chat template was answered with what it had said under the first."""
    model, template = tmp_path / "tiny", tmp_path / "chat.jinja"
    model.mkdir()
    (model / "config.json").write_text("{}")
    prompts = [f"solve {n + 10} 1 of engines number {n}" for n in range(4)]
    asked = asking(tmp_path, "http://x", prompts).model_copy(update={"teacher": f"vllm:{model}"})

    def bought(*arguments: str) -> int:
        with_them = asked.model_copy(update={"engine": Engine(arguments=list(arguments))})
        build(with_them, runs=tmp_path / "runs")
        problem = problems_in(tmp_path / "runs")
        assert explain(with_them, tmp_path / "runs", problem, 0).startswith("reused: ")
        return len(read_journal(tmp_path / "runs" / ".samples"))

    template.write_text("one")
    assert [bought(), bought("--max-num-seqs", "7", "--gpu_memory_utilization=0.8")] == [4, 4]
    assert [bought("--chat-template", str(template)), bought(f"--chat-template={template}")] == [8, 8]
    template.write_text("two")
    other = asked.model_copy(update={"engine": Engine(arguments=["--chat-template", str(template)])})
    told = explain(other, tmp_path / "runs", problems_in(tmp_path / "runs"), 0)
    assert told.startswith("asked anew") and next(line.split()[1] for line in told.splitlines() if "differs" in line) == "engine"
    assert bought("--chat-template", str(template), "--quantization", "fp8") == 12


def problems_in(runs: Path) -> str:
    return str(pl.read_parquet(next(runs.glob("*/problems/*.parquet")))["id"][0])


def test_it_answers_and_the_server_is_gone_afterwards(tmp_path: Path) -> None:
    traces = list(sample(tmp_path, requests("ok", "think")))
    assert {t.finish for t in traces} == {"stop"} and {t.teacher for t in traces} == {"tiny"}
    assert gone()
    assert "http://127.0.0.1:" in (tmp_path / "vllm.log").read_text()


def test_without_a_request_no_server_is_started(tmp_path: Path) -> None:
    assert list(ask(parse_teacher("vllm:tiny"), IDENTITY, [], sampling=SAMPLING, log=tmp_path / "vllm.log")) == []
    assert not (tmp_path / "vllm.log").exists()


def test_closing_early_stops_it(tmp_path: Path) -> None:
    traces = sample(tmp_path, requests("ok", "hang"))
    assert next(traces).finish == "stop"
    traces.close()  # type: ignore[attr-defined]
    assert gone()


def test_a_crash_costs_nothing_but_time(tmp_path: Path) -> None:
    traces = sample(tmp_path, requests(*["slow"] * 400), restarts=2)
    finished = [next(traces).finish]
    for line in serving():
        if "keeper" not in line:
            os.kill(int(line.split()[0]), signal.SIGKILL)
    finished += [t.finish for t in traces]
    assert finished == ["stop"] * 400
    assert len((tmp_path / "vllm.log").read_text().splitlines()) == 2
    assert gone()


def test_a_server_that_keeps_crashing_is_given_up(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"ended 2 times; wanted a server: .*vllm\.log"):
        list(sample(tmp_path, requests("ok", "exit"), restarts=1))
    assert gone()


def test_a_server_that_cannot_start_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(vllm.EXECUTABLE, f"{sys.executable} -c 'import sys; sys.exit(\"no GPU here\")'")
    with pytest.raises(UserError, match=r"ended before it was ready; .*no GPU here.*Is vLLM installed"):
        list(sample(tmp_path, requests("ok")))
    monkeypatch.setenv(vllm.EXECUTABLE, "no-such-program")
    with pytest.raises(UserError, match=r"ended before it was ready; .*no-such-program"):
        list(sample(tmp_path, requests("ok")))


def test_a_server_that_never_gets_ready_is_given_up_and_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(vllm.EXECUTABLE, f"{sys.executable} -c 'import time; time.sleep(600)' fault_server")
    with pytest.raises(UserError, match="was not ready after 1 s"):
        list(sample(tmp_path, requests("ok"), ready_s=1))
    assert gone()


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_however_the_build_dies_the_server_dies_too(tmp_path: Path, how: signal.Signals) -> None:
    program = """
        import signal, sys
        signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
        sys.path.insert(0, sys.argv[2])
        from pathlib import Path
        from test_vllm_teacher import sample, requests
        for trace in sample(Path(sys.argv[1]), requests("ok", "hang")):
            print(trace.finish, flush=True)
    """
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parent.parent)}
    command = [sys.executable, "-c", textwrap.dedent(program), str(tmp_path), str(Path(__file__).parent)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment) as process:
        try:
            assert process.stdout is not None and process.stdout.readline() == b"stop\n"
            assert len(serving()) >= 1
            process.send_signal(how)
            process.wait(timeout=60)
        finally:
            process.kill()  # where an assertion fails, leaving the block would wait for ever
    assert gone()
