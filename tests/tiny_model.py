"""A chat model small enough to make, serve and train in seconds: Qwen2's architecture, random weights, its own tokenizer."""

from __future__ import annotations

import random
from pathlib import Path

CHATML = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)

SENTENCE = "let us think so then we have and but wait check again the answer is number sum therefore box step"


def make_tiny_model(folder: Path) -> Path:
    """Write a model of 0.1 million parameters with tokenizer and chat template to `folder`, and return it; seeded.

    The tokenizer is trained through Qwen2Tokenizer itself: transformers 5 picks the tokenizer's class from the model's
    type and rebuilds normaliser and pre-tokenizer from that class, so one built otherwise changes when it is loaded.
    """
    import torch
    from transformers import Qwen2Config, Qwen2ForCausalLM, Qwen2Tokenizer

    tokenizer = Qwen2Tokenizer().train_new_from_iterator(_lines(), vocab_size=600, show_progress=False)
    tokenizer.add_special_tokens({"eos_token": "<|im_end|>", "additional_special_tokens": ["<|im_start|>"]})
    tokenizer.add_tokens(["<think>", "</think>"])
    tokenizer.chat_template = CHATML
    torch.manual_seed(0)
    config = Qwen2Config(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=4096,
        initializer_range=0.3,  # at the usual 0.02 all logits are nearly equal, and greedy text says one token for ever
        tie_word_embeddings=False,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=None,
    )
    model = Qwen2ForCausalLM(config)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def _lines() -> list[str]:
    draw = random.Random(0)
    words = SENTENCE.split()
    return [" ".join([*draw.choices(words, k=12), str(draw.randint(0, 9999))]) for _ in range(2000)]
