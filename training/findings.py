"""What the parity gate can find: a word, its cause and its remedy, for each way in which training and serving come apart."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple

Kind = Literal[
    "no_template",
    "no_end_of_turn",
    "answer_has_header",
    "end_is_pad",
    "end_not_in_generation_config",
    "out_of_vocabulary",
    "beyond_window",
    "tokenizer_changed",
    "template_changed",
    "vllm_differs",
    "truncated",
    "bos_doubled",
    "thinking_dropped",
    "thinking_doubled",
    "thinking_missing",
    "boundary_merged",
    "text_differs",
    "end_missing",
    "end_masked",
    "end_inside_answer",
    "mask_covers_prompt",
    "mask_misses_answer",
    "mask_after_end",
]

# kind -> what goes wrong, what to do. Numbers are issues in which people met it (open-r1's, where nothing else is said).
WORDS: dict[Kind, tuple[str, str]] = {
    "no_template": (
        "the model's folder has no chat template",
        "name one with chat_template in the training config; the tokenizer must be saved with it",
    ),
    "no_end_of_turn": (
        "the chat template ends an answer with no special token, so the model cannot learn to stop",
        "use a template that ends each turn with one, such as ChatML's <|im_end|>",
    ),
    "answer_has_header": (
        "the template puts text between the prompt and the answer that a server leaves to the model, such as gpt-oss's channels",
        "use a student whose answers follow the prompt at once, or a chat_template of that kind",
    ),
    "end_is_pad": (  # 492, 603; TRL 1623, 3091
        "the token that ends a turn is the padding token, which collators mask, so the model never learns to stop",
        "name another padding token with pad_token in the training config",
    ),
    "end_not_in_generation_config": (  # 494, 604; axolotl 3754
        "the generation config does not stop at the token that ends a turn, so a server runs on to the length limit",
        "add the token's id to eos_token_id of generation_config.json",
    ),
    "out_of_vocabulary": (
        "the tokenizer gives ids that the model has no embedding for",
        "use the tokenizer that belongs to the model, or resize the embeddings",
    ),
    "beyond_window": (  # Qwen2.5-Math has 4,096 positions, traces of R1 up to 32,768
        "rows are longer than the model's window, so positions that it has never seen would be trained from nothing",
        "lower max_length, or raise max_position_embeddings and the RoPE base first, as open-r1 did",
    ),
    "tokenizer_changed": (
        "the tokenizer loaded from the folder splits text otherwise than the one before: transformers 5 picks the tokenizer's "
        "class from the model type and rebuilds normaliser and pre-tokenizer from that class",
        "train the tokenizer through that class (Qwen2Tokenizer().train_new_from_iterator), or save it under a model type "
        "whose class keeps them",
    ),
    "template_changed": (
        "the chat template in the folder is not the one that was trained with",
        "save the tokenizer with the template of the training, and look for a stale chat_template.jinja",
    ),
    "vllm_differs": (  # vLLM has tokenizers of its own for some families
        "vLLM renders the conversation to other tokens than the row has before its answer",
        "compare vllm.tokenizers.get_tokenizer of the folder with transformers' AutoTokenizer, and serve with this chat template",
    ),
    "truncated": (
        "rows are cut before their end, so they teach the model to stop in the middle or never",
        "raise max_length, or leave such rows out",
    ),
    "bos_doubled": (
        "rows begin with the beginning-of-sequence token twice: the template wrote it and the tokenizer added it",
        "tokenise rendered text with add_special_tokens=False",
    ),
    "thinking_dropped": (  # 515; LLaMA-Factory 8496; slime 330
        "the thinking of the answer is not in the row: templates of DeepSeek-R1 and its distillations cut all before </think>",
        "render the answer apart from the prompt, as training.rendering does, or use a training template",
    ),
    "thinking_doubled": (  # LLaMA-Factory 9092; vLLM 13125
        "the thought is there twice: the template opens it, or closes an empty one, and the answer opens it again",
        "take the tag off the answer, or use a template that leaves the thought to the model",
    ),
    "thinking_missing": (
        "the template opens a thought that the answer does not have, so answers would be learned as thoughts without an end",
        "keep examples with thinking only, or use a template that does not open the thought",
    ),
    "boundary_merged": (
        "prompt and answer were tokenised in one piece, and a token spans both: a server never sees it",
        "tokenise prompt and answer apart, as training.rendering does",
    ),
    "text_differs": (
        "a row's text is not what a server gives for the conversation, and not for a reason known here",
        "compare the training's chat template and system prompt with those of the folder",
    ),
    "end_missing": (
        "rows do not hold the token that ends the turn",
        "render with the chat template's end of turn",
    ),
    "end_masked": (  # TRL 931; OpenRLHF 985
        "the token that ends the turn is not covered by the loss, so the model never learns to stop",
        "put it inside the mask; in a TRL template, inside {% generation %}",
    ),
    "end_inside_answer": (
        "the answer's text spells the token that ends the turn, and the model would learn to stop in the middle",
        "leave such rows out",
    ),
    "mask_covers_prompt": (
        "the loss covers tokens of the prompt",
        "mask everything before the answer, the opening of the assistant's turn included",
    ),
    "mask_misses_answer": (
        "the loss leaves out tokens of the answer",
        "cover the whole answer, thinking included",
    ),
    "mask_after_end": (
        "the loss covers tokens behind the end of the turn, which a server never lets the model write",
        "mask everything behind the token that ends the turn",
    ),
}


class Finding(NamedTuple):
    kind: Kind
    cause: str
    remedy: str
    rows: int  # how many rows show it; 0 where it is of the model's folder and not of a row
    example: str  # what was seen, of the first such row


def finding(kind: Kind, example: str, rows: int = 0) -> Finding:
    cause, remedy = WORDS[kind]
    return Finding(kind, cause, remedy, rows, example)


def gathered(seen: Iterable[tuple[Kind, str]]) -> list[Finding]:
    """One finding for each kind, in order of appearance, with the number of rows and the first example."""
    found: dict[Kind, Finding] = {}
    for kind, example in seen:
        before = found.get(kind)
        found[kind] = before._replace(rows=before.rows + 1) if before else finding(kind, example, 1)
    return list(found.values())


def difference(got: Sequence[int], wanted: Sequence[int]) -> str:
    """Where two rows of tokens come apart, and their tokens from there."""
    at = next((n for n, (a, b) in enumerate(zip(got, wanted, strict=False)) if a != b), min(len(got), len(wanted)))
    return f"from token {at}: {list(got[at : at + 4])} instead of {list(wanted[at : at + 4])}"
