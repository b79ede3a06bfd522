"""What went wrong elsewhere, and must not here: one test for each failure seen in the sampling of other systems."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import polars as pl
import pytest
from fault_server import FaultServer, serve_faults
from pushing import REPO, finished_run, on_main, patient_hub, published, send
from solving import hard, recipe, sent

from curation.records import Message, Trace
from factory.build import build
from factory.journal import read_journal
from factory.sampling import Identity, Request, Sampling, effective, sample
from factory.teachers import chat_completion, openai

ROOT = Path(__file__).parent.parent
numbers = count()


@pytest.fixture(scope="module")
def server() -> Iterator[FaultServer]:
    with serve_faults() as running:
        yield running


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chat_completion, "BACK_OFF_S", 0.001)


def ask(
    folder: Path, url: str, prompts: list[str], *, model: str = "m", system: str | None = None, **values: object
) -> list[Trace]:
    """What one run of a teacher gives, from the store in `folder` where it is there; in the order of the prompts."""
    sampling = Sampling.model_validate({"max_tokens": 64, "timeout_s": 5, **values})
    identity = Identity(model=model, revision="", endpoint=openai.public_url(url), sampling=effective(sampling))
    said: tuple[Message, ...] = ({"role": "system", "content": system},) if system else ()
    asked = [Request(p, 0, (*said, {"role": "user", "content": p})) for p in prompts]

    def teacher(missing: object) -> Iterator[Trace]:
        return openai.sample(missing, model=model, url=url, sampling=sampling, identity=identity)  # type: ignore[arg-type]

    found = {t.problem_id: t for t in sample(asked, ask=teacher, identity=identity, journal_folder=folder)}
    return [found[p] for p in prompts]


def new(plan: str) -> str:
    return f"{plan} peers {next(numbers)}"


def attempts(server: FaultServer, prompt: str) -> int:
    return sum(seen.prompt == prompt for seen in server.seen)


def test_1_another_system_prompt_or_endpoint_is_not_answered_from_the_cache(tmp_path: Path, server: FaultServer) -> None:
    """curator 0.1.31: the key of its cache holds neither the system prompt nor the endpoint; old answers, 0 requests."""
    prompt = new("ok")
    for system in ("Be brief.", "Be long.", "Be brief."):
        ask(tmp_path, server.url, [prompt], system=system)
    assert attempts(server, prompt) == 2
    with serve_faults() as elsewhere:
        ask(tmp_path, elsewhere.url, [prompt], system="Be brief.")
        assert attempts(elsewhere, prompt) == 1


def test_2_a_cut_answer_is_paid_once(tmp_path: Path, server: FaultServer) -> None:
    """curator 0.1.31: finish_reason length is a failure, sampled again ten times, and then the run raises."""
    prompt = new("length")
    for _ in range(2):
        (trace,) = ask(tmp_path, server.url, [prompt])
        assert (trace.finish, trace.reasoning) == ("length", "and so on and on")
    assert attempts(server, prompt) == 1


def test_3_retry_after_is_obeyed_whatever_the_429_says_and_while_others_go_on(tmp_path: Path, server: FaultServer) -> None:
    """curator 0.1.31: a 429 without the words "rate limit" is sent again at once, and only when the whole file is through."""
    refused, slow = new("429-after-1/ok"), new("hang/ok")
    began = time.monotonic()
    traces = ask(tmp_path, server.url, [refused, slow], timeout_s=3)
    assert {t.finish for t in traces} == {"stop"} and attempts(server, refused) == attempts(server, slow) == 2
    again = [n for n, seen in enumerate(server.seen) if seen.prompt == refused][1]
    assert again < [n for n, seen in enumerate(server.seen) if seen.prompt == slow][1]  # not after the slow one
    assert time.monotonic() - began >= 1


@pytest.mark.slow
def test_4_nothing_but_the_endpoint_is_reached(tmp_path: Path, server: FaultServer) -> None:
    """curator 0.1.31: downloads a tiktoken vocabulary at its start, for a server on the same machine too."""
    (tmp_path / "problems.jsonl").write_text(json.dumps({"problem": "solve 4 1 of offline number 0", "answer": "4"}) + "\n")
    program = """
        import socket, sys
        connect = socket.socket.connect
        def local(self, address):
            if self.family != socket.AF_UNIX and address[0] not in ("127.0.0.1", "::1", "localhost"):
                sys.exit(f"reached for {address}")
            return connect(self, address)
        socket.socket.connect = local
        def resolve(host, *rest, **named):
            if host not in ("127.0.0.1", "::1", "localhost", None):
                sys.exit(f"asked for the address of {host}")
            return found(host, *rest, **named)
        found, socket.getaddrinfo = socket.getaddrinfo, resolve
        from factory.cli import main
        main()
    """
    settings = ["clean.benchmarks=[]", "clean.near_duplicates=null", "prompt='{problem}'", "sample.per_problem=1"]
    command = ["build", "openr1-math", "--problems", "problems.jsonl", "--teacher", f"openai:m@{server.url}"]
    command += [part for setting in settings for part in ("--set", setting)]
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("HF_", "http", "HTTP"))} | {"PYTHONPATH": str(ROOT)}
    ran = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program), *command],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    assert sent(server, "offline") == 1


@pytest.mark.parametrize("plan", ["reasoning", "reasoning_content", "think"])
def test_5_thinking_is_kept_and_a_reader_that_raises_loses_nothing(tmp_path: Path, server: FaultServer, plan: str) -> None:
    """curator: only message.content reaches parse(), and up to 0.1.27 a parse() that raised lost the answer that was paid."""
    prompt = new(plan)
    with pytest.raises(ZeroDivisionError):
        for trace in _lazily(tmp_path, server.url, prompt):
            assert trace.reasoning == "I think."
            raise ZeroDivisionError
    (kept,) = read_journal(tmp_path).values()
    assert (kept.reasoning, kept.answer_text) == ("I think.", "It is 2.")
    ask(tmp_path, server.url, [prompt])
    assert attempts(server, prompt) == 1


def _lazily(folder: Path, url: str, prompt: str) -> Iterator[Trace]:
    sampling = Sampling(max_tokens=64, timeout_s=5)
    identity = Identity(model="m", revision="", endpoint=openai.public_url(url), sampling=effective(sampling))
    asked = [Request(prompt, 0, ({"role": "user", "content": prompt},))]
    yield from sample(
        asked,
        ask=lambda missing: openai.sample(missing, model="m", url=url, sampling=sampling, identity=identity),
        identity=identity,
        journal_folder=folder,
    )


@pytest.mark.filterwarnings("ignore:Use 'content=<...>':DeprecationWarning")
def test_6_the_published_card_is_the_runs_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """curator's push_to_hub: a second commit puts a fixed card, MIT licence and all, over the one with the configurations."""
    run = finished_run(tmp_path)
    with patient_hub(tmp_path, monkeypatch) as hub:
        send(hub, run)
        send(hub, run)
        assert on_main(hub)["README.md"] == published(run)["README.md"]
        assert len(hub.repos[REPO].pulls) == 1


