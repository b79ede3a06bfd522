"""The commands in the headers of shipped recipes, with the files they name in a folder of a test's own."""

from __future__ import annotations

import shlex
from pathlib import Path

from factory.recipe import CONFIGS, Changes


def commands(recipe: str) -> list[list[str]]:
    """Each command of a recipe's header as its words, without `factory build RECIPE`."""
    lines = (CONFIGS / "recipes" / f"{recipe}.yaml").read_text("utf-8").splitlines()
    comment = "\n".join(line.removeprefix("#") for line in lines if line.startswith("#"))
    told = comment.partition("Command ")[2].partition("\n Needs ")[0].replace("\\\n", " ")
    return [shlex.split(part) for part in told.split(f"factory build {recipe} ")[1:]]


def changes(folder: Path, command: list[str], *more: str) -> Changes:
    """What a command asks for; its files are in `folder`, its tables in the runs there."""
    pairs = list(zip(command[::2], command[1::2], strict=True))
    given = {flag: [value for name, value in pairs if name == flag] for flag in ("--problems", "--teacher", "--set")}
    (teacher,) = given["--teacher"]
    return Changes(
        problems=tuple(str(folder / name) for name in given["--problems"]),
        teacher=teacher.replace("replay:", f"replay:{folder}/"),
        assignments=(*(text.replace("runs/", f"{folder}/runs/") for text in given["--set"]), "clean.benchmarks=[]", *more),
    )
