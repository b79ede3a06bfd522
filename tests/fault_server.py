"""An OpenAI-compatible endpoint on 127.0.0.1 that misbehaves on demand.

What it does is written in the user's message: `429/500/ok what is 1+1?` answers that prompt with 429 at the first attempt, 500 at
the second and properly from the third on. Answers depend on the prompt and the seed alone, and are streamed where the request
asks for it. Run as a script, it serves until it is ended: `python tests/fault_server.py PORT`, or in place of vLLM:
`python tests/fault_server.py serve MODEL --port PORT`.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import re
import sys
import threading
import time
import zlib
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import Future
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any, NamedTuple

from aiohttp import web

LONG = "Let me check this once more, step by step. " * 350  # 15 kB, a short trace of DeepSeek-R1


class Seen(NamedTuple):
    """One request that arrived."""

    prompt: str
    fault: str
    body: dict[str, Any]
    headers: dict[str, str]
    query: str


class Allowed:
    """How many requests a second are let in, as a bucket of tokens that holds a tenth of a second's; None: all."""

    def __init__(self) -> None:
        self.rate: float | None = None
        self.taken = self.refused = 0
        self._tokens, self._at = 1.0, time.monotonic()

    def take(self) -> bool:
        if self.rate is None:
            return True
        now = time.monotonic()
        self._tokens = min(max(1.0, self.rate / 10), self._tokens + (now - self._at) * self.rate)
        self._at = now
        let_in = self._tokens >= 1
        self._tokens -= let_in
        self.taken += let_in
        self.refused += not let_in
        return let_in


class FaultServer(NamedTuple):
    url: str
    seen: list[Seen]
    most_in_flight: list[int]  # one element: the largest number of requests served at a time
    allowed: Allowed


@contextlib.contextmanager
def serve_faults() -> Iterator[FaultServer]:
    """A fault server in a thread, on a free port."""
    ready: Future[tuple[asyncio.AbstractEventLoop, asyncio.Event, FaultServer]] = Future()

    async def run() -> None:
        stop = asyncio.Event()
        async with _listening(0) as server:
            ready.set_result((asyncio.get_running_loop(), stop, server))
            await stop.wait()

    thread = threading.Thread(target=lambda: asyncio.run(run()), daemon=True)
    thread.start()
    loop, stop, server = ready.result(timeout=10)
    try:
        yield server
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(timeout=10)


@contextlib.asynccontextmanager
async def _listening(port: int) -> Any:
    seen: list[Seen] = []
    allowed = Allowed()
    most = [0]
    attempts: Counter[str] = Counter()
    serving = 0

    async def handle(request: web.Request) -> web.StreamResponse:
        nonlocal serving
        serving += 1
        most[0] = max(most[0], serving)
        try:
            body = await request.json()
            prompt = body["prompt"] if "prompt" in body else next(m for m in body["messages"] if m["role"] == "user")["content"]
            if not allowed.take():
                return web.Response(status=429)
            faults = prompt.split(maxsplit=1)[0].split("/")
            fault = faults[min(attempts[prompt], len(faults) - 1)]
            attempts[prompt] += 1
            seen.append(Seen(prompt, fault, body, dict(request.headers), request.query_string))
            return await _misbehave(fault, request, body, prompt)
        finally:
            serving -= 1

    async def healthy(_: web.Request) -> web.Response:
        return web.Response()

    async def models(_: web.Request) -> web.Response:
        return web.json_response({"object": "list", "data": [{"id": "m", "object": "model"}]})

    app = web.Application()
    app.router.add_post("/v1/chat/completions", handle)
    app.router.add_post("/v1/completions", handle)
    app.router.add_get("/health", healthy)
    app.router.add_get("/v1/models", models)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.05, handler_cancellation=True)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", port, backlog=4096)
    await site.start()
    try:
        yield FaultServer(f"http://127.0.0.1:{runner.addresses[0][1]}", seen, most, allowed)
    finally:
        await runner.cleanup()


def completion(content: str | None, *, finish: str | None = "stop", usage: Any = None, **message: str | None) -> dict[str, Any]:
    usage = {"prompt_tokens": 7, "completion_tokens": 11, "total_tokens": 18} if usage is None else usage
    choice = {"index": 0, "message": {"role": "assistant", "content": content, **message}, "finish_reason": finish}
    return {"id": "x", "object": "chat.completion", "choices": [choice], "usage": usage}


