"""The cache folder: activations, converted models, drawings and audits, which can be computed again."""

from __future__ import annotations

import atexit
import hashlib
import os
import re
import shutil
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from safetensors import SafetensorError

from hftransfer.base.errors import OutputError, WriteError, must_be, user_path

if TYPE_CHECKING:
    from filelock import BaseFileLock

KINDS = ("activations", "models", "data", "audits")
_TAG = "CACHEDIR.TAG"
_TAG_TEXT = "Signature: 8a477f597d28d172789f06886806bc55\n# Made by hftransfer; all of it can be computed again.\n"
_IN_USE = ".in-use"
_DRAFT = re.compile(r"\..+\.[0-9a-f]{8}\.tmp")
# Drafts without a lock that are younger may be somebody's.
_YOUNG_SECONDS = 86_400.0
_PATIENCE_SECONDS = 30.0


@cache
def code_digest(names: tuple[str, ...]) -> str:
    """Return a digest over source files of this package, by the names of files and folders in it: what is kept of
    other code is not used."""
    package, digest = Path(__file__).parent.parent, hashlib.sha256()
    for name in names:
        path = package / name
        for file in sorted(path.glob("*.py")) if path.is_dir() else [path]:
            digest.update(file.read_bytes())
    return digest.hexdigest()[:16]


@dataclass(frozen=True)
class Usage:
    """The number and size of the cache entries of one kind."""

    kind: str
    entries: int
    size_bytes: int


def cache_root() -> Path:
    """Return the cache folder: `$HFTRANSFER_CACHE`, else `hftransfer` in `$XDG_CACHE_HOME` or `~/.cache`."""
    named = os.environ.get("HFTRANSFER_CACHE")
    if named:
        return user_path(named, "HFTRANSFER_CACHE", OutputError)
    home = os.environ.get("XDG_CACHE_HOME")
    return (Path(home) if home else Path.home() / ".cache") / "hftransfer"


def cache_folder(kind: str) -> Path:
    """Return the folder of one kind of cached things, made where it is missing.

    Raises:
        OutputError: the cache folder can't be written.
    """
    root = cache_root()
    try:
        if not _is_ours(root):
            # A folder that a person named by mistake is never taken for a cache, which may be cleared.
            if root.is_dir() and any(root.iterdir()):
                remedy = "Set HFTRANSFER_CACHE to another folder."
                raise OutputError(
                    must_be(f"the cache folder {root}", "new, empty or an hftransfer cache", "other files", remedy)
                )
            root.mkdir(parents=True, exist_ok=True)
            (root / _TAG).write_text(_TAG_TEXT, encoding="utf-8")
        folder = root / kind
        folder.mkdir(exist_ok=True)
    except OSError as error:
        remedy = "Set HFTRANSFER_CACHE to a folder you can write."
        raise OutputError(must_be(f"the cache folder {root}", "writable", error.strerror, remedy)) from error
    return folder


def is_a_cache() -> bool:
    """Return whether the cache folder is there already, and one of ours."""
    return _is_ours(cache_root())


def _is_ours(root: Path) -> bool:
    tag = root / _TAG
    return tag.is_file() and tag.read_text(encoding="utf-8", errors="replace") == _TAG_TEXT


# --- drafts ----------------------------------------------------------------------------------------------------------


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Give a temporary folder that becomes `path` when the block ends well, and vanishes when it doesn't.

    Where another process made `path` meanwhile, its folder stays and ours goes. Drafts of the same folder that killed
    processes left go too.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    sweep_drafts(path)
    draft = _draft_of(path)
    # Held as long as this process lives: a draft whose lock is free was left by a dead one.
    with _locked(_lock_of(draft)):
        draft.mkdir()
        try:
            yield draft
            try:
                # One step: nobody ever sees half a folder.
                draft.rename(path)
            except OSError:
                if not path.is_dir():
                    raise
        finally:
            shutil.rmtree(draft, ignore_errors=True)


