"""How reinforcement learning lies on the GPUs, and whether it fits: said before a student loads, from its config.json.

Two moments count, on each GPU. A pass: what supervised training needs for one (training.plan_memory: weights, masters, Adam,
gradients, activations, the tiled head), the reference where there is a KL, and what vLLM holds beside the student, which is nothing
while it sleeps. Sampling: weights, masters, Adam and the reference, and all that vLLM holds: each GPU has a vLLM of its own.
Checked on an H200 with 1.5B parameters, 8 x 2,070 tokens, no checkpointing and a share of 0.3: 101.4 GiB by these formulas, 107.0
reserved at the peak, of which the allocator's loss of 4 percent (training.plan) explains 4. With transformers as engine the
answers' keys and values are not counted.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import product
from typing import NamedTuple

from curation.errors import UserError
from training.grpo_settings import GrpoSettings
from training.mfu import Shape, parameters
from training.plan import Hardware, usable
from training.plan_files import GPUS_OF_A_HOST
from training.plan_memory import GIB, Choice, Memory, predict
from training.sft_settings import Strategy

SHARES = (0.2, 0.1)  # of the GPU, that a remedy gives to vLLM instead: with a smaller KV cache it samples more slowly, and the same
ON_SEVERAL: tuple[Strategy, ...] = ("zero2", "zero3")  # the faster first
STARTED = 1.0 * GIB  # what vLLM needs beside weights and cache to sample one batch: an assumption


class Need(NamedTuple):
    """Bytes of a device, while a student learns by trying."""

    training: Memory  # of a pass, or of the optimiser's step
    reference: float
    engine: float  # what is held to sample beside the student: vLLM's share
    beside: float  # what it holds during a pass

    @property
    def passing(self) -> float:
        return self.training.total + self.reference + self.beside

    @property
    def sampling(self) -> float:
        return self.kept + self.reference + self.engine

    @property
    def kept(self) -> float:
        """Of the student between two passes."""
        return self.training.weights + self.training.optimizer + self.training.framework

    @property
    def total(self) -> float:
        return max(self.passing, self.sampling)


def needed(shape: Shape, settings: GrpoSettings, longest: int, hardware: Hardware, engine: str) -> Need:
    """What a stage needs where the longest prompt has `longest` tokens and an answer is as long as it may be."""
    bf16, processes = settings.in_bf16(cuda=hardware.gpus > 0), settings.processes or 1
    choice = Choice(
        "single" if settings.strategy == "auto" else settings.strategy,
        processes,
        settings.gradient_checkpointing,
        settings.liger,
        settings.completions_per_pass,
        longest + settings.max_completion_tokens,
        settings.step_size // settings.at_once,
        bf16,
    )
    sampler = _share(settings, hardware) if engine == "vllm-colocate" else 0.0
    if engine == "transformers" and choice.strategy == "zero3":
        sampler = 2.0 * parameters(shape)  # it is gathered whole to sample
    beside = sampler if engine == "vllm-colocate" and not settings.vllm_sleep else 0.0
    return Need(predict(shape, choice), _reference(shape, settings, choice), sampler, beside)


def _reference(shape: Shape, settings: GrpoSettings, choice: Choice) -> float:
    """It has the dtype that the student is loaded in, and is sharded as the student is."""
    if not settings.beta:
        return 0.0
    width = 2.0 if choice.bf16 and choice.strategy != "ddp" else 4.0
    return width * parameters(shape) / (choice.processes if choice.strategy == "zero3" else 1)


def laid_out(shape: Shape | None, settings: GrpoSettings, longest: int, hardware: Hardware, engine: str) -> GrpoSettings:
    """The settings with `processes` and `strategy` decided for a machine: the fastest that has memory for every stage.

    The CPU trains in one process or with ddp. Without a `shape` that can be planned, the one that needs least is taken. Raises
    UserError where they do not go with the machine, and for the first stage that does not fit, with what would make it.
    """
    count = settings.processes or max(hardware.gpus, 1)
    _refuse(settings, count, hardware, engine)
    named = _strategies(settings, count, hardware)
    layouts = [settings.model_copy(update={"processes": count, "strategy": name}) for name in named]
    if shape is None:
        return layouts[-1]
    tight = {layout.strategy: _tight_stage(shape, layout, longest, hardware, engine) for layout in layouts}
    best = next((layout for layout in layouts if tight[layout.strategy] is None), None)
    if best is None:
        stage = tight[layouts[-1].strategy]
        assert stage
        raise UserError(_does_not_fit(shape, stage, longest, hardware, engine))
    if engine == "vllm-colocate":
        for stage in best.each_stage():
            _require_share(shape, stage, longest, hardware)
    return best


def _tight_stage(shape: Shape, layout: GrpoSettings, longest: int, hardware: Hardware, engine: str) -> GrpoSettings | None:
    """The first stage that the memory is too small for."""
    return next((stage for stage in layout.each_stage() if not _fits(shape, stage, longest, hardware, engine)), None)


def _fits(shape: Shape, settings: GrpoSettings, longest: int, hardware: Hardware, engine: str) -> bool:
    return needed(shape, settings, longest, hardware, engine).total <= usable(hardware, settings.processes or 1)


def _strategies(settings: GrpoSettings, count: int, hardware: Hardware) -> tuple[Strategy, ...]:
    if settings.strategy != "auto":
        return (settings.strategy,)
    if count == 1:
        return ("single",)
    return ON_SEVERAL if hardware.gpus else ("ddp",)


def _refuse(settings: GrpoSettings, count: int, hardware: Hardware, engine: str) -> None:
    strategy = settings.strategy
    if engine == "vllm-server" and settings.processes is None and hardware.gpus > 1:
        raise UserError(
            f"{hardware.gpus} GPUs are visible, and which of them are the server's is not known: leave those out with "
            "CUDA_VISIBLE_DEVICES and set processes to the number of the others"
        )
    if hardware.gpus and count > hardware.gpus:
        raise UserError(f"processes is {count} and {hardware.gpus} GPUs are visible: one process needs one GPU")
    if not hardware.gpus and strategy.startswith("zero"):
        raise UserError(f"strategy {strategy} needs GPUs and torch sees none: take a machine with them, or strategy=auto")
    if strategy != "auto" and (strategy == "single") != (count == 1):
        raise UserError(f"strategy {strategy} and {count} processes do not fit together: set processes, or strategy=auto")
    for stage in settings.each_stage():
        if stage.step_size % (stage.completions_per_pass * count):
            raise UserError(
                f"completions_per_step {stage.step_size} is no multiple of completions_per_pass {stage.completions_per_pass} times "
                f"{count} processes, one for each GPU: change one of them, or set processes"
            )


def checkpoints_bytes(shape: Shape, settings: GrpoSettings, hardware: Hardware) -> float:
    """What the checkpoints of the largest stage take of the disk at most: weights, masters and Adam, four kept and one written."""
    bf16 = settings.in_bf16(cuda=hardware.gpus > 0)
    whole = (14.0 if bf16 else 12.0) * parameters(shape)
    stages = [stage for stage in settings.each_stage() if stage.save_every_rollouts]
    many = [min(5, 1 + stage.rollouts // (stage.save_every_rollouts or 1)) if stage.rollouts else 5 for stage in stages]
    return whole * max(many, default=0)


def _require_share(shape: Shape, settings: GrpoSettings, longest: int, hardware: Hardware) -> None:
    least, share = _least_of_vllm(shape, settings, longest), _share(settings, hardware)
    if share < least:
        enough = -(-100 * least // (hardware.memory_gib * GIB)) / 100
        remedy = f"set vllm_memory_share={enough:g}, or take a smaller student" if enough < 1 else "take a smaller student"
        raise UserError(
            f"vLLM gets {share / GIB:.1f} GiB (vllm_memory_share {settings.vllm_memory_share:g} of {hardware.memory_gib:.0f}) and "
            f"needs {least / GIB:.1f} for {parameters(shape) / 1e9:.2f}B parameters and one sequence of "
            f"{longest + settings.max_completion_tokens:,} tokens: {remedy}"
        )


def _least_of_vllm(shape: Shape, settings: GrpoSettings, longest: int) -> float:
    """Weights in bf16, and keys and values of one sequence, without which vLLM does not start."""
    cached = 4.0 * shape.layers * shape.kv_heads * shape.head_size * (longest + settings.max_completion_tokens)
    return 2.0 * parameters(shape) + cached + STARTED


def _share(settings: GrpoSettings, hardware: Hardware) -> float:
    return settings.vllm_memory_share * hardware.memory_gib * GIB


def _does_not_fit(shape: Shape, settings: GrpoSettings, longest: int, hardware: Hardware, engine: str) -> str:
    need = needed(shape, settings, longest, hardware, engine)
    training, count = need.training, f"{parameters(shape) / 1e9:.2f}B parameters"
    if need.passing >= need.sampling:
        what = f"a pass of {settings.completions_per_pass} x {longest + settings.max_completion_tokens:,} tokens through {count}"
        states, vllm = training.weights + training.optimizer + training.gradients, need.beside
    else:
        what, states, vllm = f"sampling beside {count}", need.kept, need.engine
    parts = [f"{states / GIB:.1f} of it weights and optimiser"]
    parts += [f"{need.reference / GIB:.1f} the reference of beta {settings.beta:g}"] if need.reference else []
    parts += [f"{vllm / GIB:.1f} vLLM's vllm_memory_share {settings.vllm_memory_share:g}"] if vllm else []
    size = f"{hardware.memory_gib:.0f} GiB"
    where = f"a GPU of {size}" if hardware.gpus else f"this machine's {size}, without a GPU"
    if not settings.alone:
        where += f", of {settings.processes} with {settings.strategy}"
    changes = _remedy(shape, settings, longest, hardware, engine)
    more = "take more GPUs, or" if (settings.processes or 1) < GPUS_OF_A_HOST else "take larger GPUs, or"
    larger = f"{more} a smaller student" if hardware.gpus else "take a smaller student"
    return (
        f"{what} needs {need.total / GIB:.1f} GiB ({', '.join(parts)}) and does not fit {where}: "
        f"{f'set {changes}, or ' if changes else ''}{larger}"
    )


def _remedy(shape: Shape, settings: GrpoSettings, longest: int, hardware: Hardware, engine: str) -> str:
    """The fewest changes that make it fit and leave what is learned as it is, cheap ones first; nothing where none do."""
    for changes in sorted(_changes(settings, engine), key=len):
        changed = settings.model_copy(update=changes)
        starts = engine != "vllm-colocate" or _share(changed, hardware) >= _least_of_vllm(shape, changed, longest)
        if starts and _fits(shape, changed, longest, hardware, engine):
            return " and ".join(f"{name}={_said(value)}" for name, value in changes.items())
    return ""


def _changes(settings: GrpoSettings, engine: str) -> Iterator[dict[str, bool | int | float]]:
    beside = engine == "vllm-colocate"
    sleeps: Iterable[bool | None] = (None, True) if beside and not settings.vllm_sleep else (None,)
    shares: Iterable[float | None] = (None, *(s for s in SHARES if beside and s < settings.vllm_memory_share))
    checkpoints: Iterable[bool | None] = (None,) if settings.gradient_checkpointing else (None, True)
    of_each = settings.step_size // (settings.processes or 1)
    smaller = [n for n in range(settings.completions_per_pass - 1, 0, -1) if of_each % n == 0]
    for checkpointing, share, rows, sleep in product(checkpoints, shares, (None, *smaller), sleeps):
        changes = {
            "vllm_sleep": sleep,
            "completions_per_pass": rows,
            "vllm_memory_share": share,
            "gradient_checkpointing": checkpointing,
        }
        yield {name: value for name, value in changes.items() if value is not None}


def _said(value: bool | int | float) -> str:
    return str(value).lower() if isinstance(value, bool) else f"{value:g}"
