"""Gold answers that deserve doubt: refused by their own verifier, outvoted by independent models, or in conflict.

What it gives is evidence, not a verdict: a majority can share one mistake, and a refused gold can be right. Equal answers are
brought together by the verifier, never as strings. Majority voting is that of self-consistency (Wang et al.,
arXiv 2203.11171), over models instead of samples: samples of one model share its errors, so a model has one vote.
"""

from __future__ import annotations

import dataclasses
import json
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from typing import Literal, NamedTuple

from curation.normalise import normalise_question
from curation.verify import check_golds, verify, verify_all

UNIQUE_DOMAINS = ("math", "text")  # a countdown has many right answers: agreeing on another one says nothing
COMPARE_S = 2.0  # limit of one comparison of two answers; the median takes 0.1 ms
DETAIL_ANSWERS = 5  # answers listed with their votes

Kind = Literal["refused_gold", "outvoted_gold", "conflicting_golds"]


class Vote(NamedTuple):
    """What one trace says of a problem."""

    voter: str  # model
    answer: str  # as it was extracted
    accepted: bool  # the verifier takes it for the gold


class Asked(NamedTuple):
    """A problem as the audit sees it."""

    id: str
    question: str
    gold: str
    domain: str


@dataclasses.dataclass(frozen=True, slots=True)
class Finding:
    """One doubt about one gold; a row of audit.parquet."""

    kind: Kind
    problem_id: str
    question: str
    gold: str
    why: str  # of a refused gold its reason; else what the verifier says of `other`: incorrect or undetermined
    other: str | None = None  # the agreed answer, or the other gold
    votes: int | None = None  # models that give `other`, or rows that have it as gold
    gold_votes: int | None = None  # the same for the gold
    voters: int | None = None  # models that answered, or rows in all
    detail: str = "{}"  # JSON: answer -> votes, most first


def refused(problems: Sequence[Asked], *, workers: int = 1) -> Iterator[Finding]:
    """Golds that their own verifier would not accept as an answer, in order."""
    verdicts = check_golds(((p.gold, p.domain) for p in problems), workers=workers)
    for problem, verdict in zip(problems, verdicts, strict=True):
        if verdict.outcome != "correct":
            yield Finding("refused_gold", problem.id, problem.question, problem.gold, verdict.why)


def outvoted(problem: Asked, votes: Sequence[Vote], *, min_voters: int = 4) -> Finding | None:
    """A finding where most models agree on one answer that is not the gold, else None.

    Most: more than half of at least `min_voters` models that answered, and at least twice as many as give the gold. Samples of
    one model make one vote, for what most of them say; where two answers are level, none.
    """
    voters = len({v.voter for v in votes})
    against = [v for v in votes if not v.accepted]

    def too_few(answers: Collection[str]) -> bool:
        return 2 * len({v.voter for v in against if v.answer in answers}) <= voters

    if problem.domain not in UNIQUE_DOMAINS or voters < min_voters or too_few({v.answer for v in against}):
        return None
    names = _one_name_each((v.answer for v in against), problem.domain, too_few)
    ballots: dict[str, Counter[str | None]] = defaultdict(Counter)  # None stands for the gold
    for vote in votes:
        ballots[vote.voter][None if vote.accepted else names[vote.answer]] += 1
    cast = [answer for counts in ballots.values() for answer in _choice(counts)]
    tally = Counter(cast)
    other, most = max(((a, n) for a, n in tally.items() if a is not None), key=lambda found: found[1], default=("", 0))
    if len(cast) < min_voters or 2 * most <= len(cast) or most < 2 * tally[None]:
        return None
    why = _outcome(problem.gold, other, problem.domain)
    listed = {("gold" if answer is None else answer): n for answer, n in tally.most_common(DETAIL_ANSWERS)}
    detail = json.dumps(listed, ensure_ascii=False)
    counts = (most, tally[None], len(cast))
    return Finding("outvoted_gold", problem.id, problem.question, problem.gold, why, other, *counts, detail)


def _choice(counts: Counter[str | None]) -> list[str | None]:
    """What a model says most often; nothing where two answers are level."""
    (first, most), *others = counts.most_common(2)
    return [] if others and others[0][1] == most else [first]


def conflicting(problems: Iterable[Asked]) -> Iterator[Finding]:
    """Questions that stand more than once with golds that the verifier does not take for equal; by first appearance.

    Holds one short text for each distinct question and gold.
    """
    golds: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    first: dict[tuple[str, str], Asked] = {}
    for problem in problems:
        key = (problem.domain, normalise_question(problem.question))
        if key[1] and problem.domain in UNIQUE_DOMAINS:
            golds[key][problem.gold] += 1
            first.setdefault(key, problem)
    for key, rows in golds.items():
        if len(rows) > 1 and (found := _conflict(first[key], rows)):
            yield found


def _conflict(problem: Asked, rows: Counter[str]) -> Finding | None:
    names = _one_name_each(rows, problem.domain)
    tally = Counter[str]()
    for gold, n in rows.items():
        tally[names[gold]] += n
    if len(tally) < 2:
        return None
    (gold, most), (other, fewer), *_ = tally.most_common()
    detail = json.dumps(dict(tally.most_common(DETAIL_ANSWERS)), ensure_ascii=False)
    why = _outcome(gold, other, problem.domain)
    return Finding("conflicting_golds", problem.id, problem.question, gold, why, other, fewer, most, sum(tally.values()), detail)


def _one_name_each(
    answers: Iterable[str], domain: str, enough: Callable[[Collection[str]], bool] = lambda left: False
) -> dict[str, str]:
    """Every distinct answer -> the most frequent answer that the verifier takes for equal to it.

    Answers that are `enough` alone keep their own names: most are sentences, each of which would go
    to the slow tier.
    """
    left = [answer for answer, _ in Counter(answers).most_common()]
    names: dict[str, str] = {}
    while left and not enough(left):
        head, *left = left
        names |= {answer: head for answer in (head, *_equal_to(head, left, domain))}
        left = [answer for answer in left if answer not in names]
    return names | {answer: answer for answer in left}


def _equal_to(head: str, answers: Sequence[str], domain: str) -> list[str]:
    rows = ((head, f"<answer>{answer}</answer>", domain) for answer in answers)
    verdicts = verify_all(rows, timeout_s=COMPARE_S)
    return [answer for answer, verdict in zip(answers, verdicts, strict=True) if verdict.outcome == "correct"]


def _outcome(gold: str, answer: str, domain: str) -> str:
    return verify(gold, f"<answer>{answer}</answer>", domain=domain, timeout_s=COMPARE_S).outcome
