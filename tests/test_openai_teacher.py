"""The endpoint teacher against a real server that misbehaves: what every fault becomes, and what is never sent or stored."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from itertools import count

import pytest
from fault_server import FaultServer, serve_faults

from curation.errors import UserError
from curation.records import Trace
from factory.meter import Meter
from factory.sampling import Request, Sampling, effective, seed_of
from factory.teachers import chat_completion, openai, patience
from factory.teachers.wording import request_body

FAST = Sampling(max_tokens=64, retries=3, timeout_s=5)


@pytest.fixture(scope="module")
def server() -> Iterator[FaultServer]:
    with serve_faults() as running:
        yield running


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chat_completion, "BACK_OFF_S", 0.001)
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.delenv("FACTORY_API_KEY", raising=False)


numbers = count()


def request(plan: str, index: int = 0) -> Request:
    """A request whose prompt is new to the server, which counts attempts by prompt."""
    number = next(numbers)
    return Request(f"p{number}", index, ({"role": "user", "content": f"{plan} #{number}"},))


def ask(server: FaultServer, *plans: str, sampling: Sampling = FAST) -> list[Trace]:
    """Traces of the plans, in their order."""
    requests = [request(plan) for plan in plans]
    traces = openai.sample(requests, model="faulty", url=server.url, sampling=sampling)
    by_problem = {t.problem_id: t for t in traces}
    return [by_problem[r.problem_id] for r in requests]


def attempts(server: FaultServer, trace: Trace) -> int:
    return sum(seen.prompt.endswith(f"#{trace.problem_id[1:]}") for seen in server.seen)


def test_an_answer_becomes_a_trace(server: FaultServer) -> None:
    (trace,) = ask(server, "ok")
    assert (trace.finish, trace.error, trace.reasoning) == ("stop", None, None)
    assert trace.answer_text.endswith("-> None")
    assert (trace.prompt_tokens, trace.completion_tokens) == (7, 11)
    assert (trace.teacher, trace.endpoint, trace.revision) == ("faulty", f"{server.url}/v1", "")
    assert json.loads(trace.sampling) == {"max_tokens": 64}
    assert trace.seconds is not None and 0 < trace.seconds < 5


@pytest.mark.parametrize("plan", ["think", "reasoning_content", "reasoning", "no-reasoning"])
def test_thinking_is_told_from_the_answer(server: FaultServer, plan: str) -> None:
    (trace,) = ask(server, plan)
    assert (trace.reasoning, trace.answer_text, trace.finish) == ("I think.", "It is 2.", "stop")


def test_a_cut_thought_is_kept_as_reasoning_and_not_asked_for_again(server: FaultServer) -> None:
    (trace,) = ask(server, "length")
    assert (trace.reasoning, trace.answer_text, trace.finish) == ("and so on and on", "", "length")
    assert attempts(server, trace) == 1


@pytest.mark.parametrize("plan", ["empty", "null"])
def test_an_empty_answer_is_an_answer(server: FaultServer, plan: str) -> None:
    (trace,) = ask(server, plan)
    assert (trace.answer_text, trace.finish, trace.error) == ("", "stop", None)
    assert attempts(server, trace) == 1


@pytest.mark.parametrize("plan", ["miscounted", "uncounted"])
def test_a_server_that_miscounts_has_still_answered(server: FaultServer, plan: str) -> None:
    (trace,) = ask(server, plan)
    assert (trace.answer_text, trace.prompt_tokens, trace.completion_tokens) == ("It is 2.", None, None)


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize(("plan", "tokens"), [("uncounted-long", (22, 3762)), ("undercounted", (7, 3762)), ("400", (0, 0))])
def test_what_a_server_does_not_count_is_guessed_so_that_a_budget_holds(
    server: FaultServer, plan: str, tokens: tuple[int, int], stream: bool
) -> None:
    meter = Meter()
    sampling = FAST.model_copy(update={"stream": stream, "max_tokens": 4096})
    (trace,) = openai.sample([asked := request(plan)], model="m", url=server.url, sampling=sampling, meter=meter)
    guessed = 0 if tokens[0] in (0, 7) else round((len(asked.messages[0]["content"]) + 64) / 4)
    assert meter.completion_tokens == tokens[1] and meter.prompt_tokens == (guessed or tokens[0])
    assert trace.completion_tokens == {"uncounted-long": None, "undercounted": 1, "400": None}[plan]  # what it said stays


@pytest.mark.parametrize("stream", [True, False])
def test_a_server_that_answers_with_another_model_is_told_once_and_recorded(
    server: FaultServer, capsys: pytest.CaptureFixture[str], stream: bool
) -> None:
    traces = ask(server, "wrong-model", "wrong-model", "ok", "no-model", sampling=FAST.model_copy(update={"stream": stream}))
    assert [t.revision for t in traces] == ["a-cheaper-one", "a-cheaper-one", "", ""]
    assert {t.teacher for t in traces} == {"faulty"}
    (line,) = capsys.readouterr().err.splitlines()
    assert line == (
        f"{server.url}/v1 was asked for 'faulty' and answers as 'a-cheaper-one': the traces' revision says so"
    )  # fmt: skip


def test_half_an_emoji_can_be_stored(server: FaultServer) -> None:
    (trace,) = ask(server, "surrogate")
    assert trace.answer_text == "half an emoji: \ufffd, a whole one: \U0001f600"
    trace.answer_text.encode("utf-8")


@pytest.mark.parametrize(
    "plan",
    [
        "429/ok",
        "408/ok",
        "500/503/ok",
        "504/524/ok",
        "reset/ok",
        "cut/ok",
        "page/ok",
        "short/ok",
        "error-in-200/ok",
        "overloaded/ok",
    ],
)
def test_what_may_pass_is_tried_again(server: FaultServer, plan: str) -> None:
    (trace,) = ask(server, plan)
    assert (trace.finish, trace.error) == ("stop", None)
    assert attempts(server, trace) == plan.count("/") + 1


def test_silence_is_cut_short_and_tried_again(server: FaultServer) -> None:
    began = time.monotonic()
    (trace,) = ask(server, "hang/ok", sampling=FAST.model_copy(update={"timeout_s": 0.3}))
    assert trace.finish == "stop"
    assert 0.3 <= time.monotonic() - began < 2


def test_keep_alive_lines_are_no_silence_and_no_part_of_the_answer(server: FaultServer) -> None:
    # Eight lines 0.1 s apart: longer in all than the time-out, never silent for as long.
    (trace,) = ask(server, "keep-alive", sampling=FAST.model_copy(update={"timeout_s": 0.5}))
    assert trace.finish == "stop" and attempts(server, trace) == 1


@pytest.mark.parametrize("plan", ["429-after-1/ok", "429-date/ok"])
def test_retry_after_is_waited_for(server: FaultServer, plan: str) -> None:
    began = time.monotonic()
    (trace,) = ask(server, plan)
    assert trace.finish == "stop"
    assert 0.9 <= time.monotonic() - began < 3


def test_a_wait_until_tomorrow_is_not_waited_for(server: FaultServer) -> None:
    _, trace = ask(server, "ok", "429-after-86400/ok")
    assert trace.finish == "error" and attempts(server, trace) == 1


def test_a_prompt_the_server_refuses_is_a_trace_and_asked_once(server: FaultServer) -> None:
    for status in ("400", "413", "422"):
        (trace,) = ask(server, status)
        assert (trace.finish, trace.answer_text, trace.reasoning) == ("error", "", None)
        assert trace.error is not None and trace.error.startswith(f"answered {status}: ")
        assert attempts(server, trace) == 1


def test_after_an_answer_a_request_that_keeps_failing_is_a_trace(server: FaultServer) -> None:
    one_by_one = FAST.model_copy(update={"in_flight": 1})
    good, down, denied = ask(server, "ok", "500", "401", sampling=one_by_one)
    assert [t.finish for t in (good, down, denied)] == ["stop", "error", "error"]
    assert [attempts(server, t) for t in (good, down, denied)] == [1, 4, 1]
    assert down.error is not None and down.error.startswith("answered 500: ")


def test_a_filtered_answer_is_no_answer(server: FaultServer) -> None:
    (trace,) = ask(server, "filtered")
    assert (trace.finish, trace.error, trace.answer_text) == ("error", "finish_reason 'content_filter'", "It")


@pytest.mark.parametrize(
    ("plan", "wanted"),
    [
        ("429-quota", "see to its balance"),
        ("401", "set FACTORY_API_KEY"),
        ("403", "FACTORY_API_KEY"),
        ("404", "serves 'faulty'"),
        ("redirect", "URL"),
    ],
)
def test_an_endpoint_that_refuses_from_the_start_ends_it_at_once(server: FaultServer, plan: str, wanted: str) -> None:
    with pytest.raises(UserError, match=wanted) as caught:
        ask(server, *[plan] * 5)
    assert str(caught.value).startswith(f"the endpoint {server.url}/v1 answered ")


def test_an_endpoint_that_is_down_ends_it_at_once() -> None:
    began = time.monotonic()
    with pytest.raises(UserError, match=r"cannot be reached: .* start it or correct the URL"):
        list(openai.sample([request("ok")], model="m", url="http://127.0.0.1:9", sampling=FAST))
    assert time.monotonic() - began < 2


def test_an_endpoint_that_goes_down_for_good_ends_it_after_twenty(server: FaultServer) -> None:
    requests = [request("ok"), *(request("500") for _ in range(100))]
    once = Sampling(max_tokens=8, retries=0, in_flight=1)
    traces = []
    with pytest.raises(UserError, match=r"20 requests in a row .* answered 500: .* what was sampled is kept"):
        for trace in openai.sample(requests, model="m", url=server.url, sampling=once):
            traces.append(trace)
    assert [t.finish for t in traces] == ["stop"] + ["error"] * 20


@pytest.mark.parametrize("before", [[], ["ok"]])
def test_an_endpoint_that_refuses_for_too_long_ends_it(
    server: FaultServer, monkeypatch: pytest.MonkeyPatch, before: list[str]
) -> None:
    monkeypatch.setattr(patience, "LATER_S" if before else "FIRST_S", 0.3)
    endless = Sampling(max_tokens=8, retries=10_000)
    with pytest.raises(UserError, match=r"^\d+ attempts in \d s have all failed, the last at .*: answered 500: .* is kept$"):
        list(openai.sample([request(p) for p in [*before, *["500"] * 5]], model="m", url=server.url, sampling=endless))


def test_a_few_failures_or_an_answer_that_may_still_come_do_not_end_it() -> None:
    asked = patience.Patience()
    assert not any(asked.ends(now, now) for now in range(0, 300, 20))  # fifteen attempts in five minutes
    asked.heard()
    assert not any(asked.ends(now, now) for now in range(300, 900, 2))  # ten minutes beside answers that came before
    assert not asked.ends(902, 299) and asked.ends(904, 301)


def test_prompts_refused_one_by_one_never_end_it(server: FaultServer) -> None:
    traces = ask(server, "ok", *["400"] * 50)
    assert sum(t.finish == "error" for t in traces) == 50


def test_what_is_sent(server: FaultServer) -> None:
    sampling = Sampling(max_tokens=5, temperature=0.6, top_p=0.95, seed=100)
    requests = [request("ok", index) for index in (0, 3)]
    traces = list(openai.sample(requests, model="faulty", url=server.url, sampling=sampling))
    bodies = {s.prompt: s.body for s in server.seen}
    for r in requests:
        body = bodies[r.messages[0]["content"]]
        assert body == {
            "model": "faulty",
            "messages": list(r.messages),
            "temperature": 0.6,
            "top_p": 0.95,
            "max_tokens": 5,
            "seed": seed_of(sampling, r),
            "stream": True,
            "stream_options": {"include_usage": True},
        }
    assert {t.sampling for t in traces} == {'{"max_tokens":5,"seed":100,"temperature":0.6,"top_p":0.95}'}
    assert json.loads(traces[0].sampling) == effective(sampling)


def test_each_sample_has_a_seed_of_its_own() -> None:
    """One seed for all questions' first samples would be one stream of random numbers for all of them in vLLM."""
    seeded = [Sampling(max_tokens=5, seed=seed) for seed in (0, 1)]
    asked = [Request(f"p{n}", index, ({"role": "user", "content": "q"},)) for n in range(10) for index in range(10)]
    seeds = [seed_of(sampling, one) for sampling in seeded for one in asked]
    assert len(set(seeds)) == 200 and all(seed is not None and 0 <= seed < 2**31 for seed in seeds)
    assert seeds[:100] == [seed_of(seeded[0], one) for one in asked] and seed_of(Sampling(max_tokens=5), asked[0]) is None


