"""The command. It starts in well under half a second: whatever is heavy is imported inside the command that needs it."""

from __future__ import annotations

import errno
import importlib.metadata
import os
import shlex
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

STRANGERS = {
    "factory-boy": "factory",
    "factory_boy": "factory",
    "cards": "cards",
}  # distribution -> package of ours it overwrites


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="cot-factory", prog_name="factory")
def cli() -> None:
    """From problems and a teacher to a curated, verified, published reasoning data set."""


@cli.command("list")
def list_recipes() -> None:
    """Show the recipes of build and the pipelines of run, with what each needs and yields."""
    from factory.describe import pipeline_table, recipe_table

    click.echo(f"{recipe_table()}\n\npipelines, for factory run:\n\n{pipeline_table()}")


def recipe_options(command: Callable[..., None]) -> Callable[..., None]:
    """The argument and options that say which recipe, shared by plan and build."""
    for option in reversed(
        (
            click.argument("recipe"),
            click.option("--teacher", metavar="T", help="oracle, replay:FILE_OR_DATASET, openai:MODEL@URL, vllm:MODEL, hf:MODEL."),
            click.option("--problems", multiple=True, metavar="FILE", help="Your problems instead of the recipe's; repeatable."),
            click.option(
                "--benchmarks",
                multiple=True,
                metavar="PATH",
                help="Test sets to keep out: files or folders; repeatable.",
            ),
            click.option("--limit", type=click.IntRange(1), metavar="N", help="Read no more than N problems."),
            click.option("--set", "assignments", multiple=True, metavar="KEY=VALUE", help="Change any recipe value; repeatable."),
            click.option("--runs", type=Path, default=Path("runs"), show_default=True, metavar="DIR", help="Where runs are kept."),
        )
    ):
        command = option(command)
    return command


