"""A run folder: where it may lie, that one run alone writes into it, and which of the files in it are its own."""

from __future__ import annotations

import contextlib
import datetime
import json
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, Field, field_validator
from safetensors import SafetensorError

from hftransfer.base.cache import new_file
from hftransfer.base.errors import OutputError, RecipeError, WriteError, must_be, user_path

if TYPE_CHECKING:
    from filelock import BaseFileLock

MANIFEST = ".hftransfer.json"
CHECKPOINTS = "checkpoints"
LOGS = "logs"
_LOCK = ".hftransfer.lock"
_LOG, _LOG_SO_FAR = "log.txt", "log-so-far.txt"
_DRAFT = ".results-"
# What an unfinished run was asked for: its name and recipe, to go on with.
_ASKED = ".hftransfer-run.json"


class HubSettings(BaseModel):
    """Where on the Hub the model goes when the run is finished."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    push_to: str | None = Field(None, min_length=3, description="namespace/name of the repository; none if left out")
    private: bool = Field(True, description="whether a new repository is private")
    revision: str | None = Field(None, description="a branch, made if there is none")
    license: str | None = Field(
        None, pattern=r"^[a-z0-9][a-z0-9.+-]*$", description="of the model, as the Hub names it: apache-2.0, mit, …"
    )
    language: tuple[str, ...] = Field((), description="of texts, by ISO code: [en]")
    description: str | None = Field(None, description="what the model is, and for whom: stands first on its card")
    share_examples: bool = Field(
        False, description="whether some of your test examples may be shown beside the model, to try it with"
    )

    @field_validator("language", mode="before")
    @classmethod
    def _language_alone(cls, value: object) -> object:
        return (value,) if isinstance(value, str) else value

    @field_validator("language")
    @classmethod
    def _are_codes(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for code in value:
            if not re.fullmatch(r"[a-z]{2,3}|code|multilingual", code):
                raise ValueError(must_be("it", "ISO codes such as en or de", f"'{code}'"))
        return value


class OutputSettings(BaseModel):
    """Where the results go."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    folder: str = Field(
        "runs", min_length=1, description="runs lie in <folder>/<recipe>/<time>; --out names one exactly"
    )
    report: bool = Field(True, description="whether a page with mistakes and what they rest on is made, report.html")
    figures: bool = Field(True, description="whether pictures are drawn, in figures/")


@dataclass(frozen=True)
class NewFolder:
    """A folder that results are asked for in, and where in it they are written until all are there."""

    path: Path
    draft: Path


@contextmanager
def new_folder(out: Path | None, name: str) -> Iterator[NewFolder]:
    """Make the folder for results: new or empty, or the first free one of `name`, `name-2`, …; it is there before the
    work begins, and goes again if nothing comes to lie in it. What is written into its draft lies in it when the block
    ends well; what a killed process left there is replaced.

    Raises:
        OutputError: it is a file, holds other files, another process writes into it, or it can't be made.
    """
    if out is None:
        names = [name, *(f"{name}-{number}" for number in range(2, 1000))]
        path = next(Path(each) for each in names if not Path(each).exists() or _is_unfinished(Path(each)))
    else:
        path = user_path(out, "the output folder", OutputError)
        if path.exists() and (not path.is_dir() or (any(path.iterdir()) and not _is_unfinished(path))):
            got = "a folder with files" if path.is_dir() else "a file"
            raise OutputError(must_be(f"the output folder {path}", "new or empty", got, "Choose another."))
    was_there = path.exists() and not _is_unfinished(path)
    try:
        path.mkdir(parents=True, exist_ok=True)
        # Whether files can be written there shows now, not after hours of work.
        tempfile.TemporaryFile(dir=path).close()
        lock = _lock_alone(path)
    except OSError as error:
        remedy = "Choose another."
        raise OutputError(must_be(f"the output folder {path}", "writable", error.strerror or error, remedy)) from error
    try:
        for left_over in path.glob(f"{_DRAFT}*"):
            shutil.rmtree(left_over, ignore_errors=True)
        with tempfile.TemporaryDirectory(prefix=_DRAFT, dir=path, ignore_cleanup_errors=True) as aside:
            try:
                yield NewFolder(path, Path(aside))
            except WriteError as error:  # told of the folder that was asked for
                raise WriteError(*(fault.replace(aside, str(path)) for fault in error.faults)) from error
            _move_up(Path(aside), path)
    finally:
        (path / _LOCK).unlink(missing_ok=True)
        lock.release()
        if not was_there and path.is_dir() and not any(path.iterdir()):
            path.rmdir()


