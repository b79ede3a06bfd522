"""Reads who is called truthful and who a liar in a gold or in a model's answer, however it is laid out.

Sentences ("Emma is a knight, and Noah is a knave"), numbered lines, "Emma: knight", tables and JSON, and lists by role
("Knights: Emma, Noah. Knaves: none"). One pass of one regular expression over the text, linear in its length.
"""

from __future__ import annotations

import json
import re
from typing import NamedTuple

MAX_CHARACTERS = 10_000  # eight people in a table have about 500
# The pairs of mem-kk-logic and reasoning-gym, and what people write for them.
_TRUTHFUL = ("knight", "hero", "altruist", "saint", "sage", "pioneer", "angel", "truth", "honest")
_LYING = ("knave", "villain", "egoist", "sinner", "fool", "laggard", "devil", "liar")
_NOUNS = "|".join((*_TRUTHFUL[:-2], *_LYING))
_ROLE = rf"\b(?:(?:{_NOUNS})(?:e?s)?|truth[- ]?tellers?|truthful|honest)\b"
_GOLD = re.compile(rf"([^\W\d_][\w'’-]*(?: [^\W\d_a-z][\w'’-]*)*)(?: is an? | is |: ?)({_ROLE})", re.IGNORECASE)
_STRANGER = re.compile(rf"\b([^\W\d_a-z][\w'’-]{{0,40}}) is an? (?i:{_ROLE})")
_PRONOUN = re.compile(r"(?:He|She|It|They|This|That|There|Here|Who|One|Every(?:one|body)|Each|Nobody|Neither|None|I)$")
_EVERY = ("all", "both", "everyone", "everybody")
_NONE = ("none", "neither", "nobody")
_WORDS = rf"(?P<role>(?i:{_ROLE}))|(?P<word>(?i:\b(?:not|never|{'|'.join((*_EVERY, *_NONE))})\b|n['’]t\b))|(?P<stop>[.;\n])"


class Reading(NamedTuple):
    """What an answer claims."""

    roles: dict[str, bool]  # True for the truthful
    why: str  # empty when every name has one role, otherwise the verdict's reason
    text: str  # the part that was read


def read_gold(gold: str) -> dict[str, bool]:
    """The roles by name that `gold` states, as sentences, "Name: role" lines or JSON {name: role}; empty for none."""
    if gold.lstrip().startswith("{"):
        try:
            fields = json.loads(gold)
        except ValueError:
            return {}
        return {name: role if isinstance(role, bool) else _is_truthful(str(role)) for name, role in fields.items()}
    if len(gold) > MAX_CHARACTERS:
        return {}
    found = [(re.sub(r"^and\s+", "", name), _is_truthful(role)) for name, role in _GOLD.findall(gold)]
    return dict(found) if len(dict(found)) == len(set(found)) else {}


def _is_truthful(role: str) -> bool:
    return role.lower().startswith(_TRUTHFUL)


def read_roles(text: str, names: list[str], *, last_lines: bool) -> Reading:
    """The roles that `text` gives to `names`; with `last_lines`, from as few of its last lines as name them all."""
    if not last_lines:
        return _read(text, names) if len(text) <= MAX_CHARACTERS else Reading({}, "too_long", text)
    lines = [line for line in text[-MAX_CHARACTERS:].splitlines() if line.strip()]
    reading = Reading({}, "no_answer", "")
    for count in range(1, min(len(lines), 2 * len(names) + 4) + 1):
        reading = _read("\n".join(lines[-count:]), names)
        if reading.why in ("", "contradictory", "unknown_name"):
            return reading
    return reading if reading.roles else Reading({}, "no_answer", "")


def _read(text: str, names: list[str]) -> Reading:
    claims: dict[str, set[bool]] = {}
    heading: bool | None = None
    segments = _segments(text, names)
    for segment in segments:
        heading = _claim(segment, names, claims, heading)
    roles = {name: max(said) for name, said in claims.items()}
    if any(found[1] not in names and not _PRONOUN.match(found[1]) for found in _STRANGER.finditer(text)):
        return Reading(roles, "unknown_name", text)
    if any(len(said) > 1 for said in claims.values()):
        return Reading(roles, "contradictory", text)
    if not claims:
        return Reading(roles, "unparseable_answer", text)
    return Reading(roles, "" if len(roles) == len(names) else "missing_names", text)


class _Token(NamedTuple):
    kind: str  # name, role, word
    text: str


def _segments(text: str, names: list[str]) -> list[list[_Token]]:
    """The names, roles and words that matter, sentence by sentence and line by line."""
    named = "|".join(re.escape(name) for name in sorted(names, key=len, reverse=True))
    if text in (text.lower(), text.upper()):  # "emma is a knight": the case says nothing, so "Will" and "will" are one
        named = f"(?i:{named})"
    pattern = re.compile(rf"(?<!\w)(?P<name>{named})(?!\w)|{_WORDS}")
    spelling = {name.lower(): name for name in names}
    segments: list[list[_Token]] = [[]]
    for match in pattern.finditer(text):
        kind = str(match.lastgroup)
        if kind == "stop":
            segments.append([])
        else:
            segments[-1].append(_Token(kind, spelling[match[0].lower()] if kind == "name" else match[0].lower()))
    return [segment for segment in segments if segment]


def _claim(segment: list[_Token], names: list[str], claims: dict[str, set[bool]], heading: bool | None) -> bool | None:
    """Enter what one sentence claims; returns the role that stands over the lines below it, as in "Knights:"."""
    roles = [_is_truthful(token.text) for token in segment if token.kind == "role"]
    named = [token.text for token in segment if token.kind == "name"]
    every = any(token.text in (*_EVERY, *_NONE) for token in segment)
    if not roles:
        if heading is not None:
            for name in named:
                claims.setdefault(name, set()).add(heading)
        return heading
    if not named and not every:
        return roles[0] if len(roles) == 1 else None
    if segment[0].kind == "role":
        _claim_by_role(segment, names, claims)
    else:
        _claim_by_name(segment, names, claims)
    return None


def _claim_by_role(segment: list[_Token], names: list[str], claims: dict[str, set[bool]]) -> None:
    """ "Knights: Emma, Noah; knaves: none": each role holds for what follows it."""
    role = True
    for token in segment:
        if token.kind == "role":
            role = _is_truthful(token.text)
        elif token.kind == "name" or token.text in _EVERY:
            for name in [token.text] if token.kind == "name" else names:
                claims.setdefault(name, set()).add(role)


def _claim_by_name(segment: list[_Token], names: list[str], claims: dict[str, set[bool]]) -> None:
    """ "Emma and Noah are knights, Liam is not a knight": each role holds for the names before it."""
    group: list[str] = []
    every = negated = closed = False
    for token in segment:
        if token.kind == "role":
            for name in group or (names if every else []):
                claims.setdefault(name, set()).add(_is_truthful(token.text) != negated)
            negated, closed = False, True
            continue
        if token.kind == "name" or token.text in (*_EVERY, *_NONE):
            group = [] if closed else group
            every, closed = token.kind != "name", False
            group = [*group, token.text] if token.kind == "name" else group
        if token.text in ("not", "never", "n't", "n’t", *_NONE):
            negated = True
