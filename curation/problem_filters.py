"""Problems that a text model cannot be asked, or that have no one answer to check: the originals' rules, each with its source.

A recipe switches rules on by name (clean.filters). A problem that a rule drops is stored with the rule's reason.
"""

from __future__ import annotations

import re
from typing import Literal, get_args

ProblemRule = Literal[
    "figures",
    "links",
    "multipart",
    "proofs",
    "several_answers",
    "answer_in_problem",
    "s1_format",
    "short",
    "no_solution",
    "unboxed_solution",
]
PROBLEM_RULES: tuple[ProblemRule, ...] = get_args(ProblemRule)

# open-thoughts math/filter.py looks for figure, diagram, jpeg, png, jpg and svg anywhere in the lower-cased problem: in GSM8K's
# training set it drops 34 problems, for who "figures out" something and for action figures, and none has a picture. Here a
# figure counts where it is pointed at. [asy] is AoPS's figure code.
_FIGURES = ("diagram", "jpeg", "png", "jpg", "svg", "[asy]", "[image]", "![image", "\\includegraphics")
_FIGURE = re.compile(
    r"\b(?:the|following|above|accompanying|adjoining|attached|given|first|second|entire|shaded|see|in|from)\sfigures?\b(?!\s(?:skat|eight))"
    r"|\bfigures?\s(?:below|above|shown|given|at\s(?:the\s)?(?:right|left)|\d)"
)
_LINKS = ("http://", "https://", "www.")  # open-thoughts code/filter.py has the first
# A part that asks something of its own: "(a) Find ... (b) Show ...". Lists of conditions, "(i) k is even, (ii) ...", ask nothing:
# of the 41 numbered lists in MATH's training set none is found.
_ASKING = (
    "find|compute|determine|prove|show|what|how|calculate|evaluate|give|write|is|are|does|do|which|why|draw|explain|solve|verify"
)
_PART_A = re.compile(rf"(?:\( ?(?:a|i|1) ?\)|(?<![a-z(])a\))\s{{1,3}}(?:{_ASKING})\b")
_PART_B = re.compile(rf"(?:\( ?(?:b|ii|2) ?\)|(?<![a-z(])b\))\s{{1,3}}(?:{_ASKING})\b")
_PROOF = re.compile(r"\b(?:prove|show|demonstrate|verify)\s{1,9}(?:that|the|it|this|for)\b|\bprove ?:")
_ASKS = re.compile(r"\b(?:find|compute|determine|calculate|evaluate|what|how many|how much|which)\b|\?")
_PROOF_ANSWERS = frozenset(["proof", "notfound", "qed", "see solution", "\\text{proof}"])
_WORD_GROUP = re.compile(r"\\(?:text[a-z]{0,6}|mbox|hbox|mathrm|mathit) ?\{[\s,]{0,9}(and|or)[\s,]{0,9}\}")  # 2 \text{ or } 3
_BETWEEN = re.compile(r",(?!\d{3}(?!\d))|;| and | or |\\(?:lor|vee)(?![a-zA-Z])")
_BOTH_SIGNS = re.compile(r"[±∓]|\\(?:pm|mp)(?![a-zA-Z])")
_SHORT_CHARACTERS = 200  # open-thoughts code/filter.py: a description of fewer is no task; for code problems
# s1 data/filter.ipynb, cell 7: numbered headings in bold mean a problem of several parts
_S1_BOLD = re.compile(r"\*\*[^\s\]*][^*]{0,200}\*\*")
_S1_PART = re.compile(r"p[1-9]\d{0,2}\.")


def problem_fault(rules: tuple[ProblemRule, ...], prompt: str, answer: str | None, solution: str | None, source: str) -> str | None:
    """The first of `rules` that a problem breaks, as the reason to drop it; None if it breaks none. Linear in the texts.

    figures: points at or holds a picture (open-thoughts math/filter.py, narrower). links: an address. multipart: asks (a)
    and asks (b); theirs: starts with "a)" and has "b)". proofs: a solution whose box is empty (theirs), or a question that only
    asks to prove (NuminaMath-1.5's question_type proof). several_answers: a gold of several values, or none. answer_in_problem:
    "answer:" (theirs). s1_format: see there. short: under 200 characters (theirs, code). no_solution: the source has no worked
    solution (theirs, mathematics and code). unboxed_solution: none that boxes its answer (theirs; Sky-T1 asks the same).
    """
    lower = prompt.lower()
    checks = {
        "figures": lambda: _FIGURE.search(lower) is not None or any(sign in lower for sign in _FIGURES),
        "links": lambda: any(sign in lower for sign in _LINKS),
        "multipart": lambda: _multipart(lower),
        "proofs": lambda: _is_proof(lower, (answer or "").strip().lower(), solution),
        "several_answers": lambda: several_answers(answer),
        "answer_in_problem": lambda: "answer:" in lower,
        "s1_format": lambda: s1_format(prompt, source),
        "short": lambda: len(prompt) < _SHORT_CHARACTERS,
        "no_solution": lambda: not (solution or "").strip(),
        "unboxed_solution": lambda: "\\boxed" not in (solution or "") and "\\fbox" not in (solution or ""),
    }
    return next((rule for rule in rules if checks[rule]()), None)


def _multipart(lower: str) -> bool:
    if lower.lstrip().startswith("a)") and "b)" in lower:
        return True
    first = _PART_A.search(lower)
    return first is not None and _PART_B.search(lower, first.end()) is not None


def _is_proof(lower: str, answer: str, solution: str | None) -> bool:
    if answer in _PROOF_ANSWERS or (solution is not None and "\\boxed{}" in solution):
        return True
    return _PROOF.search(lower) is not None and _ASKS.search(lower) is None


def several_answers(answer: str | None) -> bool:
    r"""Whether a gold is empty, or names several values: commas, "and" and "or" outside brackets, or a sign that is both.

    A comma inside brackets is a pair or an interval, one between digits and three more a thousands separator. A plus or minus
    inside brackets makes two values too, as in \frac{1 \pm \sqrt{5}}{2}, but not in a set, which is one.
    """
    if answer is None or not answer.strip():
        return True
    plain = _WORD_GROUP.sub(r" \1 ", answer.replace(r"\!", ""))  # LaTeX writes 8,\!000
    if _BETWEEN.search(_outside(plain, "([{", ")]}")):
        return True
    sets = plain.replace(r"\{", "\0").replace(r"\}", "\1")
    return _BOTH_SIGNS.search(_outside(sets, "\0", "\1")) is not None


def _outside(text: str, opening: str, closing: str) -> str:
    """`text` with a space for every character between brackets."""
    depth, flat = 0, []
    for character in text:
        depth += (character in opening) - (character in closing)
        flat.append(character if depth <= 0 else " ")
    return "".join(flat)


def s1_format(prompt: str, source: str) -> bool:
    """s1's sign of a badly formatted question (data/filter.ipynb, cell 7): figure code (AIME may have it), an image, the numbers
    p1. to p999. of parts, or a bold heading that has a digit."""
    if "![Image]" in prompt or ("[asy]" in prompt and "aime" not in source.lower()):
        return True
    return _S1_PART.search(prompt) is not None or any(_has_digit(m.group()) for m in _S1_BOLD.finditer(prompt))


def _has_digit(text: str) -> bool:
    return any(character.isdigit() for character in text)
