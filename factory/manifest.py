"""What made a run, so that another machine can make it again and a person can tell two runs apart."""

from __future__ import annotations

import importlib.metadata
import platform
import subprocess
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from curation.records import content_id
from factory.judge import PROMPT_VERSION
from factory.recipe import Recipe
from factory.rounds import NO_LIMIT, price_for
from factory.sampling import effective
from factory.spending import spent_in
from factory.steps import Piece, file_digest
from factory.teachers import parse_teacher
from factory.tracing import to_sampling

if TYPE_CHECKING:
    from factory.build import Pieces

# Everything whose version can change a byte of the data.
LIBRARIES = (
    "aiohttp",
    "datasets",
    "huggingface-hub",
    "latex2sympy2-extended",
    "math-verify",
    "numpy",
    "polars",
    "pyarrow",
    "pydantic",
    "sympy",
    "torch",
    "transformers",
)


def manifest(folder: Path, recipe: Recipe, pieces: Pieces, every: Sequence[Piece], command: str) -> dict[str, Any]:
    read, _, decontaminated, *rest = pieces.cleaning
    return {
        "factory": importlib.metadata.version("cot-factory"),
        "recipe_hash": content_id(recipe.model_dump(mode="json")),
        "created": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "command": command,
        "teacher": _teacher(recipe, pieces),
        "teachers": _by_teacher(pieces),
        "answered": _answered(pieces),
        "sources": read.facts["sources"],
        "benchmarks": decontaminated.facts["benchmarks"],
        "embeddings": _embeddings(every),
        "seeds": {
            "source": getattr(recipe.source, "seed", None),
            "sample": recipe.sample.seed,
            "choose": recipe.choose.seed,
        },
        "verifier": _verifiers(pieces),
        "judge": _judge(pieces),
        "labels": [label for piece in rest for label in piece.facts.get("labels", [])],
        "audit": pieces.audit.facts["found"],
        "tokens": {kind: sum(j.traces.facts[f"{kind}_tokens"] for j in pieces.judged) or None for kind in ("prompt", "completion")},
        "cost": _cost(recipe, pieces),
        "spent": spent_in(folder),  # by this run: with lost and repeated answers and the judge's, without what was there already
        "rounds": _rounds(pieces),
        "libraries": _versions(),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "git": _git(),
        "steps": [_step(piece) for piece in every],
        "dataset": _dataset(folder / "dataset"),
    }


def _embeddings(every: Sequence[Piece]) -> list[dict[str, Any]]:
    """Which models made vectors for what, and their revisions; of shards alike once."""
    listed = [one for piece in every for one in piece.facts.get("embeddings", [])]
    return [one for at, one in enumerate(listed) if one not in listed[:at]]


def _teacher(recipe: Recipe, pieces: Pieces) -> dict[str, Any]:
    teacher = parse_teacher(recipe.teacher)
    if pieces.replay:
        identity = pieces.replay.facts["identity"]
        return {"spec": recipe.teacher, "model": "replay", "revision": identity, "endpoint": "", "sampling": {}}
    sampling = {} if teacher.kind == "oracle" else effective(to_sampling(recipe.sample))
    first = next((t for j in pieces.judged for t in pl.read_parquet(j.traces.folder / "traces.parquet").head(1).to_dicts()), {})
    known = {key: first.get(key, "") for key in ("revision", "endpoint")}
    return {"spec": recipe.teacher, "model": teacher.model or teacher.kind, **known, "sampling": sampling}


def _cost(recipe: Recipe, pieces: Pieces) -> dict[str, Any] | None:
    """What the traces of this run cost at the known price, whenever and by whatever run they were bought."""
    teacher = parse_teacher(recipe.teacher)
    price = None if teacher.kind in ("oracle", "replay") else price_for(recipe, teacher, NO_LIMIT)
    if price is None:
        return None
    prompt, completion = (sum(j.traces.facts[f"{kind}_tokens"] for j in pieces.judged) for kind in ("prompt", "completion"))
    usd = round((prompt * price.input_usd + completion * price.output_usd) / 1e6, 6)
    # Of a server that counts no tokens the cost is not known; what was spent is guessed by the length ("spent").
    return {"usd": usd if completion else None, "price": price._asdict()}


