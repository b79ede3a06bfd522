"""`factory run`: the stages of a pipeline in order, each once. Its folder and pipeline.json are described in factory.pipeline."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any, NamedTuple

from cards.view.pipeline_page import write_pipeline_report
from curation.errors import UserError
from curation.files import write_atomic
from curation.records import content_id
from factory.pipeline import Loaded, Stage, references
from factory.pipeline_check import obstacles, require_clear
from factory.pipeline_stages import Context, files_of, perform, shown_settings
from factory.pipeline_training import gpus
from factory.progress import say
from factory.run import locked
from factory.steps import file_digest

RECORD = "pipeline.json"
Entry = dict[str, Any]  # of a stage in pipeline.json


class Place(NamedTuple):
    folder: Path
    runs: Path


def run_pipeline(loaded: Loaded, *, runs: Path, out: Path | None, workers: int, command: str) -> Path:
    """Do what is not done yet of a pipeline, and return its folder.

    A stage is done again where its settings or what it takes have changed; one that is done is a no-op. Killed at any moment and
    called again, it goes on where the stage's own command does. Raises UserError, before a stage is started, with a line for each
    thing that would stop one (factory.pipeline_check), and whatever a stage raises; what is finished is kept.
    """
    place = Place(out or runs / loaded.name, runs)
    require_clear(loaded, _done(loaded, place.folder))
    place.folder.mkdir(parents=True, exist_ok=True)
    with locked(place.folder):
        record = _opened(loaded, place.folder, command)
        try:
            for stage, entry in zip(loaded.pipeline.stages, record["stages"], strict=True):
                _once(stage, entry, record, loaded, place, Context(runs, command, workers, _folders(record, place), loaded.home))
            record["state"] = "done"
        except BaseException as error:
            record["state"] = "interrupted" if isinstance(error, KeyboardInterrupt) else "failed"
            raise
        finally:
            _write(record, place.folder)
    write_pipeline_report(place.folder)
    return place.folder


def _opened(loaded: Loaded, folder: Path, command: str) -> dict[str, Any]:
    """The record as it will be written: what earlier calls finished stays in it until its stage is looked at."""
    old = _read(folder)
    before = {entry["name"]: entry for entry in old.get("stages", [])}
    entries = [{**_waiting(stage), **_finished(before.get(stage.name))} for stage in loaded.pipeline.stages]
    pipeline = loaded.pipeline
    return {
        "pipeline": 1,
        "name": pipeline.name,
        "size": pipeline.size,
        "description": pipeline.description,
        "command": command,
        "state": "running",
        "created": old.get("created") or _now(),
        "updated": _now(),
        "stages": entries,
    }


def _read(folder: Path) -> dict[str, Any]:
    path = folder / RECORD
    found: dict[str, Any] = json.loads(path.read_text("utf-8")) if path.is_file() else {}
    return found


def _waiting(stage: Stage) -> Entry:
    empty = dict.fromkeys(("key", "folder", "digest", "started", "finished", "seconds", "error"))
    return {
        "name": stage.name,
        "does": stage.does,
        "state": "waiting",
        "inputs": references(stage),
        "settings": shown_settings(stage),
        "facts": {},
        **empty,
    }


def _finished(entry: Entry | None) -> Entry:
    kept = ("state", "key", "folder", "digest", "started", "finished", "seconds", "facts")
    return {name: entry[name] for name in kept} if entry is not None and entry["state"] == "done" else {}


def _once(stage: Stage, entry: Entry, record: dict[str, Any], loaded: Loaded, place: Place, context: Context) -> None:
    key = stage_key(stage, {e["name"]: e["digest"] for e in record["stages"]}, loaded.home)
    if entry["state"] == "done" and entry["key"] == key and (place.folder / str(entry["folder"])).is_dir():
        say(f"{stage.name}: done")
        return
    folder = f"{stage.name}-{key[:8]}"
    entry |= {"state": "running", "key": key, "folder": folder, "started": _now(), "error": None, "facts": {}}
    _write(record, place.folder)
    say(f"{stage.name}: {stage.does}")
    began = time.monotonic()
    try:
        left = perform(stage, place.folder / folder, context)
    except BaseException as error:
        entry |= {"state": "failed", "finished": _now(), "error": _sentence(error)}
        raise
    seconds = round(time.monotonic() - began, 1)
    entry |= {"state": "done", "finished": _now(), "seconds": seconds, "digest": left.digest, "facts": left.facts}
    _write(record, place.folder)


def stage_key(stage: Stage, digests: dict[str, str], home: Path) -> str:
    """The key of a stage: its settings, what the stages it takes have left, and the bytes of the files it names."""
    inputs = [[name, digests[name]] for name in references(stage)]
    files = [file_digest(file) for file in files_of(stage, home)]
    return content_id(stage.model_dump(mode="json"), inputs, files)


def _folders(record: dict[str, Any], place: Place) -> dict[str, Path]:
    return {e["name"]: place.folder / str(e["folder"]) for e in record["stages"] if e["folder"]}


def _sentence(error: BaseException) -> str:
    return str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}"


def _write(record: dict[str, Any], folder: Path) -> None:
    record["updated"] = _now()
    write_atomic(folder / RECORD, json.dumps(record, indent=1, ensure_ascii=False) + "\n")


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def plan_text(loaded: Loaded, *, runs: Path, out: Path | None) -> str:
    """The stages, what each takes, which are done, and what would stop the others, without doing any."""
    folder = out or runs / loaded.name
    done = _done(loaded, folder)
    lines = [f"{loaded.name}: {loaded.pipeline.description}"]
    for stage in loaded.pipeline.stages:
        state = "done" if stage.name in done else "to do"
        values = {key: value for key, value in shown_settings(stage).items() if key != "set"}
        told = ", ".join(f"{key} {value if isinstance(value, str) else ' '.join(value)}" for key, value in values.items())
        changed = ", ".join(f"{key}={json.dumps(value)}" for key, value in stage.set.items())
        lines.append(f"{state:<6} {stage.name:<22} {stage.does:<8} {told}{f' ({changed})' if changed else ''}")
    return "\n".join([*lines, f"in {folder}", *(f"it cannot run yet: {one}" for one in obstacles(loaded, done, gpus()))])


def _done(loaded: Loaded, folder: Path) -> set[str]:
    """The stages that a run would find done: finished with these settings, inputs and files."""
    before = {entry["name"]: entry for entry in _read(folder).get("stages", [])}
    digests, done = dict[str, str](), set[str]()
    for stage in loaded.pipeline.stages:
        entry = before.get(stage.name)
        if entry is None or entry["state"] != "done" or not set(references(stage)) <= done:
            continue
        whole = (folder / str(entry["folder"])).is_dir() and all(f.is_file() for f in files_of(stage, loaded.home))
        if whole and entry["key"] == stage_key(stage, digests, loaded.home):
            digests[stage.name] = entry["digest"]
            done.add(stage.name)
    return done


def pipeline_summary(folder: Path) -> str:
    """What every stage left, in lines for a person; the scores of the examinations below, as one table."""
    record = _read(folder)
    lines = [f"{record['name']} {record['size']}: {record['state']}"]
    for entry in record["stages"]:
        told = ", ".join(f"{k} {v:,.4g}" for k, v in entry["facts"].items() if isinstance(v, int | float))
        lines.append(f"{entry['name']:<22} {entry['does']:<8} {entry['seconds'] or 0:>7,.1f} s  {told}".rstrip())
    examined = [e for e in record["stages"] if e["facts"].get("suites")]
    suites = dict.fromkeys(name for entry in examined for name in entry["facts"]["suites"])
    lines += [line for name in suites for line in _scores(name, examined)]
    return "\n".join([*lines, f"in {folder}; {RECORD} has it all"])


def _scores(suite: str, examined: list[Entry]) -> list[str]:
    """pass@1 of every examination on a suite, and what it gains over the one it is held against."""
    found = {entry["name"]: entry["facts"]["suites"][suite] for entry in examined if suite in entry["facts"]["suites"]}
    questions = " or ".join(f"{count:,}" for count in sorted({one["questions"] for one in found.values()}))
    head = f"{'stage':<22} {'pass@1':>7} {'95 percent':>17} {'rise':>8} {'95 percent':>17} {'p':>8}  over"
    lines = ["", f"{suite}: {questions} questions; rises are paired, question by question", head]
    for name, one in found.items():
        line = f"{name:<22} {one['pass@1']:>7.1%} {_ends(one['interval'], ''):>17}"
        if gap := one["against"]:
            line += f" {gap['difference']:>+8.1%} {_ends(gap['interval'], '+'):>17} {gap['p_value']:>8.2g}  {gap['stage']}"
        lines.append(line)
    return [*lines, ""]


def _ends(interval: list[float], sign: str) -> str:
    return " to ".join(f"{end:{sign}.1%}" for end in interval)
