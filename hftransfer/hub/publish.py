"""A run's model on the Hub: what goes up, and one atomic commit that is made once, whatever happens on the way."""

from __future__ import annotations

import hashlib
import json
import os
import re
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal, TypeVar, overload

from hftransfer.adapters.checkpoint import object_in
from hftransfer.base.errors import HftransferError, ModelError, first_line, must_be, some, user_path
from hftransfer.base.progress import Progress
from hftransfer.base.runs import at_newest

if TYPE_CHECKING:
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi, ModelCard, ModelCardData

T = TypeVar("T")
BEGIN, END = "<!-- hftransfer: written anew by each push -->", "<!-- hftransfer: the end -->"
"""What our part of a card stands between; all around it is left alone."""
RESULTS = "<!-- hftransfer: figures of the results -->"
"""Where on the card a pushed model shows the figures of its results."""
MANIFEST = "hftransfer_files.json"
"""What the last push put there, by name and SHA-256: what is no longer part of it goes with the next."""
_REPO_ID = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}")
_TOKEN = re.compile(rb"\bhf_[A-Za-z0-9]{20,}\b")
_MODEL_FILES = (".json", ".safetensors", ".keras", ".txt", ".model", ".md")
_MAIN_FILES = ("config.json", "adapter_config.json", "open_clip_config.json", "model.keras")
_TEXT_FILES = (".json", ".md", ".yaml", ".txt", ".csv")
_HERE = "path/to/this/folder"
_WITH_EXAMPLES = ("examples", "mistakes")  # figures that show the data itself
_OF_RESULTS = ("confusion_matrix",)  # figures that stand beside the scores; the others follow at the end
_LICENSE = re.compile(r"[a-z0-9][a-z0-9.+-]*")
# Seconds before each further try.
_WAITS = (1.0, 2.0, 4.0, 8.0)


class PushError(HftransferError):
    """The Hub did not take it, or not as it was. What lies on this disk is as it was; exit status 1."""

    exit_status: ClassVar[int] = 1


@dataclass(frozen=True)
class Upload:
    """The files to upload: contents by name in the repository."""

    files: dict[str, bytes | Path]
    notes: list[str] = field(default_factory=list)

    @property
    def sizes(self) -> dict[str, int]:
        """The size of each file, in bytes."""
        return {
            name: len(part) if isinstance(part, bytes) else part.stat().st_size for name, part in self.files.items()
        }

    @property
    def size(self) -> int:
        """The size of all, in bytes."""
        return sum(self.sizes.values())


@dataclass(frozen=True)
class Pushed:
    """The repository and commit that hold the model now."""

    url: str
    commit: str
    changed: bool
    """Whether there was anything new."""


def collect(run: str | os.PathLike[str], repo_id: str, license: str | None = None) -> Upload:
    """Return what of a run (or of a model folder) goes up: the native model, its processor, card, recipe, metrics and
    figures; no checkpoints, no logs, no paths of this disk. Pictures of the data itself go up only where the recipe
    says so (`hub.share_examples`). A `license` replaces that of the card.

    Raises:
        ModelError: there is no trained model, or the licence is no name of one.
        PushError: a file holds a token, or names a folder of this disk.
    """
    folder = user_path(at_newest(run), "the run", ModelError)
    model = folder / "model" if (folder / "model").is_dir() else folder
    if not any((model / name).is_file() for name in _MAIN_FILES):
        raise ModelError(must_be(f"the run {run}", "one with a trained model", "none"))
    files: dict[str, bytes | Path] = {}
    notes: list[str] = []
    for file in sorted(model.iterdir()):
        # Links could lead to files that nobody means to publish.
        if file.is_file() and not file.is_symlink() and file.suffix in _MODEL_FILES and not file.name.startswith("."):
            files[file.name] = file
    if model != folder:
        for name in ("recipe.yaml", "metrics.json"):
            if (folder / name).is_file():
                files[name] = public_text(_text_of(folder / name)).encode()
        files |= {name: folder / name for name in _pictures(folder, notes)}
    if "README.md" in files:
        pictures = [name for name in files if name.endswith((".png", ".jpg"))]
        card = _own_card(_text_of(model / "README.md"), repo_id, pictures)
        files["README.md"] = _licensed(card, license).encode()
        notes += _asked_of_card(_licensed(card, license))
    elif license is not None:
        files["README.md"] = _licensed(f"---\n{{}}\n---\n{BEGIN}\n{END}\n", license).encode()
    if "hftransfer.json" in files:
        files["hftransfer.json"] = _without_path(model / "hftransfer.json", notes)
    _require_nothing_private(files)
    digests = {name: _sha256(content) for name, content in sorted(files.items())}
    files[MANIFEST] = (json.dumps({"files": digests}, indent=1) + "\n").encode()
    return Upload(files, notes)


