"""The metrics of reinforcement learning as JSON lines, one for each optimiser step, and the stop where they show an illness."""

from __future__ import annotations

import json
import math
import shutil
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from curation.errors import UserError
from training.grpo_settings import GrpoSettings
from training.health import illness
from training.progress import memory

# Name in a line -> name in TRL's log. Those of a rollout are there in the step that sampled it, and absent in further steps on it.
ALWAYS = {"loss": "loss", "learning_rate": "learning_rate", "grad_norm": "grad_norm"}
SOMETIMES = {
    "entropy": "entropy",  # nats a token
    "kl": "kl",  # nats a token, k3
    "clipped_ratio": "clip_ratio/region_mean",  # share of tokens whose ratio is outside epsilon
    "reward": "reward",  # mean weighted sum
    "reward_std": "reward_std",  # over all completions of the rollout
    # Share of groups that teach nothing: their rewards are all equal; with dynamic sampling, which drops those, their answers are
    # judged all alike, and it is the mean over the rounds of refills.
    "silent_groups": "frac_reward_zero_std",
    "unjudged": "unjudged",  # share of completions of which the verifier could not tell
    "truncated": "completions/clipped_ratio",
    "mean_tokens": "completions/mean_length",
    "max_tokens": "completions/max_length",
    "mismatch": "sampling/sampling_logp_difference/mean",  # nats a token, student against vLLM
    "max_mismatch": "sampling/sampling_logp_difference/max",
    "mismatch_ratio": "sampling/importance_sampling_ratio/mean",
    "refills": "refills",  # further rounds of dynamic sampling
    "sampling_seconds": "sampling_seconds",  # of the rollout, refills included
    "step_seconds": "step_time",  # of the step, with the rollout that it made; without the update
}


def recorder(path: Path, last: Path | None, settings: GrpoSettings, tell: Callable[[dict[str, Any]], None]) -> Any:
    """A callback that writes and tells a line for each step: step, steps, those above, tokens, tokens_per_second, rewards by name.

    Lines of steps after the checkpoint `last` are dropped first, since those will be done again. Raises UserError for a loss that
    is no number and for an illness (training.health), naming the checkpoint to go back to.
    """
    from transformers import TrainerCallback

    lines = forget_after(path, last)

    class Lines(TrainerCallback):  # type: ignore[misc]  # transformers is not typed for mypy here
        """The loop offers nothing but a class for that."""

        tokens = lines[-1]["tokens"] if lines else 0

        def on_step_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            self.began = time.monotonic()

        def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any], **_: Any) -> None:
            if "loss" not in logs:  # the summary at the end
                return
            line = _line(state, logs)
            line["tokens"] = int(logs.get("num_tokens") or self.tokens)
            line |= memory()
            line["tokens_per_second"] = round((line["tokens"] - self.tokens) / (time.monotonic() - self.began), 1)
            self.tokens = line["tokens"]
            _require_numbers(line, Path(args.output_dir))
            lines.append(line)
            with path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")
            tell(line)
            if found := illness(lines, settings):
                raise UserError(_stopped(found, lines, settings, Path(args.output_dir)))

        def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            found = {int(p.name.partition("-")[2]): p for p in Path(args.output_dir).glob("checkpoint-*")}
            for step in found.keys() - needed(found, settings.health_window * settings.steps_per_rollout):
                shutil.rmtree(found[step])

    return Lines()


def needed(steps: Iterable[int], window: int) -> set[int]:
    """Which checkpoints stay, four at most: the two newest, since a kill may tear one; the newest from before the window in which
    an illness is seen, to go back to; and the oldest inside it, which will be the next such."""
    found = sorted(steps)
    before = [step for step in found if step <= found[-1] - window]
    return {*found[-2:], *before[-1:], *[step for step in found if step not in before][:1]}


def _line(state: Any, logs: dict[str, Any]) -> dict[str, Any]:
    line = {"step": state.global_step, "steps": state.max_steps, **{name: float(logs[key]) for name, key in ALWAYS.items()}}
    line |= {name: logs[key] for name, key in SOMETIMES.items() if logs.get(key) is not None}
    rewards = {key.split("/")[1]: value for key, value in logs.items() if key.startswith("rewards/") and key.endswith("/mean")}
    return line | ({"rewards": rewards} if rewards else {})


def _require_numbers(line: dict[str, Any], checkpoints: Path) -> None:
    if math.isfinite(line["loss"]) and math.isfinite(line["grad_norm"]):
        return
    raise UserError(
        f"the loss is {line['loss']} and the gradient's norm {line['grad_norm']} at step {line['step']}; "
        f"{kept_before(checkpoints, line['step'])}: lower learning_rate or max_grad_norm"
    )


def _stopped(found: str, lines: list[dict[str, Any]], settings: GrpoSettings, checkpoints: Path) -> str:
    step = lines[-1]["step"]
    well = step - settings.health_window * settings.steps_per_rollout
    what = "go on from there with --student" if _newest(checkpoints, well) else "begin anew with the same student"
    return f"stopped at step {step}: {found}; {kept_before(checkpoints, well)}: {what} and changed settings"


def kept_before(checkpoints: Path, step: int) -> str:
    """The newest checkpoint up to a step, in words."""
    newest = _newest(checkpoints, step)
    return f"the checkpoint {newest} is from before it" if newest else "there is no checkpoint from before it"


def _newest(checkpoints: Path, step: int) -> Path | None:
    found = [p for p in checkpoints.glob("checkpoint-*") if int(p.name.partition("-")[2]) <= step]
    return max(found, key=lambda p: int(p.name.partition("-")[2]), default=None)


def forget_after(metrics: Path, checkpoint: Path | None) -> list[dict[str, Any]]:
    """The lines up to the checkpoint's step, which alone stay in the file."""
    step = int(checkpoint.name.partition("-")[2]) if checkpoint else 0
    kept = []
    for text in metrics.read_text("utf-8").splitlines() if metrics.is_file() else ():
        try:
            line = json.loads(text)
        except ValueError:  # torn by the kill; it is of a step after the checkpoint
            continue
        if line["step"] <= step:
            kept.append(line)
    metrics.write_text("".join(json.dumps(line) + "\n" for line in kept), "utf-8")
    return kept
