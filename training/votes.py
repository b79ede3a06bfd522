"""Which answers to one question are the same answer: the verifier's equality, never that of strings."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from curation.audit import COMPARE_S, UNIQUE_DOMAINS
from curation.verify import verify_all


def groups(answers: Sequence[str | None], correct: Sequence[bool], domain: str) -> list[int | None]:
    """The group of each answer, in order; None where there is no answer.

    All correct answers are one group, since the verifier has found each equal to the gold; the others are held against the most
    frequent answer that is left. In a domain with many right answers (a countdown) nothing is comparable: all None.
    """
    if domain not in UNIQUE_DOMAINS:
        return [None] * len(answers)
    wrong = Counter(a for a, c in zip(answers, correct, strict=True) if a is not None and not c)
    left, names, number = [a for a, _ in wrong.most_common()], dict[str, int](), 0
    while left:
        head, *left = left
        number += 1
        verdicts = list(verify_all(((head, f"<answer>{a}</answer>", domain) for a in left), timeout_s=COMPARE_S))
        same = {a for a, verdict in zip(left, verdicts, strict=True) if verdict.outcome == "correct"}
        names |= dict.fromkeys((head, *same), number)
        left = [a for a in left if a not in same]
    return [None if a is None else 0 if c else names[a] for a, c in zip(answers, correct, strict=True)]
