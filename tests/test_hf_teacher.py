"""The transformers teacher with a real model made on the spot, beside the same model behind `transformers serve`."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from tiny_model import make_tiny_model

from curation.errors import UserError
from curation.records import Trace
from factory.continuing import OnCut, next_part
from factory.sampling import Request, Sampling
from factory.teachers import hf, openai

GREEDY = Sampling(max_tokens=48, temperature=0.0)
PROMPTS = ["What is 12 + 30?", "Say ω and 日本.", "let us think " * 40]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_model(tmp_path_factory.mktemp("tiny"))


def requests(samples: int = 1) -> list[Request]:
    system = {"role": "system", "content": "Be brief."}
    return [
        Request(f"p{n}", index, (system, {"role": "user", "content": prompt}))
        for n, prompt in enumerate(PROMPTS)
        for index in range(samples)
    ]


def texts(traces: Iterator[Trace]) -> dict[tuple[str, int], tuple[str | None, str, str, int | None, int | None]]:
    return {(t.problem_id, t.index): (t.reasoning, t.answer_text, t.finish, t.prompt_tokens, t.completion_tokens) for t in traces}


@pytest.fixture(scope="module")
def served(tiny: Path) -> Iterator[str]:
    """The address of `transformers serve` with the tiny model."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [str(Path(sys.executable).with_name("transformers")), "serve", str(tiny), "--port", str(port)]
    with (tiny.parent / "serve.log").open("wb") as log:
        environment = os.environ | {"HF_HUB_OFFLINE": "1"}
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, env=environment)
    try:
        _wait_until_healthy(process, f"http://127.0.0.1:{port}/health", tiny.parent / "serve.log")
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(timeout=30)