async def _misbehave(fault: str, request: web.Request, body: dict[str, Any], prompt: str) -> web.StreamResponse:
    whole = completion(f"{prompt} -> {body.get('seed')}")
    if fault == "slow":
        await asyncio.sleep(0.2)
    if fault == "exit":  # a server that dies
        os._exit(3)
    if fault == "no-stream" and "stream" in body:
        return web.json_response({"error": {"message": "stream is not supported here"}}, status=400)
    if fault in ("counts", "counts-cut"):  # one token for each word of "1 2 3 ...", as many as allowed, going on after a prefix
        whole = _counting(body, prompt)
    if "<problem>\nlabel-" in prompt:  # a labelling prompt around a problem that says which label it wants
        fault, whole = "ok", completion(f"So I say.\n[[{prompt.partition('<problem>')[2].partition('label-')[2].split()[0]}]]")
    if fault == "kilobytes":  # `kilobytes 40 ...`: so many, which no store can pack into nothing
        whole = completion(random.Random(prompt).randbytes(int(prompt.split()[1]) * 500).hex())
    if fault in ("solve", "solve-slowly"):
        whole = _solution(body, prompt)
        await asyncio.sleep(0.02 if fault == "solve-slowly" else 0)
    if fault == "counts-cut":  # its stream ends after 150 words
        return await _stream(request, body, whole, fault)
    if fault in ("ok", "slow", "no-stream", "counts", "kilobytes", "solve", "solve-slowly"):
        return await _answer(request, body, whole)
    if fault in STREAMS and "stream" in body:
        return await _stream(request, body, whole, fault)
    if fault.isdecimal():
        said = f"{'no ' * 88}{request.headers.get('Authorization', 'key')}"  # over the edge of what is quoted
        return web.json_response({"error": {"message": said}}, status=int(fault))
    if fault == "429-quota":
        return web.json_response({"error": {"message": "see your plan " * 30, "code": "insufficient_quota"}}, status=429)
    if fault.startswith("429-after-"):
        return web.Response(status=429, headers={"Retry-After": fault.removeprefix("429-after-")})
    if fault == "429-date":  # a date has whole seconds: this is between one and two seconds away
        later = format_datetime(datetime.now(UTC) + timedelta(seconds=2), usegmt=True)
        return web.Response(status=429, headers={"Retry-After": later})
    if fault == "redirect":
        return web.Response(status=307, headers={"Location": "http://127.0.0.1:1/elsewhere"})
    if fault == "reset":
        assert request.transport is not None
        request.transport.abort()
        return web.Response()
    if fault == "hang":
        await asyncio.sleep(3600)
    if fault in ("keep-alive", "short"):
        return await _in_pieces(fault, request, json.dumps(whole).encode())
    if fault in ("cut", "page", "error-in-200"):
        return web.Response(body=_body(fault, prompt), content_type="application/json")
    return await _answer(request, body, json.loads(_body(fault, prompt)))


STREAMS = ("comments", "drip", "stream-cut", "stream-error", "stream-garbage", "stream-reset")


def _solution(body: dict[str, Any], prompt: str) -> dict[str, Any]:
    """`solve 42 3 ...`: 42 is right, and one answer in three says so, by the seed."""
    _, answer, hard, *_ = prompt.split()
    right = zlib.crc32(f"{prompt}{body.get('seed')}".encode()) % int(hard) == 0
    said = f"<think>\nthinking with seed {body.get('seed')}\n</think>\n\nIt is \\boxed{{{answer if right else -1}}}."
    return completion(said, usage={"prompt_tokens": 20, "completion_tokens": 100})


def _counting(body: dict[str, Any], prompt: str) -> dict[str, Any]:
    last = body["messages"][-1] if "messages" in body else {"role": "user"}
    before = last["content"] if last["role"] == "assistant" else body.get("prompt", "").partition("assistant\n")[2]
    wanted = [str(n + 1) for n in range(int(prompt.split()[1]))]
    done = len(before.replace("<think>", "").replace("</think>", "").split())
    said = wanted[done : done + body["max_tokens"]]
    closed = "</think>" in before
    text = ("" if before else "<think>\n") + "".join(f"{w} " + ("</think>" if w == "7" and not closed else "") for w in said)
    finish = "stop" if done + len(said) == len(wanted) else "length"
    return completion(text, finish=finish, usage={"prompt_tokens": 7, "completion_tokens": len(said)})


