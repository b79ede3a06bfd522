"""A finished run to the Hugging Face Hub: whole on main or not there at all, resumable, and nothing to do the second time.

Everything goes to a pull request of our own, which is merged at the end and tagged with the manifest's hash. The pull
request's title names the run and the commit of main it starts from, so that a push that was cut off finds it again and
uploads only what it lacks; nothing needs to be remembered on this side.

huggingface_hub 1.33 itself retries (429 with Retry-After, 5xx, cut connections) the preupload, LFS and file transfers and
resumes those by content. It does not retry repository creation, commits, discussions, merges, tags and listings: `patiently`
does, and each call below first looks at what is already there, so that a repetition changes nothing twice.
"""

from __future__ import annotations

import hashlib
import json
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import httpx
import polars as pl

from cards.dataset_card import hand_written, keep_hand_written
from cards.licenses import clashes
from cards.public import public_json
from cards.retry import patiently, set_client_timeout
from cards.run_facts import read_json
from curation.errors import UserError

if TYPE_CHECKING:
    from huggingface_hub import Discussion, HfApi
    from huggingface_hub.errors import HfHubHTTPError
    from huggingface_hub.hf_api import RepoFile

# What is published. Not traces/, problems/ and verdicts/: each generation, problem and verdict of the set is in dataset/
# already and what was dropped is in rejected/, so the working tables would only double the bytes. Names with a leading
# dot are locks and half-written files.
_EVIDENCE = ("contamination.parquet", "duplicates.parquet", "audit.parquet", "difficulty.parquet")  # those that a run has
_RECORDS = ("recipe.json", "manifest.json")  # published without the paths of the machine that wrote them
_FILES = ("README.md", "funnel.svg", "funnel.json", *_RECORDS, *_EVIDENCE)
_FOLDERS = ("dataset", "rejected")
_TITLE = "factory"
_FILES_PER_COMMIT = 100  # the Hub's advice is 50 to 100 files a commit (hub documentation, storage-limits)


class PushResult(NamedTuple):
    url: str
    commit: str | None  # head of main afterwards; None after a dry run
    uploaded: tuple[str, ...]  # paths that were, or in a dry run would be, added or changed
    unchanged: tuple[str, ...]
    deleted: tuple[str, ...]  # files of an earlier push that this run does not have
    tag: str


class _Content(NamedTuple):
    data: Path | bytes
    size: int  # bytes
    sha256: str  # taken once: a run can be hundreds of gigabytes


class _Changes(NamedTuple):
    upload: tuple[str, ...]
    unchanged: tuple[str, ...]
    delete: tuple[str, ...]


def push(
    run: Path,
    repo: str,
    *,
    private: bool = True,
    token: str | None = None,
    endpoint: str | None = None,
    dry_run: bool = False,
    allow_license_clash: bool = False,
) -> PushResult:
    """Publish a finished run as the data set `repo`; `private` holds for a repository that does not exist yet.

    Raises UserError for a folder that is no finished run, licences that clash (unless allowed), a name that is
    none, a missing or refused token, and a Hub that cannot be reached or keeps failing: nothing is visible on main then, and
    the same command goes on where it stopped.
    """
    from huggingface_hub import HfApi, get_token
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError
    from huggingface_hub.utils._validators import validate_repo_id

    try:
        validate_repo_id(repo)
    except HFValidationError as error:
        raise UserError(f"{repo!r} is no repository name: wanted NAME or OWNER/NAME ({error})") from None
    local = _local_files(run)
    if not allow_license_clash:
        _refuse_clashes(run, read_json(run, "manifest.json"))
    token = token or get_token()
    if token is None:
        raise UserError("no Hugging Face token: run `hf auth login` or set HF_TOKEN to a token with write access")
    set_client_timeout()
    api = HfApi(endpoint=endpoint, token=token, library_name="cot-factory")
    try:
        return _push(api, run, repo, local, private, dry_run)
    except (HfHubHTTPError, httpx.TransportError, RuntimeError) as error:
        # The upload of one file wraps what went wrong in a RuntimeError.
        cause = error.__cause__ if type(error) is RuntimeError else error
        if isinstance(cause, HfHubHTTPError):
            raise UserError(_refusal(cause, repo)) from error
        if isinstance(cause, httpx.TransportError):
            raise UserError(f"{api.endpoint} does not answer ({cause}): run the same command again to go on") from error
        raise


