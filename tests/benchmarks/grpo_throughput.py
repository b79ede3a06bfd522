"""Reinforcement learning of a Qwen2.5-1.5B-shaped student on one GPU: our settings against TRL's defaults, tokens sampled a second.

    python tests/benchmarks/grpo_throughput.py --out FILE [--part ours|trl|trl-same-batch] [--rollouts 3] [--device cpu --tiny]

Random weights, which hardly ever end a turn: 8 samples of 2,048 tokens for each prompt, sampled by vLLM in the same process, and
learned from once. A figure is the tokens sampled over TRL's own step_time (weights to vLLM, sampling, probabilities, passes; not
the update), the first step left out. `trl` is GRPOConfig() with use_vllm and max_completion_length alone (fp32 weights, autocast,
checkpointing, 8 completions a step); `trl-same-batch` the same with our 16 prompts a step. Each part has a process of its own.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

PARTS = ("ours", "trl", "trl-same-batch")
# Of Qwen2.5.
SHAPES = {
    "1.5b": {
        "hidden_size": 1536,
        "intermediate_size": 8960,
        "num_hidden_layers": 28,
        "num_attention_heads": 12,
        "num_key_value_heads": 2,
        "tie_word_embeddings": True,
    },
    "7b": {
        "hidden_size": 3584,
        "intermediate_size": 18_944,
        "num_hidden_layers": 28,
        "num_attention_heads": 28,
        "num_key_value_heads": 4,
        "tie_word_embeddings": False,
    },
}
VOCABULARY = 151_936
PROMPTS = 16  # a rollout: 128 completions, 262,144 tokens
OURS = (
    *(f"prompts_per_rollout={PROMPTS}", "samples_per_prompt=8", "completions_per_pass=8", "gradient_checkpointing=false"),
    "liger=true",
    *("rewards={repetition: {words: 1}}", "max_silent_groups=null", "max_truncated=null", "vllm_memory_share=0.3"),
)


def make_student(folder: Path, shape: str | None) -> Path:
    """The tests' tokenizer, and a model of a shape of Qwen2.5; ids beyond the tokenizer get names, since they are sampled too."""
    import torch
    from tiny_model import make_tiny_model
    from transformers import AutoConfig, Qwen2ForCausalLM

    make_tiny_model(folder)
    if shape is None:
        return folder
    named = json.loads((folder / "tokenizer.json").read_text("utf-8"))
    known = len(named["model"]["vocab"]) + len(named["added_tokens"])
    named["model"]["vocab"] |= {f"w{n}": n for n in range(known, VOCABULARY)}
    (folder / "tokenizer.json").write_text(json.dumps(named), "utf-8")
    config = AutoConfig.from_pretrained(folder)
    config.update({**SHAPES[shape], "head_dim": 128, "vocab_size": VOCABULARY})
    config.layer_types = None
    config.initializer_range = 0.02
    config = type(config)(**{k: v for k, v in config.to_dict().items() if k not in ("layer_types", "rope_parameters")})
    with torch.device("cuda" if torch.cuda.is_available() else "cpu"):
        model = Qwen2ForCausalLM(config).to(torch.bfloat16)
    model.save_pretrained(folder)
    return folder


def figures(lines: list[dict[str, Any]], part: str) -> dict[str, Any]:
    after = [line for line in lines if "mean_tokens" in line][1:]
    seconds = sum(line["step_seconds"] for line in after)
    tokens = sum(line["mean_tokens"] * line["completions"] for line in after)
    return {
        "part": part,
        "steps": len(after),
        "tokens": int(tokens),
        "seconds": round(seconds, 2),
        "rate": round(tokens / seconds, 1),
        "step_seconds": [round(line["step_seconds"], 2) for line in lines if "mean_tokens" in line],
        "sampling_seconds": [round(line["sampling_seconds"], 2) for line in lines if "sampling_seconds" in line],
    }


