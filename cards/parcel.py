"""What is published of a folder: the files of a finished run, or of a model, as they go into a repository."""

from __future__ import annotations

import hashlib
import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal, NamedTuple

import polars as pl

from cards.dataset_card import HAND_OPEN, keep_hand_written, render
from cards.licenses import clashes
from cards.model_card import TRAINING_MANIFEST, render_model_card
from cards.public import public_json
from cards.run_facts import read_json, whole
from cards.training_sections import training_licenses, training_teachers
from curation.errors import UserError

# What is published. Not traces/, problems/ and verdicts/: each generation, problem and verdict of the set is in dataset/
# already and what was dropped is in rejected/, so the working tables would only double the bytes. Names with a leading
# dot are locks and half-written files. Not report.html: the Hub shows no HTML, and it holds nothing that is not in the tables.
_EVIDENCE = (
    "contamination.parquet",
    "duplicates.parquet",
    "trace_duplicates.parquet",
    "audit.parquet",
    "difficulty.parquet",
    "labels.parquet",
)  # those that a run has
_RECORDS = ("recipe.json", "manifest.json", "selection.json")  # published without the paths of the machine that wrote them
_FILES = ("README.md", "funnel.svg", "funnel.json", *_RECORDS, *_EVIDENCE)
_FOLDERS = ("dataset", "rejected")
_WEIGHTS = (".safetensors", ".bin", ".gguf")
# What training leaves beside a model and nobody needs who uses it.
_WORKING = ("optimizer.pt", "scheduler.pt", "rng_state.pth", "training_args.bin", "trainer_state.json", "report.html")


class Content(NamedTuple):
    data: Path | bytes
    size: int  # bytes
    sha256: str  # taken once: a run can be hundreds of gigabytes


class Parcel(NamedTuple):
    kind: Literal["dataset", "model"]
    files: dict[str, Content]  # by path in the repository
    digest: str  # 16 hexadecimal digits that name this content in the tag

    def owns(self, path: str) -> bool:
        """Is `path`, a file in the repository, one that a push wrote and may take away? In a model's, only weights are."""
        if self.kind == "model":
            return path.endswith(_WEIGHTS)
        return path in _FILES or path.split("/")[0] in _FOLDERS


def parcel(folder: Path, allow_license_clash: bool) -> Parcel:
    """The parcel of a finished run, or of a folder with config.json and weights.

    Raises UserError for a folder that is neither, a run that was edited, and licences that clash unless that is allowed; then
    the published manifest and card say so.
    """
    if (folder / "config.json").is_file():
        return _model_parcel(folder, allow_license_clash)
    manifest = _finished(folder)
    teachers = pl.scan_parquet(folder / "dataset" / "*.parquet").select(pl.col("teacher").cast(pl.String).unique())
    licenses = [s["license"] for s in manifest["sources"]]
    with whole(folder):
        named = teachers.collect()["teacher"].to_list()
    recorded = _clash(folder, licenses, named, allow_license_clash)
    files = _local_files(folder, manifest, recorded)
    return Parcel("dataset", files, files["manifest.json"].sha256[:16])


def _model_parcel(folder: Path, allow_license_clash: bool) -> Parcel:
    paths = [p for p in sorted(folder.rglob("*")) if p.is_file() and p.name not in _WORKING]
    named = {p.relative_to(folder).as_posix(): p for p in paths}
    kept = {name: p for name, p in named.items() if "/." not in f"/{name}" and not name.startswith("checkpoint-")}
    if not any(name.endswith(_WEIGHTS) for name in kept):
        raise UserError(f"{folder} holds no weights: wanted a model folder with config.json and {', '.join(_WEIGHTS)} files")
    recorded: dict[str, Any] = {}
    if TRAINING_MANIFEST in kept:
        found = read_json(folder, TRAINING_MANIFEST)
        recorded = _clash(folder, training_licenses(found), training_teachers(found), allow_license_clash)
    files = contents(kept)
    if TRAINING_MANIFEST in kept:
        files[TRAINING_MANIFEST] = content(_public_record(folder, TRAINING_MANIFEST, recorded))
    files["README.md"] = content(_model_card(folder, recorded).encode())
    listing = json.dumps(sorted((name, c.sha256) for name, c in files.items() if name != "README.md"))
    return Parcel("model", files, hashlib.sha256(listing.encode()).hexdigest()[:16])


