"""An OpenAI-compatible endpoint on 127.0.0.1 that misbehaves on demand.

What it does is written in the user's message: `429/500/ok what is 1+1?` answers that prompt with 429 at the first attempt, 500 at
the second and properly from the third on. Answers depend on the prompt and the seed alone. Run as a script, it serves until it is
ended: `python tests/fault_server.py PORT`.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
import threading
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


class FaultServer(NamedTuple):
    url: str
    seen: list[Seen]
    most_in_flight: list[int]  # one element: the largest number of requests served at a time


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
    most = [0]
    attempts: Counter[str] = Counter()
    serving = 0

    async def handle(request: web.Request) -> web.StreamResponse:
        nonlocal serving
        serving += 1
        most[0] = max(most[0], serving)
        try:
            body = await request.json()
            prompt = body["messages"][-1]["content"]
            faults = prompt.split(maxsplit=1)[0].split("/")
            fault = faults[min(attempts[prompt], len(faults) - 1)]
            attempts[prompt] += 1
            seen.append(Seen(prompt, fault, body, dict(request.headers), request.query_string))
            return await _misbehave(fault, request, body, prompt)
        finally:
            serving -= 1

    app = web.Application()
    app.router.add_post("/v1/chat/completions", handle)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.05, handler_cancellation=True)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", port, backlog=4096)
    await site.start()
    try:
        yield FaultServer(f"http://127.0.0.1:{runner.addresses[0][1]}", seen, most)
    finally:
        await runner.cleanup()


def completion(content: str | None, *, finish: str | None = "stop", usage: Any = None, **message: str | None) -> dict[str, Any]:
    usage = {"prompt_tokens": 7, "completion_tokens": 11, "total_tokens": 18} if usage is None else usage
    choice = {"index": 0, "message": {"role": "assistant", "content": content, **message}, "finish_reason": finish}
    return {"id": "x", "object": "chat.completion", "model": "faulty", "choices": [choice], "usage": usage}


async def _misbehave(fault: str, request: web.Request, body: dict[str, Any], prompt: str) -> web.StreamResponse:
    whole = completion(f"{prompt} -> {body.get('seed')}")
    if fault == "slow":
        await asyncio.sleep(0.2)
    if fault in ("ok", "slow"):
        return web.json_response(whole)
    if fault.isdecimal():
        said = f"{'no ' * 88}{request.headers.get('Authorization', 'key')}"  # over the edge of what is quoted
        return web.json_response({"error": {"message": said}}, status=int(fault))
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
    return web.Response(body=_body(fault, prompt), content_type="application/json")


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
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_serve_forever(int(sys.argv[1])))
