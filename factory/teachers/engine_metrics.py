"""How full a local engine is, from the Prometheus text it serves under /metrics."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import aiohttp

from factory.limiter import Pressure
from factory.teachers.endpoint import Endpoint

EVERY_S = 2.0
FINDING_S = 0.25  # from 16 to 1,024 in flight in a second and a half

# vLLM's names (docs, "Production metrics"); the second name of a cell is that of versions before 0.10.
_NAMES = {
    "running": ("vllm:num_requests_running",),
    "waiting": ("vllm:num_requests_waiting",),
    "kv_cache": ("vllm:kv_cache_usage_perc", "vllm:gpu_cache_usage_perc"),
    "preemptions": ("vllm:num_preemptions_total", "vllm:num_preemptions"),
    "generated_tokens": ("vllm:generation_tokens_total", "vllm:generation_tokens"),
}


async def follow(session: aiohttp.ClientSession, endpoint: Endpoint, silence_s: float, cut_short: Callable[[], None]) -> None:
    """Ask a local engine how full it is, for as long as it says so, and call `cut_short` when it made no token for `silence_s`."""
    loop, generated = asyncio.get_running_loop(), -1.0
    while endpoint.metrics_url:
        pressure = await read(session, endpoint.metrics_url)
        if pressure is None and endpoint.engine_moved_at is None and endpoint.has_answered:
            return  # no such engine
        now = loop.time()
        if pressure is not None:
            endpoint.limiter.feel(now, pressure)
            if pressure.generated_tokens != generated or endpoint.engine_moved_at is None or not pressure.running:
                endpoint.engine_moved_at, generated = now, pressure.generated_tokens
        if endpoint.engine_moved_at is not None and now - endpoint.engine_moved_at > silence_s:
            endpoint.engine_moved_at = now
            if not endpoint.streams:
                cut_short()
        await asyncio.sleep(FINDING_S if endpoint.limiter.is_finding() else EVERY_S)


async def read(session: aiohttp.ClientSession, url: str) -> Pressure | None:
    """What the engine says; None where there is nobody, or nobody who says it."""
    try:
        async with session.get(url, timeout=aiohttp.ClientTimeout(total=5), allow_redirects=False) as response:
            text = await response.text() if response.status == 200 else ""
    except (aiohttp.ClientError, TimeoutError, UnicodeDecodeError):
        return None
    return parse(text)


def parse(text: str) -> Pressure | None:
    """The sums over a server's engines (data parallel ones have a label each), of the KV cache the fullest."""
    found: dict[str, list[float]] = {}
    for line in text.split("\n"):
        if line.startswith("vllm:"):
            name, _, value = line.rpartition(" ")
            try:
                found.setdefault(name.partition("{")[0], []).append(float(value))
            except ValueError:
                continue
    values = {field: next((found[n] for n in names if n in found), [0.0]) for field, names in _NAMES.items()}
    if not any(name in found for name in _NAMES["running"]):
        return None
    return Pressure(**{field: max(v) if field == "kv_cache" else sum(v) for field, v in values.items()})
