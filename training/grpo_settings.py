"""Settings of `factory grpo`: reinforcement learning with verifiable rewards, on one training device or several.

Keys that TRL 1.16 has keep TRL's name. Sizes are ours, since TRL's per-device batch counts completions, not prompts:
a rollout is `prompts_per_rollout` x `samples_per_prompt` completions, split into optimiser steps of `completions_per_step`.

Which keys make which algorithm (others as they stand below):
    GRPO         loss_type grpo, scale_rewards group                                        arXiv 2402.03300
    Dr. GRPO     loss_type dr_grpo, scale_rewards none                                      arXiv 2503.20783
    DAPO         loss_type dapo, scale_rewards group, epsilon_high 0.28, dynamic_sampling   arXiv 2503.14476
    GSPO         loss_type grpo, importance_sampling_level sequence, epsilon 3e-4, epsilon_high 4e-4   arXiv 2507.18071
    CISPO        loss_type cispo, epsilon_high above 1, which bounds the ratio itself       arXiv 2506.13585
    RLOO         baseline leave-one-out, scale_rewards none, loss_type dr_grpo              arXiv 2402.14740
    REINFORCE++  baseline batch, scale_rewards batch: advantages normalised over the batch  arXiv 2501.03262
RLOO weighs whole answers by their advantage: the sum over tokens by a constant (dr_grpo, max_completion_tokens) has its gradient
on-policy, that many times smaller; the mean over an answer's tokens (grpo) would punish a long wrong answer less than a short one.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator

from training.settings import Settings

# What a stage may not change: the prompts are rendered once, and the tokenizer and the GPUs are those of the whole training.
FIXED = (
    "chat_template",
    "pad_token",
    "system",
    "prompt",
    "domain",
    "prompt_column",
    "answer_column",
    "max_prompt_tokens",
    "processes",
    "strategy",
    "stages",
)


class GrpoSettings(Settings):
    """Defaults are ours: DAPO's token loss and Dr. GRPO's unbiased sum of rewards, without KL; presets carry the originals'."""

    doubt: Literal["skip", "wrong"] = "skip"  # a completion of which the verifier cannot tell: teaches nothing, or counts as wrong
    rewards: dict[str, float | dict[str, float | str]] = Field(
        default={"accuracy": 1.0}
    )  # name -> weight, or weight and parameters
    stages: list[dict[str, Any]] = Field(
        default=[]
    )  # one after the other, each changes some of these keys; DeepScaleR's 8k, 16k, 24k

    prompts_per_rollout: int = Field(16, ge=1)
    samples_per_prompt: int = Field(8, ge=2)  # G of the GRPO paper
    completions_per_step: int | None = Field(None, ge=1)  # of one optimiser step; None: the whole rollout, fully on-policy
    completions_per_pass: int = Field(8, ge=1)  # of them at a time through one GPU; changes memory and speed alone
    num_iterations: int = Field(1, ge=1)  # times a rollout is learned from
    rollouts: int | None = Field(None, ge=1)  # None: as many as `epochs` give
    epochs: int = Field(1, ge=1)  # over the prompts
    max_prompt_tokens: int = Field(1_024, ge=1)  # longer prompts are left out and counted: TRL has no limit any more
    max_completion_tokens: int = Field(2_048, ge=1)  # TRL's default is 512

    generation: Literal["auto", "transformers", "vllm-colocate", "vllm-server"] = "auto"  # auto: vLLM where it and a GPU are
    vllm_memory_share: float = Field(0.3, gt=0, lt=1)  # of the GPU, for vLLM's weights and KV cache when colocated
    vllm_sleep: bool = False  # vLLM gives its memory back while the student is trained
    vllm_server_url: str = "http://localhost:8000"
    temperature: float = Field(1.0, gt=0)
    top_p: float = Field(1.0, gt=0, le=1)
    top_k: int = Field(0, ge=0)  # 0: off

    loss_type: Literal["grpo", "bnpo", "dapo", "dr_grpo", "cispo", "sapo", "luspo"] = "dapo"
    importance_sampling_level: Literal["token", "sequence"] = "token"  # sequence: GSPO
    baseline: Literal["group", "leave-one-out", "batch"] = "group"  # leave-one-out: RLOO; batch: REINFORCE++
    scale_rewards: Literal["group", "batch", "none"] = "none"  # what advantages are divided by the standard deviation of
    epsilon: float = Field(0.2, ge=0)
    epsilon_high: float | None = Field(None, ge=0)  # None: as epsilon; DAPO's clip-higher 0.28
    delta: float | None = Field(None, gt=1)  # bound of the ratio where it is not clipped; DAPO's dual clip 10
    beta: float = Field(0.0, ge=0)  # of the KL to the reference; 0 loads none
    use_bias_correction_kl: bool = False  # TRL's default True is DeepSeek-V3.2's; recipes of 2025 have plain k3
    sync_ref_every_steps: int | None = Field(None, ge=1)  # the reference becomes the policy; R1: 400
    entropy_coef: float = 0.0
    mask_truncated_completions: bool = False  # a cut completion teaches nothing
    # DAPO: groups whose answers are all judged alike are replaced by new prompts, whatever else they are paid for; where no reward
    # judges, groups whose rewards are all equal.
    dynamic_sampling: bool = False
    max_refills: int = Field(9, ge=1)  # DAPO: at most 10 generation batches
    mismatch_correction: Literal["none", "token_truncate", "token_mask", "sequence_truncate", "sequence_mask"] = "token_truncate"
    mismatch_cap: float = Field(3.0, gt=0)  # of the ratio between the probabilities of the student and of vLLM

    learning_rate: float = Field(1e-6, gt=0)
    schedule: Literal["cosine", "constant", "linear"] = "constant"
    final_lr_ratio: float = Field(0.0, ge=0, lt=1)  # the cosine ends at this share of learning_rate
    warmup: float = Field(0.0, ge=0)  # below 1 a share of all steps, else steps
    weight_decay: float = Field(0.0, ge=0)
    adam_beta1: float = Field(0.9, ge=0, lt=1)
    adam_beta2: float = Field(0.999, ge=0, lt=1)
    max_grad_norm: float = Field(1.0, gt=0)
    seed: int = 42
    precision: Literal["auto", "bf16", "fp32"] = "auto"  # of the passes; auto: bf16 on a GPU. Masters and Adam are fp32
    attention: Literal["sdpa", "eager", "flash_attention_2"] = "sdpa"
    liger: bool = False  # fused norm, rotation and SwiGLU, on a GPU
    gradient_checkpointing: bool = True
    strategy: Literal["auto", "single", "ddp", "zero2", "zero3"] = "auto"  # auto: single on one, with several the fastest that fits
    processes: int | None = Field(None, ge=1)  # one a GPU; without it, all GPUs that are visible, or one on the CPU
    save_every_rollouts: int | None = Field(10, ge=1)  # a killed training goes on from the last of these; null: none are kept

    system: str | None = None
    prompt: str = Field("{problem}", pattern=r"\{problem\}")  # the user's turn; {problem} is replaced
    chat_template: str | None = None  # a .jinja file, for a student that has none or should not keep its own
    pad_token: str | None = None  # for a student that pads with the token that ends a turn
    domain: str = "math"  # of rows that do not say theirs
    prompt_column: str | None = None  # of a data set; None: found by its usual names
    answer_column: str | None = None

    difficulty: str | None = None  # a table of pass rates; None: the run's own, where the limits below ask for one
    difficulty_models: list[str] = Field(default=[])  # whose pass rates; empty: all in the table
    min_pass_rate: float = Field(0.0, ge=0, le=1)  # problems below are left out
    max_pass_rate: float = Field(1.0, ge=0, le=1)

    # Defaults stop what is dead, not what is going badly: of 30 trainings of tiny students that learned, none had less than 0.08
    # nats, a reward_std of 0.16 and 30 tokens an answer. Tighten them for a long run.
    health_window: int = Field(20, ge=1)  # rollouts whose median is held against the limits; null turns a limit off
    max_silent_groups: float | None = Field(1.0, ge=0, le=1)  # share of groups that teach nothing: training.grpo_lines says which
    max_truncated: float | None = Field(0.98, ge=0, le=1)  # share of completions cut at max_completion_tokens
    min_reward_std: float | None = Field(1e-3, ge=0)  # one right answer of 8,192 gives 0.011; below is the jitter of a small term
    min_entropy: float | None = Field(
        1e-3, ge=0
    )  # nats a token; 1,000 tokens have 1 nat then: a prompt's answers are 3 texts at most
    max_entropy: float | None = Field(8.0, gt=0)  # as if each token were one of 3,000 alike; a uniform draw of 151,936 has 11.9
    max_kl: float | None = Field(10.0, gt=0)  # nats a token, by k3: where the reference gives each token e^-11, 1 in 60,000
    min_mean_tokens: float | None = Field(2.0, ge=0)  # of a completion, its end included: below 2 most answers are empty
    max_mismatch: float | None = Field(0.2, gt=0)  # nats a token between student and vLLM: 0.01 to 0.05 are usual

    @model_validator(mode="after")
    def _fits(self) -> GrpoSettings:
        rollout, step = self.completions_per_rollout, self.step_size
        if rollout % step or step % self.at_once:
            several = f" times {self.processes} processes ({self.at_once})" if self.processes else ""
            raise ValueError(
                f"a rollout of {rollout} completions ({self.prompts_per_rollout} prompts x {self.samples_per_prompt}) wants "
                f"completions_per_step {step} to divide it and completions_per_pass {self.completions_per_pass}{several} to divide "
                "the step"
            )
        if not self.rewards:
            raise ValueError("rewards is empty: name at least one, such as {accuracy: 1.0}")
        if self.final_lr_ratio and self.schedule != "cosine":
            raise ValueError(f"final_lr_ratio is of the cosine schedule, not of {self.schedule}")
        if self.loss_type == "cispo" and (self.epsilon_high or 0) <= 1:
            raise ValueError(
                "loss_type cispo wants epsilon_high above 1, such as 5: there it bounds the ratio itself, not its excess"
            )
        if self.importance_sampling_level == "sequence" and self.loss_type not in ("grpo", "luspo", "sapo"):
            raise ValueError(
                f"importance_sampling_level sequence goes with loss_type grpo or luspo: {self.loss_type} sums over tokens"
            )
        if self.sync_ref_every_steps and not self.beta:
            raise ValueError("sync_ref_every_steps moves the reference, which there is only with beta above 0")
        if self.baseline == "batch" and self.scale_rewards == "group":
            raise ValueError("baseline batch goes with scale_rewards batch or none: a group's own spread is of its own mean")
        if self.min_pass_rate > self.max_pass_rate:
            raise ValueError(f"min_pass_rate {self.min_pass_rate} is above max_pass_rate {self.max_pass_rate}")
        self.each_stage()
        return self

    @property
    def completions_per_rollout(self) -> int:
        return self.prompts_per_rollout * self.samples_per_prompt

    @property
    def step_size(self) -> int:
        """Completions of one optimiser step."""
        return self.completions_per_step or self.completions_per_rollout

    @property
    def at_once(self) -> int:
        """Completions of one pass of all processes."""
        return self.completions_per_pass * (self.processes or 1)

    @property
    def alone(self) -> bool:
        """Whether one process trains."""
        return (self.processes or 1) == 1

    def in_bf16(self, *, cuda: bool) -> bool:
        """Whether the passes are."""
        return self.precision == "bf16" or (self.precision == "auto" and cuda)

    @property
    def steps_per_rollout(self) -> int:
        return self.completions_per_rollout // self.step_size * self.num_iterations

    def each_stage(self) -> list[GrpoSettings]:
        """The settings of every stage, in order; these alone where there are no stages."""
        mine = self.model_dump(exclude={"stages"})
        for stage in self.stages:
            if fixed := [key for key in stage if key in FIXED]:
                raise ValueError(f"a stage cannot change {fixed[0]}: it is one for the whole training")
        return [GrpoSettings.model_validate({**mine, **stage}) for stage in self.stages] or [self]
