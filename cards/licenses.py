"""What is known of the licences of sources and of the terms of teachers: facts with their origin, and no guesses.

A fact is here only where the text of the licence or the terms was read; everything else is answered "unknown". None of
this is legal advice. It names what a card must state; whether a mixture may be published is decided elsewhere.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal, NamedTuple

from cards.markdown import text

Training = Literal["allowed", "conditions", "forbidden", "unknown"]


class TeacherTerms(NamedTuple):
    family: str
    license: str  # of the weights, or the name of the provider's terms
    training: Training  # may another model be trained on the outputs
    terms: str  # what the text says of outputs
    source: str  # where it says so


class Tag(NamedTuple):
    license: str  # identifier for the Hub's `license:` field
    name: str | None  # `license_name:`, only where `license` is "other"


_R1 = "README of deepseek-ai/DeepSeek-R1, section License"
_LLAMA = "Llama {} Community License Agreement, section 1.b"

# First match wins, so a distilled model stands before the family it was distilled from. Patterns are searched in the
# lower-case name of the model. Read in 2026; providers change their terms, which is why each card prints the source.
_TEACHERS: tuple[tuple[str, TeacherTerms], ...] = (
    (
        r"^oracle$",
        TeacherTerms(
            "oracle",
            "Apache-2.0",
            "allowed",
            "a search program of cot-factory wrote the traces; no model took part",
            "",
        ),
    ),
    (
        r"r1-distill-llama-8b",
        TeacherTerms(
            "DeepSeek-R1-Distill-Llama-8B",
            "MIT, derived from Llama 3.1 (llama3.1)",
            "conditions",
            "distillation is allowed by DeepSeek; the base model's Llama 3.1 licence asks a distributed model trained "
            'on outputs to have "Llama" at the beginning of its name',
            f"{_R1}; {_LLAMA.format('3.1')}",
        ),
    ),
    (
        r"r1-distill-llama-70b",
        TeacherTerms(
            "DeepSeek-R1-Distill-Llama-70B",
            "MIT, derived from Llama 3.3 (llama3.3)",
            "conditions",
            "distillation is allowed by DeepSeek; the base model's Llama 3.3 licence asks a distributed model trained "
            'on outputs to have "Llama" at the beginning of its name',
            f"{_R1}; {_LLAMA.format('3.3')}",
        ),
    ),
    (
        r"r1-distill-qwen",
        TeacherTerms(
            "DeepSeek-R1-Distill-Qwen",
            "MIT, derived from Qwen2.5 (Apache-2.0)",
            "allowed",
            "allows derivative works, including distillation for training other models",
            _R1,
        ),
    ),
    (
        r"deepseek-r1",
        TeacherTerms(
            "DeepSeek-R1",
            "MIT",
            "allowed",
            "allows derivative works, including distillation for training other models; "
            "an API that serves the weights can have terms of its own",
            _R1,
        ),
    ),
    (
        r"deepseek-reasoner",
        TeacherTerms(
            "DeepSeek API",
            "terms of the DeepSeek Open Platform",
            "allowed",
            "the provider announced that outputs of the API may be used for fine-tuning and distillation",
            "DeepSeek API documentation, news of 2025-01-20",
        ),
    ),
    (
        r"gpt-oss",
        TeacherTerms("gpt-oss", "Apache-2.0", "allowed", "the licence says nothing of outputs", "Apache License 2.0"),
    ),
    (
        r"(^|/)(gpt-|chatgpt|o1|o3|o4)",
        TeacherTerms(
            "OpenAI",
            "OpenAI Terms of Use",
            "forbidden",
            "outputs may not be used to develop models that compete with OpenAI",
            "OpenAI Terms of Use, what you cannot do",
        ),
    ),
    (
        r"(^|/)gemini",
        TeacherTerms(
            "Gemini",
            "Gemini API Additional Terms of Service",
            "forbidden",
            "the service may not be used to develop models that compete with it",
            "Gemini API Additional Terms of Service, use restrictions",
        ),
    ),
    (
        r"gemma-?[123]",
        TeacherTerms(
            "Gemma 1 to 3",
            "Gemma Terms of Use",
            "conditions",
            "outputs are free, but a model trained on them to perform similarly falls under the same terms",
            "Gemma Terms of Use, section 1.1 (e)",
        ),
    ),
    (
        r"(^|/)claude",
        TeacherTerms(
            "Claude",
            "Anthropic Commercial Terms of Service",
            "forbidden",
            "the service may not be used to train competing AI models without approval",
            "Anthropic Commercial Terms of Service, use restrictions",
        ),
    ),
    (
        r"llama-?(3\.[123]|4)",
        TeacherTerms(
            "Llama 3.1 to 4",
            "Llama Community License",
            "conditions",
            'a distributed model trained on outputs must have "Llama" at the beginning of its name, '
            'with "Built with Llama" displayed',
            _LLAMA.format("3.1 to 4"),
        ),
    ),
    (
        r"llama-?(2|3)(?![.\d])",
        TeacherTerms(
            "Llama 2 and 3",
            "Llama Community License",
            "forbidden",
            "outputs may not be used to improve any large language model other than Llama",
            _LLAMA.format("2 and 3"),
        ),
    ),
    (
        r"qwen2\.5-72b",
        TeacherTerms(
            "Qwen2.5-72B",
            "Qwen License",
            "conditions",
            'a distributed model trained on outputs must display "Built with Qwen" or "Improved using Qwen"',
            "Qwen License Agreement",
        ),
    ),
    (
        r"qwq-32b|qwen3-|qwen2\.5(-math|-coder)?-(0\.5|1\.5|7|14|32)b",
        TeacherTerms("Qwen", "Apache-2.0", "allowed", "the licence says nothing of outputs", "Apache License 2.0"),
    ),
)


def teacher_terms(model: str) -> TeacherTerms:
    """Terms of the family that `model` belongs to; training is "unknown" where this file has no certain fact."""
    for pattern, terms in _TEACHERS:
        if re.search(pattern, model.lower()):
            return terms
    return TeacherTerms(model or "unknown", "unknown", "unknown", "not known to cot-factory: read them before use", "")


# What each licence asks that matters when sources are mixed: by = credit, nc = not commercial, sa = same licence,
# nd = no changed copies. Creative Commons legal codes 4.0 and 3.0; Apache-2.0 section 4; MIT.
_ASKS: dict[str, frozenset[str]] = {
    "cc0-1.0": frozenset(),
    "mit": frozenset({"notice"}),
    "apache-2.0": frozenset({"notice", "state changes"}),
    "cc-by-3.0": frozenset({"notice", "state changes", "by"}),
    "cc-by-4.0": frozenset({"notice", "state changes", "by"}),
    "cc-by-sa-3.0": frozenset({"notice", "state changes", "by", "sa"}),
    "cc-by-sa-4.0": frozenset({"notice", "state changes", "by", "sa"}),
    "cc-by-nc-4.0": frozenset({"notice", "state changes", "by", "nc"}),
    "cc-by-nc-sa-4.0": frozenset({"notice", "state changes", "by", "nc", "sa"}),
    "cc-by-nd-4.0": frozenset({"notice", "by", "nd"}),
    "cc-by-nc-nd-4.0": frozenset({"notice", "by", "nc", "nd"}),
}

# Identifiers of single licences that the Hub knows beside those above (hub documentation, repositories-licenses).
_HUB_NAMES = """
afl-3.0 agpl-3.0 artistic-2.0 bigscience-openrail-m bsd bsd-2-clause bsd-3-clause bsd-3-clause-clear bsl-1.0 cc
cc-by-2.0 cc-by-2.5 cc-by-nc-2.0 cc-by-nc-3.0 cc-by-nc-nd-3.0 cc-by-nc-sa-2.0 cc-by-nc-sa-3.0 cdla-permissive-1.0
cdla-permissive-2.0 cdla-sharing-1.0 creativeml-openrail-m epl-1.0 epl-2.0 eupl-1.1 eupl-1.2 gemma gfdl gpl gpl-2.0
gpl-3.0 isc lgpl lgpl-2.1 lgpl-3.0 llama2 llama3 llama3.1 llama3.2 llama3.3 llama4 mpl-2.0 ms-pl ncsa odbl odc-by
openrail openrail++ pddl postgresql unlicense wtfpl zlib
"""


def tag(licenses: Sequence[str]) -> Tag:
    """The Hub's licence tag for a mixture: the one licence, or the one that asks all that the others ask.

    "unknown" wherever one source's licence is unknown. Where no licence covers the others the tag is "other" with the
    names joined, so that nothing is claimed that no source grants.
    """
    names = sorted({name.lower() for name in licenses})
    if not names or "unknown" in names:
        return Tag("unknown", None)
    if len(names) == 1 and (names[0] in _ASKS or names[0] in _HUB_NAMES.split()):
        return Tag(names[0], None)
    covering = [n for n in names if all(o in _ASKS and n in _ASKS and _ASKS[o] <= _ASKS[n] for o in names)]
    if covering and not clashes(names):
        return Tag(covering[-1], None)
    return Tag("other", re.sub(r"[^a-z0-9.+-]+", "-", "-and-".join(names)).strip("-"))


def clashes(licenses: Sequence[str], teachers: Sequence[str] = ()) -> tuple[str, ...]:
    """Sentences for what cannot be kept at once, or is forbidden outright, by these licences and teachers' terms."""
    names = sorted({name.lower() for name in licenses})
    found = [
        f"{n} does not allow changed copies to be shared, and this set changes its source"
        for n in names
        if "nd" in _ASKS.get(n, ())
    ]
    for first in (n for n in names if "sa" in _ASKS.get(n, ())):
        found += [
            f"{first} asks the whole to be shared under itself, which {other} does not allow"
            for other in names
            if not _ASKS.get(other, frozenset()) <= _ASKS[first]
        ]
    for model in sorted(set(teachers)):
        terms = teacher_terms(model)
        if terms.training == "forbidden":
            found.append(f"{model}: {terms.terms} ({terms.source})")
    return tuple(found)


def clash_text(clashing: Sequence[str], *, allowed: bool) -> list[str]:
    """What a card says of licences that clash, as Markdown paragraphs; `allowed`: whoever published it knew and went on."""
    if not clashing:
        return []
    known = "\n\nIt is published all the same, by decision of whoever pushed it (`--allow-license-clash`)." if allowed else ""
    return ["**These do not go together:**\n\n" + "\n".join(f"- {text(c, 500)}" for c in clashing) + known]
