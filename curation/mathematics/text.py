"""One spelling for what can be written in many ways: Unicode, LaTeX spacing and fonts, broken escapes, money, thousands."""

from __future__ import annotations

import re
import unicodedata

_UNICODE = {
    "−": "-", "–": "-", "—": "-", "﹣": "-", "×": r"\times ", "÷": "/", "∕": "/", "⁄": "/", "·": r"\cdot ", "⋅": r"\cdot ",
    "∙": r"\cdot ", "π": r"\pi ", "∞": r"\infty ", "√": r"\surd ", "≤": r"\le ", "⩽": r"\le ", "≦": r"\le ", "≥": r"\ge ",
    "⩾": r"\ge ", "≧": r"\ge ", "≠": r"\ne ", "≈": r"\approx ", "∈": r"\in ", "∪": r"\cup ", "∩": r"\cap ", "∅": r"\emptyset ",
    "±": r"\pm ", "∓": r"\mp ", "°": r"^\circ ", "º": r"^\circ ", "˚": r"^\circ ", "′": "'", "″": "''", "’": "'", "∠": r"\angle ",
    "∖": r"\setminus ", "∀": r"\forall ", "⌊": r"\lfloor ", "⌋": r"\rfloor ", "⌈": r"\lceil ", "⌉": r"\rceil ", "ℝ": r"\R ",
    "θ": r"\theta ", "α": r"\alpha ", "β": r"\beta ", "γ": r"\gamma ", "λ": r"\lambda ", "φ": r"\phi ", "ρ": r"\rho ",
    "μ": r"\mu ", "ω": r"\omega ", "→": r"\to ", "…": r"\ldots ", "⟨": r"\langle ", "⟩": r"\rangle ", "∣": "|", "，": ",",
    "€": "", "£": "", "¥": "", "\u00a0": " ", "\u200b": "", "\ufeff": "", "；": ";", "：": ":",
}  # fmt: skip
_TRANSLATE = str.maketrans(_UNICODE)
_SUPERSCRIPT = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺ⁿ", "0123456789-+n")
_SUPERSCRIPTS = re.compile("[⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺ⁿ]+")
_SUBSCRIPT = str.maketrans("₀₁₂₃₄₅₆₇₈₉", "0123456789")
_SUBSCRIPTS = re.compile("[₀₁₂₃₄₅₆₇₈₉]+")
_VULGAR = re.compile("([0-9]?)([½⅓⅔¼¾⅕⅖⅗⅘⅙⅚⅛⅜⅝⅞])")
_CIRCLED = re.compile("[①-⑳]")
# A string literal that was unescaped once too often: \f of \frac became a form feed, \t of \text a tab.
_BROKEN = (
    (re.compile(r"\x0c(?=rac|orall|loor)|(?<![A-Za-z\\\x0c])(?=rac\s?\{)"), r"\\f"),
    (re.compile(r"\x08(?=inom|oxed|eta|ar|egin|ig|mod)"), r"\\b"),
    (re.compile(r"\t(?=ext|imes|an|heta|frac|riangle|au|o\b)"), r"\\t"),
    (re.compile(r"\r(?=ight|ho|angle|m\b|floor|ceil)"), r"\\r"),
    (re.compile(r"\n(?=eq\b|e\b|u\b|abla|otin)"), r"\\n"),
    (re.compile(r"\x07(?=lpha|ngle|pprox|st)"), r"\\a"),
    (re.compile(r"\x0b(?=ec|arnothing|arphi|ert)"), r"\\v"),
)
_SIZES = re.compile(r"\\(?:left|right|[bB]ig{1,2}[lrm]?|displaystyle|textstyle|scriptstyle|limits|nolimits)(?![A-Za-z])")
_SPACING = re.compile(r"(?<!\\)\\[,;:!> \[\]()]|~|\\(?:q?quad|hfill|enspace|thinspace|[hv]space\{[^{}]{0,9}\})(?![A-Za-z])|&nbsp;")
_SPACE_IN_NUMBER = re.compile(r"(?<=\d)(?:\\[,;! ]|\{,\}|,\\!\s?|,\{\}|\\,)(?=\d{3}(?!\d))")
_NAMES = (
    (re.compile(r"\\[dtc]frac(?![A-Za-z])"), r"\\frac"),
    (re.compile(r"\\[dt]binom(?![A-Za-z])"), r"\\binom"),
    (re.compile(r"\\(?:leq|leqslant|leqq|leslant)(?![A-Za-z])"), r"\\le "),
    (re.compile(r"\\(?:geq|geqslant|geqq|geslant)(?![A-Za-z])"), r"\\ge "),
    (re.compile(r"\\(?:neq|not\s?=)(?![A-Za-z])"), r"\\ne "),
    (re.compile(r"\^\s?\{?\s?\\prime\s?\\prime\s?\}?"), "''"),
    (re.compile(r"\^\s?\{?\s?\\prime\s?\}?"), "'"),
    (re.compile(r"\\ddot\s?\{?\s?(\\?[A-Za-z]{1,9})\s?\}?"), r"\1''"),
    (re.compile(r"\\dot\s?\{?\s?(\\?[A-Za-z]{1,9})\s?\}?"), r"\1'"),
    (re.compile(r"\\phantom\s?(?:\{[^{}]{0,20}\})?"), " "),
    (re.compile(r"\\lt(?![A-Za-z])"), "<"),
    (re.compile(r"\\gt(?![A-Za-z])"), ">"),
    (re.compile(r"\^?\s?\\(?:degree|textdegree|textcirc)(?![A-Za-z])"), r"\\degree "),
    (re.compile(r"\^\s?\\circ|\^\s?\{\s?\\circ\s?\}|\^\s?o(?![A-Za-z])"), r"\\degree "),
    (re.compile(r"\\mathbb\s?\{?\s?R\s?\}?"), r"\\R "),
    (re.compile(r"\\(?:varnothing)(?![A-Za-z])"), r"\\emptyset "),
    (re.compile(r"\\mid(?![A-Za-z])|\\vert(?![A-Za-z])|\\[lr]vert(?![A-Za-z])"), "|"),
    (re.compile(r"\\(?:lbrace)(?![A-Za-z])"), r"\\{"),
    (re.compile(r"\\(?:rbrace)(?![A-Za-z])"), r"\\}"),
    (re.compile(r"\\colon(?![A-Za-z])"), ":"),
    (re.compile(r"\\(?:land|wedge)(?![A-Za-z])"), r"\\text{and}"),
    (re.compile(r"\\(?:lor|vee)(?![A-Za-z])"), r"\\text{or}"),
    (re.compile(r"\\cupdot(?![A-Za-z])"), r"\\cup "),
    (re.compile(r"\\(?:dots|cdots|dotsc|dotsb)(?![A-Za-z])|\.\.\."), r"\\ldots "),
    (re.compile(r"<su[bp]>([^<]{1,20})</su[bp]>"), r"^{\1}"),
    (re.compile(r"\\([*_])"), r"\1"),  # escaped for Markdown
    (re.compile(r"\*\*"), "^"),
    (re.compile(r"(?<=\.\d{2})(\d{0,40})\s?\\ldots"), r"\1"),
)  # fmt: skip
_FONT = re.compile(r"\\(?:mathbf|mathit|boldsymbol|bm|mathcal|mathscr|mathfrak|overline|vec|hat|bar|pmb|mathsf|underline)(?=[\s{])")
_UPRIGHT = re.compile(r"\\(?:text(?:bf|it|rm|sf|tt|normal)?|mathrm|mbox|hbox|textup|operatorname\*?|rm)\s{0,2}(?=\{)")
_ORDINAL = re.compile(r"\^\s?\{?\s?(?:\\text\s?\{\s?)?(?:st|nd|rd|th)\s?\}{1,2}|(?<=\d)(?:st|nd|rd|th)\b")
_DOUBLED = re.compile(r"\\\\(?=[A-Za-z])")
_STRAY = re.compile(r"\.(?=\s{0,3}[\])}])|\^\s*$")
_REPEATING = re.compile(r"(\d{1,20})\.(\d{0,20})\s?\\overline\s?\{\s?(\d{1,20})\s?\}")
_TIMES = re.compile(r"(?<=\d)\s?[xX]\s?(?=10\s?\^)")
_THOUSANDS = re.compile(r"(?<![\d.,(\[{])[1-9]\d{0,2}(?:,\d{3})+(?![\d,])")
_MIXED = re.compile(r"(?<![\d.])(\d{1,9})\s(\d{1,9}/\d{1,9})(?![\d.])")


