"""Supervised fine-tuning of a Qwen2.5-1.5B-shaped student on one GPU: our settings against TRL's defaults, and the memory plan.

    python tests/benchmarks/sft_throughput.py --out FILE [--part ours trl] [--seconds 200] [--device cpu --tiny]

Random weights on the device, rows of 16,384 random tokens, fp32 masters and optimiser state. Every figure is appended to FILE as
soon as it is there. MFU is training.mfu's: 6N and half of the attention, over 989 TFLOP/s. TRL's defaults are its own (fp32
weights, autocast, checkpointing, eight rows a pass) but for max_length, which cuts rows at 1,024; once more with one row a pass.
Without --part: attention, ours, trl, memory, in one process; a measurement that would begin after --seconds is left out and said.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from curation.errors import UserError  # noqa: E402
from training.attention import VARLEN, fastest_kernels, register_varlen, varlen  # noqa: E402
from training.mfu import Lengths, Shape, flops_per_token, mfu, parameters  # noqa: E402
from training.plan import Hardware, resolved  # noqa: E402
from training.plan_memory import GIB, Choice, predict  # noqa: E402
from training.sft import make_trainer, trainer_arguments  # noqa: E402
from training.sft_settings import Head, SftSettings  # noqa: E402

PEAK = 989.0
LENGTH = 16_384
# As in config.json of Qwen2.5-0.5B, -1.5B and -7B.
SHAPES = {
    "0.5B": Shape(24, 896, 14, 2, 64, 4864, 151936, True, True, 32768),
    "1.5B": Shape(28, 1536, 12, 2, 128, 8960, 151936, True, True, 32768),
    "7B": Shape(28, 3584, 28, 4, 128, 18944, 152064, False, True, 32768),
    "tiny": Shape(2, 64, 4, 2, 16, 128, 600, True, True, 32768),
}
# student, checkpointing, Liger, head, rows a pass, tokens of each; those that the plan refuses are noted with what it says.
MEMORY: list[tuple[str, bool, bool, Head, int, int]] = [
    ("0.5B", False, True, "whole", 2, LENGTH),
    ("1.5B", False, False, "tiled", 1, LENGTH),
    ("0.5B", True, False, "whole", 1, LENGTH),
    ("1.5B", True, True, "whole", 4, LENGTH),
    ("7B", True, True, "tiled", 1, LENGTH),
    ("7B", True, True, "tiled", 1, 4_096),
]
TINY: list[tuple[str, bool, bool, Head, int, int]] = [
    ("tiny", True, False, "tiled", 1, 128),
    ("tiny", False, False, "whole", 1, 128),
]


class Bench:
    """Where figures go, and how much time is left."""

    def __init__(self, out: Path, seconds: float, device: str, tiny: bool) -> None:
        self.out, self.end, self.device, self.tiny = out, time.monotonic() + seconds, device, tiny
        self.length = 128 if tiny else LENGTH
        self.cuda = device == "cuda"

    def late(self, what: str, needs_s: float) -> bool:
        if time.monotonic() + needs_s < self.end or self.tiny:
            return False
        self.note({"left_out": what, "why": f"{needs_s:.0f} s would not fit"})
        return True

    def note(self, figures: dict[str, Any]) -> None:
        found = json.loads(self.out.read_text()) if self.out.is_file() else []
        self.out.parent.mkdir(parents=True, exist_ok=True)
        self.out.write_text(json.dumps([*found, figures], indent=1))
        print(json.dumps(figures), flush=True)


class Attempt:
    """A measurement that runs out of memory is noted, and the next one is made."""

    def __init__(self, bench: Bench, what: str) -> None:
        self.bench, self.what = bench, what

    def __enter__(self) -> None: ...

    def __exit__(self, kind: Any, error: Any, _: Any) -> bool:
        import torch

        if not isinstance(error, torch.OutOfMemoryError):
            return False
        self.bench.note({"out_of_memory": self.what, "said": str(error)[:300]})
        return True


def student(shape: Shape, bench: Bench, dtype: Any, attention: str) -> Any:
    import torch
    from transformers import AutoModelForCausalLM, Qwen2Config

    config = Qwen2Config(
        vocab_size=shape.vocabulary,
        hidden_size=shape.hidden,
        intermediate_size=shape.mlp,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.kv_heads,
        max_position_embeddings=shape.window,
        tie_word_embeddings=shape.tied,
    )
    torch.manual_seed(0)
    if attention == VARLEN:
        register_varlen()
    with torch.device(bench.device):
        model = AutoModelForCausalLM.from_config(config, dtype=dtype, attn_implementation=attention)
    assert sum(p.numel() for p in model.parameters()) == parameters(shape)
    return model


def tokenizer() -> Any:
    """One of a few words: rows come as tokens, and the trainer only wants to know how it pads."""
    from transformers import Qwen2Tokenizer

    return Qwen2Tokenizer().train_new_from_iterator(["let us think"], vocab_size=300, show_progress=False)


def dataset(shape: Shape, bench: Bench, rows: int) -> Any:
    import numpy as np
    from datasets import Dataset

    ids = np.random.default_rng(0).integers(0, min(shape.vocabulary, 600), (rows, bench.length))
    labels = ids.copy()
    labels[:, : bench.length // 64] = -100  # the prompt
    return Dataset.from_dict({"input_ids": ids.tolist(), "labels": labels.tolist()})


def clock(bench: Bench) -> Any:
    from transformers import TrainerCallback

    class Clock(TrainerCallback):  # type: ignore[misc]
        """Seconds of each step."""

        def __init__(self) -> None:
            self.seconds: list[float] = []
            self.losses: list[float] = []

        def on_step_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            self.began = time.monotonic()

        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            wait(bench)
            self.seconds.append(time.monotonic() - self.began)
            control.should_training_stop = time.monotonic() > bench.end

        def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any], **_: Any) -> None:
            self.losses += [logs["loss"]] if "loss" in logs else []

    return Clock()


def wait(bench: Bench) -> None:
    import torch

    if bench.cuda:
        torch.cuda.synchronize()


class Run(NamedTuple):
    seconds: list[float]  # of each step
    losses: list[float]
    peak: float | None  # bytes


def run(bench: Bench, trainer: Any, kernels: contextlib.AbstractContextManager[None]) -> Run:
    import torch

    timer = clock(bench)
    trainer.add_callback(timer)
    if bench.cuda:
        torch.cuda.reset_peak_memory_stats()
    with kernels:
        trainer.train()
    return Run(timer.seconds, timer.losses, torch.cuda.max_memory_allocated() if bench.cuda else None)


def measured(bench: Bench, shape: Shape, rows: int, done: Run) -> dict[str, Any]:
    """Figures of all steps but the first, which compiles kernels and makes the optimiser's state."""
    steady = done.seconds[1:] or done.seconds
    rate = rows * bench.length * len(steady) / sum(steady)
    return {
        "tokens_per_second": round(rate, 1),
        "mfu": round(mfu(rate, flops_per_token(shape, bench.length), PEAK), 4),
        "step_seconds": [round(s, 3) for s in done.seconds],
        "losses": done.losses,
        "peak_gib": done.peak and round(done.peak / GIB, 2),
    }


