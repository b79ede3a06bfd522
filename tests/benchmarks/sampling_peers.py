"""The request paths of other libraries, each in a process and an environment of its own; run by `sampler.py compare`.

    python sampling_peers.py PEER URL REQUESTS IN_FLIGHT

Every peer gets the same server, prompts and number in flight, and is left at its defaults otherwise. What it starts with (imports,
downloads, datatrove's waits before and after) is not counted, but for distilabel's processes. The last line of the output is a JSON
object: requests, seconds, processor_s.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from typing import Any

Result = dict[str, float]


class Clock:
    """Wall and processor time of the block it is used around; the processor's with that of the processes it has waited for."""

    def __enter__(self) -> Clock:
        self._began, self._used = time.monotonic(), _processor_s()
        return self

    def __exit__(self, *_: object) -> None:
        self.seconds, self.processor_s = time.monotonic() - self._began, _processor_s() - self._used

    def result(self, requests: int) -> Result:
        return {"requests": requests, "seconds": self.seconds, "processor_s": self.processor_s}


def _processor_s() -> float:
    return sum(os.times()[:4])


def prompt(number: int) -> str:
    return f"long peer {number}"


def ask_openai(url: str, requests: int, in_flight: int) -> Result:
    from openai import AsyncOpenAI

    async def every() -> None:
        turns = iter(range(requests))
        async with AsyncOpenAI(base_url=f"{url}/v1", api_key="none") as client:

            async def worker() -> None:
                for n in turns:
                    message: Any = {"role": "user", "content": prompt(n)}
                    reply = await client.chat.completions.create(model="m", messages=[message], max_tokens=64)
                    assert len(reply.choices[0].message.content) > 15_000

            await asyncio.gather(*(worker() for _ in range(in_flight)))

    with Clock() as clock:
        asyncio.run(every())
    return clock.result(requests)


def ask_curator(url: str, requests: int, in_flight: int) -> Result:
    os.environ |= {"OPENAI_API_KEY": "none", "TELEMETRY_ENABLED": "false", "CURATOR_DISABLE_RICH_DISPLAY": "1"}
    import tiktoken
    from bespokelabs import curator

    # It downloads a vocabulary to count the tokens of prompts; one of single bytes spares it the network.
    bytes_only = tiktoken.Encoding(
        "bytes", pat_str=r"(?s:.)", mergeable_ranks={bytes([b]): b for b in range(256)}, special_tokens={}
    )
    tiktoken.encoding_for_model = tiktoken.get_encoding = lambda *_: bytes_only

    class Peer(curator.LLM):  # type: ignore[misc]
        def prompt(self, row: dict[str, int]) -> str:
            return prompt(row["n"])

        def parse(self, row: dict[str, int], response: str) -> dict[str, str]:
            return {"answer": response}

    endless = 10**9
    limits = {"max_requests_per_minute": endless, "max_tokens_per_minute": endless, "max_concurrent_requests": in_flight}
    params = {"base_url": f"{url}/v1", "api_key": "none", **limits}
    with tempfile.TemporaryDirectory() as cache:
        peer = Peer(model_name="gpt-4o-mini", backend="openai", backend_params=params, generation_params={"max_tokens": 64})
        with Clock() as clock:
            answers = peer([{"n": n} for n in range(requests)], working_dir=cache)
        assert len(answers.dataset) == requests
    return clock.result(requests)


def ask_datatrove(url: str, requests: int, in_flight: int) -> Result:
    from datatrove.data import Document
    from datatrove.pipeline.inference.run_inference import InferenceConfig, InferenceRunner
    from datatrove.pipeline.writers import JsonlWriter

    clocks: list[Clock] = []

    async def rollout(document: Any, generate: Any) -> Any:
        if not clocks:  # its wait for the server is over
            clocks.append(Clock().__enter__())
        answer = await generate({"messages": [{"role": "user", "content": document.text}], "max_tokens": 64})
        clocks[0].__exit__()  # the last one counts, not what it waits for after that
        return answer

    def documents() -> Iterator[Any]:
        for n in range(requests):
            yield Document(text=prompt(n), id=str(n))

    with tempfile.TemporaryDirectory() as folder:
        config = InferenceConfig("endpoint", "m", endpoint_url=url, max_concurrent_generations=in_flight)
        writer = JsonlWriter(f"{folder}/out", output_filename="${rank}_chunk_${chunk_index}.jsonl", compression=None)
        runner = InferenceRunner(rollout, config, writer, checkpoints_local_dir=f"{folder}/checkpoints")
        runner.run(documents(), rank=0, world_size=1)
    return clocks[0].result(requests)


def ask_distilabel(url: str, requests: int, in_flight: int) -> Result:
    from distilabel.models import OpenAILLM
    from distilabel.pipeline import Pipeline
    from distilabel.steps import LoadDataFromDicts
    from distilabel.steps.tasks import TextGeneration

    with Pipeline(name="peer") as pipeline:
        load = LoadDataFromDicts(data=[{"instruction": prompt(n)} for n in range(requests)], batch_size=in_flight)
        llm = OpenAILLM(model="m", base_url=f"{url}/v1", api_key="none", generation_kwargs={"max_new_tokens": 64})
        load >> TextGeneration(llm=llm, input_batch_size=in_flight)
    with Clock() as clock:
        made = pipeline.run(use_cache=False)
    assert sum(len(split) for split in made["default"].values()) == requests
    return clock.result(requests)


PEERS = {"openai": ask_openai, "curator": ask_curator, "datatrove": ask_datatrove, "distilabel": ask_distilabel}

if __name__ == "__main__":
    name, address, *numbers = sys.argv[1:]
    with contextlib.redirect_stdout(sys.stderr):
        found = PEERS[name](address, *map(int, numbers))
    print(json.dumps(found))
