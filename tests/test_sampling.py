"""The loop over the journal: nothing paid for is lost, asked twice, or given for another question."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
from fault_server import FaultServer, serve_faults

from curation.errors import UserError
from curation.records import Trace, trace
from factory import journal
from factory.sampling import Answer, Identity, Request, Sampling, answered, effective, sample
from factory.teachers import openai

SAMPLING = Sampling(max_tokens=64, retries=0)
IDENTITY = Identity(model="m", revision="r", endpoint="http://h/v1", sampling=effective(SAMPLING))


def request(prompt: str, index: int = 0, problem_id: str = "p") -> Request:
    return Request(problem_id, index, ({"role": "user", "content": prompt},))


class Teacher:
    """Answers with the prompt itself, or fails where the prompt says so, and remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def __call__(self, requests: Iterable[Request]) -> Iterator[Trace]:
        for r in requests:
            prompt = r.messages[-1]["content"]
            self.asked.append(prompt)
            failed = prompt.startswith("fail")
            answer = Answer("", "error", error="answered 500: no") if failed else Answer(f"<think>\nω\n</think>{prompt}", "stop")
            yield answered(r, IDENTITY, answer)


def run(folder: Path, requests: Iterable[Request], teacher: Teacher, identity: Identity = IDENTITY) -> list[Trace]:
    return list(sample(requests, ask=teacher, identity=identity, journal_folder=folder))


def test_a_second_run_asks_for_nothing_and_gives_the_same(tmp_path: Path) -> None:
    teacher = Teacher()
    requests = [request(f"q{n}", index, f"p{n}") for n in range(5) for index in range(2)]
    first = run(tmp_path, requests, teacher)
    assert len(teacher.asked) == 10
    assert run(tmp_path, requests, teacher) == first
    assert len(teacher.asked) == 10
    assert len(list(tmp_path.glob("*.jsonl"))) == 1  # and a run that asks nothing leaves no file


def test_only_what_is_missing_is_asked_for(tmp_path: Path) -> None:
    run(tmp_path, [request("a"), request("b", problem_id="p2")], Teacher())
    later = Teacher()
    traces = run(tmp_path, [request("b", problem_id="p2"), request("c", problem_id="p3")], later)
    assert later.asked == ["c"]
    assert [t.answer_text for t in traces] == ["b", "c"]


def test_the_key_is_not_of_how_a_sample_is_fetched() -> None:
    patient = SAMPLING.model_copy(update={"timeout_s": 1, "in_flight": 2, "retries": 3})
    assert effective(patient) == effective(SAMPLING) == {"max_tokens": 64}


def test_failed_samples_are_written_but_asked_for_again(tmp_path: Path) -> None:
    teacher = Teacher()
    assert [t.finish for t in run(tmp_path, [request("fail")], teacher)] == ["error"]
    assert journal.read_journal(tmp_path) == {}
    (path,) = tmp_path.glob("*.jsonl")
    assert json.loads(path.read_text())["trace"]["error"] == "answered 500: no"
    run(tmp_path, [request("fail")], teacher)
    assert teacher.asked == ["fail", "fail"]


def test_the_same_question_under_two_ids_is_bought_once(tmp_path: Path) -> None:
    teacher = Teacher()
    together = run(tmp_path, [request("a", problem_id="p1"), request("a", problem_id="p2")], teacher)
    later = run(tmp_path, [request("a", problem_id="p3")], teacher)
    assert teacher.asked == ["a"]
    assert [t.problem_id for t in together + later] == ["p1", "p2", "p3"]
    for found in together + later:
        values = {k: getattr(found, k) for k in Trace.__dataclass_fields__ if k != "id"}
        assert trace(**values).id == found.id


def test_two_questions_under_one_id_are_a_mistake(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="two different requests for sample 0 of problem p"):
        run(tmp_path, [request("a"), request("b")], Teacher())


def test_a_sample_is_in_the_journal_before_it_is_given(tmp_path: Path) -> None:
    traces = sample([request("a"), request("b", 1)], ask=Teacher(), identity=IDENTITY, journal_folder=tmp_path)
    assert list(journal.read_journal(tmp_path).values()) == []
    given = next(traces)
    assert list(journal.read_journal(tmp_path).values()) == [given]


