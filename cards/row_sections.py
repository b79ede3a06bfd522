"""The sections of a data set card that are about its rows: figures counted in the run's files, as Markdown."""

from __future__ import annotations

import json
from typing import Any

import polars as pl

from cards.markdown import block, code, number, table, text, visible
from cards.public import public_text
from cards.run_facts import RunFacts
from cards.verifier_rates import measured_rates

_COLUMNS = {
    "id": "content id of the example",
    "problem_id": "content id of the problem: its domain, question and gold answer",
    "trace_id": "the generation that became `messages`",
    "messages": "the training row: chat turns, the thinking in `<think>` tags",
    "problem": "the question as its source states it",
    "answer": "gold answer",
    "solution": "the source's own worked solution; null where it has none",
    "domain": "which verifier judged it",
    "source": "data set or generator the problem came from",
    "source_id": "the problem's id or position there",
    "license": "licence of that source",
    "teacher": "model that wrote the chosen generation",
    "outcome": "verdict on the chosen generation, a model's second opinion included",
    "generations": "every generation for the problem, wrong ones included",
    "trace_ids": "their content ids, in the same order",
    "finish_reasons": "how each ended: stop, length (cut) or error",
    "verdicts": "verdict on each: correct, incorrect or undetermined; null where it was not judged, being cut, empty or the like",
    "verdict_reasons": "why, in one word",
    "extracted": "the answer found in each; null where none was found",
    "judge": "a model's second opinion on each that the rule rejected: equivalent counts as correct; null where not asked",
    "judge_reason": "what the model gave as its reason",
    "correctness_count": "how many of them are correct",
    "meta": "JSON object: what the domain needs and other columns of the source",
}


def configs(facts: RunFacts) -> list[tuple[str, str]]:
    """Name and file pattern of each configuration that `datasets.load_dataset` offers.

    A table without rows is none: load_dataset 5.2 answers `Instruction "train" corresponds to no data!`.
    """
    parts = [(part["name"], part["path"]) for part in facts.manifest["dataset"]["configs"]]
    rejected = [(f"rejected_{name}", f"rejected/{name}.parquet") for name, rows in facts.rejected.items() if rows]
    return [("default", "dataset/*.parquet"), *parts, *rejected]


def summary(facts: RunFacts) -> str:
    if not facts.examples:
        return "**No example was kept**: what was dropped, and why, is below."
    correct = dict(facts.by["verdicts"]).get("correct", 0)
    domains = ", ".join(f"{text(name)} ({number(n)})" for name, n in facts.by["domain"])
    teachers = ", ".join(f"{code(name)} ({number(n)})" for name, n in facts.by["teacher"])
    return (
        f"**{number(facts.examples)}** examples for **{number(facts.problems)}** problems: {domains}. "
        f"Written by {teachers}. Their **{number(facts.generations)}** generations are all included, "
        f"{number(correct)} of them verified correct."
    )


def loading(facts: RunFacts) -> str:
    """Lines that load each configuration."""
    lines = [
        "from datasets import load_dataset",
        "",
        'examples = load_dataset(".", split="train")  # this folder, or OWNER/NAME',
    ]
    parts = [part["name"] for part in facts.manifest["dataset"]["configs"] if part["source"] is not None]
    lines += [f'of_one_source = load_dataset(".", "{name}", split="train")' for name in parts[:1]]
    lines += [f'{name} = load_dataset(".", "{name}", split="train")' for name, _ in configs(facts) if name.startswith("rejected_")]
    return "\n\n".join([block("\n".join(lines), "python"), *_parts(facts)])


def _parts(facts: RunFacts) -> list[str]:
    """What each configuration beside the default one holds, where there are such."""
    held = {"all": "every example, as the default", "verified": "those whose trace was verified as correct"}
    rows = [
        [
            code(part["name"]),
            number(part["rows"]),
            f"source {code(part['source'])}" if part["source"] is not None else held[part["name"]],
        ]
        for part in facts.manifest["dataset"]["configs"]
    ]
    return [table(["configuration", "examples", "what it holds"], rows, right=(1,))] if rows else []


