"""A finished run to the Hugging Face Hub: whole on main or not there at all, resumable, and nothing to do the second time.

Everything goes to a pull request of our own, which is merged at the end and tagged with the manifest's hash. The pull
request's title names the run and the commit of main it starts from, so that a push that was cut off finds it again and
uploads only what it lacks; nothing needs to be remembered on this side.

huggingface_hub 1.33 itself retries (429 with Retry-After, 5xx, cut connections) the preupload, LFS and file transfers and
resumes those by content. It does not retry repository creation, commits, discussions, merges, tags and listings: `patiently`
does, and each call below first looks at what is already there, so that a repetition changes nothing twice.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import httpx

from cards.dataset_card import HAND_OPEN, hand_written, keep_hand_written
from cards.parcel import Content, Parcel, content, parcel
from cards.retry import patiently, set_client_timeout
from curation.errors import UserError

if TYPE_CHECKING:
    from huggingface_hub import Discussion, HfApi
    from huggingface_hub.errors import HfHubHTTPError
    from huggingface_hub.hf_api import RepoFile

_TITLE = "factory"
_FILES_PER_COMMIT = 100  # the Hub's advice is 50 to 100 files a commit (hub documentation, storage-limits)


class PushResult(NamedTuple):
    url: str
    commit: str | None  # head of main afterwards; None after a dry run
    uploaded: tuple[str, ...]  # paths that were, or in a dry run would be, added or changed
    unchanged: tuple[str, ...]
    deleted: tuple[str, ...]  # files of an earlier push that this run does not have
    tag: str


class _Place(NamedTuple):
    api: HfApi
    repo_id: str
    kind: str  # dataset or model

    @property
    def url(self) -> str:
        return f"{self.api.endpoint}/{'datasets/' if self.kind == 'dataset' else ''}{self.repo_id}"


class _Changes(NamedTuple):
    upload: tuple[str, ...]
    unchanged: tuple[str, ...]
    delete: tuple[str, ...]


def push(
    folder: Path,
    repo: str,
    *,
    private: bool = True,
    token: str | None = None,
    endpoint: str | None = None,
    dry_run: bool = False,
    allow_license_clash: bool = False,
) -> PushResult:
    """Publish a finished run as a data set, or a model's folder as a model; `private` holds for a repository that is new.

    Raises UserError for a folder that is neither, licences that clash (unless allowed), a name that is none, a missing or
    refused token, and a Hub that cannot be reached or keeps failing: nothing is visible on main then, and the same command
    goes on where it stopped.
    """
    from huggingface_hub import HfApi, get_token
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils._validators import validate_repo_id

    try:
        validate_repo_id(repo)
    except HFValidationError as error:
        raise UserError(f"{repo!r} is no repository name: wanted NAME or OWNER/NAME ({error})") from None
    local = parcel(folder, allow_license_clash)
    token = token or get_token()
    if token is None:
        raise UserError("no Hugging Face token: run `hf auth login` or set HF_TOKEN to a token with write access")
    set_client_timeout()
    api = HfApi(endpoint=endpoint, token=token, library_name="cot-factory")
    with _refusals(api, repo):
        return _push(api, folder, repo, local, private, dry_run)


@contextlib.contextmanager
def _refusals(api: HfApi, repo: str) -> Iterator[None]:
    """Raises UserError for what the Hub refuses, and where it cannot be reached."""
    from huggingface_hub.errors import HfHubHTTPError

    try:
        yield
    except (HfHubHTTPError, httpx.TransportError, RuntimeError) as error:
        # The upload of one file wraps what went wrong in a RuntimeError.
        cause = error.__cause__ if type(error) is RuntimeError else error
        if isinstance(cause, HfHubHTTPError):
            raise UserError(_refusal(cause, repo)) from error
        if isinstance(cause, httpx.TransportError):
            raise UserError(f"{api.endpoint} does not answer ({cause}): run the same command again to go on") from error
        raise
    except ValueError as error:
        if not isinstance(error.__cause__, HfHubHTTPError):
            raise
        said = " ".join(str(error).split())
        raise UserError(f"the Hub refuses the metadata of README.md, between the lines --- at its top: {said}") from error


def _push(api: HfApi, folder: Path, repo: str, local: Parcel, private: bool, dry_run: bool) -> PushResult:
    user = str(patiently(api.whoami)["name"])
    place = _Place(api, repo if "/" in repo else f"{user}/{repo}", local.kind)
    exists = patiently(lambda: api.repo_exists(place.repo_id, repo_type=place.kind))
    if not exists and not dry_run:
        patiently(lambda: api.create_repo(place.repo_id, repo_type=place.kind, private=private, exist_ok=True))
    base = _head(place) if exists or not dry_run else ""
    tree = _tree(place, base) if base else {}
    if "README.md" in tree:
        local = local._replace(files=local.files | {"README.md": _card_to_publish(place, folder, local.files["README.md"], base)})
    changes, tag = _changes(tree, local), f"factory-{local.digest}"
    if dry_run:
        return PushResult(place.url, None, *changes, tag)
    if changes.upload or changes.delete:
        _publish(place, user, local, f"{_TITLE} {local.digest} on {base[:16]}")
    commit = _head(place)
    patiently(lambda: api.create_tag(place.repo_id, tag=tag, revision=commit, repo_type=place.kind, exist_ok=True))
    return PushResult(place.url, commit, *changes, tag)


def _card_to_publish(place: _Place, folder: Path, own: Content, base: str) -> Content:
    """The folder's card with the hand-written part and the foreign metadata of the one on the Hub.

    Raises UserError where both sides hold different text and neither contains the other.
    """
    card = (own.data if isinstance(own.data, bytes) else own.data.read_bytes()).decode("utf-8")
    remote = _read_remote_card(place, base)
    here, there = hand_written(card), hand_written(remote)
    if here and here not in there and there not in here:
        raise UserError(
            f"the hand-written part of README.md is not the same in {folder} and in {place.repo_id}: "
            "put the text you want to keep from the Hub into the one here, or make them equal"
        )
    # A card without our markers is a person's from end to end, and has no place for another's text.
    return content((keep_hand_written(card, remote) if HAND_OPEN in card else card).encode())


def _read_remote_card(place: _Place, revision: str) -> str:
    # Not hf_hub_download: it answers a server that is down with "entry not found", and the card would be overwritten.
    from huggingface_hub import get_session
    from huggingface_hub.utils._headers import build_hf_headers
    from huggingface_hub.utils._http import hf_raise_for_status

    def read() -> str:
        url = f"{place.url}/resolve/{revision}/README.md"
        response = get_session().get(url, headers=build_hf_headers(token=place.api.token), follow_redirects=True)
        hf_raise_for_status(response)
        return str(response.content.decode("utf-8"))

    return patiently(read)


def _head(place: _Place) -> str:
    return str(patiently(lambda: place.api.repo_info(place.repo_id, repo_type=place.kind)).sha)


def _tree(place: _Place, revision: str) -> dict[str, RepoFile]:
    from huggingface_hub.hf_api import RepoFile

    def listed() -> dict[str, RepoFile]:
        entries = place.api.list_repo_tree(place.repo_id, revision=revision, recursive=True, repo_type=place.kind)
        return {entry.path: entry for entry in entries if isinstance(entry, RepoFile)}

    return patiently(listed)


def _changes(tree: dict[str, RepoFile], local: Parcel) -> _Changes:
    same = {path for path, held in local.files.items() if path in tree and _is_same(held, tree[path])}
    ours = {path for path in tree if local.owns(path)}
    return _Changes(tuple(sorted(set(local.files) - same)), tuple(sorted(same)), tuple(sorted(ours - set(local.files))))


def _is_same(content: Content, remote: RepoFile) -> bool:
    if content.size != remote.size:
        return False
    if remote.lfs is not None:
        return content.sha256 == remote.lfs.sha256
    data = content.data if isinstance(content.data, bytes) else content.data.read_bytes()
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest() == remote.blob_id  # how git names a file's content


def _publish(place: _Place, user: str, local: Parcel, title: str) -> None:
    """Bring our pull request to hold exactly `local`, merge it, and close those of ours that main has left behind."""
    number = patiently(lambda: _pull_request(place, user, title))
    commit = partial(_commit_some, place, f"refs/pr/{number}", local, title)
    last, left = None, patiently(commit)
    while left.upload or left.delete:
        if left == last:
            raise UserError(
                f"{place.repo_id} does not take {(left.upload + left.delete)[0]}: its .gitignore names it; change that file first"
            )
        last, left = left, patiently(commit)
    patiently(lambda: _merge(place, number))
    for behind in patiently(lambda: _own_open(place, user)):
        patiently(partial(place.api.change_discussion_status, place.repo_id, behind.num, "closed", repo_type=place.kind))


def _own_open(place: _Place, user: str) -> list[Discussion]:
    # By author: anybody may open a pull request with our title on a public repository, with files of their own in it.
    found = place.api.get_repo_discussions(place.repo_id, author=user, discussion_type="pull_request", repo_type=place.kind)
    return [d for d in found if d.status in ("open", "draft") and d.title.startswith(_TITLE)]


def _pull_request(place: _Place, user: str, title: str) -> int:
    numbers = [d.num for d in _own_open(place, user) if d.title == title]
    return numbers[0] if numbers else place.api.create_pull_request(place.repo_id, title, repo_type=place.kind).num


def _commit_some(place: _Place, revision: str, local: Parcel, title: str) -> _Changes:
    """Commit up to a hundred files that the revision lacks, and say what it lacked before."""
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete

    changes = _changes(_tree(place, revision), local)
    if not changes.upload and not changes.delete:
        return changes
    additions = [CommitOperationAdd(path, local.files[path].data) for path in changes.upload[:_FILES_PER_COMMIT]]
    for addition in additions:
        addition.upload_info.sha256 = bytes.fromhex(local.files[addition.path_in_repo].sha256)
    deletions = [CommitOperationDelete(path) for path in changes.delete]
    place.api.create_commit(place.repo_id, [*deletions, *additions], commit_message=title, revision=revision, repo_type=place.kind)
    return changes


def _merge(place: _Place, number: int) -> None:
    status = place.api.get_discussion_details(place.repo_id, number, repo_type=place.kind).status
    if status == "draft":  # how the API opens every pull request, and a draft cannot be merged
        place.api.change_discussion_status(place.repo_id, number, "open", repo_type=place.kind)
    if status != "merged":
        place.api.merge_pull_request(place.repo_id, number, repo_type=place.kind)


def _refusal(error: HfHubHTTPError, repo: str) -> str:
    status, said = error.response.status_code, error.server_message or error.response.reason_phrase
    if status == 401:
        return "the Hub refused the token: run `hf auth login` or set HF_TOKEN to one with write access"
    if status == 403:
        return f"the token may not write to {repo} ({said}): use one with write access to it"
    return f"the Hub answered {status} ({said}): nothing changed on main of {repo}; the same command goes on from there"