def _finished(run: Path) -> dict[str, Any]:
    """The manifest of a run that can be published. Raises UserError where it is not finished or has no example."""
    manifest: dict[str, Any] = read_json(run, "manifest.json")
    if not (run / "README.md").is_file():
        raise UserError(f"{run} is not a finished run: it has no README.md; finish it with `factory build`")
    if not manifest["dataset"]["rows"]:
        raise UserError(f"{run} has no example to publish: its funnel.json says where the rows went, rejected/ holds them")
    return manifest


def _local_files(run: Path, manifest: dict[str, Any], recorded: dict[str, Any]) -> dict[str, Content]:
    """What is to be published, by its path in the repository. Raises UserError where the run was edited."""
    inside = [p for folder in _FOLDERS for p in (run / folder).rglob("*")]
    paths = [p for p in [*(run / name for name in _FILES), *inside] if p.is_file()]
    named = {path.relative_to(run).as_posix(): path for path in sorted(paths)}
    local = contents({name: path for name, path in named.items() if "/." not in f"/{name}"})
    local |= {name: content(_public_record(run, name, {})) for name in _RECORDS if name in local}
    if recorded:
        local["manifest.json"] = content(_public_record(run, "manifest.json", recorded))
        local["README.md"] = content(keep_hand_written(render(run, recorded), (run / "README.md").read_text("utf-8")).encode())
    promised = {f["path"]: f["sha256"] for f in manifest["dataset"]["files"]}
    held = {name: content.sha256 for name, content in local.items() if name.startswith("dataset/")}
    for name in sorted(promised | held):
        if held.get(name) != promised.get(name):
            raise UserError(f"{run / name} is not the file that manifest.json lists: build the run again")
    return local


def _public_record(run: Path, name: str, recorded: dict[str, Any]) -> bytes:
    return (json.dumps(public_json(read_json(run, name) | recorded), indent=1, ensure_ascii=False) + "\n").encode()


def _model_card(folder: Path, recorded: dict[str, Any]) -> str:
    """The card there, where a person wrote it; else ours, anew, with the part in it that a person wrote."""
    path, card = folder / "README.md", render_model_card(folder, recorded)
    if not path.is_file():
        return card
    there = path.read_text("utf-8")
    return keep_hand_written(card, there) if HAND_OPEN in there else there


def _clash(folder: Path, licenses: list[str], teachers: list[str], allowed: bool) -> dict[str, Any]:
    """What the published manifest records of licences that clash; empty where none do. Raises UserError unless it is allowed."""
    found = clashes(licenses, teachers)
    if found and not allowed:
        raise UserError(
            f"{folder} is not published, since what it is made of does not go together: {'; '.join(found)}. "
            "Build it without one of them, or publish it all the same with --allow-license-clash"
        )
    return {"license_clash_allowed": list(found)} if found else {}


def contents(paths: dict[str, Path]) -> dict[str, Content]:
    """Files with their SHA-256, taken once and on every core: it is what a push of many gigabytes does before the first byte."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return dict(zip(paths, pool.map(content, paths.values()), strict=True))


def content(data: Path | bytes) -> Content:
    """A file, or bytes, with its size and SHA-256."""
    if isinstance(data, bytes):
        return Content(data, len(data), hashlib.sha256(data).hexdigest())
    with data.open("rb") as file:
        return Content(data, data.stat().st_size, hashlib.file_digest(file, "sha256").hexdigest())
