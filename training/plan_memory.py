"""Memory of one GPU while a dense decoder is trained, from its shape and the settings: the one place where the formula is.

Bytes, of N parameters on n GPUs. States as in ZeRO (Rajbhandari et al., arXiv 1910.02054, section 3), with what our trainer keeps:

                 weights         masters, Adam   gradients      what else
  single         2 N             12 N            4 N, if they outlive a pass; the last pass frees activations as they come
  ddp            4 N + 2 N       8 N             4 N likewise   4 N buckets; autocast keeps a bf16 copy of the weights
  zero2          2 N             12 N/n          4 N/n          two buckets of 2e8 in bf16
  zero3          2 N/n           12 N/n          4 N/n          two layers and the embedding gathered
  zero3-offload  0               0 (on the host: 18 N)          two layers and the embedding gathered, two buckets
  fsdp2          4 N/n           8 N/n           4 N/n          two layers in bf16; both ends with gradients, the head in fp32

With fp32 passes: 4 N weights, 8 N Adam. Activations as in Korthikanti et al. (arXiv 2205.05198, section 4), counted anew for
RMSNorm, SwiGLU, grouped queries and a flash attention, which keeps no scores. Bytes a token and layer, with d hidden, q queries
(heads x size), k keys, f MLP:

  bf16, Liger       8 d + 4 q + 4 k + 6 f     two inputs of norms, two outputs; q, k, v and the output; gate, up and product
  bf16             16 d + 4 q + 4 k + 8 f     norms keep an fp32 and a bf16 copy; SiLU is kept apart
  autocast, Liger  18 d + 4 q + 4 k + 6 f     the residual is fp32, and each of q, k, v, gate and up keeps its own bf16 input
  autocast         26 d + 4 q + 4 k + 8 f
  fp32             24 d + 8 q + 8 k + 16 f
  checkpointed      2 d (4 d where the residual is fp32), and one layer in full while it is computed again (Chen, arXiv 1604.06174)

The tiled head: TRL 1.16 computes the loss in tiles of 4,096 tokens x 32,768 words and never holds the logits; its backward
holds the head's gradient in fp32 and once more as the weight is. The whole head holds the logits, tokens x words: with Liger once,
as the weights are, since their gradient takes their place; without it three times in fp32, log-probabilities and the gradients of
these and of the logits. Beside them its backward holds the head's gradient as the weight is. Checked against a bare loop with the
logits in tiles, 1.5B parameters, 16,384 tokens, one H200, GiB: bf16 weights and Adam with Liger 41 measured, 40.9 by these
formulas; fp32 with autocast and Liger 60 measured, 59.1.
"""

from __future__ import annotations

from typing import NamedTuple

from training.mfu import Shape, embedding_parameters, layer_parameters, parameters
from training.sft_settings import Head, Strategy

GIB = 1 << 30
BUCKET = 200_000_000  # elements; reduce_bucket_size in configs/deepspeed
TILE = 4_096 * 32_768 * 2  # TRL's, bf16
WORKSPACE = 100_000_000  # cuBLAS's 32 MiB for each handle, and small things
CONTEXT = 600_000_000  # what CUDA holds of a GPU beside torch's tensors; with NCCL twice that


class Choice(NamedTuple):
    """How a training is laid out."""

    strategy: Strategy
    processes: int  # one a GPU
    checkpointing: bool
    liger: bool
    rows: int  # at a time through a GPU
    length: int  # tokens of each
    passes: int  # until an optimiser step
    bf16: bool = True
    head: Head = "tiled"


class Memory(NamedTuple):
    """Bytes of one GPU at the highest point, by what they hold; `host` is of the whole machine."""

    weights: float
    optimizer: float
    gradients: float
    activations: float
    head: float
    framework: float
    host: float

    @property
    def total(self) -> float:
        return sum(self[:-1])


def predict(shape: Shape, choice: Choice) -> Memory:
    """The highest point of a step: the head's backward, a layer's backward, or the optimiser's step, whichever is highest."""
    states, tokens = _states(shape, choice), choice.rows * choice.length
    kept = tokens * _kept(shape, choice)
    head = _head(shape, choice, tokens)
    layer = _head_gradient(shape, choice) + tokens * _in_backward(shape, choice)
    lasting = states.gradients if choice.passes > 1 else 0.0
    backward = Memory(states.weights, states.optimizer, lasting, kept, max(head, layer), WORKSPACE + states.working, states.host)
    # Backward ends with the embedding's gradient, as it came, beside all the summed ones; where it is the head's too, beside that.
    last = (4.0 if shape.tied else 2.0) * embedding_parameters(shape)
    step = Memory(states.weights, states.optimizer, states.gradients, 0.0, last, WORKSPACE + states.working, states.host)
    return max(backward, step, key=lambda memory: memory.total)


