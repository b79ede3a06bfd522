"""The form in which two statements of one question are equal, and the words that n-grams are made of.

The same question is typed many ways: `$x$`, `\\(x\\)` or plain x, `\\dfrac12` or `\\frac{1}{2}`, `≤` or `\\leq`,
`1,000` or `1{,}000`. Rules that compare raw words (open-r1's and s1's lower-case-and-split) miss such copies. What changes the
answer stays: digits, signs, operators, brackets, primes, factorials. Every pass is one linear scan.
"""

from __future__ import annotations

import functools
import re
import unicodedata

# Signs that NFKC leaves alone or spoils (it turns x² into x2), as the LaTeX that problem sets write for them.


def _pairs(listed: str) -> list[tuple[str, str]]:
    words = listed.split()
    return list(zip(words[::2], words[1::2], strict=True))


_NAMED = (  # a sign, then the LaTeX command that problem sets write for it, in lower case: \Rightarrow is read as \rightarrow
    "≤ le ⩽ le ≦ le ≥ ge ⩾ ge ≧ ge ≠ ne ≪ ll ≫ gg ∞ infty √ sqrt ° circ ∘ circ ∠ angle △ triangle ∆ delta … ldots ⋯ ldots "
    "⌊ lfloor ⌋ rfloor ⌈ lceil ⌉ rceil ⟨ langle ⟩ rangle ± pm ∓ mp ∑ sum ∏ prod ∫ int ∂ partial ∇ nabla ∝ propto "
    "≡ equiv ≈ approx ≅ cong ≃ simeq ∼ sim ∥ parallel ∦ nparallel ⊥ perp ⟂ perp ∣ mid ∤ nmid ⊕ oplus ⊗ otimes "
    "∈ in ∉ notin ∋ ni ∅ emptyset ∪ cup ∩ cap ∖ setminus ⊂ subset ⊆ subseteq ⊊ subsetneq ⊃ supset ⊇ supseteq "
    "∀ forall ∃ exists ¬ neg ∧ wedge ∨ vee → rightarrow ⇒ rightarrow ← leftarrow ⇐ leftarrow ↔ leftrightarrow "
    "⇔ leftrightarrow ↦ mapsto "
    "α alpha β beta γ gamma δ delta ε epsilon ζ zeta η eta θ theta κ kappa λ lambda μ mu ν nu ξ xi π pi ρ rho σ sigma "
    "τ tau φ phi χ chi ψ psi ω omega"
)
_SIGNS = str.maketrans(
    {
        **dict.fromkeys("‐‑‒–−", "-"),
        "—": " ",
        **dict.fromkeys("‘’ʼ′´", "'"),
        **dict.fromkeys("×·⋅∙∗", "*"),
        **dict.fromkeys("\u200b\u200c\u200d\u2060\ufeff\u00ad", ""),
        **{"″": "''", "‴": "'''", "÷": "/", "∕": "/", "∶": ":", "‖": "|"},
        **{"½": " 1/2 ", "⅓": " 1/3 ", "¼": " 1/4 ", "¾": " 3/4 "},
    }
)
_COMMANDS = str.maketrans({sign: f"\\{name} " for sign, name in _pairs(_NAMED)} | {"⁄": "/", "∛": "\\sqrt[3] ", "∜": "\\sqrt[4] "})
_RAISED = "⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁼⁽⁾ᵃᵇᶜᵈᵉᶠᵍʰⁱʲᵏˡᵐⁿᵒᵖʳˢᵗᵘᵛʷˣʸᶻ"
_LOWERED = "₀₁₂₃₄₅₆₇₈₉₊₋₌₍₎ₐₑₕᵢⱼₖₗₘₙₒₚᵣₛₜᵤᵥₓ"
_SCRIPT = re.compile(f"([{_RAISED}]+)|[{_LOWERED}]+")  # x¹⁰, 2ⁿ and x⁻¹, which NFKC turns into x10, 2n and x−1
_ON_THE_LINE = str.maketrans(_RAISED + _LOWERED, "0123456789+-=()abcdefghijklmnoprstuvwxyz0123456789+-=()aehijklmnoprstuvx")

