"""The parity gate against tokenizers and templates made on the spot: each fault that people met, with its name."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
from tiny_model import CHATML, make_tiny_model

from curation.errors import UserError
from training.findings import WORDS
from training.parity import Case, check, require
from training.rendering import Row, encode, end_of_turn, prompt_text, render

pytestmark = pytest.mark.slow

TALK = [
    {"role": "user", "content": "What is 12 + 30?"},
    {"role": "assistant", "content": "<think>\nlet us think 12 + 30\n</think>\n\nthe answer is 42"},
]
PLAIN = [TALK[0], {"role": "assistant", "content": "the answer is 42"}]
# DeepSeek-R1's: finished turns lose their thinking, and the prompt opens the next thought.
R1 = (
    "{% for m in messages %}{% if m['role'] == 'user' %}<|im_start|>user\n{{ m['content'] }}"
    "{% else %}<|im_start|>assistant\n{{ m['content'].split('</think>')[-1] }}<|im_end|>{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n<think>\n{% endif %}"
)
OPENS = CHATML.replace("assistant\n{% endif %}", "assistant\n<think>\n{% endif %}")


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_model(tmp_path_factory.mktemp("tiny"))


def student(tiny: Path, folder: Path, template: str | None = None, **generation: Any) -> tuple[Path, Any]:
    """A copy of the tiny model with another template or generation config, and its tokenizer."""
    from transformers import AutoTokenizer

    shutil.copytree(tiny, folder)
    if template is not None:
        (folder / "chat_template.jinja").write_text(template)
    path = folder / "generation_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | generation))
    return folder, AutoTokenizer.from_pretrained(folder)


def kinds(messages: list[dict[str, str]], row: Row, folder: Path, trained_with: Any = None) -> list[str]:
    return [f.kind for f in check([Case(messages, row)], folder, trained_with)]


def good(messages: list[dict[str, str]], tokenizer: Any) -> Row:
    turn = end_of_turn(tokenizer)
    assert turn
    return render(messages, tokenizer, turn)


def whole(text: str, tokenizer: Any) -> Row:
    """A row as a trainer makes it that renders the conversation in one piece and learns all of it."""
    ids = encode(tokenizer, text)
    return Row(ids, [True] * len(ids))


def masked(row: Row, *flipped: int) -> Row:
    learned = list(row.learned)
    for at in flipped:
        learned[at] = not learned[at]
    return Row(row.input_ids, learned)


@pytest.mark.parametrize("template", [CHATML, R1, OPENS], ids=["chatml", "r1", "opens"])
def test_rows_rendered_here_are_those_of_a_server(tiny: Path, tmp_path: Path, template: str) -> None:
    folder, tokenizer = student(tiny, tmp_path / "m", template)
    row = good(TALK, tokenizer)
    assert kinds(TALK, row, folder, tokenizer) == []
    text = tokenizer.decode(row.input_ids)
    assert (text.count("<think>"), text.count("</think>"), text.count("let us think")) == (1, 1, 1)
    assert text.endswith("the answer is 42<|im_end|>") and row.learned[-1]
    answer = tokenizer.decode([i for i, learned in zip(row.input_ids, row.learned, strict=True) if learned])
    assert answer == TALK[1]["content"].removeprefix("" if template == CHATML else "<think>\n") + "<|im_end|>"


def test_a_templates_line_break_behind_the_turn_may_stay_if_it_is_not_learned(tiny: Path, tmp_path: Path) -> None:
    folder, tokenizer = student(tiny, tmp_path / "m")
    row = good(TALK, tokenizer)
    tail = encode(tokenizer, "\n")
    assert kinds(TALK, Row(row.input_ids + tail, [*row.learned, False]), folder) == []
    assert kinds(TALK, Row(row.input_ids + tail, [*row.learned, True]), folder) == ["mask_after_end"]


def test_the_mask_covers_the_answer_and_nothing_else(tiny: Path, tmp_path: Path) -> None:
    folder, tokenizer = student(tiny, tmp_path / "m")
    row = good(TALK, tokenizer)
    start = row.learned.index(True)
    assert kinds(TALK, masked(row, -1), folder) == ["end_masked"]
    assert kinds(TALK, masked(row, start), folder) == ["mask_misses_answer"]
    assert kinds(TALK, masked(row, start - 1), folder) == ["mask_covers_prompt"]
    assert kinds(TALK, Row(row.input_ids, [True] * len(row.learned)), folder) == ["mask_covers_prompt"]


def test_a_student_that_would_never_stop(tiny: Path, tmp_path: Path) -> None:
    base, tokenizer = student(tiny, tmp_path / "base", eos_token_id=3)  # another end, as base models have
    row = good(TALK, tokenizer)
    assert kinds(TALK, row, base) == ["end_not_in_generation_config"]
    padded, tokenizer = student(tiny, tmp_path / "padded")
    tokenizer.pad_token = "<|im_end|>"
    tokenizer.save_pretrained(padded)
    assert kinds(TALK, row, padded) == ["end_is_pad"]
    endless, tokenizer = student(tiny, tmp_path / "endless", CHATML.replace("<|im_end|>", ""))
    assert kinds(TALK, row, endless) == ["no_end_of_turn"]
    (endless / "chat_template.jinja").unlink()
    assert kinds(TALK, row, endless) == ["no_template"]


def test_rows_without_their_end(tiny: Path, tmp_path: Path) -> None:
    folder, tokenizer = student(tiny, tmp_path / "m")
    row = good(TALK, tokenizer)
    assert kinds(TALK, Row(row.input_ids[:-1], row.learned[:-1]), folder) == ["end_missing"]
    (cut,) = check([Case(TALK, Row(row.input_ids[:-6], row.learned[:-6])), Case(TALK, row)], folder)
    assert (cut.kind, cut.rows, cut.example) == ("truncated", 1, f"{len(row.input_ids) - 6} of {len(row.input_ids)} tokens")
    quoting = [TALK[0], {"role": "assistant", "content": "say <|im_end|> and go on"}]
    assert kinds(quoting, good(quoting, tokenizer), folder) == ["end_inside_answer"]


def test_thinking_dropped_by_the_template(tiny: Path, tmp_path: Path) -> None:
    folder, tokenizer = student(tiny, tmp_path / "m", R1)
    naive = tokenizer.apply_chat_template(TALK, tokenize=False)
    assert "let us think" not in naive
    assert kinds(TALK, whole(naive, tokenizer), folder) == ["thinking_dropped"]


def test_thinking_doubled_by_the_template(tiny: Path, tmp_path: Path) -> None:
    folder, tokenizer = student(tiny, tmp_path / "m", OPENS)
    naive = prompt_text(tokenizer, TALK[:1]) + TALK[1]["content"] + "<|im_end|>"
    assert naive.count("<think>") == 2
    assert kinds(TALK, whole(naive, tokenizer), folder) == ["thinking_doubled"]
    assert kinds(PLAIN, good(PLAIN, tokenizer), folder) == ["thinking_missing"]


def test_an_empty_thought_in_the_prompt_and_a_thought_in_the_answer(tiny: Path, tmp_path: Path) -> None:
    """Qwen3.5's template with thinking switched off."""
    closed = CHATML.replace("assistant\n{% endif %}", "assistant\n<think>\n\n</think>\n\n{% endif %}")
    folder, tokenizer = student(tiny, tmp_path / "m", closed)
    assert kinds(TALK, good(TALK, tokenizer), folder) == ["thinking_doubled"]
    assert kinds(PLAIN, good(PLAIN, tokenizer), folder) == []


