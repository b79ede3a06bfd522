"""Settings of `factory distill`: what supervised fine-tuning on traces does."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator, model_validator

from training.settings import Settings

Strategy = Literal["single", "ddp", "zero2", "zero3", "zero3-offload", "fsdp2"]
Head = Literal["tiled", "whole"]
Learned = Literal["correct", "incorrect", "undetermined", "no_gold"]


class SftSettings(Settings):
    """Defaults are ours, for a small student on a small set; presets in configs/training carry the originals' numbers."""

    learning_rate: float = Field(1e-5, gt=0)
    schedule: Literal["cosine", "constant", "linear"] = "cosine"
    final_lr_ratio: float = Field(0.0, ge=0, lt=1)  # the cosine ends at this share of learning_rate; R1's at 0.1
    warmup: float = Field(0.03, ge=0, lt=1)  # share of all steps; transformers 5.17 has no warmup_ratio any more
    epochs: int = Field(3, ge=1)
    rows_per_step: int = Field(16, ge=1)  # the batch of one optimiser step, of all processes; packed sequences where packing is on
    rows_per_pass: int = Field(1, ge=1)  # of them at a time through one GPU; changes memory and speed, not the result
    max_length: int = Field(32_768, ge=8)  # tokens; longer rows are left out and counted, never cut. TRL's default is 1,024
    # Verdicts of the rows to train on. A run has others where its recipe keeps them: s1K's wrong traces (choose.outcomes), general
    # rows with no gold at all (choose.without_gold); undetermined is a row whose gold could not settle it. No verdict: kept.
    outcomes: list[Learned] = Field(["correct"], min_length=1)
    packing: bool = False  # several rows in one sequence, each with its own positions and attention
    weight_decay: float = Field(0.0, ge=0)
    adam_beta1: float = Field(0.9, ge=0, lt=1)
    adam_beta2: float = Field(0.999, ge=0, lt=1)
    max_grad_norm: float = Field(1.0, gt=0)
    seed: int = 42
    precision: Literal["auto", "bf16", "fp32"] = "auto"  # of the passes; auto: bf16 on a GPU. Masters, sums and Adam are fp32
    # auto: varlen on a GPU where rows lie behind each other in one sequence, SDPA elsewhere.
    attention: Literal["auto", "sdpa", "eager", "varlen", "flash_attention_2", "flash_attention_3"] = "auto"
    liger: Literal["auto", "on", "off"] = "auto"  # fused norm, rotation and SwiGLU; auto: on a GPU, where it is installed
    # The logits, in tiles that are computed twice, or held whole; auto: whole on one GPU with Liger, where they fit.
    head: Literal["auto"] | Head = "auto"
    gradient_checkpointing: Literal["auto"] | bool = "auto"  # auto: only where the plan says that it does not fit without
    strategy: Literal["auto"] | Strategy = "auto"  # auto: single with one process, what the plan recommends with several
    processes: int | None = Field(None, ge=1)  # one a GPU; without it, all GPUs that are visible, or one on the CPU
    save_every_steps: int = Field(100, ge=1)  # a killed training goes on from the last of these
    chat_template: str | None = None  # a .jinja file, for a student that has none or should not keep its own
    pad_token: str | None = None  # for a student that pads with the token that ends a turn

    @field_validator("liger", mode="before")
    @classmethod
    def _on(cls, said: object) -> object:
        return {True: "on", False: "off"}[said] if isinstance(said, bool) else said  # YAML reads on and off as truths

    @model_validator(mode="after")
    def _fits(self) -> SftSettings:
        at_once = self.rows_per_pass * (self.processes or 1)
        if self.rows_per_step % at_once:
            raise ValueError(f"rows_per_step {self.rows_per_step} is no multiple of {self._at_once(at_once)}")
        if self.final_lr_ratio and self.schedule != "cosine":
            raise ValueError(f"final_lr_ratio is of the cosine schedule, not of {self.schedule}")
        if self.packing and self.attention == "eager":
            raise ValueError("packing needs an attention that keeps rows apart: varlen, sdpa or FlashAttention, not eager")
        return self

    def _at_once(self, rows: int) -> str:
        return f"rows_per_pass {self.rows_per_pass}" + (f" times {self.processes} processes ({rows})" if self.processes else "")
