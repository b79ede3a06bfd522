"""`factory distill`: a run's examples become a student. Tokens, gate, training, gate again, manifest."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import shutil
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cards.view.training_page import write_training_report
from curation.errors import UserError
from curation.files import write_atomic
from curation.records import content_id
from factory.beside import shown_beside
from factory.progress import PLAIN_EVERY_S, say
from factory.recipe import CONFIGS
from factory.run import locked
from factory.steps import Piece
from factory.teachers import identity as identify
from factory.teachers import keeper, parse_teacher
from factory.tokenising import Examples, gate_cases, left_out, open_examples, tokenise
from training.launch import launch
from training.mfu import lengths, read_shape
from training.parity import check, probes, replaced, require
from training.plan import resolved
from training.processes import Means
from training.settings import load
from training.sft import Trained, last_checkpoint, liger_installed, train
from training.sft_settings import SftSettings
from training.students import Student, find_student, open_student, require_weights
from training.visible import hardware as visible_hardware

LIBRARIES = ("accelerate", "cot-factory", "datasets", "numpy", "safetensors", "tokenizers", "torch", "transformers", "trl")
MANIFEST = "training_manifest.json"
DEEPSPEED = CONFIGS / "deepspeed"
KEEPER = (sys.executable, "-I", str(Path(keeper.__file__)))


def distill(
    where: str, student: str, config: str | None, assignments: Sequence[str], *, runs: Path, out: Path | None, command: str
) -> Path:
    """Train `student` on the examples of a run or data set; return the model's folder, which hf: and vLLM load.

    Killed and called again, it goes on from the last checkpoint; finished, it is a no-op. Raises UserError, before a step is
    trained, for everything in which training and serving come apart (training.parity).
    """
    settings = load(SftSettings, assignments, config_path(config) if config else None)
    _check_installed()
    examples = open_examples(where)
    revision = identify(parse_teacher(f"hf:{student}")).revision
    name = f"{Path(student).name}-{config_name(config)}-{content_id(examples.digest, student, revision, settings.model_dump())[:8]}"
    folder = out or runs / "students" / name
    work = runs / "students" / f".{name}"
    if (folder / MANIFEST).is_file():
        refuse_other(folder, name)
        return folder
    refuse_unfinished(folder)
    work.mkdir(parents=True, exist_ok=True)
    with locked(work), shown_beside(work, folder):
        opened = open_student(student, settings, work / "served", weights=False)
        rows = tokenise(runs / ".steps", examples, opened, settings.max_length, settings.outcomes)
        cases = gate_cases(rows)
        found = [*replaced(opened.base, opened.tokenizer, probes(cases)), *check(cases, work / "served", opened.tokenizer)]
        require(found, "before training")
        files = sorted(rows.folder.glob("rows-*.parquet"))
        decided = resolved(read_shape(opened.base), settings, visible_hardware(), lengths(files), liger_installed=liger_installed())
        find_student(student)  # its weights, now that they are needed
        require_weights(opened)
        if last := last_checkpoint(work / "checkpoints"):
            say(f"train: going on from {last.name}")
        fresh = work / "model"
        shutil.rmtree(fresh, ignore_errors=True)
        if decided.strategy == "single":
            trained = train(files, opened, decided, work, fresh, _teller())
        else:
            trained = launch(files, opened, decided, work, fresh, _teller(), Means(KEEPER, DEEPSPEED))
        require(check(cases, fresh, opened.tokenizer), "after training")
        record = _manifest(examples, opened, decided, config_name(config), rows, trained, command) | {
            "name": name,
            "revision": revision,
        }
        write_atomic(fresh / MANIFEST, json.dumps(record, indent=1, ensure_ascii=False) + "\n")
        write_training_report(fresh)
        put(fresh, folder)
    shutil.rmtree(work)  # checkpoints hold the optimiser's state: four times the model
    return folder


def config_name(config: str | None) -> str:
    # Not the stem: that of r1-distill-1.5b is r1-distill-1.
    return Path(config).name.removesuffix(".yaml").removesuffix(".yml").removeprefix("sft-") if config else "default"


def config_path(config: str) -> Path:
    """A shipped preset by name, or a YAML file by path. Raises UserError with those there are."""
    path = Path(config) if config.endswith((".yaml", ".yml")) else CONFIGS / "training" / f"sft-{config}.yaml"
    if not path.is_file():
        known = ", ".join(sorted(p.stem.removeprefix("sft-") for p in (CONFIGS / "training").glob("sft-*.yaml")))
        raise UserError(f"no training config {config!r}: wanted {known} or the path of a .yaml file")
    return path


def _check_installed() -> None:
    for package in ("torch", "transformers", "trl"):
        try:
            importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            raise UserError(f"distill needs {package}, which is not installed: pip install 'cot-factory[train]'") from None


def refuse_other(folder: Path, name: str) -> None:
    found = json.loads((folder / MANIFEST).read_text("utf-8"))["name"]
    if found != name:
        raise UserError(f"{folder} holds another student ({found}): choose another --out, or remove it")


def refuse_unfinished(folder: Path) -> None:
    """Raise UserError, before days of training, where the model could not be put at their end."""
    if folder.exists():
        raise UserError(f"{folder} is there and holds no finished student: choose another --out, or remove it")


def put(fresh: Path, folder: Path) -> None:
    if folder.exists():
        raise UserError(f"{folder} is there and holds no finished student: the trained one is in {fresh}; choose another --out")
    folder.parent.mkdir(parents=True, exist_ok=True)
    shutil.move(fresh, folder)


def _teller() -> Any:
    last = [0.0]

    def tell(line: dict[str, Any]) -> None:
        if time.monotonic() - last[0] >= PLAIN_EVERY_S or line["step"] == line["steps"]:
            last[0] = time.monotonic()
            rate = f"lr {line['learning_rate']:.2g}, {line['tokens_per_second']:,.0f} tokens/s"
            share = f", MFU {line['mfu']:.0%}" if "mfu" in line else ""
            say(f"train: step {line['step']:,} of {line['steps']:,}, loss {line['loss']:.4f}, {rate}{share}")

    return tell


def _manifest(
    examples: Examples, student: Student, settings: SftSettings, config: str, rows: Piece, trained: Trained, command: str
) -> dict[str, Any]:
    run = examples.run or {}
    return {
        "factory": importlib.metadata.version("cot-factory"),
        "method": "sft",
        "created": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "command": command,
        "base": {"name": student.name, "commit": student.revision},
        "data": {
            "name": examples.name,
            "digest": examples.digest,
            "recipe_hash": run.get("recipe_hash"),
            "run_state": run.get("state"),
            "sources": run.get("sources"),
            "teacher": run.get("teacher"),
            **rows.facts["funnel"][0],
            "tokens": rows.facts["tokens"],
            "learned_tokens": rows.facts["learned_tokens"],
        },
        "config": config,
        "settings": settings.model_dump(mode="json"),
        "end_of_turn": student.turn.end_token,
        "gate": "passed before and after",
        "training": trained._asdict(),
        "libraries": {name: importlib.metadata.version(name) for name in LIBRARIES},
        "python": platform.python_version(),
        "hardware": hardware(settings.processes or 1),
    }


def hardware(processes: int = 1) -> dict[str, Any]:
    """What it was trained on; one process a GPU."""
    import torch

    gpu = torch.cuda.get_device_name(0) if torch.cuda.is_available() else None
    return {"gpu": gpu, "gpus": processes if gpu else 0, "cpus": os.cpu_count(), "platform": platform.platform()}


def student_summary(folder: Path) -> str:
    """What was trained, in lines for a person."""
    made = json.loads((folder / MANIFEST).read_text("utf-8"))
    data, trained = made["data"], made["training"]
    dropped = left_out(data["dropped"], made["settings"]["outcomes"])
    return "\n".join(
        (
            f"{made['base']['name']} on {data['kept']:,} of {data['in']:,} examples of {data['name']}"
            + (f" (left out: {dropped})" if dropped else ""),
            f"{trained['steps']:,} steps, {trained['tokens']:,} tokens; loss {trained['first_loss']:.3f} at first, "
            f"{trained['last_loss']:.3f} at last; parity gate {made['gate']}",
            f"written to {folder}; try it: factory eval {folder} --suite FILE_OR_RUN",
        )
    )
