"""Our sampler through `vllm serve` beside vLLM's offline engine: tokens a second on the same prompts and settings. Needs a GPU.

    python tests/benchmarks/vllm_offline.py --out tests/benchmarks/results/vllm_offline.jsonl [--prompts 4000] [--seed 0]

A 1.5B-shaped model (Qwen2.5's) with vLLM's own random weights: only its configuration and a small tokenizer are written, nothing
is downloaded. Each prompt has its length, drawn from 512 to 4,096 tokens and forced with ignore_eos, the same for both. Every
result is a line of --out as soon as it is there; the last says the ratio. The line of the server says too whether it goes on from
the beginning of an answer, and which of the names that the limiter reads its /metrics has.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import platform
import random
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent.parent
SHAPE = {
    "hidden_size": 1536,
    "intermediate_size": 8960,
    "num_hidden_layers": 28,
    "num_attention_heads": 12,
    "num_key_value_heads": 2,
    "max_position_embeddings": 8192,
    "initializer_range": 0.02,
    "dtype": "bfloat16",
}
WORDS = ["let", "us", "think", "so", "then", "we", "have", "but", "wait", "check", "again", "the", "answer", "is", "number", "sum"]
SEQUENCES, BATCHED_TOKENS, CONTEXT = 1024, 8192, 5120
SERVER = ["--load-format", "dummy", "--max-num-seqs", str(SEQUENCES), "--max-num-batched-tokens", str(BATCHED_TOKENS)]
SERVER += ["--max-model-len", str(CONTEXT), "--gpu-memory-utilization", "0.9"]


def make_student(folder: Path) -> Path:
    sys.path.insert(0, str(ROOT / "tests"))
    from tiny_model import make_tiny_model

    make_tiny_model(folder)
    (folder / "model.safetensors").unlink()
    config = json.loads((folder / "config.json").read_text())
    config.pop("layer_types", None)
    (folder / "config.json").write_text(json.dumps({**config, **SHAPE}))
    return folder


def asked(prompts: int, seed: int) -> list[tuple[str, int]]:
    """(prompt, tokens of its answer) of each."""
    draw = random.Random(seed)
    return [(f"{n}: " + " ".join(draw.choices(WORDS, k=40)), draw.randint(512, 4096)) for n in range(prompts)]


def offline(student: Path, prompts: int, seed: int) -> dict[str, Any]:
    from vllm import LLM, SamplingParams

    llm = LLM(
        model=str(student),
        load_format="dummy",
        max_num_seqs=SEQUENCES,
        max_num_batched_tokens=BATCHED_TOKENS,
        max_model_len=CONTEXT,
        gpu_memory_utilization=0.9,
    )
    wanted = asked(prompts, seed)
    messages = [[{"role": "user", "content": prompt}] for prompt, _ in wanted]
    how = [SamplingParams(temperature=1.0, max_tokens=length, ignore_eos=True) for _, length in wanted]
    llm.chat(messages[:8], SamplingParams(temperature=1.0, max_tokens=16, ignore_eos=True), use_tqdm=False)
    began = time.monotonic()
    answers = llm.chat(messages, how, use_tqdm=False)
    seconds = time.monotonic() - began
    return rate(sum(len(a.outputs[0].token_ids) for a in answers), seconds)


def served(student: Path, prompts: int, seed: int, log: Path, store: Path) -> dict[str, Any]:
    from factory.journal import Store
    from factory.meter import Meter
    from factory.recipe import Engine
    from factory.sampling import Identity, Request, Sampling, asked_of, effective, key_of
    from factory.teachers import openai
    from factory.teachers.vllm import Server

    sampling = Sampling(max_tokens=4096, temperature=1.0, in_flight=2 * SEQUENCES, extra={"ignore_eos": True}, stream=False)
    identity = Identity(model=str(student), revision="", endpoint="vllm", sampling=effective(sampling))
    wanted = [
        Request(f"p{n}", 0, ({"role": "user", "content": prompt},), max_tokens=length)
        for n, (prompt, length) in enumerate(asked(prompts, seed))
    ]
    meter = Meter()
    with Server(identity, Engine(arguments=SERVER), log) as server, Store(store) as kept:
        server.wait_until_ready(threading.Event())
        warm = [Request(f"w{n}", 0, wanted[0].messages, max_tokens=16) for n in range(8)]
        list(openai.sample(warm, model=str(student), url=server.url, sampling=sampling))
        began = time.monotonic()
        for trace in openai.sample(wanted, model=str(student), url=server.url, sampling=sampling, meter=meter, watch=server):
            request = wanted[int(trace.problem_id[1:])]
            kept.add(key_of(request, identity), trace, asked_of(request, identity))
        seconds = time.monotonic() - began
        result = rate(meter.completion_tokens, seconds) | {"failed": meter.failed, "most_in_flight": round(meter.limit)}
        return result | {"metrics": metrics(server.url), "continues": continues(server.url, str(student))}


def rate(tokens: int, seconds: float) -> dict[str, Any]:
    return {"completion_tokens": tokens, "seconds": round(seconds, 2), "tokens_per_second": round(tokens / seconds, 1)}


def metrics(url: str) -> dict[str, list[str]]:
    """Of each number that the limiter reads, the names under which this engine gives it; empty: it does not."""
    from factory.teachers.engine_metrics import _NAMES

    with urllib.request.urlopen(url.replace("/v1", "/metrics"), timeout=30) as response:
        said = {line.partition("{")[0].partition(" ")[0] for line in response.read().decode().split("\n")}
    return {number: [name for name in names if name in said] for number, names in _NAMES.items()}


def continues(url: str, model: str) -> dict[str, Any]:
    """Does the last message stay open? Its prompt is then as long as the plain prompt and the beginning together."""
    from factory.sampling import Request, Sampling, effective
    from factory.teachers.wording import request_body

    sampling = Sampling(max_tokens=16, temperature=0.0, extra={"ignore_eos": True})
    plain = Request("p", 0, ({"role": "user", "content": "let us think"},))
    first = post(url, request_body(plain, model, sampling, effective(sampling)))
    text = first["choices"][0]["message"]["content"]
    following = Request("p", 0, plain.messages, prefix=text[: len(text) // 2])
    then = post(url, request_body(following, model, sampling, effective(sampling)))
    return {
        "plain_prompt_tokens": first["usage"]["prompt_tokens"],
        "continued_prompt_tokens": then["usage"]["prompt_tokens"],
        "whole": text,
        "beginning": following.prefix,
        "then": then["choices"][0]["message"]["content"],
        "works": (following.prefix + then["choices"][0]["message"]["content"]).startswith(text),
    }


def post(url: str, body: dict[str, Any]) -> Any:
    request = urllib.request.Request(
        f"{url}/chat/completions", json.dumps(body).encode(), headers={"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=120) as response:
        return json.load(response)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--prompts", type=int, default=4000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", choices=["served", "offline"], help="run one side, in this process, with the model in --student")
    parser.add_argument("--student", type=Path)
    options = parser.parse_args()
    options.out.parent.mkdir(parents=True, exist_ok=True)
    if options.only:
        with tempfile.TemporaryDirectory() as folder:
            log, store = options.out.with_suffix(".log"), Path(folder)
            if options.only == "served":
                note(options, "served", served(options.student, options.prompts, options.seed, log, store))
            else:
                note(options, "offline", offline(options.student, options.prompts, options.seed))
        return
    with tempfile.TemporaryDirectory() as folder:
        student = make_student(Path(folder) / "student")
        for side in ("served", "offline"):  # each in a process of its own, which gives the GPU back
            subprocess.run([sys.executable, *sys.argv, "--only", side, "--student", str(student)], check=True)
    sides = [json.loads(line) for line in options.out.read_text().splitlines()][-2:]
    ratio = sides[0]["tokens_per_second"] / sides[1]["tokens_per_second"]
    note(options, "served / offline", {"ratio": round(ratio, 4)})


def note(options: argparse.Namespace, what: str, result: dict[str, Any]) -> None:
    import torch

    versions = {name: importlib.metadata.version(name) for name in ("vllm", "torch", "cot-factory")}
    where = {"hardware": torch.cuda.get_device_name(0), "python": platform.python_version(), "versions": versions}
    line = {"what": what, "prompts": options.prompts, "seed": options.seed, **result, **where, "date": time.strftime("%Y-%m-%d")}
    with options.out.open("a") as out:
        out.write(json.dumps(line) + "\n")
    print(json.dumps(line, indent=1), flush=True)


if __name__ == "__main__":
    main()
