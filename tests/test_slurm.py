"""Builds on Slurm: the scripts that are submitted, and their array run for real behind a stand-in for Slurm's own programs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from test_executors import contents

from factory.build import build
from factory.recipe import Changes, load_recipe

ROOT = Path(__file__).parent.parent
# sbatch keeps the script and its own arguments, and gives a job number; srun runs; squeue knows the jobs listed in `alive`.
PROGRAMS = {
    "sbatch": """
        n=$(( $(ls "$STANDIN_OF_SLURM" | grep -c '^[0-9]*$') + 1 )); mkdir "$STANDIN_OF_SLURM/$n"
        for last; do :; done
        cp "$last" "$STANDIN_OF_SLURM/$n/script"; echo "$@" > "$STANDIN_OF_SLURM/$n/arguments"; echo "Submitted batch job $n"
    """,
    "srun": 'while [ "${1#-}" != "$1" ]; do [ "$1" = -n ] && shift; shift; done; exec "$@"',
    "squeue": 'cat "$STANDIN_OF_SLURM/alive" 2>/dev/null',
    "scontrol": "echo localhost",
}
SETTINGS = {
    "partition": "hopper",
    "time": "1-02:30:00",
    "cpus": "2",
    "memory_gb_per_cpu": "3",
    "gpus": "1",
    "qos": "high",
    "sbatch": "{account: me, exclude: node7}",
}
ASSIGNMENTS = ("source.count=1100", *(f"executor.{key}={value}" for key, value in SETTINGS.items()))


def call(folder: Path, *more: str) -> subprocess.CompletedProcess[str]:
    assignments = [word for a in (*ASSIGNMENTS, *more) for word in ("--set", a)]
    options = ["--workers", "2", "--executor", "slurm", "--runs", str(folder / "runs")]
    command = [sys.executable, "-m", "factory", "build", "countdown", *options, *assignments]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environment(folder))


def environment(folder: Path) -> dict[str, str]:
    (folder / "bin").mkdir(exist_ok=True)
    (folder / "jobs").mkdir(exist_ok=True)
    for name, body in PROGRAMS.items():
        program = folder / "bin" / name
        program.write_text("#!/bin/bash\n" + textwrap.dedent(body).strip() + "\n")
        program.chmod(0o755)
    path = f"{folder / 'bin'}:{Path(sys.executable).parent}:{os.environ['PATH']}"
    return {**os.environ, "PATH": path, "STANDIN_OF_SLURM": str(folder / "jobs")}


def script(folder: Path, number: int) -> tuple[dict[str, str], str, str]:
    """The #SBATCH options of a job, the rest of its script, and the arguments beside it."""
    text = (folder / "jobs" / str(number) / "script").read_text()
    options = [line.removeprefix("#SBATCH --").partition("=") for line in text.splitlines() if line.startswith("#SBATCH --")]
    return {key: value for key, _, value in options}, text, (folder / "jobs" / str(number) / "arguments").read_text()


def run_array(folder: Path, number: int, task: int) -> subprocess.CompletedProcess[str]:
    """What Slurm does with one task of a job."""
    # Only the job's own: what a test run started by Slurm itself has of this would be taken for it.
    values = {"SLURM_ARRAY_TASK_ID": str(task), "RUN_OFFSET": "0", "SLURM_NODELIST": "node1", "SLURM_JOB_ID": str(number)}
    where = folder / "jobs" / str(number) / "script"
    return subprocess.run(["bash", str(where)], capture_output=True, text=True, env=environment(folder) | values, cwd=folder)


