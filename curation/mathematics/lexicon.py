"""The words that answers are written with."""

from __future__ import annotations


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


FUNCTIONS = _words(
    "sin cos tan cot sec csc arcsin arccos arctan arccot asin acos atan sinh cosh tanh ln log lg exp sqrt abs floor ceil"
    " gcd lcm min max binom det"
)
GREEK = _words(
    "alpha beta gamma delta epsilon varepsilon zeta eta theta vartheta iota kappa lambda mu nu xi rho sigma tau upsilon phi"
    " varphi chi psi omega Gamma Delta Theta Lambda Xi Pi Sigma Phi Psi Omega ell hbar mho aleph R"
)
CONSTANTS = {
    "pi": r"\pi",
    "infinity": r"\infty",
    "inf": r"\infty",
    "infty": r"\infty",
    "oo": r"\infty",
    "cup": r"\cup",
    "union": r"\cup",
    "cdot": r"\cdot",
    "frac": r"\frac",
    "times": r"\times",
}
# Runs of two or three letters that are words between spaces; any other short run is a product of variables.
SHORT_WORDS = _words(
    "and or if no yes not is are all for any the of in at to by on per day km one two six ten odd may sum max min let our has"
    " its but mod am pm rd th st nd so we"
)
UNIT_WORDS = _words("cm mm km kg mg ml ft in lb lbs oz mi mph kmh hr hrs min sec cc rad deg hz khz pa kpa mol kj mw kw")
UNIT_LETTERS = _words("m s g h L N J V W A C F K")
# What follows one of these is a condition, not the answer.
CUT = _words("where for such with since because given assuming on when as")
# Words that change what is said: beside them a difference of values proves nothing.
DOUBT = _words(
    "if not no except unless otherwise mod modulo least most than between without exceeds multiple multiples times prime odd"
    " even never under over before after per"
)
# Words that may stand before a value without making it prose.
FILLERS = _words(
    "only about approximately approx exactly the is are total of answer value equals equal to rs usd us around roughly either"
    " both just thus so therefore option"
)
SCALES = {"hundred": 100, "thousand": 1000, "million": 10**6, "billion": 10**9, "trillion": 10**12, "dozen": 12}
_COUNTED = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen"
    " eighteen nineteen twenty"
)
NUMBERS = {word: value for value, word in enumerate(_COUNTED.split())}
COUNTING = frozenset(NUMBERS) | _words(
    "half halves third thirds quarter pi sqrt root e once twice thirty forty fifty sixty seventy eighty ninety hundred"
    " thousand million dozen"
)
# Units that have others beside them, by one name each, and the factors between those.
_UNITS = (
    "s second seconds sec", "min minute minutes", "h hour hours hr hrs", "day days", "week weeks", "month months",
    "year years", "mm millimeter millimeters", "cm centimeter centimeters", "m meter meters", "km kilometer kilometers",
    "in inch inches", "ft foot feet", "yd yard yards", "mi mile miles", "g gram grams", "kg kilogram kilograms",
    "oz ounce ounces", "lb lbs pound pounds", "l liter liters", "ml milliliter milliliters", "ton tons", "cent cents",
    "dollar dollars", "^2 square", "^3 cubic",
)  # fmt: skip
UNIT_NAMES = {word: names.split()[0] for names in _UNITS for word in names.split()}
FACTORS = frozenset({60, 3600, 24, 1440, 7, 168, 30, 365, 52, 12, 36, 3, 5280, 1760, 100, 1000, 10, 16, 2000})
