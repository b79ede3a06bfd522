"""A page as one file: its styles, fonts, scripts and data inside, so that it opens by a double click, offline."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from typing import Any

from cards.view.replies import HERE


def single_file(name: str, held: Any) -> str:
    """The page `name` of page/ with `held`, any JSON, in it; its policy lets only its own scripts run and nothing be fetched."""
    page = (HERE / "page" / name).read_text("utf-8")
    styles = [_style(link) for link in re.findall(r'<link rel="stylesheet" href="([^"]+)">', page)]
    scripts = [(HERE / source).read_text("utf-8") for source in re.findall(r'<script src="([^"]+)"></script>', page)]
    page = re.sub(r'<link rel="stylesheet"[^>]*>\n|<script src=[^>]*></script>\n', "", page)
    policy = (
        f"default-src 'none'; script-src {_hashes(scripts)}; style-src {_hashes(styles)}; style-src-attr 'unsafe-inline'; "
        "font-src data:; img-src data:; base-uri 'none'; form-action 'none'"
    )
    head = f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n' + "".join(f"<style>{s}</style>\n" for s in styles)
    body = f'<script type="application/json" id="held">{_escaped(held)}</script>\n' + "".join(
        f"<script>{s}</script>\n" for s in scripts
    )
    return page.replace('<meta name="viewport"', head + '<meta name="viewport"', 1).replace("</body>", body + "</body>", 1)


def _escaped(held: Any) -> str:
    # "</script>" and "<!--" in a model's text would end or bend the block that holds them.
    return json.dumps(held, ensure_ascii=True, allow_nan=False).replace("<", "\\u003c")


def _style(name: str) -> str:
    folder = (HERE / name).parent

    def inline(found: re.Match[str]) -> str:
        return f"url(data:font/woff2;base64,{base64.b64encode((folder / found[1]).read_bytes()).decode()})"

    return re.sub(r"url\((fonts/[^)]+\.woff2)\)", inline, (HERE / name).read_text("utf-8"))


def _hashes(texts: list[str]) -> str:
    return " ".join(f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'" for text in texts)
