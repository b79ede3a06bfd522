"""Budget forcing: how long a model thinks is decided for it, as in s1 (arXiv 2501.19393, section 3.1; simplescaling/s1 at 77272c6).

At least: a thought that ends is not ended; "Wait" is put behind it and the model goes on, a given number of times. At most: where
the thought has its budget of tokens, its end is written for the model, which then answers. Each piece is a request of its own that
goes on from a prefix, so it is kept and paid for once like every sample. What was answered before a "Wait" is thrown away, where
s1 stops at the end of the thinking: the same text for some more tokens, since not every server knows a stop at `</think>`.
"""

from __future__ import annotations

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
    tokens: int  # sampled so far, those thrown away too
    waits: int
    last: Trace | None
    over: bool


def force(requests: Iterable[Request], ask: Callable[[list[Request]], Iterator[Trace]], how: Forcing) -> Iterator[Trace]:
    """The trace of each request with its thinking forced, in their order; `ask` gives traces in any order, failed ones too.

    `completion_tokens` counts everything that was sampled.
    """
    first = how.thinking_tokens or how.max_tokens
    going = [Forced(Request(r.problem_id, r.index, r.messages, r.prefix, first), r.prefix, 0, 0, None, False) for r in requests]
    while due := [f.request for f in going if not f.over]:
        came = {(t.problem_id, t.index): t for t in ask(due)}
        going = [f if f.over else _next(f, came[f.request.problem_id, f.request.index], how) for f in going]
    return (_whole(f) for f in going)


def _next(forced: Forced, came: Trace, how: Forcing) -> Forced:
    """What follows after a piece: the answer is whole, or goes on from another prefix."""
    text = forced.text + said(came, closed="</think>" in forced.text) if forced.text else text_of([came])
    tokens = forced.tokens + (came.completion_tokens or 0)
    done = Forced(forced.request, text, tokens, forced.waits, came, True)
    thought = split_thinking(text)
    if came.finish == "error" or thought.reasoning is None:
        return done
    budget = how.thinking_tokens or how.max_tokens
    if thought.closed and forced.waits < how.waits and tokens < budget and "</think>" not in forced.text:
        prefix = f"<think>\n{thought.reasoning}\n{WAIT}"
        return _asked(done, prefix, budget - tokens, waits=forced.waits + 1)
    if not thought.closed and came.finish == "length" and how.thinking_tokens and tokens < how.max_tokens:
        return _asked(done, text.rstrip() + END, how.max_tokens - tokens, waits=how.waits)
    return done


def _asked(forced: Forced, prefix: str, max_tokens: int, *, waits: int) -> Forced:
    request = Request(forced.request.problem_id, forced.request.index, forced.request.messages, prefix, max_tokens)
    return forced._replace(request=request, text=prefix, waits=waits, over=False)


def _whole(forced: Forced) -> Trace:
    last, thought = forced.last, split_thinking(forced.text)
    assert last is not None
    values = {name: getattr(last, name) for name in last.__dataclass_fields__ if name != "id"}
    whole = {"reasoning": thought.reasoning, "answer_text": thought.answer, "completion_tokens": forced.tokens}
    return trace(**(values | whole))