# Other names of one command; those that only set type or size have an empty name.
_SAME = (
    "leq le leqslant le geq ge geqslant ge neq ne dots ldots cdots ldots rightarrow to varphi phi varepsilon epsilon "
    "land wedge lor vee lnot neg varnothing emptyset"
)
_AS_SIGN = "cdot * times * ast * div / lt < gt > mid | vert | lvert | rvert | lbrace { rbrace } colon :"
_TYPE = """left right middle big bigl bigr bigg biggl biggr displaystyle textstyle scriptstyle limits nolimits quad qquad
 text textbf textit textrm textnormal mathrm mathbf mathit mathsf boldsymbol bm rm bf operatorname mbox hbox emph
 hspace vspace noindent smallskip medskip bigskip par newline ensuremath"""
_NAMES = {
    **{name: "\\" + same for name, same in _pairs(_SAME)},
    **dict(_pairs(_AS_SIGN)),
    **dict.fromkeys(_TYPE.split(), ""),
    **dict.fromkeys(("dfrac", "tfrac", "cfrac"), r"\frac"),
    "degree": r"\circ",
}
_TEXT_GROUP = re.compile(r"\\(?:text\w*|math(?:rm|bf|it|sf)|operatorname|mbox|hbox|emph|boldsymbol|bm)\*?\s?\{([^{}]*)\}")
_ESCAPE = re.compile(r"\\([a-z]+|\\(?:\[[\w. -]{0,12}\])?|.)", re.DOTALL)
_EMPTY_SCRIPT = re.compile(r"[_^] ?\{ ?\}")  # AoPS writes $x_{}^{}$ to make plain letters look typeset
_NOT_EQUAL = re.compile(r"\\not ?=")
_DEGREE = re.compile(r"\^ ?(?:\{ ?\\circ ?\}|\\circ)")
_SHORT_FRACTION = re.compile(r"\\frac ?(\d)(\d)")
_LONE_GROUP = re.compile(r"\{ ?([a-z]|\\[a-z]+|\d+(?:\.\d+)?) ?\}")
# Not in tuples, sets and intervals, (1,000) to [1,000]; \( and \[ open mathematics.
# The look-behind comes after the first digit: a pattern that starts with one is tried at every character.
_THOUSANDS = re.compile(r"\d(?:(?<![\d.,({\[-]\d)|(?<=\\[(\[]\d))\d{0,2}(?:(?:,|\{,\}|,\\!)\d{3})+(?![\d,])")
_THOUSANDS_HINT = re.compile(r",(?:\\!|\})?\d{3}(?!\d)")  # starts with a fixed character, so it is found fast
_CJK = "\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af"  # no space divides these, so each character is a word
# Most frequent first. A hyphen inside a word or before one is spelling, any other is a sign; ! and ' count only after a
# letter or a number, and are looked for by themselves first because a pattern that starts with a look-behind is slow.
_TOKEN = (
    r"%s|\\[a-z]+|\d+(?:\.\d+)?|[+*/=<>^_|()\[\]{}%%]|-(?![a-z][a-z])|\.\d+"
    r"|:(?<=\d:)(?=\d)|!(?<=[\d)]!)|!(?<=\b[a-z]!)|'(?<=[\w)']')"
)
_ASCII_TOKENS = re.compile(_TOKEN % "[a-z]+", re.ASCII)
_LAST_SIGN = 0x20000  # Unicode has signs in its first two planes; the rest is Chinese and for private use
_APOSTROPHE = re.compile(r"'(?<=[a-z][a-z]')")
_SPLIT_LETTERS = re.compile(r"(?<=\b[a-z]) (?=[a-z]\b)")


@functools.cache  # 75 ms, and most sets are ASCII
def _unicode_tokens() -> re.Pattern[str]:
    """Signs without a LaTeX name are tokens of their own, whichever they are: currencies, arrows, boxes, fruit."""
    signs = "".join(c for c in map(chr, range(0x80, _LAST_SIGN)) if unicodedata.category(c) in ("Sm", "Sc", "So"))
    # A set of several hundred ranges is slow to look into: a space or a comma, which is none of them, is told first.
    return re.compile(_TOKEN % rf"[{_CJK}]|[^\W\d_{_CJK}]+|[^\0-\x7f](?<=[{signs}])")