@overload
def push(
    run: str | os.PathLike[str],
    repo_id: str,
    *,
    private: bool = True,
    revision: str | None = None,
    license: str | None = None,
    token: str | None = None,
    endpoint: str | None = None,
    dry_run: Literal[False] = False,
    progress: Progress | None = None,
    wait: Callable[[float], None] = time.sleep,
) -> Pushed: ...


@overload
def push(
    run: str | os.PathLike[str],
    repo_id: str,
    *,
    private: bool = True,
    revision: str | None = None,
    license: str | None = None,
    token: str | None = None,
    endpoint: str | None = None,
    dry_run: Literal[True],
    progress: Progress | None = None,
    wait: Callable[[float], None] = time.sleep,
) -> Upload: ...


# More than eight arguments: what a person types, each by its name.
def push(
    run: str | os.PathLike[str],
    repo_id: str,
    *,
    private: bool = True,
    revision: str | None = None,
    license: str | None = None,
    token: str | None = None,
    endpoint: str | None = None,
    dry_run: bool = False,
    progress: Progress | None = None,
    wait: Callable[[float], None] = time.sleep,
) -> Pushed | Upload:
    """Return a run's model on the Hub under an id, in one commit on top of what was there when it began.

    The repository is made if there is none, private unless told otherwise. What fails on the way (429, 5xx, a dropped
    connection) is tried again, and a commit whose answer was lost is not made twice. Hand edits of the card outside our
    section stay. `license` is that of the model, by its name on the Hub, such as "apache-2.0". With `dry_run` it
    returns what would go up, and sends nothing.

    Raises:
        ModelError: there is no trained model, or the id or the licence is none.
        PushError: the Hub refuses, or somebody else changed the repository meanwhile; it is then as they left it.
    """
    from huggingface_hub import HfApi

    require_repo_id(repo_id)
    progress = progress or Progress()
    upload = collect(run, repo_id, license)
    if dry_run:
        return upload
    for note in upload.notes:
        progress.line(f"note: {note}")
    api = HfApi(endpoint=endpoint, token=token, library_name="hftransfer")
    remote = _Remote(api, repo_id, revision, wait)
    url = remote.prepare(private=private)
    head = remote.head()
    before = remote.files(head)
    known = remote.manifest(before, head)
    card = remote.text("README.md", head) if "README.md" in before else None
    files = _with_their_card(upload.files, card)
    if _is_unchanged(files, card, known):
        return Pushed(url, head, changed=False)
    # What others put there is not in our list, and stays.
    operations = _operations(files, [name for name in known if name not in files and name in before])

    def commit() -> str:
        title = f"{'Update' if known else 'Add'} the model trained with hftransfer"
        # By its parent the Hub refuses the commit where somebody else was faster.
        made = api.create_commit(repo_id, operations, commit_message=title, revision=revision, parent_commit=head)
        return str(made.oid)

    # By these a commit whose answer was lost is known as ours.
    told = {name: _content(files[name]) for name in (MANIFEST, "README.md") if name in files}
    made = remote.committed(commit, head, told)
    progress.line(f"pushed {len(files)} files, {upload.size / 2**20:,.1f} MiB, to {url}")
    return Pushed(url, made, changed=True)


def _is_unchanged(files: Mapping[str, bytes | Path], card: str | None, known: Mapping[str, str]) -> bool:
    """Return whether the Hub has these very files already; compared by content, as such a push makes no commit."""
    same_card = "README.md" not in files or (card is not None and card.encode() == _content(files["README.md"]))
    return same_card and known == json.loads(_content(files[MANIFEST]))["files"]


