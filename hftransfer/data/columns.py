"""Columns found by name, and labels as names."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from hftransfer.data.tables import raise_first
from hftransfer.errors import DataError, must_be, nearest

LABEL_COLUMNS = (
    "label",
    "labels",
    "class",
    "class_name",
    "category",
    "target",
    "breed",
    "species",
    "fine_label",
)


def column_of(named: str | None, usual: Sequence[str], columns: Sequence[str], where: str, source: object) -> str:
    """The column that is named, or the first of the usual names there is.

    Raises:
        DataError: there is none.
    """
    if named is not None:
        if named in columns:
            return named
        remedy = nearest(named, columns)
        raise DataError(must_be(where, f"a column of {source} ({', '.join(columns)})", f"'{named}'", remedy))
    lowered = {column.lower(): column for column in reversed(columns)}
    for name in usual:
        if name.lower() in lowered:
            return lowered[name.lower()]
    remedy = f"Name the column: {where}=…"
    if len(columns) == 1 and ";" in columns[0]:
        remedy = "Separate its columns by commas (or tabs in a .tsv file), not semicolons."
    raise DataError(must_be(str(source), f"a table with a column such as {usual[0]}", ", ".join(columns), remedy))


def is_missing(value: Any) -> bool:
    """Whether a cell holds nothing: None, NaN, or what pandas writes for them."""
    if value is None or type(value).__name__ in ("NAType", "NaTType"):
        return True
    return isinstance(value, float | np.floating) and bool(np.isnan(value))


def _is_unicode(text: str) -> bool:
    """Whether a text can be written: lone surrogates (half a character) can't."""
    return not any("\ud800" <= character <= "\udfff" for character in text)


def numbered_columns(name: str, columns: Sequence[str]) -> list[str]:
    """The columns such as `caption_0`, `caption_1` that stand in for one of a name, in their order."""
    form = re.compile(rf"{re.escape(name)}s?_?(\d+)", re.IGNORECASE)
    found = [(int(match[1]), column) for column in columns if (match := form.fullmatch(column))]
    return [column for _, column in sorted(found)]


def spread(values: Sequence[Any]) -> tuple[list[Any], list[int]]:
    """The values, those in lists one by one, and the row that each is of."""
    found, places = [], []
    for place, value in enumerate(values):
        given = value.tolist() if isinstance(value, np.ndarray) else value
        own = list(given) or [None] if isinstance(given, list | tuple) else [given]
        found += own
        places += [place] * len(own)
    return found, places


def label_names(values: Sequence[Any], wheres: Sequence[str], column: str, what: str = "a label") -> list[str]:
    """The labels as names.

    Raises:
        DataError: a label is missing, of a type that is no name, or of another type than those before it.
    """
    faults = []
    expected: type | None = None
    names = []
    for given, where in zip(values, wheres, strict=True):
        value = given.item() if isinstance(given, np.generic) else given
        if value is None or (isinstance(value, str) and not value.strip()):
            faults.append(must_be(f"{where}: column '{column}'", what, "nothing"))
        elif isinstance(value, float) or not isinstance(value, str | int):
            shown = f"{value!r} ({type(value).__name__})"
            faults.append(must_be(f"{where}: column '{column}'", "a name or a whole number", shown))
        elif isinstance(value, str) and not _is_unicode(value):
            faults.append(must_be(f"{where}: column '{column}'", "a name in Unicode", ascii(value)))
        elif expected is not None and type(value) is not expected:
            remedy = "Labels of mixed types are not guessed at: write all as names."
            shown = f"{value!r} ({type(value).__name__})"
            allowed = f"of one type, {expected.__name__} as in the rows before"
            faults.append(must_be(f"{where}: column '{column}'", allowed, shown, remedy))
        else:
            expected = type(value)
        names.append(str(value).strip())
    raise_first(faults)
    return names