def _is_unfinished(path: Path) -> bool:
    """Return whether a folder holds nothing but what a process that was killed left of results, or one still writes."""
    # A killed process leaves its lock's file and its draft, and nothing of a person's.
    names = [entry.name for entry in path.iterdir()] if path.is_dir() else []
    return bool(names) and all(name == _LOCK or name.startswith(_DRAFT) for name in names)


def _lock_alone(path: Path) -> BaseFileLock:
    """Return the lock of a folder that results are written into.

    Raises:
        OutputError: another process holds it.
    """
    import filelock

    lock = filelock.FileLock(path / _LOCK, timeout=0, is_singleton=False)
    try:
        lock.acquire()
    except filelock.Timeout as error:
        remedy = "Wait for it, or choose another folder with --out (in Python out=…)."
        got = "a folder that another run is writing to"
        raise OutputError(must_be(f"the output folder {path}", "free", got, remedy)) from error
    return lock


def _move_up(draft: Path, path: Path) -> None:
    """Move what was written into a draft to the folder that holds it, with the permissions that new files get."""
    mode = 0o666 & ~_umask()
    for file in sorted(file for file in draft.rglob("*") if file.is_file()):
        target = path / file.relative_to(draft)
        target.parent.mkdir(parents=True, exist_ok=True)
        file.chmod(mode)  # some libraries write files that nobody else may read
        file.replace(target)


