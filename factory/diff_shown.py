"""The difference of two runs for a person: as text for the terminal, and as a page in one file that can be searched."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from cards.public import public_json
from cards.view.single_file import single_file
from curation.files import write_atomic
from factory.diff import Change, Difference, Moved, compare_runs

_SHOWN = 5  # ids printed of each group
PAGE_ROWS = 20_000  # problems that the page holds, 10 MB: a browser searches them in a few milliseconds
_NO_CAUSE = "no setting of that step: an earlier step, the input or a version"


def diff_runs(one: Path, other: Path, page: Path | None = None) -> str:
    """What changed from run `one` to run `other`, as text, and in full as a page into the file `page` where one is named.

    Raises UserError for a folder that is no finished run.
    """
    found = compare_runs(one, other)
    lines = [_change(c) for c in found.settings] or ["the recipes are the same"]
    lines += [*map(_change, found.versions), "", *_funnel(found), "", *_problems(found)]
    if page:
        write_atomic(page, diff_page(found))
        lines += ["", f"written to {page}: every problem of these, to be searched"]
    return "\n".join(lines)


def diff_page(found: Difference) -> str:
    """The whole difference as an HTML document that needs no network."""
    groups = [[m for m in found.moved if m.what == what] for what in ("left", "entered", "changed")]
    share = PAGE_ROWS // len(groups)
    room = share + max(0, PAGE_ROWS - sum(min(share, len(g)) for g in groups))  # what small groups leave, a large one takes
    held: dict[str, Any] = {
        "names": found.names,
        **{name: [c._asdict() for c in getattr(found, name)] for name in ("settings", "versions", "funnel")},
        "examples": found.examples._asdict(),
        "problems": found.problems._asdict(),
        "same": found.same,
        "counts": {what: len(group) for what, group in zip(("left", "entered", "changed"), groups, strict=True)},
    }
    rows = list(islice((m for group in groups for m in group[:room]), PAGE_ROWS))
    return single_file("diff.html", public_json(held) | {"moved": [m._asdict() for m in rows]})


def _change(change: Change) -> str:
    return f"{change.name}: {_short(change.before)} -> {_short(change.after)}"


def _funnel(found: Difference) -> Iterator[str]:
    yield f"{'step':<24} {'kept before':>12} {'kept after':>12}"
    for step, *kept in found.funnel:
        a, b = ("-" if n is None else f"{n:,}" for n in kept)
        yield f"{step:<24} {a:>12} {b:>12}"


def _problems(found: Difference) -> Iterator[str]:
    for when, examples, problems in (
        ("before", found.examples.before, found.problems.before),
        ("after", found.examples.after, found.problems.after),
    ):
        yield f"{examples:,} examples of {problems:,} problems {when}"
    changed = [m for m in found.moved if m.what == "changed"]
    yield f"{found.same:,} problems have the same examples, {len(changed):,} others"
    yield from _grouped(changed, "by")
    for what, said in (("left", "dropped there by"), ("entered", "dropped before by")):
        moved = [m for m in found.moved if m.what == what]
        yield f"{len(moved):,} problems {what}"
        yield from _grouped(moved, said)


def _grouped(moved: list[Moved], said: str) -> Iterator[str]:
    """Problems by step and reason, the largest group first, with the settings that decide that step."""
    groups: dict[tuple[str, str], list[Moved]] = {}
    for m in moved:
        groups.setdefault((m.step, m.reason), []).append(m)
    for (step, reason), group in sorted(groups.items(), key=lambda item: (-len(item[1]), item[0])):
        ids = [m.problem_id for m in group]
        more = " ..." if len(ids) > _SHOWN else ""
        cause = ", ".join(group[0].causes) or _NO_CAUSE
        yield f"  {len(ids):,} {said} {step}: {reason}; {cause} ({' '.join(ids[:_SHOWN])}{more})"


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 100 else f"{text[:97]}..."