def _with_their_card(files: Mapping[str, bytes | Path], card: str | None) -> dict[str, bytes | Path]:
    """Return the files to upload, what people wrote on the card that is there already kept on ours."""
    own = files.get("README.md")
    if card is None or not isinstance(own, bytes):
        return dict(files)
    return {**files, "README.md": merged_card(card, own.decode()).encode()}


def _operations(
    added: Mapping[str, bytes | Path], gone: Iterable[str]
) -> list[CommitOperationAdd | CommitOperationDelete]:
    """Return the parts of a commit."""
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete

    return [
        *(CommitOperationAdd(name, content) for name, content in added.items()),
        *(CommitOperationDelete(name) for name in gone),
    ]


def require_repo_id(repo_id: str) -> None:
    """Return if it is an id of a repository.

    Raises:
        ModelError: it is not.
    """
    if not _REPO_ID.fullmatch(repo_id) or ".." in repo_id or "--" in repo_id:
        raise ModelError(must_be("the repository", "namespace/name, of letters, digits, -, _ and .", f"'{repo_id}'"))


# --- what goes up ----------------------------------------------------------------------------------------------------


def _pictures(folder: Path, notes: list[str]) -> list[str]:
    """Return the names of the pictures that go up; it is noted where some stay because they show the data."""
    shares = _shares_examples(folder)
    figures = sorted((folder / "figures").glob("*.png"))
    shown = [file for file in figures if shares or file.stem not in _WITH_EXAMPLES]
    if len(shown) < len(figures):
        notes.append("pictures of your data are not uploaded; hub.share_examples=true in the recipe uploads them")
    shown += sorted((folder / "examples").glob("*.jpg")) if shares else []
    return [file.relative_to(folder).as_posix() for file in shown if not file.is_symlink()]


def _asked_of_card(card: str) -> list[str]:
    """Return what a person should add that the card's metadata do not tell."""
    head = card.split("\n---\n", 1)[0]
    asked = (
        ("license", "no licence", "give it with --licence NAME (in Python license=…), such as apache-2.0"),
        ("base_model", "no base model of the Hub", "if there is one, add a line base_model: with its id on the Hub"),
    )
    return [
        f"the card names {lack}: {remedy}"
        for key, lack, remedy in asked
        if not re.search(rf"^{key}:", head, re.MULTILINE)
    ]


def _shares_examples(folder: Path) -> bool:
    """Return whether the recipe of a run says that examples of its data may be shown."""
    from ruamel.yaml import YAML, YAMLError

    try:
        recipe = YAML(typ="safe", pure=True).load(folder / "recipe.yaml")
        return recipe["hub"]["share_examples"] is True
    except (OSError, YAMLError, KeyError, TypeError):
        return False


def _own_card(text: str, repo_id: str, pictures: Sequence[str]) -> str:
    """Return the card, speaking of the repository and showing the figures beside it; the Hub's page tries the model on
    the images that may be shown."""
    from huggingface_hub import hf_hub_url

    figures = [name for name in pictures if name.startswith("figures/")]
    shown = {name: f"![{Path(name).stem.replace('_', ' ')}]({name})" for name in figures}
    card = text.replace(_HERE, repo_id)
    if RESULTS in card:
        of_results = [shown.pop(name) for name in figures if Path(name).stem in _OF_RESULTS]
        card = card.replace(RESULTS, "\n\n".join((RESULTS, *of_results)), 1)
    card = with_section(card, "## Figures\n\n" + "\n\n".join(shown.values()) if shown else "")
    if examples := [name for name in pictures if name.startswith("examples/")]:
        parsed = _parsed(card)
        parsed.data.widget = [{"src": hf_hub_url(repo_id, name)} for name in examples]
        card = str(parsed)
    return card


