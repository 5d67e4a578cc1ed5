"""A model's files on this disk, wherever they came from: a local folder, the Hub, or a bundled package.

Nothing here imports torch, so `hftransfer check` can look at a model cheaply.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Literal, Protocol

from safetensors import SafetensorError, safe_open

from hftransfer.adapters.bundled import BUNDLED_MODELS, bundled_folder, file_sha256
from hftransfer.adapters.keras_files import KERAS_FILE, LOCAL, PREFIX, KerasFile, application_folder, local_file
from hftransfer.adapters.sizes import require_fitting_numbers, shapes_in
from hftransfer.adapters.terms import license_of, open_twin
from hftransfer.base.errors import ModelError, first_line, must_be, nearest, user_path
from hftransfer.base.extras import require_extra
from hftransfer.base.plain import JsonObject
from hftransfer.data.rows import LFS_POINTER

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*(/[\w.-]+)?")
# Of weights safetensors alone: a pickle could run code when it is loaded.
_FETCHED = ["*.json", "*.safetensors", "*.txt", "*.model", "*.spm", "*.tiktoken", "README.md", KERAS_FILE]
MODULE = "torch_module"
"""The family of networks of torch that are given as objects."""
OPEN_CLIP_CONFIG = "open_clip_config.json"
OPEN_CLIP_WEIGHTS = "open_clip_model.safetensors"


class HeldModel(Protocol):
    """A model that is an object of Python, and no files."""

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The shape of every tensor, by name."""

    @property
    def sha256(self) -> str:
        """The digest that tells it from others."""


