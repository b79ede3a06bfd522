"""Parity with vLLM itself, where it is installed: its tokenizer and its rendering of the same conversations."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Sequence
from pathlib import Path

from curation.records import Message
from training.findings import Kind, difference
from training.rendering import Row


def vllm_differs(conversations: Sequence[tuple[Sequence[Message], Row]], folder: Path) -> Iterator[tuple[Kind, str]]:
    """What vLLM would put before an answer, against a row without other faults; nothing where vLLM is not installed.

    vLLM (0.25 to 0.31) loads a tokenizer with `vllm.tokenizers.get_tokenizer`, which picks its own class for some models, and
    renders a chat with that tokenizer's template (renderers/hf.py, safe_apply_chat_template).
    """
    if importlib.util.find_spec("vllm") is None:
        return
    from vllm.tokenizers import get_tokenizer  # type: ignore[import-not-found,unused-ignore]

    tokenizer = get_tokenizer(str(folder))
    for messages, row in conversations:
        prompt = row.input_ids[: row.learned.index(True)]
        asked = list(
            tokenizer.apply_chat_template(list(messages[:-1]), add_generation_prompt=True, tokenize=True, return_dict=False)
        )
        if prompt != asked:
            yield "vllm_differs", difference(prompt, asked)
