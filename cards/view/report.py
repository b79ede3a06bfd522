"""The page as one file, `report.html`: it opens by a double click, without a server and without a network."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from pathlib import Path
from typing import Any

import polars as pl

from cards.view.detail import row
from cards.view.overview import overview
from cards.view.rows import IN_THE_SET, Rows, listed, open_rows
from cards.view.server import HERE
from curation.files import write_atomic

SEED = 0
# Rows of the sample: (condition, how many). 200 in all, so that the file stays a few megabytes.
_SAMPLE = (
    ((pl.col("kind") == "trace") & (pl.col("fate") == IN_THE_SET), 120),
    ((pl.col("kind") == "trace") & (pl.col("fate") != IN_THE_SET), 60),
    (pl.col("kind") == "problem", 20),
)
_LONGEST = 120_000  # characters of one text, about 30,000 tokens; what is longer is cut, and says so


def write_report(run: Path) -> Path:
    """Write `run/report.html` whole or not at all: the figures of the whole run and a seeded sample of its rows.

    The same run gives the same bytes. Raises UserError where the folder is no finished run.
    """
    path = run / "report.html"
    write_atomic(path, render(open_rows(run)))
    return path


def render(view: Rows) -> str:
    """The page with its styles, fonts, scripts and data inside; its policy lets only those scripts run."""
    page = (HERE / "page" / "index.html").read_text("utf-8")
    styles = [_style(name) for name in re.findall(r'<link rel="stylesheet" href="([^"]+)">', page)]
    scripts = [(HERE / name).read_text("utf-8") for name in re.findall(r'<script src="([^"]+)"></script>', page)]
    page = re.sub(r'<link rel="stylesheet"[^>]*>\n|<script src=[^>]*></script>\n', "", page)
    policy = (
        f"default-src 'none'; script-src {_hashes(scripts)}; style-src {_hashes(styles)}; style-src-attr 'unsafe-inline'; "
        "font-src data:; img-src data:; base-uri 'none'; form-action 'none'"
    )
    head = f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n' + "".join(f"<style>{s}</style>\n" for s in styles)
    body = f'<script type="application/json" id="held">{_data(view)}</script>\n' + "".join(
        f"<script>{s}</script>\n" for s in scripts
    )
    return page.replace('<meta name="viewport"', head + '<meta name="viewport"', 1).replace("</body>", body + "</body>", 1)


def _style(name: str) -> str:
    folder = (HERE / name).parent

    def inline(found: re.Match[str]) -> str:
        return f"url(data:font/woff2;base64,{base64.b64encode((folder / found[1]).read_bytes()).decode()})"

    return re.sub(r"url\((fonts/[^)]+\.woff2)\)", inline, (HERE / name).read_text("utf-8"))


def _hashes(texts: list[str]) -> str:
    return " ".join(f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'" for text in texts)


def _data(view: Rows) -> str:
    rows = _sample(view)
    held = {
        "overview": _cut(overview(view)),
        "rows": listed(view, rows),
        "details": {row_id: _cut(row(view, row_id)) for row_id in rows["id"]},
        "sample": f"This file holds {rows.height:,} of the run's {view.rows.height:,} rows, drawn with seed {SEED}: up to 120 "
        "traces of the set, 60 that are not in it and 20 dropped problems. `factory view` shows every row.",
    }
    # "</script>" and "<!--" in a model's text would end or bend the block that holds them.
    return json.dumps(held, ensure_ascii=True).replace("<", "\\u003c")


def _sample(view: Rows) -> pl.DataFrame:
    groups = [view.rows.with_row_index("at").filter(condition) for condition, _ in _SAMPLE]
    drawn = [g.sample(min(g.height, size), seed=SEED) for g, (_, size) in zip(groups, _SAMPLE, strict=True)]
    return pl.concat(drawn).sort("at").drop("at")


def _cut(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _cut(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_cut(inner) for inner in value]
    if isinstance(value, str) and len(value) > _LONGEST:
        half = _LONGEST // 2
        return f"{value[:half]}\n\n[… {len(value) - 2 * half:,} characters are not in this report …]\n\n{value[-half:]}"
    return value
