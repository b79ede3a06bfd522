"""An answer that arrives in pieces: server-sent events, as OpenAI-compatible endpoints write them."""

from __future__ import annotations

import json
from typing import Any

LONGEST_LINE = 16 << 20  # bytes; a server that sends more without a line's end sends no events


class Pieces:
    """What has arrived of one answer; `feed` takes the bytes as they come, cut anywhere.

    Blank lines and comments (`: keep-alive`, DeepSeek and OpenRouter) are passed over: they are no part of an answer, but as
    bytes they end a silence.
    """

    def __init__(self) -> None:
        self.text: list[str] = []
        self.reasoning: list[str] = []
        self.finish: str | None = None
        self.usage: Any = None
        self.model: Any = None  # as the server calls what answers
        self.problem: str | None = None  # what the server says went wrong, or what of the stream is none
        self.count = 0  # pieces of text: at least that many tokens have been paid for
        self._rest = b""

    def feed(self, data: bytes) -> None:
        lines = (self._rest + data).split(b"\n")
        self._rest = lines.pop()
        if len(self._rest) > LONGEST_LINE:
            self.problem, self._rest = f"a line of more than {LONGEST_LINE >> 20} MiB", b""
        for line in lines:
            if line.startswith(b"data:"):
                self._event(line[5:].strip())

    def _event(self, data: bytes) -> None:
        if not data or data == b"[DONE]":
            return
        try:
            event = json.loads(data)
            if event.get("error"):
                self.problem = json.dumps(event["error"], ensure_ascii=False)
            if event.get("model"):
                self.model = event["model"]
            if event.get("usage"):
                self.usage = event["usage"]
            if event.get("choices"):
                self._choice(event["choices"][0])
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            self.problem = f"an event that is none: {data[:200].decode('utf-8', 'replace')}"

    def _choice(self, choice: dict[str, Any]) -> None:
        delta = choice.get("delta") or choice  # the completions API has the text in the choice itself
        said = delta.get("content") or delta.get("text")
        thought = delta.get("reasoning_content") or delta.get("reasoning")
        if said:
            self.text.append(str(said))
        if thought:
            self.reasoning.append(str(thought))
        self.count += bool(said or thought)
        if choice.get("finish_reason"):
            self.finish = str(choice["finish_reason"])
