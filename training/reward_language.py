"""R1's reward for thinking in one language."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from curation.errors import UserError
from curation.thinking import split_thinking
from training.reward_reading import Completion, texts

# Runs of letters of an alphabet are words; of scripts written without blanks, each character is one. Digits, formulas' signs and
# punctuation belong to no language.
_LATIN = re.compile(r"[A-Za-z\u00c0-\u024f]+")
_HAN = re.compile(r"[\u3400-\u4dbf\u4e00-\u9fff]")
_KANA = re.compile(r"[\u3040-\u30ff]")
_OTHER = re.compile(r"[\u0370-\u03ff\u0400-\u052f\u0590-\u06ff\u0900-\u0dff]+|[\u0e00-\u0eff\uac00-\ud7af]")  # Greek to Hangul
_LATEX = re.compile(r"\\[A-Za-z]+")  # commands are no words of any language
SCRIPTS = {"en": "latin", "zh": "han"}


def language_reward(completions: Sequence[Completion], *, language: str = "en", **columns: Any) -> list[float]:
    """The share of the thinking's words that are in the target language (DeepSeek-R1, arXiv 2501.12948, 2.3.2), 0 without words.

    Told by script: English words are those in Latin letters, Chinese ones in Han characters. Without a thought the whole text
    counts. Raises UserError for a language other than en and zh.
    """
    if language not in SCRIPTS:
        raise UserError(f"language_reward knows no language {language!r}: wanted {' or '.join(SCRIPTS)}")
    return [_share(text, SCRIPTS[language]) for text in texts(completions, columns)]


def _share(text: str, script: str) -> float:
    thought = split_thinking(text)
    said = _LATEX.sub(" ", thought.reasoning or thought.answer)
    counted = {"latin": len(_LATIN.findall(said)), "han": len(_HAN.findall(said))}
    every = sum(counted.values()) + len(_KANA.findall(said)) + len(_OTHER.findall(said))
    return counted[script] / every if every else 0.0