@dataclass(frozen=True)
class Checkpoint:
    """A folder with `config.json` and safetensors weights.

    `name` is what the user wrote, `revision` the commit a Hub id was resolved to, `whole` the folder of
    sentence-transformers that the model lies in or is; `keras` is the one file in which Keras keeps a whole model;
    `module` is a network of torch as an object, in place of files or, once it is trained, beside its weights.
    """

    name: str
    folder: Path
    revision: str | None = None
    whole: Path | None = None
    keras: KerasFile | None = None
    module: HeldModel | None = None

    @cached_property
    def pooling(self) -> Literal["mean", "cls", "last"] | None:
        """How sentence-transformers pools the tokens of this model, as the folder says; None where it says nothing, or
        what has no name here."""
        for kind, folder in self.sentence_modules:
            if kind == "Pooling":
                return _pooling_of(object_in(folder / "config.json"))
        return None

    @property
    def pools_otherwise(self) -> bool:
        """Return whether sentence-transformers pools the tokens of this model in a way that has no name here."""
        return self.pooling is None and any(kind == "Pooling" for kind, _ in self.sentence_modules)

    @cached_property
    def sentence_modules(self) -> list[tuple[str, Path]]:
        """The modules of a folder of sentence-transformers in their order, by kind, and where each lies.

        Raises:
            ModelError: their list is damaged, or one lies elsewhere.
        """
        if self.whole is None:
            return []
        return [(one["type"].rpartition(".")[2], self.whole / one["path"]) for one in _modules_in(self.whole)]

    @cached_property
    def read_tokens(self) -> int | None:
        """How many tokens of a text sentence-transformers reads with this model, as the folder says; None where it says
        nothing."""
        # `sentence_bert_config.json`; older folders have other families' names in it.
        for file in sorted(self.folder.glob("sentence_*_config.json")) if self.whole is not None else ():
            found = object_in(file).get("max_seq_length")
            if type(found) is int and found > 0:
                return found
        return None

    @cached_property
    def is_open_clip(self) -> bool:
        """Return whether the folder is to be read in open_clip's layout."""
        # A folder in both layouts is read by transformers, unless the name asks for open_clip.
        if self.module is not None:
            return False
        wanted = self.name.startswith("open_clip:") or not (self.folder / "config.json").is_file()
        return wanted and (self.folder / OPEN_CLIP_CONFIG).is_file()

    @property
    def config_file(self) -> Path:
        """The file that says what the model is."""
        if self.keras is not None:
            return self.keras.path
        return self.folder / (OPEN_CLIP_CONFIG if self.is_open_clip else "config.json")

    @cached_property
    def config(self) -> JsonObject:
        """The parsed configuration."""
        if self.keras is not None:
            return {"model_type": "keras"}
        if self.module is not None and not self.is_trained_module:
            return {"model_type": MODULE}
        return json_object(self.config_file)

    @property
    def is_trained_module(self) -> bool:
        """Return whether the folder holds the weights of a network of torch that a run trained."""
        return (self.folder / "config.json").is_file()

    @property
    def family(self) -> str:
        """The model family, from the checkpoint's own configuration (`vit`, `resnet`, `timm_wrapper`, …)."""
        if self.is_open_clip:
            return "open_clip"
        if "model_type" in self.config:
            return str(self.config["model_type"])
        return "timm_wrapper" if "architecture" in self.config else ""

    @cached_property
    def license(self) -> str | None:
        """The licence of the model, as its card says; None where none is known."""
        return license_of(self.name, self.whole or self.folder, self.config)

    @property
    def architectures(self) -> list[str]:
        """The names of the classes of transformers that the configuration gives."""
        named = self.config.get("architectures")
        return [str(name) for name in named] if isinstance(named, list) else []

    @property
    def weight_files(self) -> list[Path]:
        """The safetensors files that hold the weights; of Keras its own file."""
        if self.keras is not None:
            return [self.keras.path]
        whole = self.folder / (OPEN_CLIP_WEIGHTS if self.is_open_clip else "model.safetensors")
        index = self.folder / "model.safetensors.index.json"
        if whole.exists() or not index.exists():  # the order in which transformers looks
            return [whole]
        # The index names a file for every tensor: most names come many times.
        names = set(json_object(index)["weight_map"].values())
        return sorted(self.folder / name for name in names)

    @cached_property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The shape of every tensor, by name, as the headers of the weight files tell."""
        if self.keras is not None:
            return self.keras.shapes
        if self.module is not None:
            return self.module.shapes
        return shapes_in(self.weight_files)

    @cached_property
    def weights_sha256(self) -> str:
        """The SHA-256 of the weight file; of several files, that over their SHA-256s."""
        if self.keras is not None:
            return self.keras.sha256
        if self.module is not None:
            return self.module.sha256
        files = [file_sha256(file) for file in self.weight_files]
        return hashlib.sha256("".join(files).encode()).hexdigest() if len(files) > 1 else files[0]


def find_checkpoint(name: str, revision: str | None = None, *, fetch: bool = True) -> Checkpoint | None:
    """Return the checkpoint behind a name: `bundled/<name>`, a local folder, or a Hub id (fetched, safetensors only).

    With `fetch=False` nothing is downloaded or converted: None stands for what is not a folder on this disk yet.

    Raises:
        ModelError: there is no such model, or its folder is not a whole, safe checkpoint.
    """
    if name.startswith("bundled/"):
        if name not in BUNDLED_MODELS:
            raise ModelError(must_be("model", "a bundled model", f"'{name}'", nearest(name, BUNDLED_MODELS)))
        converted = bundled_folder(name, convert=fetch)
        return _checked(_found_inside(Checkpoint(name, converted))) if converted else None
    if name.startswith("open_clip:"):
        return _open_clip_checkpoint(name, revision, fetch=fetch)
    if name.startswith(PREFIX):
        return _keras_checkpoint(name, fetch=fetch)
    folder = user_path(name, "model", ModelError)
    if _is_of_keras(folder):
        return _of_keras(name, folder / KERAS_FILE)
    if folder.is_dir():
        return _checked(_found_inside(Checkpoint(name, folder)))
    if folder.is_file():
        raise ModelError(must_be("model", "a folder with config.json and model.safetensors", f"the file '{name}'"))
    # A name that begins so was meant as a path, and the Hub is not asked for it.
    if name.startswith((".", "/", "~")) or not _HUB_ID.fullmatch(name):
        remedy = nearest(name, BUNDLED_MODELS) if "bundled" in name else f"The current folder is {Path.cwd()}."
        allowed = "an existing folder, a Hub id or bundled/<name>"
        raise ModelError(must_be("model", allowed, f"'{name}'", remedy))
    if not fetch:
        return None
    fetched = _fetched(name, revision, _FETCHED)
    if _is_of_keras(fetched.folder):
        return replace(_of_keras(name, fetched.folder / KERAS_FILE), revision=fetched.revision)
    return _checked(_found_inside(fetched))


def _keras_checkpoint(name: str, *, fetch: bool) -> Checkpoint | None:
    """Return the model behind `keras:local-dir:PATH` or `keras:NAME`."""
    if name.startswith(LOCAL):
        return _of_keras(name, local_file(name))
    folder = application_folder(name, fetch=fetch)
    return _of_keras(name, folder / KERAS_FILE) if folder is not None else None


def _is_of_keras(folder: Path) -> bool:
    """Return whether a folder holds a model of Keras, and none of transformers beside it."""
    return (folder / KERAS_FILE).is_file() and not (folder / "config.json").is_file()


def _of_keras(name: str, file: Path) -> Checkpoint:
    """Return the model in a file of Keras', found whole and without code of its own."""
    require_extra("keras", f"model '{name}'")
    found = KerasFile(file, name)
    found.require_safe()
    return Checkpoint(name, file.parent, keras=found)


