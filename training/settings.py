"""Settings of training and evaluation: flat, strict, from a YAML file with KEY=VALUE on top."""

from __future__ import annotations

import difflib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from curation.errors import UserError
from curation.files import read_yaml


class Settings(BaseModel):
    """A flat group of keys: an unknown one is an error, and nothing changes after loading."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)  # neither is JSON, which keys and records are


Some = TypeVar("Some", bound=Settings)


def load(kind: type[Some], assignments: Sequence[str], path: Path | None = None) -> Some:
    """Settings from a YAML file, or the defaults, with `assignments` ("key=value") in place of single values.

    Raises UserError naming the key that is wrong and the nearest right one.
    """
    raw = read_yaml(path) if path else {}
    for assignment in assignments:
        key, equals, text = assignment.partition("=")
        if not equals:
            raise UserError(f"--set {assignment}: wanted KEY=VALUE, such as --set seed=1")
        raw[key.strip()] = yaml_value(assignment, text)
    try:
        return kind.model_validate(raw)
    except ValidationError as error:
        raise UserError(_first(kind, error, path.name if path else "--set")) from None


def yaml_value(assignment: str, text: str) -> Any:
    """The value on the right of `--set assignment`. Raises UserError where it is no YAML."""
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        said = " ".join(str(error).split())[:120]
        raise UserError(f"--set {assignment}: the value is no YAML ({said}): put a text with signs into quotes") from None


def _first(kind: type[Settings], error: ValidationError, where: str) -> str:
    first = error.errors()[0]
    key = ".".join(map(str, first["loc"])) or "settings"
    if first["type"] == "extra_forbidden":
        close = difflib.get_close_matches(key, list(kind.model_fields), n=1)  # at a cutoff of 0.5, help was taken for schedule
        meant = f"did you mean {close[0]!r}?" if close else f"wanted one of {', '.join(kind.model_fields)}"
        return f"{where}: unknown key {key!r}: {meant}"
    got = "" if first["type"] == "missing" else f", got {json.dumps(first['input'], default=str)[:80]}"
    return f"{where}: {key}: {first['msg'][0].lower()}{first['msg'][1:]}{got}"