def _licensed(card: str, license: str | None) -> str:
    """Return a card with a licence in its metadata; None leaves it as it is.

    Raises:
        ModelError: the licence is no name of one.
    """
    if license is None:
        return card
    name = re.sub(r"\s+", "-", license.strip().lower())  # as people write them: MIT, Apache 2.0
    if not _LICENSE.fullmatch(name):
        allowed = "the name of a licence on the Hub, such as apache-2.0, mit or cc-by-4.0"
        raise ModelError(must_be("the licence", allowed, f"'{license}'"))
    parsed = _parsed(card)
    parsed.data.license = name
    return str(parsed)


def _parsed(card: str) -> ModelCard:
    """Return a card, its metadata read.

    Raises:
        ModelError: they can't be read.
    """
    from huggingface_hub import ModelCard

    try:
        return ModelCard(card)
    except Exception as error:  # whatever the Hub's client comes upon in its metadata
        where = "the metadata of the card in the model's README.md"
        raise ModelError(must_be(where, "valid YAML", first_line(error))) from error


def public_text(text: str) -> str:
    """Return a recipe's or metrics' text with nothing of a path but its last part."""
    return re.sub(r"(?<![\w:/.~])(?:~|/)(?:[^\s\"'/]+/)*([^\s\"'/]+)/?(?=[\s\"',]|$)", r"\1", text)


def _text_of(file: Path) -> str:
    """Return a text of a run.

    Raises:
        ModelError: it is none.
    """
    try:
        return file.read_text(encoding="utf-8")
    except (UnicodeDecodeError, OSError) as error:
        raise ModelError(must_be(str(file), "a readable UTF-8 file", first_line(error))) from error


def _without_path(file: Path, notes: list[str]) -> bytes:
    """Return what `hftransfer.json` says, without the way to a base model on this disk."""
    said = object_in(file)
    base = said.get("base")
    if isinstance(base, dict) and base.get("path"):
        said["base"] = {**base, "path": None}
        notes.append(
            f"the base model '{base.get('name')}' is only on this computer: others must load the adapter with base=…. "
            "Or push a merged model (hftransfer export --format merged)"
        )
    return (json.dumps(said, indent=1, ensure_ascii=False) + "\n").encode()


