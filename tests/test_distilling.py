"""A student made on the spot is trained on a countdown run: before, between and after."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from click.testing import CliRunner
from talking import dataset, talk
from tiny_model import CHATML, make_tiny_model

from curation.errors import UserError
from factory.build import build
from factory.cli import cli
from factory.distilling import config_name, config_path, distill
from factory.recipe import CONFIGS, Changes, load_recipe
from factory.reinforcing import config_name as in_reinforcing
from factory.sampling import Request, Sampling
from factory.teachers import hf
from factory.tokenising import open_examples, tokenise
from training.grpo_settings import GrpoSettings
from training.settings import load
from training.sft import last_checkpoint, train
from training.sft_settings import SftSettings
from training.students import open_student

PRESETS = ("limo", "openr1-distill", "r1-distill", "r1-distill-1.5b", "r1-distill-14b", "r1-distill-32b", "s1")
FAST = ("max_length=600", "epochs=2", "rows_per_step=4", "rows_per_pass=4", "learning_rate=3e-3", "precision=fp32", "warmup=0")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small countdown run whose dataset keeps the twelve shortest examples: a test trains in seconds."""
    changes = Changes(assignments=("source.count=60", "source.max_numbers=3"))
    folder = build(load_recipe("countdown", changes), runs=tmp_path_factory.mktemp("built"))
    (file,) = (folder / "dataset").glob("*.parquet")
    frame = pl.read_parquet(file)
    size = pl.col("generations").list.first().str.len_chars()
    short = frame.sort(size).head(12)
    file.unlink()
    short.write_parquet(file)
    return folder