def _open_clip_checkpoint(name: str, revision: str | None, *, fetch: bool) -> Checkpoint | None:
    """Return the folder behind `open_clip:local-dir:PATH`, `open_clip:hf-hub:ID` or `open_clip:NAME/TAG`."""
    reference = name.removeprefix("open_clip:")
    if reference.startswith("local-dir:"):
        folder = user_path(reference.removeprefix("local-dir:"), "model", ModelError)
        if not (folder / OPEN_CLIP_CONFIG).is_file():
            got = f"none in '{folder}'" if folder.is_dir() else f"no folder '{folder}'"
            raise ModelError(must_be(f"model '{name}'", f"a folder with {OPEN_CLIP_CONFIG}", got))
        return _checked(Checkpoint(name, folder))
    if not reference.startswith("hf-hub:") and not re.fullmatch(r"[\w.-]+/[\w.-]+", reference):
        allowed = "open_clip:NAME/TAG, open_clip:hf-hub:ID or open_clip:local-dir:PATH"
        raise ModelError(must_be("model", allowed, f"'{name}'", "For example open_clip:ViT-B-32/laion2b_s34b_b79k."))
    if not fetch:
        return None
    fetched = _fetched(
        _open_clip_hub_id(name, reference),
        revision,
        [name for name in _FETCHED if name != "*.safetensors"] + [OPEN_CLIP_WEIGHTS],
    )
    return _checked(_renamed(fetched, name))


def _open_clip_hub_id(name: str, reference: str) -> str:
    """Return the Hub id of a model that open_clip knows by name and tag."""
    if reference.startswith("hf-hub:"):
        return reference.removeprefix("hf-hub:")
    import open_clip

    architecture, tag = reference.split("/")
    known = open_clip.list_pretrained_tags_by_model(architecture)
    if not known:
        options = sorted({model for model, _ in open_clip.list_pretrained()})
        raise ModelError(must_be(f"model '{name}'", "an open_clip model", architecture, nearest(architecture, options)))
    if tag not in known:
        raise ModelError(must_be(f"model '{name}'", f"a tag of {architecture}", f"'{tag}'", nearest(tag, known)))
    hub_id = str((open_clip.get_pretrained_cfg(architecture, tag) or {}).get("hf_hub", "")).strip("/")
    if hub_id.count("/") != 1:
        remedy = "Its weights on the Hub are not safetensors; choose another tag."
        raise ModelError(must_be(f"model '{name}'", "one that open_clip keeps on the Hub", f"'{hub_id}'", remedy))
    return hub_id


def fetch_config(name: str, revision: str | None = None) -> Checkpoint:
    """Return the checkpoint behind a Hub id with its configuration alone: enough to know its family.

    Raises:
        ModelError: it can't be fetched.
    """
    if name.startswith("open_clip:"):
        hub_id = _open_clip_hub_id(name, name.removeprefix("open_clip:"))
        return _configured(_renamed(_fetched(hub_id, revision, [OPEN_CLIP_CONFIG]), name))
    return _configured(
        _found_inside(_fetched(name, revision, ["config.json", "modules.json", "0*/config.json", "README.md"]))
    )


def family_by_name(name: str) -> str:
    """Return the family of a model whose name alone tells it: a bundled one, or one of Keras; else ""."""
    if name in BUNDLED_MODELS:
        return BUNDLED_MODELS[name].family
    return "keras" if name.startswith(PREFIX) else ""


def is_hub_id(name: str) -> bool:
    """Return whether a name may be that of a model on the Hub."""
    return _HUB_ID.fullmatch(name) is not None


def fetch_model(name: str, revision: str | None = None) -> Path:
    """Return the folder with a Hub id's settings and safetensors weights, whatever they are of: a model, or LoRA's
    matrices.

    Raises:
        ModelError: it can't be fetched.
    """
    return _fetched(name, revision, _FETCHED).folder


def _found_inside(checkpoint: Checkpoint) -> Checkpoint:
    """Return the model that sentence-transformers keeps in a folder (`0_Transformer`, `0_BERT`), or in a folder of its
    own layout; another checkpoint as it is."""
    folder, modules = checkpoint.folder, _modules_in(checkpoint.folder)
    if not modules:
        return checkpoint
    own = folder / "config.json" if (folder / "config.json").is_file() else folder / modules[0]["path"] / "config.json"
    return Checkpoint(checkpoint.name, own.parent, checkpoint.revision, folder) if own.is_file() else checkpoint


