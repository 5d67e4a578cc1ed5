"""Columns found by name, and labels as names."""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TypeGuard

import numpy as np

from hftransfer.base.errors import DataError, must_be, nearest, some
from hftransfer.data.rows import Target
from hftransfer.data.tables import raise_first

LABEL_COLUMNS = (
    "label",
    "labels",
    "class",
    "class_name",
    "category",
    "target",
    "sentiment",
    "breed",
    "species",
    "fine_label",
)
NUMBER_COLUMNS = (
    *("score", "scores", "similarity", "similarity_score", "relatedness_score", "rating", "ratings", "stars"),
    *("value", "price", "age", "target", "label", "labels"),
)
"""The usual names of columns with numbers that are estimated."""
_FEWEST, _MOST = 3, 10
# How alike a column's name is to the usual one that may be meant.
_NEAR = 0.8


def column_of(named: str | None, usual: Sequence[str], columns: Sequence[str], where: str, source: object) -> str:
    """Return the column that is named, or the first of the usual names there is.

    Raises:
        DataError: there is none, or two have the name.
    """
    if named is not None:
        if named in columns:
            return once(named, columns, source)
        remedy = nearest(named, columns)
        raise DataError(must_be(where, f"a column of {source} ({_shown(columns)})", f"'{named}'", remedy))
    if (own := first_of(usual, columns)) is not None:
        return once(own, columns, source)
    raise DataError(no_column(columns, f"a column such as {usual[0]}", usual, [where], source))


def first_of(usual: Iterable[str], columns: Sequence[str]) -> str | None:
    """Return the column that has the first of these names, if one has any."""
    lowered = in_lower_case(columns)
    return next((lowered[name.lower()] for name in usual if name.lower() in lowered), None)


def in_lower_case(columns: Sequence[str]) -> dict[str, str]:
    """Return columns by their names in lower case; of those that differ by case alone the first."""
    return {column.lower(): column for column in reversed(columns)}


def no_column(
    columns: Sequence[str], allowed: str, usual: Sequence[str], settings: Sequence[str], source: object
) -> str:
    """Return that a table must have what is allowed, which of its columns may be a usual one that is misspelled, and by
    which settings to name a column."""
    near = {name: close for name in columns if (close := _near(name, usual)) is not None and name.lower() not in usual}
    remedy = " ".join(f"Did you mean '{close}' by '{name}'?" for name, close in near.items())
    remedy += f" {'Or name' if near else 'Name'} the column: {' or '.join(f'{setting}=…' for setting in settings)}"
    if len(columns) == 1 and ";" in columns[0]:
        remedy = "Separate its columns by commas (or tabs in a .tsv file), not semicolons."
    return must_be(str(source), f"a table with {allowed}", _shown(columns) or "no columns", remedy.strip())


def _near(name: str, usual: Sequence[str]) -> str | None:
    found = difflib.get_close_matches(name.lower(), usual, n=1, cutoff=_NEAR)
    return found[0] if found else None


def once(column: str, columns: Sequence[str], source: object) -> str:
    """Return the column, whose name is that of no other.

    Raises:
        DataError: it is; both places are named.
    """
    places = [str(place) for place, name in enumerate(columns, start=1) if name == column]
    if len(places) > 1:
        remedy = "Rename or remove one of them."
        got = f"columns {' and '.join(places)} of that name"
        raise DataError(must_be(f"the column '{column}' of {source}", "unique", got, remedy))
    return column


def _shown(columns: Sequence[str]) -> str:
    return some((column[:60] for column in columns), 30)


def is_missing(value: object) -> bool:
    """Return whether a cell holds nothing: None, NaN, or what pandas writes for them."""
    if value is None or type(value).__name__ in ("NAType", "NaTType"):
        return True
    return isinstance(value, float | np.floating) and bool(np.isnan(value))


def _is_unicode(text: str) -> bool:
    """Return whether a text can be written: lone surrogates (half a character) can't."""
    return not any("\ud800" <= character <= "\udfff" for character in text)


def numbered_columns(name: str, columns: Sequence[str]) -> list[str]:
    """Return the columns such as `caption_0`, `caption_1` that stand in for one of a name, in their order."""
    form = re.compile(rf"{re.escape(name)}s?_?(\d+)", re.IGNORECASE)
    found = [(int(match[1]), column) for column in columns if (match := form.fullmatch(column))]
    return [column for _, column in sorted(found)]


def spread(values: Sequence[object]) -> tuple[list[object], list[int]]:
    """Return the values, those in lists one by one, and the row that each is of."""
    found, places = [], []
    for place, value in enumerate(values):
        given = value.tolist() if isinstance(value, np.ndarray) else value
        own = list(given) or [None] if isinstance(given, list | tuple) else [given]
        found += own
        places += [place] * len(own)
    return found, places


def passed_over(chosen: str, named: str | None, usual: Sequence[str], columns: Sequence[str], what: str) -> list[str]:
    """Return a note where other columns have usual names too, and none was named."""
    others = [column for column in columns if column != chosen and column.lower() in usual]
    return [f"{what} are those in the column '{chosen}', not '{others[0]}'"] if others and named is None else []


def is_unlabelled(value: object) -> bool:
    """Return whether a cell holds no label."""
    if _is_list(value):
        return len(value) == 0
    return is_missing(value) or (isinstance(value, str) and not value.strip())


def _is_list(value: object) -> TypeGuard[list[object] | tuple[object, ...] | np.ndarray]:
    return isinstance(value, list | tuple | np.ndarray)


