"""`factory distill --plan`: every layout of a training with its memory and time, which of them fit, and the one to take."""

from __future__ import annotations

from typing import NamedTuple

from curation.errors import UserError
from training.mfu import Lengths, Shape, flops_per_token, parameters
from training.plan_memory import CONTEXT, GIB, Choice, Memory, predict
from training.sft_settings import Head, SftSettings, Strategy

FRAGMENTATION = 0.04  # share of a GPU that the allocator cannot give; seen up to this with lengths that vary
# Assumed MFU of one H100-class GPU that does nothing but pass: 49 percent was measured with bf16 weights, Liger, a tiled head and
# no checkpointing (1.5B, 16,384 tokens, H200), 42 with autocast instead; whole logits take 0.043 s off a pass of 0.458 s (bare
# loop). The other factors are assumptions, on the safe side.
BASE_MFU = 0.52
_STRATEGY_MFU = {"single": 1.0, "ddp": 0.82, "zero2": 0.93, "fsdp2": 0.9, "zero3": 0.85, "zero3-offload": 0.5}
_TILED = 0.92
_CHECKPOINTED, _WITHOUT_LIGER = 0.75, 0.88  # a pass forward more: 3/4; 31 percent were measured without either and with autocast


class Hardware(NamedTuple):
    """The machine planned for."""

    gpus: int  # 0: the CPU trains, with the memory of the host
    memory_gib: float  # of one GPU
    peak_tflops: float  # dense bf16, of one GPU
    host_gib: float | None = None  # of one host; None: not known, since the machine is only planned for


class Option(NamedTuple):
    """One layout: what it needs, and how long the training takes."""

    choice: Choice
    memory: Memory
    fits: bool
    mfu: float  # assumed
    hours: float


def options(shape: Shape, settings: SftSettings, hardware: Hardware, rows: Lengths) -> list[Option]:
    """Every layout for the settings' batch, fastest first; its memory is for the longest row, or a full sequence of packed ones."""
    several = hardware.gpus > 1
    strategies: tuple[Strategy, ...] = ("ddp", "zero2", "fsdp2", "zero3", "zero3-offload") if several else ("single",)
    made = [
        _option(shape, _choice(settings, hardware, rows, strategy, checkpointing, liger, head), settings, hardware, rows)
        for strategy in strategies
        for checkpointing in (False, True)
        for liger in (True, False)
        for head in _heads(settings, hardware, strategy, liger)
    ]
    return sorted(made, key=lambda option: option.hours)


def _heads(settings: SftSettings, hardware: Hardware, strategy: Strategy, liger: bool) -> tuple[Head, ...]:
    """Whole logits are for one process: no more was measured."""
    if strategy != "single" or settings.head == "tiled":
        return ("tiled",)
    if settings.head == "whole":
        return ("whole",)
    return ("whole", "tiled") if liger and hardware.gpus else ("tiled",)


def recommended(found: list[Option]) -> Option | None:
    """The fastest that fits."""
    return next((option for option in found if option.fits), None)


def allowed(option: Option, settings: SftSettings) -> bool:
    """Whether a layout is what the settings ask for, where they are not auto."""
    choice = option.choice
    return (
        settings.strategy in ("auto", choice.strategy)
        and settings.gradient_checkpointing in ("auto", choice.checkpointing)
        and settings.liger in ("auto", "on" if choice.liger else "off")
    )


def for_machine(settings: SftSettings, hardware: Hardware) -> SftSettings:
    """The settings with processes, precision and attention decided. Raises UserError for what the machine cannot follow."""
    cuda = hardware.gpus > 0
    count = settings.processes or max(hardware.gpus, 1)
    if cuda and count > hardware.gpus:
        raise UserError(f"processes is {count} and {hardware.gpus} GPUs are visible: one process needs one GPU")
    decided = {"precision": _precision(settings, cuda), "attention": _attention(settings, cuda), "processes": count}
    settings = settings.model_copy(update=decided)
    _refuse(settings, count, cuda)
    return settings