@contextmanager
def new_file(path: Path) -> Iterator[Path]:
    """Give a temporary file name that becomes `path` when the block ends well: readers never see half a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    sweep_drafts(path)
    draft = _draft_of(path)
    try:
        yield draft
        # One step: readers see the old file or the new one.
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


@contextmanager
def new_entry(path: Path) -> Iterator[Path]:
    """Do as `new_folder` does, for an entry of the cache.

    Raises:
        WriteError: it can't be written: the disk is full.
    """
    try:
        with new_folder(path) as draft:
            yield draft
    except (OSError, SafetensorError) as error:
        remedy = "Make room there (hftransfer cache --clear), or set HFTRANSFER_CACHE to a folder with room."
        told = getattr(error, "strerror", None) or str(error)
        raise WriteError(must_be(f"the cache folder {path.parent.parent}", "writable", told, remedy)) from error


def sweep_drafts(path: Path) -> None:
    """Delete what processes that were killed left of drafts of a folder or file: what no living process has locked, and
    without a lock what is older than a day."""
    pattern = re.compile(rf"\.{re.escape(path.name)}\.[0-9a-f]{{8}}\.tmp")
    with suppress(OSError):
        for draft in [entry for entry in path.parent.iterdir() if pattern.fullmatch(entry.name)]:
            if not _is_drafted(draft):
                _delete(draft)
                _lock_of(draft).unlink(missing_ok=True)


def _draft_of(path: Path) -> Path:
    return path.parent / f".{path.name}.{uuid.uuid4().hex[:8]}.tmp"


def _lock_of(draft: Path) -> Path:
    return draft.with_name(f"{draft.name}.lock")


def _is_drafted(draft: Path) -> bool:
    """Return whether a living process writes a draft, as far as can be told."""
    lock = _lock_of(draft)
    if lock.exists():
        return _is_held(lock)
    return time.time() - draft.lstat().st_mtime < _YOUNG_SECONDS


def _is_held(lock: Path) -> bool:
    """Return whether a living process holds the lock of a file."""
    held = _lock(lock)
    if held is None:
        return True
    held.release()
    return False


def _lock(path: Path) -> BaseFileLock | None:
    """Return the lock of a file, acquired; None where another holds it or there are no locks here."""
    import filelock

    # A lock for each call: one shared within the process would let its threads in together.
    lock = filelock.FileLock(path, timeout=0, is_singleton=False, thread_local=False)
    try:
        lock.acquire()
    except (filelock.Timeout, OSError, NotImplementedError):
        return None
    return lock


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold the lock of a file within the block, where there are locks; its file goes afterwards."""
    held = _lock(path)
    try:
        yield
    finally:
        with suppress(OSError):
            path.unlink(missing_ok=True)
        if held is not None:
            held.release()


def _delete(entry: Path) -> None:
    if entry.is_dir() and not entry.is_symlink():
        shutil.rmtree(entry)
    else:
        entry.unlink(missing_ok=True)


# --- who uses what ---------------------------------------------------------------------------------------------------


def mark_in_use(entry: Path) -> None:
    """Keep `clear` in other processes from an entry of the cache for as long as this process lives; call it before the
    entry is looked at. Where no mark can be made, because the cache can't be written, nobody can clear it either."""
    root = cache_root()
    if not entry.is_relative_to(root):
        return
    name = entry.relative_to(root).as_posix()
    # Threads of this process share one mark.
    with _MARKING:
        mark = _MARKS.get(root)
        if mark is not None and mark.process == os.getpid() and name in mark.names and mark.path.is_file():
            return
        try:
            with _one_at_a_time(root):
                # After a fork the parent's mark is not ours: each process has one.
                if mark is None or mark.process != os.getpid() or not mark.path.is_file():
                    path = root / _IN_USE / f"{os.getpid()}-{uuid.uuid4().hex[:8]}"
                    path.parent.mkdir(exist_ok=True)
                    mark = _MARKS[root] = _Mark(path, os.getpid(), _lock(path))
                mark.names.add(name)
                mark.listing.write_text("\n".join(sorted(mark.names)) + "\n", encoding="utf-8")
        except OSError:
            return


def used_by_others(entry: Path) -> bool:
    """Return whether another living process has marked an entry of the cache."""
    root = cache_root()
    own = _MARKS.get(root)
    return entry.is_relative_to(root) and entry.relative_to(root).as_posix() in _names_in_use(root, own)


@dataclass
class _Mark:
    """A process's mark on cache entries: a file that it holds locked, and the list of their names."""

    path: Path
    process: int
    lock: BaseFileLock | None
    names: set[str] = field(default_factory=set)

    @property
    def listing(self) -> Path:
        return self.path.with_suffix(".txt")


_MARKS: dict[Path, _Mark] = {}
_MARKING = threading.Lock()


@atexit.register
def _unmark() -> None:
    for mark in _MARKS.values():
        if mark.process == os.getpid():
            with suppress(OSError):
                mark.listing.unlink(missing_ok=True)
                mark.path.unlink(missing_ok=True)


