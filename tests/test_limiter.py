"""The limiter against servers with known limits: simulated in no time, and a real one."""

from __future__ import annotations

import heapq
import random
import time

import pytest
from fault_server import serve_faults

from factory.limiter import FIRST_LIMIT, Limiter, Pressure
from factory.meter import Meter
from factory.sampling import Request, Sampling
from factory.teachers import openai


def settle(
    limiter: Limiter, began_s: float, allowed: float, *, seconds: float, latency_s: float, bucket: float, late_s: float = 0.0
) -> tuple[float, float]:
    """(answers a second as a share of what is allowed, share refused) in the second half of a simulated time."""
    draw = random.Random(0)
    now, tokens, filled_at, number = began_s, 0.0, began_s, 0
    ending: list[tuple[float, int, bool, float]] = []
    counted = [0, 0]
    while now < began_s + seconds:
        if limiter.wait_s(now) == 0:
            limiter.started(now)
            tokens, filled_at = min(max(1.0, bucket), tokens + (now - filled_at) * allowed), now
            let_in = tokens >= 1
            tokens -= let_in
            heapq.heappush(ending, (now + (latency_s * draw.uniform(0.7, 1.3) if let_in else 0.02), number, let_in, now))
            number += 1
            continue
        now = min(now + min(limiter.wait_s(now), 0.1), ending[0][0] if ending else now + 0.1) + draw.uniform(0, late_s)
        limiter.tick(now)
        while ending and ending[0][0] <= now:
            _, _, let_in, started_at = heapq.heappop(ending)
            if let_in:
                limiter.accepted(now)
            limiter.ended(now, "answered" if let_in else "refused", started_at)
            counted[not let_in] += now > began_s + seconds / 2
    for _, _, _, started_at in ending:
        limiter.ended(now, "answered", started_at)
    return counted[0] / (seconds / 2) / allowed, counted[1] / sum(counted)


@pytest.mark.parametrize(
    ("bucket", "latency_s", "late_s"),
    [(2.0, 0.3, 0.0), (2.0, 2.0, 0.0), (10.0, 0.02, 0.0), (10.0, 0.3, 0.02), (100.0, 0.3, 0.02), (100.0, 2.0, 0.0)],
)
def test_a_rate_limit_that_changes_fourfold_is_followed_closely_and_rarely_hit(
    bucket: float, latency_s: float, late_s: float
) -> None:
    """Half a minute to settle; `late_s`: how late a busy event loop may wake."""
    limiter, now = Limiter(1024), 0.0
    for allowed in (100.0, 400.0, 100.0, 25.0, 100.0):
        share, refused = settle(limiter, now, allowed, seconds=60, latency_s=latency_s, bucket=bucket, late_s=late_s)
        now += 60
        assert 0.9 < share < 1.1, (allowed, share)
        assert refused < 0.02, (allowed, refused)


def test_a_rate_is_not_measured_by_the_few_that_were_let_in() -> None:
    """Of 51 starts 49 were refused: the other two are no sign that two a second are allowed."""
    limiter = Limiter(1024)
    settle(limiter, 0.0, 100.0, seconds=40, latency_s=3.0, bucket=100.0)
    settle(limiter, 40.0, 400.0, seconds=40, latency_s=3.0, bucket=100.0)
    share, refused = settle(limiter, 80.0, 100.0, seconds=40, latency_s=3.0, bucket=100.0)
    assert 0.9 < share < 1.1 and refused < 0.02


def test_it_grows_by_doubling_until_the_first_trouble_and_by_steps_after() -> None:
    limiter = Limiter(1000)
    for _ in range(3):
        for _ in range(int(limiter.limit) - limiter.in_flight):
            limiter.started(0.0)
        for _ in range(int(limiter.limit)):
            limiter.accepted(0.0)
    assert limiter.limit == FIRST_LIMIT * 8
    limiter.ended(1.0, "trouble", 0.5)
    assert limiter.limit == FIRST_LIMIT * 4
    limiter.ended(1.1, "trouble", 0.5)  # sent before the cut: says nothing new
    assert limiter.limit == FIRST_LIMIT * 4
    for _ in range(int(limiter.limit)):
        limiter.accepted(2.0)
    assert limiter.limit == FIRST_LIMIT * 4 * 1.05


def test_requests_that_take_an_hour_do_not_keep_it_small() -> None:
    limiter = Limiter(512)
    for second in range(60):
        while limiter.wait_s(float(second)) == 0:
            limiter.started(float(second))
        limiter.tick(float(second))
    assert limiter.limit == 512


def test_retry_after_pauses_all_requests() -> None:
    limiter = Limiter(8)
    limiter.started(0.0)
    limiter.ended(0.1, "refused", 0.0, asked_s=3.0)
    assert limiter.wait_s(1.1) == pytest.approx(2.0)
    assert limiter.wait_s(4.2) == 0


def test_a_full_engine_holds_it_and_preemptions_cut_it() -> None:
    limiter = Limiter(1000)
    while limiter.wait_s(0.0) == 0:
        limiter.started(0.0)
    limiter.feel(0.0, Pressure(running=16, waiting=0, kv_cache=0.2, preemptions=0, generated_tokens=1))
    assert limiter.limit == 32
    limiter.feel(1.0, Pressure(running=20, waiting=12, kv_cache=0.9, preemptions=0, generated_tokens=2))
    for _ in range(100):
        limiter.accepted(1.5)
    assert limiter.limit == 32
    limiter.feel(2.0, Pressure(running=20, waiting=10, kv_cache=0.99, preemptions=3, generated_tokens=3))
    assert limiter.limit == 30 * 0.8


@pytest.mark.slow
def test_a_real_server_with_a_rate_limit_is_kept_busy() -> None:
    with serve_faults() as server:
        server.allowed.rate = 60.0
        meter = Meter()
        requests = (Request(f"p{n}", 0, ({"role": "user", "content": f"ok limited {n}"},)) for n in range(100_000))
        traces = openai.sample(requests, model="m", url=server.url, sampling=Sampling(max_tokens=8, retries=50), meter=meter)
        began = time.monotonic()
        for _ in traces:
            if time.monotonic() - began > 10:
                break
        settled, refused_before, answers = time.monotonic(), server.allowed.refused, meter.answers
        for _ in traces:
            if time.monotonic() - settled > 6:
                break
        traces.close()  # type: ignore[attr-defined]
        rate = (meter.answers - answers) / (time.monotonic() - settled)
        assert 0.85 * 60 < rate < 1.1 * 60
        assert server.allowed.refused - refused_before < 0.03 * 6 * 60