def _require_nothing_private(files: Mapping[str, bytes | Path]) -> None:
    tokens = {os.environ.get(name, "") for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN")} - {""}
    # A path below home names a person's account.
    home = str(Path.home()).rstrip("/\\")
    private = [f"{home}{mark}".encode() for mark in "/\\"] if home else []
    faults = []
    for name, content in files.items():
        # Weights hold no text, and reading them all would take long.
        if not name.endswith(_TEXT_FILES):
            continue
        text = _content(content)
        if _TOKEN.search(text) or any(token.encode() in text for token in tokens):
            faults.append(must_be(f"the file {name}", "free of tokens", "one with a token", "Nothing was sent."))
        elif any(path in text for path in private):
            faults.append(must_be(f"the file {name}", "free of paths of this computer", f"one that names {home}"))
    if faults:
        raise PushError(*faults)


def _content(content: bytes | Path) -> bytes:
    return content if isinstance(content, bytes) else content.read_bytes()


def _sha256(content: bytes | Path) -> str:
    if isinstance(content, bytes):
        return hashlib.sha256(content).hexdigest()
    with content.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def with_section(card: str, more: str) -> str:
    """Return a card with more at the end of our section."""
    return card.replace(END, f"{more.strip()}\n\n{END}", 1) if more.strip() else card


def merged_card(there: str, own: str) -> str:
    """Return a card that is on the Hub already, with our section as it is now: what people wrote around it, and
    metadata of theirs, stay."""
    from huggingface_hub import ModelCard, ModelCardData

    own_card = ModelCard(own)
    section = own_card.text[own_card.text.index(BEGIN) : own_card.text.index(END) + len(END)]
    try:
        their_card = ModelCard(there, ignore_metadata_errors=True)
        data, text = their_card.data.to_dict(), their_card.text
    except (ValueError, TypeError):  # no metadata that can be read
        data, text = {}, there
    start, stop = text.find(BEGIN), text.find(END)
    # A card without our marks was written by hand: all of it stays, above ours.
    above, below = (text[:start], text[stop + len(END) :]) if 0 <= start < stop else (f"{text.rstrip()}\n\n", "\n")
    # Ours wins where both say something; what we do not set is theirs.
    merged = ModelCardData(**{**data, **own_card.data.to_dict()}, ignore_metadata_errors=True)
    return f"---\n{merged.to_yaml()}\n---\n{(above + section + below).lstrip()}"


# --- the other side --------------------------------------------------------------------------------------------------


class _Remote:
    """The repository on the Hub: what is asked of it is asked again where it fails for a while."""

    def __init__(self, api: HfApi, repo_id: str, revision: str | None, wait: Callable[[float], None]) -> None:
        self.api, self.repo_id, self.revision, self.wait = api, repo_id, revision, wait

    def tried(self, what: str, ask: Callable[[], T]) -> T:
        """Return the answer, after some tries where it takes them.

        Raises:
            PushError: there is none.
        """
        for pause in (*_WAITS, None):
            try:
                return ask()
            except Exception as error:
                if pause is None or not _is_transient(error):
                    raise self._refusal(what, error) from error
                self.wait(pause)
        raise AssertionError

    def prepare(self, *, private: bool) -> str:
        """Return the address of the repository, which is made, and its branch too, where there is none."""
        api, name, branch = self.api, self.repo_id, self.revision
        url = str(self.tried("create the repository", lambda: api.create_repo(name, private=private, exist_ok=True)))
        if branch is not None:
            self.tried("create the branch", lambda: api.create_branch(name, branch=branch, exist_ok=True))
        return url

    def head(self) -> str:
        """Return the newest commit."""
        info = self.tried("read the repository", lambda: self.api.model_info(self.repo_id, revision=self.revision))
        return str(info.sha)

    def files(self, commit: str) -> dict[str, str]:
        """Return the files of a commit, and what tells their content."""

        def ask() -> dict[str, str]:
            listed = self.api.list_repo_tree(self.repo_id, recursive=True, revision=commit)
            return {entry.path: str(entry.blob_id) for entry in listed if hasattr(entry, "blob_id")}

        found: dict[str, str] = self.tried("list the files", ask)
        return found

    def text(self, name: str, commit: str) -> str:
        """Return a file of a commit."""
        path = self.tried(
            f"read {name}", lambda: self.api.hf_hub_download(self.repo_id, name, revision=commit, force_download=True)
        )
        return Path(path).read_text(encoding="utf-8")

    def manifest(self, files: Mapping[str, str], commit: str) -> dict[str, str]:
        """Return what the last push put there; nothing where there was none."""
        if MANIFEST not in files:
            return {}
        try:
            found = json.loads(self.text(MANIFEST, commit))["files"]
            return {str(name): str(digest) for name, digest in found.items()}
        except (ValueError, KeyError, TypeError, AttributeError):
            return {}

    def committed(self, commit: Callable[[], str], head: str, told: Mapping[str, bytes]) -> str:
        """Return the commit that was made on top of `head`: once, whatever the answer was. What was `told`, by name, is
        known there if it is ours.

        Raises:
            PushError: it was not made.
        """
        for pause in (*_WAITS, None):
            try:
                return commit()
            except Exception as error:
                now = self.head()
                if now != head:  # the answer was lost, or somebody else was faster
                    there = self.files(now)
                    if all(name in there and self.text(name, now).encode() == own for name, own in told.items()):
                        return now
                    raise self._moved(head, now) from error
                if pause is None or not _is_transient(error):
                    raise self._refusal("create the commit", error) from error
                self.wait(pause)
        raise AssertionError

    def _moved(self, head: str, now: str) -> PushError:
        before, after = self.files(head), self.files(now)
        changed = sorted(name for name in {**before, **after} if before.get(name) != after.get(name))
        remedy = f"Others changed {some(changed, 5) or 'it'}. Look at it, then push again; nothing was overwritten."
        return PushError(
            must_be(
                f"the repository {self.repo_id}", f"unchanged since commit {head[:12]}", f"commit {now[:12]}", remedy
            )
        )

    def _refusal(self, what: str, error: Exception) -> PushError:
        status = _status_of(error)
        remedies = {
            401: "Log in with `hf auth login`, or set HF_TOKEN to a token that may write.",
            403: "Use a token that may write to this namespace.",
            404: "Check the namespace.",
        }
        if getattr(error, "__class__", type).__name__ == "LocalTokenNotFoundError":
            status = 401
        remedy = remedies.get(int(status or 0), "Your files are unchanged: try again later.")
        if _is_offline(error):
            return PushError("The Hub can't be reached (HF_HUB_OFFLINE is set). Nothing was sent.")
        got = f"{status}: {first_line(error)}" if status else first_line(error)
        if status is None and _is_transient(error):
            got = f"it can't be reached ({got})"
        return PushError(f"Could not {what} for {self.repo_id} on the Hub: {got.rstrip('.')}. {remedy}")


def _is_transient(error: BaseException) -> bool:
    """Return whether an error is one that goes away by itself: too many requests, a fault of the server, a lost
    connection.

    The client wraps those of uploads."""
    status = _status_of(error)
    if status is not None:
        return status == 429 or status >= 500
    if _is_offline(error):  # a ConnectionError, too, but one that a person asked for
        return False
    # By name: the client may use requests or httpx, and neither is imported for this.
    names = {kind.__name__ for one in _chain(error) for kind in type(one).__mro__}
    lost = any(isinstance(one, ConnectionError | TimeoutError) for one in _chain(error))
    return lost or bool(names & {"TransportError", "RequestException"})


def _is_offline(error: BaseException) -> bool:
    return any(type(one).__name__ == "OfflineModeIsEnabled" for one in _chain(error))


def _status_of(error: BaseException) -> int | None:
    """Return the status that the Hub answered with, if it answered."""
    found = (getattr(getattr(one, "response", None), "status_code", None) for one in _chain(error))
    return next((int(status) for status in found if status is not None), None)


def _chain(error: BaseException) -> list[BaseException]:
    chain: list[BaseException] = []
    own: BaseException | None = error
    while own is not None and own not in chain:
        chain.append(own)
        own = own.__cause__
    return chain


def require_valid_card(data: ModelCardData) -> None:
    """Return if the Hub takes a card with this metadata (a `ModelCardData`), before anything is trained.

    Raises:
        PushError: it does not, with what it says.
    """
    from huggingface_hub import ModelCard

    try:
        ModelCard(f"---\n{data.to_yaml()}\n---\n").validate()
    except ValueError as error:
        remedy = "See hub.license and hub.language of the recipe."
        where, allowed = "the metadata of the card", "valid on the Hub"
        raise PushError(must_be(where, allowed, _message_in(str(error)), remedy)) from error
    except Exception as error:
        if not _is_transient(error):
            raise


def _message_in(answer: str) -> str:
    """Return what the Hub says of a card, out of its JSON."""
    try:
        return "; ".join(str(error["message"]) for error in json.loads(answer)["errors"])
    except (ValueError, KeyError, TypeError):
        return answer.strip().partition("\n")[0]


def require_pushable(repo_id: str, token: str | None = None, endpoint: str | None = None) -> str:
    """Return the name of the user whose token may write there, before anything is trained.

    Raises:
        ModelError: the id is none.
        PushError: there is no token, or it may not write to the namespace.
    """
    from huggingface_hub import HfApi

    require_repo_id(repo_id)
    api = HfApi(endpoint=endpoint, token=token, library_name="hftransfer")
    remote = _Remote(api, repo_id, None, time.sleep)
    found = remote.tried("check the token", api.whoami)
    namespace = repo_id.partition("/")[0]
    roles = {str(org.get("name")): str(org.get("roleInOrg")) for org in found.get("orgs", [])}
    role = ((found.get("auth") or {}).get("accessToken") or {}).get("role")
    if role == "read":
        remedy = "Create one at https://huggingface.co/settings/tokens."
        raise PushError(must_be("the token of the Hub", "one with write access", "one that may only read", remedy))
    if namespace != found.get("name") and roles.get(namespace) not in ("admin", "write", "contributor"):
        allowed = f"one of your own ({some([str(found.get('name')), *roles])})"
        raise PushError(must_be("the namespace of hub.push_to", allowed, f"'{namespace}'"))
    return str(found.get("name"))
