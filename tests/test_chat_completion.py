"""What comes of one request, where no server is needed to tell."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
from fault_server import completion

from factory.sampling import Answer
from factory.teachers import chat_completion
from factory.teachers.chat_completion import Failure, read_answer


def test_retry_after_is_a_number_or_a_date() -> None:
    now = datetime(2025, 1, 1, tzinfo=UTC)
    assert chat_completion.retry_after_s(None, now) is None
    assert chat_completion.retry_after_s("3", now) == 3
    assert chat_completion.retry_after_s(" 0.5 ", now) == 0.5
    assert chat_completion.retry_after_s("Wed, 01 Jan 2025 00:01:00 GMT", now) == 60
    assert chat_completion.retry_after_s("Wed, 01 Jan 2025 00:01:00 -0000", now) == 60
    assert chat_completion.retry_after_s("Tue, 31 Dec 2024 23:00:00 GMT", now) == 0
    for neither in ("soon", "", "-3", "nan", "1e9", "١"):
        assert chat_completion.retry_after_s(neither, now) is None


def test_back_off_doubles_jitters_and_comes_after_what_was_asked() -> None:
    for attempts in range(20):
        most = min(chat_completion.LONGEST_BACK_OFF_S, chat_completion.BACK_OFF_S * 2**attempts)
        assert 0 <= chat_completion.back_off_s(attempts, None) <= most
        assert 7 <= chat_completion.back_off_s(attempts, 7) <= 7 + most


def test_blank_lines_before_the_answer_are_no_part_of_it() -> None:
    body = b"\n\r\n \n" + json.dumps(completion("It is 2.")).encode()
    assert read_answer(body, 0.5, "") == Answer("It is 2.", "stop", None, 7, 11, 0.5)


@pytest.mark.parametrize(
    ("reason", "finish"),
    [("stop", "stop"), ("eos_token", "stop"), ("length", "length"), ("content_filter", "error"), (None, "error")],
)
def test_finish_reasons(reason: str | None, finish: str) -> None:
    answer = read_answer(json.dumps(completion("x", finish=reason)).encode(), 0.5, "")
    assert isinstance(answer, Answer)
    assert (answer.text, answer.finish, answer.error is None) == ("x", finish, finish != "error")


@pytest.mark.parametrize(
    "body", [b"", b"\n\n", b"null", b"[]", b'{"choices": []}', b'{"choices": [{}]}', b"\xff\xfe", b"[" * 100_000]
)
def test_what_is_no_completion_may_pass_and_is_quoted_in_short(body: bytes) -> None:
    failure = read_answer(body, 0.5, "")
    assert isinstance(failure, Failure)
    assert failure.kind == "again" and len(failure.why) < 400
