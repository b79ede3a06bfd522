"""`factory grpo`: a student learns by trying a run's problems. Prompts, gate, training, gate again, manifest."""

from __future__ import annotations

import importlib.metadata
import json
import platform
import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cards.view.training_page import write_training_report
from curation.errors import UserError
from curation.files import write_atomic
from curation.records import content_id
from factory.beside import shown_beside
from factory.distilling import DEEPSPEED, KEEPER, LIBRARIES, MANIFEST, hardware, put, refuse_other, refuse_unfinished
from factory.progress import PLAIN_EVERY_S, say
from factory.prompting import Questions, ask, gate_cases, open_questions, prompts_of
from factory.recipe import CONFIGS
from factory.run import locked
from factory.steps import Piece
from factory.teachers import identity as identify
from factory.teachers import parse_teacher
from training.grpo import Reinforced, reinforce
from training.grpo_engine import choose_engine
from training.grpo_memory import checkpoints_bytes, laid_out
from training.grpo_settings import GrpoSettings
from training.mfu import Shape, read_shape
from training.parity import check, probes, replaced, require
from training.processes import Means
from training.rendering import THINK
from training.reward_mix import mixed
from training.settings import load
from training.sft import last_checkpoint
from training.sft_settings import SftSettings
from training.students import Student, find_student, open_student, require_weights, window_of
from training.visible import hardware as visible_hardware


def grpo(
    where: str, student: str, config: str | None, assignments: Sequence[str], *, runs: Path, out: Path | None, command: str
) -> Path:
    """Train `student` on the problems of a run or data set; return the model's folder, which hf: and vLLM load.

    Killed and called again, it goes on from the last checkpoint of its stage; finished, it is a no-op. Raises UserError, before a
    step is trained, for everything in which training and serving come apart (training.parity), and while it trains where it has
    stopped to teach (training.health).
    """
    settings = load(GrpoSettings, assignments, config_path(config) if config else None)
    mixed(settings)  # a misspelt reward says so before anything is loaded
    engine = choose_engine(settings)
    say(f"grpo: answers are sampled with {engine}")
    questions = open_questions(where)
    revision = identify(parse_teacher(f"hf:{student}")).revision
    digest = content_id(questions.digest, student, revision, settings.model_dump())[:8]
    name = f"{Path(student).name}-{config_name(config)}-{digest}"
    folder, work = out or runs / "students" / name, runs / "students" / f".{name}"
    if (folder / MANIFEST).is_file():
        refuse_other(folder, name)
        return folder
    refuse_unfinished(folder)
    work.mkdir(parents=True, exist_ok=True)
    with locked(work), shown_beside(work, folder):
        opened = open_student(student, _opening(settings), work / "served", weights=False)
        piece = ask(runs / ".steps", questions, opened, settings)
        _fits_window(opened, settings, piece)
        decided = _laid_out(opened, settings, piece, engine, work)
        _keeps_tags(opened)
        prompts = prompts_of(piece)
        cases = gate_cases(prompts, opened, settings)
        found = [*replaced(opened.base, opened.tokenizer, probes(cases)), *check(cases, work / "served", opened.tokenizer)]
        require(found, "before training")
        find_student(student)  # its weights, now that they are needed
        require_weights(opened)
        _say_resumed(work)
        fresh = work / "model"
        shutil.rmtree(fresh, ignore_errors=True)
        trained = reinforce(prompts, opened, decided, work, fresh, _teller(), engine=engine, means=Means(KEEPER, DEEPSPEED))
        require(check(cases, fresh, opened.tokenizer), "after training")
        record = _manifest(questions, opened, decided, config_name(config), piece, trained, engine)
        record |= {"name": name, "command": command, "revision": revision}
        write_atomic(fresh / MANIFEST, json.dumps(record, indent=1, ensure_ascii=False) + "\n")
        write_training_report(fresh)
        put(fresh, folder)
    shutil.rmtree(work)
    return folder


def config_name(config: str | None) -> str:
    # Not the stem: that of r1-distill-1.5b is r1-distill-1.
    return Path(config).name.removesuffix(".yaml").removesuffix(".yml").removeprefix("grpo-") if config else "grpo"


def config_path(config: str) -> Path:
    """A shipped preset by name, or a YAML file by path. Raises UserError with those there are."""
    path = (
        Path(config) if config.endswith((".yaml", ".yml")) else CONFIGS / "training" / f"grpo-{config.removeprefix('grpo-')}.yaml"
    )
    if not path.is_file():
        known = ", ".join(sorted(p.stem.removeprefix("grpo-") for p in (CONFIGS / "training").glob("grpo-*.yaml")))
        raise UserError(f"no training config {config!r}: wanted {known} or the path of a .yaml file")
    return path


def _opening(settings: GrpoSettings) -> SftSettings:
    return SftSettings(chat_template=settings.chat_template, pad_token=settings.pad_token)