def sample(facts: RunFacts) -> str:
    """The beginning of one training row as it is."""
    question, answer = (m["content"] for m in facts.example[-2:])
    return "\n\n".join([block(_beginning(question, 800)), "is answered by", block(_beginning(answer, 1600))])


def _beginning(content: str, limit: int) -> str:
    return visible(content[:limit]) + (f"\n… ({number(len(content))} characters)" if len(content) > limit else "")


def columns(facts: RunFacts) -> str:
    rows = [[code(name), code(_type(kind)), _COLUMNS.get(name, "")] for name, kind in facts.schema.items()]
    return table(["column", "type", "what it holds"], rows)


def _type(kind: Any) -> str:
    """A Polars type as people write it: list<{role, content}>."""
    if isinstance(kind, pl.List):
        return f"list<{_type(kind.inner)}>"
    if isinstance(kind, pl.Struct):
        return "{" + ", ".join(field.name for field in kind.fields) + "}"
    return str(kind).lower()


def teacher(facts: RunFacts) -> str:
    teacher, tokens = facts.manifest["teacher"], facts.manifest["tokens"]
    rows = [[name, code(public_text(teacher[name]))] for name in ("spec", "model", "revision", "endpoint") if teacher.get(name)]
    rows += [[code(name), code(json.dumps(value))] for name, value in sorted(teacher["sampling"].items())]
    rows += [[f"{name} tokens, whole run", number(tokens[name])] for name in ("prompt", "completion") if tokens[name] is not None]
    unset = "\n\nA value of null was left to the teacher's own default." if None in teacher["sampling"].values() else ""
    return (
        table(["", "in effect"], rows)
        + unset
        + "\n\nAll traces of the run, those that are not in the set included:\n\n"
        + _traces(facts)
    )


def _traces(facts: RunFacts) -> str:
    counts = ["traces", "faulty", "correct", "incorrect", "undetermined"]
    rows = [[code(t["teacher"]), *(number(t[name]) for name in counts)] for t in facts.manifest["teachers"]]
    return table(["teacher", *counts], rows, right=range(1, 6))


def verification(facts: RunFacts) -> str:
    """What judged the generations, and what it said of them and of the chosen ones."""
    tables = [
        _counted(facts.by["verdicts"], "verdict", facts.generations),
        _counted(facts.by["verdict_reasons"], "reason", facts.generations),
        _counted(facts.by["finish_reasons"], "ended by", facts.generations),
    ]
    chosen = ", ".join(f"{number(n)} {text(name)}" for name, n in facts.by["chosen"])
    return "\n\n".join(
        [
            f"Judged by {', '.join(code(name) for name in facts.manifest['verifier']) or 'nothing: there was no trace to judge'}.",
            measured_rates(facts.manifest["verifier"]),
            *_judge(facts),
            "All generations for the problems of this set:",
            *tables,
            f"Of the generations in `messages`: {chosen}. The others stay in `generations` beside their verdicts.",
        ]
    )


def _judge(facts: RunFacts) -> list[str]:
    """Who gave second opinions, if anybody did."""
    judge = facts.manifest.get("judge")
    if not judge:
        return []
    where = f" at {code(judge['endpoint'])}" if judge["endpoint"] else ""
    said = ", ".join(f"{number(n)} {text(word)}" for word, n in judge["judged"].items()) or "nothing"
    return [
        f"Answers that this rule rejected were shown to {code(judge['model'])}{where}, which said of the whole run's: {said}. "
        "Equivalent counts as correct; the rule's verdict stays in `verdicts`, the model's is in `judge`."
    ]


def _counted(counts: list[tuple[str, int]], first: str, total: int, limit: int = 10) -> str:
    shown = counts[:limit]
    rest = sum(n for _, n in counts[limit:])
    rows = [(code(name) if name else "not judged", n) for name, n in shown] + ([("all others", rest)] if rest else [])
    return table([first, "generations", "share"], [[name, number(n), f"{n / total:.1%}"] for name, n in rows], right=(1, 2))


def lengths(facts: RunFacts) -> str:
    """Median, 90th percentile and maximum of what the traces measure."""
    rows = [[m.what, number(m.measured), number(m.median), number(m.p90), number(m.longest)] for m in facts.lengths]
    return table(["length of", "count", "median", "90th percentile", "longest"], rows, right=(1, 2, 3, 4))
