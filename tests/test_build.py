"""The whole way, with the real parts: a recipe in, a run directory out."""

import fcntl
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import polars as pl
import pytest

from curation.errors import UserError
from factory.build import build
from factory.recipe import Changes, load_recipe


def _countdown(*assignments, **changes):
    return load_recipe("countdown", Changes(assignments=("source.count=60", *assignments), **changes))


def _bytes(run):
    """Every file of a run whose bytes must not depend on the clock."""
    timed = {"manifest.json", "README.md", "report.html", ".lock"}
    return {str(p.relative_to(run)): p.read_bytes() for p in sorted(run.rglob("*")) if p.is_file() and p.name not in timed}


def _funnel(run):
    return {line["step"]: line for line in json.loads((run / "funnel.json").read_text())}


def _times(run):
    return {p: p.stat().st_mtime_ns for p in run.rglob("*") if p.is_file() and p.name not in (".lock", "recipe.json")}


def test_every_problem_and_trace_is_in_the_run_or_among_its_rejected(tmp_path):
    run = build(_countdown("sample.per_problem=2"), runs=tmp_path)
    examples = pl.read_parquet(run / "dataset" / "*.parquet")
    problems, traces = (pl.read_parquet(run / "rejected" / f"{name}.parquet") for name in ("problems", "traces"))
    assert examples.height + problems.height == 60
    assert examples.height + traces.height == 120 - 2 * problems.filter(pl.col("step") != "solve").height
    assert set(traces["reason"]) == {"not_chosen"}
    for line in _funnel(run).values():
        assert line["in"] == line["kept"] + sum(line["dropped"].values())


def test_rows_carry_messages_verdicts_and_ids(tmp_path):
    run = build(_countdown("sample.per_problem=2"), runs=tmp_path)
    row = pl.read_parquet(run / "dataset" / "*.parquet").row(0, named=True)
    user, assistant = row["messages"]
    assert user == {"role": "user", "content": row["problem"]}
    assert assistant["role"] == "assistant" and assistant["content"].startswith("<think>\n")
    assert assistant["content"] in row["generations"]
    assert row["trace_id"] in row["trace_ids"] and len(row["trace_ids"]) == 2
    assert row["verdicts"] == ["correct", "correct"] and row["correctness_count"] == 2
    assert row["problem_id"] in set(pl.read_parquet(run / "problems" / "*.parquet")["id"])


def test_a_second_build_is_a_no_op(tmp_path):
    run = build(_countdown(), runs=tmp_path)
    before = _times(run)
    assert build(_countdown(), runs=tmp_path) == run
    assert _times(run) == before


def test_the_same_recipe_gives_the_same_bytes_anywhere(tmp_path):
    one = build(_countdown(), runs=tmp_path / "one", workers=1)
    two = build(_countdown(), runs=tmp_path / "two", workers=2)
    assert _bytes(one) == _bytes(two)


def test_a_changed_choice_redoes_only_the_choice(tmp_path):
    build(_countdown("sample.per_problem=2"), runs=tmp_path)
    run = build(_countdown("sample.per_problem=2", "choose.rule=shortest"), runs=tmp_path)
    steps = json.loads((run / "manifest.json").read_text())["steps"]
    assert [s["name"] for s in steps if not s["reused"]] == ["examples"]


def test_a_run_keeps_its_files_when_the_store_is_deleted(tmp_path):
    run = build(_countdown(), runs=tmp_path)
    before = _bytes(run)
    subprocess.run(["rm", "-r", str(tmp_path / ".steps")], check=True)
    assert _bytes(run) == before
    assert _bytes(build(_countdown(), runs=tmp_path)) == before


