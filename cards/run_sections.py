"""The sections of a data set card that are about how it was made: funnel, decontamination, licences, versions."""

from __future__ import annotations

import json

import polars as pl

from cards import licenses
from cards.markdown import block, code, number, table, text
from cards.public import public_text
from cards.run_facts import RunFacts

PICTURE = "funnel.svg"  # beside the card
_OF_RULE = {"coverage": ("ngram", "min_coverage"), "ngram": ("ngram",), "verbatim": ("ngram",), "fuzzy": ("fuzzy_ratio",)}


def funnel(facts: RunFacts) -> str:
    rows = [
        [
            text(step["step"]),
            text(step["unit"]),
            number(step["in"]),
            number(step["kept"]),
            number(sum(step["dropped"].values())),
            ", ".join(f"{code(why)} {number(n)}" for why, n in sorted(step["dropped"].items(), key=lambda d: (-d[1], d[0]))),
        ]
        for step in facts.funnel
    ]
    steps = table(["step", "of", "in", "kept", "dropped", "why"], rows, right=(2, 3, 4))
    kept = ", ".join(f"{number(n)} {what}" for what, n in facts.rejected.items() if n)
    picture = f"![Rows kept at each step]({PICTURE})\n\n"
    return picture + steps + (f"\n\nThe dropped rows are in `rejected/` with their reasons: {kept}." if kept else "")


def decontamination(facts: RunFacts) -> str:
    """The benchmarks compared with, the rule, and up to ten matched pairs."""
    benchmarks = facts.manifest["benchmarks"]
    if not benchmarks:
        return "**None.** The problems were not compared with any benchmark."
    rows = [[code(b["name"]), number(b["questions"]), code(b["revision"] or "")] for b in benchmarks]
    clean = facts.recipe["clean"]
    more = ("neighbours", "semantic_model") if clean.get("neighbours") else ()
    settings = {k: v for k, v in clean.items() if k in ("rule", *_OF_RULE[clean["rule"]], *more)}
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
    head = matches.sort(["score", "problem_id", "benchmark", "benchmark_index"], descending=[True, False, False, False]).head(limit)
    rows = [
        [
            text(r["prompt"]),
            code(f"{r['benchmark']} {r['benchmark_index']}"),
            text(r["question"]),
            code(r["method"]),
            code(r["rule"]),
            f"{r['threshold']:.2f}",
            f"{r['score']:.2f}",
        ]
        for r in head.iter_rows(named=True)
    ]
    return "\n\n".join(
        [
            f"**{number(found)}** problems matched, in {number(matches.height)} pairs; {left}. All pairs are in "
            f"`contamination.parquet`; {'the closest ten' if matches.height > limit else 'these'}:",
            table(["problem", "benchmark", "its question", "method", "rule", "threshold", "score"], rows, right=(5, 6)),
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


def difficulty(facts: RunFacts) -> str:
    """For each model: problems by the share of its traces that is correct."""
    heads = ["none", *(f"{low} to {low + 25}%" for low in (0, 25, 50, 75)), "all"]
    rows = [[code(d.model), number(sum(d.problems)), *(number(n) for n in d.problems)] for d in facts.difficulty]
    return "Problems by the share of a model's traces that is correct:\n\n" + table(
        ["model", "problems", *heads], rows, right=range(1, 8)
    )


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
            code(public_text(s["path_or_repo"])),
        ]
        for s in facts.manifest["sources"]
    ]
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
            *licenses.clash_text(licenses.clashes(names, teachers), allowed="license_clash_allowed" in facts.manifest),
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
        "the licence of every source." if len(set(names)) == 1 else "it asks everything that the other sources' licences ask."
    )


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
            block(public_text(manifest["command"]), "bash"),
            f"with cot-factory {text(manifest['factory'])}. The resolved recipe is `recipe.json`; "
            "every step with its key, counts and checksum is in `manifest.json`.",
            table(["", ""], rows),
        ]
    )
