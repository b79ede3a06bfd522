"""Benchmarks out of a repository's own files, from a small Hub on this machine."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hub_server import TOKEN
from hub_store import blob
from huggingface_hub import HfApi
from pushing import patient_hub

READ = """
import json, sys
from curation.errors import UserError
from factory.problems import benchmark_digests, load_benchmark
from factory.rules import BenchmarkFrom
where = BenchmarkFrom(name="bench", repo="tester/bench", files=sys.argv[1:], column="question_content")
try:
    print(json.dumps([*load_benchmark(where)[1:], benchmark_digests([where])[0]["digest"]]))
except UserError as error:
    print(json.dumps(str(error)))
"""


def test_the_questions_of_files_with_the_commit_that_was_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [{"question_content": f"Read {n} numbers and print them.", "tests": "x" * 100} for n in range(3)]
    lines = [json.dumps(row) + "\n" for row in rows]
    with patient_hub(tmp_path, monkeypatch) as hub:
        HfApi(endpoint=hub.url, token=TOKEN).create_repo("tester/bench", repo_type="dataset")
        contents = {"test.jsonl": "".join(lines[:2]), "test2.jsonl": lines[2]}
        repo = hub.repos["tester/bench"]
        repo.commit("refs/heads/main", {name: blob(text.encode()) for name, text in contents.items()}, "questions")
        # The address of the Hub is read when its client is imported, so this goes into a process of its own.
        address = {"HF_ENDPOINT": hub.url, "HF_TOKEN": TOKEN, "HF_HUB_CACHE": str(tmp_path / "cache"), "HF_HUB_DISABLE_XET": "1"}

        def read(*files: str) -> object:
            done = subprocess.run(
                [sys.executable, "-c", READ, *files],
                capture_output=True,
                text=True,
                check=True,
                cwd=Path(__file__).parent.parent,
                env=os.environ | address,
            )
            return json.loads(done.stdout)

        commit = repo.at("main").oid
        assert read("test.jsonl", "test2.jsonl") == [[row["question_content"] for row in rows], commit, commit]
        assert "did not give test3.jsonl of tester/bench" in str(read("test3.jsonl"))