class RunFolder:
    """A folder for one run that knows which files in it are its own.

    It is made, or found free to be replaced, before the work begins, and nothing of an earlier run in it is deleted
    until all results are there: a run that fails leaves the folder, and an earlier run in it, as they were. The names
    of all files written are kept in a manifest, so that overwriting never deletes a foreign file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._aside = path
        self._names: list[str] = []
        self._kept: list[str] = []

    @classmethod
    def create(cls, path: Path, *, overwrite: bool = False, resume: bool = False) -> RunFolder:
        """Return a run folder that is new, or empty, or holds an earlier run that may be replaced, or, with `resume`,
        one that was interrupted.

        Raises:
            OutputError: the folder holds files and is not to be overwritten or not ours, or can't be written.
        """
        path = user_path(path, "the output folder", OutputError)
        remedy = "Choose another with --out or output.folder (in Python: out=…)."
        try:
            if path.exists() and not path.is_dir():
                raise OutputError(must_be(f"the output folder {path}", "a folder", "a file", remedy))
            if resume:
                cls._require_interrupted(path)
            elif path.is_dir() and any(path.iterdir()):
                cls._require_replaceable(path, overwrite=overwrite)
            path.mkdir(parents=True, exist_ok=True)
            # Whether files can be written there shows now, not after hours of work.
            with tempfile.TemporaryFile(dir=path):
                pass
        except OSError as error:
            raise OutputError(must_be(f"the output folder {path}", "writable", error.strerror, remedy)) from error
        return cls(path)

    @classmethod
    def create_dated(cls, parent: Path, name: str) -> RunFolder:
        """Return a new run folder `<parent>/<name>/<YYYYmmdd-HHMMSS>`."""
        stamp = datetime.datetime.now().strftime("%Y%m%d-%H%M%S")
        for suffix in ("", *(f"-{number}" for number in range(2, 100))):
            path = user_path(parent, "output.folder", OutputError) / name / (stamp + suffix)
            if not path.exists():
                return cls.create(path)
        raise OutputError(must_be(f"the output folder {parent / name / stamp}", "free", "taken 99 times"))

    @classmethod
    def newest_interrupted(cls, parent: Path, name: str) -> RunFolder:
        """Return the newest folder in `<parent>/<name>` whose run was interrupted.

        Raises:
            OutputError: there is none.
        """
        runs = user_path(parent, "output.folder", OutputError) / name
        inside = [path for path in runs.iterdir() if not path.is_symlink()] if runs.is_dir() else []
        found = sorted(path for path in inside if is_interrupted(path))
        if not found:
            raise OutputError(must_be(f"the runs in {runs}", "at least one interrupted run", "none"))
        return cls.create(found[-1], resume=True)

    @classmethod
    def _require_interrupted(cls, path: Path) -> None:
        if not is_interrupted(path):
            got = "a finished run" if (path / MANIFEST).is_file() else "none"
            remedy = "Leave out --resume to start a new run."
            raise OutputError(must_be(f"the output folder {path}", "the folder of an interrupted run", got, remedy))

    @classmethod
    def _require_replaceable(cls, path: Path, *, overwrite: bool) -> None:
        ours = {MANIFEST, CHECKPOINTS, LOGS, _LOCK, _LOG_SO_FAR, _ASKED}
        entries = [entry.name for entry in path.iterdir()]
        foreign = [name for name in entries if name not in ours and not name.startswith(_DRAFT)]
        if foreign and not (path / MANIFEST).is_file():
            remedy = "Choose another folder: hftransfer never touches files of others."
            raise OutputError(
                must_be(
                    f"the output folder {path}", "new, empty or the folder of an earlier run", "other files", remedy
                )
            )
        if not overwrite and is_interrupted(path):
            remedy = (
                "Add --resume to continue it, or --overwrite to start again (in Python: resume=True, overwrite=True)."
            )
            raise OutputError(must_be(f"the output folder {path}", "new or empty", "an interrupted run", remedy))
        if not overwrite:
            remedy = "Add --overwrite (in Python: overwrite=True) to replace that run, or choose another folder."
            raise OutputError(must_be(f"the output folder {path}", "new or empty", "an earlier run", remedy))
        if (path / MANIFEST).is_file():
            cls._names_in(path)

    @staticmethod
    def _names_in(path: Path) -> list[str]:
        """Return the files of the earlier run in a folder, by its manifest."""
        manifest = path / MANIFEST
        try:
            return [str(name) for name in json.loads(manifest.read_text(encoding="utf-8"))["files"]]
        except (ValueError, KeyError, TypeError) as error:
            raise OutputError(must_be(str(manifest), "the list of a run's files", "something else")) from error

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """Keep other runs from writing into the folder within the block.

        Where the block fails before results were written, a folder made for them goes again; where it is interrupted,
        or there are checkpoints, the lock's file stays, by which an interrupted run is known.

        Raises:
            OutputError: another run is writing into it.
        """
        # Held by this process as long as it lives: one that was killed keeps nobody out.
        lock = _lock_alone(self.path)
        goes_on_later = True
        try:
            yield
            goes_on_later = False
        except Exception:
            goes_on_later = (self.path / CHECKPOINTS).is_dir()
            raise
        finally:
            if not goes_on_later:
                for name in (_LOCK, _LOG_SO_FAR, _ASKED):
                    (self.path / name).unlink(missing_ok=True)
            lock.release()
            with contextlib.suppress(OSError):
                self.path.rmdir()  # only an empty folder can go

    def note_asked(self, name: str, recipe: Mapping[str, object]) -> None:
        """Note what the run was asked for, so that it can go on from its folder alone.

        Raises:
            WriteError: it can't be written.
        """
        try:
            with new_file(self.path / _ASKED) as draft:
                draft.write_text(json.dumps({"name": name, "recipe": recipe}) + "\n", encoding="utf-8")
        except OSError as error:
            got = error.strerror or error
            raise WriteError(must_be(f"the output folder {self.path}", "writable", got)) from error

    def log_so_far(self, *, goes_on: bool) -> Path:
        """Return the path of the log of a run that is not finished; without `goes_on` an earlier one is deleted."""
        path = self.path / _LOG_SO_FAR
        if not goes_on:
            path.unlink(missing_ok=True)
        return path

    @contextmanager
    def results(self) -> Iterator[None]:
        """Let the results be written aside within the block; at its end they take the place of an earlier run's files.

        Where they can't be written whole nothing changes: an earlier run stays as it was.

        Raises:
            WriteError: they can't be written.
        """
        for left_over in self._drafts():
            shutil.rmtree(left_over, ignore_errors=True)
        try:
            with tempfile.TemporaryDirectory(prefix=_DRAFT, dir=self.path, ignore_cleanup_errors=True) as aside:
                self._aside = Path(aside)
                yield
                self._publish()
        except (OSError, SafetensorError) as error:
            got = getattr(error, "strerror", None) or str(error)
            raise WriteError(must_be(f"the results in {self.path}", "complete", got)) from error
        finally:
            self._aside = self.path

    def _publish(self) -> None:
        """Let the files of an earlier run, and only those, give way to what was written."""
        # Not before all results are written: until here an earlier run is whole.
        self._delete_earlier()
        with new_file(self.path / MANIFEST) as draft:
            draft.write_text(json.dumps({"files": self._names}, indent=1) + "\n", encoding="utf-8")
        _move_up(self._aside, self.path)

    def _delete_earlier(self) -> None:
        if not (self.path / MANIFEST).is_file():
            return
        inside = self.path.resolve()
        names = [name for name in self._names_in(self.path) if name not in self._kept]
        for file in (self.path / name for name in names):
            # A manifest that was changed by hand must not delete files elsewhere.
            if file.parent.resolve().is_relative_to(inside) and (file.is_symlink() or file.is_file()):
                file.unlink()
        folders = {parent for name in names for parent in Path(name).parents if parent.parts}
        # Inner folders first, so that outer ones are empty by then.
        for folder in (self.path / name for name in sorted(folders, reverse=True)):
            if folder.resolve().is_relative_to(inside) and folder.is_dir() and not any(folder.iterdir()):
                folder.rmdir()

    def delete(self, forget_checkpoints: Callable[[Path], None]) -> list[Path]:
        """Delete the run's own files, and the folder if no others are in it. Return what others put there, and stays.

        `forget_checkpoints` deletes the checkpoints of an unfinished run, given their folder.

        Raises:
            OutputError: a run is writing into it, its list of files is none, or it can't be deleted.
        """
        lock = _lock_alone(self.path)
        try:
            self._delete_earlier()
            for draft in self._drafts():
                shutil.rmtree(draft)
            if (self.path / CHECKPOINTS).is_dir():
                forget_checkpoints(self.path / CHECKPOINTS)
            for name in (MANIFEST, _LOG_SO_FAR, _ASKED):
                (self.path / name).unlink(missing_ok=True)
        except OSError as error:
            got = error.strerror or error
            raise OutputError(must_be(f"the run {self.path}", "a folder that you can delete", got)) from error
        finally:
            (self.path / _LOCK).unlink(missing_ok=True)
            lock.release()
        with contextlib.suppress(OSError):
            self.path.rmdir()  # only an empty folder can go
        return sorted(self.path.iterdir()) if self.path.is_dir() else []

    def _drafts(self) -> list[Path]:
        """Return folders of results that were never finished."""
        return [entry for entry in self.path.iterdir() if entry.name.startswith(_DRAFT) and entry.is_dir()]

    def file(self, name: str) -> Path:
        """Return the path of a file of this run's results, its folder made and its name noted as ours."""
        path = self._aside / name
        path.parent.mkdir(parents=True, exist_ok=True)
        self._note([name])
        return path

    def written(self, name: str) -> Path | None:
        """Return the path of a file of this run's results, if it is there."""
        path = self._aside / name
        return path if path.is_file() else None

    def note_log(self) -> Path:
        """Return the path of the log beside the results, its name noted as ours."""
        self._note([_LOG])
        return self.path / _LOG

    def note_all_in(self, name: str) -> None:
        """Note the files in a folder of this run, written by others for it, as ours."""
        written = sorted(file for file in (self.path / name).rglob("*") if file.is_file())
        found = [file.relative_to(self.path).as_posix() for file in written]
        earlier = set(self._names_in(self.path)) if (self.path / MANIFEST).is_file() else set()
        self._kept += [entry for entry in found if entry not in earlier]
        self._note(self._kept)

    def write_json(self, name: str, value: object) -> None:
        """Write a JSON file."""
        self.write_text(name, json.dumps(value, indent=2, ensure_ascii=False) + "\n")

    def write_text(self, name: str, text: str) -> None:
        """Write a text file."""
        self.file(name).write_text(text, encoding="utf-8", errors="backslashreplace", newline="")

    def write_folder(self, name: str, save: Callable[[Path], None]) -> None:
        """Let `save` write into the folder `name`."""
        folder = self._aside / name
        folder.mkdir(parents=True)
        save(folder)
        written = sorted(file for file in folder.rglob("*") if file.is_file())
        self._note(file.relative_to(self._aside).as_posix() for file in written)

    def _note(self, names: Iterable[str]) -> None:
        self._names += [name for name in names if name not in self._names]


