"""Answers that were cut at their token limit, and how they go on: from where they stopped, never from zero."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from typing import NamedTuple

from curation.records import Trace, canonical_json, trace
from curation.thinking import join_thinking, split_thinking
from factory.sampling import Request

OPENING = "<think>"


class OnCut(NamedTuple):
    """What becomes of a cut answer: it goes on by `max_tokens` at a time until it ends or has `total_tokens`."""

    max_tokens: int
    total_tokens: int


def next_part(request: Request, parts: Sequence[Trace], on_cut: OnCut | None) -> Request | None:
    """The request that goes on where the last of `parts` was cut; None where it ended, or may not go on."""
    if on_cut is None or parts[-1].finish != "length":
        return None
    left = on_cut.total_tokens - sum(p.completion_tokens or on_cut.max_tokens for p in parts)
    prefix = text_of(parts, request.messages[-1]["content"])
    if left < 1 or not prefix:  # a server that gives nothing would be asked for ever
        return None
    if len(parts) > 1 and not said(parts[-1]):
        return None
    most = min(left, on_cut.max_tokens)
    return dataclasses.replace(request, prefix=prefix, max_tokens=most)


def text_of(parts: Sequence[Trace], prompt: str = "") -> str:
    """What the model has written so far, thinking tags included, as it would have to be put before its next token.

    A thought that the prompt has opened (raw completions of DeepSeek-R1's template) is not opened again.
    """
    first, *others = parts
    if first.reasoning is not None and not first.answer_text:
        text = f"{OPENING}\n{first.reasoning}"
    else:
        text = join_thinking(first.reasoning, first.answer_text)
    for part in others:
        text += said(part, closed="</think>" in text)
    return text.removeprefix(f"{OPENING}\n") if prompt.rstrip().endswith(OPENING) else text


def said(part: Trace, closed: bool = False) -> str:
    """The text of a continuation. A server that tells thinking apart calls what follows a closed thought thinking too."""
    if part.reasoning is None:
        return part.answer_text
    if closed or not part.answer_text:
        return part.reasoning + part.answer_text
    return f"{part.reasoning}\n</think>\n\n{part.answer_text}"


def joined(parts: Sequence[Trace], on_cut: OnCut | None) -> Trace:
    """One trace of a first part and what went on from it; its tokens and seconds are those of all parts."""
    first, last = parts[0], parts[-1]
    if len(parts) == 1:
        return first
    thought = split_thinking(text_of(parts))
    total = on_cut.total_tokens if on_cut else None
    values = {name: getattr(first, name) for name in first.__dataclass_fields__ if name != "id"}
    return trace(
        **values
        | {
            "sampling": canonical_json({**_json(first.sampling), "total_tokens": total}),
            "reasoning": thought.reasoning,
            "answer_text": thought.answer,
            "finish": last.finish,
            "error": last.error,
            "prompt_tokens": sum(p.prompt_tokens or 0 for p in parts),  # each part has read those before it
            "completion_tokens": sum(p.completion_tokens or 0 for p in parts),
            "seconds": sum(p.seconds or 0.0 for p in parts),
        }
    )


def _json(text: str) -> dict[str, object]:
    value: dict[str, object] = json.loads(text)
    return value
