"""A teacher in this process, through transformers: for small models and for machines without a GPU.

One prompt at a time: rows of a batch change each other's last digits through padding and kernel choice, and a sample must
be a function of its key alone. Where throughput matters, serve the model and use the `openai:` teacher; or, for a small model,
say with `rows` how many prompts go through it together.
"""

from __future__ import annotations

import copy
import itertools
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from curation.errors import UserError
from curation.records import Message, Trace, content_id
from factory.sampling import Answer, Identity, Request, Sampling, answered, effective, seed_of
from factory.teachers.hf_rows import continue_rows
from training.students import has_tokenizer

THINK = "<think>"


class _Loaded(NamedTuple):
    name: str
    model: Any
    tokenizer: Any


def sample(requests: Iterable[Request | None], *, model: str, revision: str | None, sampling: Sampling) -> Iterator[Trace]:
    """The trace of each request, in their order; the model is loaded, to a GPU where there is one, before the first.

    `model` is a local directory or a repository on the Hub; a directory has no revision, and one that is given is only recorded.
    Temperature None or 0 is greedy; other values that are None are those of the model's generation config. Each sample is drawn
    with a seed of its own (`factory.sampling.seed_of`). Raises UserError where transformers is not installed, or the model cannot
    be loaded or has no chat template.
    """
    if sampling.extra:
        raise UserError(f"sample.extra: the hf: teacher has no server to send {', '.join(sampling.extra)} to; leave it out")
    identity = Identity(model=model, revision=revision or "", endpoint="", sampling=effective(sampling))
    loaded = _load(model, revision)
    if sampling.rows:
        yield from _in_rows(loaded, requests, identity, sampling, sampling.rows)
        return
    for request in requests:
        if request is not None:
            yield answered(request, identity, _answer(loaded, request, sampling))


def _batches(requests: Iterable[Request | None], rows: int) -> Iterator[list[Request]]:
    """`rows` requests at a time, fewer where no more come just now."""
    batch: list[Request] = []
    for request in itertools.chain(requests, [None]):
        if request is not None:
            batch.append(request)
        if batch and (request is None or len(batch) == rows):
            yield batch
            batch = []


def _in_rows(
    loaded: _Loaded, requests: Iterable[Request | None], identity: Identity, sampling: Sampling, rows: int
) -> Iterator[Trace]:
    """Batches of `rows` requests. Sample i of a prompt is drawn from a stream of its own, of seed, prompt and i."""
    import torch
    from transformers import (
        LogitsProcessorList,
        MinPLogitsWarper,
        TemperatureLogitsWarper,
        TopKLogitsWarper,
        TopPLogitsWarper,
    )

    generation = _generation(loaded.model.generation_config, sampling)
    warps = LogitsProcessorList()
    if generation.do_sample:
        warps.append(TemperatureLogitsWarper(float(generation.temperature)))
        warps.extend([TopKLogitsWarper(generation.top_k)] if generation.top_k else [])
        warps.extend([TopPLogitsWarper(generation.top_p)] if (generation.top_p or 1.0) < 1.0 else [])
        warps.extend([MinPLogitsWarper(generation.min_p)] if generation.min_p else [])
    for batch in _batches(requests, rows):
        prompts = [_prompt(loaded, r, sampling) for r in batch]
        ids = [loaded.tokenizer(p, add_special_tokens=False)["input_ids"] for p in prompts]
        seeds = [int(content_id(sampling.seed or 0, p, r.index), 16) >> 1 for p, r in zip(prompts, batch, strict=True)]
        began = time.monotonic()
        written = continue_rows(
            loaded.model,
            ids,
            ends=_ends(loaded.model.generation_config),
            max_tokens=max(r.max_tokens or sampling.max_tokens for r in batch),
            warp=lambda logits: warps(None, logits),
            generators=[torch.Generator().manual_seed(seed) for seed in seeds] if generation.do_sample else None,
        )
        seconds = (time.monotonic() - began) / len(batch)
        for request, prompt, before, tokens in zip(batch, prompts, ids, written, strict=True):
            own = tokens[: request.max_tokens or sampling.max_tokens]
            yield answered(request, identity, _read(loaded, request, sampling, prompt, own, len(before), seconds))