def resolved(shape: Shape, settings: SftSettings, hardware: Hardware, rows: Lengths, *, liger_installed: bool) -> SftSettings:
    """The settings with every "auto" decided for a machine. Raises UserError where the batch fits in no way that they allow.

    Said before the model loads, from its config.json. The CPU trains in one process or with ddp, without Liger.
    """
    settings = for_machine(settings, hardware)
    cuda, count = hardware.gpus > 0, settings.processes or 1
    wanted = settings.liger if settings.liger != "auto" else "on" if cuda and liger_installed else "off"
    found = [
        option
        for option in options(shape, settings, hardware._replace(gpus=count if cuda else 0), rows)
        if option.choice.liger == (wanted == "on") and settings.gradient_checkpointing in ("auto", option.choice.checkpointing)
    ]
    if not cuda and count > 1:
        found = [o._replace(choice=o.choice._replace(strategy="ddp", processes=count)) for o in found]
    named = [o for o in found if settings.strategy in ("auto", o.choice.strategy)]
    best = recommended(named)
    if best is None:
        raise UserError(_does_not_fit(shape, named, hardware))
    chosen = {"strategy": best.choice.strategy, "gradient_checkpointing": best.choice.checkpointing, "head": best.choice.head}
    return settings.model_copy(update={**chosen, "liger": wanted})


def _precision(settings: SftSettings, cuda: bool) -> str:
    return settings.precision if settings.precision != "auto" else "bf16" if cuda else "fp32"


def _attention(settings: SftSettings, cuda: bool) -> str:
    if settings.attention != "auto":
        return settings.attention
    in_one_sequence = settings.packing or settings.rows_per_pass > 1
    return "varlen" if cuda and in_one_sequence and _precision(settings, cuda) == "bf16" else "sdpa"


def _refuse(settings: SftSettings, count: int, cuda: bool) -> None:
    strategy, attention = settings.strategy, settings.attention
    if not cuda and strategy not in ("auto", "single", "ddp"):
        raise UserError(f"strategy {strategy} needs GPUs and torch sees none: take a machine with them, or strategy=auto")
    if not cuda and (attention in ("varlen", "flash_attention_2", "flash_attention_3") or settings.liger == "on"):
        what = "liger=on" if settings.liger == "on" else f"attention {attention}"
        raise UserError(f"{what} needs a GPU and torch sees none: take a machine with one, or leave it at auto")
    if settings.precision != "bf16" and attention in ("varlen", "flash_attention_2", "flash_attention_3"):
        raise UserError(
            f"attention {attention} needs bf16 and precision is {settings.precision}: set precision=bf16, or attention=sdpa"
        )
    if (strategy == "single") != (count == 1) and strategy != "auto":
        raise UserError(f"strategy {strategy} and {count} processes do not fit together: set processes, or strategy=auto")
    if settings.head == "whole" and count > 1:
        raise UserError(f"head whole is for one process and processes is {count}: set processes=1, or head=auto")
    if settings.rows_per_step % (settings.rows_per_pass * count):
        raise UserError(
            f"rows_per_step {settings.rows_per_step} is no multiple of rows_per_pass {settings.rows_per_pass} times {count} "
            "processes: change one of them, or set processes"
        )


