"""A student made on the spot: Llama's architecture with random weights, and a tokenizer in which a number is one token.

For pipelines that run anywhere and for measurements; nothing is downloaded. Llama's, because transformers 5 takes the tokenizer's
class from the model's type: Qwen2's replaces the pre-tokenizer by one that splits numbers into digits, Llama's keeps what is there.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pydantic import Field

from curation.errors import UserError
from training.rendering import encode
from training.settings import Settings

CHATML = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
# One to three digits, a word, or any other sign, each with the blank before it; line breaks alone.
PIECES = r" ?\d{1,3}| ?[A-Za-z]+| ?[^\sA-Za-z\d]|\s"
TAGS = ("<think>", "</think>", "<answer>", "</answer>")


class StudentShape(Settings):
    """The size of a student. The defaults make 0.8 million parameters, which learn small puzzles on two cores in a minute."""

    hidden: int = Field(128, ge=8)
    intermediate: int = Field(384, ge=8)
    layers: int = Field(4, ge=1)
    heads: int = Field(4, ge=1)
    numbers: int = Field(999, ge=0, le=999)  # up to here a number is one token, with the blank before it
    positions: int = Field(512, ge=16)  # tokens of the longest conversation
    seed: int = 0


def make_student(folder: Path, shape: StudentShape, texts: Iterable[str] = ()) -> Path:
    """Write a student with random weights, tokenizer and chat template to `folder`, and return it; the same shape, the same bytes.

    The tokenizer is trained on `texts` besides the numbers and the ASCII characters: every word in them is one token.
    Raises UserError where it does not come back from the disk as it was written.
    """
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    tokenizer = _tokenizer([*texts, *_signs(), f" {' '.join(map(str, range(shape.numbers + 1)))}"])
    torch.manual_seed(shape.seed)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=shape.hidden,
        intermediate_size=shape.intermediate,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.heads,
        max_position_embeddings=shape.positions,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    model = LlamaForCausalLM(config)
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    _check_round_trip(folder, tokenizer)
    return folder


def _tokenizer(texts: list[str]) -> Any:
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    raw = Tokenizer(models.BPE())
    split = pre_tokenizers.Split(Regex(PIECES), "isolated")
    raw.pre_tokenizer = pre_tokenizers.Sequence([split, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    raw.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=100_000,  # more than there can be: it merges until every piece is one token
        min_frequency=1,
        special_tokens=["<|endoftext|>", "<|im_start|>", "<|im_end|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    raw.train_from_iterator(texts, trainer)
    raw.add_tokens(list(TAGS))
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=raw, eos_token="<|im_end|>", pad_token="<|endoftext|>")
    tokenizer.chat_template = CHATML
    return tokenizer


def _signs() -> list[str]:
    return ["user assistant", "0 " + " ".join("+-*/=():;,!.?"), *"+-*/=():;,!.?"]


def _check_round_trip(folder: Path, made: Any) -> None:
    from transformers import AutoTokenizer

    loaded = AutoTokenizer.from_pretrained(folder)
    probe = "<|im_start|>user\nMake 58 of 4 84 70 2<|im_end|>\n84 - 70 : 14 4 2 ; 10 !\n<answer> ( 84 - 70 ) * 4 + 2</answer>é"
    if encode(loaded, probe) != encode(made, probe) or loaded.decode(encode(loaded, probe)) != probe:
        raise UserError(f"the tokenizer in {folder} is another one when it is loaded: this version of transformers replaces it")