@contextmanager
def _one_at_a_time(root: Path) -> Iterator[None]:
    """Keep other processes from marking or clearing within the block."""
    import filelock

    folder = root / _IN_USE
    folder.mkdir(exist_ok=True)
    try:
        lock = filelock.FileLock(folder / "lock", timeout=_PATIENCE_SECONDS, is_singleton=False)
        lock.acquire()
    except (filelock.Timeout, NotImplementedError):
        yield
        return
    try:
        yield
    finally:
        lock.release()


def _names_in_use(root: Path, own: _Mark | None = None) -> set[str]:
    """Return the entries that living processes (but for this one) have marked; what dead ones left is deleted."""
    found: set[str] = set()
    for listing in sorted((root / _IN_USE).glob("*.txt")):
        mark = listing.with_suffix("")
        if own is not None and mark == own.path and own.process == os.getpid():
            continue
        with suppress(OSError):
            if mark.exists() and _is_held(mark):
                found |= set(listing.read_text(encoding="utf-8").split("\n"))
            else:
                mark.unlink(missing_ok=True)
                listing.unlink(missing_ok=True)
    return found


# --- what there is ---------------------------------------------------------------------------------------------------


def usage() -> list[Usage]:
    """Return what the cache holds, by kind."""
    found = []
    for kind in KINDS:
        folder = cache_root() / kind
        entries = sum(1 for entry in folder.iterdir() if not entry.name.startswith(".")) if folder.is_dir() else 0
        size = 0
        for file in folder.rglob("*") if folder.is_dir() else ():
            with suppress(FileNotFoundError):  # another process deletes meanwhile
                size += file.stat().st_size if file.is_file() else 0
        found.append(Usage(kind, entries, size))
    return found


@dataclass(frozen=True)
class Cleared:
    """The result of clearing the cache."""

    freed_bytes: int
    in_use: tuple[str, ...]
    """Entries that other processes use, as kind/name."""


def clear(kinds: tuple[str, ...] = KINDS, older_than_days: float = 0.0) -> int:
    """Return the number of bytes freed by `clear_unused`."""
    return clear_unused(kinds, older_than_days).freed_bytes


def clear_unused(kinds: tuple[str, ...] = KINDS, older_than_days: float = 0.0) -> Cleared:
    """Return what is freed by deleting cached entries not written for `older_than_days` that no other process uses.

    Only folders that this library made (they carry a CACHEDIR.TAG) are touched.

    Raises:
        OutputError: the cache folder exists but is not one of ours, or something in it can't be deleted.
    """
    root = cache_root()
    if not root.exists():
        return Cleared(0, ())
    if not _is_ours(root):
        remedy = "Nothing was deleted; check HFTRANSFER_CACHE."
        raise OutputError(
            must_be(f"the cache folder {root}", f"an hftransfer cache (with a {_TAG} file)", "none", remedy)
        )
    before = sum(entry.size_bytes for entry in usage())
    horizon = time.time() - older_than_days * 86_400
    spared: list[str] = []
    try:
        for kind in kinds:
            folder = root / kind
            for entry in sorted(folder.iterdir()) if folder.is_dir() else ():
                if not entry.name.endswith(".tmp.lock") and not _cleared(entry, root, horizon):
                    spared.append(f"{kind}/{entry.name}")
    except OSError as error:
        raise OutputError(must_be(f"the cache folder {root}", "writable", error.strerror or error)) from error
    return Cleared(before - sum(entry.size_bytes for entry in usage()), tuple(spared))


def _cleared(entry: Path, root: Path, horizon: float) -> bool:
    """Return whether an entry is gone, or too young to go; if not, it is in use."""
    if _DRAFT.fullmatch(entry.name):
        lock = _lock_of(entry)
        if lock.exists() and _is_held(lock):
            return False
        _delete(entry)
        lock.unlink(missing_ok=True)
        return True
    with _one_at_a_time(root):
        with suppress(FileNotFoundError):
            if entry.stat().st_mtime > horizon:
                return True
        if entry.relative_to(root).as_posix() in _names_in_use(root, _MARKS.get(root)):
            return False
        # Renamed while others are kept out, it can be deleted afterwards, which may take long.
        going = _draft_of(entry)
        with suppress(FileNotFoundError):
            entry.rename(going)
    if going.exists() or going.is_symlink():
        _delete(going)
    return True