@pytest.fixture(scope="module")
def tiny(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_model(tmp_path_factory.mktemp("tiny"))


def metrics(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def said(where: Path, student: Path, folder: Path, *settings: str) -> str:
    with pytest.raises(UserError) as caught:
        distill(str(where), str(student), None, settings, runs=folder, out=None, command="")
    return str(caught.value)


@pytest.mark.slow
def test_a_student_learns_from_a_run_and_loads_as_a_teacher(run: Path, tiny: Path, tmp_path: Path) -> None:
    values = [part for value in ("max_length=1500", *FAST[1:]) for part in ("--set", value)]
    arguments = ["distill", str(run), "--student", str(tiny), "--runs", str(tmp_path), *values]
    done = CliRunner().invoke(cli, arguments, catch_exceptions=False)
    (folder,) = (tmp_path / "students").glob("tiny*")
    assert done.exit_code == 0 and "parity gate passed before and after" in done.output and str(folder) in done.output
    lines = metrics(folder)
    assert [line["step"] for line in lines] == list(range(1, len(lines) + 1))
    assert lines[-1]["loss"] < lines[0]["loss"] - 0.5
    assert lines[-1]["tokens"] > lines[0]["tokens"] > 0
    made = json.loads((folder / "training_manifest.json").read_text())
    assert made["data"]["kept"] == 12 and made["data"]["recipe_hash"] and made["training"]["steps"] == len(lines)
    assert made["settings"]["learning_rate"] == 3e-3 and made["libraries"]["trl"] and made["end_of_turn"] == "<|im_end|>"
    request = Request("p", 0, ({"role": "user", "content": "What is 12 + 30?"},))
    (trace,) = hf.sample([request], model=str(folder), revision=None, sampling=Sampling(max_tokens=8))
    assert trace.finish in ("stop", "length") and trace.completion_tokens
    assert not list((tmp_path / "students").glob(".*"))  # checkpoints are gone
    before = sorted(p.stat().st_mtime_ns for p in folder.iterdir())
    CliRunner().invoke(cli, arguments, catch_exceptions=False)
    assert sorted(p.stat().st_mtime_ns for p in folder.iterdir()) == before  # finished: a no-op


class Killed(Exception):
    pass


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_killed_training_goes_on_from_its_checkpoint_and_ends_the_same(tiny: Path, tmp_path: Path, precision: str) -> None:
    """In bf16 the fp32 masters are part of the checkpoint: without them the resumed weights would differ."""
    settings = load(SftSettings, (*FAST, "save_every_steps=2", "epochs=3", f"precision={precision}"))
    examples = open_examples(str(dataset(tmp_path, talk(*(f"<think>\n{n}\n</think>\n\n{n}" for n in range(8))))))
    student = open_student(str(tiny), settings, tmp_path / "served")
    rows = sorted(tokenise(tmp_path / "steps", examples, student, 600).folder.glob("rows-*.parquet"))

    def stop(line: dict[str, Any]) -> None:
        if line["step"] == 5:
            raise Killed

    whole = train(rows, student, settings, tmp_path / "a", tmp_path / "whole", lambda line: None)
    with pytest.raises(Killed):
        train(rows, student, settings, tmp_path / "b", tmp_path / "resumed", stop)
    torn = tmp_path / "b" / "checkpoints" / "checkpoint-5"  # a kill while it was written
    torn.mkdir()
    resumed = train(rows, student, settings, tmp_path / "b", tmp_path / "resumed", lambda line: None)
    assert (whole.steps, whole.resumed_at, resumed.resumed_at) == (6, 0, 4) and not torn.exists()
    fixed = ("step", "loss", "learning_rate", "tokens")
    assert [[a[k] for k in fixed] for a in metrics(tmp_path / "whole")] == [
        [b[k] for k in fixed] for b in metrics(tmp_path / "resumed")
    ]
    assert (tmp_path / "whole" / "model.safetensors").read_bytes() == (tmp_path / "resumed" / "model.safetensors").read_bytes()
    assert last_checkpoint(tmp_path / "nowhere") is None


@pytest.mark.slow
def test_packed_rows_do_not_see_each_other(tiny: Path, tmp_path: Path) -> None:
    """The loss of the first step, over all rows, is the same packed into one sequence and apart."""
    texts = [f"<think>\nlet us think {'so ' * n}{n}\n</think>\n\nthe answer is {n}" for n in range(6)]
    examples = open_examples(str(dataset(tmp_path, talk(*texts))))
    losses = []
    for packing, batch in (("false", 6), ("true", 1)):
        wanted = (*FAST, "epochs=1", f"packing={packing}", f"rows_per_step={batch}", f"rows_per_pass={batch}")
        settings = load(SftSettings, wanted)
        student = open_student(str(tiny), settings, tmp_path / "served")
        rows = sorted(tokenise(tmp_path / "steps", examples, student, 600).folder.glob("rows-*.parquet"))
        losses.append(train(rows, student, settings, tmp_path / packing, tmp_path / f"out-{packing}", lambda line: None).first_loss)
    assert len(metrics(tmp_path / "out-true")) == 1
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


@pytest.mark.slow
def test_a_loss_that_is_no_number_stops_the_training(tiny: Path, tmp_path: Path) -> None:
    import torch
    from safetensors.torch import load_file, save_file

    broken = Path(shutil.copytree(tiny, tmp_path / "broken"))
    weights = load_file(broken / "model.safetensors")
    weights["model.norm.weight"] = weights["model.norm.weight"] * torch.nan
    save_file(weights, broken / "model.safetensors", metadata={"format": "pt"})
    assert "the loss is nan" in said(dataset(tmp_path, talk("4", "5")), broken, tmp_path, *FAST)


@pytest.mark.slow
def test_the_gate_stands_before_the_training(tiny: Path, tmp_path: Path) -> None:
    rows = dataset(tmp_path, talk("<think>\na\n</think>\n\n4"))
    padded = said(rows, tiny, tmp_path, *FAST, "pad_token='<|im_end|>'")
    assert "before training, the parity gate found 1 fault: end_is_pad" in padded and "name another padding token" in padded
    bare = Path(shutil.copytree(tiny, tmp_path / "bare"))
    (bare / "chat_template.jinja").unlink()
    assert "no_template" in said(rows, bare, tmp_path, *FAST)
    template = tmp_path / "opens.jinja"
    template.write_text(CHATML.replace("assistant\n{% endif %}", "assistant\n<think>\n{% endif %}"))
    plain = dataset(tmp_path, talk("4"))
    assert "1 thinking_missing" in said(plain, bare, tmp_path, *FAST, f"chat_template={template}")
    template.write_text(CHATML.replace("<|im_end|>", ""))
    assert "ends an answer with no special token" in said(plain, bare, tmp_path, *FAST, f"chat_template={template}")
    assert "no chat template" in said(plain, bare, tmp_path, *FAST, "chat_template=none.jinja")


def test_a_student_that_cannot_be_opened_says_what_is_wrong(tiny: Path, tmp_path: Path) -> None:
    rows = dataset(tmp_path, talk("<think>\na\n</think>\n\n4"))
    broken = Path(shutil.copytree(tiny, tmp_path / "broken"))
    assert "pad_token '<nope>' is no token of" in said(rows, tiny, tmp_path, *FAST, "pad_token='<nope>'")
    weights = broken / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    assert "model.safetensors of" in (told := said(rows, broken, tmp_path, *FAST)) and "cut off or torn" in told
    weights.unlink()
    assert "has no weights: wanted a folder with" in said(rows, broken, tmp_path, *FAST)
    (broken / "chat_template.jinja").write_text("{% for m in messages %}")
    assert "fails on a question with its answer (Unexpected end of template" in said(rows, broken, tmp_path, *FAST)
    for file in broken.glob("tokenizer*"):
        file.unlink()
    assert "broken has no tokenizer: wanted its files" in said(rows, broken, tmp_path, *FAST)
    (broken / "config.json").write_text("{")
    assert "config.json of" in said(rows, broken, tmp_path, *FAST)


@pytest.mark.slow
def test_a_base_model_learns_to_stop_where_its_template_ends(tiny: Path, tmp_path: Path) -> None:
    base = Path(shutil.copytree(tiny, tmp_path / "base"))
    path = base / "generation_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"eos_token_id": 5}))
    rows = dataset(tmp_path, talk("<think>\na\n</think>\n\n4", "5"))
    folder = distill(str(rows), str(base), None, (*FAST, "epochs=1"), runs=tmp_path, out=tmp_path / "student", command="")
    saved = json.loads((folder / "generation_config.json").read_text())
    end = open_student(str(base), SftSettings(), tmp_path / "served").turn.end_id
    assert saved["eos_token_id"] == [end, 5]
    assert json.loads((folder / "config.json").read_text())["dtype"] == json.loads((base / "config.json").read_text())["dtype"]
    (taken := tmp_path / "taken").mkdir()
    with pytest.raises(UserError, match="taken is there and holds no finished student: choose another --out, or remove it"):
        distill(str(rows), str(base), None, FAST, runs=tmp_path, out=taken, command="")
    other = ("epochs=2", *FAST[2:])
    with pytest.raises(UserError, match="holds another student"):
        distill(str(rows), str(base), None, other, runs=tmp_path, out=folder, command="")


def test_mistakes_are_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match=r"no training config 'r2-distill': wanted limo, openr1-distill, r1-distill, r1-distill-1.5b, .*, s1 or"
    ):
        config_path("r2-distill")
    with pytest.raises(UserError, match=r"unknown key 'learning_rat': did you mean 'learning_rate'"):
        load(SftSettings, ("learning_rat=1",))
    for kind in (SftSettings, GrpoSettings):  # as --help says
        with pytest.raises(UserError, match=r"unknown key 'help': wanted one of .*learning_rate, .*, pad_token"):
            load(kind, ("help=",))
    with pytest.raises(UserError, match="rows_per_step 4 is no multiple of rows_per_pass 3"):
        load(SftSettings, ("rows_per_step=4", "rows_per_pass=3"))
    with pytest.raises(UserError, match=r"outcomes.0: input should be 'correct', .* or 'no_gold', got \"right\""):
        load(SftSettings, ("outcomes=[right]",))
    with pytest.raises(UserError, match="is no finished run"):
        open_examples(str(tmp_path))
    with pytest.raises(UserError, match="no file"):
        open_examples(str(tmp_path / "none.jsonl"))


@pytest.mark.parametrize("name", PRESETS)
def test_a_student_bears_the_whole_name_of_its_preset(name: str) -> None:
    assert config_name(name) == config_name(f"presets/sft-{name}.yaml") == name
    assert in_reinforcing("grpo-countdown-1.5b.yaml") == "countdown-1.5b"


@pytest.mark.parametrize("name", PRESETS)
def test_presets_load_and_say_what_is_theirs_and_what_is_ours(name: str) -> None:
    path = config_path(name)
    load(SftSettings, (), path)
    header = "".join(line for line in path.read_text().splitlines(keepends=True) if line.startswith("#"))
    assert all(f"# {word}" in header for word in ("Command", "Needs", "Source", "Original", "Ours"))


def test_no_preset_is_untested() -> None:
    assert sorted(_names()) == sorted(PRESETS)


def _names() -> Iterator[str]:
    yield from (p.stem.removeprefix("sft-") for p in (CONFIGS / "training").glob("sft-*.yaml"))


@pytest.mark.parametrize("said", ["on", "off", "auto"])
def test_the_words_of_a_switch_are_taken_from_the_command_line(said: str) -> None:
    assert load(SftSettings, (f"liger={said}",)).liger == said  # YAML reads on and off as truths