def _umask() -> int:
    """Return the permissions that new files do not get; asking for them means setting them for a moment."""
    found = os.umask(0o022)
    os.umask(found)
    return found


def is_interrupted(path: Path) -> bool:
    """Return whether a folder holds a run that was interrupted, or that goes on now."""
    return (path / _LOCK).is_file() or (path / CHECKPOINTS).is_dir()


def asked_in(path: Path) -> tuple[str, dict[str, object]] | None:
    """Return the name and the recipe of the unfinished run in a folder; None where none is noted there."""
    if not is_interrupted(path):
        return None
    try:
        found = json.loads((path / _ASKED).read_text(encoding="utf-8"))
        return str(found["name"]), dict(found["recipe"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def write_table(folder: RunFolder, name: str, columns: dict[str, object]) -> None:
    """Write columns of equal length as a Parquet file."""
    import pyarrow
    import pyarrow.parquet

    pyarrow.parquet.write_table(pyarrow.table(columns), folder.file(name))


def require_same_identity(before: Mapping[str, object], now: Mapping[str, object]) -> None:
    """Return if an interrupted run was made of what this one is.

    Raises:
        RecipeError: with the keys that differ.
    """
    remedy = "Change it back, or start again with --overwrite (in Python: overwrite=True)."
    faults = [
        must_be(f"{key} of the interrupted run", f"unchanged ({before.get(key)})", now.get(key), remedy)
        for key in {**before, **now}
        if before.get(key) != now.get(key)
    ]
    if faults:
        raise RecipeError(*faults)