def test_text_that_the_model_would_have_to_write_before_its_answer(tiny: Path, tmp_path: Path) -> None:
    """gpt-oss: `<|start|>assistant` is the prompt, and the channel is the model's."""
    folder, tokenizer = student(
        tiny, tmp_path / "m", CHATML.replace("{{ message['content'] }}", "<|channel|>final\n{{ message['content'] }}")
    )
    (found,) = check([Case(TALK, good(TALK, tokenizer))], folder)
    assert (found.kind, found.example) == ("answer_has_header", "'<|channel|>final'")


def test_tokens_across_the_end_of_the_prompt(tiny: Path, tmp_path: Path) -> None:
    folder, tokenizer = student(tiny, tmp_path / "m", CHATML.replace("assistant\n{% endif %}", "assistant\nthere{% endif %}"))
    talk = [TALK[0], {"role": "assistant", "content": "fore check"}]
    joined = prompt_text(tokenizer, talk[:1]) + talk[1]["content"] + "<|im_end|>"
    assert kinds(talk, whole(joined, tokenizer), folder) == ["boundary_merged"]


def test_another_system_prompt_is_another_text(tiny: Path, tmp_path: Path) -> None:
    folder, tokenizer = student(tiny, tmp_path / "m")
    other = [{"role": "system", "content": "be brief"}, *TALK]
    assert kinds(TALK, good(other, tokenizer), folder) == ["text_differs"]