def normalise(text: str, *, thousands: bool = True) -> str:
    """`text` with one spelling of every symbol; fonts, sizes, spacing, `$` and currency signs are gone.

    With `thousands`, "1,234" outside brackets is one number; without, it is two. Linear in the text.
    """
    if text.isascii() and (text.isdigit() or text.isalpha()):
        return text
    for pattern, new in _BROKEN:
        text = pattern.sub(new, text)
    if not text.isascii():
        text = _to_ascii(text)
    text = _SPACE_IN_NUMBER.sub("", text.replace("\\\\%", "%").replace("\\%", "%").replace("\\$", "").replace("$", " "))
    if thousands and "," in text:
        text = _THOUSANDS.sub(lambda m: m[0].replace(",", ""), text)
    text = _TIMES.sub(r"\\times ", text)
    text = _REPEATING.sub(_repeating, text)
    if "\\begin" not in text:
        text = _DOUBLED.sub(r"\\", text)
    if "\\" in text or "*" in text or ".." in text or "<" in text:
        for pattern, new in _NAMES:
            text = pattern.sub(new, text)
        text = _UPRIGHT.sub(r"\\text", _FONT.sub(" ", _SPACING.sub(" ", _SIZES.sub("", text))))
    text = _STRAY.sub("", _ORDINAL.sub("", text))
    return _MIXED.sub(r"(\1+\2)", text).strip().rstrip(".").rstrip()


