"""Headless Chromium, driven over its own protocol by aiohttp: the machine needs Debian's chromium and nothing else."""

from __future__ import annotations

import asyncio
import base64
import json
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import aiohttp


class Page:
    """One tab. `complaints` are console errors, exceptions and broken policies; `requests` the addresses that it asked for."""

    def __init__(self, loop: asyncio.AbstractEventLoop, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.loop, self.socket, self.sent = loop, socket, 0
        self.complaints: list[str] = []
        self.requests: list[str] = []

    def call(self, method: str, **parameters: Any) -> Any:
        return self.loop.run_until_complete(asyncio.wait_for(self._call(method, parameters), 60))

    async def _call(self, method: str, parameters: dict[str, Any]) -> Any:
        self.sent += 1
        number = self.sent
        await self.socket.send_json({"id": number, "method": method, "params": parameters})
        while True:
            message = json.loads(await self.socket.receive_str())
            self.note(message.get("method", ""), message.get("params", {}))
            if message.get("id") == number:
                assert "error" not in message, message["error"]
                return message["result"]

    def note(self, event: str, about: dict[str, Any]) -> None:
        if event == "Network.requestWillBeSent":
            self.requests.append(about["request"]["url"])
        elif event == "Runtime.exceptionThrown":
            self.complaints.append(str(about["exceptionDetails"].get("exception", about)))
        elif event == "Log.entryAdded" and about["entry"]["level"] in ("error", "warning"):
            self.complaints.append(about["entry"]["text"])
        elif event == "Runtime.consoleAPICalled" and about["type"] in ("error", "warning", "assert"):
            self.complaints.append(str(about["args"]))

    def run(self, script: str) -> Any:
        """The value of a JavaScript expression."""
        wish = {"expression": script, "returnByValue": True, "awaitPromise": True}
        answer = self.call("Runtime.evaluate", **wish)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def wait(self, script: str, timeout_s: float = 8) -> Any:
        """The value of an expression, a node as true, as soon as there is one."""
        end = time.monotonic() + timeout_s
        while not (value := self.run(f"(v => v instanceof Node || v)({script})")):
            assert time.monotonic() < end, f"never true: {script}"
            time.sleep(0.02)
        return value

    def open(self, address: str) -> None:
        self.call("Page.navigate", url="about:blank")  # so that another fragment of the same file loads it again
        self.call("Page.navigate", url=address)

    def press(self, key: str) -> None:
        text = {"text": key} if len(key) == 1 else {}
        self.call("Input.dispatchKeyEvent", type="keyDown", key=key, **text)
        self.call("Input.dispatchKeyEvent", type="keyUp", key=key)

    def type(self, text: str) -> None:
        self.call("Input.insertText", text=text)

    def shape(self, width: int, height: int, scheme: str) -> None:
        """Window size in pixels, and light or dark."""
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])

    def picture(self) -> bytes:
        return base64.b64decode(self.call("Page.captureScreenshot")["data"])


@contextmanager
def chromium(profile: Path) -> Iterator[Page]:
    """A browser with one empty tab; `profile` is an empty folder of its own."""
    program = shutil.which("chromium")
    assert program, "these tests drive Chromium: apt-get install chromium"
    # No sandbox: a test machine is often a container, run by root, in which Chromium's own cannot start.
    options = [
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--no-first-run",
        "--remote-debugging-port=0",
    ]
    command = [program, *options, f"--user-data-dir={profile}", "about:blank"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        loop = asyncio.new_event_loop()
        session = loop.run_until_complete(_session())
        try:
            socket = loop.run_until_complete(_attach(session, _port(profile)))
            page = Page(loop, socket)
            for part in ("Page", "Runtime", "Log", "Network"):
                page.call(f"{part}.enable")
            page.call("Emulation.setFocusEmulationEnabled", enabled=True)  # keys reach a tab that has the focus
            yield page
            loop.run_until_complete(socket.close())
        finally:
            loop.run_until_complete(session.close())
            loop.run_until_complete(asyncio.sleep(0.1))  # aiohttp closes its connections in the next turns of the loop
            loop.close()
            process.terminate()


async def _session() -> aiohttp.ClientSession:
    return aiohttp.ClientSession()


def _port(profile: Path) -> int:
    told, end = profile / "DevToolsActivePort", time.monotonic() + 60
    while not told.is_file() or not told.read_text():
        assert time.monotonic() < end, "Chromium did not start"
        time.sleep(0.05)
    return int(told.read_text().splitlines()[0])


async def _attach(session: aiohttp.ClientSession, port: int) -> aiohttp.ClientWebSocketResponse:
    async with session.get(f"http://127.0.0.1:{port}/json/list") as answer:
        tabs = await answer.json()
    address = next(tab["webSocketDebuggerUrl"] for tab in tabs if tab["type"] == "page")
    return await session.ws_connect(address, max_msg_size=0)