def _script(match: re.Match[str]) -> str:
    return f"{'^' if match[1] else '_'}{{{match[0].translate(_ON_THE_LINE)}}}"


@functools.lru_cache(maxsize=10_000)  # 1 MB
def _escape(name: str) -> str:
    """What stands for a backslash and `name`."""
    if not name.isalpha():  # \{ \} \% are signs; \( \[ \, \; \! \\ \$ are delimiters and spacing
        return name if name in "{}%|_" else " "
    return _NAMES.get(name, "\\" + name) + " "


def _spaced(group: re.Pattern[str], text: str) -> str:
    """As `group.sub(r" \1 ", text)`, in half its time: sub calls Python for each match."""
    return " ".join(group.split(text))


def _joined_digits(match: re.Match[str]) -> str:
    return "".join(c for c in match[0] if c.isdigit())


def _plain(text: str) -> str:
    """Lower case, one Unicode form, one LaTeX spelling; spaces and punctuation still as they came."""
    if not text.isascii():
        text = unicodedata.normalize("NFKC", _SCRIPT.sub(_script, text.translate(_SIGNS))).casefold().translate(_COMMANDS)
    text = text.lower()
    if "," in text and _THOUSANDS_HINT.search(text):
        text = _THOUSANDS.sub(_joined_digits, text)
    if "\\" in text:
        text = _latex(text)
    text = text.replace("$", " ")
    if "--" in text:  # a dash in prose, a path in figure code
        text = text.replace("---", " ").replace("--", " ")
    return _APOSTROPHE.sub("", text) if "'" in text else text


def _latex(text: str) -> str:
    # A pass over a text takes 2 us, to see that it holds no such command a fiftieth of that.
    if "\\not" in text:
        text = _NOT_EQUAL.sub(r"\\ne ", text)
    if "{" in text:
        text = _spaced(_TEXT_GROUP, text)
    parts = _ESCAPE.split(text)
    parts[1::2] = map(_escape, parts[1::2])
    text = "".join(parts)
    if "\\frac" in text:
        text = _SHORT_FRACTION.sub(r"\\frac \1 \2", text)
    return _DEGREE.sub(r"\\circ", text) if "\\circ" in text else text


def spelled(text: str) -> str:
    """`text` in one spelling, spaces where they may be: its tokens are the tokens of its stretches without a space, in order.

    No token reaches over a space and none depends on what stands beyond one, so a stretch seen before need not be read again.
    """
    plain = _plain(text)
    if "{" in plain:
        if "{}" in plain or "{ }" in plain:
            plain = _EMPTY_SCRIPT.sub("", plain)
        plain = _spaced(_LONE_GROUP, plain)
    return plain


def tokens_of(stretch: str) -> list[str]:
    """Tokens of a `spelled` text or of a part of it between spaces."""
    return (_ASCII_TOKENS if stretch.isascii() else _unicode_tokens()).findall(stretch)


def tokens(text: str) -> list[str]:
    """Words, numbers, LaTeX commands (with their backslash) and signs of `text`, in order, without punctuation."""
    return tokens_of(spelled(text))


def words(text: str) -> list[str]:
    """Words, numbers, single letters and names of LaTeX commands of `text`, in order: what n-grams are made of.

    Chinese, Japanese and Korean characters are words of their own.
    """
    return [token.lstrip("\\") for token in tokens(text) if is_word(token)]


def is_word(token: str) -> bool:
    """Whether one of `tokens` is a word, a number or a command, and not a sign."""
    return token[-1].isalnum()


def normalise_question(text: str) -> str:
    """The form in which two statements of the same question are equal.

    Unicode NFKC and case folded; spacing, sentence punctuation, math delimiters and LaTeX's ways of writing one thing
    are unified; `x y` and `xy` are one. Signs, operators and brackets stay, so 3+4 and 3-4 differ. Empty where `text`
    has no token.
    """
    return join_tokens(tokens(text))


def join_tokens(found: list[str]) -> str:
    """The normalised question that consists of `tokens`."""
    return _SPLIT_LETTERS.sub("", " ".join(found).replace("\\", ""))
