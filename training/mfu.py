"""How much of a GPU a training uses: work of a token, peak of the GPU, and their quotient, the MFU (PaLM, arXiv 2204.02311, B).

Work of a token, forward and backward: 6 N for the matrix products (N: weights that are multiplied with, the embedding once, as
the head), and for attention 6 L H D S: 12 L H D S as in PaLM, halved because a causal token sees half of the sequence on average.
What checkpointing computes again is not counted: MFU is of the useful work.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

from curation.errors import UserError


class Shape(NamedTuple):
    """What a config.json of a dense decoder says, as numbers."""

    layers: int
    hidden: int
    heads: int
    kv_heads: int
    head_size: int
    mlp: int  # intermediate size
    vocabulary: int
    tied: bool  # the head is the embedding
    attention_bias: bool
    window: int  # positions


def read_shape(folder: Path) -> Shape:
    """The shape of the model in `folder`, from config.json alone. Raises UserError for what is no dense gated decoder."""
    config: dict[str, Any] = json.loads((folder / "config.json").read_text("utf-8"))
    if "num_experts" in config or "num_local_experts" in config:
        raise UserError(f"{folder.name} is a mixture of experts: plans are for dense models (Llama, Mistral, Qwen2, Qwen3)")
    try:
        hidden, heads = config["hidden_size"], config["num_attention_heads"]
        return Shape(
            config["num_hidden_layers"],
            hidden,
            heads,
            config.get("num_key_value_heads", heads),
            config.get("head_dim") or hidden // heads,
            config["intermediate_size"],
            config["vocab_size"],
            config.get("tie_word_embeddings", config["model_type"] in ("gemma", "gemma2", "gemma3_text")),
            config["model_type"] == "qwen2" or config.get("attention_bias", False),
            config.get("max_position_embeddings", 0),
        )
    except KeyError as missing:
        raise UserError(f"config.json of {folder.name} has no {missing}: wanted a dense decoder such as Qwen2 or Llama") from None


def layer_parameters(shape: Shape) -> int:
    queries, keys = shape.heads * shape.head_size, shape.kv_heads * shape.head_size
    bias = queries + 2 * keys if shape.attention_bias else 0
    return shape.hidden * (2 * queries + 2 * keys) + bias + 3 * shape.hidden * shape.mlp + 2 * shape.hidden


def embedding_parameters(shape: Shape) -> int:
    return shape.vocabulary * shape.hidden


def parameters(shape: Shape) -> int:
    """All of them; a tied head counts once. The plan for Qwen2.5-1.5B says 1,543,714,304, as the checkpoint has."""
    ends = embedding_parameters(shape) * (1 if shape.tied else 2)
    return shape.layers * layer_parameters(shape) + ends + shape.hidden


def flops_per_token(shape: Shape, length: float) -> float:
    """Useful work of one token in a sequence of `length` tokens; for rows of several lengths, the mean over tokens."""
    multiplied = shape.layers * layer_parameters(shape) + embedding_parameters(shape)
    return 6.0 * multiplied + 6.0 * shape.layers * shape.heads * shape.head_size * length


# Part of the name that torch gives -> dense bf16 TFLOP/s of the vendor's data sheet (half of the figure with sparsity).
# The first that fits counts, so the special comes before the general.
PEAKS = {
    "H100 PCIe": 756.0,
    "H100 NVL": 835.0,
    "H100": 989.0,
    "H200": 989.0,
    "GH200": 989.0,
    "H800": 989.0,
    "B200": 2250.0,
    "B300": 2250.0,
    "A100": 312.0,
    "A800": 312.0,
    "L40S": 362.0,
    "L40": 181.0,
    "L4": 121.0,
    "A40": 150.0,
    "A10": 125.0,
    "RTX 6000 Ada": 364.0,
    "RTX A6000": 155.0,
    "RTX 4090": 165.0,
    "RTX 3090": 71.0,
}


def peak_tflops(gpu: str) -> float | None:
    """Dense bf16 peak of a GPU by the name torch gives it; None where it is not in the table."""
    return next((peak for name, peak in PEAKS.items() if name in gpu), None)


def mfu(tokens_per_second: float, work: float, peak: float) -> float:
    """Share of the peak of one GPU; `tokens_per_second` of one GPU, `work` in FLOP a token, `peak` in TFLOP/s."""
    return tokens_per_second * work / (peak * 1e12)


class Lengths(NamedTuple):
    """Tokens of the rows that are trained on."""

    tokens: int  # of all rows, once
    longest: int
    mean: float  # of the sequence that the average token is in: the sum of squares over the sum


def lengths(rows: list[Path]) -> Lengths:
    """Of Parquet files with a column input_ids."""
    import polars as pl

    size = pl.col("input_ids").list.len().cast(pl.Int64)
    squares = (size.cast(pl.Float64) ** 2).sum()
    found = pl.scan_parquet(rows).select(tokens=size.sum(), longest=size.max(), squares=squares).collect()
    tokens, longest, of_squares = found.row(0)
    return Lengths(tokens, longest, of_squares / tokens)