def _choice(
    settings: SftSettings, hardware: Hardware, rows: Lengths, strategy: Strategy, checkpointing: bool, liger: bool, head: Head
) -> Choice:
    processes = max(hardware.gpus, 1)
    length = settings.max_length if settings.packing else min(settings.max_length, rows.longest)
    passes = max(1, settings.rows_per_step // (settings.rows_per_pass * processes))
    bf16 = settings.precision == "bf16" or (settings.precision == "auto" and hardware.gpus > 0)
    return Choice(strategy, processes, checkpointing, liger, settings.rows_per_pass, length, passes, bf16, head)


def _option(shape: Shape, choice: Choice, settings: SftSettings, hardware: Hardware, rows: Lengths) -> Option:
    memory = predict(shape, choice)
    mfu = BASE_MFU * _STRATEGY_MFU[choice.strategy]
    mfu *= _TILED if choice.head == "tiled" else 1.0
    mfu *= (_CHECKPOINTED if choice.checkpointing else 1.0) * (1.0 if choice.liger else _WITHOUT_LIGER)
    work = settings.epochs * rows.tokens * flops_per_token(shape, rows.mean)
    hours = work / (choice.processes * hardware.peak_tflops * 1e12 * mfu) / 3600
    fits = memory.total <= usable(hardware, choice.processes) and not _beyond_host(memory, hardware)
    return Option(choice, memory, fits, mfu, hours)


def _beyond_host(memory: Memory, hardware: Hardware) -> bool:
    """Whether what is offloaded is more than the host has; the CPU's own trainings are counted as a GPU's are."""
    return hardware.gpus > 0 and hardware.host_gib is not None and memory.host > hardware.host_gib * GIB


def usable(hardware: Hardware, processes: int) -> float:
    """Bytes of a GPU that torch's tensors can have; of the host where there is none."""
    context = (CONTEXT * (2 if processes > 1 else 1)) if hardware.gpus else 0.0
    return hardware.memory_gib * GIB * (1 - FRAGMENTATION) - context


def _does_not_fit(shape: Shape, found: list[Option], hardware: Hardware) -> str:
    least = min(found, key=lambda o: o.memory.total)
    size = f"{hardware.memory_gib:.0f} GiB"
    where = f"a GPU of {size}" if hardware.gpus else f"this machine's {size}, without a GPU"
    states = least.memory.weights + least.memory.optimizer + least.memory.gradients
    if least.memory.total <= usable(hardware, least.choice.processes):  # then it is the host that is too small
        return (
            f"{parameters(shape) / 1e9:.1f}B parameters fit {hardware.gpus} GPUs of {size} with {least.choice.strategy} alone, "
            f"which keeps {least.memory.host / GIB:.0f} GiB on the host, and that has {hardware.host_gib:.0f}: take more GPUs "
            "(--plan --gpus N), or a smaller student"
        )
    remedy = "take more GPUs (--plan --gpus N), or a smaller student"
    if states < usable(hardware, least.choice.processes) * 0.9:
        remedy = "lower rows_per_pass or max_length"
    return (
        f"a pass of {least.choice.rows} x {least.choice.length:,} tokens through {parameters(shape) / 1e9:.2f}B parameters "
        f"needs {least.memory.total / GIB:.1f} GiB at least ({states / GIB:.1f} of it weights and optimiser) and does not fit "
        f"{where}: {remedy}"
    )


def plan_text(shape: Shape, settings: SftSettings, hardware: Hardware, found: list[Option], rows: Lengths) -> str:
    """The options as a table of plain lines, with what it assumes and what it recommends."""
    first = found[0].choice
    lines = [
        f"{parameters(shape) / 1e9:.2f}B parameters, {first.rows} x {first.length:,} tokens a pass, {first.passes} passes a step, "
        f"{hardware.gpus} x {hardware.memory_gib:.0f} GiB; {settings.epochs} epochs of {rows.tokens:,} tokens",
        f"{'strategy':<14}{'checkpointing':<15}{'liger':<7}{'head':<7}{'GiB a GPU':>10}{'states':>8}"
        f"{'activations':>13}{'host GiB':>10}{'hours':>8}  fits",
        *(_line(option) for option in found),
        f"Hours at an assumed MFU of {BASE_MFU:.0%} at best, of {hardware.peak_tflops:,.0f} TFLOP/s.",
    ]
    best = recommended(found)
    if best is None:
        return "\n".join([*lines, f"Nothing fits: {_does_not_fit(shape, found, hardware)}"])
    values = " ".join(f"--set {name}={value}" for name, value in assignments(best.choice).items())
    host = f"; the host needs {best.memory.host / GIB:.0f} GiB for it" if best.memory.host else ""
    return "\n".join([*lines, f"Recommended: {values}{host}"])


def assignments(choice: Choice) -> dict[str, str]:
    """The settings that make a training this one."""
    return {
        "strategy": choice.strategy,
        "processes": str(choice.processes),
        "gradient_checkpointing": str(choice.checkpointing).lower(),
        "liger": "on" if choice.liger else "off",
        "head": choice.head,
    }


def _line(option: Option) -> str:
    choice, memory = option.choice, option.memory
    states = memory.weights + memory.optimizer + memory.gradients
    return (
        f"{choice.strategy:<14}{'on' if choice.checkpointing else 'off':<15}{'on' if choice.liger else 'off':<7}{choice.head:<7}"
        f"{memory.total / GIB:>10.1f}{states / GIB:>8.1f}{memory.activations / GIB:>13.1f}{memory.host / GIB:>10.0f}"
        f"{option.hours:>8.2f}  {'yes' if option.fits else 'no'}"
    )
