"""What the commands print: the list of recipes, a plan, the summary of a run."""

from __future__ import annotations

import json
import shutil
import textwrap
from pathlib import Path
from typing import Any

import polars as pl
import yaml

from cards.markdown import visible
from cards.push import PushResult
from curation.files import read_yaml
from factory.ledger import SHARD_ROWS
from factory.pipeline import pipeline_names, sizes_of
from factory.recipe import CONFIGS, Recipe, load_recipe, recipe_names
from factory.teachers import parse_teacher


def recipe_table() -> str:
    """Name, description, and the Needs and Yield lines of each recipe's header."""
    parts = []
    for name in recipe_names():
        header = _header(CONFIGS / "recipes" / f"{name}.yaml")
        lines = [load_recipe(name).description, f"needs  {header['Needs']}", f"yields {header['Yield']}"]
        body = "\n".join(textwrap.fill(line, 96, initial_indent="    ", subsequent_indent="           ") for line in lines)
        parts.append(f"{name}\n{body}")
    return "\n\n".join(parts)


def pipeline_table() -> str:
    """Name, sizes and description of each pipeline, with the Needs and Yield lines of its header."""
    parts = []
    for name in pipeline_names():
        path = CONFIGS / "pipelines" / f"{name}.yaml"
        header = _header(path)
        lines = [str(read_yaml(path)["description"]), f"needs  {header['Needs']}", f"yields {header['Yield']}"]
        body = "\n".join(textwrap.fill(line, 96, initial_indent="    ", subsequent_indent="           ") for line in lines)
        parts.append(f"{name} ({', '.join(sizes_of(name))})\n{body}")
    return "\n\n".join(parts)


def _header(path: Path) -> dict[str, str]:
    """The comment at the top of a recipe as {first word: text}; continuation lines are indented."""
    found: dict[str, str] = {}
    key = ""
    for line in path.read_text("utf-8").splitlines():
        if not line.startswith("#"):
            break
        text = line.removeprefix("#").removeprefix(" ")
        word, _, rest = text.partition(" ")
        if text.startswith(" ") and key:
            found[key] += " " + text.strip()
        elif rest.startswith(" "):
            key, found[word] = word, rest.strip()
    return found


def plan_text(recipe: Recipe, runs: Path) -> str:
    teacher = parse_teacher(recipe.teacher)
    problems = _problem_count(recipe)
    lines = [yaml.safe_dump(recipe.model_dump(mode="json"), sort_keys=False, allow_unicode=True, width=100)]
    lines.append(f"run        {runs / recipe.run_name()}")
    lines.append(f"teacher    {recipe.teacher}")
    lines.append(f"problems   {f'{problems:,} at most' if problems else 'every row of the source'}")
    each = SHARD_ROWS * recipe.executor.shards_per_task
    lines.append(
        f"tasks      {f'{-(-problems // each):,} at most, ' if problems else ''}one for {each:,} problems, with --executor"
    )
    if teacher.kind in ("oracle", "replay"):
        lines.append("requests   none: this teacher runs no model")
    elif problems:
        requests = problems * recipe.sample.per_problem
        lines.append(
            f"requests   {requests:,} at most ({recipe.sample.per_problem} for each problem)" + _rounds_note(recipe, problems)
        )
        lines.append(f"tokens     {requests * recipe.sample.max_tokens:,} at most ({recipe.sample.max_tokens:,} an answer)")
    else:
        lines.append(f"requests   {recipe.sample.per_problem} for each problem, {recipe.sample.max_tokens:,} tokens at most")
    for label in recipe.labels:
        if label.judge:
            lines.append(
                f"labels     {label.judge}: {label.samples} for each problem that has no {label.given or label.name} of its own"
            )
    if recipe.verify.judge:
        lines.append(f"judge      {recipe.verify.judge}: one short request for each distinct answer that the rule rejects")
    return "\n".join(lines)


def _rounds_note(recipe: Recipe, problems: int) -> str:
    most = recipe.sample.most_per_problem()
    return f" in the first round, {problems * most:,} over all rounds ({most})" if recipe.sample.has_rounds() else ""


def _problem_count(recipe: Recipe) -> int | None:
    if recipe.source.kind == "hub":
        return recipe.limit
    if recipe.source.kind == "file":
        from curation.files import read_rows

        counted = sum(1 for path in recipe.source.paths for _ in read_rows(Path(path)))
    else:
        counted = recipe.source.count
    return min(counted, recipe.limit or counted)


