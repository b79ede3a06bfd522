"""What a reward is given, as texts, golds and verdicts; the only way from a reward to curation.verify."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from curation.errors import UserError
from curation.records import Verdict
from curation.sources import answer_text
from curation.verify import verify_all

Completion = str | list[dict[str, Any]]
LogExtra = Callable[[str, list[Any]], None]


def verdicts(completions: Sequence[Completion], domains: Sequence[str], columns: dict[str, Any]) -> list[Verdict]:
    """What curation.verify says of each completion against the gold of its row, in order."""
    return verdicts_against(completions, golds(columns), domains, columns)


def verdicts_against(
    completions: Sequence[Completion], against: Sequence[str | None], domains: Sequence[str], columns: dict[str, Any]
) -> list[Verdict]:
    """Verdicts in order; TRL's table of completions, where it is asked for, gets what was found and why."""
    found = list(verify_all(zip(against, texts(completions, columns), domains, strict=True)))
    log_extra: LogExtra | None = columns.get("log_extra")
    if log_extra:
        log_extra("extracted", [v.extracted for v in found])
        log_extra("verdict", [f"{v.outcome}: {v.why}" for v in found])
    return found


def point(verdict: Verdict) -> float | None:
    """1, 0 or None."""
    return {"correct": 1.0, "incorrect": 0.0, "undetermined": None}[verdict.outcome]


def golds(columns: dict[str, Any]) -> list[str | None]:
    """Column `answer`, or `solution`, as text. Raises UserError where there is neither."""
    found = next((columns[name] for name in ("answer", "solution") if columns.get(name) is not None), None)
    if found is None:
        known = ", ".join(name for name, value in columns.items() if isinstance(value, list)) or "none"
        raise UserError(f"no column of gold answers among {known}: wanted one named answer or solution in the training data")
    return [answer_text(gold) for gold in found]


def texts(completions: Sequence[Completion], columns: dict[str, Any]) -> Iterator[str]:
    """What the model wrote; a thought that the prompt opened belongs to it, or a cut one would pass for an answer."""
    prompts = columns.get("prompts") or [""] * len(completions)
    for prompt, completion in zip(prompts, completions, strict=True):
        opened = isinstance(prompt, str) and prompt.rstrip().endswith("<think>")
        text = completion if isinstance(completion, str) else str(completion[-1].get("content") or "") if completion else ""
        yield f"<think>\n{text.removeprefix(chr(10))}" if opened else text
