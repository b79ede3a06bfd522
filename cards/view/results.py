"""Results of `factory eval` as the page shows them: the scores, and the first samples of each, the same questions every time."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl

_SAMPLES = 6  # questions of a suite, one sample of each
_LONGEST = 20_000  # characters of one text
_SHOWN = ("prompt", "answer", "reasoning", "answer_text", "outcome", "why", "extracted", "finish", "completion_tokens")


def results(folder: Path) -> list[dict[str, Any]]:
    """Every result in a folder, oldest first: when, suite, settings, scores and samples, without the verdict on each question."""
    files = {path: json.loads(path.read_text("utf-8")) for path in sorted(folder.glob("*.json"))}
    found = [_shown(path, result) for path, result in files.items() if "result" in result and "scores" in result]
    return sorted(found, key=lambda result: (str(result["created"]), str(result["suite"]["name"])))


def _shown(path: Path, result: dict[str, Any]) -> dict[str, Any]:
    kept = {key: result[key] for key in ("created", "suite", "settings", "scores")}
    return kept | {"samples": _samples(path.with_suffix(".parquet"))}


def _samples(table: Path) -> list[dict[str, Any]]:
    if not table.is_file():
        return []
    first = pl.scan_parquet(table).filter(pl.col("index") == 0).head(_SAMPLES)
    shown = first.select(name for name in _SHOWN if name in first.collect_schema()).collect()
    return [{key: _cut(value) for key, value in row.items()} for row in shown.to_dicts()]


def _cut(value: Any) -> Any:
    if isinstance(value, str) and len(value) > _LONGEST:
        return f"{value[:_LONGEST]}\n\n[… {len(value) - _LONGEST:,} characters more …]"
    return value
