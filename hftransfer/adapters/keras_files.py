"""Models in Keras' files, `.keras` and `.h5`, looked at before Keras reads them. Importing this imports neither.

A file describes its network in JSON, and Keras builds what it reads there. Whatever could run code of the file's own,
or read other files, is refused first; `safe_mode` is the second lock.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import sys
import zipfile
from collections.abc import Iterator
from contextlib import redirect_stdout
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from hftransfer.adapters.bundled import file_sha256
from hftransfer.adapters.keras_pixels import APPLICATIONS, Preprocessing
from hftransfer.adapters.libraries import keras_on_torch, keras_without_network, quiet_keras, seeded_keras
from hftransfer.base.cache import cache_folder, mark_in_use, new_entry
from hftransfer.base.errors import ModelError, first_line, must_be, nearest, some, user_path
from hftransfer.base.extras import require_extra
from hftransfer.base.plain import JsonObject

if TYPE_CHECKING:
    import h5py

KERAS_FILE = "model.keras"
PREFIX = "keras:"
LOCAL = "keras:local-dir:"
_SUFFIXES = (".keras", ".h5", ".hdf5")
_WEIGHTS = ("imagenet", "none")
# Layers that hold code of their own, or other libraries' files.
_NEVER = ("Lambda", "__lambda__", "TorchModuleWrapper", "JaxLayer", "FlaxLayer", "TFSMLayer", "PyDataset")
_SIZES = ("units", "filters", "input_dim", "output_dim", "depth_multiplier", "projection_dim")
_MOST_BYTES, _MOST_TIMES, _LARGEST_SIZE = 1 << 24, 20, 4096


@dataclass(frozen=True)
class KerasFile:
    """A whole model in one file of Keras'."""

    path: Path
    name: str
    """What the user wrote."""

    @property
    def zipped(self) -> bool:
        """Return whether it is Keras 3's format; else that of HDF5."""
        return self.path.suffix == ".keras"

    @cached_property
    def config(self) -> JsonObject:
        """The network as the file describes it.

        Raises:
            ModelError: it is damaged, or holds weights alone.
        """
        try:
            text = self._zipped_config() if self.zipped else self._hdf5_config()
            found = json.loads(text)
        except (OSError, ValueError, KeyError, zipfile.BadZipFile, RecursionError) as error:
            raise self._unfit("a whole file of Keras", f"a damaged one ({first_line(error)})") from error
        if not isinstance(found, dict):
            raise self._unfit("a whole file of Keras", "one that describes no network")
        return found

    def _zipped_config(self) -> str:
        return self._part("config.json").decode("utf-8")

    def _part(self, name: str) -> bytes:
        """Return a part of a zipped file, which isn't far larger than it is there."""
        with zipfile.ZipFile(self.path) as archive:
            part = archive.getinfo(name)
            if part.file_size > max(_MOST_BYTES, _MOST_TIMES * part.compress_size):
                got = f"{name} of {part.file_size:,} bytes, packed into {part.compress_size:,}"
                raise self._unfit("about as large as its file", got)
            return archive.read(name)

    def _hdf5_config(self) -> str:
        import h5py

        with h5py.File(self.path, "r") as content:
            text = content.attrs.get("model_config")
            if text is None:
                remedy = "Save the model itself: model.save('model.keras')."
                raise self._unfit("one with its network", "only weights", remedy)
            return text.decode("utf-8") if isinstance(text, bytes) else str(text)

    @cached_property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The shape of every array of weights, by its place in the file.

        Raises:
            ModelError: it is damaged, or an array lies in another file.
        """
        import h5py

        found: dict[str, tuple[int, ...]] = {}

        def walk(group: h5py.Group, way: str) -> None:
            for key in group:
                # A link could lead the reader to any file of this disk.
                if isinstance(group.get(key, getlink=True), h5py.ExternalLink):
                    raise self._unfit("one with all its weights in it", f"a link to another file ({way}/{key})")
                entry = group[key]
                if isinstance(entry, h5py.Group):
                    walk(entry, f"{way}/{key}")
                elif entry.external:
                    raise self._unfit("one with all its weights in it", f"an array in another file ({way}/{key})")
                else:
                    found[f"{way}/{key}"] = tuple(entry.shape)

        try:
            with self._weights() as content:
                walk(content, "")
        except (OSError, ValueError, KeyError, zipfile.BadZipFile, RecursionError) as error:
            raise self._unfit("a whole file of Keras", f"a damaged one ({first_line(error)})") from error
        return found

    def _weights(self) -> h5py.File:
        import h5py

        if not self.zipped:
            return h5py.File(self.path, "r")
        return h5py.File(io.BytesIO(self._part("model.weights.h5")), "r")

    @cached_property
    def sha256(self) -> str:
        """The SHA-256 of network and weights; the date in a file of Keras 3's is no part of it."""
        if not self.zipped:
            return file_sha256(self.path)
        # A digest of digests: where one part ends and the next begins makes a difference.
        parts = [self._part(name) for name in ("config.json", "model.weights.h5")]
        return hashlib.sha256(b"".join(hashlib.sha256(part).digest() for part in parts)).hexdigest()

    def require_safe(self) -> None:
        """Return if reading the file builds layers of Keras' own alone, about as large as its weights.

        Raises:
            ModelError: it holds code, or asks for code or files from elsewhere; all such places are named.
        """
        config = self.config
        try:
            nodes, sizes = list(_described({**config, "compile_config": None})), list(_sizes(config))
        except RecursionError as error:
            raise self._unfit("a network with few nested levels", "too many") from error
        never = sorted({kind for kind, _, _ in nodes if kind in _NEVER})
        if never:
            remedy = (
                "Such a layer runs code of the file. Write it as a layer of Keras, or of keras.ops, and save again."
            )
            raise self._unfit("one without code of its own", f"a layer {' and '.join(never)}", remedy)
        foreign = sorted({f"{place or where}.{kind}" for kind, where, place in nodes if not _is_of_keras(where, place)})
        if foreign:
            remedy = "Layers of other packages aren't imported."
            raise self._unfit("one of Keras' own layers", some(foreign), remedy)
        largest = max(_LARGEST_SIZE, *(max(shape, default=0) for shape in self.shapes.values())) if self.shapes else 0
        for key, size in sizes:
            if size > max(largest, _LARGEST_SIZE):
                raise self._unfit("about as large as its weights", f"{key} of {size:,}")

    def _unfit(self, allowed: str, got: str, remedy: str = "") -> ModelError:
        return ModelError(must_be(f"model '{self.name}'", allowed, got, remedy))