def test_keys_come_from_the_environment_and_are_never_shown(server: FaultServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-second")
    ask(server, "ok")
    assert server.seen[-1].headers["Authorization"] == "Bearer sk-second"
    monkeypatch.setenv("FACTORY_API_KEY", "sk-first\n")
    ask(server, "ok")
    assert server.seen[-1].headers["Authorization"] == "Bearer sk-first"
    with pytest.raises(UserError) as caught:
        ask(server, "401")
    (trace,) = ask(server, "400")
    for text in (str(caught.value), trace.error or ""):
        assert "sk-" not in text and "***" in text


def test_credentials_in_the_url_are_used_and_never_shown(server: FaultServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FACTORY_API_KEY", "sk-other")
    url = server.url.replace("http://", "http://me:s%40cret@") + "/v1?api-version=3"
    (trace,) = openai.sample([request("ok")], model="m", url=url, sampling=FAST)
    assert trace.endpoint == f"{server.url}/v1"
    assert server.seen[-1].headers["Authorization"] == "Basic bWU6c0BjcmV0"  # me:s@cret
    assert server.seen[-1].query == "api-version=3"


@pytest.mark.parametrize(
    ("url", "public"),
    [
        ("http://localhost:8000", "http://localhost:8000/v1"),
        ("http://LOCALHOST:8000/v1/", "http://localhost:8000/v1"),
        ("https://key@api.deepseek.com/v1/chat/completions", "https://api.deepseek.com/v1"),
        ("https://openrouter.ai/api", "https://openrouter.ai/api/v1"),
        ("https://a.example/v1beta/openai/?key=secret#x", "https://a.example/v1beta/openai"),
        ("http://u:p@[::1]:8000", "http://[::1]:8000/v1"),
    ],
)
def test_the_public_url(url: str, public: str) -> None:
    assert openai.public_url(url) == public


@pytest.mark.parametrize("url", ["localhost:8000", "http://", "ftp://u:secret@x", "http://h:99999", "http://[::1"])
def test_a_url_that_is_none(url: str) -> None:
    with pytest.raises(UserError, match="is no URL") as caught:
        openai.public_url(url)
    assert "secret" not in str(caught.value)


def test_no_more_in_flight_than_asked_and_requests_are_pulled_lazily() -> None:
    pulled = 0

    def requests() -> Iterator[Request]:
        nonlocal pulled
        for _ in range(40):
            pulled += 1
            yield request("slow")

    with serve_faults() as server:
        few = Sampling(max_tokens=8, in_flight=4)
        traces = openai.sample(requests(), model="m", url=server.url, sampling=few)
        next(traces)
        assert pulled < 20
        assert len(list(traces)) == 39
        assert server.most_in_flight == [4]


def test_several_endpoints_share_the_work_and_a_trace_says_whose_it_is(server: FaultServer) -> None:
    with serve_faults() as other:
        few = Sampling(max_tokens=8, in_flight=4)
        requests = [request("slow") for _ in range(24)]
        traces = list(openai.sample(requests, model="m", url=f"{server.url},{other.url}", sampling=few))
        assert {t.endpoint for t in traces} == {f"{server.url}/v1", f"{other.url}/v1"}
        assert len(other.seen) >= 8


def test_what_fails_at_one_endpoint_is_tried_at_another_and_counted(server: FaultServer) -> None:
    meter = Meter()
    for down in ("http://127.0.0.1:9", server.url):
        with serve_faults() as other:
            requests = [request("ok" if down != server.url else "500/ok") for _ in range(4)]
            url = f"{down},{other.url}"
            traces = list(openai.sample(requests, model="m", url=url, sampling=FAST, meter=meter))
            assert [t.finish for t in traces] == ["stop"] * 4
            if down != server.url:
                assert {t.endpoint for t in traces} == {f"{other.url}/v1"}
    assert meter.failed_over >= 2


def test_when_every_endpoint_is_down_it_ends_at_once() -> None:
    with pytest.raises(UserError, match="start it or correct the URL"):
        list(openai.sample([request("ok")], model="m", url="http://127.0.0.1:9,http://127.0.0.1:10", sampling=FAST))


def test_deepseek_is_not_sent_what_it_ignores() -> None:
    assert openai.ignored("deepseek-reasoner", "https://api.deepseek.com/v1") >= {"temperature", "top_p", "seed"}
    assert "temperature" not in openai.ignored("deepseek-chat", "https://api.deepseek.com/v1")
    asked = Sampling(max_tokens=8, temperature=0.6, seed=3)
    said = effective(asked, openai.ignored("deepseek-reasoner", "https://api.deepseek.com/v1"))
    body = request_body(request("ok"), "deepseek-reasoner", asked, said)
    assert said == {"max_tokens": 8} and set(body) == {"model", "messages", "max_tokens"}


def test_traces_come_as_they_complete(server: FaultServer) -> None:
    slow, fast = request("slow"), request("ok")
    traces = openai.sample([slow, fast], model="m", url=server.url, sampling=FAST)
    assert [t.problem_id for t in traces] == [fast.problem_id, slow.problem_id]


def test_closing_early_cancels_what_is_in_flight_and_leaves_nothing(server: FaultServer) -> None:
    before = threading.active_count()
    requests = [request("ok"), *(request("hang") for _ in range(20)), *(request("500") for _ in range(20))]
    traces = openai.sample(requests, model="m", url=server.url, sampling=Sampling(max_tokens=8))
    assert next(traces).finish == "stop"
    began = time.monotonic()
    traces.close()  # type: ignore[attr-defined]
    assert time.monotonic() - began < 1
    assert threading.active_count() == before


def test_what_the_requests_raise_comes_through(server: FaultServer) -> None:
    def requests() -> Iterator[Request]:
        yield request("ok")
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        list(openai.sample(requests(), model="m", url=server.url, sampling=FAST))
