"""From our settings to TRL's GRPOConfig: every key that has bitten somebody is written down, whatever TRL's default is today."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from curation.ports import free_port
from training.grpo_settings import GrpoSettings
from training.rendering import Turn


def arguments(
    settings: GrpoSettings,
    folder: Path,
    rows: int,
    weights: tuple[float, ...],
    engine: str,
    turn: Turn,
    *,
    cuda: bool,
    window: int | None = None,
) -> Any:
    """The GRPOConfig of a stage that sees `rows` prompts, each once; `window` is the student's, in tokens, if it has one."""
    from trl import GRPOConfig

    made = GRPOConfig(
        **{**_loop(settings, folder, rows, cuda), **_learning(settings, weights), **_sampling(settings, engine, turn, window)}
    )
    if settings.alone:
        made._n_gpu = 1  # of several that are visible; transformers would take them all, by nn.DataParallel
    return made


def _loop(settings: GrpoSettings, folder: Path, rows: int, cuda: bool) -> dict[str, Any]:
    floor = {"min_lr_rate": settings.final_lr_ratio} if settings.final_lr_ratio else {}
    warmed = {"constant": "constant_with_warmup"}.get(settings.schedule, settings.schedule)
    # Never in the middle of a rollout: it would be sampled anew.
    every = settings.save_every_rollouts and settings.save_every_rollouts * settings.steps_per_rollout
    return {
        "output_dir": str(folder),
        "max_steps": rows // settings.prompts_per_rollout * settings.steps_per_rollout,
        "per_device_train_batch_size": settings.completions_per_pass,
        "gradient_accumulation_steps": settings.step_size // settings.at_once,
        "generation_batch_size": settings.completions_per_rollout,
        "num_generations": settings.samples_per_prompt,
        "shuffle_dataset": False,  # the rows are in order already
        "learning_rate": settings.learning_rate,
        "lr_scheduler_type": "cosine_with_min_lr" if floor else warmed,
        "lr_scheduler_kwargs": floor,
        "warmup_steps": settings.warmup,  # below 1 it is a share
        "weight_decay": settings.weight_decay,
        "adam_beta1": settings.adam_beta1,
        "adam_beta2": settings.adam_beta2,
        "max_grad_norm": settings.max_grad_norm,
        "seed": settings.seed,
        # Alone no autocast: the weights themselves are bf16, beside our fp32 masters (training.masters). ZeRO has such of its own.
        "bf16": settings.in_bf16(cuda=cuda) and not settings.alone,
        "use_cpu": not cuda,
        "gradient_checkpointing": settings.gradient_checkpointing,
        "gradient_checkpointing_kwargs": {"use_reentrant": False},
        "save_strategy": "steps" if every else "no",
        **({"save_steps": every} if every else {}),
        "save_total_limit": None,  # training.grpo_lines removes those that nobody can need
        "logging_steps": 1,
        "logging_first_step": True,
        "logging_nan_inf_filter": False,
        "report_to": "none",
        "disable_tqdm": True,
        "dataloader_pin_memory": cuda,
        "ddp_find_unused_parameters": False,
        # Seconds that a process waits for another; transformers has 1,800. All wait for the longest answers of a rollout, and for
        # the first process alone where a server samples. A dead one is seen by the launcher, not by this.
        "ddp_timeout": 7 * 24 * 3_600,
    }


def _learning(settings: GrpoSettings, weights: tuple[float, ...]) -> dict[str, Any]:
    synced = settings.sync_ref_every_steps
    return {
        "loss_type": settings.loss_type,
        "importance_sampling_level": settings.importance_sampling_level,
        "scale_rewards": settings.scale_rewards,
        "reward_weights": list(weights),
        "num_iterations": settings.num_iterations,
        "epsilon": settings.epsilon,
        "epsilon_high": settings.epsilon_high,
        "delta": settings.delta,
        "beta": settings.beta,
        "use_bias_correction_kl": settings.use_bias_correction_kl,
        "entropy_coef": settings.entropy_coef,
        "mask_truncated_completions": settings.mask_truncated_completions,
        **({"sync_ref_model": True, "ref_model_mixup_alpha": 1.0, "ref_model_sync_steps": synced} if synced else {}),
    }


def _sampling(settings: GrpoSettings, engine: str, turn: Turn, window: int | None) -> dict[str, Any]:
    sampled = {
        "max_completion_length": settings.max_completion_tokens,
        "temperature": settings.temperature,
        "top_p": settings.top_p,
        "top_k": settings.top_k,
        "repetition_penalty": 1.0,
        "use_vllm": engine != "transformers",
    }
    if engine == "transformers":
        return sampled
    # Only tokens are read of the answers, and no text need be made of them. A server's API has no such key.
    unread = {"detokenize": False} if engine == "vllm-colocate" else {}
    corrected = settings.mismatch_correction != "none"
    most = settings.max_prompt_tokens + settings.max_completion_tokens
    return sampled | {
        "vllm_mode": engine.removeprefix("vllm-"),
        "vllm_gpu_memory_utilization": settings.vllm_memory_share,
        "vllm_enable_sleep_mode": settings.vllm_sleep and engine == "vllm-colocate",
        "vllm_max_model_length": min(most, window or most),  # prompts that leave answers no room are refused before
        # TRL's one port for the weights would let one training with a server run on a host.
        **({"vllm_server_base_url": settings.vllm_server_url, "vllm_group_port": free_port("")} if engine == "vllm-server" else {}),
        # A base model's files name <|endoftext|> alone, and vLLM reads those files, not the student in memory.
        "generation_kwargs": {"stop_token_ids": [turn.end_id], **unread},
        "vllm_importance_sampling_correction": corrected,
        **({"vllm_importance_sampling_mode": settings.mismatch_correction} if corrected else {}),
        "vllm_importance_sampling_clip_max": settings.mismatch_cap,
    }