def _workers(what: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    cores = os.cpu_count() or 1
    return click.option("--workers", type=click.IntRange(1), default=cores, show_default="cores", metavar="N", help=what)


@cli.command()
@recipe_options
@click.option("--pilot", type=click.IntRange(1), metavar="N", help="Sample N problems and predict tokens, price and hours.")
def plan(recipe: str, runs: Path, pilot: int | None, **changes: Any) -> None:
    """Show what a build would do: the resolved recipe, requests and tokens. Samples nothing without --pilot."""
    from factory.describe import plan_text
    from factory.recipe import Changes, load_recipe

    resolved = load_recipe(recipe, Changes(**changes))
    click.echo(plan_text(resolved, runs))
    if pilot:
        from factory.pilot import predict, prediction_text

        click.echo(prediction_text(predict(resolved, runs, pilot)))


@cli.command()
@recipe_options
@click.argument("problem")
@click.option("--index", type=click.IntRange(0), default=0, show_default=True, metavar="N", help="Which of its samples, from 0.")
def cached(recipe: str, runs: Path, problem: str, index: int, **changes: Any) -> None:
    """Tell why a sample of PROBLEM (an id or its beginning) would be reused or asked for anew, field by field."""
    from factory.cached import explain
    from factory.recipe import Changes, load_recipe

    click.echo(explain(load_recipe(recipe, Changes(**changes)), runs, problem, index))


@cli.command()
@recipe_options
@click.option("--out", type=Path, metavar="DIR", help="Write the run here instead of RUNS/<recipe>-<hash>.")
@_workers("Verifier processes; with --executor, tasks at a time.")
@click.option("--executor", type=click.Choice(["local", "slurm", "ray"]), help="Do the shards in processes, or on a cluster.")
@click.option("--budget-usd", type=click.FloatRange(0, min_open=True), metavar="X", help="Spend no more on samples in this call.")
@click.option("--budget-tokens", type=click.IntRange(1), metavar="N", help="Use no more tokens for samples in this call.")
def build(
    recipe: str,
    runs: Path,
    out: Path | None,
    workers: int,
    executor: Any,
    budget_usd: float | None,
    budget_tokens: int | None,
    **changes: Any,
) -> None:
    """Build the curated data set; call it again to go on after a stop, or to get what is there."""
    from factory.build import build as build_run
    from factory.describe import run_summary
    from factory.executors import Submitted
    from factory.recipe import Changes, load_recipe
    from factory.rounds import Budget

    budget = Budget(budget_usd, budget_tokens)
    command = shlex.join(["factory", *sys.argv[1:]])
    where = None if (executor, workers) == ("local", 1) else executor
    resolved = load_recipe(recipe, Changes(**changes))
    try:
        run = build_run(resolved, runs=runs, out=out, workers=workers, command=command, budget=budget, executor=where)
        click.echo(run_summary(run))
    except Submitted as told:
        click.echo(told)


@cli.command()
@click.argument("file", type=Path)
@click.option("--gold", metavar="COLUMN", help="Column of the gold answers; found by name when not given.")
@click.option("--response", metavar="COLUMN", help="Column of the responses; found by name when not given.")
@click.option("--domain", default="math", show_default=True, help="math, code, countdown, knights-and-knaves or text.")
@click.option("--out", type=Path, metavar="FILE", help="Write rows with verdicts, or findings, to a .jsonl or .parquet.")
@click.option("--explain", type=click.IntRange(0), metavar="ROW", help="Show how this row, counted from 0, is judged.")
@click.option("--audit", is_flag=True, help="List golds in doubt: refused, outvoted by most models, or in conflict.")
@_workers("Verifier processes.")
def verify(file: Path, out: Path | None, explain: int | None, audit: bool, **how: Any) -> None:
    """Grade the responses in FILE (.jsonl, .jsonl.gz, .parquet, .csv) against their golds."""
    from factory.grading import Wanted, audit_file, explain_row, grade_file

    wanted = Wanted(file, **how)
    if explain is not None:
        if audit or out:
            raise click.UsageError("--explain shows one row; use it without --audit and --out")
        click.echo(explain_row(wanted, explain))
    else:
        click.echo((audit_file if audit else grade_file)(wanted, out))


@cli.command()
@click.argument("run", type=Path)
@click.argument("row", required=False)
@click.option("--table", type=Path, metavar="FILE", help="Write the ledger of all rows instead: one table, .parquet or .csv.")
def why(run: Path, row: str | None, table: Path | None) -> None:
    """Tell the history of one ROW of a RUN: a problem, trace or example, by its id or the first digits of it."""
    from factory.ledger_table import write_ledger
    from factory.lineage import row_history

    if row is not None and table is None:
        click.echo(row_history(run, row))
    elif table is not None and row is None:
        click.echo(f"{write_ledger(run, table):,} rows in {table}")
    else:
        raise click.UsageError("name a ROW, or --table FILE for all of them")


@cli.command()
@click.argument("run", type=Path)
@click.argument("other", type=Path)
@click.option("--html", type=Path, metavar="FILE", help="Write it in full as a page too, to be searched in a browser.")
def diff(run: Path, other: Path, html: Path | None) -> None:
    """Compare RUN with OTHER: settings, versions, and which problems entered, left or changed, with the reason."""
    from factory.diff_shown import diff_runs

    click.echo(diff_runs(run, other, html))


@cli.command()
@click.argument("run", type=Path)
@click.argument("repo")
@click.option("--public", is_flag=True, help="Make a new repository public; without it, it is private.")
@click.option("--dry-run", is_flag=True, help="Say what would be uploaded, and upload nothing.")
@click.option("--allow-license-clash", is_flag=True, help="Publish what licences or terms that clash went into.")
def push(run: Path, repo: str, public: bool, dry_run: bool, allow_license_clash: bool) -> None:
    """Publish RUN, a finished run or a model's folder, as the data set or model REPO on the Hugging Face Hub."""
    from cards.push import push as push_run
    from factory.describe import push_summary

    click.echo(push_summary(push_run(run, repo, private=not public, dry_run=dry_run, allow_license_clash=allow_license_clash)))


@cli.command()
@click.argument("run", type=Path)
@click.option("--port", type=click.IntRange(0, 65535), default=8765, show_default=True, metavar="N", help="0 takes a free one.")
@click.option("--no-browser", is_flag=True, help="Print the address and open no browser.")
def view(run: Path, port: int, no_browser: bool) -> None:
    """Look at RUN in the browser: every trace of a build, a training's curves as they come, a pipeline's stages."""
    from cards.view.server import serve

    serve(run, port, open_browser=not no_browser, say=click.echo)


@cli.command()
@click.argument("data", metavar="RUN_OR_DATASET")
@click.option("--student", required=True, metavar="MODEL", help="A model folder, or a repository of the Hub.")
@click.option("--config", metavar="NAME", help="A preset (r1-distill, openr1-distill, s1, limo, ...) or the path of a .yaml.")
@click.option("--set", "assignments", multiple=True, metavar="KEY=VALUE", help="Any setting (help= lists all); repeatable.")
@click.option("--runs", type=Path, default=Path("runs"), show_default=True, metavar="DIR", help="Where students are kept.")
@click.option("--out", type=Path, metavar="DIR", help="Write the model here instead of RUNS/students/<student>-<config>-<hash>.")
@click.option("--plan", is_flag=True, help="Say what each layout needs in memory and time, recommend one, and train nothing.")
@click.option("--gpus", type=click.IntRange(1), metavar="N", help="Plan for N GPUs instead of those that are visible.")
@click.option("--gpu-memory-gib", type=click.FloatRange(1), metavar="X", help="Plan for GPUs of X GiB each.")
def distill(
    data: str,
    student: str,
    config: str | None,
    assignments: tuple[str, ...],
    runs: Path,
    out: Path | None,
    plan: bool,
    gpus: int | None,
    gpu_memory_gib: float | None,
) -> None:
    """Train a student on verified examples; call it again to go on from the last checkpoint."""
    if plan:
        from factory.distill_plan import Machine, plan_student

        click.echo(plan_student(data, student, config, assignments, Machine(gpus, gpu_memory_gib), runs=runs))
        return
    if gpus or gpu_memory_gib:
        raise click.UsageError("--gpus and --gpu-memory-gib say what to plan for; use them with --plan")
    from factory.distilling import distill as train_student
    from factory.distilling import student_summary

    command = shlex.join(["factory", *sys.argv[1:]])
    click.echo(student_summary(train_student(data, student, config, assignments, runs=runs, out=out, command=command)))


@cli.command()
@click.argument("data", metavar="RUN_OR_DATASET")
@click.option("--student", required=True, metavar="MODEL", help="A model folder, or a repository of the Hub.")
@click.option("--config", metavar="NAME", help="A preset (dapo, dr-grpo, deepscaler, tinyzero, ...) or the path of a .yaml.")
@click.option("--set", "assignments", multiple=True, metavar="KEY=VALUE", help="Any setting (help= lists all); repeatable.")
@click.option("--runs", type=Path, default=Path("runs"), show_default=True, metavar="DIR", help="Where students are kept.")
@click.option("--out", type=Path, metavar="DIR", help="Write the model here instead of RUNS/students/<student>-<config>-<hash>.")
def grpo(data: str, student: str, config: str | None, assignments: tuple[str, ...], runs: Path, out: Path | None) -> None:
    """Train a student by trying problems with golds; call it again to go on from the last checkpoint."""
    from factory.reinforcing import grpo as train_student
    from factory.reinforcing import reinforced_summary

    command = shlex.join(["factory", *sys.argv[1:]])
    click.echo(reinforced_summary(train_student(data, student, config, assignments, runs=runs, out=out, command=command)))


@cli.command("eval")
@click.argument("model")
@click.option(
    "--suite", "suites", multiple=True, required=True, metavar="FILE_OR_NAME", help="A file, a run or a name; repeatable."
)
@click.option("--against", type=Path, metavar="RESULT", help="Compare with another result, paired by question.")
@click.option("--limit", type=click.IntRange(1), metavar="N", help="Ask no more than the first N questions.")
@click.option("--set", "assignments", multiple=True, metavar="KEY=VALUE", help="samples, temperature, max_tokens, ...; repeatable.")
@click.option("--runs", type=Path, default=Path("runs"), show_default=True, metavar="DIR", help="Where samples are kept.")
@click.option("--out", type=Path, metavar="FILE", help="Write the result here instead of RUNS/evals/<model>-<suite>-<hash>.json.")
@_workers("Verifier processes.")
def evaluate(model: str, suites: tuple[str, ...], against: Path | None, out: Path | None, **how: Any) -> None:
    """Examine MODEL (a folder, hf:MODEL, vllm:MODEL or openai:MODEL@URL): pass@1, pass@k, majority, with intervals."""
    from factory.comparing import read_result, result_table
    from factory.evaluating import evaluate as examine

    if len(suites) > 1 and (out or against):
        raise click.UsageError("--out and --against are of one result: give one --suite with them")
    if against:
        read_result(against)  # before hours of sampling
    for suite in suites:
        click.echo(result_table(examine(model, suite, out=out, **how), against))


@cli.command("run")
@click.argument("pipeline")
@click.option("--size", metavar="S", help="Which of its sizes; tiny runs anywhere.")
@click.option("--plan", "planned", is_flag=True, help="Show the stages and which of them are done, and do nothing.")
@click.option("--set", "assignments", multiple=True, metavar="STAGE.KEY=VALUE", help="Change any value of a stage; repeatable.")
@click.option("--runs", type=Path, default=Path("runs"), show_default=True, metavar="DIR", help="Where all is kept.")
@click.option("--out", type=Path, metavar="DIR", help="Write the stages here instead of RUNS/<pipeline>-<size>.")
@_workers("Verifier processes.")
def run_stages(
    pipeline: str, size: str | None, planned: bool, assignments: tuple[str, ...], runs: Path, out: Path | None, workers: int
) -> None:
    """Do the stages of PIPELINE (r1, s1, limo, tinyzero or a .yaml): build, distill, grpo, eval; call it again to go on."""
    from factory.pipeline import load_pipeline
    from factory.pipeline_run import pipeline_summary, plan_text, run_pipeline

    loaded = load_pipeline(pipeline, size, assignments)
    if planned:
        click.echo(plan_text(loaded, runs=runs, out=out))
        return
    command = shlex.join(["factory", *sys.argv[1:]])
    click.echo(pipeline_summary(run_pipeline(loaded, runs=runs, out=out, workers=workers, command=command)))


def main() -> None:
    """Run the command. Exit status: 0 done, 1 our bug, 2 something the person can mend, 130 interrupted."""
    _refuse_strangers()
    from curation.errors import UserError

    try:
        cli(standalone_mode=False)
    except UserError as error:
        _stop(f"factory: {error}", 2)
    except click.ClickException as error:
        error.show()
        sys.exit(2)
    except (KeyboardInterrupt, click.Abort):
        _stop("factory: interrupted; what is finished is kept, and the same command goes on from there", 130)
    except OSError as error:
        if said := _in_the_way(error):
            _stop(f"factory: {said}", 2)
        _crash()
    except Exception:
        _crash()


def _in_the_way(error: OSError) -> str | None:
    """What a person can do about it, where it is the disk or a place that was named."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return f"the disk is full ({error}): make room and run the same command again; what is finished is kept"
    if error.errno in (errno.EACCES, errno.EROFS):
        return f"not allowed to write ({error}): choose another place with --runs or --out"
    if error.errno in (errno.EEXIST, errno.ENOTDIR, errno.EISDIR):
        return f"a file stands where a folder is wanted or the reverse ({error}): choose another place with --runs or --out"
    return None


def _crash() -> None:
    traceback.print_exc()
    _stop("factory: this is a bug of the factory; what is finished is kept. Please report it with the lines above", 1)


def _stop(sentence: str, status: int) -> None:
    print(sentence, file=sys.stderr)
    sys.exit(status)


def _refuse_strangers() -> None:
    """factory-boy and okken/cards install packages named like ours: beside them, half of the files are not ours."""
    for name, package in STRANGERS.items():
        try:
            importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError:
            continue
        _stop(
            f"factory: the installed distribution {name!r} has a package {package!r} too and overwrites files of cot-factory: "
            f"install cot-factory in an environment without {name}",
            2,
        )