def _fits_window(student: Student, settings: GrpoSettings, piece: Piece) -> None:
    """Raise UserError where the longest prompt and the longest completion do not fit into the model's window."""
    window = window_of(student.base)
    most = max(stage.max_completion_tokens for stage in settings.each_stage())
    longest = piece.facts["longest"]
    if window is not None and longest + most > window:
        raise UserError(
            f"the longest prompt of {longest:,} tokens and max_completion_tokens {most:,} are beyond the {window:,} positions of "
            f"{student.name}: lower max_completion_tokens or max_prompt_tokens, or raise the model's window first"
        )


def _laid_out(student: Student, settings: GrpoSettings, piece: Piece, engine: str, work: Path) -> GrpoSettings:
    """As training.grpo_memory lays it out. Says on how many GPUs, where a shape has no formula, and of a disk too small."""
    shape: Shape | None = None
    try:
        shape = read_shape(student.base)
    except UserError as unknown:
        say(f"grpo: whether it fits the memory is not known: {unknown}")
    decided = laid_out(shape, settings, piece.facts["longest"], visible_hardware(), engine)
    if not decided.alone:
        say(f"grpo: {decided.processes} processes learn together, with {decided.strategy}")
    most, free = checkpoints_bytes(shape, decided, visible_hardware()) if shape else 0.0, shutil.disk_usage(work).free
    if most > free:
        room = f"and {free / 1e9:,.0f} are free: raise save_every_rollouts"
        say(f"grpo: checkpoints take up to {most / 1e9:,.0f} GB in {work}, {room}")
    return decided


def _keeps_tags(student: Student) -> None:
    """Raise UserError where the tags of a thought are special tokens: TRL leaves those out of the text that is rewarded."""
    special = {str(token) for token in student.tokenizer.added_tokens_decoder.values() if token.special}
    if hidden := special & {THINK, "</think>"}:
        raise UserError(
            f"{student.name} has {' and '.join(sorted(hidden))} as special tokens, which are taken out of an answer before it is "
            "rewarded: mark them special: false in tokenizer_config.json and tokenizer.json"
        )


def _say_resumed(work: Path) -> None:
    done = len(list(work.glob("stage-*/model")))
    last = last_checkpoint(work / f"stage-{done + 1}" / "checkpoints")
    if done or last:
        say(f"grpo: going on in stage {done + 1}" + (f" from {last.name}" if last else ""))


def _teller() -> Any:
    last = [0.0]

    def tell(line: dict[str, Any]) -> None:
        if time.monotonic() - last[0] >= PLAIN_EVERY_S or line["step"] == line["steps"]:
            last[0] = time.monotonic()
            parts = [f"{name} {line[name]:.3g}" for name in _SHOWN if line.get(name) is not None]
            say(f"grpo: stage {line['stage']}, step {line['step']:,} of {line['steps']:,}, {', '.join(parts)}")

    return tell


_SHOWN = ("reward", "reward_std", "silent_groups", "truncated", "mean_tokens", "entropy", "kl", "mismatch", "tokens_per_second")


def _manifest(
    questions: Questions,
    student: Student,
    settings: GrpoSettings,
    config: str,
    piece: Piece,
    trained: Reinforced,
    engine: str,
) -> dict[str, Any]:
    """What the model's card is written from (cards.model_card). The run's teacher wrote nothing that was learned here."""
    run = questions.run or {}
    kept = {"recipe_hash": run.get("recipe_hash"), "run_state": run.get("state"), "sources": run.get("sources")}
    return {
        "factory": importlib.metadata.version("cot-factory"),
        "method": "grpo",
        "created": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "base": {"name": student.name, "commit": student.revision},
        "data": {"name": questions.name, "digest": questions.digest, **kept, **piece.facts["funnel"][0]},
        "config": config,
        "settings": settings.model_dump(mode="json"),
        "engine": engine,
        "end_of_turn": student.turn.end_token,
        "gate": "passed before and after",
        "training": trained._asdict(),
        "libraries": {name: importlib.metadata.version(name) for name in LIBRARIES},
        "python": platform.python_version(),
        "hardware": hardware(settings.processes or 1),
    }


def reinforced_summary(folder: Path) -> str:
    """What was trained, in lines for a person."""
    made = json.loads((folder / MANIFEST).read_text("utf-8"))
    asked, trained = made["data"], made["training"]
    dropped = ", ".join(f"{n:,} {reason}" for reason, n in asked["dropped"].items())
    return "\n".join(
        (
            f"{made['base']['name']} on {asked['kept']:,} of {asked['in']:,} problems of {asked['name']}"
            + (f" (left out: {dropped})" if dropped else ""),
            f"{trained['steps']:,} steps, {trained['rollouts']:,} rollouts by {made['engine']}, {trained['tokens']:,} tokens; "
            f"reward {_said(trained['first_reward'])} first, {_said(trained['last_reward'])} last; parity gate {made['gate']}",
            f"written to {folder}; try it: factory eval {folder} --suite FILE_OR_RUN",
        )
    )


def _said(reward: float | None) -> str:
    return "none" if reward is None else f"{reward:.3f}"
