"""Budget forcing: what is asked of a model that says what a script has for it."""

from __future__ import annotations

from collections.abc import Iterator

from curation.records import Trace
from factory.forcing import Forcing, force
from factory.sampling import Answer, Identity, Request, answered


class Script:
    """A model that says what is written for it, piece by piece, and what it was asked to go on from."""

    def __init__(self, *pieces: tuple[str, str] | tuple[str, str, int]) -> None:
        self.pieces, self.seen = list(pieces), list[tuple[str, int | None]]()

    def ask(self, due: list[Request]) -> Iterator[Trace]:
        for request in due:
            self.seen.append((request.prefix, request.max_tokens))
            text, finish, *tokens = self.pieces.pop(0)
            identity = Identity(model="m", revision="", endpoint="", sampling={})
            yield answered(request, identity, Answer(text, finish, completion_tokens=tokens[0] if tokens else 10))  # type: ignore[arg-type]


def forced(how: Forcing, *pieces: tuple[str, str] | tuple[str, str, int]) -> tuple[Trace, list[tuple[str, int | None]]]:
    script = Script(*pieces)
    (trace,) = force([Request("p", 0, ({"role": "user", "content": "?"},))], script.ask, how)
    assert not script.pieces
    return trace, script.seen


def test_a_thought_that_ends_early_is_sent_on_with_wait() -> None:
    first = ("<think>\none and one is 3\n</think>\n\n3", "stop")
    trace, seen = forced(Forcing(1, None, 100), first, (", no: 2\n</think>\n\n2", "stop"))
    assert seen == [("", 100), ("<think>\none and one is 3\nWait", 93)]  # 24 of 36 characters stay: 7 tokens
    assert (trace.reasoning, trace.answer_text) == ("one and one is 3\nWait, no: 2", "2")
    assert (trace.completion_tokens, trace.finish) == (20, "stop")


def test_the_end_of_the_thinking_is_forced_at_its_budget() -> None:
    trace, seen = forced(Forcing(0, 10, 40), ("<think>\nlet me see, and then", "length"), ("so 7", "stop"))
    assert seen == [("", 10), ("<think>\nlet me see, and then\n</think>\n\n", 30)]
    assert (trace.reasoning, trace.answer_text, trace.finish) == ("let me see, and then", "so 7", "stop")
    waited, seen = forced(Forcing(5, 15, 40), ("<think>\na\n</think>\n\n1", "stop"), ("b", "length"), ("2", "stop"))
    assert [prefix for prefix, _ in seen][1:] == ["<think>\na\nWait", "<think>\na\nWaitb\n</think>\n\n"]
    assert (waited.reasoning, waited.answer_text) == ("a\nWaitb", "2")


def test_what_has_no_thought_or_failed_is_left_as_it_is() -> None:
    plain, seen = forced(Forcing(2, None, 100), ("just 4", "stop"))
    assert (plain.reasoning, plain.answer_text, len(seen)) == (None, "just 4", 1)
    cut, seen = forced(Forcing(2, None, 10), ("<think>\nand", "length"))
    assert (cut.finish, len(seen)) == ("length", 1)


CLOSED = "<think>\nso 3\n</think>\n\nthe answer is long"


def test_an_answer_that_reaches_the_budget_of_the_thinking_goes_on() -> None:
    first = (f"{CLOSED}, and", "length", 500)
    trace, seen = forced(Forcing(0, 500, 2_000), first, (" ends here", "stop", 40))
    assert seen == [("", 500), (f"{CLOSED}, and", 1_500)]
    assert (trace.reasoning, trace.answer_text, trace.finish) == ("so 3", "the answer is long, and ends here", "stop")
    assert trace.completion_tokens == 540
    cut, seen = forced(Forcing(0, 500, 2_000), first, (" goes on", "length", 1_500))
    assert (cut.finish, cut.completion_tokens, len(seen)) == ("length", 2_000, 2)
    server, seen = forced(Forcing(0, 500, 2_000), first, ("", "length", 0))  # a limit of the server's own: not asked for ever
    assert (server.finish, len(seen)) == ("length", 2)


def test_an_answer_without_a_thought_goes_on_too() -> None:
    trace, seen = forced(Forcing(1, 10, 40), ("it is", "length"), (" 4", "stop"))
    assert (seen, trace.reasoning, trace.answer_text) == ([("", 10), ("it is", 30)], None, "it is 4")


def test_an_answer_after_a_wait_goes_on_too() -> None:
    again = (" no, 2\n</think>\n\nthe answer", "length", 91)
    trace, seen = forced(Forcing(1, 100, 400), ("<think>\n3\n</think>\n\n" + "x" * 80, "length", 100), again, (" is 2", "stop", 5))
    assert seen == [("", 100), ("<think>\n3\nWait", 91), ("<think>\n3\nWait no, 2\n</think>\n\nthe answer", 300)]
    assert (trace.reasoning, trace.answer_text) == ("3\nWait no, 2", "the answer is 2")
    assert (trace.completion_tokens, trace.finish) == (196, "stop")


def test_an_answer_that_is_thrown_away_takes_nothing_from_the_budget() -> None:
    thought = "<think>\n" + "a" * 92
    first = (f"{thought}\n</think>\n\n" + "b" * 289, "length", 400)  # a quarter of it is the thought
    trace, seen = forced(Forcing(1, None, 400), first, ("c\n</think>\n\n2", "stop", 10))
    assert seen == [("", 400), (f"{thought}\nWait", 300)]
    assert (trace.answer_text, trace.finish, trace.completion_tokens) == ("2", "stop", 410)


def test_the_thinking_has_no_more_than_the_whole() -> None:
    _, seen = forced(Forcing(0, 90, 40), ("<think>\na", "length", 40))
    assert seen == [("", 40)]
