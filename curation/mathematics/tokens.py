"""Tokens of a normalised formula."""

from __future__ import annotations

import re
from typing import NamedTuple

from curation.mathematics.lexicon import CONSTANTS, FUNCTIONS, GREEK, SHORT_WORDS, UNIT_WORDS


class Token(NamedTuple):
    kind: str  # num, sym, fn, word, cmd, op
    text: str
    spaced: bool  # white space stands before it


class Unreadable(Exception):
    """The text is no formula that this grammar knows; another tier may read it."""


_TOKEN = re.compile(
    r"(?P<space>\s+)|(?P<num>\d+(?:\.\d+)?(?:[eE][-+]?\d{1,4}(?![\w.]))?|\.\d+)|(?P<text>\\text\s?\{)|(?P<cmd>\\[A-Za-z]+)"
    r"|(?P<brace>\\[{}|])|(?P<row>\\\\)|(?P<letters>[A-Za-z]+)|(?P<op><=|>=|!=|==|[-+*/^_!=<>,;:|()\[\]{}'%&])"
)
KEPT = frozenset({r"\pm", r"\not", r"\in", r"\inf", r"\int", r"\ne", r"\mid"})
LENGTH_LIMIT = 4000  # characters; below the 4,300 digits that int() takes
TOKEN_LIMIT = 1200


def tokens(text: str) -> list[Token]:
    """The tokens of `text`; raises Unreadable at a character that no formula has."""
    if len(text) > LENGTH_LIMIT:
        raise Unreadable("too long")
    out: list[Token] = []
    position, spaced = 0, False
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None or len(out) > TOKEN_LIMIT:
            raise Unreadable(text[position : position + 20])
        kind, position = str(match.lastgroup), match.end()
        if kind == "text":
            inner, position = _text_group(text, position)
            behind_value = bool(out) and (out[-1].kind == "num" or out[-1].text in ("}", ")", "%"))
            out.extend(_text_tokens(inner, behind_value=behind_value))
            spaced = True
            continue
        if kind == "letters":
            out.extend(_word_or_letters(match[0], spaced or not out, text[position : position + 1], out))
        elif kind == "cmd":
            out.extend(_commands(match[0], spaced))
        elif kind != "space":
            out.append(Token("num" if kind == "num" else "op", match[0], spaced))
        spaced = kind == "space"
    return out


def _text_group(text: str, start: int) -> tuple[str, int]:
    """The content of \\text{...} and where it ends; braces inside are allowed."""
    depth = 1
    for i in range(start, len(text)):
        depth += (text[i] == "{") - (text[i] == "}")
        if depth == 0:
            return text[start:i], i + 1
    raise Unreadable("\\text without an end")


def _text_tokens(inner: str, *, behind_value: bool) -> list[Token]:
    r"""Words of a \text group; a function, a letter, a number or a sign in it means itself, but 5 \text{m} is metres."""
    if behind_value and inner.strip()[:1].isalpha() and not any(c in "=\\" for c in inner):
        return [Token("word", w, True) if w.isalpha() else _text_token(w) for w in re.findall(r"[A-Za-z]+|[/,;:(){}^-]|\d+", inner)]
    found = re.findall(r"[A-Za-z][A-Za-z'.-]*|\d+(?:\.\d+)?|\\[A-Za-z]+|[-+=<>,;:()%/{}]", inner)
    return [_text_token(w) for w in found]


def _text_token(word: str) -> Token:
    if word[0] == "\\":
        return _command(word, True)
    if word[0].isdigit():
        return Token("num", word, True)
    if not word[0].isalpha():
        return Token("op", word, True)
    if word in FUNCTIONS and word not in UNIT_WORDS:
        return Token("fn", word, True)
    if len(word) == 1:
        return Token("sym", word, True)
    return Token("word", word.rstrip(".'-"), True)


def _commands(text: str, spaced: bool) -> list[Token]:
    """\\omegat is \\omega t: golds that lost their blanks are common."""
    token = _command(text, spaced)
    if token.kind != "cmd" or len(text) < 4:
        return [token]
    known = [n for n in (*GREEK, "pi") if text.startswith("\\" + n) and 1 <= len(text) - len(n) - 1 <= 2]
    if not known or text in KEPT:
        return [token]
    name = max(known, key=len)
    return [_command("\\" + name, spaced), *(Token("sym", c, False) for c in text[len(name) + 1 :])]


def _command(text: str, spaced: bool) -> Token:
    name = text[1:]
    if name in FUNCTIONS and name not in ("sqrt", "binom"):
        return Token("fn", name, spaced)
    if name in GREEK:
        return Token("sym", name, spaced)
    return Token("cmd", text, spaced)


def _word_or_letters(run: str, spaced: bool, following: str, before: list[Token]) -> list[Token]:
    """ "at" between spaces is a word, in e^{at} a product; "min" behind a number is a unit, elsewhere a function."""
    if run.lower() in UNIT_WORDS and before and before[-1].kind in ("num", "word"):
        return [Token("word", run, spaced)]
    if run.lower() in ("times", "cup") and not following:
        return [Token("word", run, spaced)]
    if run.lower() in SHORT_WORDS and spaced and not following.strip(" \n\t.,;:\\"):
        return [Token("word", run, spaced)]
    return _letters(run, spaced)


def _letters(run: str, spaced: bool) -> list[Token]:
    """A run of letters is a function, a constant, a word, or variables that are multiplied."""
    if len(run) == 1:
        return [Token("sym", run, spaced)]
    if run.lower() in FUNCTIONS:
        return [Token("fn", run.lower(), spaced)]
    if run.lower() in CONSTANTS:
        return [Token("cmd", CONSTANTS[run.lower()], spaced)]
    for name in ("sqrt", "pi", "sin", "cos", "tan", "log", "ln"):
        if run.endswith(name) and len(run) - len(name) <= 2 and run.lower() not in ("begin",):
            head = _letters(run[: -len(name)], spaced)
            return [*head, *_letters(name, False)]
    if len(run) > 3:
        return [Token("word", run, spaced)]
    return [Token("sym", letter, spaced and i == 0) for i, letter in enumerate(run)]
