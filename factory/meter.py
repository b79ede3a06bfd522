"""What sampling has used and may use: tokens, money, and the counts a person watches. One meter for a build."""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

from curation.records import Trace
from factory.prices import Price
from factory.purse import Counts, Purse
from factory.sampling import Answer

TEMPLATE_TOKENS = 64  # a chat template's own, at most: the longest default system prompt of a Qwen model has 20
USUAL_SHARE = 0.25  # tokens of a byte, in English
LONGEST_TOKEN = 128  # bytes: runs of spaces, in the vocabularies of Llama 3 and Qwen


class Spent(NamedTuple):
    prompt_tokens: int
    completion_tokens: int


NOTHING = Spent(0, 0)


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
    looked_at: int = 0  # answers of the first shard, judged for the eye (factory.first_look)
    looked_correct: int = 0
    budget_reached: bool = False
    purse: Purse | None = None  # where other processes spend from the same budget
    beside: Meter | None = dataclasses.field(
        default=None, repr=False, compare=False
    )  # another model's on the same budget: judge and teacher
    lost_tokens: int = 0  # of the prompt and completion tokens, those of attempts that broke off
    _worst_prompts: int = 0  # of the answers counted so far

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
        if self.budget_usd is None and self.budget_tokens is None:
            return True
        if self.purse is None:
            return self._fits(worst, Counts())
        with self.purse.locked():
            fits = self._fits(worst, self.purse.others())
            if fits:  # promised before another process looks
                self.purse.write(self._counts(worst))
            return fits

    def waits_for_others(self) -> bool:
        """Has another process, or another model, promised what it may not need?"""
        if self.beside is not None and self.beside.promised_completion > 0:
            return True
        return self.purse is not None and self.purse.others().promised_completion > 0

    def spent(self) -> Counts:
        """Of all processes that share the budget."""
        others = self.purse.others() if self.purse else Counts()
        return Counts(*(mine + more for mine, more in zip(self._counts(NOTHING), others, strict=True)))

    def all_spent(self) -> str:
        """Tokens and dollars of all models and processes that share the budget, for a person."""
        spent = [(m, m.spent()) for m in (self, self.beside) if m is not None]
        tokens = sum(s.prompt_tokens + s.completion_tokens for _, s in spent)
        usd = [cost for m, s in spent if (cost := m.usd(s.prompt_tokens, s.completion_tokens)) is not None]
        return f"{tokens:,} tokens" + (f", ${sum(usd):,.2f}" if usd else "")

    def _fits(self, worst: Spent, others: Counts) -> bool:
        tokens, usd = self._committed(worst, others)
        if self.beside is not None:
            more = self.beside._committed(NOTHING, self.beside.purse.others() if self.beside.purse else Counts())
            tokens, usd = tokens + more[0], usd + more[1]
        return not (
            (self.budget_tokens is not None and tokens > self.budget_tokens)
            or (self.budget_usd is not None and usd > self.budget_usd)
        )

    def _committed(self, worst: Spent, others: Counts) -> tuple[int, float]:
        """Tokens and dollars that are spent or promised, with those of one more request."""
        promised = self.promised_prompt + others.promised_prompt, self.promised_completion + others.promised_completion
        prompt = self.prompt_tokens + others.prompt_tokens + promised[0] + worst.prompt_tokens
        completion = self.completion_tokens + others.completion_tokens + promised[1] + worst.completion_tokens
        return prompt + completion, self.usd(prompt, completion) or 0.0

    def promise(self, worst: Spent) -> None:
        self.promised_prompt += worst.prompt_tokens
        self.promised_completion += worst.completion_tokens

    def settle(self, worst: Spent, used: Spent) -> None:
        self.promised_prompt -= worst.prompt_tokens
        self.promised_completion -= worst.completion_tokens
        self.prompt_tokens += used.prompt_tokens
        self.completion_tokens += used.completion_tokens
        self._worst_prompts += worst.prompt_tokens if used.prompt_tokens else 0
        if self.purse is not None:
            self.purse.write(self._counts(NOTHING))

    def lose(self, worst: Spent, completion_tokens: int) -> None:
        """Tokens of an attempt that broke off, which are on the bill; its prompt is counted like those of the answers so far."""
        prompt_tokens = worst.prompt_tokens * (self.prompt_tokens / self._worst_prompts if self._worst_prompts else USUAL_SHARE)
        self.prompt_tokens += round(prompt_tokens)
        self.completion_tokens += completion_tokens
        self.lost_tokens += round(prompt_tokens) + completion_tokens

    def _counts(self, worst: Spent) -> Counts:
        promised = self.promised_prompt + worst.prompt_tokens, self.promised_completion + worst.completion_tokens
        return Counts(self.prompt_tokens, self.completion_tokens, self.answers, *promised)


def told_or_guessed(answer: Answer, worst: Spent) -> Spent:
    """What an answer is counted with: the server's own figures, or the length of its texts where it gives none that can be.

    Servers that leave `usage` out, or say 0, would otherwise cost nothing, and no budget would ever be reached.
    """
    size = sum(len(text.encode()) for text in (answer.text, answer.reasoning) if text)
    completion = answer.completion_tokens or 0
    if completion * LONGEST_TOKEN < size:
        completion = round(guessed(size))
    asked = 0 if answer.finish == "error" and not size else round(guessed(worst.prompt_tokens))
    return Spent(asked if answer.prompt_tokens is None else answer.prompt_tokens, completion)


def guessed(bytes_utf8: int) -> float:
    """The tokens of a text whose tokens nobody has counted."""
    return bytes_utf8 * USUAL_SHARE


def worst_case(characters_utf8: int, max_tokens: int) -> Spent:
    """No tokenizer in use makes more than one token of a byte."""
    return Spent(characters_utf8 + TEMPLATE_TOKENS, max_tokens)