def _chunks(body: dict[str, Any], whole: dict[str, Any], by_word: bool = False) -> list[bytes]:
    """The events of an answer: its reasoning and its text in eight pieces each or by word, the reason for its end, the count."""
    choice = whole["choices"][0]
    chat = "messages" in body
    deltas: list[dict[str, Any]] = [{"role": "assistant", "content": ""}]
    for name in ("reasoning_content", "reasoning", "content"):
        text = choice["message"].get(name) or ""
        size = max(1, -(-len(text) // 8))
        pieces = re.findall(r"\S+\s*", text) if by_word else [text[at : at + size] for at in range(0, len(text), size)]
        deltas += [{name: piece} for piece in pieces]
    named = {"model": whole["model"]} if "model" in whole else {}
    events = [{**named, "choices": [{"index": 0, **({"delta": d} if chat else {"text": d.get("content", "")})}]} for d in deltas]
    last = {"delta": {}} if chat else {"text": ""}
    events.append({"choices": [{"index": 0, **last, "finish_reason": choice["finish_reason"]}]})
    if body.get("stream_options", {}).get("include_usage"):
        events.append({"choices": [], "usage": whole["usage"]})
    return [f"data: {json.dumps(event)}\n\n".encode() for event in events] + [b"data: [DONE]\n\n"]


async def _answer(request: web.Request, body: dict[str, Any], whole: dict[str, Any]) -> web.StreamResponse:
    whole["model"] = whole.get("model") or body["model"]
    if "stream" in body:
        return await _stream(request, body, whole, "")
    if "prompt" in body:
        choice = whole["choices"][0]
        whole["choices"][0] = {"index": 0, "text": choice["message"]["content"], "finish_reason": choice["finish_reason"]}
    return web.json_response(whole)


async def _stream(request: web.Request, body: dict[str, Any], whole: dict[str, Any], fault: str) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    await response.prepare(request)
    chunks = _chunks(body, whole, by_word=fault == "counts-cut")
    if fault == "comments":  # OpenRouter and DeepSeek, while a request waits for its turn
        for _ in range(8):
            await response.write(b": keep-alive\n\n\n")
            await asyncio.sleep(0.1)
    if fault in ("", "comments"):
        await response.write(b"".join(chunks))
        return response
    if fault == "drip":  # eleven pieces 0.1 s apart, torn where it hurts
        whole_bytes = b"".join(chunks)
        for at in range(0, len(whole_bytes), -(-len(whole_bytes) // 11)):
            await response.write(whole_bytes[at : at + -(-len(whole_bytes) // 11)])
            await asyncio.sleep(0.1)
        return response
    await response.write(b"".join(chunks[:150] if fault == "counts-cut" else chunks[:4]))
    if fault == "stream-error":
        await response.write(b'data: {"error": {"message": "the engine died", "code": 500}}\n\n')
    if fault == "stream-garbage":
        await response.write(b"data: [1, 2\n\n")
    if fault == "stream-reset":
        assert request.transport is not None
        request.transport.abort()
    return response


async def _in_pieces(fault: str, request: web.Request, body: bytes) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": "application/json"})
    if fault == "short":  # promises more than it sends
        response.content_length = len(body)
    await response.prepare(request)
    if fault == "short":
        await response.write(body[:-20])
        assert request.transport is not None
        request.transport.close()
        return response
    for _ in range(8):  # DeepSeek's API: blank lines while the request waits for its turn
        await response.write(b"\n")
        await asyncio.sleep(0.1)
    await response.write(body)
    return response


def _body(fault: str, prompt: str) -> bytes:
    bodies: dict[str, dict[str, Any]] = {
        "long": completion(LONG),
        "empty": completion(""),
        "null": completion(None),
        "length": completion("<think>\nand so on and on", finish="length"),
        "think": completion("<think>\nI think.\n</think>\n\nIt is 2."),
        "reasoning_content": completion("It is 2.", reasoning_content="I think."),
        "reasoning": completion("It is 2.", reasoning="I think.", reasoning_content=None),
        "no-reasoning": completion("<think>\nI think.\n</think>\n\nIt is 2.", reasoning_content=""),
        "filtered": completion("It", finish="content_filter"),
        "overloaded": completion("", finish="insufficient_system_resource"),
        "miscounted": completion("It is 2.", usage={"prompt_tokens": "many", "completion_tokens": 10**30}),
        "uncounted": completion("It is 2.", usage=[]),
        "undercounted": completion(LONG, usage={"prompt_tokens": 7, "completion_tokens": 1}),
        "uncounted-long": completion(LONG, usage=[]),
        "wrong-model": {**completion("It is 2."), "model": "a-cheaper-one"},
        "no-model": {**completion("It is 2."), "model": ["none"]},
        "surrogate": completion("half an emoji: \ud83d, a whole one: \U0001f600"),
        "error-in-200": {"error": {"message": "provider returned an error"}},
    }
    if fault == "cut":
        return json.dumps(completion(prompt)).encode()[:-30]
    if fault == "page":
        return b"<html>502 Bad Gateway</html>"
    return json.dumps(bodies[fault]).encode()


async def _serve_forever(port: int) -> None:
    async with _listening(port) as server:
        print(server.url, flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    given = sys.argv[1:]
    chosen = int(given[given.index("--port") + 1]) if given[0] == "serve" else int(given[0])
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_serve_forever(chosen))
