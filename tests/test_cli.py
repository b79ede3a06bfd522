import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


def _factory(*arguments, cwd=ROOT):
    return subprocess.run([sys.executable, "-m", "factory", *arguments], capture_output=True, text=True, cwd=cwd)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["build", "countdwon"], "no recipe 'countdwon' (did you mean 'countdown'?)"),
        (["build", "countdown", "--teacher", "gpt"], "no teacher 'gpt': wanted oracle, replay:"),
        (["build", "countdown", "--teacher", "openai:m"], "names no endpoint"),
        (["build", "countdown", "--set", "choose.rul=first"], "did you mean 'rule'?"),
        (["build", "openr1-math", "--problems", "nowhere.jsonl"], "no file 'nowhere.jsonl'"),
        (["build", "countdown", "--limit", "0"], "0 is not in the range x>=1"),
        (["push", "nowhere", "me/set"], "nowhere"),
        (["verify", "nowhere.jsonl"], "no file 'nowhere.jsonl'"),
    ],
)
def test_a_mistake_is_one_sentence_and_status_2(tmp_path, arguments, says):
    where = ["--runs", str(tmp_path)] if arguments[0] == "build" else []
    done = _factory(*arguments, *where)
    assert done.returncode == 2
    assert says in done.stderr and "Traceback" not in done.stderr


@pytest.mark.parametrize("place", [["--out", "taken"], ["--runs", "taken"], ["--runs", "taken/below"]])
def test_a_file_in_the_place_of_a_folder_is_a_mistake_and_stays(tmp_path, place):
    (tmp_path / "taken").write_text("mine")
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "factory", "build", "countdown", "--limit", "1", *place]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=environment)
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert "a file stands where a folder is wanted" in done.stderr and (tmp_path / "taken").read_text() == "mine"


def test_list_shows_every_recipe_with_what_it_needs():
    done = _factory("list")
    assert done.returncode == 0
    assert {"countdown", "knights-and-knaves", "openr1-math"} <= set(done.stdout.split())
    assert done.stdout.count("needs") >= 3


def test_plan_touches_nothing(tmp_path):
    done = _factory("plan", "openr1-math", "--limit", "100", "--runs", str(tmp_path / "runs"))
    assert done.returncode == 0
    assert "requests   200 at most" in done.stdout
    assert list(tmp_path.iterdir()) == []


def test_verify_grades_a_file(tmp_path):
    rows = [
        {"answer": "1/2", "response": "So \\boxed{\\frac{1}{2}}."},
        {"answer": "1/2", "response": ["\\boxed{0.5}", "\\boxed{2}"]},
        {"answer": 4.0, "response": None},
    ]
    file, out = tmp_path / "answers.jsonl", tmp_path / "graded.jsonl"
    file.write_text("".join(json.dumps(r) + "\n" for r in rows))
    done = _factory("verify", str(file), "--out", str(out), "--workers", "1")
    assert done.returncode == 0, done.stderr
    graded = [json.loads(line) for line in out.read_text().splitlines()]
    assert [g["outcome"] for g in graded] == ["correct", "correct", "incorrect", "incorrect"]
    assert "4 responses in column 'response'" in done.stdout


def test_verify_names_the_columns_there_are(tmp_path):
    file = tmp_path / "answers.jsonl"
    file.write_text('{"a": 1, "answer": 2}\n')
    done = _factory("verify", str(file))
    assert done.returncode == 2 and "it has a, answer" in done.stderr
