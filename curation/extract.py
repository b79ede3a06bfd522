"""Where in a response the answer stands: rules in a fixed order, each with a name that the verdict records.

Pure functions, linear in the length of the text. Explicit forms (tags, boxes, JSON, `####`) come before phrases, and
phrases before position: the order on which lm-evaluation-harness, ToRA and math-verify agree.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from curation.mathematics.boxes import last_boxes
from curation.thinking import split_thinking


class Extraction(NamedTuple):
    text: str | None  # the answer as written; None where there is none
    rule: str  # which rule fired; where text is None, why nothing was found: unclosed_thought or no_answer


_JSON_KEY = re.compile(r'\\?"(?:final_?)?answer\\?"\s{0,9}:\s{0,9}', re.IGNORECASE)
_UNICODE_ESCAPE = re.compile(r"\\u([0-9a-fA-F]{4})")
_PHRASES = (
    (
        "final_answer",
        re.compile(r"final answer\b[*_ ]{0,4}(?: ?for [^:\n]{1,40}:)?[*_ ]{0,4}(?:is\b|are\b|[:=])?", re.IGNORECASE),
    ),
    ("answer_label", re.compile(r"(?:^|[\n*#>])[ *_#]{0,6}answer[ *_]{0,4}:", re.IGNORECASE)),
    ("hashes", re.compile(r"^[ ]{0,3}####[ ]*(?=\S)", re.MULTILINE)),
    (
        "answer_is",
        re.compile(r"answer(?: to [^.\n]{1,80})? (?:is|are|would be|will be)\b|answer\s{0,2}[:=]", re.IGNORECASE),
    ),
)
_MATH = re.compile(
    r"\$\$(?P<a>[^$]{1,2000})\$\$|(?<!\\)\$(?P<b>(?:[^$\\]|\\.){1,2000})\$"
    r"|\\\[(?P<c>(?:[^\\]|\\[^\]\[]){1,2000})\\\]|\\\((?P<d>(?:[^\\]|\\[^)(]){1,2000})\\\)",
    re.DOTALL,
)
_NUMBER = re.compile(r"(?<![\w.])[-−+]?[ ]?\\?[$€£]?\d[\d,]*(?:\.\d+)?(?:[eE][-+]?\d+)?(?:\s?/\s?\d+)?(?:\s?\\?%)?")
_BOLD = re.compile(r"\*\*([^*\n]{1,300})\*\*")
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+(?=[A-Z\"'(*\\$])|\n{1,}")
_PROSE = re.compile(r"(?<![\\A-Za-z])[A-Za-z]{3,}+(?![({_^=])")  # possessive: linear
_COMMANDS = re.compile(r"\\text\w{0,6}\s?\{[^{}]{0,300}\}|\\[A-Za-z]+")
_FORMULA_WORDS = frozenset(
    {"sqrt", "sin", "cos", "tan", "cot", "sec", "csc", "log", "exp", "arcsin", "arccos", "arctan"}
    | {"and", "for", "all", "some", "where", "cup", "inf", "max", "min"}
)
_VERB = re.compile(r"\b(?:is|are|was|were|get|gives?|equals?|makes?|have|has)\b", re.IGNORECASE)  # "It is 19."
_WHOLE_LIMIT = 400  # characters: the longest bare answer among published golds is 380 (piecewise functions)
_MENTIONS = 3  # how many mentions of "answer", from the last, are looked at
_EMPTY_WORDS = frozenset({"correct", "right", "wrong", "incorrect", "as", "below", "above", "clear", "in", "unique", "not"})
_PHRASE_LIMIT = 60  # characters of an answer in words: "the quotient does not change"
_TAIL_LIMIT = 4000  # characters at the end of a response where an unmarked answer is looked for


def extract(response: str) -> Extraction:
    """The final answer in a whole response, thinking included, and the rule that found it."""
    thought = split_thinking(response)
    if not thought.closed:
        return Extraction(None, "unclosed_thought")
    return extract_from_answer(thought.answer)


def extract_from_answer(text: str) -> Extraction:
    """The final answer in the part of a response that follows the thinking."""
    text = text.strip()
    if not any(c.isalnum() or c in "∅{" for c in text):
        return Extraction(None, "no_answer")
    if tagged := _answer_tag(text):
        inner = _boxed(tagged)
        return Extraction(inner[0] if inner else _narrowed(tagged), "answer_tag")
    boxed, json = _boxed(text), _json_answer(text)
    if json and (boxed is None or json[1] >= boxed[1]):
        inner = _boxed(json[0])
        return Extraction(inner[0] if inner else _narrowed(json[0]), "json")
    if boxed:
        return Extraction(boxed[0], "boxed")
    return _phrase(text) or _position(text)


def extract_gold(text: str) -> str | None:
    """The bare answer in a gold: what follows the last `####`, else the last box of a solution, else the text itself.

    None where nothing is left. GSM8K golds are solutions ending in `#### n`; MATH solutions end in a box.
    """
    text = text.strip()
    _head, found, tail = text.rpartition("####")
    if found and tail.strip() and "\n" not in tail.strip():
        return tail.strip()
    if (tagged := _answer_tag(text)) is not None:
        text = tagged
    boxed = _boxed(text)
    return (boxed[0] if boxed else text) or None


def _narrowed(text: str) -> str:
    """A sentence in the place of the answer gives its one formula or number, if it has just one."""
    if not _is_prose(_MATH.sub(" ", text)):
        return text
    if found := _phrase(text):
        return found.text or text
    math = dict.fromkeys(_group(m) for m in _MATH.finditer(text))
    numbers = dict.fromkeys(m[0].strip() for m in _NUMBER.finditer(text))
    single = math or numbers
    return next(iter(single)) if len(single) == 1 else text


def _answer_tag(text: str) -> str | None:
    lowered = text.lower()
    start = lowered.rfind("<answer>")
    if start < 0 or len(lowered) != len(text):
        return None
    end = lowered.find("</answer>", start)
    return (text[start + 8 :] if end < 0 else text[start + 8 : end]).strip() or None


def _boxed(text: str) -> tuple[str, int] | None:
    """Content of the last box (or of the boxes that the last statement lists) and where the last one ends."""
    boxes = last_boxes(text)
    if not boxes:
        return None
    contents = list(dict.fromkeys(b.content.strip() for b in boxes))
    return ", ".join(contents), boxes[-1].end


def _json_answer(text: str) -> tuple[str, int] | None:
    """Value of the last `"answer":` key, quoted or bare, in JSON that need not be valid, and where it starts."""
    keys = list(_JSON_KEY.finditer(text))
    if not keys:
        return None
    start = keys[-1].end()
    if text[start : start + 2].lstrip("\\").startswith('"'):
        value = _quoted(text, text.index('"', start) + 1)
    elif text[start : start + 1] == "[":
        value = text[start + 1 :].partition("]")[0].replace('"', "")
    else:
        value = re.split(r"[,}\n]", text[start : start + 200], maxsplit=1)[0]
    value = value.strip()
    return (value, start) if value else None


def _quoted(text: str, start: int) -> str:
    """A JSON string from `start` to its closing quote; only unambiguous escapes are undone."""
    parts, i = [], start
    for match in re.compile(r'\\(.)|"|\n\s*[}`]', re.DOTALL).finditer(text, start):
        parts.append(text[i : match.start()])
        i = match.end()
        if match[1] is None:
            break
        if match[1] == '"' and text[start - 2] == "\\":
            break  # the whole object was escaped once more
        parts.append(match[1] if match[1] in '\\"/' else match[0])
    else:
        parts.append(text[i:])
    return _UNICODE_ESCAPE.sub(lambda m: chr(int(m[1], 16)), "".join(parts))


def _phrase(text: str) -> Extraction | None:
    for rule, pattern in _PHRASES:
        for found in list(pattern.finditer(text))[: -_MENTIONS - 1 : -1]:
            statement = _statement(text[found.end() :])
            answer = _answer_in_statement(statement, first=rule != "hashes")
            if answer and _says_something(answer):
                return Extraction(answer, rule)
    return None


def _says_something(answer: str) -> bool:
    """Not the tail of "I hope my final answer is correct." """
    words = answer.lower().strip(" .:*").split()
    return any(c.isalnum() for c in answer) and not (words and words[0] in _EMPTY_WORDS)


def _statement(tail: str) -> str:
    """The rest of the sentence, or the next line that says something; display math is kept whole."""
    tail = tail[:_TAIL_LIMIT].lstrip(" \t\r\n:*_=>")
    if display := re.match(r"\\\[.{1,2000}?\\\]|\$\$.{1,2000}?\$\$", tail, re.DOTALL):
        return display[0]
    return _SENTENCE_END.split(tail, maxsplit=1)[0].strip()


def _answer_in_statement(statement: str, first: bool) -> str | None:
    if not statement:
        return None
    math = [_group(m) for m in _MATH.finditer(statement)]
    outside = _MATH.sub(" ", statement)
    if not _PROSE.search(_COMMANDS.sub(" ", outside)):
        return _clean(statement)
    if bold := [b for b in _BOLD.findall(statement) if any(c.isdigit() for c in b)]:
        return _clean(bold[-1])
    if not _is_prose(outside) and not statement[:1].isalpha():
        return _clean(statement)  # 27 square miles
    if math:
        return math[0] if first and len(math) == 1 else math[-1]
    numbers = [m[0].strip() for m in _NUMBER.finditer(statement)]
    if numbers:
        return numbers[0] if first else numbers[-1]
    return _clean(statement) if len(statement) <= _PHRASE_LIMIT else None


def _position(text: str) -> Extraction:
    """No marker: a short text is itself the answer, else the last formula or number of the last sentence with one."""
    outside = _MATH.sub(" ", text)
    if len(text) <= _WHOLE_LIMIT and "\n\n" not in text and not _is_prose(outside) and not _VERB.search(outside):
        return Extraction(_clean(text), "whole")
    for sentence in reversed(_SENTENCE_END.split(text[-_TAIL_LIMIT:])):
        if math := [g for m in _MATH.finditer(sentence) if not _PROSE.search(_COMMANDS.sub(" ", g := _group(m)))]:
            return Extraction(math[-1], "last_math")
        if numbers := [m[0].strip() for m in _NUMBER.finditer(sentence)]:
            return Extraction(numbers[-1], "last_number")
    return Extraction(_clean(text), "whole") if len(text) <= _WHOLE_LIMIT else Extraction(None, "no_answer")


def _group(match: re.Match[str]) -> str:
    return next(g for g in match.groups() if g is not None).strip()


def _is_prose(text: str) -> bool:
    """More than three words that no formula has: a sentence about the answer, not the answer."""
    words = [w for w in _PROSE.findall(_COMMANDS.sub(" ", text)) if w.lower() not in _FORMULA_WORDS]
    return len(words) > 3


def _clean(text: str) -> str:
    text = text.strip().strip("`").strip()
    text = text.strip('"').strip()
    while text.startswith("**") or text.startswith("__"):
        text = text[2:].lstrip()
    while text.endswith("**") or text.endswith("__"):
        text = text[:-2].rstrip()
    return text.strip()