def test_a_run_in_use_says_who_holds_it(tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    with (run / ".lock").open("w") as held:
        held.write("process 7 on elsewhere since noon")
        held.flush()
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(UserError, match="in use by process 7 on elsewhere since noon"):
            build(_countdown(), runs=tmp_path, out=run)


PROBLEMS = [
    {"problem": "Compute $1+1$.", "answer": "2"},
    {"problem": "Compute  $1 + 1$ .", "answer": "2"},  # the same question
    {"problem": "Name the smallest prime greater than one hundred.", "answer": "101"},
    {"problem": "How many positive divisors does 360 have?", "answer": "24"},
    {"problem": "Find the sum of the first ten odd numbers.", "answer": "So it is \\boxed{100}."},
    {"problem": "A question without an answer?", "answer": ""},
]
BENCHMARK = [{"question": "How many positive divisors does $360$ have?"}]
TRACES = [
    {"question": "Compute $1+1$.", "model": "good", "response": "<think>\none and one\n</think>\n\nIt is \\boxed{2}."},
    {"question": "Compute $1+1$.", "model": "bad", "response": "<think>\nhm\n</think>\n\nIt is \\boxed{3}."},
    {"question": "Compute $1+1$.", "model": "good", "response": "<think>\none and one\n</think>\n\nIt is \\boxed{2}."},
    {"question": "Find the sum of the first ten odd numbers.", "model": "good", "response": "<think>\n1, 3, 5, never closed"},
    {"question": "How many positive divisors does 360 have?", "model": "good", "response": "<think>\na\n</think>\n\n\\boxed{24}"},
    {"question": "Something else altogether?", "model": "good", "response": "<think>\na\n</think>\n\n\\boxed{1}"},
    {"question": "Name the smallest prime greater than one hundred.", "model": "bad", "response": "\\boxed{101}"},
    {"question": "Compute $1+1$.", "model": "bad", "response": [None]},
    {"question": "Compute $1+1$.", "model": "bad"},
]


def _jsonl(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def _replayed(folder):
    return load_recipe(
        "openr1-math",
        Changes(
            problems=(_jsonl(folder / "problems.jsonl", PROBLEMS),),
            benchmarks=(_jsonl(folder / "tests.jsonl", BENCHMARK),),
            teacher=f"replay:{_jsonl(folder / 'traces.jsonl', TRACES)}",
        ),
    )


def test_replayed_traces_are_matched_judged_and_accounted_for(tmp_path):
    run = build(_replayed(tmp_path), runs=tmp_path / "runs")
    dropped = {step: line["dropped"] for step, line in _funnel(run).items()}
    assert dropped == {
        "read": {"no_gold": 1},
        "duplicates": {"exact_duplicate": 1},
        "decontaminate": {"in_tests": 1},
        "check gold": {},
        "replay": {"duplicate_trace": 1, "in_tests": 1, "no_generation": 2, "no_problem": 1},
        "sound": {"missing_thinking": 1, "truncated": 1},
        "verify": {"incorrect_different": 1},
        "choose": {},
        "solve": {"no_sound_trace": 2},
    }
    (row,) = pl.read_parquet(run / "dataset" / "*.parquet").to_dicts()
    assert (row["problem"], row["teacher"], row["verdicts"]) == ("Compute $1+1$.", "good", ["correct", "incorrect"])
    (pair,) = pl.read_parquet(run / "contamination.parquet").to_dicts()
    assert pair["question"] == BENCHMARK[0]["question"] and pair["benchmark"] == "tests"


def test_a_build_without_an_example_still_ends_with_its_account(tmp_path):
    traces = _jsonl(tmp_path / "t.jsonl", [{"question": "?", "response": "x"}])
    recipe = _replayed(tmp_path).model_copy(update={"teacher": f"replay:{traces}"})
    run = build(recipe, runs=tmp_path / "runs")
    assert pl.read_parquet(run / "dataset" / "*.parquet").height == 0
    assert (run / "README.md").is_file()


def _start(folder, *arguments):
    command = [sys.executable, "-m", "factory", "build", "countdown", "--runs", str(folder), *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=Path(__file__).parent.parent)


@pytest.mark.slow
def test_killed_at_random_moments_a_build_ends_in_the_same_bytes(tmp_path):
    arguments = ("--set", "source.count=2500", "--set", "sample.per_problem=2")
    undisturbed = _start(tmp_path / "undisturbed", *arguments)
    started = time.monotonic()
    undisturbed.communicate()
    assert undisturbed.returncode == 0
    whole_s = time.monotonic() - started
    moments = random.Random(7)
    kills = 0
    for _ in range(200):
        process = _start(tmp_path / "killed", *arguments)
        try:
            process.communicate(timeout=moments.uniform(0.15, 0.4) * whole_s)
            break
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.communicate()
            kills += 1
    assert process.returncode == 0 and kills >= 2
    (one,), (two,) = ((tmp_path / name).glob("countdown-*") for name in ("undisturbed", "killed"))
    assert _bytes(one) == _bytes(two)
    assert not list((tmp_path / "killed" / ".steps").glob(".*"))


@pytest.mark.slow
def test_a_full_disk_is_one_sentence_and_the_build_goes_on_afterwards(tmp_path):
    shell = f"ulimit -f 16; exec {sys.executable} -m factory build countdown --runs {tmp_path}"  # no file over 16 kB
    cut = subprocess.run(["bash", "-c", shell], capture_output=True, text=True, cwd=Path(__file__).parent.parent)
    assert cut.returncode == 2
    assert cut.stderr.strip().splitlines()[-1].startswith("factory: the disk is full")
    after = _start(tmp_path)
    _, errors = after.communicate()
    assert after.returncode == 0, errors


@pytest.mark.slow
def test_datasets_loads_a_run_without_options(tmp_path):
    run = build(_countdown("sample.per_problem=2"), runs=tmp_path)  # the second trace of each is rejected: not chosen
    code = (
        f"import datasets; d = datasets.load_dataset({str(run)!r}, split='train'); "
        f"r = datasets.load_dataset({str(run)!r}, 'rejected_traces', split='train'); "
        "print(len(d), d[0]['messages'][0]['role'], r.column_names[-2:])"
    )
    environment = {**os.environ, "HF_HOME": str(tmp_path / "hf"), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    rows = pl.read_parquet(run / "dataset" / "*.parquet").height
    assert done.stdout.strip() == f"{rows} user ['reason', 'detail']", done.stderr
