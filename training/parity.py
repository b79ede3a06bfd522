"""The parity gate: the tokens trained on are the tokens served. Run before the first step, and on the saved model again.

Every check is against the folder as a server loads it from disk, never against a tokenizer in memory. What the gate holds to be
right is `training.rendering.render` with that folder's own tokenizer; rows may come from there or from any other trainer.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from curation.errors import UserError
from curation.records import Message
from training.findings import Finding, Kind, difference, finding, gathered
from training.parity_vllm import vllm_differs
from training.rendering import THINK, Row, Turn, closes_thought, encode, end_of_turn, header, opens_thought, prompt_text, render

PROBES = 100  # conversations whose texts are compared between tokenizers; they differ in the first few or in none


class Case(NamedTuple):
    """A conversation and the row that was made of it."""

    messages: Sequence[Message]
    row: Row


class Served(NamedTuple):
    """A model's folder as a server sees it."""

    tokenizer: Any
    folder: Path
    eos_ids: set[int]
    pad_id: int | None
    vocabulary: int | None  # rows of the embedding
    window: int | None  # positions


def check(cases: Sequence[Case], folder: Path, trained_with: Any = None) -> list[Finding]:
    """Everything in which `cases` and a server of `folder` come apart; empty where training may start.

    `trained_with` is the tokenizer in memory that made the rows, where there is one: compared with the folder's. Findings of the
    folder come first. Where the folder has no usable template or tokenizer, the rows are not looked at.
    """
    served = load_served(folder)
    if served.tokenizer.chat_template is None:
        return [finding("no_template", str(folder))]
    turn = end_of_turn(served.tokenizer)
    if turn is None:
        return [finding("no_end_of_turn", str(folder))]
    changed = list(_changed(served, probes(cases), trained_with))
    faults = changed or gathered(s for case in cases for s in diagnose(case, served.tokenizer, turn))
    return [*_folder(served, turn, cases), *(faults or gathered(vllm_differs(cases[:PROBES], folder)))]


def probes(cases: Sequence[Case]) -> list[str]:
    """Texts on which tokenizers are compared."""
    return [m["content"] for case in cases[:PROBES] for m in case.messages]


def require(findings: Sequence[Finding], when: str) -> None:
    """Raise UserError, with every cause and remedy, where there is any finding."""
    if findings:
        said = "; ".join(
            f"{f.kind}{f' in {f.rows:,} rows' if f.rows else ''}: {f.cause} ({f.example}): {f.remedy}" for f in findings
        )
        raise UserError(f"{when}, the parity gate found {len(findings)} fault{'s' if len(findings) > 1 else ''}: {said}")


def load_served(folder: Path) -> Served:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    config = json.loads((folder / "config.json").read_text("utf-8"))
    generation = folder / "generation_config.json"
    eos = (json.loads(generation.read_text("utf-8")) if generation.is_file() else config).get("eos_token_id")
    ids = eos if isinstance(eos, list) else [] if eos is None else [eos]
    return Served(
        tokenizer, folder, set(ids), tokenizer.pad_token_id, config.get("vocab_size"), config.get("max_position_embeddings")
    )


def _folder(served: Served, turn: Turn, cases: Sequence[Case]) -> Iterator[Finding]:
    if between := header(served.tokenizer):
        yield finding("answer_has_header", _short(between))
    if turn.end_id == served.pad_id:
        yield finding("end_is_pad", turn.end_token)
    if turn.end_id not in served.eos_ids:
        yield finding("end_not_in_generation_config", f"{turn.end_token} is {turn.end_id}, it stops at {sorted(served.eos_ids)}")
    highest = max((max(case.row.input_ids) for case in cases if case.row.input_ids), default=0)
    if served.vocabulary is not None and highest >= served.vocabulary:
        yield finding("out_of_vocabulary", f"id {highest}, {served.vocabulary} embeddings")
    longest = max((len(case.row.input_ids) for case in cases), default=0)
    if served.window is not None and longest > served.window:
        yield finding("beyond_window", f"{longest:,} tokens, {served.window:,} positions")


