"""Traces for the problems of each shard: sampled from a teacher, or replayed from a file."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import polars as pl

from curation.files import write_table
from curation.records import Message, Problem, Trace, from_frame, schema, to_frame
from factory import oracle, teachers
from factory.cleaning import turned_away
from factory.ledger import count
from factory.progress import track
from factory.recipe import Recipe, Sample
from factory.replay import index_problems, match, normal_form, open_replay, to_trace
from factory.rules import Clean
from factory.sampling import Identity, Sampling, effective
from factory.steps import Facts, Piece, file_digest, once
from factory.teachers import Teacher


class Shard(NamedTuple):
    """Up to ledger.SHARD_ROWS problems that go through the rest of the build together."""

    number: int
    problems: Path
    digest: str


def shards(piece: Piece) -> list[Shard]:
    return [Shard(n, p, file_digest(p)) for n, p in enumerate(sorted(piece.folder.glob("kept-*.parquet")))]


def problems_of(shard: Shard) -> list[Problem]:
    return from_frame(pl.read_parquet(shard.problems), Problem)


def messages(recipe: Recipe, problem: Problem) -> tuple[Message, ...]:
    """What the teacher is asked: the recipe's system prompt, if any, and its user turn around the problem."""
    system = ({"role": "system", "content": recipe.system},) if recipe.system else ()
    return (*system, {"role": "user", "content": recipe.prompt.replace("{problem}", problem.prompt)})


def to_sampling(values: Sample) -> Sampling:
    return Sampling(**values.model_dump(include=set(Sampling.model_fields)))


def identify(teacher: Teacher, values: Sample) -> Identity:
    """Everything but the prompt and the index that decides a sample of this teacher."""
    if teacher.kind == "oracle":
        return {"model": "oracle", "revision": oracle.VERSION, "endpoint": "", "sampling": {}}
    model = teachers.identity(teacher)
    said = effective(to_sampling(values), teachers.ignored(teacher))
    found: Identity = {"model": model.name, "revision": model.revision, "endpoint": model.endpoint, "sampling": said}
    return {**found, "template": model.template} if model.template else found


def write_traces(traces: Iterable[Trace], folder: Path) -> Facts:
    """The traces of a piece, and their counts."""
    traces = list(traces)
    write_table(to_frame(traces, Trace), folder / "traces.parquet")
    return {
        "traces": len(traces),
        "failed": sum(t.finish == "error" for t in traces),
        "prompt_tokens": sum(t.prompt_tokens or 0 for t in traces),
        "completion_tokens": sum(t.completion_tokens or 0 for t in traces),
    }


def replay(store: Path, where: str, every: Sequence[Shard], cleaned: Sequence[Piece], clean: Clean) -> Piece:
    """Match existing traces to the problems of all shards.

    Writes `traces-<shard>-<part>.parquet`, and `rejected-<part>.parquet` with the traces that answer no problem here, that repeat
    another word for word, or that their row holds no text of. Bounded in memory: a part is written whenever FLUSH_CHARACTERS have
    gathered.
    """
    opened = open_replay(where)

    def work(folder: Path) -> Facts:
        away = turned_away(cleaned, clean)
        shard_of = {p.id: shard.number for shard in every for p in problems_of(shard)}
        index = index_problems(p for shard in every for p in problems_of(shard))
        taken, reasons = Counter[tuple[str, str]](), list[str | None]()
        seen: set[str] = set()
        with ThreadPoolExecutor(1) as behind:
            parts = _Parts(folder, behind)
            for loose in track(opened.traces, "replay", None, "traces"):
                problem_id = match(loose, index) or ""
                first = to_trace(loose, problem_id, 0)
                reason = "no_generation" if loose.finish == "error" else "duplicate_trace" if first.id in seen else None
                if not problem_id:
                    reason = away.get(normal_form(loose.question), "no_problem")
                reasons.append(reason)
                if reason:
                    parts.add("rejected", to_trace(loose, problem_id, len(reasons)), reason, loose.question)
                    continue
                seen.add(first.id)
                number = taken[problem_id, loose.model]
                parts.add(f"traces-{shard_of[problem_id]:05}", to_trace(loose, problem_id, number) if number else first)
                taken[problem_id, loose.model] += 1
            parts.finish()
        return {"funnel": [count("replay", "traces", reasons)], "identity": opened.identity}

    inputs = [*(shard.digest for shard in every), *(piece.digest for piece in cleaned)]
    return once(store, "replay", opened.identity, inputs, work)


# 200 MB of ASCII, four times that at worst; while one part is written the next one gathers.
FLUSH_CHARACTERS = 200_000_000


class _Parts:
    """Gathers traces by group and writes numbered parts, so that memory does not grow with the data set.

    A part is written by a thread while the next one gathers: Polars needs no Python for that.
    """

    def __init__(self, folder: Path, behind: ThreadPoolExecutor) -> None:
        self.folder, self.behind = folder, behind
        self.held: dict[str, list[tuple[Trace, str, str]]] = defaultdict(list)
        self.characters = self.number = 0
        self.writing: list[Future[None]] = []

    def add(self, group: str, trace: Trace, reason: str = "", question: str = "") -> None:
        self.held[group].append((trace, reason, question[:200]))
        self.characters += len(trace.reasoning or "") + len(trace.answer_text)
        if self.characters >= FLUSH_CHARACTERS:
            self.flush()

    def flush(self) -> None:
        frames = {self.folder / f"{group}-{self.number:05}.parquet": _part(held) for group, held in sorted(self.held.items())}
        self.held.clear()
        self.characters, self.number = 0, self.number + 1
        self.wait()
        self.writing = [self.behind.submit(_write_part, frame, path) for path, frame in frames.items()]

    def wait(self) -> None:
        for part in self.writing:
            part.result()

    def finish(self) -> None:
        self.flush()
        self.wait()


def _part(held: Sequence[tuple[Trace, str, str]]) -> pl.DataFrame:
    return to_frame([t for t, _, _ in held], Trace).with_columns(
        pl.lit("replay").alias("step"),
        pl.Series("reason", [reason for _, reason, _ in held], pl.String),
        pl.Series("detail", [question for _, _, question in held], pl.String),
    )


def _write_part(frame: pl.DataFrame, path: Path) -> None:
    # Read once, by the shard, which writes it again for good: packed lightly, in two thirds of the time.
    write_table(frame, path, level=1)


def replayed_shard(store: Path, replayed: Piece, shard: Shard) -> Piece:
    """The replayed traces of one shard, in the order of its problems."""
    parts = sorted(replayed.folder.glob(f"traces-{shard.number:05}-*.parquet"))

    def work(folder: Path) -> Facts:
        # Whole columns, no Trace is made: stable, so that a problem's traces stay in the order of the file.
        order = pl.read_parquet(shard.problems, columns=["id"]).with_row_index("place").rename({"id": "problem_id"})
        names = list(schema(Trace))
        held = [pl.read_parquet(part, columns=names) for part in parts] or [pl.DataFrame(schema=schema(Trace))]
        found = pl.concat(held).join(order, on="problem_id", how="left", maintain_order="left")
        found = found.sort("place", maintain_order=True).select(names).rechunk()
        write_table(found, folder / "traces.parquet")
        tokens = {name: found[name].sum() for name in ("prompt_tokens", "completion_tokens")}
        return {"traces": found.height, "failed": int((found["finish"] == "error").sum()), **tokens}

    return once(store, "traces", "replayed", [shard.digest, *map(file_digest, parts)], work)
