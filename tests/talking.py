"""Conversations for a student to learn from, in a file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def talk(*answers: str, question: str = "What is 12 + 30?", **columns: str) -> list[dict[str, Any]]:
    return [{"messages": [{"role": "user", "content": question}, {"role": "assistant", "content": a}], **columns} for a in answers]


def dataset(folder: Path, rows: list[dict[str, Any]]) -> Path:
    path = folder / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path
