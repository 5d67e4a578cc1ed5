"""The kinds of errors a user can meet; every message says where, what is allowed, what came and the remedy."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

_STEERING = re.compile("[\\x00-\\x08\\x0b-\\x1f\\x7f-\\x9f\\u202a-\\u202e\\u2066-\\u2069\\ud800-\\udfff]")


# Characters of a path that is none, shown.
_LONGEST_PATH = 200
# How alike a word is that may be meant, and one that begins with another letter.
_NEAR, _VERY_NEAR = 0.6, 0.75


class HftransferError(Exception):
    """A fault in what the user gave: shown without a traceback, exit status 2.

    `faults` holds one sentence per fault; all that were found are told at once.
    """

    exit_status: ClassVar[int] = 2

    def __init__(self, *faults: str) -> None:
        self.faults = faults
        super().__init__("\n".join(faults))

    def __reduce__(self) -> tuple[type[HftransferError], tuple[str, ...]]:
        return type(self), self.faults


class RecipeError(HftransferError):
    """The recipe, or an override of it, can't be followed."""


class DataError(HftransferError):
    """The data can't be read or can't be learnt from."""


class ModelError(HftransferError):
    """The pretrained model can't be found, is not whole, or does not fit the task."""


class OutputError(HftransferError):
    """The results can't be written where they should go."""


class WriteError(OutputError):
    """Results can't be written: the disk is full, or gone. Exit status 1, for nothing given was wrong."""

    exit_status: ClassVar[int] = 1


class FetchError(HftransferError):
    """What lies elsewhere can't be fetched. Exit status 1, for nothing given was wrong."""

    exit_status: ClassVar[int] = 1


def must_be(where: str, allowed: str, got: object, remedy: str = "") -> str:
    """Return one sentence per fault, in the house's form: `<where> must be <allowed>; got <value>. <remedy>`."""
    return f"{where} must be {allowed}; got {got}. {remedy}".rstrip()


def nearest(name: str, known: Iterable[str]) -> str:
    """Return `Did you mean 'x'?` where a known name is near, else the list of known names."""
    options = sorted(known)
    near = difflib.get_close_matches(name, options, n=len(options) or 1, cutoff=_NEAR)
    # Slips seldom change how a word begins: 'pride' is no 'surprise'.
    same = [one for one in near if one[:1].lower() == name[:1].lower()]
    if close := same or difflib.get_close_matches(name, near, n=1, cutoff=_VERY_NEAR):
        return f"Did you mean '{close[0]}'?"
    return f"Known: {', '.join(options)}." if options else ""


def some(items: Iterable[str], limit: int = 5) -> str:
    """Return the first few items joined by commas, and how many more there are."""
    listed = list(items)
    rest = f" and {len(listed) - limit} more" if len(listed) > limit else ""
    return ", ".join(listed[:limit]) + rest


def counted(number: int, noun: str) -> str:
    """Return `1 row`, `2 rows`, `2 processes`: a number and the noun it counts, whose plural ends in s."""
    return f"{number:,} {noun}{'' if number == 1 else 'es' if noun.endswith('s') else 's'}"


def printable(text: str) -> str:
    """Return the text as a terminal or a file may show it: what would steer a terminal or turn the direction of
    writing, and what has no encoding (bytes of a file name that are no UTF-8), is written as an escape."""
    return _STEERING.sub(lambda found: found.group().encode("unicode_escape").decode("ascii"), text)


def printable_json(text: str) -> str:
    """Return JSON as a terminal may show it: what would steer one becomes JSON's own escape, and reads the same."""
    return _STEERING.sub(lambda found: f"\\u{ord(found.group()):04x}", text)


def first_line(error: BaseException) -> str:
    """Return the first line of what an error of another library says."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def user_path(text: str | Path, where: str, kind: type[HftransferError]) -> Path:
    """Return the path that a person wrote, `~` standing for the home folder.

    Raises:
        HftransferError: (of the given kind) it can be no path.
    """
    try:
        if "\0" in str(text):
            raise ValueError("a NUL character")
        path = Path(text).expanduser()
        # Some texts have no form in the file system's encoding, and fail here rather than deep in a library.
        os.fsencode(path)
        with suppress(FileNotFoundError, NotADirectoryError, PermissionError):
            path.lstat()
        return path
    except (OSError, RuntimeError, ValueError) as error:
        told, shown = getattr(error, "strerror", None) or first_line(error), repr(str(text))
        shown = shown if len(shown) <= _LONGEST_PATH else shown[: _LONGEST_PATH - 1] + "…"
        raise kind(must_be(where, "a path", f"{shown} ({told})")) from error


def settings_in_words(faults: Iterable[ErrorDetails], known: Iterable[str], shown: Callable[[str], str]) -> list[str]:
    """Return one sentence for each setting at fault among those that pydantic tells, whatever number of ways there are
    to give it; `shown` says how a person wrote a setting."""
    told: dict[str, list[str]] = {}
    got: dict[str, object] = {}
    remedies: dict[str, str] = {}
    for fault in faults:
        name = str(fault["loc"][0]) if fault["loc"] else ""
        unknown = fault["type"] == "extra_forbidden"
        remedies[name] = nearest(name, known) if unknown else ""
        told.setdefault(name, []).append("a setting" if unknown else fault["msg"].removeprefix("Input should be "))
        got.setdefault(name, fault["input"])
    return [
        must_be(shown(name), " or ".join(dict.fromkeys(ways)), repr(got[name]), remedies[name])
        for name, ways in told.items()
    ]
