"""What sampling has used and may use: tokens, money, and the counts a person watches. One meter for a build."""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

from curation.records import Trace
from factory.prices import Price
from factory.purse import Counts, Purse

TEMPLATE_TOKENS = 64  # a chat template's own, at most: the longest default system prompt of a Qwen model has 20


class Spent(NamedTuple):
    prompt_tokens: int
    completion_tokens: int


@dataclasses.dataclass(slots=True)
class Meter:
    """Counts that go up, a budget, and what of it is promised to the requests in flight.

    The budget is hard: a request is only sent while the worst it can cost (each byte of its prompt a token, its answer as long
    as allowed) still fits beside what is spent and what is promised.
    """

    price: Price | None = None
    budget_usd: float | None = None
    budget_tokens: int | None = None
    prompt_tokens: int = 0
    completion_tokens: int = 0
    promised_prompt: int = 0
    promised_completion: int = 0
    pieces: int = 0  # that streams have brought so far, of answers finished or not
    answers: int = 0  # that came from the teacher
    reused: int = 0  # that came from the store
    cut: int = 0
    failed: int = 0
    retries: int = 0
    refused: int = 0  # 429
    failed_over: int = 0  # attempts that went to another endpoint than the first choice
    in_flight: int = 0
    limit: float = 0
    rate: float | None = None
    judged: int = 0
    correct: int = 0
    budget_reached: bool = False
    purse: Purse | None = None  # where other processes spend from the same budget

    def usd(self, prompt_tokens: int | None = None, completion_tokens: int | None = None) -> float | None:
        """US dollars of these tokens, or of all so far; None where the model has no price."""
        if self.price is None:
            return None
        asked = self.prompt_tokens if prompt_tokens is None else prompt_tokens
        given = self.completion_tokens if completion_tokens is None else completion_tokens
        return (asked * self.price.input_usd + given * self.price.output_usd) / 1e6

    def count(self, trace: Trace) -> None:
        """An answer that came without a promise: of a model in this process."""
        self.answers += trace.finish != "error"
        self.cut += trace.finish == "length"
        self.prompt_tokens += trace.prompt_tokens or 0
        self.completion_tokens += trace.completion_tokens or 0

    def affords(self, worst: Spent) -> bool:
        if self.purse is None:
            return self._fits(worst, Counts())
        with self.purse.locked():
            fits = self._fits(worst, self.purse.others())
            if fits:  # promised before another process looks
                self.purse.write(self._counts(worst))
            return fits

    def waits_for_others(self) -> bool:
        """Has another process promised what it may not need?"""
        return self.purse is not None and self.purse.others().promised_completion > 0

    def spent(self) -> Counts:
        """Of all processes that share the budget."""
        others = self.purse.others() if self.purse else Counts()
        return Counts(*(mine + more for mine, more in zip(self._counts(Spent(0, 0)), others, strict=True)))

    def _fits(self, worst: Spent, others: Counts) -> bool:
        promised = self.promised_prompt + others.promised_prompt, self.promised_completion + others.promised_completion
        prompt = self.prompt_tokens + others.prompt_tokens + promised[0] + worst.prompt_tokens
        completion = self.completion_tokens + others.completion_tokens + promised[1] + worst.completion_tokens
        if self.budget_tokens is not None and prompt + completion > self.budget_tokens:
            return False
        cost = self.usd(prompt, completion)
        return self.budget_usd is None or cost is None or cost <= self.budget_usd

    def promise(self, worst: Spent) -> None:
        self.promised_prompt += worst.prompt_tokens
        self.promised_completion += worst.completion_tokens

    def settle(self, worst: Spent, used: Spent) -> None:
        self.promised_prompt -= worst.prompt_tokens
        self.promised_completion -= worst.completion_tokens
        self.prompt_tokens += used.prompt_tokens
        self.completion_tokens += used.completion_tokens
        if self.purse is not None:
            self.purse.write(self._counts(Spent(0, 0)))

    def _counts(self, worst: Spent) -> Counts:
        promised = self.promised_prompt + worst.prompt_tokens, self.promised_completion + worst.completion_tokens
        return Counts(self.prompt_tokens, self.completion_tokens, self.answers, *promised)


def worst_case(characters_utf8: int, max_tokens: int) -> Spent:
    """No tokenizer in use makes more than one token of a byte."""
    return Spent(characters_utf8 + TEMPLATE_TOKENS, max_tokens)
