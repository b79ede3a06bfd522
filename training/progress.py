"""What a training says of itself, a line a step, and from where a killed one goes on."""

from __future__ import annotations

import json
import math
import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from curation.errors import UserError
from training.mfu import Shape, flops_per_token, lengths, mfu, peak_tflops
from training.sft_settings import SftSettings

Tell = Callable[[dict[str, Any]], None]


class Meter(NamedTuple):
    """What turns tokens a second into MFU."""

    work: float  # FLOP a token
    peak: float | None  # TFLOP/s of all GPUs; None where it is not known


def meter(shape: Shape, rows: Sequence[Path], settings: SftSettings) -> Meter:
    import torch

    one = peak_tflops(torch.cuda.get_device_name(0)) if torch.cuda.is_available() else None
    return Meter(flops_per_token(shape, lengths(list(rows)).mean), one and one * (settings.processes or 1))


def metrics(path: Path, tokens_before: int, tell: Tell, measure: Meter) -> Any:
    """The trainer's callback that writes the lines of training.curves, and stops at a loss that is no number."""
    from transformers import TrainerCallback

    class Metrics(TrainerCallback):  # type: ignore[misc]  # transformers is not typed for mypy here
        """Writes a line for each step; the loop offers nothing but a class for that."""

        counted = 0  # tokens, at the step before

        def on_step_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            self.began = time.monotonic()

        def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any], **_: Any) -> None:
            if "loss" not in logs:  # the summary at the end
                return
            # TRL's count starts at 0 in every process, so a resumed training adds it to what its checkpoint had seen.
            tokens, self.counted = int(logs["num_tokens"]) - self.counted, int(logs["num_tokens"])
            seconds = time.monotonic() - self.began
            line = _line(state, logs) | {"tokens": tokens_before + self.counted} | _speed(tokens / seconds, seconds, measure)
            _stop_at_no_number(line, Path(args.output_dir))
            if state.is_world_process_zero:
                with path.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(line) + "\n")
                tell(line)

    return Metrics()


def _line(state: Any, logs: dict[str, Any]) -> dict[str, Any]:
    line = {name: float(logs[name]) for name in ("epoch", "loss", "learning_rate", "grad_norm", "mean_token_accuracy")}
    return {"step": state.global_step, "steps": state.max_steps, **line}


def _speed(rate: float, seconds: float, measure: Meter) -> dict[str, Any]:
    speed = {"tokens_per_second": round(rate, 1), "seconds": round(seconds, 3)}
    if measure.peak:
        speed["mfu"] = round(mfu(rate, measure.work, measure.peak), 4)
    return speed | memory()


def memory() -> dict[str, float]:
    """memory_gib, the most that tensors have held of this process's GPU; nothing without one."""
    import torch

    return {"memory_gib": round(torch.cuda.max_memory_allocated() / (1 << 30), 2)} if torch.cuda.is_available() else {}


def _stop_at_no_number(line: dict[str, Any], checkpoints: Path) -> None:
    if not math.isfinite(line["loss"]) or not math.isfinite(line["grad_norm"]):
        last = last_checkpoint(checkpoints)
        kept = f"the checkpoint {last} is from before it" if last else "there is no checkpoint yet"
        raise UserError(
            f"the loss is {line['loss']} and the gradient's norm {line['grad_norm']} at step {line['step']}; {kept}: "
            "lower learning_rate, or look at the rows of that step"
        )


def last_checkpoint(folder: Path) -> Path | None:
    """The newest whole checkpoint: transformers writes trainer_state.json last. Torn ones are removed."""
    for found in sorted(folder.glob("checkpoint-*"), key=lambda p: int(p.name.partition("-")[2]), reverse=True):
        if (found / "trainer_state.json").is_file():
            return found
        shutil.rmtree(found, ignore_errors=True)  # each process of a launch looks, and one of them is first
    return None


def forget_after(lines: Path, checkpoint: Path | None, *, writes: bool = True) -> tuple[int, int]:
    """Drop the lines of steps that will be done again; the step of the checkpoint, and the tokens until then."""
    step = int(checkpoint.name.partition("-")[2]) if checkpoint else 0
    if not writes:  # another process of the launch is at it
        return step, 0
    kept = []
    for line in lines.read_text("utf-8").splitlines() if lines.is_file() else ():
        try:
            if json.loads(line)["step"] <= step:
                kept.append(line)
        except ValueError:  # torn by the kill; it is of a step after the checkpoint
            continue
    lines.write_text("".join(line + "\n" for line in kept), "utf-8")
    return step, json.loads(kept[-1])["tokens"] if kept else 0