def _push(api: HfApi, run: Path, repo: str, local: dict[str, _Content], private: bool, dry_run: bool) -> PushResult:
    user = str(patiently(api.whoami)["name"])
    repo_id = repo if "/" in repo else f"{user}/{repo}"
    exists = patiently(lambda: api.repo_exists(repo_id, repo_type="dataset"))
    if not exists and not dry_run:
        patiently(lambda: api.create_repo(repo_id, repo_type="dataset", private=private, exist_ok=True))
    base = _head(api, repo_id) if exists or not dry_run else ""
    tree = _tree(api, repo_id, base) if base else {}
    if "README.md" in tree:
        local = local | {"README.md": _card_to_publish(api, run, repo_id, base)}
    changes = _changes(tree, local)
    digest = local["manifest.json"].sha256[:16]
    tag, url = f"factory-{digest}", f"{api.endpoint}/datasets/{repo_id}"
    if dry_run:
        return PushResult(url, None, *changes, tag)
    if changes.upload or changes.delete:
        _publish(api, repo_id, user, local, f"{_TITLE} {digest} on {base[:16]}")
    commit = _head(api, repo_id)
    patiently(lambda: api.create_tag(repo_id, tag=tag, revision=commit, repo_type="dataset", exist_ok=True))
    return PushResult(url, commit, *changes, tag)


def _local_files(run: Path) -> dict[str, _Content]:
    """What is to be published, by its path in the repository. Raises UserError where the run is not finished or was edited."""
    manifest = read_json(run, "manifest.json")
    if not (run / "README.md").is_file():
        raise UserError(f"{run} is not a finished run: it has no README.md; finish it with `factory build`")
    inside = [p for folder in _FOLDERS for p in (run / folder).rglob("*")]
    paths = [p for p in [*(run / name for name in _FILES), *inside] if p.is_file()]
    named = {path.relative_to(run).as_posix(): path for path in sorted(paths)}
    local = {name: _content(path) for name, path in named.items() if "/." not in f"/{name}"}
    local |= {name: _content(_public_record(run, name)) for name in _RECORDS if name in local}
    promised = {f["path"]: f["sha256"] for f in manifest["dataset"]["files"]}
    held = {name: content.sha256 for name, content in local.items() if name.startswith("dataset/")}
    for name in sorted(promised | held):
        if held.get(name) != promised.get(name):
            raise UserError(f"{run / name} is not the file that manifest.json lists: build the run again")
    return local


def _public_record(run: Path, name: str) -> bytes:
    return (json.dumps(public_json(read_json(run, name)), indent=1, ensure_ascii=False) + "\n").encode()


def _refuse_clashes(run: Path, manifest: dict[str, Any]) -> None:
    teachers = pl.scan_parquet(run / "dataset" / "*.parquet").select(pl.col("teacher").unique()).collect()["teacher"].to_list()
    found = clashes([s["license"] for s in manifest["sources"]], [str(t) for t in teachers])
    if found:
        raise UserError(
            f"{run} is not published, since what it is made of does not go together: {'; '.join(found)}. "
            "Build it without one of them, or publish it all the same with --allow-license-clash"
        )


def _card_to_publish(api: HfApi, run: Path, repo_id: str, base: str) -> _Content:
    """The run's card with the hand-written part and the foreign metadata of the one on the Hub.

    Raises UserError where both sides hold different text and neither contains the other.
    """
    card, remote = (run / "README.md").read_text("utf-8"), _read_remote_card(api, repo_id, base)
    here, there = hand_written(card), hand_written(remote)
    if here and here not in there and there not in here:
        raise UserError(
            f"the hand-written part of README.md is not the same in {run} and in {repo_id}: "
            "put the text you want to keep from the Hub into the one here, or make them equal"
        )
    return _content(keep_hand_written(card, remote).encode())


def _read_remote_card(api: HfApi, repo_id: str, revision: str) -> str:
    # Not hf_hub_download: it answers a server that is down with "entry not found", and the card would be overwritten.
    from huggingface_hub import get_session
    from huggingface_hub.utils._headers import build_hf_headers
    from huggingface_hub.utils._http import hf_raise_for_status

    def read() -> str:
        url = f"{api.endpoint}/datasets/{repo_id}/resolve/{revision}/README.md"
        response = get_session().get(url, headers=build_hf_headers(token=api.token), follow_redirects=True)
        hf_raise_for_status(response)
        return str(response.content.decode("utf-8"))

    return patiently(read)


def _head(api: HfApi, repo_id: str) -> str:
    return str(patiently(lambda: api.repo_info(repo_id, repo_type="dataset")).sha)


