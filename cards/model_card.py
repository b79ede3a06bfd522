"""The card of a model: README.md, written from `training_manifest.json` where the folder has one, and never from memory."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml

from cards.dataset_card import HAND_CLOSE, HAND_HINT, HAND_OPEN
from cards.licenses import tag
from cards.markdown import block, code, number, table, text
from cards.public import public_text
from cards.run_facts import read_json

# What training leaves beside the weights. Every key may be missing, and its section is then missing from the card:
#   name, description     text
#   base                  {"model", "revision", "license"}
#   data                  [{"name", "sha256", "rows", "license"}]        what it was trained on
#   settings, hardware    {name: value}                                  as they took effect
#   curve                 [{"step", "loss", ...}]                        in order of steps
#   evaluations           [{"suite", "metric", "value", "low", "high"}]  with the interval, in the metric's own unit
#   chat_template         text;  thinking: how the thinking is marked, text;  limits: text
#   command, factory      what made it, and its version
TRAINING_MANIFEST = "training_manifest.json"
_CURVE_POINTS = 12


def render_model_card(folder: Path) -> str:
    """The card of the model in `folder`: metadata the Hub reads, then Markdown. Raises UserError for a broken manifest."""
    found: dict[str, Any] = read_json(folder, TRAINING_MANIFEST) if (folder / TRAINING_MANIFEST).is_file() else {}
    config = json.loads((folder / "config.json").read_text("utf-8"))
    sections = (
        ("Base model", _base(found.get("base"))),
        ("Trained on", _data(found.get("data"))),
        ("Settings", _pairs(found.get("settings"))),
        ("Hardware", _pairs(found.get("hardware"))),
        ("Training curve", _curve(found.get("curve"))),
        ("Evaluation", _evaluations(found.get("evaluations"))),
        ("Chat template and thinking", _template(found)),
        ("Limits", text(found["limits"], 5000) if "limits" in found else None),
        ("How it was made", _made(found)),
    )
    parts = [
        f"---\n{yaml.safe_dump(_metadata(found), sort_keys=False, allow_unicode=True, width=120)}---",
        f"# {text(found.get('name', folder.resolve().name))}",
        text(found.get("description", f"A {config.get('model_type', 'language')} model."), 2000),
        *([] if found else ["How it was trained is not recorded in this folder."]),
        f"{HAND_OPEN}\n{HAND_HINT}\n{HAND_CLOSE}",
        *(f"## {title}\n\n{content}" for title, content in sections if content),
    ]
    return "\n\n".join(parts) + "\n"


def training_licenses(found: dict[str, Any]) -> list[str]:
    """The licences of the base model and of every data set in a training manifest; "unknown" where one is not named."""
    base = [found["base"]] if found.get("base") else []
    return [str(part.get("license", "unknown")) for part in [*base, *found.get("data", [])]]


def _metadata(found: dict[str, Any]) -> dict[str, Any]:
    base, license_tag = found.get("base", {}), tag(training_licenses(found))
    return {
        "license": license_tag.license,
        **({"license_name": license_tag.name} if license_tag.name else {}),
        "library_name": "transformers",
        "pipeline_tag": "text-generation",
        **({"base_model": base["model"]} if "/" in base.get("model", "") and not base["model"].startswith(("/", ".", "~")) else {}),
        "tags": ["reasoning", "chain-of-thought", "cot-factory"],
    }


def _base(base: dict[str, Any] | None) -> str | None:
    return _pairs({key: base[key] for key in ("model", "revision", "license") if base.get(key)}) if base else None


def _data(data: list[dict[str, Any]] | None) -> str | None:
    columns = ("name", "rows", "license", "sha256")
    rows = [[code(public_text(str(part.get(c, "")))) for c in columns] for part in data or []]
    return table(columns, rows, right=(1,)) if rows else None


def _pairs(values: dict[str, Any] | None) -> str | None:
    rows = [[code(key), code(public_text(v if isinstance(v, str) else json.dumps(v)))] for key, v in (values or {}).items()]
    return table(["", "in effect"], rows) if rows else None


def _curve(points: list[dict[str, Any]] | None) -> str | None:
    """At most twelve points, evenly spaced, the first and the last among them."""
    if not points:
        return None
    last = len(points) - 1
    shown = [points[i] for i in sorted({round(n * last / (_CURVE_POINTS - 1)) for n in range(_CURVE_POINTS)})]
    names = [name for name in points[0] if isinstance(points[0][name], int | float)]
    rows = [[f"{p[n]:.4g}" if isinstance(p.get(n), float) else number(p.get(n)) for n in names] for p in shown]
    return table([text(n) for n in names], rows, right=range(len(names)))


def _evaluations(found: list[dict[str, Any]] | None) -> str | None:
    def interval(one: dict[str, Any]) -> str:
        return f"{one['low']:.4g} to {one['high']:.4g}" if {"low", "high"} <= set(one) else "not measured"

    rows = [[code(one["suite"]), code(one["metric"]), f"{one['value']:.4g}", interval(one)] for one in found or []]
    return table(["suite", "metric", "value", "interval"], rows, right=(2,)) if rows else None


def _template(found: dict[str, Any]) -> str | None:
    parts = [text(found["thinking"], 1000)] if found.get("thinking") else []
    parts += [block(found["chat_template"], "jinja")] if found.get("chat_template") else []
    return "\n\n".join(parts) or None


def _made(found: dict[str, Any]) -> str | None:
    if "command" not in found:
        return None
    version = f"with cot-factory {text(found['factory'])}; " if "factory" in found else ""
    return f"{block(public_text(found['command']), 'bash')}\n\n{version}everything recorded of it is in `{TRAINING_MANIFEST}`."
