"""Imported once by the fork server of the slow tier: every worker starts with the tables of math-verify's grammar built.

They cost 0.4 s to build at the first parse, and a worker that was killed is replaced often.
"""

from __future__ import annotations

import logging

import math_verify

from curation.mathematics import answer, worker

__all__ = ["answer", "worker"]

logging.disable(logging.CRITICAL)
math_verify.parse(r"$\frac{1}{2}x^2 + \sqrt{3}$", parsing_timeout=None)
logging.disable(logging.NOTSET)
