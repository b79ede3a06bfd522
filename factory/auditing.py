"""Golds that deserve doubt, over a whole build: evidence in audit.parquet, and nothing is dropped for it.

Nothing is dropped, because a majority is often wrong where problems are hard: of 16 golds of MATH level 5 that most of 22
models vote against, two are wrong and 14 are right (each solved by hand).
"""

from __future__ import annotations

import dataclasses
import typing
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import polars as pl

from curation.audit import Asked, Finding, Kind, Vote, conflicting, outvoted, refused
from curation.files import write_table
from curation.verify import verifier_versions
from factory.judging import is_correct
from factory.progress import track
from factory.recipe import Audit
from factory.steps import Facts, Piece, once
from factory.tracing import Shard, problems_of

FINDINGS = pl.Schema(
    {
        field.name: pl.Int64 if field.name in ("votes", "gold_votes", "voters") else pl.String
        for field in dataclasses.fields(Finding)
    }
)
KINDS: tuple[Kind, ...] = typing.get_args(Kind)


def audit(store: Path, how: Audit, cleaned: Sequence[Piece], verdicts: Sequence[tuple[Shard, Piece]], workers: int) -> Piece:
    """Every doubt about a gold: those refused, those in conflict among the rows as read, those that most teachers outvote."""
    read, _, unchecked, *_ = cleaned
    settings = {"audit": how.model_dump(), "verifier": verifier_versions()}

    def work(folder: Path) -> Facts:
        golds = refused(list(_asked(sorted(unchecked.folder.glob("kept-*.parquet")))), workers=workers)
        conflicts = conflicting(_asked(sorted(read.folder.glob("kept-*.parquet"))))
        lost = (f for shard, piece in verdicts for f in _outvoted(shard, piece, how.min_voters))
        findings = [*golds, *conflicts, *strongest_first(lost)]
        write_table(findings_frame(findings), folder / "audit.parquet")
        return {"found": count_kinds(findings)}

    inputs = [p.digest for p in cleaned] + [digest for shard, piece in verdicts for digest in (shard.digest, piece.digest)]
    return once(store, "audit", settings, inputs, work)


def _asked(files: Iterable[Path]) -> Iterator[Asked]:
    for file in files:
        columns = pl.read_parquet(file, columns=["id", "prompt", "answer", "domain"])
        yield from (Asked(*row) for row in columns.iter_rows() if row[2])  # a problem without a gold has none to doubt


def _outvoted(shard: Shard, verdicts: Piece, min_voters: int) -> Iterator[Finding]:
    votes: dict[str, list[Vote]] = defaultdict(list)
    frame = pl.read_parquet(verdicts.folder / "verdicts.parquet").filter(pl.col("extracted").is_not_null())
    for row in frame.iter_rows(named=True):
        votes[row["problem_id"]].append(Vote(row["teacher"], row["extracted"], is_correct(row)))
    for problem in track(problems_of(shard), "audit", None, "golds"):
        if problem.answer:
            asked = Asked(problem.id, problem.prompt, problem.answer, problem.domain)
            found = outvoted(asked, votes[problem.id], min_voters=min_voters)
            yield from (found,) if found else ()


def strongest_first(findings: Iterable[Finding]) -> list[Finding]:
    """Outvoted golds by how far the vote is from the gold, as a share of the voters."""
    return sorted(findings, key=lambda f: ((f.gold_votes or 0) - (f.votes or 0)) / (f.voters or 1))


def findings_frame(findings: Iterable[Finding]) -> pl.DataFrame:
    return pl.DataFrame([dataclasses.astuple(f) for f in findings], schema=FINDINGS, orient="row")


def count_kinds(findings: Iterable[Finding]) -> dict[str, int]:
    """Findings of each kind, zeros included."""
    counted = Counter(f.kind for f in findings)
    return {kind: counted[kind] for kind in KINDS}