@pytest.mark.parametrize("cut", range(1, 60))
def test_a_torn_last_line_is_left_out_counted_and_bought_again(tmp_path: Path, caplog: pytest.LogCaptureFixture, cut: int) -> None:
    requests = [request("a"), request("b", 1), request("ω", 2)]
    first = run(tmp_path, requests, Teacher())
    (path,) = tmp_path.glob("*.jsonl")
    path.write_bytes(path.read_bytes()[: -cut * 4])
    with caplog.at_level(logging.WARNING):
        assert len(journal.read_journal(tmp_path)) == 2
    assert "1 torn line(s)" in caplog.text
    again = Teacher()
    assert sorted(t.id for t in run(tmp_path, requests, again)) == sorted(t.id for t in first)
    assert again.asked == ["ω"]


def test_twenty_first_failures_end_it(tmp_path: Path) -> None:
    teacher = Teacher()
    failing = [request(f"fail{n}", n) for n in range(50)]
    with pytest.raises(UserError, match="the first 20 requests to m all failed, one of them with: answered 500: no"):
        run(tmp_path, failing, teacher)
    assert len(teacher.asked) == 20


def test_failures_beside_a_success_do_not_end_it(tmp_path: Path) -> None:
    failing = [request(f"fail{n}", n) for n in range(50)]
    good = request("good", 99)
    assert len(run(tmp_path, [*failing[:19], good, *failing[19:]], Teacher())) == 51
    # and when only those are left, a rerun tries them and ends as the first did
    assert len(run(tmp_path, [good, *failing], Teacher())) == 51


@pytest.fixture(scope="module")
def server() -> Iterator[FaultServer]:
    with serve_faults() as running:
        yield running


@pytest.mark.slow
def test_killed_again_and_again_it_ends_like_an_undisturbed_run(tmp_path: Path, server: FaultServer) -> None:
    program = """
        import sys
        from pathlib import Path
        from factory.teachers import openai
        from factory.teachers.openai import public_url
        from factory.sampling import Request, Sampling, effective, sample
        url, folder = sys.argv[1], Path(sys.argv[2])
        sampling = Sampling(max_tokens=64, in_flight=4)
        identity = {"model": "m", "revision": "", "endpoint": public_url(url), "sampling": effective(sampling)}
        requests = [Request(f"p{n}", 0, ({"role": "user", "content": f"slow {sys.argv[3]} {n}"},)) for n in range(60)]
        ask = lambda missing: openai.sample(missing, model="m", url=url, sampling=sampling)
        for t in sample(requests, ask=ask, identity=identity, journal_folder=folder):
            print(t.problem_id, flush=True)
        print("whole", flush=True)
    """
    command = [sys.executable, "-c", textwrap.dedent(program), server.url, str(tmp_path), "killed"]
    kills = 0
    while True:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        with process, process.stdout:
            lines = 0
            for line in process.stdout:
                lines += not line.startswith("whole")
                if lines == 10 * (kills + 1) and kills < 4:
                    os.kill(process.pid, signal.SIGKILL)
                    kills += 1
                    break
            else:
                break
    assert kills == 4
    texts = sorted(t.answer_text for t in journal.read_journal(tmp_path).values())
    assert texts == sorted(f"slow killed {n} -> None" for n in range(60))
    sent = sum("killed" in seen.prompt for seen in server.seen)
    # Lost at each kill: those in flight, and what is answered and not yet written, since no `keep` is given that would write it
    # before the next request is sent. On a busy machine that was one.
    assert 60 <= sent <= 60 + 4 * (4 + 4)


def test_closing_the_loop_stops_the_teacher(tmp_path: Path, server: FaultServer) -> None:
    sampling = Sampling(max_tokens=64)

    def ask(requests: Iterable[Request]) -> Iterator[Trace]:
        return openai.sample(requests, model="m", url=server.url, sampling=sampling)

    requests = [request("ok closing"), *(request(f"hang {n}", n + 1) for n in range(10))]
    traces = sample(requests, ask=ask, identity=IDENTITY, journal_folder=tmp_path)
    kept = next(traces)
    traces.close()  # type: ignore[attr-defined]
    assert list(journal.read_journal(tmp_path).values()) == [kept]
