"""Which runs lie in a folder, when each began, and which is the newest: nothing but the file system is asked."""

from __future__ import annotations

import contextlib
import datetime
import os
import re
from collections.abc import Iterator
from pathlib import Path

from hftransfer.base.errors import OutputError, must_be, user_path
from hftransfer.base.run_folder import MANIFEST, asked_in, is_interrupted

METRICS = "metrics.json"
LATEST = "latest"
"""The name of a link beside the runs of a recipe, to the newest finished one."""
CELLS, COMPARISON = "cells", "comparison.html"
"""Where in a comparison's folder its runs lie, and its page."""
_PAGES = ("audit.html", "explanations.html", "search.html", "suggestions.html")
"""The pages of other commands, in folders of their own."""
_STAMP = re.compile(r"(\d{8}-\d{6})(?:-(\d+))?")
_CELL = re.compile(r".+-seed\d+")
_OF_A_MODEL = ("config.json", "adapter_config.json", "modules.json", "open_clip_config.json", "hftransfer.json")
# <folder>/<recipe>/<time>
_DEPTH = 2


def own_page(folder: str | os.PathLike[str]) -> Path | None:
    """Return the page in the folder of an audit, of explanations, of a search or of suggestions; None in others."""
    place = user_path(os.fspath(folder), "the run", OutputError)
    return next((place / name for name in _PAGES if (place / name).is_file()), None)


def is_finished(path: Path) -> bool:
    """Return whether a folder holds the results of a run."""
    return (path / MANIFEST).is_file() and (path / METRICS).is_file()


def is_run(path: Path) -> bool:
    """Return whether a folder holds a run, finished or not."""
    return is_finished(path) or (is_interrupted(path) and asked_in(path) is not None)


def holds_model(path: Path) -> bool:
    """Return whether a folder holds the files of a model itself."""
    return any((path / name).is_file() for name in _OF_A_MODEL)


def begun(path: Path) -> tuple[datetime.datetime, int]:
    """Return when a run began, as the name of its folder says, and which of that second it is; of a folder with a name
    of its own, when its results were written."""
    # `latest` leads to one.
    stamp = _STAMP.fullmatch(path.resolve().name if path.is_symlink() else path.name)
    with contextlib.suppress(ValueError):  # 99999999-000000 is no time
        if stamp is not None:
            return datetime.datetime.strptime(stamp[1], "%Y%m%d-%H%M%S"), int(stamp[2] or 1)
    file = path / METRICS
    return datetime.datetime.fromtimestamp((file if file.is_file() else path).stat().st_mtime), 1


def start_of(path: Path, otherwise: datetime.datetime) -> str:
    """Return when a run began as a time with its zone (ISO 8601): as the name of its folder says, which a run that goes
    on keeps; of a folder with a name of its own, a given time."""
    named = _STAMP.fullmatch(path.name) is not None
    when = begun(path)[0] if named else otherwise
    return when.astimezone().isoformat(timespec="seconds")


def moment(when: str | datetime.datetime) -> str:
    """Return a time in the zone that it was written down in, as people read it: `2026-11-29 06:22 UTC+01:00`."""
    found = datetime.datetime.fromisoformat(when) if isinstance(when, str) else when
    # A name of a zone, such as CET, would say less than its distance from UTC.
    zoned = found.astimezone(found.tzinfo)
    fixed = zoned.replace(tzinfo=datetime.timezone(zoned.utcoffset() or datetime.timedelta()))
    return fixed.strftime("%Y-%m-%d %H:%M %Z")


def runs_in(folder: Path) -> list[Path]:
    """Return the runs that lie in a folder, or in folders right in it, the newest first; links are not followed."""
    return sorted(_found(folder, _DEPTH), key=lambda path: (begun(path), str(path)), reverse=True)


def _found(folder: Path, depth: int) -> Iterator[Path]:
    try:
        with os.scandir(folder) as entries:
            inside = [Path(entry.path) for entry in entries if entry.is_dir(follow_symlinks=False)]
    except OSError:  # what may not be read, or went meanwhile, holds no run for us
        return
    for path in inside:
        if is_run(path):
            yield path
        elif depth > 1 and not path.name.startswith("."):
            yield from _found(path, depth - 1)


def newest_in(folder: str | os.PathLike[str], *, with_model: bool = True) -> Path | None:
    """Return the newest finished run in a folder of runs, as in `runs/flowers`; None where it holds none, or is itself
    a run or a model. Runs that trained nothing are passed over, unless without `with_model`."""
    path = Path(folder).expanduser()
    if not path.is_dir() or is_run(path) or holds_model(path):
        return None
    found = (run for run in runs_in(path) if is_finished(run))
    return next((run for run in found if not with_model or (run / "model").is_dir()), None)


def newest_interrupted_in(folder: str | os.PathLike[str]) -> Path | None:
    """Return the newest run in a folder of runs that was interrupted; None where the folder is itself a run, or holds
    none at all.

    Raises:
        OutputError: all of its runs are finished.
    """
    path = Path(folder).expanduser()
    if is_run(path):
        return None
    runs = runs_in(path)
    found = next((run for run in runs if is_interrupted(run)), None)
    if runs and found is None:
        remedy = "Leave out --resume to start a new run."
        raise OutputError(must_be(f"the runs in {path}", "at least one interrupted run", "none", remedy))
    return found


def at_newest(reference: str | os.PathLike[str], *, with_model: bool = True) -> str:
    """Return the newest run where a folder of runs is named; any other name of a run or a model as it is."""
    name = os.fspath(reference)
    with contextlib.suppress(OSError, RuntimeError, ValueError):  # what can be no path is told by who reads it
        found = newest_in(name, with_model=with_model)
        return name if found is None else str(found)
    return name


def link_newest(folder: Path) -> None:
    """Let `latest` in the folder of a recipe's runs lead to the newest finished one, or be gone where there is none.

    What others put there under that name stays: a file, a folder, a link that leads out of the folder. Where the file
    system has no links there is none.
    """
    link, newest = folder / LATEST, newest_in(folder, with_model=False)
    with contextlib.suppress(OSError, NotImplementedError):
        if os.path.lexists(link) and not _leads_to_a_run(link):
            return
        if newest is None or newest.parent != folder or _STAMP.fullmatch(newest.name) is None:
            link.unlink(missing_ok=True)
            return
        draft = folder / f".{LATEST}-{os.getpid()}"
        draft.unlink(missing_ok=True)
        draft.symlink_to(newest.name, target_is_directory=True)
        try:
            draft.replace(link)  # at once: nobody sees the folder without it
        finally:
            draft.unlink(missing_ok=True)


def _leads_to_a_run(link: Path) -> bool:
    """Return whether this is a link as we make them: to the name of a run right beside it, there or gone."""
    return link.is_symlink() and _STAMP.fullmatch(str(link.readlink())) is not None


def comparison_of(run: Path) -> str:
    """Return the way from a run to the page of the comparison that it is a cell of; empty where it is none."""
    return f"../../{COMPARISON}" if run.parent.name == CELLS and _CELL.fullmatch(run.name) else ""


def is_of_a_recipe(run: Path) -> bool:
    """Return whether a run lies in a folder that is named after the time, beside others of its recipe."""
    return _STAMP.fullmatch(run.name) is not None