def conditions() -> dict[str, Any]:
    """What a figure was measured with."""
    import torch

    names, device, memory = ["torch", "transformers", "trl"], "cpu", {}
    if torch.cuda.is_available():
        names, device, seen = [*names, "vllm"], torch.cuda.get_device_name(0), torch.cuda.memory_stats()
        memory = {
            "peak_gib": round(seen["reserved_bytes.all.peak"] / 2**30, 1),
            "allocation_retries": seen["num_alloc_retries"],
        }
    versions = {name: importlib.metadata.version(name) for name in names}
    return {"argv": sys.argv[1:], "date": time.strftime("%Y-%m-%d"), "device": device, "versions": versions, **memory}


def ours(student: Path, work: Path, rollouts: int, tokens: int, engine: str, changed: list[str]) -> list[dict[str, Any]]:
    from training.grpo_settings import GrpoSettings
    from training.grpo_stage import Prompt, train_stage
    from training.settings import load
    from training.sft_settings import SftSettings
    from training.students import open_student

    settings = load(GrpoSettings, (*OURS, f"rollouts={rollouts}", f"max_completion_tokens={tokens}", *changed))
    asked = [Prompt(text, "4", "math", str(n), text) for n, text in enumerate(prompts())]
    lines: list[dict[str, Any]] = []
    train_stage(asked, open_student(str(student), SftSettings(), work / "served"), settings, work / "stage", engine, lines.append)
    return [{**line, "completions": settings.completions_per_rollout} for line in lines]


def trl(student: Path, work: Path, rollouts: int, tokens: int, engine: str, same_batch: bool) -> list[dict[str, Any]]:
    from datasets import Dataset
    from trl import GRPOConfig, GRPOTrainer

    from training.reward_lengths import repetition_reward

    batch = {"gradient_accumulation_steps": PROMPTS} if same_batch else {}
    config = GRPOConfig(
        output_dir=str(work / "trl"),
        max_completion_length=tokens,
        use_vllm=engine != "transformers",
        use_cpu=engine == "transformers",
        bf16=engine != "transformers",
        max_steps=rollouts,
        logging_steps=1,
        save_strategy="no",
        report_to="none",
        **batch,
    )
    rows = Dataset.from_list([{"prompt": text} for text in prompts()])
    trainer = GRPOTrainer(model=str(student), args=config, train_dataset=rows, reward_funcs=[repetition_reward])
    trainer.train()
    seen = [log for log in trainer.state.log_history if "step_time" in log]
    names = {"mean_tokens": "completions/mean_length", "step_seconds": "step_time"}
    return [
        {**{ours: log[theirs] for ours, theirs in names.items()}, "completions": 8 * (PROMPTS if same_batch else 1)} for log in seen
    ]


def prompts() -> list[str]:
    return [f"<|im_start|>user\nWhat is {n} + 30?<|im_end|>\n<|im_start|>assistant\n" for n in range(8 * PROMPTS)]


def measure(part: str, options: argparse.Namespace, student: Path, work: Path) -> dict[str, Any]:
    engine = "transformers" if options.device == "cpu" else "vllm-colocate"
    tokens = 8 if options.tiny else 2048
    if part == "ours":
        return figures(ours(student, work, options.rollouts, tokens, engine, options.set), part)
    return figures(trl(student, work, options.rollouts, tokens, engine, part == "trl-same-batch"), part)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--part", choices=PARTS)
    parser.add_argument("--student", type=Path, help=argparse.SUPPRESS)
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="change a setting of ours, such as liger=false"
    )
    parser.add_argument("--rollouts", type=int, default=3)
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--tiny", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        student = options.student or make_student(Path(folder) / "student", None if options.tiny else "1.5b")
        if not options.part:  # vLLM gives its memory back only when its process ends
            for part in PARTS:
                subprocess.run([sys.executable, __file__, *sys.argv[1:], "--part", part, "--student", str(student)], check=False)
            return
        found = measure(options.part, options, student, Path(folder))
        found |= conditions()
        before = json.loads(options.out.read_text()) if options.out.is_file() else []
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(json.dumps([*before, found], indent=1))
        print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
