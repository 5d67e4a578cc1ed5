"""Which class each value of a mask is: names given as lists, files or maps, colours, and values that are ignored."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hftransfer.base.errors import DataError, first_line, must_be, some, user_path
from hftransfer.data.columns import as_label
from hftransfer.data.tables import raise_first

IGNORED = -1
"""The class id of pixels that count nowhere."""
VOID = 255
"""The value that marks such pixels where nobody says another."""
BINARY_NAMES = ("background", "foreground")
_IGNORED_NAMES = frozenset({"", "void", "ignore", "ignored"})
_COLOR = re.compile(r"#?([0-9a-fA-F]{6})")
_MOST_BYTES = 1 << 20
_COLORED = 1 << 24
"""Added to a colour r · 65,536 + g · 256 + b, so that it is no index."""


@dataclass(frozen=True)
class NamedValues:
    """The meaning of the values of masks, as a person says it: the class of each, by name, and which are ignored.

    A value is an index, or a colour (see `color_value`). None: nobody says which classes there are.
    """

    names: tuple[str, ...] | None = None
    of_value: tuple[tuple[int, str], ...] = ()
    ignored: tuple[int, ...] | None = None
    """None: nobody says; the value 255 without a name is then ignored."""
    source: str = ""
    """Where the names were found, if nobody named the place."""


@dataclass(frozen=True)
class LabelSpace:
    """The classes of masks in their order, the values that stand for each, and those that are ignored."""

    names: tuple[str, ...]
    values: tuple[tuple[int, ...], ...]
    ignored: tuple[int, ...] = ()
    smeared: bool = False
    """Whether masks are JPEG files of two values, of which each pixel is the nearer one."""
    unseen: tuple[str, ...] = ()
    """The classes that no mask of all has."""

    @property
    def written(self) -> tuple[int, ...]:
        """The value (C,) that predictions have for each class: its first, or where some are colours its place."""
        first = tuple(own[0] for own in self.values)
        if all(0 <= value < VOID for value in first) or first == (0, VOID):
            return first
        return tuple(range(len(self.names)))

    @property
    def colors(self) -> tuple[tuple[int, int, int], ...] | None:
        """The colour of each class, where masks are coloured."""
        if not all(own[0] >= _COLORED for own in self.values):
            return None
        return tuple(color_of(own[0]) for own in self.values)

    def ids(self, values: np.ndarray) -> np.ndarray:
        """Return the class ids (H, W) of int16, `IGNORED` for what is ignored, of values (H, W).

        Raises:
            ValueError: a value is none of these.
        """
        if self.smeared:
            # JPEG moves values away from 0 and 255: the nearer of the two counts.
            values = np.where(values >= 128, VOID, 0)
        known = np.array(sorted([*(v for own in self.values for v in own), *self.ignored]), dtype=np.int64)
        by_value = {v: place for place, own in enumerate(self.values) for v in own}
        targets = np.array([by_value.get(v, IGNORED) for v in known.tolist()], dtype=np.int16)
        if known[-1] < 1 << 16:
            # Indices are looked up in a table, whose last entry stands for all larger ones: -2, none of these.
            table = np.full(int(known[-1]) + 2, -2, dtype=np.int16)
            table[known] = targets
            found = table[np.minimum(values, known[-1] + 1)]
        else:
            # Colours reach 2^25: a table of so many entries would take longer to fill than a search in few.
            places = np.minimum(np.searchsorted(known, values), len(known) - 1)
            found = np.where(known[places] == values, targets[places], -2).astype(np.int16)
        if (found == -2).any():
            raise ValueError(f"the value {in_words(int(values[found == -2].flat[0]))}")
        return np.asarray(found)


def color_value(red: int, green: int, blue: int) -> int:
    """Return the value that stands for a colour."""
    return _COLORED + (red << 16) + (green << 8) + blue


def color_of(value: int) -> tuple[int, int, int]:
    """Return the colour that a value stands for."""
    return (value >> 16) & 255, (value >> 8) & 255, value & 255


def is_color(value: int) -> bool:
    """Return whether a value stands for a colour."""
    return value >= _COLORED


def in_words(value: int) -> str:
    """Return a value as people write it."""
    return "#{:02x}{:02x}{:02x}".format(*color_of(value)) if is_color(value) else str(value)


# --- what a person gives ---------------------------------------------------------------------------------------------


def named_values(classes: Any, ignore: int | str | Sequence[int] | None, folder: Path | None = None) -> NamedValues:
    """Return what `data.classes` and `data.ignore_value` say: a list of names by value; a file with one name a line, or
    JSON (a list, a map, `id2label`); a map of values or colours to names, or of names to values or colours.

    Where nobody says, a `classes.txt` in the `folder` of the data does.

    Raises:
        DataError: something else is given; all faults are told.
    """
    ignored = None if ignore is None or ignore == "auto" else _ignored(ignore)
    source = ""
    if classes is None and folder is not None:
        beside = [folder / name for name in ("classes.txt", "labels.txt", "id2label.json")]
        file = next((one for one in beside if one.is_file()), None)
        if file is not None:
            classes, source = str(file), file.name
    if classes is None:
        return NamedValues(ignored=ignored)
    if isinstance(classes, str):
        classes = _from_file(classes, folder)
    pairs, more = _pairs(classes)
    if more:
        ignored = tuple(dict.fromkeys((*(ignored or ()), *more)))
    names = tuple(dict.fromkeys(name for _, name in pairs))
    if len(names) < 2:
        got = some(f"'{name}'" for name in names) or "none"
        raise DataError(
            must_be("data.classes", "two names or more", got, "For a single thing, name the background too.")
        )
    return NamedValues(names, tuple(pairs), ignored, source)


def _ignored(given: int | str | Sequence[int]) -> tuple[int, ...]:
    if given == "none":
        return ()
    return tuple(_value(one, "data.ignore_value") for one in (given if isinstance(given, list | tuple) else [given]))


def _from_file(name: str, folder: Path | None) -> Any:
    file = user_path(name, "data.classes", DataError)
    if not file.is_file() and folder is not None:
        file = folder / name
    remedy = "Give a list of names, or a .txt or .json file with them."
    if not file.is_file():
        raise DataError(must_be("data.classes", "a file with the names of classes", f"'{name}'", remedy))
    try:
        if file.stat().st_size > _MOST_BYTES:
            raise ValueError("more than a megabyte")
        # Editors of Windows put a mark before UTF-8, which would become part of the first name.
        text = file.read_text(encoding="utf-8-sig")
        given = json.loads(text) if file.suffix.lower() == ".json" else _lines(text)
    except (OSError, ValueError, RecursionError) as error:
        got = f"{file} ({first_line(error)})"
        raise DataError(must_be("data.classes", "a file of names in UTF-8", got, remedy)) from error
    # A config.json of transformers is such a file, too.
    return given.get("id2label", given) if isinstance(given, dict) else given


def _lines(text: str) -> Any:
    """Return the names in lines; or a map, where all lines are a number and a name (`7 road`, `7: road`)."""
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#")]
    numbered = [re.fullmatch(r"(\d+)\s*[:,\t ]\s*(.+)", line) for line in lines]
    if lines and all(numbered):
        return {match[1]: match[2] for match in numbered if match}
    return lines


def _pairs(classes: Any) -> tuple[list[tuple[int, str]], list[int]]:
    """Return the value and name of each class, several values with one name allowed, and the values to be ignored.

    Raises:
        DataError: some are neither.
    """
    pairs, ignored, faults = list[tuple[int, str]](), list[int](), list[str]()

    def add(value: Any, name: Any) -> None:
        try:
            known = _value(value, "a value in data.classes")
        except DataError as error:
            faults.extend(error.faults)
            return
        if name is None or str(name).strip().lower() in _IGNORED_NAMES:
            ignored.append(known)
        elif any(known == other for other, _ in pairs):
            faults.append(must_be(f"the value {in_words(known)} in data.classes", "of one class", "two"))
        else:
            pairs.append((known, as_label(str(name))))

    if isinstance(classes, list | tuple):
        for place, name in enumerate(classes):
            add(place, name)
        if len({name for _, name in pairs}) < len(pairs):
            twice = next(name for _, name in pairs if [one for _, one in pairs].count(name) > 1)
            faults.append(must_be("the names in data.classes", "each given once", f"'{twice}' twice"))
    elif isinstance(classes, Mapping):
        by_value = all(_is_value(key) for key in classes)
        for key, given in classes.items():
            if by_value:
                add(key, given)
                continue
            several = isinstance(given, list | tuple) and not _is_color_list(given)
            for value in given if several else [given]:
                add(value, key)
    else:
        allowed = "a list of names, a file of them, or a map of values to names"
        faults.append(must_be("data.classes", allowed, repr(classes)[:80]))
    raise_first(faults)
    return pairs, ignored


def _is_value(key: Any) -> bool:
    return isinstance(key, int) or bool(re.fullmatch(r"\d+|#[0-9a-fA-F]{6}", str(key)))


def _is_color_list(given: Sequence[Any]) -> bool:
    return len(given) == 3 and all(isinstance(one, int) and 0 <= one <= VOID for one in given)


def _value(given: Any, where: str) -> int:
    """Return the value that is written as an index, as #rrggbb or as [r, g, b].

    Raises:
        DataError: it is none.
    """
    if isinstance(given, bool):
        raise DataError(must_be(where, "an index, or a colour as #rrggbb", str(given)))
    if isinstance(given, int) and given >= 0:
        return given
    if isinstance(given, str) and given.isdecimal():
        return int(given)
    if isinstance(given, str) and (matched := _COLOR.fullmatch(given)):
        number = int(matched[1], 16)
        return color_value(number >> 16, (number >> 8) & 255, number & 255)
    if isinstance(given, list | tuple) and _is_color_list(given):
        return color_value(*given)
    remedy = "To ignore a value, write {2: null}." if given is None else ""
    got = "null" if given is None else repr(given)[:60]
    raise DataError(must_be(where, "an index, or a colour as #rrggbb or [r, g, b]", got, remedy))
