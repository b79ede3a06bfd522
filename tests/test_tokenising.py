"""Which rows a student is trained on, and as what."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from talking import dataset, talk
from tiny_model import make_tiny_model

from factory.build import build
from factory.distilling import config_path
from factory.recipe import Changes, load_recipe
from factory.tokenising import left_out, open_examples, tokenise
from training.settings import load
from training.sft_settings import SftSettings
from training.students import open_student


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_model(tmp_path_factory.mktemp("tiny"))


@pytest.mark.slow
def test_rows_that_would_teach_something_wrong_are_left_out_with_their_reasons(tiny: Path, tmp_path: Path) -> None:
    rows = [
        *talk("<think>\na\n</think>\n\n4"),
        *talk("say <|im_end|> twice", "", "long " * 900),
        *talk("5", outcome="incorrect"),
        {"messages": [{"role": "user", "content": "alone"}]},
        *({"messages": broken} for broken in ("text", [1, 2], [{"content": "?"}, {"role": "assistant", "content": "4"}])),
        {"messages": [{"role": "user", "content": [{"type": "text", "text": "?"}]}, {"role": "assistant", "content": "4"}]},
        {"messages": [{"role": "user", "content": "?"}, {"role": "assistant", "content": "4", "thinking": {"text": "a"}}]},
    ]
    student = open_student(str(tiny), SftSettings(), tmp_path / "served")
    piece = tokenise(tmp_path / "steps", open_examples(str(dataset(tmp_path, rows))), student, 200)
    (line,) = piece.facts["funnel"]
    assert (line["in"], line["kept"]) == (11, 1)
    dropped = {"malformed_messages": 5, "no_answer_turn": 2}
    assert line["dropped"] == dropped | {"end_inside_answer": 1, "incorrect_answer": 1, "too_long": 1}
    ids, wanted = pl.read_parquet(piece.folder / "rows-00000.parquet").row(0)
    assert student.tokenizer.decode([i for i, label in zip(ids, wanted, strict=True) if label != -100]).startswith("<think>\na\n")
    assert [i for i, label in zip(ids, wanted, strict=True) if label != -100] == [label for label in wanted if label != -100]


JUDGED = [
    *talk("4", outcome="correct", answer="4"),
    *talk("5", outcome="incorrect", answer="4"),
    *talk("who knows", outcome="undetermined", answer="4"),
    *talk("dear friend", outcome="undetermined", answer=""),
    *talk("a foreign row", outcome="undetermined"),
]


@pytest.mark.slow
def test_the_verdicts_to_train_on_are_a_setting(tiny: Path, tmp_path: Path) -> None:
    student, examples = open_student(str(tiny), SftSettings(), tmp_path / "served"), open_examples(str(dataset(tmp_path, JUDGED)))

    def tried(*outcomes: Any) -> dict[str, Any]:
        line: dict[str, Any] = tokenise(tmp_path / "steps", examples, student, 200, outcomes).facts["funnel"][0]
        assert line["kept"] == 5 - sum(line["dropped"].values())
        return line["dropped"]  # type: ignore[no-any-return]

    default = tried(*SftSettings().outcomes)
    assert default == {"incorrect_answer": 1, "undetermined_answer": 2, "no_gold": 1}
    assert tried("correct", "incorrect") == {"undetermined_answer": 2, "no_gold": 1}
    assert tried("correct", "no_gold") == {"incorrect_answer": 1, "undetermined_answer": 2}
    assert tried("correct", "undetermined") == {"incorrect_answer": 1, "no_gold": 1}
    remedy = "--set 'outcomes=[correct, incorrect, no_gold]' trains on incorrect, no_gold rows too"
    told = left_out({"incorrect_answer": 2, "no_gold": 1}, ["correct"])
    assert told == f"2 incorrect_answer, 1 no_gold; outcomes decides: {remedy}"
    assert left_out({"too_long": 3}, ["correct"]) == "3 too_long" and left_out({}, ["correct"]) == ""


@pytest.mark.slow
def test_a_run_keeps_its_wrong_and_its_general_rows_for_the_student_that_wants_them(tiny: Path, tmp_path: Path) -> None:
    """s1K trains on wrong traces too, R1's second SFT on general rows that have no gold."""
    golds = {"What is 12 + 30?": "42", "What is 5 + 6 + 7?": "18", "Write a line to a friend.": None}
    said = dict(zip(golds, ("<think>\na\n</think>\n\n42", "<think>\nb\n</think>\n\n19", "Dear friend"), strict=True))
    problems, traces = tmp_path / "problems.jsonl", tmp_path / "traces.jsonl"
    problems.write_text("".join(json.dumps({"problem": p, "answer": gold}) + "\n" for p, gold in golds.items()))
    traces.write_text("".join(json.dumps({"question": p, "response": text}) + "\n" for p, text in said.items()))
    wanted = ("clean.benchmarks=[]", "select=[]", "choose.outcomes=[correct, incorrect]")
    changes = Changes(wanted, problems=(str(problems),), teacher=f"replay:{traces}")
    built = build(load_recipe("rejection-sampled", changes), runs=tmp_path)
    student, examples = open_student(str(tiny), SftSettings(), tmp_path / "served"), open_examples(str(built))
    left = [
        tokenise(tmp_path / "steps", examples, student, 200, settings.outcomes).facts["funnel"][0]["dropped"]
        for settings in (SftSettings(), *(load(SftSettings, (), config_path(name)) for name in ("s1", "r1-distill")))
    ]
    assert left == [{"incorrect_answer": 1, "no_gold": 1}, {"no_gold": 1}, {"incorrect_answer": 1}]


@pytest.mark.slow
@pytest.mark.parametrize("field", ["reasoning_content", "reasoning", "thinking"])
def test_thinking_beside_the_content_is_learned_too(tiny: Path, tmp_path: Path, field: str) -> None:
    answer = {"role": "assistant", "content": "4", field: "two and two"}
    rows = [{"messages": [{"role": "user", "content": "What is 2 + 2?"}, answer]}]
    student = open_student(str(tiny), SftSettings(), tmp_path / "served")
    piece = tokenise(tmp_path / "steps", open_examples(str(dataset(tmp_path, rows))), student, 200)
    ids, _ = pl.read_parquet(piece.folder / "rows-00000.parquet").row(0)
    assert student.tokenizer.decode(ids).endswith("<think>\ntwo and two\n</think>\n\n4<|im_end|>")