def run_summary(folder: Path) -> str:
    """The funnel, the teachers, where things are and what to do next."""
    manifest = json.loads((folder / "manifest.json").read_text("utf-8"))
    funnel = json.loads((folder / "funnel.json").read_text("utf-8"))
    rows = manifest["dataset"]["rows"]
    width = shutil.get_terminal_size().columns
    lines = [*_funnel_lines(funnel, width), "", *_teacher_lines(manifest["teachers"], width), ""]
    lines += _settled_lines(manifest["rounds"])
    for label in manifest.get("labels", []):
        said = f"{label['given']:,} given, {label['judge_labels']:,} by a model, {label['undetermined']:,} undetermined"
        lines.append(f"labels     {label['name']}: {said}: {folder / 'labels.parquet'}")
    lines.append(f"{rows:,} examples in {folder / 'dataset'}")
    for told in [*_unknown_teachers(folder, manifest["teachers"]), *_short_lines(folder, funnel)]:
        lines += textwrap.wrap(told, min(width, 132), subsequent_indent=" " * 11, break_long_words=False, break_on_hyphens=False)
    if any(manifest["audit"].values()):
        told = f"doubts     {doubts(manifest['audit'])}: {folder / 'audit.parquet'}"
        lines += textwrap.wrap(told, min(width, 132), subsequent_indent=" " * 11, break_long_words=False, break_on_hyphens=False)
    if rows:
        lines += [*_sample_lines(folder), f"look       factory view {folder}, or open {folder / 'report.html'}"]
        lines.append(f"card       {folder / 'README.md'}")
        lines.append(f"dropped    {folder / 'rejected'}: every row that is not in, with its reason")
        lines.append(f"load       datasets.load_dataset({str(folder)!r})")
        lines.append(f"publish    factory push {folder} OWNER/NAME")
    else:
        lines.append(f"no example survived: the funnel says where, {folder / 'rejected'} holds every row with its reason")
    failed = next((line["dropped"].get("request_failed", 0) for line in funnel if line["step"] == "sound"), 0)
    if failed and manifest["teacher"]["endpoint"]:
        lines.append(f"{failed:,} requests failed: the same command asks for those again")
    return "\n".join(lines)


def doubts(found: dict[str, int]) -> str:
    """How many golds the audit doubts, by kind."""
    refused, outvoted, conflicting = (found[kind] for kind in ("refused_gold", "outvoted_gold", "conflicting_golds"))
    return (
        f"{refused:,} golds that the verifier itself refuses, {outvoted:,} that most models vote against, "
        f"{conflicting:,} questions with golds in conflict"
    )


def _funnel_lines(funnel: list[dict[str, Any]], width: int) -> list[str]:
    """Four narrow columns, and the reasons in what is left of the terminal."""
    lines = [f"{'step':<14} {'unit':<9} {'in':>9} {'kept':>9}   dropped"]
    for line in funnel:
        # A no-break space: textwrap keeps the two together.
        dropped = ", ".join(f"{n:,}\u00a0{reason}" for reason, n in line["dropped"].items()) or "-"
        if "rescued" in line:
            dropped += f" (of the kept, {line['rescued']:,} rejected by the rule and accepted by the judge)"
        if "repeated" in line:
            dropped += f" (and {line['repeated']:,} of the kept stand again)"
        parts = textwrap.wrap(dropped, max(32, min(width, 132) - 47), break_long_words=False, break_on_hyphens=False)
        first, *rest = (part.replace("\u00a0", " ") for part in parts)
        lines.append(f"{line['step']:<14} {line['unit']:<9} {line['in']:>9,} {line['kept']:>9,}   {first}")
        lines += [" " * 47 + more for more in rest]
    return lines


def _settled_lines(rounds: list[dict[str, int]]) -> list[str]:
    """What adaptive sampling found out, and what it paid for problems that it could not settle."""
    if not rounds or "inside" not in rounds[0]:
        return []
    sums = {key: sum(r[key] for r in rounds) for key in rounds[0]}
    found = ", ".join(f"{sums[word]:,} {word.replace('_', ' ')}" for word in ("inside", "too_easy", "too_hard"))
    left = rounds[0]["problems"] - sums["inside"] - sums["too_easy"] - sums["too_hard"]
    cost = f"{left:,} undecided took {sums['undecided_traces']:,} of {sums['traces']:,} samples"
    return [f"pass rates settled: {found}; {cost} and {sums['undecided_tokens']:,} tokens", ""]


def _unknown_teachers(folder: Path, teachers: list[dict[str, Any]]) -> list[str]:
    """The names in choose.teachers of whom no trace is here: misspelt, or absent from so small a run, which only a person knows."""
    named = json.loads((folder / "recipe.json").read_text("utf-8"))["choose"]["teachers"]
    there = [t["teacher"] for t in teachers]
    strange = [name for name in named if name not in there]
    return [f"unknown    no trace is of {', '.join(strange)} (choose.teachers); there are {', '.join(there)}"] if strange else []


