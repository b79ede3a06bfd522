"""`factory verify`: grade a file of responses against its golds."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from curation.errors import UserError
from curation.files import Row, read_rows, write_atomic, write_table
from curation.records import Verdict
from curation.sources import ANSWER_NAMES, answer_text
from curation.verify import verify_all
from factory.progress import track

RESPONSE_NAMES = (
    "response",
    "prediction",
    "output",
    "completion",
    "generation",
    "model_output",
    "model_answer",
    "pred",
    "text",
)


def grade_file(path: Path, *, gold: str | None, response: str | None, domain: str, out: Path | None, workers: int) -> str:
    """Grade every row and return a summary by outcome and reason; `out` gets the rows in order with their verdicts.

    Raises UserError for a column that is not there or an `out` that is neither .jsonl nor .parquet.
    """
    if out and not out.name.endswith((".jsonl", ".parquet")):
        raise UserError(f"--out {out}: wanted a name that ends in .jsonl or .parquet")
    rows = list(read_rows(path))
    if not rows:
        raise UserError(f"{path.name} has no rows: nothing to grade")
    gold = _column(rows[0], gold, ANSWER_NAMES, path, "--gold")
    response = _column(rows[0], response, [n for n in RESPONSE_NAMES if n != gold], path, "--response")
    pairs = list(_pairs(rows, gold, response))
    items = ((g, r, domain) for _, g, r in pairs)
    verdicts = list(track(verify_all(items, workers=workers), "verify", len(pairs), "responses"))
    if out:
        _write(out, [row for row, _, _ in pairs], verdicts)
    return _summary(verdicts, gold, response, out)


def _column(row: Row, named: str | None, usual: Sequence[str], path: Path, option: str) -> str:
    if named is not None and named not in row:
        raise UserError(f"{path.name} has no column {named!r}; it has {', '.join(row)}: name the right one with {option}")
    found = named or next((n for n in usual if n in row), None)
    if found is None:
        raise UserError(
            f"{path.name} has no column with a usual name for {option}; it has {', '.join(row)}: name it with {option} COLUMN"
        )
    return found


def _pairs(rows: Iterable[Row], gold: str, response: str) -> Iterator[tuple[Row, str | None, str]]:
    """A row with a list of responses becomes one row for each of them."""
    for row in rows:
        said = row.get(response)
        for one in said if isinstance(said, list) else [said]:
            yield {**row, response: one}, answer_text(row.get(gold)), "" if one is None else str(one)


def _write(out: Path, rows: list[Row], verdicts: list[Verdict]) -> None:
    graded = [row | _columns(v) for row, v in zip(rows, verdicts, strict=True)]
    if out.name.endswith(".parquet"):
        write_table(pl.from_dicts(graded, infer_schema_length=None), out)
    else:
        write_atomic(out, "".join(json.dumps(row, ensure_ascii=False, default=str) + "\n" for row in graded))


def _columns(verdict: Verdict) -> dict[str, Any]:
    return {key: getattr(verdict, key) for key in ("outcome", "why", "extracted", "rule", "seconds")}


def _summary(verdicts: list[Verdict], gold: str, response: str, out: Path | None) -> str:
    lines = [f"{len(verdicts):,} responses in column {response!r} against golds in {gold!r}"]
    whys = Counter((v.outcome, v.why) for v in verdicts)
    for outcome in ("correct", "incorrect", "undetermined"):
        count = sum(n for (o, _), n in whys.items() if o == outcome)
        reasons = ", ".join(f"{n:,} {why}" for (o, why), n in whys.most_common() if o == outcome)
        lines.append(f"{outcome:<13}{count:>9,}  {count / len(verdicts):>6.1%}  {reasons}")
    if out:
        lines.append(f"written to {out}")
    return "\n".join(lines)
