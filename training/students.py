"""The model that is trained: found, and made ready so that a server of the saved folder stops where the template ends a turn."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any, NamedTuple

from curation.errors import UserError
from training.findings import finding
from training.parity import require
from training.rendering import Turn, end_of_turn
from training.sft_settings import SftSettings


class Student(NamedTuple):
    name: str  # as the person gave it
    revision: str  # commit on the Hub; empty for a folder
    base: Path  # the files it starts from
    tokenizer: Any
    turn: Turn


_TOKENIZERS = ("tokenizer.json", "tokenizer_config.json", "tokenizer.model", "vocab.json", "vocab.txt")
_WEIGHTS = ("*.safetensors", "*.bin", "*.pth", "*.gguf", "*.onnx")


def find_student(name: str, *, weights: bool = True) -> tuple[Path, str]:
    """Folder and commit of a student: a folder, or a repository on the Hub, which is downloaded. Raises UserError for neither.

    Without `weights`, a repository's configuration and tokenizer alone.
    """
    folder = Path(name)
    if folder.is_dir():
        if not (folder / "config.json").is_file():
            raise UserError(f"{name} is no model: wanted a folder with config.json, weights and tokenizer")
        try:
            json.loads((folder / "config.json").read_text("utf-8"))
        except ValueError as error:  # not UTF-8, or not JSON
            raise UserError(f"config.json of {name} cannot be read ({error}): copy or save the model again") from None
        return folder, ""
    from httpx import HTTPError
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    try:
        found = Path(snapshot_download(name, ignore_patterns=list(_WEIGHTS[1:] if weights else _WEIGHTS)))
    except (HfHubHTTPError, HFValidationError, HTTPError, OSError) as error:
        said = str(error).strip().partition("\n")[0] or type(error).__name__  # a time-out may be without a word
        raise UserError(f"no student {name!r} ({said}): wanted a model folder or a repository of the Hub") from None
    return found, found.name


def open_student(name: str, settings: SftSettings, served: Path, *, weights: bool = True) -> Student:
    """The student with its tokenizer as it will be trained; `served` gets the files that a server reads beside the weights.

    The token that ends a turn becomes the tokenizer's and the model's end, and the first of the generation config's: a base model
    stops at <|endoftext|>, and one trained on ChatML would run on to the length limit (open-r1 494). Raises UserError where there
    is no usable template.
    """
    from transformers import AutoConfig, AutoTokenizer

    base, revision = find_student(name, weights=weights)
    if not has_tokenizer(base):
        raise UserError(f"{name} has no tokenizer: wanted its files beside config.json, as save_pretrained writes them")
    tokenizer = AutoTokenizer.from_pretrained(base)
    if settings.chat_template:
        tokenizer.chat_template = _template(Path(settings.chat_template))
    if tokenizer.chat_template is None:
        require([finding("no_template", name)], "before training")
    turn = _turn(tokenizer, name)
    tokenizer.eos_token = turn.end_token
    if settings.pad_token and settings.pad_token not in tokenizer.get_vocab():
        known = ", ".join(sorted(tokenizer.all_special_tokens))
        raise UserError(f"pad_token {settings.pad_token!r} is no token of {name}: wanted one that it has, such as {known}")
    tokenizer.pad_token = settings.pad_token or tokenizer.pad_token or turn.end_token
    config = AutoConfig.from_pretrained(base)
    config.eos_token_id, config.pad_token_id = turn.end_id, tokenizer.pad_token_id
    shutil.rmtree(served, ignore_errors=True)
    tokenizer.save_pretrained(served)
    config.save_pretrained(served)
    generation_config(base, tokenizer, turn).save_pretrained(served)
    return Student(name, revision, base, tokenizer, turn)


def window_of(base: Path) -> int | None:
    """Positions that the model in a folder was made for, in tokens; None where its config does not say."""
    positions: int | None = json.loads((base / "config.json").read_text("utf-8")).get("max_position_embeddings")
    return positions


def has_tokenizer(folder: Path) -> bool:
    """Without these files transformers gives an empty tokenizer, which makes no token of any text."""
    return any((folder / file).is_file() for file in _TOKENIZERS)


def load_student(name: str, base: Path, served: Path) -> Student:
    """A student that another process has opened: its tokenizer as it is trained is in `served`."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(served)
    return Student(name, "", base, tokenizer, _turn(tokenizer, name))


def require_weights(student: Student) -> None:
    """Raise UserError where the student's folder has no weights, not all that its index names, or a file that is cut off."""
    from safetensors import SafetensorError, safe_open

    files = "*.safetensors" if [*student.base.glob("*.safetensors*")] else "pytorch_model*.bin"  # in transformers' order
    found = {path.name for path in student.base.glob(files)}
    indexes = [json.loads(path.read_text("utf-8")) for path in student.base.glob(f"{files}.index.json")]
    wanted = {name for index in indexes for name in index["weight_map"].values()}
    if not found or not wanted <= found:
        missing = f"no {sorted(wanted - found)[0]}, which its index names" if wanted - found else "no weights"
        raise UserError(
            f"{student.name} has {missing}: wanted a folder with config.json, tokenizer and model.safetensors, as save_pretrained "
            "writes it"
        )
    for path in sorted(student.base.glob("*.safetensors")):
        try:
            with safe_open(path, framework="numpy"):  # reads the header alone, which says how long the file is
                pass
        except SafetensorError as error:
            raise UserError(f"{path.name} of {student.name} is cut off or torn ({error}): copy or download it again") from None


def _turn(tokenizer: Any, name: str) -> Turn:
    from jinja2 import TemplateError

    try:
        turn = end_of_turn(tokenizer)
    except TemplateError as error:
        raise UserError(
            f"the chat template of {name} fails on a question with its answer ({error}): mend it, or name one with chat_template"
        ) from None
    if turn is None:
        found = finding("no_end_of_turn", name)
        raise UserError(f"{name}: {found.cause}: {found.remedy}")
    return turn


def generation_config(base: Path, tokenizer: Any, turn: Turn) -> Any:
    """The base's own, which stops at the end of a turn first and pads as the tokenizer does."""
    from transformers import GenerationConfig

    generation = GenerationConfig.from_pretrained(base) if (base / "generation_config.json").is_file() else GenerationConfig()
    before = generation.eos_token_id
    old = before if isinstance(before, list) else [] if before is None else [before]
    generation.eos_token_id = [turn.end_id, *(i for i in old if i != turn.end_id)]
    generation.pad_token_id = tokenizer.pad_token_id
    return generation


def _template(path: Path) -> str:
    if not path.is_file():
        raise UserError(f"no chat template {str(path)!r}: chat_template takes the path of a .jinja file")
    return path.read_text("utf-8")