def _rounds(pieces: Pieces) -> list[dict[str, int]]:
    """Problems, solved ones, traces and tokens of each round, over all shards; empty where there is one round only."""
    shards = [j.traces.facts.get("rounds", []) for j in pieces.judged]
    return [{key: sum(r[key] for r in same) for key in same[0]} for same in zip(*shards, strict=True)]


def _by_teacher(pieces: Pieces) -> list[dict[str, Any]]:
    """For each teacher: traces, those with a fault, and the verdicts on the others."""
    frame = pl.concat([pl.scan_parquet(j.verdicts.folder / "verdicts.parquet") for j in pieces.judged])
    counted = frame.group_by("teacher").agg(
        pl.len().alias("traces"),
        pl.col("fault").is_not_null().sum().alias("faulty"),
        (pl.col("judge") == "equivalent").sum().alias("rescued"),
        *((pl.col("outcome") == outcome).sum().alias(outcome) for outcome in ("correct", "incorrect", "undetermined")),
    )
    return counted.sort("teacher").collect().to_dicts()


def _answered(pieces: Pieces) -> list[dict[str, Any]]:
    """Which endpoint gave how many traces, under which name or version of the model: where it failed over, and to what."""
    frame = pl.concat([pl.scan_parquet(j.traces.folder / "traces.parquet") for j in pieces.judged])
    sampled = frame.filter((pl.col("endpoint") != "") & (pl.col("finish") != "error"))
    counted = sampled.group_by("teacher", "revision", "endpoint").agg(pl.len().alias("traces"))
    return counted.sort("teacher", "revision", "endpoint").collect().to_dicts()


def _judge(pieces: Pieces) -> dict[str, Any] | None:
    """Who gave second opinions, and how many of each verdict; None without a judge."""
    opinions = [one.verdicts.facts for one in pieces.judged if one.verdicts is not one.ruled]
    counts = sum((Counter(facts["judged"]) for facts in opinions), Counter[str]())
    return {**opinions[0]["judge"], "prompt": PROMPT_VERSION, "judged": dict(sorted(counts.items()))} if opinions else None


def _verifiers(pieces: Pieces) -> list[str]:
    """Name and version of everything that judged a trace of this run."""
    found = pl.concat([pl.scan_parquet(j.verdicts.folder / "verdicts.parquet").select("verifier") for j in pieces.judged])
    return sorted(found.drop_nulls().unique().collect()["verifier"])


def _versions() -> dict[str, str]:
    installed = {d.metadata["Name"].lower().replace("_", "-"): d.version for d in importlib.metadata.distributions()}
    return {name: installed[name] for name in LIBRARIES if name in installed}


def _git() -> dict[str, Any] | None:
    """Commit and cleanliness of the factory's own checkout; None when it is installed from a wheel."""
    home = Path(__file__).parent.parent
    if not (home / ".git").exists():
        return None
    commit = subprocess.run(["git", "-C", str(home), "rev-parse", "HEAD"], capture_output=True, text=True, check=False)
    status = subprocess.run(["git", "-C", str(home), "status", "--porcelain"], capture_output=True, text=True, check=False)
    return {"commit": commit.stdout.strip(), "dirty": bool(status.stdout.strip())}


def _step(piece: Piece) -> dict[str, Any]:
    lines = piece.facts.get("funnel", [])
    rows = {"rows_in": lines[0]["in"], "rows_out": lines[-1]["kept"]} if lines else {}
    seconds = round(piece.seconds, 3)
    return {
        "name": piece.name,
        "key": piece.key,
        "sha256": piece.digest,
        "seconds": seconds,
        "reused": piece.reused,
        **rows,
    }


def _dataset(folder: Path) -> dict[str, Any]:
    files = sorted(folder.glob("*.parquet"))
    listed = [{"path": f"dataset/{f.name}", "bytes": f.stat().st_size, "sha256": file_digest(f)} for f in files]
    return {"rows": sum(pl.scan_parquet(f).select(pl.len()).collect().item() for f in files), "files": listed}
