"""Names in a recipe put into what they stand for, so that the resolved recipe says what is read."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from curation.errors import UserError
from curation.files import read_yaml

CONFIGS = Path(__file__).parent.parent / "configs"  # beside the packages, in a checkout and in site-packages alike


def benchmarks_in(paths: Sequence[Path]) -> list[dict[str, str]]:
    """Recipe entries for benchmark files; a folder means every file in it."""
    files = [f for p in paths for f in (sorted(x for x in p.iterdir() if x.is_file()) if p.is_dir() else [p])]
    if not files:
        raise UserError(f"no files in {', '.join(map(str, paths))}: --benchmarks takes files of questions, or folders of them")
    return [{"name": f.name.split(".")[0], "path": str(f)} for f in files]


def name_benchmarks(raw: dict[str, Any]) -> None:
    """Put the entries of configs/benchmarks.yaml in place of their names."""
    clean = raw.get("clean")
    listed = clean.get("benchmarks") if isinstance(clean, dict) else None
    if isinstance(clean, dict) and isinstance(listed, list):
        clean["benchmarks"] = [_named_benchmark(entry) if isinstance(entry, str) else entry for entry in listed]


def _named_benchmark(name: str) -> dict[str, Any]:
    known = read_yaml(CONFIGS / "benchmarks.yaml")
    if name not in known:
        raise UserError(f"clean.benchmarks: no benchmark {name!r}{nearest(name, list(known))}; there are {', '.join(known)}")
    entry = {key: value for key, value in known[name].items() if key != "get"}
    if not entry:
        where = known[name]["get"]
        raise UserError(f"clean.benchmarks: {name} cannot be read from the Hub: get {where} and name the file with --benchmarks")
    return {"name": name, **entry}


def name_table(raw: dict[str, Any]) -> None:
    """Put the recipe's table of pass rates into each rule that goes by pass rates."""
    table = raw["difficulty"].get("table") if isinstance(raw.get("difficulty"), dict) else None
    clean = raw.get("clean")
    window = [clean["pass_rate"]] if isinstance(clean, dict) and "pass_rate" in clean else []
    listed = raw["select"] if isinstance(raw.get("select"), list) else []
    rules = [rule for rule in listed if isinstance(rule, dict) and rule.get("rule") in ("s1k", "pass_rate", "mixture")]
    for rule in [*window, *rules]:
        if table and isinstance(rule, dict) and rule.get("table") is None:
            rule["table"] = table


def group_of(raw: dict[str, Any], name: str) -> dict[str, Any]:
    """A group of a recipe's keys; empty where nothing stands behind its name. Raises UserError for what is no group."""
    group = raw.get(name) or {}
    if not isinstance(group, dict):
        raise UserError(f"{name} holds {str(group)[:80]!r}, wanted a mapping of keys")
    return group


def nearest(word: str, known: list[str]) -> str:
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    return f" (did you mean {close[0]!r}?)" if close else ""
