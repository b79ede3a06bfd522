"""The sections of a data set card: each turns figures counted in the run's files into Markdown."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl

from cards import licenses
from cards.markdown import block, code, number, table, text, visible
from cards.run_facts import RunFacts

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
    "generations": "every generation for the problem, wrong ones included",
    "trace_ids": "their content ids, in the same order",
    "finish_reasons": "how each ended: stop, length (cut) or error",
    "verdicts": "verdict on each: correct, incorrect or undetermined",
    "verdict_reasons": "why, in one word",
    "extracted": "the answer found in each; null where none was found",
    "correctness_count": "how many of them are correct",
    "meta": "JSON object: what the domain needs and other columns of the source",
}


def configs(facts: RunFacts) -> list[tuple[str, str]]:
    """Name and file pattern of each configuration that `datasets.load_dataset` offers.

    A table without rows is none: load_dataset 5.2 answers `Instruction "train" corresponds to no data!`.
    """
    rejected = [(f"rejected_{name}", f"rejected/{name}.parquet") for name, rows in facts.rejected.items() if rows]
    return [("default", "dataset/*.parquet"), *rejected]


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
    lines += [f'{name} = load_dataset(".", "{name}", split="train")' for name, _ in configs(facts) if name != "default"]
    return block("\n".join(lines), "python")


def sample(facts: RunFacts) -> str:
    """The beginning of one training row as it is."""
    if not facts.example:
        return "There is none."
    question, answer = (m["content"] for m in facts.example[-2:])
    return "\n\n".join([block(_beginning(question, 800)), "is answered by", block(_beginning(answer, 1600))])


def _beginning(content: str, limit: int) -> str:
    return visible(content[:limit]) + (f"\n… ({number(len(content))} characters)" if len(content) > limit else "")


def funnel(facts: RunFacts) -> str:
    rows = [
        [
            text(step["step"]),
            text(step["unit"]),
            number(step["in"]),
            number(step["kept"]),
            number(sum(step["dropped"].values())),
            ", ".join(
                f"{code(why)} {number(n)}" for why, n in sorted(step["dropped"].items(), key=lambda d: (-d[1], d[0]))
            ),
        ]
        for step in facts.funnel
    ]
    steps = table(["step", "of", "in", "kept", "dropped", "why"], rows, right=(2, 3, 4))
    kept = ", ".join(f"{number(n)} {what}" for what, n in facts.rejected.items() if n)
    return steps + (f"\n\nThe dropped rows are in `rejected/` with their reasons: {kept}." if kept else "")


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
    rows = [[name, code(teacher[name])] for name in ("spec", "model", "revision", "endpoint") if teacher.get(name)]
    rows += [[code(name), code(json.dumps(value))] for name, value in sorted(teacher["sampling"].items())]
    rows += [
        [f"{name} tokens, whole run", number(tokens[name])]
        for name in ("prompt", "completion")
        if tokens[name] is not None
    ]
    unset = "\n\nA value of null was left to the teacher's own default." if None in teacher["sampling"].values() else ""
    return table(["", "in effect"], rows) + unset


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
            f"Judged by {code(facts.manifest['verifier'])}. All generations for the problems of this set:",
            *tables,
            f"Of the generations in `messages`: {chosen}. The others stay in `generations` beside their verdicts.",
        ]
    )


def _counted(counts: list[tuple[str, int]], first: str, total: int, limit: int = 10) -> str:
    shown = counts[:limit]
    rest = sum(n for _, n in counts[limit:])
    rows = [(code(name), n) for name, n in shown] + ([("all others", rest)] if rest else [])
    return table(
        [first, "generations", "share"], [[name, number(n), f"{n / total:.1%}"] for name, n in rows], right=(1, 2)
    )


def decontamination(facts: RunFacts) -> str:
    """The benchmarks compared with, the rule, and up to ten matched pairs."""
    benchmarks = facts.manifest["benchmarks"]
    if not benchmarks:
        return "**None.** The problems were not compared with any benchmark."
    rows = [[code(b["name"]), number(b["questions"]), code(b["revision"] or "")] for b in benchmarks]
    settings = {k: v for k, v in facts.recipe["clean"].items() if k in ("rule", "ngram")}
    return "\n\n".join(
        [
            f"Every problem was compared with every question of these benchmarks, rule {code(json.dumps(settings))}:",
            table(["benchmark", "questions", "revision"], rows, right=(1,)),
            _pairs(facts.matches, facts.matches_in_set),
        ]
    )


def _pairs(matches: pl.DataFrame | None, in_set: int, limit: int = 10) -> str:
    if matches is None or matches.is_empty():
        return "No problem matched a benchmark question."
    found = matches.select(pl.col("problem_id").n_unique()).item()
    left = f"{number(in_set) if in_set else 'none'} of them {'are' if in_set > 1 else 'is'} in this set"
    head = matches.sort(
        ["score", "problem_id", "benchmark", "benchmark_index"], descending=[True, False, False, False]
    ).head(limit)
    rows = [
        [
            text(r["prompt"]),
            code(f"{r['benchmark']} {r['benchmark_index']}"),
            text(r["question"]),
            code(r["rule"]),
            f"{r['score']:.2f}",
        ]
        for r in head.iter_rows(named=True)
    ]
    return "\n\n".join(
        [
            f"**{number(found)}** problems matched, in {number(matches.height)} pairs; {left}. All pairs are in "
            f"`contamination.parquet`; {'the closest ten' if matches.height > limit else 'these'}:",
            table(["problem", "benchmark", "its question", "rule", "score"], rows, right=(4,)),
        ]
    )


def duplicates(facts: RunFacts) -> str:
    """What the funnel says was dropped as a duplicate."""
    dropped = [
        f"{number(n)} {text(step['unit'])} as {code(why)} (step {text(step['step'])})"
        for step in facts.funnel
        for why, n in sorted(step["dropped"].items())
        if "duplicate" in why
    ]
    return "Removed: " + "; ".join(dropped) + "." if dropped else "No row was dropped as a duplicate."


def lengths(facts: RunFacts) -> str:
    """Median, 90th percentile and maximum of what the traces measure."""
    rows = [[m.what, number(m.measured), number(m.median), number(m.p90), number(m.longest)] for m in facts.lengths]
    return table(["length of", "count", "median", "90th percentile", "longest"], rows, right=(1, 2, 3, 4))


def licences(facts: RunFacts) -> str:
    """The licence of every source, the terms of every teacher, and what does not go together."""
    names = [s["license"] for s in facts.manifest["sources"]]
    teachers = [name for name, _ in facts.by["teacher"]]
    rows = [
        [
            text(s["name"]),
            code(s["license"]),
            number(s["rows"]),
            code(s["revision"] or ""),
            code(_public(s["path_or_repo"])),
        ]
        for s in facts.manifest["sources"]
    ]
    clashes = licenses.clashes(names, teachers)
    return "\n\n".join(
        [
            _tag_sentence(names),
            table(["source", "licence", "rows", "revision", "from"], rows, right=(2,)),
            table(
                ["teacher", "licence or terms", "training on its outputs", "what they say", "where"],
                [
                    [code(m), t.license, f"**{t.training}**", t.terms, t.source]
                    for m in teachers
                    for t in [licenses.teacher_terms(m)]
                ],
            ),
            *(
                ["**These do not go together:**\n\n" + "\n".join(f"- {text(c, 500)}" for c in clashes)]
                if clashes
                else []
            ),
            "Facts read from the texts named, not legal advice.",
        ]
    )


def _tag_sentence(names: list[str]) -> str:
    tag = licenses.tag(names)
    if tag.license == "unknown":
        return "The licence of at least one source is **unknown**: ask its authors before using this set."
    if tag.license == "other":
        each = ", ".join(code(name) for name in sorted(set(names)))
        return f"No single licence covers every source ({each}): each row names its own in `license`."
    return f"Tagged {code(tag.license)}: " + (
        "the licence of every source."
        if len(set(names)) == 1
        else "it asks everything that the other sources' licences ask."
    )


def _public(place: str) -> str:
    """A repository's name as it is; of a path on somebody's machine only the last part."""
    return Path(place).name if place.startswith(("/", "~", ".")) else place


def rebuild(facts: RunFacts) -> str:
    """The command, and the versions that made these bytes."""
    manifest = facts.manifest
    versions = {"python": manifest["python"], "platform": manifest["platform"], **manifest["libraries"]}
    git = manifest["git"]
    rows = [
        ["recipe hash", code(manifest["recipe_hash"])],
        ["seeds", code(json.dumps(manifest["seeds"]))],
        ["built", code(manifest["created"])],
    ]
    rows += [["git", code(json.dumps(git))]] if git else []
    rows += [[text(name), code(version)] for name, version in versions.items()]
    return "\n\n".join(
        [
            block(manifest["command"], "bash"),
            f"with cot-factory {text(manifest['factory'])}. The resolved recipe is `recipe.json`; "
            "every step with its key, counts and checksum is in `manifest.json`.",
            table(["", ""], rows),
        ]
    )
