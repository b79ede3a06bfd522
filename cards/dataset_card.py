"""The card of a data set: README.md, written from the files of the run and from nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from cards import licenses, row_sections, run_sections
from cards.funnel_picture import funnel_svg
from cards.markdown import text
from cards.run_facts import RunFacts, read_facts, read_json
from curation.files import write_atomic

HAND_OPEN = "<!-- factory:hand-written -->"
HAND_CLOSE = "<!-- /factory:hand-written -->"
HAND_HINT = "<!-- Write here; this part is kept when the card is written again. -->"

# The Hub's bins (hub documentation, datasets-cards: size_categories).
_SIZES = (
    (1_000, "n<1K"),
    (10_000, "1K<n<10K"),
    (100_000, "10K<n<100K"),
    (1_000_000, "100K<n<1M"),
    (10_000_000, "1M<n<10M"),
)


def write_card(run: Path) -> Path:
    """Write `run/README.md` and its picture, each whole or not at all, keeping what a person wrote into the card that is there."""
    path = run / "README.md"
    card = render(run)
    if path.is_file():
        card = keep_hand_written(card, path.read_text("utf-8"))
    write_atomic(run / run_sections.PICTURE, funnel_svg(read_json(run, "funnel.json")))
    write_atomic(path, card)
    return path


def render(run: Path, recorded: dict[str, Any] | None = None) -> str:
    """The card of a finished run: metadata the Hub reads, then Markdown; `recorded` is added to its manifest's keys.

    The same run gives the same bytes. Raises UserError where the folder is no finished run.
    """
    facts = read_facts(run)
    facts = facts._replace(manifest=facts.manifest | (recorded or {}))
    parts = [
        f"---\n{_yaml(_metadata(facts))}---",
        f"# {text(facts.recipe['name'])}",
        text(facts.recipe["description"], 2000),
        row_sections.summary(facts),
        f"{HAND_OPEN}\n{HAND_HINT}\n{HAND_CLOSE}",
    ]
    about_rows = (
        ("Load it", row_sections.loading),
        ("One row", row_sections.sample),
        ("Columns", row_sections.columns),
        ("Teacher", row_sections.teacher),
        ("Verification", row_sections.verification),
        ("Lengths", row_sections.lengths),
    )
    about_the_run = (
        ("What was kept and what was dropped", run_sections.funnel),
        *((("Difficulty", run_sections.difficulty),) if facts.difficulty else ()),
        ("Decontamination", run_sections.decontamination),
        ("Duplicates", run_sections.duplicates),
        ("Licences", run_sections.licences),
        ("Rebuild it", run_sections.rebuild),
    )
    for title, section in (about_rows if facts.examples else ()) + about_the_run:
        parts.append(f"## {title}\n\n{section(facts)}")
    return "\n\n".join(parts) + "\n"


def keep_hand_written(card: str, existing: str) -> str:
    """`card` with the hand-written part and the foreign metadata of `existing`, the card it replaces.

    Of two hand-written parts the one that contains the other stays, else that of `existing`. A card without the two
    marker comments was written by a person: all of its text becomes the hand-written part. Metadata keys
    that the factory does not write (pretty_name, extra_gated_prompt, ...) stay.
    """
    new_head, new_body = split_card(card)
    old_head, _ = split_card(existing)
    metadata = new_head | {key: value for key, value in old_head.items() if key not in new_head}
    before, _, rest = new_body.partition(HAND_OPEN)
    _, _, after = rest.partition(HAND_CLOSE)
    here, there = hand_written(card), hand_written(existing)
    hand = (here if there in here else there) or HAND_HINT
    return f"---\n{_yaml(metadata)}---\n{before}{HAND_OPEN}\n{hand}\n{HAND_CLOSE}{after}"


def hand_written(card: str) -> str:
    """What a person wrote in `card`: the text between the markers, or the whole text of a card that has none."""
    _, body = split_card(card)
    _, opened, rest = body.partition(HAND_OPEN)
    inside, closed, _ = rest.partition(HAND_CLOSE)
    kept = inside if opened and closed else body.replace(HAND_OPEN, "").replace(HAND_CLOSE, "")
    return kept.replace(HAND_HINT, "").strip()


def split_card(card: str) -> tuple[dict[str, Any], str]:
    """Metadata and text of a card; no metadata where it does not begin with a YAML block."""
    card = card.replace("\r\n", "\n")
    head, found, body = card.removeprefix("---\n").partition("\n---\n")
    if not card.startswith("---\n") or not found:
        return {}, card
    metadata = yaml.safe_load(head)
    return (metadata, body) if isinstance(metadata, dict) else ({}, card)


def _yaml(metadata: dict[str, Any]) -> str:
    return yaml.safe_dump(metadata, sort_keys=False, allow_unicode=True, width=120)


def _metadata(facts: RunFacts) -> dict[str, Any]:
    tag = licenses.tag([s["license"] for s in facts.manifest["sources"]])
    domains = [name for name, _ in facts.by["domain"]]
    language = facts.recipe.get("language")
    return {
        "license": tag.license,
        **({"license_name": tag.name} if tag.name else {}),
        "task_categories": ["text-generation"],
        **({"language": [language]} if language else {}),
        "tags": ["reasoning", "chain-of-thought", "synthetic", "cot-factory", *domains],
        "size_categories": [next((size for limit, size in _SIZES if facts.examples < limit), "n>10M")],
        "configs": [
            {
                "config_name": name,
                **({"default": True} if name == "default" else {}),
                "data_files": [{"split": "train", "path": pattern}],
            }
            for name, pattern in row_sections.configs(facts)
        ],
    }