class Untouched:
    """Liger replaces functions of transformers' modules; afterwards they are as before, and nothing of the student is held."""

    NAMES = ("apply_rotary_pos_emb", "Qwen2RMSNorm", "Qwen2MLP")

    def __enter__(self) -> None:
        from transformers.models.qwen2 import modeling_qwen2

        self.module, self.before = modeling_qwen2, {name: getattr(modeling_qwen2, name) for name in self.NAMES}

    def __exit__(self, *_: object) -> None:
        import torch

        for name, value in self.before.items():
            setattr(self.module, name, value)
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def settings_of(bench: Bench, shape: Shape, **changes: Any) -> SftSettings:
    """Ours, with every "auto" decided as `factory distill` decides it on this machine."""
    from training.visible import hardware

    wanted = SftSettings(max_length=bench.length, warmup=0.0, learning_rate=1e-5, save_every_steps=10_000, **changes)
    rows = Lengths(bench.length * 64, bench.length, bench.length)
    seen = hardware() if bench.cuda else Hardware(0, 16.0, 0.1)
    return resolved(shape, wanted, seen._replace(gpus=min(seen.gpus, 1)), rows, liger_installed=bench.cuda)


def ours_once(bench: Bench, shape: Shape, settings: SftSettings, steps: int) -> dict[str, Any]:
    import torch

    with Untouched(), tempfile.TemporaryDirectory() as folder:
        arguments = trainer_arguments(settings, Path(folder), cuda=bench.cuda)
        arguments.max_steps, arguments.save_strategy = steps, "no"  # a checkpoint of 1.5B is 22 GB
        dtype = torch.bfloat16 if settings.precision == "bf16" else torch.float32
        model = student(shape, bench, dtype, settings.attention)
        rows = dataset(shape, bench, settings.rows_per_step * steps)
        trainer = make_trainer(model, tokenizer(), rows, arguments, settings)
        figures = measured(bench, shape, settings.rows_per_step, run(bench, trainer, fastest_kernels(bench.cuda)))
        del trainer, model
    return figures