def _modules_in(folder: Path) -> list[dict[str, str]]:
    """Return the modules that `modules.json` of sentence-transformers names, each in a folder right here.

    Raises:
        ModelError: it is damaged, or one lies elsewhere.
    """
    file = folder / "modules.json"
    if not file.is_file():
        return []
    try:
        entries = json.loads(file.read_text(encoding="utf-8"))
        modules = [{"type": str(module["type"]), "path": str(module["path"])} for module in entries]
    except (ValueError, OSError, KeyError, TypeError, RecursionError) as error:
        got = f"another ({first_line(error)})"
        raise ModelError(must_be(str(file), "a list of modules with a type and a path", got)) from error
    for module in modules:
        if not re.fullmatch(r"[\w-]*", module["path"]):
            raise ModelError(must_be(f"a path in {file}", "the name of a folder beside it", f"'{module['path']}'"))
    return modules


def _pooling_of(settings: JsonObject) -> Literal["mean", "cls", "last"] | None:
    """Return the one way of pooling that a module of sentence-transformers is set to."""
    names: dict[str, Literal["mean", "cls", "last"]] = {
        "pooling_mode_mean_tokens": "mean",
        "pooling_mode_cls_token": "cls",
        "pooling_mode_lasttoken": "last",
    }
    # Older versions have a flag for each way, newer ones a word.
    chosen = [key for key, value in settings.items() if key.startswith("pooling_mode_") and value is True]
    if len(chosen) == 1:
        return names.get(chosen[0])
    by_word: dict[str, Literal["mean", "cls", "last"]] = {"mean": "mean", "cls": "cls", "lasttoken": "last"}
    return by_word.get(str(settings.get("pooling_mode"))) if not chosen else None


def _renamed(checkpoint: Checkpoint, name: str) -> Checkpoint:
    """Return the same files under the name that the user wrote."""
    return Checkpoint(name, checkpoint.folder, checkpoint.revision)


def _fetched(name: str, revision: str | None, patterns: list[str]) -> Checkpoint:
    """Return the Hub's files of these patterns in the local Hub cache."""
    from huggingface_hub import errors, snapshot_download

    label = f"'{name}'" + (f" at revision '{revision}'" if revision else "")
    try:
        folder = Path(snapshot_download(name, revision=revision, allow_patterns=patterns))
    except errors.RevisionNotFoundError as error:
        raise ModelError(must_be("model.revision", f"a branch, tag or commit of {name}", f"'{revision}'")) from error
    except errors.GatedRepoError as error:
        raise _gated(name) from error
    except errors.RepositoryNotFoundError as error:
        remedy = f"{_as_folder(name)}Check the spelling; for a private model log in with `hf auth login`."
        raise ModelError(must_be("model", "a model on the Hub or an existing folder", label, remedy)) from error
    except (errors.EntryNotFoundError, errors.OfflineModeIsEnabled, errors.HfHubHTTPError, OSError) as error:
        # The client wraps the Hub's refusal in an error of its own cache: the answer is among the causes.
        refused = next((own for own in _causes(error) if isinstance(own, errors.HfHubHTTPError)), None)
        if isinstance(refused, errors.GatedRepoError):
            raise _gated(name) from error
        if refused is not None and refused.response.status_code in (401, 403):
            remedy = "Log in with `hf auth login`; a fine-grained token needs the right to read this repository."
            got = f"{label}, which the Hub refuses ({refused.response.status_code})"
            raise ModelError(must_be("model", "one that you have access to", got, remedy)) from error
        remedy = "It is not in the local cache and the Hub can't be reached: check your connection and HF_HUB_OFFLINE."
        remedy = _as_folder(name) + remedy
        raise ModelError(
            must_be("model", "an existing folder or a model that can be fetched", label, remedy)
        ) from error
    except ValueError as error:  # a name that the Hub has no repositories of
        raise ModelError(
            must_be("model", "an existing folder or a Hub id", f"{label} ({first_line(error)})")
        ) from error
    return Checkpoint(name, folder, folder.name)