def _changed(served: Served, texts: Sequence[str], trained_with: Any) -> Iterator[Finding]:
    """Is the loaded tokenizer that of the training, and that of tokenizer.json?"""
    if trained_with is not None:
        if trained_with.chat_template != served.tokenizer.chat_template:
            yield finding("template_changed", str(served.folder))
        if text := next((t for t in texts if encode(trained_with, t) != encode(served.tokenizer, t)), None):
            yield finding("tokenizer_changed", difference(encode(trained_with, text), encode(served.tokenizer, text)))
            return
    yield from replaced(served.folder, served.tokenizer, texts)


def replaced(folder: Path, tokenizer: Any, texts: Sequence[str]) -> list[Finding]:
    """Does the tokenizer loaded from a folder split `texts` otherwise than its tokenizer.json, which other engines read?"""
    from tokenizers import Tokenizer

    path = folder / "tokenizer.json"
    if not path.is_file():
        return []
    raw = Tokenizer.from_file(str(path))
    for text in texts:
        written, loaded = raw.encode(text, add_special_tokens=False).ids, encode(tokenizer, text)
        if written != loaded:
            return [finding("tokenizer_changed", f"tokenizer.json against the loaded one: {difference(written, loaded)}")]
    return []


def diagnose(case: Case, tokenizer: Any, turn: Turn) -> list[tuple[Kind, str]]:
    """Why a row is not the one that a server's tokenizer gives; empty where it is."""
    expected, row = render(case.messages, tokenizer, turn), case.row
    content = expected.input_ids
    found: list[tuple[Kind, str]] = []
    if turn.end_id in content[expected.learned.index(True) : -1]:
        found.append(("end_inside_answer", turn.end_token))
    prompt, answer = prompt_text(tokenizer, case.messages[:-1]), case.messages[-1]["content"]
    if opens_thought(prompt) and "</think>" not in answer:
        found.append(("thinking_missing", _short(answer)))
    if closes_thought(prompt) and answer.startswith(THINK):
        found.append(("thinking_doubled", _short(answer)))
    if row.input_ids[: len(content)] == content:  # what may follow, such as ChatML's line break, must not be learned
        return [*found, *((kind, turn.end_token) for kind in _mask_faults(row, expected))]
    return [*found, *_token_faults(case, expected, tokenizer, turn)]


def _mask_faults(row: Row, expected: Row) -> Iterator[Kind]:
    start, end = expected.learned.index(True), len(expected.input_ids) - 1
    if any(row.learned[:start]):
        yield "mask_covers_prompt"
    if not all(row.learned[start:end]):
        yield "mask_misses_answer"
    if not row.learned[end]:
        yield "end_masked"
    if any(row.learned[end + 1 :]):
        yield "mask_after_end"


def _token_faults(case: Case, expected: Row, tokenizer: Any, turn: Turn) -> list[tuple[Kind, str]]:
    ids, wanted = case.row.input_ids, expected.input_ids
    if ids == wanted[: len(ids)]:
        kind: Kind = "end_missing" if len(ids) >= len(wanted) - len(encode(tokenizer, turn.closing)) else "truncated"
        return [(kind, f"{len(ids):,} of {len(wanted):,} tokens")]
    where = difference(ids, wanted)
    if tokenizer.bos_token_id is not None and ids[:2] == [tokenizer.bos_token_id] * 2:
        return [("bos_doubled", tokenizer.bos_token)]
    text, wanted_text = tokenizer.decode(ids), tokenizer.decode(wanted)
    thinking = case.messages[-1]["content"].partition(THINK)[2].partition("</think>")[0].strip()
    if thinking and thinking not in text:
        return [("thinking_dropped", _short(thinking))]
    if text.count(THINK) > wanted_text.count(THINK):
        return [("thinking_doubled", _short(text[text.index(THINK) :]))]
    if text.startswith(wanted_text) and ids == encode(tokenizer, text):
        return [("boundary_merged", where)]
    if turn.end_id not in ids[expected.learned.index(True) :]:
        return [("end_missing", where)]
    return [("text_differs", where)]


def _short(text: str) -> str:
    flat = " ".join(text[:200].split())
    return repr(flat if len(flat) <= 40 else f"{flat[:37]}...")