def test_7_another_model_or_temperature_is_not_answered_from_the_cache(tmp_path: Path, server: FaultServer) -> None:
    """datatrove 0.10.1: the key is taken before model and default sampling values are merged in; B got A's text, unasked."""
    prompt = new("ok")
    for model, temperature in (("a", 0.6), ("b", 0.6), ("a", 1.0), ("a", None), ("a", 0.6)):
        (trace,) = ask(tmp_path, server.url, [prompt], model=model, temperature=temperature)
        assert trace.teacher == model and json.loads(trace.sampling).get("temperature") == temperature
    assert attempts(server, prompt) == 4


def test_8_a_repeated_request_is_the_first_one_again(tmp_path: Path, server: FaultServer) -> None:
    """datatrove 0.10.1: the model is popped from the shared payload, so a second attempt dies and the first 429 is fatal."""
    prompt = new("429/503/ok")
    (trace,) = ask(tmp_path, server.url, [prompt], temperature=0.5, seed=3)
    bodies = [seen.body for seen in server.seen if seen.prompt == prompt]
    assert trace.finish == "stop" and len(bodies) == 3 and bodies[0] == bodies[1] == bodies[2]
    assert bodies[0]["model"] == "m" and bodies[0]["seed"] >= 0


def test_9_a_run_goes_on_by_content_not_by_position(tmp_path: Path, server: FaultServer) -> None:
    """datatrove 0.10.1: resumes by counting rows, so that a reordered input gets other rows' answers."""
    prompts = [new("ok") for _ in range(6)]
    first = {t.problem_id: t.answer_text for t in ask(tmp_path, server.url, prompts[:4])}
    turned = ask(tmp_path, server.url, prompts[::-1])
    assert all(t.answer_text == f"{t.problem_id} -> None" for t in turned)
    assert first.items() <= {t.problem_id: t.answer_text for t in turned}.items()
    assert [attempts(server, p) for p in prompts] == [1] * 6


def test_10_a_row_says_how_its_answer_ended(tmp_path: Path, server: FaultServer) -> None:
    """distilabel 1.5.3: no finish reason anywhere in the row, so that cut answers cannot be told, and no reasoning field."""
    wanted = recipe(tmp_path, server.url, ["counts 9 words", "counts 80 words"], "sample.max_tokens=10")
    run = build(wanted, runs=tmp_path / "runs")
    rows = pl.read_parquet(run / "traces" / "*.parquet").sort("completion_tokens")
    assert rows["finish"].to_list() == ["stop", "length"] and rows["reasoning"].is_not_null().all()
    verdicts = pl.read_parquet(run / "verdicts" / "*.parquet")
    assert verdicts["fault"].drop_nulls().to_list() == ["truncated"]  # it teaches nobody


def test_11_a_refusal_is_no_answer_and_one_bad_sample_spares_the_others(tmp_path: Path, server: FaultServer) -> None:
    """open-r1: the status is not looked at, a 429's body passes for an answer, and with it all samples of its row are dropped."""
    prompts = [new("ok"), new("429/ok"), new("500/ok"), new("400"), new("error-in-200/ok"), new("ok")]
    traces = ask(tmp_path, server.url, prompts)
    assert [t.finish for t in traces] == ["stop", "stop", "stop", "error", "stop", "stop"]
    assert traces[3].answer_text == "" and "answered 400" in (traces[3].error or "")
    assert len(read_journal(tmp_path)) == 5
    build(recipe(tmp_path, server.url, hard("eleven", 1, 1), "sample.per_problem=3"), runs=tmp_path / "runs")
    build(recipe(tmp_path, server.url, hard("eleven", 1, 1), "sample.per_problem=3", "system=Think."), runs=tmp_path / "runs")
    assert sent(server, "eleven") == 12  # another prompt for the same id is asked anew
