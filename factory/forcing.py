"""Budget forcing: how long a model thinks is decided for it, as in s1 (arXiv 2501.19393, section 3.1; simplescaling/s1 at 77272c6).

At least: a thought that ends is not ended; "Wait" is put behind it and the model goes on, a given number of times. At most: where
the thought has its budget of tokens, its end is written for the model, which then answers. Each piece is a request of its own that
goes on from a prefix, so it is kept and paid for once like every sample. What was answered before a "Wait" is thrown away, where
s1 stops at the end of the thinking: the same text for some more tokens, since not every server knows a stop at `</think>`. As in
s1, the budgets are of the text that stays: an answer that is thrown away takes nothing from them, and one that reaches the end of
the thinking's budget, because the thought ended before it, goes on (s1 gives the answer a limit of its own, 32,768).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from curation.records import Trace, trace
from curation.thinking import split_thinking
from factory.continuing import said, text_of
from factory.sampling import Request

WAIT = "Wait"
END = "\n</think>\n\n"


class Forcing(NamedTuple):
    """What is forced."""

    waits: int  # times that "Wait" is appended where the thinking ends early
    thinking_tokens: int | None  # after which its end is written; None: no limit but max_tokens
    max_tokens: int  # of the whole answer, thinking included


class Forced(NamedTuple):
    """An answer while it is made: what has been asked for, and what came."""

    request: Request
    text: str
    sampled: int  # tokens so far, those thrown away too
    held: int  # tokens of `text`: what counts against the budgets
    waits: int
    last: Trace | None
    over: bool


def force(requests: Iterable[Request], ask: Callable[[list[Request]], Iterator[Trace]], how: Forcing) -> Iterator[Trace]:
    """The trace of each request with its thinking forced, in their order; `ask` gives traces in any order, failed ones too.

    `completion_tokens` counts everything that was sampled.
    """
    going = [_first(request, how) for request in requests]
    while due := [f.request for f in going if not f.over]:
        came = {(t.problem_id, t.index): t for t in ask(due)}
        going = [f if f.over else _next(f, came[f.request.problem_id, f.request.index], how) for f in going]
    return (_whole(f) for f in going)


def _first(request: Request, how: Forcing) -> Forced:
    return _asked(Forced(request, request.prefix, 0, 0, 0, None, False), request.prefix, _thinking(how))


def _thinking(how: Forcing) -> int:
    return min(how.thinking_tokens or how.max_tokens, how.max_tokens)


def _next(forced: Forced, came: Trace, how: Forcing) -> Forced:
    """What follows after a piece: the answer is whole, or goes on from another prefix."""
    text = forced.text + said(came, closed="</think>" in forced.text) if forced.text else text_of([came])
    fresh = came.completion_tokens or 0
    done = Forced(forced.request, text, forced.sampled + fresh, forced.held + fresh, forced.waits, came, True)
    if came.finish == "error":
        return done
    if forced.waits < how.waits and "</think>" not in forced.text and (waiting := _waiting(done, how)):
        return waiting
    if came.finish != "length" or done.held >= how.max_tokens:
        return done
    if not split_thinking(text).closed:
        return _asked(done._replace(waits=how.waits), text.rstrip() + END, how.max_tokens) if how.thinking_tokens else done
    # Cut by the thinking's budget, not by its own. Where all that was left had been asked for, it was cut by the server.
    asked_all = forced.request.max_tokens == how.max_tokens - forced.held
    return done if asked_all else _asked(done, text, how.max_tokens)


def _waiting(done: Forced, how: Forcing) -> Forced | None:
    """The thought without its end, sent on; None where there is none that ended, or it has had its budget."""
    thought = split_thinking(done.text)
    if thought.reasoning is None or not thought.closed:
        return None
    kept = f"<think>\n{thought.reasoning}"
    held = _share(done.held, kept, done.text)
    if held >= _thinking(how):
        return None
    return _asked(done._replace(held=held, waits=done.waits + 1), f"{kept}\n{WAIT}", _thinking(how))


def _share(tokens: int, part: str, text: str) -> int:
    """Tokens of the first part of a text of so many: by its characters, since a server counts no parts."""
    return math.ceil(tokens * len(part) / len(text))


def _asked(forced: Forced, prefix: str, up_to: int) -> Forced:
    """The same, going on from `prefix` until the text has `up_to` tokens."""
    asked = forced.request
    request = Request(asked.problem_id, asked.index, asked.messages, prefix, up_to - forced.held)
    return forced._replace(request=request, text=prefix, over=False)


def _whole(forced: Forced) -> Trace:
    last, thought = forced.last, split_thinking(forced.text)
    assert last is not None
    values = {name: getattr(last, name) for name in last.__dataclass_fields__ if name != "id"}
    whole = {"reasoning": thought.reasoning, "answer_text": thought.answer, "completion_tokens": forced.sampled}
    return trace(**(values | whole))