def _short_lines(folder: Path, funnel: list[dict[str, Any]]) -> list[str]:
    """What `select` asked for and did not get: a pool that is too small is told, as nothing told s1's readers of 393 for 1,000."""
    if not (folder / "selection.json").is_file():
        return []
    states = json.loads((folder / "selection.json").read_text("utf-8"))
    kept = {line["step"].partition(":")[0]: line["kept"] for line in funnel if line["unit"] == "examples"}  # of its last stage
    lines = []
    for state, (name, rows) in zip(states, kept.items(), strict=True):
        size = None if state["settings"].get("quotas") else state["settings"].get("size")
        short = [f"{rows:,} of {size:,} rows"] if size and rows < size else []
        short += [f"{group} {got:,} of {asked:,}" for group, got, asked in _scarce_groups(state, size)]
        if short:
            lines.append(f"short      {name}: {', '.join(short)}: no more were there to take")
    return lines


def _scarce_groups(state: dict[str, Any], size: int | None) -> list[tuple[str, int, int]]:
    """(group, rows, rows that its quota or weight asked for) of the groups of a mixture that were too small."""
    quotas, weights, offered = (state["settings"].get("quotas"), state["settings"].get("weights"), state.get("offered", {}))
    if size and offered:
        whole = sum(weights.values()) if weights else len(offered)
        quotas = {group: int(size * (weights[group] if weights else 1) / whole) for group in offered}
    return [(group, state["wanted"][group], asked) for group, asked in (quotas or {}).items() if state["wanted"][group] < asked]


def _sample_lines(folder: Path) -> list[str]:
    """Three examples, the first, one in the middle and the last: question, gold and the beginning of the thinking."""
    shards = sorted((folder / "dataset").glob("*.parquet"))
    shown = [(shards[0], 0.0), (shards[len(shards) // 2], 0.5), (shards[-1], 1.0)]
    width = min(shutil.get_terminal_size().columns, 132)
    lines = []
    for row in (_row_at(shard, place) for shard, place in shown):
        gold = _one_line(f"  = {_tail(row['answer'] or '-', 24)}", 40)
        said = row["messages"][-1]["content"]
        lines += [_one_line(f"  {row['problem'][:width]}", width - len(gold)) + gold, _one_line(f"    {said[: 4 * width]}", width)]
    return lines


def _tail(raw: str, length: int) -> str:
    """The end of a long gold: of a whole solution, where the answer stands."""
    line = " ".join(raw.split())
    return line if len(line) <= length else f"…{line[-length:]}"


def _row_at(shard: Path, place: float) -> dict[str, Any]:
    scan = pl.scan_parquet(shard).select("problem", "answer", "messages")
    rows = scan.select(pl.len()).collect().item()
    return scan.slice(int(place * (rows - 1)), 1).collect().row(0, named=True)


def _one_line(raw: str, width: int) -> str:
    indent = len(raw) - len(raw.lstrip(" "))
    # Model text goes to a terminal: control and bidirectional characters would move its cursor or turn its lines around.
    line = " ".join(visible(raw).split())
    room = width - indent
    return " " * indent + (line if len(line) <= room else line[: room - 1] + "…")


def _teacher_lines(teachers: list[dict[str, Any]], columns: int) -> list[str]:
    keys = ("traces", "faulty", "correct", "incorrect", "undetermined")
    width = min(max([len(t["teacher"]) for t in teachers] + [7]), max(12, columns - 13 * len(keys) - 1))
    head = f"{'teacher':<{width}} " + " ".join(f"{k:>12}" for k in keys)
    return [head, *(f"{_one_line(t['teacher'], width):<{width}} " + " ".join(f"{t[k]:>12,}" for k in keys) for t in teachers)]


def push_summary(result: PushResult) -> str:
    """Where it is, and what was, or in a dry run would be, uploaded and deleted."""
    if result.commit is None:
        changes = [f"upload     {path}" for path in result.uploaded] + [f"delete     {path}" for path in result.deleted]
        wish = (
            f"a dry run: {len(result.uploaded)} files to upload, {len(result.deleted)} to delete, {len(result.unchanged)} unchanged"
        )
        return "\n".join([result.url, wish, *changes])
    counts = f"{len(result.uploaded)} files, {len(result.deleted)} deleted, {len(result.unchanged)} unchanged"
    return "\n".join([result.url, f"uploaded   {counts}", f"tag        {result.tag}"])