class _States(NamedTuple):
    weights: float
    optimizer: float
    gradients: float
    working: float  # buckets and gathered layers
    host: float


def _states(shape: Shape, choice: Choice) -> _States:
    count, n = float(parameters(shape)), choice.processes
    gathered = 2.0 * (2 * layer_parameters(shape) + embedding_parameters(shape))
    buckets = 2 * 2.0 * BUCKET
    ends = embedding_parameters(shape) * (1 if shape.tied else 2)
    if not choice.bf16:
        return _States(4 * count, 8 * count, 4 * count, 4 * count if choice.strategy == "ddp" else 0.0, 0.0)
    if choice.strategy == "single":
        return _States(2 * count, 12 * count, 4 * count, 0.0, 0.0)
    if choice.strategy == "ddp":
        return _States(6 * count, 8 * count, 4 * count, 4 * count, 0.0)
    if choice.strategy == "zero2":
        return _States(2 * count, 12 * count / n, 4 * count / n, buckets, 0.0)
    if choice.strategy == "zero3":
        return _States(2 * count / n, 12 * count / n, 4 * count / n, gathered, 0.0)
    if choice.strategy == "zero3-offload":
        return _States(0.0, 0.0, 0.0, gathered + buckets, 18 * count)
    whole_ends = 2.0 * ends * 2 + 4.0 * embedding_parameters(shape)
    return _States(4 * count / n, 8 * count / n, 4 * count / n, 2.0 * 2 * layer_parameters(shape) + whole_ends, 0.0)


def _autocast(choice: Choice) -> bool:
    return choice.bf16 and choice.strategy == "ddp"


def layer_bytes(shape: Shape, choice: Choice) -> float:
    """What a layer keeps of each token until its backward."""
    d, f = shape.hidden, shape.mlp
    attention = 4 * shape.heads * shape.head_size + 4 * shape.kv_heads * shape.head_size
    if not choice.bf16:
        return 24 * d + 2 * attention + 16 * f
    norms = (18 if choice.liger else 26) if _autocast(choice) else (8 if choice.liger else 16)
    return norms * d + attention + (6 if choice.liger else 8) * f + 4 * shape.heads + 8


def _kept(shape: Shape, choice: Choice) -> float:
    residual = 2 if choice.bf16 and not _autocast(choice) else 4
    ends = 3 * residual * shape.hidden  # the last norm's input and output, and the learned positions of it
    if not choice.checkpointing:
        return shape.layers * layer_bytes(shape, choice) + ends
    return shape.layers * residual * shape.hidden + ends + layer_bytes(shape, choice)


def _in_backward(shape: Shape, choice: Choice) -> float:
    """Of each token, while the last layer is gone through: gradients of the MLP's inner values, of the residual and of q."""
    width = 2 if choice.bf16 else 4
    return width * ((1 if choice.liger else 3) * shape.mlp + 3 * shape.hidden) + 4.0 * shape.heads * shape.head_size


def _head(shape: Shape, choice: Choice, tokens: int) -> float:
    width = 2.0 if choice.bf16 else 4.0
    if choice.head == "whole":
        weight = width * embedding_parameters(shape)
        return logits(shape, choice) + weight + 2 * width * tokens * shape.hidden  # of the hidden states, and their gradient
    weight = 4.0 if _autocast(choice) or not choice.bf16 else 6.0
    return weight * embedding_parameters(shape) + 6.0 * tokens * shape.hidden + TILE


def logits(shape: Shape, choice: Choice) -> float:
    """What a whole head holds of its logits."""
    width = 12.0 if not choice.liger else 2.0 if choice.bf16 else 4.0
    return choice.rows * choice.length * shape.vocabulary * width


def _head_gradient(shape: Shape, choice: Choice) -> float:
    """It waits for the embedding's where the two are one, as it came; otherwise it is summed in fp32 at once."""
    return (2.0 if shape.tied and choice.bf16 else 4.0) * embedding_parameters(shape)
