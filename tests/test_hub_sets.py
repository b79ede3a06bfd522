"""Data sets of several configurations, from a small Hub on this machine."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from hub_server import TOKEN
from hub_store import blob
from huggingface_hub import HfApi
from pushing import patient_hub
from talking import talk

from curation.errors import UserError
from factory.hub_sets import names_file
from factory.problems import asking_the_hub, hub_commit, open_source
from factory.recipe import FileSource

CARD = """---
configs:
- {config_name: main, data_files: main.jsonl}
- {config_name: socratic, data_files: socratic.jsonl}
---
"""
# In a process of its own: the Hub's client reads the address of the Hub when it is imported.
READ = """
import json, sys
from curation.errors import UserError
from factory.prompting import open_questions
from factory.replay import open_replay
from factory.tokenising import open_examples
from training.grpo_settings import GrpoSettings

def told(read):
    try:
        return read()
    except UserError as error:
        return str(error)

def examples(where):
    found = open_examples(where)
    return [found.name, found.digest, [row["answer"] for row in found.read()]]

def questions(where):
    found = open_questions(where)
    return [found.name, found.digest, [p.answer for p in found.read(GrpoSettings())]]

def replay(where):
    found = open_replay(where)
    return [found.identity, [t.answer_text for t in found.traces]]

read = {"examples": examples, "questions": questions, "replay": replay}
print(json.dumps([told(lambda: read[kind](where)) for kind, where in (a.split("=") for a in sys.argv[1:])]))
"""
REFUSED = "wanted one of main, socratic; write tester/sums-1.1:main, replay:tester/sums-1.1:main:train for a teacher"


def rows(answer: str) -> bytes:
    (row,) = talk(f"<think>\na\n</think>\n\n{answer}", question="1 + 1?")
    return (json.dumps(row | {"question": "1 + 1?", "answer": answer}) + "\n").encode()


@pytest.mark.slow
def test_a_configuration_is_named_behind_the_data_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with patient_hub(tmp_path, monkeypatch) as hub:
        HfApi(endpoint=hub.url, token=TOKEN).create_repo("tester/sums-1.1", repo_type="dataset")
        files = {"README.md": CARD.encode(), "main.jsonl": rows("2"), "socratic.jsonl": rows("3")}
        repo = hub.repos["tester/sums-1.1"]
        repo.commit("refs/heads/main", {name: blob(data) for name, data in files.items()}, "rows")
        address = {"HF_ENDPOINT": hub.url, "HF_TOKEN": TOKEN, "HF_HOME": str(tmp_path / "home"), "HF_HUB_DISABLE_XET": "1"}

        def read(*what: str) -> Iterator[object]:
            command, where = [sys.executable, "-c", READ, *what], Path(__file__).parent.parent
            done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=where, env=os.environ | address)
            yield from json.loads(done.stdout)

        commit = repo.at("main").oid
        kinds = [f"{kind}=tester/sums-1.1:{end}" for kind in ("examples", "questions") for end in ("main", "socratic")]
        rest = ("replay=tester/sums-1.1:socratic:train", "examples=tester/sums-1.1", "questions=tester/sums-1.1:x")
        *named, replayed, missing, unknown = read(*kinds, *rest)
        wanted = [["sums-1.1:main", f"{commit}:main", ["2"]], ["sums-1.1:socratic", f"{commit}:socratic", ["3"]]]
        assert named == wanted * 2
        assert replayed == [f"tester/sums-1.1@{commit}:socratic:train", ["3"]]
        assert str(missing).startswith(f"data set 'tester/sums-1.1' has several configurations, and none is named: {REFUSED}")
        assert str(unknown).startswith(f"data set 'tester/sums-1.1' has no configuration 'x': {REFUSED}")


@pytest.mark.parametrize(
    ("where", "file"),
    [
        ("simplescaling/s1K-1.1", False),
        ("openai/gsm8k:main", False),
        ("gsm8k", False),
        ("rows.jsonl", True),
        ("data/rows.jsonl.gz", True),
        ("rows.txt", True),
        ("./data/rows", True),
        ("a/b/rows.txt", True),
    ],
)
def test_a_dot_in_its_name_makes_no_file_of_a_data_set(where: str, file: bool) -> None:
    assert names_file(where) == file


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (httpx.ReadTimeout(""), "the Hub did not give rows (ReadTimeout: without a word): try again"),
        (OSError("cut off\nwhile reading"), "the Hub did not give rows (OSError: cut off): try again"),
    ],
)
def test_a_hub_that_fails_is_one_sentence_even_without_a_word(error: Exception, sentence: str) -> None:
    with pytest.raises(UserError) as caught, asking_the_hub("rows", "try again"):
        raise error
    assert str(caught.value) == sentence


def test_a_name_that_no_repository_can_have_is_told() -> None:
    with pytest.raises(UserError, match=r"the Hub did not give dataset 'a b/c' \(HFValidationError: "):
        hub_commit("a b/c", None)


def test_a_table_without_rows_is_no_source(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text("\n\n")
    (part,) = open_source(FileSource(kind="file", paths=[str(tmp_path / "rows.jsonl")])).parts
    with pytest.raises(UserError, match=r"rows\.jsonl has no rows: wanted one for each problem"):
        list(part.problems)