def label_notes(labels: Iterable[str]) -> list[str]:
    """Warnings of what looks like several labels in one, or like one label written in several ways."""
    counts = Counter(labels)
    notes = []
    parts = {name: [part.strip() for part in re.split(r"[|;]", name)] for name in counts}
    joint = [name for name, own in parts.items() if len(own) > 1 and all(own)]
    used = Counter(part for own in parts.values() for part in own)
    listed = [name for name in counts if name.startswith("[") and name.endswith("]")]
    joint = listed or joint
    if listed or any(used[part] > 1 for name in joint for part in parts[name]):
        notes.append(
            f"warning: labels such as '{joint[0]}' look like several labels at once: here each combination is "
            f"a class of its own ({len(joint)} such classes); data.labels: multi learns each label separately"
        )
    by_commas = [n for n in counts if "," in n and any(part.strip() in counts for part in n.split(","))]
    if by_commas and not notes:  # names of classes may have commas, but not those of two others
        notes.append(
            f"warning: '{by_commas[0]}' is one class here, and a part of it another: where these are several labels, "
            "separate them by | or ; and set data.labels: multi"
        )
    folded: dict[str, list[str]] = {}
    for name in sorted(counts):
        folded.setdefault(" ".join(name.casefold().split()), []).append(name)
    for same in folded.values():
        if len(same) > 1:
            shown = ", ".join(f"'{name}' ({counts[name]})" for name in same)
            notes.append(
                f"warning: the classes {shown} differ only by case or spaces: write them the same way if they are one "
                "class"
            )
    return notes


def as_label(name: str) -> str:
    """Return the name of a class in Unicode's composed form: é is one character, whatever the file or disk made of
    it."""
    return unicodedata.normalize("NFC", name.strip())


_WHOLE = re.compile(r"(-?\d+)(\.0*)?")


def _whole_as_such(values: Sequence[object]) -> list[object]:
    """Return the values; whole numbers that are written as fractions (1.0, which spreadsheets and pandas make of 1) are
    whole numbers, of texts where all in the column are."""
    found = [_alone(value.item() if isinstance(value, np.generic) else value) for value in values]
    # Spreadsheets and pandas make 1.0 of a class 1, as soon as a cell is empty.
    found = [int(value) if isinstance(value, float) and value.is_integer() else value for value in found]
    texts = [value for value in found if isinstance(value, str) and value.strip()]
    if any("." in text for text in texts):
        matched = [_WHOLE.fullmatch(text.strip()) for text in texts]
        if all(matched):
            found = [_WHOLE.sub(r"\1", v.strip()) if isinstance(v, str) and v.strip() else v for v in found]
    return found


def _alone(value: object) -> object:
    """Return the label in a list of one; of an empty one nothing."""
    given = value.tolist() if isinstance(value, np.ndarray) else value
    if isinstance(given, list | tuple) and len(given) < 2:
        return given[0] if given else None
    return given


def label_names(values: Sequence[object], wheres: Sequence[str], column: str, what: str = "a label") -> list[str]:
    """Return the labels as names. Captions stay as they are written.

    Raises:
        DataError: a label is missing, of a type that is no name, or of another type than those before it.
    """
    faults = []
    expected: type | None = None
    names = []
    are_labels = what == "a label"
    found = _whole_as_such(values) if are_labels else values
    for value, where, given in zip(found, wheres, values, strict=True):
        if is_unlabelled(value):
            several = " With data.labels=multi they are rows without any label." if _is_list(given) else ""
            remedy = f"data.on_error=skip leaves such rows out.{several if are_labels else ''}"
            faults.append(must_be(f"{where}: column '{column}'", what, "nothing", remedy))
        elif isinstance(value, list | tuple) and all(isinstance(one, str | int) for one in value):
            remedy = "data.labels: multi learns each of them separately."
            faults.append(must_be(f"{where}: column '{column}'", "one label", some(map(repr, value)), remedy))
        elif isinstance(value, float) or not isinstance(value, str | int):
            shown = f"{value!r} ({type(value).__name__})"
            remedy = "To predict numbers, use task text-regression or image-regression." if are_labels else ""
            remedy = remedy if isinstance(value, float) else ""
            faults.append(must_be(f"{where}: column '{column}'", "a name or a whole number", shown, remedy))
        elif isinstance(value, str) and not _is_unicode(value):
            faults.append(must_be(f"{where}: column '{column}'", "a name in Unicode", ascii(value)))
        elif expected is not None and type(value) is not expected:
            remedy = "Write all labels as names: mixed types are not guessed."
            shown = f"{value!r} ({type(value).__name__})"
            allowed = f"of one type: {expected.__name__}, as in the rows before"
            faults.append(must_be(f"{where}: column '{column}'", allowed, shown, remedy))
        else:
            expected = type(value)
        names.append(as_label(str(value)) if are_labels else str(value).strip())
    raise_first(faults)
    return names


def on_scale(labels: Iterable[Target], column: str, numbers_task: str) -> str | None:
    """Return a note where labels look like the steps of a scale: a few whole numbers from 1 on, or in a column whose
    name is usual for numbers."""
    found = set(labels)
    if not _FEWEST <= len(found) <= _MOST or not all(isinstance(name, str) and name.isdecimal() for name in found):
        return None
    steps = sorted(map(int, found))
    is_scale = steps == list(range(1, len(steps) + 1)) or column.lower() in NUMBER_COLUMNS[:-3]
    if not is_scale:
        return None
    return (
        f"the column '{column}' holds the numbers {', '.join(map(str, steps))}: here each is a class of "
        f"its own; to predict them as steps of a scale, use task {numbers_task}"
    )
