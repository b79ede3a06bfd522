"""Words searched in the traces themselves: too much text to hold, so it is read in the order of the list until a page is full."""

from __future__ import annotations

import time
from typing import NamedTuple

import polars as pl

from cards.view.rows import PAGE_ROWS, Rows

BUDGET_S = 0.2  # for one answer; the page then asks to go on, and shows what is found so far
_AT_ONCE = 1_000  # traces read together: 50 MB of text at 50 kB each


class Found(NamedTuple):
    rows: pl.DataFrame
    next: int | None  # position in the list to go on from; None at its end


def search_texts(view: Rows, rows: pl.DataFrame, text: str, start: int) -> Found:
    """Up to a page of those `rows` from position `start` on whose thinking or answer holds `text`, whatever its case."""
    began, position, hits = time.monotonic(), start, rows.head(0)
    while position < rows.height and hits.height < PAGE_ROWS and time.monotonic() - began < BUDGET_S:
        part = rows.slice(position, _AT_ONCE)
        here = part.with_row_index("at").filter(pl.col("id").is_in(_holding(view, part, text.lower())))
        room = PAGE_ROWS - hits.height
        position += here["at"][room - 1] + 1 if here.height >= room else part.height
        hits = hits.vstack(here.head(room).drop("at"))
    return Found(hits, position if position < rows.height else None)


def _holding(view: Rows, rows: pl.DataFrame, text: str) -> list[str]:
    ids: list[str] = []
    for (file,), part in rows.filter(pl.col("kind") == "trace").group_by("file"):
        first, last = part["row"].min(), part["row"].max()
        assert isinstance(file, int) and isinstance(first, int) and isinstance(last, int)
        scan = pl.scan_parquet(view.files[file]).slice(first, last - first + 1)
        said = pl.concat_str("reasoning", "answer_text", separator="\n", ignore_nulls=True).str.to_lowercase()
        ids += scan.filter(said.str.contains(text, literal=True)).select("id").collect()["id"].to_list()
    return ids