def _described(node: object) -> Iterator[tuple[str, str, str]]:
    """Return class, module and registered name of everything that a description of a network is made of."""
    if isinstance(node, dict):
        if isinstance(node.get("class_name"), str):
            yield node["class_name"], str(node.get("module") or ""), str(node.get("registered_name") or "")
        for value in node.values():
            yield from _described(value)
    elif isinstance(node, list):
        for value in node:
            yield from _described(value)


def _is_of_keras(module: str, registered: str) -> bool:
    # Keras 2 wrote no modules: names alone, which are looked up among Keras' own.
    known = module in ("", "keras", "builtins") or module.startswith(("keras.", "tensorflow.keras.", "tf_keras."))
    return known and ">" not in registered


def _sizes(node: object) -> Iterator[tuple[str, int]]:
    if isinstance(node, dict):
        for key, value in node.items():
            if key in _SIZES and isinstance(value, int):
                yield key, value
            else:
                yield from _sizes(value)
    elif isinstance(node, list):
        for value in node:
            yield from _sizes(value)


# --- where models lie ------------------------------------------------------------------------------------------------


def local_file(name: str) -> Path:
    """Return the file that `keras:local-dir:PATH` means: PATH itself, or the only model in that folder.

    Raises:
        ModelError: there is none, or there are several.
    """
    path = user_path(name.removeprefix(LOCAL), "model", ModelError)
    if path.is_file() and path.suffix in _SUFFIXES:
        return path
    inside = sorted(file for file in path.glob("*") if file.suffix in _SUFFIXES) if path.is_dir() else []
    # What we wrote ourselves has this name, whatever lies beside it.
    own = [file for file in inside if file.name == KERAS_FILE] or inside
    if len(own) == 1:
        return own[0]
    got = some([file.name for file in own]) if own else f"none at '{path}'" if path.exists() else f"no '{path}'"
    remedy = "Name the file itself." if own else ""
    if (path / "saved_model.pb").is_file():
        got, remedy = "a TensorFlow SavedModel", "Save it with Keras 3: model.save('model.keras')."
    raise ModelError(must_be(f"model '{name}'", "a .keras or .h5 file, or a folder with one", got, remedy))


def application_folder(name: str, *, fetch: bool = True) -> Path | None:
    """Return a folder with the network behind `keras:NAME` or `keras:NAME/none` (random weights), without its head.

    It is made once, of weights that Keras finds in its own cache or fetches; with `fetch=False` None stands for what is
    still to be made.

    Raises:
        ModelError: there is no such network, or its weights can't be had.
    """
    network, _, weights = name.removeprefix(PREFIX).partition("/")
    if network not in APPLICATIONS:
        allowed = "keras:NAME of keras.applications, or keras:local-dir:PATH"
        raise ModelError(must_be("model", allowed, f"'{name}'", nearest(network, APPLICATIONS)))
    if weights not in ("", *_WEIGHTS):
        raise ModelError(must_be("model.weights", " or ".join(_WEIGHTS), f"'{weights}'"))
    require_extra("keras", f"model '{name}'")
    folder = cache_folder("models") / f"keras-{network}-{weights or _WEIGHTS[0]}"
    mark_in_use(folder)
    if not (folder / KERAS_FILE).is_file():
        if not fetch:
            return None
        with new_entry(folder) as draft:
            _write_application(name, network, None if weights == "none" else "imagenet", draft)
    return folder


def _write_application(name: str, network: str, weights: str | None, folder: Path) -> None:
    keras = keras_on_torch()
    mode, side = APPLICATIONS[network]
    try:
        offline = bool(os.environ.get("HF_HUB_OFFLINE"))
        # Keras tells on standard output of what it fetches, where only results belong.
        told = redirect_stdout(io.StringIO() if offline else sys.stderr)
        # One seed: what is random is the same wherever it is made.
        with told, keras_without_network(offline=offline), quiet_keras(), seeded_keras(0), keras.device("cpu"):
            make = getattr(keras.applications, network)
            model = make(weights=weights, include_top=False, pooling="avg", input_shape=(side, side, 3))
    except Exception as error:  # whatever Keras meets on the way to its weights
        got = f"none ({first_line(error)})"
        remedy = f"Put them into Keras' own cache (~/.keras/models), or begin with random ones: {PREFIX}{network}/none."
        raise ModelError(
            must_be(f"the weights of model '{name}'", "in Keras' cache, or fetched", got, remedy)
        ) from error
    with quiet_keras():
        model.save(folder / KERAS_FILE)
    Preprocessing(mode, side, side).save(folder)