@pytest.mark.slow
def test_the_array_its_scripts_and_the_job_after_it_make_the_bytes_of_one_process(tmp_path: Path) -> None:
    told = call(tmp_path)
    assert told.returncode == 0, told.stderr
    assert told.stdout.startswith("submitted 3 tasks as Slurm job 1, and job 3, which puts the data set together after them")
    (folder,) = (tmp_path / "runs" / ".tasks").iterdir()

    options, text, arguments = script(tmp_path, 1)
    assert options["array"] == "0-2%2" and options["time"] == "1-02:30:00" and options["partition"] == "hopper"
    assert (options["cpus-per-task"], options["mem-per-cpu"], options["gpus"], options["nodes"]) == ("2", "3G", "1", "1")
    assert (options["qos"], options["account"], options["exclude"]) == ("high", "me", "node7")
    assert options["output"] == options["error"] == f"{folder}/datatrove/slurm_logs/%A_%a.out"
    assert "requeue" in options and options["job-name"] == "factory-countdown"
    assert f". {sys.prefix}/bin/activate" in text and f"launch_pickled_pipeline {folder}/datatrove/executor.pik" in text
    assert "--dependency" not in arguments
    options, _, arguments = script(tmp_path, 3)  # job 2 merges datatrove's statistics
    assert "--dependency=afterany:1" in arguments and options["array"].startswith("0-0")
    assert options["job-name"] == "factory-countdown-collect" and options["partition"] == "hopper"

    (tmp_path / "jobs" / "alive").write_text("1 hopper factory-countdown\n")
    twice = call(tmp_path)
    assert twice.returncode == 2 and "Slurm jobs 1 and 3 are at work on this run" in twice.stderr
    (tmp_path / "jobs" / "alive").unlink()

    assert run_array(tmp_path, 1, 0).returncode == 0
    early = run_array(tmp_path, 3, 0)  # as after tasks that failed
    assert early.returncode != 0
    assert "2 of 3 shards have no result (the first is 1)" in (folder / "collect" / "00000.txt").read_text()
    assert call(tmp_path).stdout.startswith("submitted 2 tasks as Slurm job 5")  # what is finished is not sent again
    for task in (0, 1):
        done = run_array(tmp_path, 5, task)
        assert done.returncode == 0, done.stderr
    done = run_array(tmp_path, 7, 0)
    assert done.returncode == 0, done.stderr
    (run,) = (tmp_path / "runs").glob("countdown-*")
    one = build(load_recipe("countdown", Changes(assignments=ASSIGNMENTS)), runs=tmp_path / "one")
    assert contents(run) == contents(one)
    assert json.loads((run / "manifest.json").read_text())["command"].startswith("factory build countdown")
    again = call(tmp_path)  # nothing is left for Slurm
    assert again.returncode == 0 and "examples in" in again.stdout


@pytest.mark.slow
def test_the_job_after_the_scan_submits_the_shards(tmp_path: Path) -> None:
    more = ("executor.shards_per_scan=1", "source.count=600")
    told = call(tmp_path, *more)
    assert told.stdout.startswith("submitted 2 tasks as Slurm job 1, and job 3, which goes on with the build"), told.stderr
    assert "gpus" not in script(tmp_path, 1)[0]  # there is nothing for them to do
    assert run_array(tmp_path, 1, 0).returncode == 0
    assert run_array(tmp_path, 3, 0).returncode != 0  # as after a task that failed: nothing is submitted again
    assert not (tmp_path / "jobs" / "5").exists()

    assert run_array(tmp_path, 1, 1).returncode == 0
    (tmp_path / "jobs" / "alive").write_text("3 hopper factory-countdown-collect\n")
    after = run_array(tmp_path, 3, 0)
    assert after.returncode == 0, after.stdout
    (tmp_path / "jobs" / "alive").unlink()
    assert script(tmp_path, 5)[0]["array"] == "0-1%2" and script(tmp_path, 5)[0]["gpus"] == "1"
    for number, task in ((5, 0), (5, 1), (7, 0)):
        done = run_array(tmp_path, number, task)
        assert done.returncode == 0, done.stdout
    (run,) = (tmp_path / "runs").glob("countdown-*")
    one = build(load_recipe("countdown", Changes(assignments=(*ASSIGNMENTS, *more))), runs=tmp_path / "one")
    assert contents(run) == contents(one)


def test_what_slurm_needs_is_one_sentence(tmp_path: Path) -> None:
    without = call(tmp_path, "source.count=5", "executor.partition=null")
    assert without.returncode == 2 and "no partition is named; wanted one: --set executor.partition=NAME" in without.stderr
    (tmp_path / "bin").rename(tmp_path / "away")
    command = [sys.executable, "-m", "factory", "build", "countdown", "--set", "source.count=5", "--set", "executor.partition=p"]
    options = ["--executor", "slurm", "--runs", str(tmp_path / "runs")]
    nothing = subprocess.run([*command, *options], capture_output=True, text=True, cwd=ROOT, env={**os.environ, "PATH": "/nowhere"})
    assert nothing.returncode == 2 and "there is no sbatch here" in nothing.stderr
    wrong = call(tmp_path, "executor.time=tomorrow")
    assert wrong.returncode == 2 and "executor.time" in wrong.stderr