def _repeating(match: re.Match[str]) -> str:
    """0.1\\overline{6} as the fraction it is."""
    fixed, cycle = match[1] + match[2], match[3]
    nines = 10 ** len(match[2]) * (10 ** len(cycle) - 1)
    return f"(({int(fixed + cycle) - int(fixed)})/({nines}))"


def _to_ascii(text: str) -> str:
    text = _VULGAR.sub(lambda m: f"({m[1]}+{_fraction(m[2])})" if m[1] else f"({_fraction(m[2])})", text)
    text = _SUPERSCRIPTS.sub(lambda m: "^{" + m[0].translate(_SUPERSCRIPT) + "}", text)
    text = _SUBSCRIPTS.sub(lambda m: "_{" + m[0].translate(_SUBSCRIPT) + "}", text)
    text = _CIRCLED.sub(lambda m: f"{ord(m[0]) - ord('①') + 1},", text)
    return unicodedata.normalize("NFKC", text.translate(_TRANSLATE)).translate(_TRANSLATE)


def _fraction(character: str) -> str:
    return unicodedata.normalize("NFKC", character).replace("⁄", "/")


_WORD = re.compile(r"[a-z0-9]+")
_MARKUP = re.compile(r"\\text|\\[A-Za-z]+|[{}$\\]")
_EMPTY_WORDS = frozenset({"the", "a", "an", "is", "are", "of", "it", "answer", "and"})


def words(text: str) -> str:
    """The words of a text answer in lower case, without markup, articles and punctuation."""
    plain = _MARKUP.sub(" ", unicodedata.normalize("NFKC", text)).lower()
    kept = [w for w in _WORD.findall(plain) if w not in _EMPTY_WORDS]
    return " ".join(kept)
