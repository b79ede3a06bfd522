"""The card of a model: README.md, written from `training_manifest.json` where the folder has one, and never from memory."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import yaml

from cards import training_sections as sections
from cards.dataset_card import HAND_CLOSE, HAND_HINT, HAND_OPEN
from cards.licenses import tag
from cards.markdown import block, text
from cards.public import public_text
from cards.run_facts import read_json

# What a training leaves beside the weights, as factory.distilling writes it. A key that is missing leaves its part of the card out:
#   name, method, config, description, limits, command, factory      text
#   base                  {"name", "commit", "license"}
#   data                  {"name", "digest", "kept", "in", "dropped", "tokens", "learned_tokens", "sources", "teacher"}
#   settings, hardware, libraries, training    {name: value}         as they took effect
# Beside it: metrics.jsonl (a line a step), evals/*.json (results of `factory eval`), chat_template.jinja.
TRAINING_MANIFEST = "training_manifest.json"


def render_model_card(folder: Path, recorded: dict[str, Any] | None = None) -> str:
    """The card of the model in `folder`: metadata the Hub reads, then Markdown; `recorded` is added to its manifest's keys.

    Raises UserError for a broken manifest.
    """
    found = (read_json(folder, TRAINING_MANIFEST) if (folder / TRAINING_MANIFEST).is_file() else {}) | (recorded or {})
    config = json.loads((folder / "config.json").read_text("utf-8"))
    parts_of_it = (
        ("Base model", sections.pairs(found.get("base"))),
        ("Trained on", sections.trained_on(found.get("data"))),
        ("Settings", sections.pairs(found.get("settings"))),
        ("Training", sections.pairs(found.get("training"))),
        ("Hardware", sections.pairs(found.get("hardware"))),
        ("Training curve", sections.curve(folder)),
        ("Evaluation", sections.evaluations(folder)),
        ("Chat template and thinking", sections.template(folder, found)),
        ("Licences", sections.licences(found)),
        ("Limits", text(found["limits"], 5000) if "limits" in found else None),
        ("How it was made", _made(found)),
    )
    parts = [
        f"---\n{yaml.safe_dump(_metadata(found), sort_keys=False, allow_unicode=True, width=120)}---",
        f"# {text(found.get('name', folder.resolve().name))}",
        text(found.get("description", _described(found, config)), 2000),
        *([] if found else ["How it was trained is not recorded in this folder."]),
        f"{HAND_OPEN}\n{HAND_HINT}\n{HAND_CLOSE}",
        *(f"## {title}\n\n{content}" for title, content in parts_of_it if content),
    ]
    return "\n\n".join(parts) + "\n"


def _described(found: dict[str, Any], config: dict[str, Any]) -> str:
    kind = f"A {config.get('model_type', 'language')} model"
    ways = {"sft": "fine-tuned on reasoning traces", "grpo": "trained by reinforcement with verifiable rewards"}
    made = ways.get(found.get("method", ""), "")
    base = f" from {public_text(found['base']['name'])}" if found.get("base", {}).get("name") else ""
    return f"{kind}, {made}{base}." if made else f"{kind}."


def _metadata(found: dict[str, Any]) -> dict[str, Any]:
    name, license_tag = found.get("base", {}).get("name", ""), tag(sections.training_licenses(found))
    return {
        "license": license_tag.license,
        **({"license_name": license_tag.name} if license_tag.name else {}),
        "library_name": "transformers",
        "pipeline_tag": "text-generation",
        **({"base_model": name} if is_repository(name) else {}),
        "tags": ["reasoning", "chain-of-thought", "cot-factory"],
    }


def is_repository(name: str) -> bool:
    """Is this the name of a repository of the Hub, and no path on somebody's disk?"""
    return bool(re.fullmatch(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*", name)) and not Path(name).exists()


def _made(found: dict[str, Any]) -> str | None:
    if "command" not in found:
        return None
    version = f"with cot-factory {text(found['factory'])}; " if "factory" in found else ""
    return f"{block(public_text(found['command']), 'bash')}\n\n{version}everything recorded of it is in `{TRAINING_MANIFEST}`."