def _load(name: str, revision: str | None) -> _Loaded:
    folder = Path(name)
    if folder.exists() and not (folder / "config.json").is_file():
        raise UserError(f"{name} is no model: wanted a directory with config.json, weights and tokenizer")
    if folder.exists() and not has_tokenizer(folder):
        raise UserError(f"{name} has no tokenizer: wanted its files beside config.json, as save_pretrained writes them")
    try:
        import torch
        from safetensors import SafetensorError
        from transformers import AutoModelForCausalLM, AutoTokenizer
    except ImportError as error:
        raise UserError(
            f"the hf: teacher needs a package that is not installed ({error.name}): pip install 'cot-factory[hf]'"
        ) from None
    where = {} if folder.exists() else {"revision": revision}
    device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        tokenizer = AutoTokenizer.from_pretrained(name, **where)
        model = AutoModelForCausalLM.from_pretrained(name, dtype="auto", **where).to(device).eval()
    except (OSError, ValueError, SafetensorError) as error:
        said = " ".join(str(error).split())[:300]
        raise UserError(
            f"the model {name} could not be loaded ({said}): wanted a directory with config.json, weights and tokenizer, "
            "or the name of such a repository on the Hub"
        ) from error
    if tokenizer.chat_template is None:
        raise UserError(f"the model {name} has no chat template: wanted a chat model, such as one whose name ends in Instruct")
    return _Loaded(name, model, tokenizer)


def _answer(loaded: _Loaded, request: Request, sampling: Sampling) -> Answer:
    import torch

    prompt = _prompt(loaded, request, sampling)
    inputs = loaded.tokenizer(prompt, add_special_tokens=False, return_tensors="pt").to(loaded.model.device)
    if (seed := seed_of(sampling, request)) is not None:
        torch.manual_seed(seed)
    began = time.monotonic()
    with torch.inference_mode():
        generation = _generation(loaded.model.generation_config, sampling)
        generation.max_new_tokens = request.max_tokens or sampling.max_tokens
        sequences = loaded.model.generate(**inputs, generation_config=generation, tokenizer=loaded.tokenizer)
    seconds = time.monotonic() - began
    prompt_tokens = inputs["input_ids"].shape[-1]
    tokens = sequences[0, prompt_tokens:].tolist()
    return _read(loaded, request, sampling, prompt, tokens, prompt_tokens, seconds)


def _read(
    loaded: _Loaded,
    request: Request,
    sampling: Sampling,
    prompt: str,
    tokens: Sequence[int],
    prompt_tokens: int,
    seconds: float,
) -> Answer:
    text = loaded.tokenizer.decode(tokens, skip_special_tokens=True)
    # Templates of DeepSeek-R1 and QwQ open the thought in the prompt; without its tag a cut thought would pass for an answer.
    opened = THINK if prompt.rstrip().endswith(THINK) and not request.prefix else ""
    stops = [at for stop in sampling.stop or () if (at := text.find(stop)) >= 0]
    text = text[: min(stops)] if stops else text  # as servers do: a stop is no part of the answer
    stopped = bool(stops) or (bool(tokens) and tokens[-1] in _ends(loaded.model.generation_config))
    text = text if stopped else text.rstrip("\ufffd")  # half a character at the cut; what goes on from there writes all of it
    return Answer(opened + text, "stop" if stopped else "length", None, prompt_tokens, len(tokens), seconds)


def _prompt(loaded: _Loaded, request: Request, sampling: Sampling) -> str:
    """The text before the answer's next token: of a cut answer its beginning too, whose thought the template may have opened."""
    if sampling.api == "completions":
        (only,) = request.messages
        return only["content"] + request.prefix
    prompt = _render(loaded, request.messages)
    opened = prompt.rstrip().endswith(THINK)
    return prompt + (request.prefix.removeprefix(f"{THINK}\n") if opened else request.prefix)


def _render(loaded: _Loaded, messages: Sequence[Message]) -> str:
    from jinja2 import TemplateError

    try:
        return str(loaded.tokenizer.apply_chat_template(list(messages), tokenize=False, add_generation_prompt=True))
    except TemplateError as error:
        roles = ", ".join(m["role"] for m in messages)
        raise UserError(f"the chat template of {loaded.name} refuses messages of {roles} ({error}): change the prompt") from error


def _generation(of_model: Any, sampling: Sampling) -> Any:
    generation = copy.deepcopy(of_model)
    generation.max_length = None
    generation.stop_strings = list(sampling.stop) if sampling.stop else None
    generation.do_sample = bool(sampling.temperature)
    if sampling.temperature:
        generation.temperature = sampling.temperature
        # All tokens are 0 here and -1 for vLLM; where neither recipe nor model names any, transformers would keep the first 50.
        generation.top_k = max(0, generation.top_k or 0 if sampling.top_k is None else sampling.top_k)
        generation.top_p = generation.top_p if sampling.top_p is None else sampling.top_p
        generation.min_p = generation.min_p if sampling.min_p is None else sampling.min_p
    return generation


def _ends(generation: Any) -> set[int]:
    ends = generation.eos_token_id
    return set(ends) if isinstance(ends, list) else {ends}