def test_a_template_that_was_not_saved_with_the_model(tiny: Path, tmp_path: Path) -> None:
    folder, tokenizer = student(tiny, tmp_path / "m")
    tokenizer.chat_template = CHATML.replace("assistant\n{% endif %}", "assistant\n{# ours #}{% endif %}")
    assert kinds(TALK, good(TALK, tokenizer), folder, tokenizer) == ["template_changed"]


# Qwen3's: thinking of earlier turns goes, and a finished answer without any gets an empty thought.
QWEN3 = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{% if m['role'] == 'assistant' %}"
    "{% if loop.last %}{% if '</think>' in m['content'] %}{{ m['content'] }}"
    "{% else %}<think>\n\n</think>\n\n{{ m['content'] }}{% endif %}"
    "{% else %}{{ m['content'].split('</think>')[-1].lstrip('\n') }}{% endif %}"
    "{% else %}{{ m['content'] }}{% endif %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def test_earlier_turns_lose_their_thinking_as_they_do_when_served(tiny: Path, tmp_path: Path) -> None:
    folder, tokenizer = student(tiny, tmp_path / "m", QWEN3)
    talk = [*TALK, {"role": "user", "content": "and 1 more"}, {"role": "assistant", "content": "<think>\nso 43\n</think>\n\n43"}]
    row = good(talk, tokenizer)
    text = tokenizer.decode(row.input_ids)
    assert kinds(talk, row, folder, tokenizer) == []
    assert (text.count("<think>"), "let us think" in text, "so 43" in text) == (1, False, True)
    kept = tokenizer.apply_chat_template(talk, tokenize=False, chat_template=CHATML)  # as a trainer with its own template does
    assert kinds(talk, whole(kept.rstrip(), tokenizer), folder) == ["thinking_doubled"]


def test_an_empty_thought_that_the_template_adds_to_a_finished_answer(tiny: Path, tmp_path: Path) -> None:
    folder, tokenizer = student(tiny, tmp_path / "m", QWEN3)
    naive = tokenizer.apply_chat_template(PLAIN, tokenize=False)
    assert "<think>\n\n</think>" in naive and kinds(PLAIN, good(PLAIN, tokenizer), folder) == []
    assert kinds(PLAIN, whole(naive.rstrip(), tokenizer), folder) == ["thinking_doubled"]


def test_a_turn_that_ends_with_another_token_than_the_text(tiny: Path, tmp_path: Path) -> None:
    """Gemma: <eos> ends a text and <end_of_turn> a turn; trained on the first alone, a chat model runs on."""
    gemma = (
        "{% for m in messages %}<start_of_turn>{{ m['role'] }}\n{{ m['content'] }}<end_of_turn>\n{% endfor %}"
        "{% if add_generation_prompt %}<start_of_turn>assistant\n{% endif %}"
    )
    folder, tokenizer = student(tiny, tmp_path / "m", gemma)
    tokenizer.add_special_tokens({"additional_special_tokens": ["<start_of_turn>", "<end_of_turn>"]})
    tokenizer.save_pretrained(folder)
    config = folder / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"vocab_size": len(tokenizer)}))
    row = good(TALK, tokenizer)
    assert row.input_ids[-1] == tokenizer.convert_tokens_to_ids("<end_of_turn>") and row.learned[-1]
    assert kinds(TALK, row, folder, tokenizer) == ["end_not_in_generation_config"]
    stops_at_text = Row([*row.input_ids[:-1], tokenizer.eos_token_id], row.learned)
    assert kinds(TALK, stops_at_text, folder) == ["end_not_in_generation_config", "end_missing"]


