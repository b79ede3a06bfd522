"""A conversation as the tokens that a server would see and the model would write, and which of them are learned.

The prompt is rendered and tokenised by itself, exactly as a server does it, and the answer by itself, as the model will write it:
no token spans the two, whatever the chat template does with finished turns (DeepSeek-R1's throws thinking away, Qwen3's moves it).
Only the last turn is learned: templates of reasoning models leave the thinking of earlier turns out of the prompt.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from curation.records import Message

THINK = "<think>"
IGNORED = -100  # the label that torch's cross entropy leaves out
_ANSWER = "factoryanswer"  # stands for an answer while the template is asked how it ends a turn


class Row(NamedTuple):
    """One training row."""

    input_ids: list[int]
    learned: list[bool]  # which of them the loss covers


class Turn(NamedTuple):
    """How a template ends an assistant's turn."""

    closing: str  # text after the answer, up to and with the token that ends the turn
    end_id: int
    end_token: str


def render(messages: Sequence[Message], tokenizer: Any, turn: Turn) -> Row:
    """The row of a conversation whose last message is the assistant's; the loss covers that answer and its end-of-turn token.

    Raises jinja2.TemplateError where the template refuses the messages.
    """
    *before, last = messages
    prompt = prompt_text(tokenizer, before)
    prompt_ids = encode(tokenizer, prompt)
    answer_ids = encode(tokenizer, continuation(prompt, last["content"]) + turn.closing)
    return Row(prompt_ids + answer_ids, [False] * len(prompt_ids) + [True] * len(answer_ids))


def labels(row: Row) -> list[int]:
    return [i if learned else IGNORED for i, learned in zip(row.input_ids, row.learned, strict=True)]


def prompt_text(tokenizer: Any, messages: Sequence[Message]) -> str:
    """What a server puts before the model's answer."""
    return str(tokenizer.apply_chat_template(list(messages), tokenize=False, add_generation_prompt=True))


def continuation(prompt: str, answer: str) -> str:
    """The answer as the model has to write it: without an opening tag that the template has written already."""
    if not opens_thought(prompt):
        return answer
    opening = prompt[prompt.rindex(THINK) :]  # with the line break that some templates put behind it
    return answer.removeprefix(opening) if answer.startswith(opening) else answer.removeprefix(THINK).lstrip("\n")


def opens_thought(prompt: str) -> bool:
    return prompt.rstrip().endswith(THINK)


def closes_thought(prompt: str) -> bool:
    """Qwen3.5's way to answer without thinking: the prompt holds an empty thought."""
    return prompt.rstrip().endswith("</think>")


def encode(tokenizer: Any, text: str) -> list[int]:
    return list(tokenizer(text, add_special_tokens=False)["input_ids"])


def header(tokenizer: Any) -> str:
    """What a template puts between the prompt and a finished answer besides a thought, and a server leaves to the model.

    Empty for nearly all. gpt-oss has its channel there: text that the model must write before each answer.
    """
    asked = [{"role": "user", "content": "x"}]
    before, _, _ = _finished(tokenizer).rpartition(_ANSWER)
    prompt = prompt_text(tokenizer, asked)
    prompt = prompt[: prompt.rindex(THINK)] if opens_thought(prompt) else prompt
    if prompt.startswith(before):  # the prompt says more, such as an empty thought
        return ""
    between = before[len(prompt) :] if before.startswith(prompt) else before
    return between.replace(THINK, "").replace("</think>", "").strip()


def _finished(tokenizer: Any) -> str:
    turns = [{"role": "user", "content": "x"}, {"role": "assistant", "content": _ANSWER}]
    return str(tokenizer.apply_chat_template(turns, tokenize=False))


def end_of_turn(tokenizer: Any) -> Turn | None:
    """How the chat template ends an answer; None where no special token does, so that a server could not stop."""
    _, found, after = _finished(tokenizer).rpartition(_ANSWER)
    special = set(tokenizer.all_special_ids) | {i for i, t in tokenizer.added_tokens_decoder.items() if t.special}
    end_id = next((i for i in encode(tokenizer, after) if i in special), None) if found else None
    if end_id is None:
        return None
    token = str(tokenizer.convert_ids_to_tokens(end_id))
    before, _, _ = after.partition(token)
    return Turn(before + token, end_id, token)
