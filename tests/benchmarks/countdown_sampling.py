"""Who samples the student: vLLM engines in processes of their own, started while the student is trained, or transformers.

Several engines, since a student this small leaves the GPU idle: one engine's scheduler takes 20 ms of Python for a token of each of
1,024 answers. They share the GPU with the training. New weights come as a file and are loaded into the running engines, as TRL's
colocated mode does it (trl 1.16, generation/vllm_generation.py), so vLLM starts once.
"""

from __future__ import annotations

import multiprocessing
import os
import time
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

READY_S = 240.0  # from the start of the process; 60 to 120 s are usual


class VllmSampler:
    name = "vllm"

    def __init__(self, folder: Path, end_id: int, window: int, *, engines: int, eager: bool) -> None:
        context = multiprocessing.get_context("spawn")
        self.engines: list[tuple[Any, Any]] = []  # a process, and the way to talk to it
        for n in range(engines):
            ours, theirs = context.Pipe()
            process = context.Process(target=_serve, args=(theirs, n, str(folder), end_id, window, eager))
            process.start()
            theirs.close()
            self.engines.append((process, ours))
        self.started, self.ready_s = time.monotonic(), 0.0

    def wait(self) -> str:
        """Empty when all engines are ready, else why one is not."""
        for _, ours in self.engines if not self.ready_s else ():
            try:
                left = READY_S - (time.monotonic() - self.started)
                said = ours.recv() if ours.poll(max(left, 1.0)) else ("error", f"not ready within {READY_S:.0f} s")
            except EOFError:
                said = ("error", "its process died")
            if said[0] == "error":
                return str(said[1])
            self.ready_s = max(self.ready_s, float(said[1]))
        return ""

    def sample(
        self, weights: Path, prompts: Sequence[Sequence[int]], count: int, temperature: float, max_tokens: int, seed: int
    ) -> list[list[list[int]]]:
        """`count` completions for each prompt, as tokens with the end token where there is one."""
        found: list[list[list[int]]] = [[] for _ in prompts]
        shares = [list(range(n, len(prompts), len(self.engines))) for n in range(len(self.engines))]
        for (_, ours), share in zip(self.engines, shares, strict=True):
            ours.send((str(weights), [list(prompts[n]) for n in share], count, temperature, max_tokens, seed))
        for (_, ours), share in zip(self.engines, shares, strict=True):
            said = ours.recv()
            if isinstance(said, tuple):
                raise RuntimeError(said[1])
            for n, answers in zip(share, said, strict=True):
                found[n] = answers
        return found

    def close(self) -> None:
        for process, _ in self.engines:
            process.terminate()


def _serve(theirs: Any, number: int, folder: str, end_id: int, window: int, eager: bool) -> None:
    try:
        began = time.monotonic()
        os.environ["MASTER_PORT"] = str(int(os.environ.get("MASTER_PORT", "29510")) + number)
        os.environ["VLLM_CACHE_ROOT"] = str(Path(folder).parent / f"engine-{number}")  # they compile at the same time
        llm = _engine(folder, window, eager)
        theirs.send(("ready", time.monotonic() - began))
        while True:
            weights, prompts, count, temperature, max_tokens, seed = theirs.recv()
            theirs.send(_sampled(llm, weights, prompts, count, temperature, max_tokens, seed, end_id))
    except EOFError:  # the other end is gone: the run is over
        return
    except BaseException:
        theirs.send(("error", traceback.format_exc()[-1500:]))
        raise


def _engine(folder: str, window: int, eager: bool) -> Any:
    os.environ |= {
        "VLLM_ENABLE_V1_MULTIPROCESSING": "0",  # the engine in this process: its weights are at hand
        "VLLM_USE_FLASHINFER_SAMPLER": "0",
        "VLLM_NO_USAGE_STATS": "1",
        "VLLM_LOGGING_LEVEL": "WARNING",
        "HF_HUB_OFFLINE": "1",
    }
    from vllm import LLM

    return LLM(
        model=folder,
        dtype="bfloat16",
        max_model_len=window,
        max_num_seqs=1024,
        # A fixed size: vLLM's own measurement takes the memory of the training beside it for its own.
        kv_cache_memory_bytes=12 << 30,
        gpu_memory_utilization=0.12,
        enforce_eager=eager,
        enable_prefix_caching=False,
        seed=0,
    )


def _sampled(
    llm: Any, weights: str, prompts: list[list[int]], count: int, temperature: float, max_tokens: int, seed: int, end_id: int
) -> list[list[list[int]]]:
    from safetensors.torch import load_file
    from vllm import SamplingParams

    model = llm.llm_engine.model_executor.driver_worker.model_runner.model
    model.load_weights(list(load_file(f"{weights}/model.safetensors", device="cuda").items()))
    parameters = SamplingParams(
        n=count, temperature=temperature, max_tokens=max_tokens, stop_token_ids=[end_id], detokenize=False, seed=None
    )
    outputs = llm.generate([{"prompt_token_ids": p} for p in prompts], parameters, use_tqdm=False)
    return [[_ended(one, end_id) for one in output.outputs] for output in outputs]


def _ended(one: Any, end_id: int) -> list[int]:
    ids = list(one.token_ids)
    return [*ids, end_id] if one.finish_reason == "stop" and ids[-1:] != [end_id] else ids


class TransformersSampler:
    """The model that is trained itself; `weights` is not read, since it has them."""

    name = "transformers"
    ready_s = 0.0

    def __init__(self, model: Any, end_id: int, rows: int) -> None:
        self.model, self.end_id, self.rows = model, end_id, rows

    def wait(self) -> str:
        return ""

    def sample(
        self, weights: Path, prompts: Sequence[Sequence[int]], count: int, temperature: float, max_tokens: int, seed: int
    ) -> list[list[list[int]]]:
        import torch

        from factory.teachers.hf_rows import continue_rows

        every = [list(p) for p in prompts for _ in range(count)]
        written: list[list[int]] = []
        self.model.eval()
        for at in range(0, len(every), self.rows):
            part = every[at : at + self.rows]
            draws = [torch.Generator().manual_seed(seed * 1_000_003 + at + n) for n in range(len(part))] if temperature else None
            heat = temperature or 1.0
            written += continue_rows(
                self.model,
                part,
                ends={self.end_id},
                max_tokens=max_tokens,
                warp=lambda logits, heat=heat: logits / heat,
                generators=draws,
            )
        self.model.train()
        return [written[n : n + count] for n in range(0, len(written), count)]

    def close(self) -> None:
        return