def _tree(api: HfApi, repo_id: str, revision: str) -> dict[str, RepoFile]:
    from huggingface_hub.hf_api import RepoFile

    def listed() -> dict[str, RepoFile]:
        entries = api.list_repo_tree(repo_id, revision=revision, recursive=True, repo_type="dataset")
        return {entry.path: entry for entry in entries if isinstance(entry, RepoFile)}

    return patiently(listed)


def _changes(tree: dict[str, RepoFile], local: dict[str, _Content]) -> _Changes:
    same = {path for path in local if path in tree and _is_same(local[path], tree[path])}
    ours = {path for path in tree if path in _FILES or path.split("/")[0] in _FOLDERS}
    return _Changes(tuple(sorted(set(local) - same)), tuple(sorted(same)), tuple(sorted(ours - set(local))))


def _is_same(content: _Content, remote: RepoFile) -> bool:
    if content.size != remote.size:
        return False
    if remote.lfs is not None:
        return content.sha256 == remote.lfs.sha256
    data = content.data if isinstance(content.data, bytes) else content.data.read_bytes()
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest() == remote.blob_id  # how git names a file's content


def _content(data: Path | bytes) -> _Content:
    if isinstance(data, bytes):
        return _Content(data, len(data), hashlib.sha256(data).hexdigest())
    with data.open("rb") as file:
        return _Content(data, data.stat().st_size, hashlib.file_digest(file, "sha256").hexdigest())


def _publish(api: HfApi, repo_id: str, user: str, local: dict[str, _Content], title: str) -> None:
    """Bring our pull request to hold exactly `local`, merge it, and close those of ours that main has left behind."""
    number = patiently(lambda: _pull_request(api, repo_id, user, title))
    commit = partial(_commit_some, api, repo_id, f"refs/pr/{number}", local, title)
    last, left = None, patiently(commit)
    while left.upload or left.delete:
        if left == last:
            raise UserError(
                f"{repo_id} does not take {(left.upload + left.delete)[0]}: its .gitignore names it; change that file first"
            )
        last, left = left, patiently(commit)
    patiently(lambda: _merge(api, repo_id, number))
    for behind in patiently(lambda: _own_open(api, repo_id, user)):
        patiently(partial(api.change_discussion_status, repo_id, behind.num, "closed", repo_type="dataset"))


def _own_open(api: HfApi, repo_id: str, user: str) -> list[Discussion]:
    # By author: anybody may open a pull request with our title on a public repository, with files of their own in it.
    found = api.get_repo_discussions(repo_id, author=user, discussion_type="pull_request", repo_type="dataset")
    return [d for d in found if d.status in ("open", "draft") and d.title.startswith(_TITLE)]


def _pull_request(api: HfApi, repo_id: str, user: str, title: str) -> int:
    numbers = [d.num for d in _own_open(api, repo_id, user) if d.title == title]
    return numbers[0] if numbers else api.create_pull_request(repo_id, title, repo_type="dataset").num


def _commit_some(api: HfApi, repo_id: str, revision: str, local: dict[str, _Content], title: str) -> _Changes:
    """Commit up to a hundred files that the revision lacks, and say what it lacked before."""
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete

    changes = _changes(_tree(api, repo_id, revision), local)
    if not changes.upload and not changes.delete:
        return changes
    additions = [CommitOperationAdd(path, local[path].data) for path in changes.upload[:_FILES_PER_COMMIT]]
    for addition in additions:
        addition.upload_info.sha256 = bytes.fromhex(local[addition.path_in_repo].sha256)
    deletions = [CommitOperationDelete(path) for path in changes.delete]
    api.create_commit(repo_id, [*deletions, *additions], commit_message=title, revision=revision, repo_type="dataset")
    return changes


def _merge(api: HfApi, repo_id: str, number: int) -> None:
    status = api.get_discussion_details(repo_id, number, repo_type="dataset").status
    if status == "draft":  # how the API opens every pull request, and a draft cannot be merged
        api.change_discussion_status(repo_id, number, "open", repo_type="dataset")
    if status != "merged":
        api.merge_pull_request(repo_id, number, repo_type="dataset")


def _refusal(error: HfHubHTTPError, repo: str) -> str:
    status, said = error.response.status_code, error.server_message or error.response.reason_phrase
    if status == 401:
        return "the Hub refused the token: run `hf auth login` or set HF_TOKEN to one with write access"
    if status == 403:
        return f"the token may not write to {repo} ({said}): use one with write access to it"
    return f"the Hub answered {status} ({said}): nothing changed on main of {repo}; the same command goes on from there"