def _as_folder(name: str) -> str:
    """Return what a name lacks as that of a folder, where one that may hold it lies here; else nothing."""
    parent, _, own = name.rpartition("/")
    if not parent or not Path(parent).is_dir():
        return ""
    here = [one.name for one in Path(parent).iterdir() if one.is_dir()]
    known = nearest(own, here[:20])
    return f"The folder {parent} here holds no '{own}'. {known}{' ' if known else ''}"


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """Return an error and those it came from."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _gated(name: str) -> ModelError:
    """Return what a person is told whose account may not have a repository yet."""
    remedy = f"Accept its terms at https://huggingface.co/{name}, then log in with `hf auth login`."
    if (ungated := open_twin(name)) is not None:
        remedy += f" The same weights without this step: {ungated}."
    return ModelError(must_be("model", "one that you have access to", f"'{name}', which is gated", remedy))


def _configured(checkpoint: Checkpoint) -> Checkpoint:
    """Return the same checkpoint, its configuration found sound."""
    name = checkpoint.name
    if not checkpoint.config_file.is_file():
        remedy = "Give a folder that save_pretrained wrote."
        if (checkpoint.folder / "adapter_config.json").is_file():
            remedy = "It contains a LoRA adapter: give its base model, or one with merge: true."
        raise ModelError(must_be(f"model '{name}'", "a folder with a config.json", "none there", remedy))
    try:
        family = checkpoint.family
    except (ValueError, OSError) as error:
        raise ModelError(must_be(f"{name}/{checkpoint.config_file.name}", "valid JSON", str(error))) from error
    if not family:
        raise ModelError(must_be(f"{name}/config.json", "one that names a model_type", "none"))
    return checkpoint


def _checked(checkpoint: Checkpoint) -> Checkpoint:
    """Return the same checkpoint, its files found whole and none leading out of its folder."""
    folder, name = checkpoint.folder, _configured(checkpoint).name
    try:
        files = checkpoint.weight_files
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        where = f"{name}/model.safetensors.index.json"
        raise ModelError(must_be(where, "an index with a weight_map", str(error))) from error
    for file in files:
        # A name in the index may lead elsewhere, by `..` or as an absolute path.
        if file.parent != folder or file.name != Path(file.name).name or ".." in file.parts[len(folder.parts) :]:
            got = f"the weight file '{file}'"
            raise ModelError(must_be(f"{name}/model.safetensors.index.json", "an index of files beside it", got))
    missing = [file.name for file in files if not file.is_file()]
    if missing:
        # Many people have a .bin or .pt: say so, rather than that nothing is there.
        pickled = sorted(f.name for p in ("*.bin", "*.pt", "*.pth", "*.ckpt") for f in folder.glob(p))
        remedy = "hftransfer never trains from random weights."
        if pickled:
            remedy = f"{pickled[0]} is a pickle, which is not read: convert it to safetensors."
        raise ModelError(must_be(f"model '{name}'", f"a folder with {missing[0]}", "none there", remedy))
    for file in files:
        try:
            with safe_open(file, framework="numpy"):  # reads the header and compares it with the file's size
                pass
        except (SafetensorError, OSError) as error:
            got, remedy = f"weights that are truncated or damaged ({file.name}: {error})", ""
            if _is_lfs_pointer(file):
                got, remedy = f"a Git LFS pointer, not the file ({file.name})", "Fetch the files: git lfs pull."
            raise ModelError(must_be(f"model '{name}'", "a folder with complete weights", got, remedy)) from error
    require_fitting_numbers(name, checkpoint.config, checkpoint.shapes)
    return checkpoint


def _is_lfs_pointer(file: Path) -> bool:
    """Return whether a file holds what a clone without Git LFS leaves in place of its content."""
    try:
        with file.open("rb") as stream:
            return stream.read(len(LFS_POINTER)) == LFS_POINTER
    except OSError:
        return False


def sidecar(folder: Path) -> JsonObject:
    """Return what `hftransfer.json` in a model folder says beyond the native files; nothing where there is none.

    Raises:
        ModelError: it is damaged.
    """
    return object_in(folder / "hftransfer.json")


def object_in(file: Path) -> JsonObject:
    """Return the JSON object in a file beside a model; an empty one where there is no file.

    Raises:
        ModelError: it is damaged.
    """
    if not file.is_file():
        return {}
    try:
        return json_object(file)
    except (ValueError, OSError) as error:
        raise ModelError(must_be(str(file), "a file with a JSON object", f"another ({first_line(error)})")) from error


def json_object(file: Path) -> JsonObject:
    """Return the JSON object in a file.

    Raises:
        ValueError: it is damaged, nested too deeply, or something else.
    """
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    if not isinstance(content, dict):
        raise ValueError("not a JSON object")
    return content
