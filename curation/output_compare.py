"""Whether what a program printed is what was wanted."""

from __future__ import annotations

import itertools
import math
import re

FLOAT_TOLERANCE = 1e-6  # relative, and absolute below 1
_FLOAT = re.compile(r"[+-]?(?:\d+\.\d*|\.\d+|\d+(?=[eE]))(?:[eE][+-]?\d{1,4})?", re.ASCII)
_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d{1,4})?", re.ASCII)


def same_output(printed: str, wanted: str) -> bool:
    """Equal without trailing white space, else token by token: exact, or a float within FLOAT_TOLERANCE where one was wanted.

    Case counts. As the default output validator of the Kattis and ICPC problem package format (icpc.io/problem-package-format)
    compares when given `case_sensitive` and `float_tolerance 1e-6`: tokens between white space, and a tolerance for those that
    are floats in the judge's answer.
    """
    if printed.rstrip() == wanted.rstrip():
        return True
    pairs = itertools.zip_longest(printed.split(), wanted.split(), fillvalue="")
    return all(a == b or _near(a, b) for a, b in pairs)


def _near(printed: str, wanted: str) -> bool:
    if max(len(printed), len(wanted)) > 400 or not (_FLOAT.fullmatch(wanted) and _NUMBER.fullmatch(printed)):
        return False
    return math.isclose(float(printed), float(wanted), rel_tol=FLOAT_TOLERANCE, abs_tol=FLOAT_TOLERANCE)
