"""Answers in pieces: put together whatever way they are cut, and typed where they break."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator

import pytest
from fault_server import FaultServer, _chunks, completion, serve_faults

from curation.records import Trace
from factory.meter import Meter
from factory.sampling import Answer, Request, Sampling
from factory.teachers import chat_completion, openai
from factory.teachers.chat_completion import Failure, streamed_answer
from factory.teachers.streamed import LONGEST_LINE, Pieces

WHOLE = completion("It is 2. \u2028 ω \U0001f600", reasoning_content="I think.\nA lot.")
STREAM = b"".join(_chunks({"messages": [], "stream_options": {"include_usage": True}}, WHOLE))


@pytest.fixture(scope="module")
def server() -> Iterator[FaultServer]:
    with serve_faults() as running:
        yield running


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chat_completion, "BACK_OFF_S", 0.001)


def put_together(*data: bytes) -> Answer | Failure:
    pieces = Pieces()
    for part in data:
        pieces.feed(part)
    return streamed_answer(pieces, 0.5, "")


@pytest.mark.parametrize("size", [1, 2, 3, 7, 64, 10_000])
def test_pieces_cut_anywhere_make_the_same_answer(size: int) -> None:
    answer = put_together(*(STREAM[at : at + size] for at in range(0, len(STREAM), size)))
    assert answer == Answer("It is 2. \u2028 ω \U0001f600", "stop", "I think.\nA lot.", 7, 11, 0.5)


def test_comments_blank_lines_and_other_fields_are_passed_over() -> None:
    noisy = STREAM.replace(b"data: ", b": keep-alive\r\n\r\n\nevent: message\nid: 3\ndata:").replace(b"\n\n", b"\r\n\r\n")
    assert put_together(noisy) == put_together(STREAM)


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (STREAM.partition(b"finish_reason")[0], "the stream was cut after 29 characters"),
        (b"", "the stream was cut after 0 characters"),
        (b'data: {"error": {"message": "no memory"}}\n', "broke after 0 characters: .*no memory"),
        (b"data: [1, 2\n", "an event that is none"),
        (b"data: [1, 2]\n", "an event that is none"),
        (b'data: {"choices": 7}\n', "an event that is none"),
        (b"data: " + b"[" * 100_000 + b"\n", "an event that is none"),
        (b"x" * (LONGEST_LINE + 1), "a line of more than 16 MiB"),
    ],
)
def test_what_breaks_is_typed_and_may_pass(data: bytes, why: str) -> None:
    failure = put_together(data)
    assert isinstance(failure, Failure) and failure.kind == "again"
    assert len(failure.why) < 400
    assert re.search(why, failure.why)


def test_half_an_emoji_can_be_stored() -> None:
    answer = put_together(b'data: {"choices": [{"delta": {"content": "\\ud83d"}, "finish_reason": "stop"}]}\n')
    assert isinstance(answer, Answer) and answer.text == "\ufffd"


def ask(server: FaultServer, *plans: str, meter: Meter | None = None, **values: object) -> list[Trace]:
    requests = [Request(f"p{n}", 0, ({"role": "user", "content": f"{plan} #{time.monotonic()}"},)) for n, plan in enumerate(plans)]
    sampling = Sampling.model_validate({"max_tokens": 64, "retries": 3, "timeout_s": 5, **values})
    return list(openai.sample(requests, model="m", url=server.url, sampling=sampling, meter=meter))


@pytest.mark.parametrize("plan", ["stream-cut/ok", "stream-error/ok", "stream-garbage/ok", "stream-reset/ok"])
def test_a_broken_stream_is_tried_again_and_what_it_brought_is_on_the_bill(server: FaultServer, plan: str) -> None:
    meter = Meter()
    (trace,) = ask(server, plan, meter=meter)
    assert trace.finish == "stop" and trace.answer_text.endswith("-> None")
    assert meter.completion_tokens == 11 + 3 and meter.retries == 1
    assert meter.lost_tokens == meter.prompt_tokens - 7 + 3 > 3  # its prompt was read, too


@pytest.mark.parametrize("plan", ["comments", "drip"])
def test_silence_is_counted_not_length(server: FaultServer, plan: str) -> None:
    (trace,) = ask(server, plan, timeout_s=0.5)
    assert trace.finish == "stop" and trace.seconds is not None and trace.seconds > 0.7


def test_a_server_that_refuses_to_stream_is_asked_without(server: FaultServer) -> None:
    traces = ask(server, *["no-stream"] * 3, in_flight=1)
    assert [t.finish for t in traces] == ["stop"] * 3
    sent = ["stream" in seen.body for seen in server.seen if seen.fault == "no-stream"]
    assert sent == [True, False, False, False]


def test_nothing_is_streamed_where_the_recipe_says_so(server: FaultServer) -> None:
    (trace,) = ask(server, "ok", stream=False)
    assert trace.finish == "stop" and "stream" not in server.seen[-1].body


@pytest.mark.parametrize("stream", [True, False])
def test_raw_completions_send_the_rendered_prompt(server: FaultServer, stream: bool) -> None:
    (trace,) = ask(server, "ok", api="completions", stream=stream)
    body = server.seen[-1].body
    assert trace.answer_text.endswith("-> None") and body["prompt"].startswith("ok #") and "messages" not in body
    assert json.loads(trace.sampling) == {"api": "completions", "max_tokens": 64}