def ours(bench: Bench) -> None:
    """Ours with whole logits and one row a pass, then two, then with the logits in tiles."""
    shape = SHAPES["tiny" if bench.tiny else "1.5B"]
    tried: list[tuple[int, Head]] = [(1, "whole"), (2, "whole"), (1, "tiled")]
    for rows, head in tried:
        if bench.late(f"ours, {rows} rows, {head} head", 20):
            continue
        settings = settings_of(bench, shape, rows_per_pass=rows, rows_per_step=8, attention="sdpa", head=head)
        planned = round(predict(shape, choice_of(bench, settings)).total / GIB, 2)
        with Attempt(bench, f"ours, {rows} rows, {head} head"):
            figures = ours_once(bench, shape, settings, 3)
            bench.note({"part": "ours", "settings": settings.model_dump(), **figures, "planned_gib": planned})


def choice_of(bench: Bench, settings: SftSettings) -> Choice:
    layout = (settings.gradient_checkpointing is True, settings.liger == "on", settings.rows_per_pass, bench.length)
    assert settings.head != "auto"
    return Choice("single", 1, *layout, settings.rows_per_step // settings.rows_per_pass, bench.cuda, settings.head)


def trl(bench: Bench) -> None:
    """TRL's defaults on the same rows; `rows` a pass is 8 by default, and 1 is what many set instead."""
    import torch
    from trl import SFTConfig, SFTTrainer

    shape = SHAPES["tiny" if bench.tiny else "1.5B"]
    for rows in (8, 1):
        if bench.late(f"trl, {rows} rows", 35):
            continue
        with Attempt(bench, f"trl, {rows} rows"), Untouched(), tempfile.TemporaryDirectory() as folder:
            batch = {} if rows == 8 else {"per_device_train_batch_size": rows, "gradient_accumulation_steps": 8 // rows}
            quiet = {"report_to": "none", "save_strategy": "no", "disable_tqdm": True, "logging_steps": 1}
            device = {} if bench.cuda else {"use_cpu": True, "bf16": False, "dataloader_pin_memory": False}
            arguments = SFTConfig(folder, max_length=bench.length, max_steps=3, **batch, **quiet, **device)
            model = student(shape, bench, torch.float32, "sdpa")
            trainer = SFTTrainer(model, arguments, train_dataset=dataset(shape, bench, 24), processing_class=tokenizer())
            done = run(bench, trainer, contextlib.nullcontext())  # torch's own order of attention kernels
            bench.note({"part": "trl", "rows_per_pass": rows, **measured(bench, shape, 8, done)})
            del trainer, model


def memory(bench: Bench) -> None:
    """The plan against the highest allocation of two steps of two passes."""
    for name, checkpointing, liger, head, rows, length in TINY if bench.tiny else MEMORY:
        bench.length = length
        shape, needs_s = SHAPES[name], 25.0 if name == "7B" else 15.0
        if bench.late(f"memory of {name}", needs_s):
            continue
        switches = {"gradient_checkpointing": checkpointing, "liger": "on" if liger else "off", "head": head}
        layout = {"student": name, **switches, "rows": rows, "length": bench.length}
        try:
            settings = settings_of(bench, shape, rows_per_pass=rows, rows_per_step=2 * rows, attention="sdpa", **switches)
        except UserError as refused:
            bench.note({"part": "memory", **layout, "refused": str(refused)})
            continue
        expected = predict(shape, choice_of(bench, settings)).total / GIB
        peak = None
        with Attempt(bench, f"memory of {name}"):
            peak = ours_once(bench, shape, settings, 2)["peak_gib"]
        off = peak and round(expected / peak - 1, 4)
        bench.note({"part": "memory", **layout, "planned_gib": round(expected, 2), "peak_gib": peak, "off": off})


def attention(bench: Bench) -> None:
    """Useful TFLOP/s of each attention kernel at the 1.5B shape, forward and backward, and whether packed rows stay apart."""
    import torch
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from torch.nn.functional import scaled_dot_product_attention as sdpa

    if not bench.cuda:
        return
    shape = SHAPES["1.5B"]
    make = [torch.randn(1, n, LENGTH, shape.head_size, device="cuda", dtype=torch.bfloat16) for n in (12, 2, 2, 12)]
    q, k, v, gradient = (x.requires_grad_(n < 3) for n, x in enumerate(make))
    work = 6.0 * shape.heads * shape.head_size * LENGTH * LENGTH
    found: dict[str, Any] = {}
    for backend in (SDPBackend.CUDNN_ATTENTION, SDPBackend.FLASH_ATTENTION):
        try:
            with sdpa_kernel(backend):
                seconds = timed(lambda: sdpa(q, k, v, is_causal=True, enable_gqa=True).backward(gradient))
            found[backend.name] = round(work / seconds / 1e12, 1)
        except RuntimeError as refused:  # torch's word for a kernel that does not take these shapes
            found[backend.name] = str(refused)[:200]
    default = timed(lambda: sdpa(q, k, v, is_causal=True, enable_gqa=True).backward(gradient))
    bench.note({"part": "attention", "tflops": {**found, "torch_default": round(work / default / 1e12, 1)}, **packed(q, k, v)})


def timed(once: Any) -> float:
    import torch

    once()
    torch.cuda.synchronize()
    began = time.monotonic()
    for _ in range(3):
        once()
    torch.cuda.synchronize()
    return (time.monotonic() - began) / 3


def packed(q: Any, k: Any, v: Any) -> dict[str, Any]:
    """Two rows in one sequence through our varlen attention, against each alone: values, and the gradient of q."""
    import torch
    from torch.nn.functional import scaled_dot_product_attention as sdpa

    at, total = 5_000, 12_000
    q, k, v = (x[:, :, :total].detach().clone().requires_grad_() for x in (q, k, v))
    ends = torch.tensor([0, at, total], dtype=torch.int32, device="cuda")
    together, _ = varlen(None, q, k, v, None, scaling=None, cu_seq_lens_q=ends, max_length_q=total - at)
    (slope,) = torch.autograd.grad(together.float().square().sum(), q)
    alone = [sdpa(q[:, :, a:b], k[:, :, a:b], v[:, :, a:b], is_causal=True, enable_gqa=True) for a, b in ((0, at), (at, total))]
    apart = torch.cat(alone, dim=2).transpose(1, 2)
    (expected,) = torch.autograd.grad(apart.float().square().sum(), q)
    seconds = timed(lambda: varlen(None, q, k, v, None, cu_seq_lens_q=ends, max_length_q=total - at)[0].sum().backward())
    return {
        "packed_off": round(float((together - apart).abs().max()), 5),
        "packed_gradient_off": round(float((slope - expected).abs().max() / expected.abs().max()), 5),
        "packed_ms": round(1000 * seconds, 2),
    }


PARTS = {"attention": attention, "ours": ours, "trl": trl, "memory": memory}


def main() -> None:
    wanted = argparse.ArgumentParser()
    wanted.add_argument("--out", type=Path, required=True)
    wanted.add_argument("--part", choices=PARTS, nargs="+")
    wanted.add_argument("--seconds", type=float, default=200.0)
    wanted.add_argument("--device", default="cuda")
    wanted.add_argument("--tiny", action="store_true")
    asked = wanted.parse_args()
    import torch

    bench = Bench(asked.out, asked.seconds, asked.device, asked.tiny)
    bench.note({"device": torch.cuda.get_device_name(0) if bench.cuda else "cpu", "torch": torch.__version__, "argv": sys.argv[1:]})
    for name in asked.part or PARTS:
        began = time.monotonic()
        PARTS[name](bench)
        bench.note({"part_done": name, "seconds": round(time.monotonic() - began, 1)})


if __name__ == "__main__":
    main()
