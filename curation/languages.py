"""Whether a thought leaves the language of its question: by script, and among Latin letters by the commonest words.

DeepSeek-R1 (arXiv 2501.12948, 2.3.2) rewards the share of words in the target language; no model of languages is needed for what
its chains of thought do, which is to fall into Chinese, or to stay in English where the question was Chinese.
"""

from __future__ import annotations

import functools
import re

import numpy as np

# What counts as written in a script: any character of those without spaces, runs of two letters of the others, since a single
# one is a variable or a sign.
_SCRIPTS = {
    "cjk": re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af\uf900-\ufaff]+"),
    "thai": re.compile(r"[\u0e00-\u0e7f]+"),
    "cyrillic": re.compile(r"[\u0400-\u04ff]{2,}"),
    "arabic": re.compile(r"[\u0600-\u06ff]{2,}"),
    "hebrew": re.compile(r"[\u0590-\u05ff]{2,}"),
    "devanagari": re.compile(r"[\u0900-\u097f]{2,}"),
    "greek": re.compile(r"[\u0370-\u03ff\u1f00-\u1fff]{3,}"),
}
_ANY_SCRIPT = re.compile(r"[\u0400-\u0e7f\u3040-\ufaff]")  # all of them but Greek lie here, and no sign of mathematics
_ACCENTED = frozenset("άέήίόύώΐΰϊϋςΆΈΉΊΌΎΏ")  # a Greek word has one of these; the product of three angles has none
_LATIN = re.compile(r"(?<![A-Za-z\\])[A-Za-z]{2,}")  # words, no LaTeX commands
# One foreign character can be a name or a unit; three in a thought are a word of another language.
_FOREIGN_CHARACTERS = 3
# Shares of words: a thought in another language than its question still holds English names and LaTeX.
_LATIN_WORDS_IN_FOREIGN = 0.5

# A question that asks for a language, "translate it into Chinese", may have a thought with words of it.
_ASKED = re.compile(
    r"\b(?:in|into|to|from)\s+(?:simplified |traditional |modern |ancient |brazilian )?"
    r"(?:chinese|mandarin|cantonese|japanese|korean|thai|russian|ukrainian|bulgarian|serbian|arabic|persian|farsi|urdu|hebrew"
    r"|yiddish|hindi|sanskrit|nepali|marathi|greek|german|french|spanish|italian|portuguese|latin)\b",
    re.IGNORECASE,
)
_ENGLISH = frozenset(
    "the of is are and what how many find if let that which for with there each compute evaluate solve determine".split()  # noqa: SIM905
)
# The commonest words of German, French, Spanish, Italian and Portuguese that are no English ones, in lower case alone: "Los" is
# the beginning of Los Angeles.
OTHERS = frozenset(
    """der und ist nicht das wir ein eine einen mit für auf auch dann wenn dass sich zu von den dem sind oder aber durch
    les est une dans que nous avec donc sur qui pas sont cette alors mais des et du au le la il en un
    los las el es para por con como entonces pero este esta más se del cuando cada
    che gli della di è quindi non sono questo questa allora abbiamo nel anche dei delle
    não uma os com então dos das são como em da um ao isso temos é""".split()  # noqa: SIM905
)
# Of ten paragraphs of mathematics in these languages, 50 words each, 11 to 25 percent are such words, half in English 5.6 and
# more; of 27,559 outputs of some 30 models in English, 95 MB, none has over 1 percent, and that is a length called da.
_SHARE_OF_OTHERS = 0.04
KINDS_OF_OTHERS = 3
_LOOKS, _LOOK_CHARACTERS = 8, 300  # at places of a long thought, spread evenly: 30 us however long it is


def mixes_languages(question: str, thought: str, letters: str | None = None, *, others: bool = True) -> bool:
    """Whether a thought has words in a script that the question has not, or is not in the question's language.

    The latter: mostly English words where the question is in another script; German, French, Spanish, Italian or Portuguese, a
    third of it or more, where the question is English. A question "in" or "into" a named language may have a thought with words of
    any. Characters of the question itself are nobody's foreign words. Linear in the texts. Where it is known, `letters` are the
    characters of the thought outside ASCII, and with `others` false it has too few of those languages' words.
    """
    return _leaves(question, thought, letters, others) and not _ASKED.search(question)


def _leaves(question: str, thought: str, letters: str | None, others: bool) -> bool:
    if not thought.isascii() and _has_foreign_script(question, thought, _not_ascii(thought) if letters is None else letters):
        return True
    if not question.isascii() and (main := _main_script(question)):
        latin = sum(1 for _ in _LATIN.finditer(thought))
        return latin > _LATIN_WORDS_IN_FOREIGN * (latin + sum(map(len, _SCRIPTS[main].findall(thought))))
    return others and _is_english(question) and _is_of_others(thought)


def _has_foreign_script(question: str, thought: str, letters: str) -> bool:
    if not _ANY_SCRIPT.search(letters) and _ACCENTED.isdisjoint(letters):
        return False
    for name, script in _SCRIPTS.items():
        if name == "greek" and _ACCENTED.isdisjoint(letters):
            continue
        # Without what stands between them letters make longer runs: too few here are too few in the thought.
        if sum(map(len, script.findall(letters))) >= _FOREIGN_CHARACTERS:
            found = [run for run in script.findall(thought) if name != "greek" or not _ACCENTED.isdisjoint(run)]
            foreign = sum(character not in question for character in "".join(found))
            if foreign >= _FOREIGN_CHARACTERS and not _has_script(question, name):
                return True
    return False


def _has_script(question: str, name: str) -> bool:
    """Whether so many characters of the question are of a script that it is no variable and no unit."""
    return sum(map(len, _SCRIPTS[name].findall(question))) >= _FOREIGN_CHARACTERS or _main_script(question) == name


def _main_script(question: str) -> str | None:
    """The script with more characters in the question than it has Latin words; None for Latin."""
    counts = {name: sum(map(len, script.findall(question))) for name, script in _SCRIPTS.items()}
    most = max(counts, key=lambda name: counts[name])
    return most if counts[most] > sum(1 for _ in _LATIN.finditer(question)) else None


@functools.lru_cache(maxsize=100)  # a problem's traces come one after another
def _is_english(question: str) -> bool:
    split = question.lower().split()
    return any(word in _ENGLISH for word in split) and sum(word in OTHERS for word in split) < 2


def looked_at(thought: str) -> str:
    """The places of a thought at which foreign words are looked for; all of a short one."""
    step = len(thought) // _LOOKS
    if step <= _LOOK_CHARACTERS:
        return thought
    return " ".join([thought[at : at + _LOOK_CHARACTERS] for at in range(0, step * _LOOKS, step)])


def _is_of_others(thought: str) -> bool:
    split = looked_at(thought).split()
    kinds = OTHERS.intersection(split)
    return len(kinds) >= KINDS_OF_OTHERS and sum(map(kinds.__contains__, split)) > _SHARE_OF_OTHERS * len(split)


def _not_ascii(text: str) -> str:
    """The characters of `text` outside ASCII; in UTF-8 all their bytes are, so that one look at the bytes picks them out."""
    held = np.frombuffer(text.encode("utf-8", "surrogatepass"), np.uint8)
    return held[held > 0x7F].tobytes().decode("utf-8", "surrogatepass")
