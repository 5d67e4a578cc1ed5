"""Checkpoints of a training: written whole or not at all, and read back only where they are whole.

A checkpoint is a folder such as `step-000000123` of safetensors files, `state.json` and a manifest with the size and
SHA-256 of each. It is written under a temporary name, synced to the disk, and renamed. Nothing in it is pickled.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from hftransfer.base.errors import WriteError, must_be
from hftransfer.base.plain import JsonObject

_FORMAT = 1
_NAME = re.compile(r"step-\d{9}(\.\d+)?")
_DRAFT = re.compile(r"\.step-\d{9}(\.\d+)?\.[0-9a-f]{8}\.tmp")
_MANIFEST = "manifest.json"

Tensors = Mapping[str, Tensor]


@dataclass(frozen=True)
class Saved:
    """A whole checkpoint on the disk."""

    folder: Path
    state: JsonObject
    read: Mapping[str, dict[str, Tensor]] | None = None
    """The tensors of its files, if they were read already."""

    def tensors(self, name: str) -> dict[str, Tensor]:
        """Return the tensors of one of its files; none where there is no such file."""
        if self.read is not None:
            return self.read.get(name, {})
        file = self.folder / f"{name}.safetensors"
        return load_file(file) if file.is_file() else {}

    def held(self) -> Saved:
        """Return the same with all tensors read, for processes that don't see the folder."""
        names = [file.stem for file in self.folder.glob("*.safetensors")]
        return Saved(self.folder, self.state, {name: self.tensors(name) for name in names})


class Checkpoints:
    """The checkpoints of one run in a folder of their own: the newest `keep` of them."""

    def __init__(self, folder: Path, keep: int = 2) -> None:
        self.folder, self.keep = folder, keep

    def save(self, step: int, tensors: Mapping[str, Tensors | Path], state: Mapping[str, object]) -> Path:
        """Return the folder of a new checkpoint with these files; an existing file, given by its path, is linked.

        Older checkpoints beyond `keep` go afterwards: nothing else is deleted.

        Raises:
            WriteError: it can't be written; earlier checkpoints are as they were.
        """
        name = self._free_name(step)
        draft = self.folder / f".{name}.{uuid.uuid4().hex[:8]}.tmp"
        try:
            draft.mkdir(parents=True)
            for part, content in tensors.items():
                _write(draft / f"{part}.safetensors", content)
            (draft / "state.json").write_text(json.dumps(state), encoding="utf-8")
            files = {file.name: _fingerprint(file) for file in sorted(draft.iterdir())}
            text = json.dumps({"format": _FORMAT, "files": files}, indent=1)
            # Last of all files: a checkpoint without it was never finished.
            (draft / _MANIFEST).write_text(text + "\n", encoding="utf-8")
            # Contents before the name: after a power cut a whole name must not stand for files without content.
            for file in draft.iterdir():
                _sync(file)
            _sync(draft)
            draft.rename(self.folder / name)
            # The rename itself is on the disk only when its folder is.
            _sync(self.folder)
        except (OSError, SafetensorError) as error:
            shutil.rmtree(draft, ignore_errors=True)
            with contextlib.suppress(OSError):
                self.folder.rmdir()  # only an empty folder can go
            raise WriteError(must_be(f"the checkpoint {self.folder / name}", "writable", str(error))) from error
        finally:
            shutil.rmtree(draft, ignore_errors=True)
        self._tidy()
        return self.folder / name

    def newest(self, tell: Callable[[str], None] = lambda _: None) -> Saved | None:
        """Return the newest whole checkpoint, None if there is none; `tell` gets a line for each that is not whole."""
        for draft in self._matching(_DRAFT):
            tell(f"checkpoint {draft.name} was never finished and is skipped")
        for folder in reversed(self._matching(_NAME)):
            fault = _fault(folder)
            if fault is None:
                return Saved(folder, json.loads((folder / "state.json").read_text(encoding="utf-8")))
            tell(f"checkpoint {folder.name} is skipped: {fault}")
        return None

    def remove_all(self) -> None:
        """Delete all checkpoints, and the folder if nothing else lies in it."""
        for folder in [*self._matching(_NAME), *self._matching(_DRAFT)]:
            shutil.rmtree(folder, ignore_errors=True)
        with contextlib.suppress(OSError):
            self.folder.rmdir()

    def _free_name(self, step: int) -> str:
        """Return a name after all others of the step, which may be saved again: before and after its evaluation, or
        where a run is stopped there several times."""
        first = f"step-{step:09d}"
        taken = [_order(folder)[1] for folder in self._matching(_NAME) if folder.name.startswith(first)]
        return f"{first}.{max(taken) + 1}" if taken else first

    def _tidy(self) -> None:
        for folder in [*self._matching(_NAME)[: -self.keep], *self._matching(_DRAFT)]:
            shutil.rmtree(folder, ignore_errors=True)

    def _matching(self, pattern: re.Pattern[str]) -> list[Path]:
        """Return the folders that a checkpoint's name tells to be ours, oldest first."""
        if not self.folder.is_dir():
            return []
        # A link may lead to somebody else's files, which must not be deleted.
        found = [f for f in self.folder.iterdir() if pattern.fullmatch(f.name) and not f.is_symlink()]
        return sorted(found, key=_order)


def _order(folder: Path) -> tuple[int, int]:
    """Return the step of a checkpoint, and how often it was saved before, from its name."""
    numbers = re.findall(r"\d+", folder.name)
    return int(numbers[0]), int(numbers[1]) if len(numbers) > 1 and _NAME.fullmatch(folder.name) else 0


def _write(file: Path, content: Tensors | Path) -> None:
    if not isinstance(content, Path):
        save_file({name: tensor.detach().cpu().contiguous() for name, tensor in content.items()}, file)
        return
    try:
        # The best weights seldom change between checkpoints: a link takes no room.
        os.link(content, file)
    except OSError:  # a file system without links
        shutil.copyfile(content, file)


def _fingerprint(file: Path) -> dict[str, object]:
    with file.open("rb") as stream:
        return {"bytes": file.stat().st_size, "sha256": hashlib.file_digest(stream, "sha256").hexdigest()}


def _fault(folder: Path) -> str | None:
    """Return why a checkpoint is not whole; None where it is."""
    try:
        manifest = json.loads((folder / _MANIFEST).read_text(encoding="utf-8"))
        if manifest["format"] != _FORMAT:
            return f"it is of format {manifest['format']}, not {_FORMAT}"
        for name, wanted in manifest["files"].items():
            file = folder / Path(name).name
            if not file.is_file():
                return f"{name} is missing"
            if file.stat().st_size != wanted["bytes"] or _fingerprint(file) != wanted:
                return f"{name} is damaged"
        return None if "state.json" in manifest["files"] else "it has no state"
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        return f"its manifest can't be read ({type(error).__name__})"


def _sync(path: Path) -> None:
    """Have what was written put on the disk, where the system can promise it."""
    with contextlib.suppress(OSError):
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