VLLM = """
from transformers import AutoTokenizer
def get_tokenizer(name):
    found = AutoTokenizer.from_pretrained(name)
    {change}
    return found
"""


@pytest.mark.parametrize(("change", "found"), [("pass", []), ("found.chat_template = '<|im_start|>user\\n'", ["vllm_differs"])])
def test_where_vllm_is_installed_it_is_asked_too(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: str, found: list[str]
) -> None:
    """A stand-in of the two names that are used of vLLM: it is too large to install for a test."""
    package = tmp_path / "site" / "vllm" / "tokenizers"
    package.mkdir(parents=True)
    (package.parent / "__init__.py").write_text("")
    (package / "__init__.py").write_text(VLLM.format(change=change))
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    folder, tokenizer = student(tiny, tmp_path / "m")
    try:
        assert kinds(TALK, good(TALK, tokenizer), folder, tokenizer) == found
    finally:  # not by monkeypatch, which would put the stand-in back: TRL asks whether vLLM is there when it is first imported
        for name in ("vllm", "vllm.tokenizers"):
            sys.modules.pop(name, None)


def test_ids_beyond_the_embedding(tiny: Path, tmp_path: Path) -> None:
    folder, tokenizer = student(tiny, tmp_path / "m")
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"vocab_size": 100}))
    assert kinds(TALK, good(TALK, tokenizer), folder) == ["out_of_vocabulary"]


def test_rows_beyond_the_models_window(tiny: Path, tmp_path: Path) -> None:
    folder, tokenizer = student(tiny, tmp_path / "m")
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"max_position_embeddings": 16}))
    assert kinds(TALK, good(TALK, tokenizer), folder) == ["beyond_window"]


def custom_tokenizer() -> Any:
    """A tokenizer of one's own that splits at blanks alone, as none of the model types' classes does."""
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    raw = Tokenizer(models.WordLevel(unk_token="<unk>"))
    raw.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    words = ["What is 12 + 30? let us think the answer is 42 user assistant"]
    raw.train_from_iterator(words, trainers.WordLevelTrainer(special_tokens=["<unk>", "<|im_start|>", "<|im_end|>", "<pad>"]))
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=raw, eos_token="<|im_end|>", pad_token="<pad>", unk_token="<unk>")
    tokenizer.chat_template = CHATML
    return tokenizer


def test_a_custom_tokenizer_whose_model_type_replaces_its_pre_tokenizer(tiny: Path, tmp_path: Path) -> None:
    folder, _ = student(tiny, tmp_path / "m")
    tokenizer = custom_tokenizer()
    tokenizer.save_pretrained(folder)
    (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": tokenizer.eos_token_id}))
    talk = [TALK[0], {"role": "assistant", "content": "let us think the answer is 42"}]
    (found,) = check([Case(talk, good(talk, tokenizer))], folder, tokenizer)
    assert found.kind == "tokenizer_changed" and "pre-tokenizer" in found.cause and "Qwen2Tokenizer" in found.remedy


def test_all_findings_are_in_one_sentence_with_their_remedies(tiny: Path, tmp_path: Path) -> None:
    folder, tokenizer = student(tiny, tmp_path / "m", eos_token_id=0)
    row = masked(good(TALK, tokenizer), -1)
    findings = check([Case(TALK, row)] * 3, folder)
    assert [(f.kind, f.rows) for f in findings] == [("end_not_in_generation_config", 0), ("end_masked", 3)]
    with pytest.raises(UserError, match=r"before training, the parity gate found 2 faults: .*end_masked in 3 rows: .* to stop"):
        require(findings, "before training")
    require([], "before training")


def test_every_kind_has_a_cause_and_a_remedy() -> None:
    assert all(cause and remedy for cause, remedy in WORDS.values())