def _wait_until_healthy(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    for _ in range(600):
        assert process.poll() is None, log.read_text()
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except (urllib.error.URLError, ConnectionError):
            time.sleep(0.2)
    raise AssertionError(log.read_text())


@pytest.mark.slow
def test_a_served_model_and_the_same_model_here_say_the_same(tiny: Path, served: str) -> None:
    here = texts(hf.sample(requests(), model=str(tiny), revision=None, sampling=GREEDY))
    there = texts(openai.sample(requests(), model=str(tiny), url=served, sampling=GREEDY))
    assert here == there
    assert len({answer for _, answer, *_ in here.values()}) == len(PROMPTS)  # the prompt matters
    assert all(len(answer) > 20 for _, answer, *_ in here.values())


@pytest.mark.slow
def test_a_cut_answer_goes_on_from_its_beginning(tiny: Path) -> None:
    first = GREEDY.model_copy(update={"max_tokens": 20})
    (beginning,) = hf.sample([requests()[0]], model=str(tiny), revision=None, sampling=first)
    following = next_part(requests()[0], [beginning], OnCut(18, 48))
    assert following is not None and following.prefix == beginning.answer_text and following.max_tokens == 18
    (rest,) = hf.sample([following], model=str(tiny), revision=None, sampling=first)
    assert rest.completion_tokens == 18
    rendered = hf._render(hf._load(str(tiny), None), requests()[0].messages) + beginning.answer_text
    raw = Request("p", 0, ({"role": "user", "content": rendered},), max_tokens=18)
    (same,) = hf.sample([raw], model=str(tiny), revision=None, sampling=first.model_copy(update={"api": "completions"}))
    assert (same.answer_text, same.prompt_tokens) == (rest.answer_text, rest.prompt_tokens)


@pytest.mark.slow
def test_a_server_that_cannot_go_on_from_a_beginning_leaves_the_answer_cut(tiny: Path, served: str) -> None:
    first = GREEDY.model_copy(update={"max_tokens": 20})
    following = dataclasses.replace(requests()[0], prefix="let us think", max_tokens=20)
    (there,) = openai.sample([following], model=str(tiny), url=served, sampling=first)
    assert there.finish == "error"


@pytest.mark.slow
def test_raw_prompts_and_stops_are_those_of_a_server(tiny: Path) -> None:
    (whole,) = hf.sample([requests()[0]], model=str(tiny), revision=None, sampling=GREEDY)
    rendered = Request("p", 0, ({"role": "user", "content": hf._render(hf._load(str(tiny), None), requests()[0].messages)},))
    raw = GREEDY.model_copy(update={"api": "completions"})
    assert next(hf.sample([rendered], model=str(tiny), revision=None, sampling=raw)).answer_text == whole.answer_text
    stop = whole.answer_text[10:13]
    (stopped,) = hf.sample([rendered], model=str(tiny), revision=None, sampling=raw.model_copy(update={"stop": (stop,)}))
    assert stopped.finish == "stop" and stopped.answer_text == whole.answer_text[: whole.answer_text.index(stop)].rstrip()


@pytest.mark.slow
def test_the_tokenizer_survives_saving(tiny: Path) -> None:
    from tokenizers import Tokenizer
    from transformers import AutoTokenizer

    loaded = AutoTokenizer.from_pretrained(tiny)
    saved = Tokenizer.from_file(str(tiny / "tokenizer.json"))
    for text in (
        "Let us think: 12+34 = 46",
        "é 日本 \U0001f600",
        "<think>\n\n a  b</think><|im_end|>",
        "don't\tdo\r\nthat",
    ):
        tokens = loaded(text)["input_ids"]
        assert tokens == saved.encode(text).ids
        assert loaded.decode(tokens) == text
    assert type(loaded).__name__ == json.loads((tiny / "tokenizer_config.json").read_text())["tokenizer_class"]


@pytest.mark.slow
def test_nothing_given_is_greedy_and_a_trace_says_where_it_is_from(tiny: Path) -> None:
    (first, *_) = hf.sample(requests(), model=str(tiny), revision="r1", sampling=Sampling(max_tokens=9))
    assert (first.teacher, first.revision, first.endpoint, first.sampling) == (str(tiny), "r1", "", '{"max_tokens":9}')
    assert (first.finish, first.completion_tokens) == ("length", 9)
    (zero, *_) = hf.sample(requests(), model=str(tiny), revision=None, sampling=Sampling(max_tokens=9, temperature=0.0, seed=4))
    assert zero.answer_text == first.answer_text


@pytest.mark.slow
def test_samples_differ_by_index_and_repeat_by_seed_alone(tiny: Path) -> None:
    drawn = Sampling(max_tokens=24, temperature=1.0, seed=3)
    every = texts(hf.sample(requests(4), model=str(tiny), revision=None, sampling=drawn))
    assert len({answer for (problem, _), (_, answer, *_) in every.items() if problem == "p0"}) == 4
    last = requests(4)[-1]  # alone, without those before it
    assert texts(hf.sample([last], model=str(tiny), revision=None, sampling=drawn)).items() <= every.items()


@pytest.mark.slow
def test_generation_ends_at_the_tokens_of_the_generation_config(tiny: Path, tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    (whole, *_) = hf.sample(requests(), model=str(tiny), revision=None, sampling=GREEDY)
    folder = Path(shutil.copytree(tiny, tmp_path / "model"))
    tokenizer = AutoTokenizer.from_pretrained(folder)
    ends = sorted(set(tokenizer(whole.answer_text[8:20], add_special_tokens=False)["input_ids"]))
    config = json.loads((folder / "generation_config.json").read_text()) | {"eos_token_id": ends}
    (folder / "generation_config.json").write_text(json.dumps(config))
    (cut, *_) = hf.sample(requests(), model=str(folder), revision=None, sampling=GREEDY)
    assert cut.finish == "stop"
    assert cut.completion_tokens is not None and cut.completion_tokens < 48
    assert whole.answer_text.startswith(cut.answer_text[:8])


@pytest.mark.slow
def test_a_thought_that_the_template_opens_is_a_thought_when_cut(tiny: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tiny, tmp_path / "model"))
    template = folder / "chat_template.jinja"
    template.write_text(template.read_text().replace("assistant\n{%", "assistant\n<think>\n{%"))
    (trace, *_) = hf.sample(requests(), model=str(folder), revision=None, sampling=GREEDY)
    assert trace.reasoning and trace.answer_text == "" and trace.finish == "length"


@pytest.mark.slow
def test_what_is_no_chat_model_is_one_sentence(tiny: Path, tmp_path: Path) -> None:
    def said(model: str, *first: Request) -> str:
        with pytest.raises(UserError) as caught:
            list(hf.sample(first, model=model, revision=None, sampling=GREEDY))
        return str(caught.value)

    base = Path(shutil.copytree(tiny, tmp_path / "base"))
    (base / "chat_template.jinja").unlink()
    assert "has no chat template" in said(str(base))
    torn = Path(shutil.copytree(tiny, tmp_path / "torn"))
    weights = torn / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1000])
    assert "could not be loaded" in said(str(torn))
    weights.unlink()
    assert "could not be loaded" in said(str(torn))
    for file in torn.glob("tokenizer*"):
        file.unlink()
    assert "has no tokenizer: wanted its files" in said(str(torn))
    strict = Path(shutil.copytree(tiny, tmp_path / "strict"))
    (strict / "chat_template.jinja").write_text("{{ raise_exception('System role not supported') }}")
    assert "refuses messages of system, user (System role not supported)" in said(str(strict), requests()[0])


def test_a_directory_that_is_no_model_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("x")
    for path in (tmp_path, tmp_path / "notes.txt"):
        with pytest.raises(UserError, match=r"is no model: wanted a directory with config\.json"):
            list(hf.sample([], model=str(path), revision=None, sampling=GREEDY))


def test_without_transformers_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(UserError, match=r"pip install 'cot-factory\[hf\]'"):
        list(hf.sample([], model="org/model", revision=None, sampling=GREEDY))


@pytest.mark.slow
def test_rows_together_say_what_each_says_alone(tiny: Path) -> None:
    alone = texts(hf.sample(requests(), model=str(tiny), revision=None, sampling=GREEDY))
    together = texts(hf.sample(requests(), model=str(tiny), revision=None, sampling=GREEDY.model_copy(update={"rows": 2})))
    assert alone == together
    drawn = Sampling(max_tokens=24, temperature=1.0, top_k=50, top_p=0.95, min_p=0.01, seed=3, rows=4)
    every = texts(hf.sample(requests(4), model=str(tiny), revision=None, sampling=drawn))
    assert len({answer for (problem, _), (_, answer, *_) in every.items() if problem == "p0"}) == 4
    other = texts(hf.sample(requests(4)[::-1], model=str(tiny), revision=None, sampling=drawn.model_copy(update={"rows": 3})))
    assert every == other  # whoever its neighbours are
