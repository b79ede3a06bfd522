"""The sections of a model's card, from training_manifest.json, metrics.jsonl, evals/ and the chat template beside the weights.

A section is None where the folder has nothing to say of it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from cards.licenses import clash_text, clashes, teacher_terms
from cards.markdown import block, code, number, table, text
from cards.public import public_text

CURVES = "training.svg"  # training.curves draws it beside the weights
_CURVE_POINTS = 12


def training_licenses(found: dict[str, Any]) -> list[str]:
    """The licences of the base model and of every source of the data; "unknown" where one is not named."""
    base = [found["base"]] if found.get("base") else []
    data = (found["data"].get("sources") or [{}]) if found.get("data") else []
    return [str(part.get("license") or "unknown") for part in [*base, *data]]


def training_teachers(found: dict[str, Any]) -> list[str]:
    """The models that wrote what it was trained on, as far as the record names them."""
    teacher = (found.get("data") or {}).get("teacher") or {}
    return [str(teacher["model"])] if teacher.get("model") else []


def trained_on(data: dict[str, Any] | None) -> str | None:
    if not data:
        return None
    sources = data.get("sources") or []
    rows = [[code(public_text(str(s.get(c) or ""))) for c in ("name", "license", "revision")] for s in sources]
    shown = {key: value for key, value in data.items() if key not in ("sources", "teacher", "step", "unit")}
    known = data.get("teacher") or {}
    teacher = {f"teacher {key}": known[key] for key in ("model", "revision") if known.get(key)}
    return "\n\n".join(filter(None, (pairs(shown | teacher), table(["source", "licence", "revision"], rows) if rows else "")))


def licences(found: dict[str, Any]) -> str | None:
    teachers = [teacher_terms(name) for name in training_teachers(found)]
    rows = [[code(t.family), t.license, f"**{t.training}**", t.terms, t.source] for t in teachers]
    terms = [table(["teacher", "licence or terms", "training on its outputs", "what they say", "where"], rows)] if rows else []
    clashing = clashes(training_licenses(found), training_teachers(found))
    return "\n\n".join([*terms, *clash_text(clashing, allowed="license_clash_allowed" in found)]) or None


def pairs(values: dict[str, Any] | None) -> str | None:
    rows = [[code(key), code(public_text(v if isinstance(v, str) else json.dumps(v)))] for key, v in (values or {}).items()]
    return table(["", "in effect"], rows) if rows else None


def read_metrics(folder: Path) -> list[dict[str, Any]]:
    """The lines of metrics.jsonl; none where the folder has no such file."""
    path = folder / "metrics.jsonl"
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()] if path.is_file() else []


def curve(folder: Path) -> str | None:
    """A picture, and at most twelve points, evenly spaced, the first and the last among them."""
    points = read_metrics(folder)
    if not points:
        return None
    last = len(points) - 1
    shown = [points[i] for i in sorted({round(n * last / (_CURVE_POINTS - 1)) for n in range(_CURVE_POINTS)})]
    names = [name for name in points[0] if isinstance(points[0][name], int | float)]
    rows = [[f"{p[n]:.4g}" if isinstance(p.get(n), float) else number(p.get(n)) for n in names] for p in shown]
    picture = [f"![Metrics at each step]({CURVES})"] if (folder / CURVES).is_file() else []
    return "\n\n".join([*picture, table([text(n) for n in names], rows, right=range(len(names)))])


def evaluations(folder: Path) -> str | None:
    """Each result of `factory eval` that lies in evals/: its scores with their intervals over questions."""
    found = [json.loads(path.read_text("utf-8")) for path in sorted((folder / "evals").glob("*.json"))]
    rows = [
        [code(one["suite"]["name"]), number(one["suite"]["questions"]), code(name), *_score(score)]
        for one in found
        for name, score in one["scores"].items()
        if isinstance(score, dict) and "value" in score
    ]
    head = ["suite", "questions", "score", "value", "95 percent, over questions"]
    settings = [f"{code(one['suite']['name'])} with {code(json.dumps(one['settings']), 1000)}" for one in found]
    return "\n\n".join([table(head, rows, right=(1, 3)), *settings]) if rows else None


def _score(score: dict[str, Any]) -> tuple[str, str]:
    low, high = score["questions_interval"]
    return f"{score['value']:.1%}", f"{low:.1%} to {high:.1%}"


def template(folder: Path, found: dict[str, Any]) -> str | None:
    path = folder / "chat_template.jinja"
    template = path.read_text("utf-8") if path.is_file() else ""
    parts = ["The thinking stands between `<think>` and `</think>`, before the answer."] if found.get("method") else []
    parts += [f"A turn ends with {code(found['end_of_turn'])}."] if found.get("end_of_turn") else []
    parts += [block(template, "jinja")] if template else []
    return "\n\n".join(parts) or None
