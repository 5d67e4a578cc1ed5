"""The cache folder: what can be computed again (activations, converted models, drawings), written atomically."""

from __future__ import annotations

import os
import shutil
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from hftransfer.errors import OutputError, must_be, user_path

KINDS = ("activations", "models", "data")
_TAG = "CACHEDIR.TAG"
_TAG_TEXT = "Signature: 8a477f597d28d172789f06886806bc55\n# Made by hftransfer; all of it can be computed again.\n"


@dataclass(frozen=True)
class Usage:
    """How much one kind of cached thing takes."""

    kind: str
    entries: int
    size_bytes: int


def cache_root() -> Path:
    """The cache folder: `$HFTRANSFER_CACHE`, else `hftransfer` in `$XDG_CACHE_HOME` or `~/.cache`."""
    named = os.environ.get("HFTRANSFER_CACHE")
    if named:
        return user_path(named, "HFTRANSFER_CACHE", OutputError)
    home = os.environ.get("XDG_CACHE_HOME")
    return (Path(home) if home else Path.home() / ".cache") / "hftransfer"


def cache_folder(kind: str) -> Path:
    """The folder of one kind of cached things, made where it is missing.

    Raises:
        OutputError: the cache folder can't be written.
    """
    root = cache_root()
    try:
        if not _is_ours(root):
            if root.is_dir() and any(root.iterdir()):
                remedy = "Set HFTRANSFER_CACHE to another folder."
                raise OutputError(
                    must_be(f"the cache folder {root}", "new, empty or one of ours", "other files", remedy)
                )
            root.mkdir(parents=True, exist_ok=True)
            (root / _TAG).write_text(_TAG_TEXT, encoding="utf-8")
        folder = root / kind
        folder.mkdir(exist_ok=True)
    except OSError as error:
        remedy = "Set HFTRANSFER_CACHE to a folder you can write."
        raise OutputError(must_be(f"the cache folder {root}", "writable", error.strerror, remedy)) from error
    return folder


def _is_ours(root: Path) -> bool:
    tag = root / _TAG
    return tag.is_file() and tag.read_text(encoding="utf-8", errors="replace") == _TAG_TEXT


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """A temporary folder that becomes `path` when the block ends well, and vanishes when it doesn't.

    Where another process made `path` meanwhile, its folder stays and ours goes.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.parent / f".{path.name}.{uuid.uuid4().hex[:8]}.tmp"
    draft.mkdir()
    try:
        yield draft
        try:
            draft.rename(path)
        except OSError:
            if not path.is_dir():
                raise
    finally:
        shutil.rmtree(draft, ignore_errors=True)


@contextmanager
def new_file(path: Path) -> Iterator[Path]:
    """A temporary file name that becomes `path` when the block ends well: readers never see half a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.parent / f".{path.name}.{uuid.uuid4().hex[:8]}.tmp"
    try:
        yield draft
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


def usage() -> list[Usage]:
    """What the cache holds, by kind."""
    found = []
    for kind in KINDS:
        folder = cache_root() / kind
        files = [file for file in folder.rglob("*") if file.is_file()] if folder.is_dir() else []
        entries = sum(1 for _ in folder.iterdir()) if folder.is_dir() else 0
        found.append(Usage(kind, entries, sum(file.stat().st_size for file in files)))
    return found


def clear(kinds: tuple[str, ...] = KINDS, older_than_days: float = 0.0) -> int:
    """The number of bytes freed by deleting cached entries not written for `older_than_days`.

    Only folders that this library made (they carry a CACHEDIR.TAG) are touched.

    Raises:
        OutputError: the cache folder exists but is not one of ours.
    """
    root = cache_root()
    if not root.exists():
        return 0
    if not _is_ours(root):
        remedy = "Nothing was deleted; check HFTRANSFER_CACHE."
        raise OutputError(must_be(f"the cache folder {root}", f"one with a {_TAG} of ours", "none", remedy))
    before = sum(entry.size_bytes for entry in usage())
    horizon = time.time() - older_than_days * 86_400
    for kind in kinds:
        folder = root / kind
        for entry in folder.iterdir() if folder.is_dir() else ():
            if entry.stat().st_mtime <= horizon:
                shutil.rmtree(entry) if entry.is_dir() and not entry.is_symlink() else entry.unlink()
    return before - sum(entry.size_bytes for entry in usage())
