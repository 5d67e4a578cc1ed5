"""Several labels in one row: how they are written in cells and columns, and the targets that they make."""

from __future__ import annotations

import ast
import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import combinations
from typing import ClassVar

import numpy as np
from typing_extensions import override

from hftransfer.base.errors import DataError, counted, must_be, nearest, some
from hftransfer.data.columns import as_label, is_missing, is_unlabelled, label_names, on_scale
from hftransfer.data.reading import LeftOutRows, Reader, Records
from hftransfer.data.roles import Found
from hftransfer.data.rows import Row, Target
from hftransfer.data.settings import DataSettings
from hftransfer.data.tables import raise_first
from hftransfer.data.targets import (
    CLASSES,
    TargetKind,
    Targets,
    count_to_hold_out,
    divided,
    natural_order,
)

JOINED = "data.label_columns"
"""The name of the column that stands for several of 0 and 1."""
_SEPARATORS = "|;"
_FLAGS = dict.fromkeys(("1", "1.0", "true", "yes"), True) | dict.fromkeys(("0", "0.0", "false", "no"), False)
"""What the cells of a label's own column say."""
_SHOWN_PAIRS = 5


# --- how they are written --------------------------------------------------------------------------------------------


def read_labels(
    values: Sequence[object], wheres: Sequence[str], column: str, settings: DataSettings, found: Found
) -> list[Target]:
    """Return the label of each cell, or the labels, as a tuple of names: as the settings say, else as the cells look.

    Raises:
        DataError: a cell holds something else; lines are named.
    """
    if settings.labels == "one":
        return label_names(values, wheres, column)
    form = form_of_sets(values)
    if settings.labels == "auto":
        if form is None:
            return label_names(values, wheres, column)
        found.note(
            f"the column '{column}' has several labels per row ({form}): each is learned separately "
            "(data.labels: one takes every combination as a class)"
        )
    if form is not None and form.startswith("lists") and (missing := sum(is_missing(value) for value in values)):
        found.note(
            f"the column '{column}' holds nothing, and no list, in {counted(missing, 'row')}: read as rows without any "
            "label; leave rows out that nobody has labelled"
        )
    return _label_sets(values, wheres, column)


def unlabelled_rows(
    values: Sequence[object], wheres: Sequence[str], column: str, settings: DataSettings
) -> dict[int, str]:
    """Return the cells without a label, by their place, and what is said of each; none where a row may have none."""
    if settings.labels == "multi" or form_of_sets(values) is not None:
        return {}
    return {
        place: must_be(f"{wheres[place]}: column '{column}'", "a label", "nothing")
        for place, value in enumerate(values)
        if is_unlabelled(value)
    }


OF_LABELS = frozenset({"labels", "label_columns", "at_least_one"})
"""Settings of rows with labels."""


class OfLabels(Reader):
    """Reads the target of each row as a label, or as several, whatever the input is."""

    numbers_task: ClassVar[str]
    """The task for which labels that are numbers may be meant."""

    @override
    def targets(
        self, values: Sequence[object], wheres: Sequence[str], column: str, settings: DataSettings, found: Found
    ) -> list[Target]:
        labels = read_labels(values, wheres, column, settings, found)
        if note := on_scale(labels, column, self.numbers_task):
            found.note(note)
        return labels

    @override
    def unfit_targets(
        self, values: Sequence[object], wheres: Sequence[str], column: str, settings: DataSettings
    ) -> dict[int, str]:
        return unlabelled_rows(values, wheres, column, settings)


def form_of_sets(values: Sequence[object]) -> str | None:
    """Return how a column holds several labels a row, in words; None where it holds one.

    Texts such as `a|b` are several labels where a part of one is found in another, too.
    """
    cells = [value.tolist() if isinstance(value, np.ndarray) else value for value in values]
    if any(isinstance(cell, list | tuple | set | frozenset) and len(cell) != 1 for cell in cells):
        split = [_parts(cell) for cell in cells]
        width = max(map(len, split), default=0)
        return f"lists of 0 and 1, one for each of {width} labels" if _are_vectors(split) else "lists"
    texts = {cell.strip() for cell in cells if isinstance(cell, str) and cell.strip()}
    lists = [parsed for text in texts if (parsed := _listed_text(text)) is not None]
    if texts and len(lists) == len(texts) and any(len(parsed) != 1 for parsed in lists):
        return "lists, written as text"
    for separator in _SEPARATORS:
        parts = {text: [part.strip() for part in text.split(separator)] for text in texts}
        joint = [own for own in parts.values() if len(own) > 1 and all(own)]
        used = Counter(part for own in parts.values() for part in own)
        if any(used[part] > 1 for own in joint for part in own):
            return f"joined by '{separator}'"
    return None


def _label_sets(values: Sequence[object], wheres: Sequence[str], column: str) -> list[tuple[str, ...]]:
    """Return the labels of each cell; none of an empty one.

    Raises:
        DataError: one of them is no name, or of another type than those before; lines are named.
    """
    split = [_parts(value) for value in values]
    if _are_vectors(split):
        split = [[place for place, flag in enumerate(own) if flag] for own in split]
    spread = [one for own in split for one in own]
    places = [where for own, where in zip(split, wheres, strict=True) for _ in own]
    empty = [where for one, where in zip(spread, places, strict=True) if is_unlabelled(one)]
    raise_first(
        [
            must_be(f"{where}: column '{column}'", "names of labels", "nothing (an empty name, null or NaN)")
            for where in empty
        ]
    )
    names = iter(label_names(spread, places, column)) if spread else iter(())
    return [tuple(dict.fromkeys(next(names) for _ in own)) for own in split]


def _are_vectors(cells: Sequence[Sequence[object]]) -> bool:
    """Return whether each cell says of every label whether it holds, by 1 and 0, as torch's loss of several labels
    takes it; numbers of labels don't stand there twice, nor in another order."""
    cells = [cell for cell in cells if cell]  # an empty one holds no label either way
    widths = {len(cell) for cell in cells}
    if len(widths) != 1 or min(widths) < 2:
        return False
    if not all(isinstance(flag, bool | int | float) and flag in (0, 1) for cell in cells for flag in cell):
        return False
    return any(len(set(cell)) < len(cell) for cell in cells) or len({tuple(cell) for cell in cells}) > 1


def _parts(value: object) -> list[object]:
    """Return the labels in a cell: those of a list, or of a text that is a list or joins them."""
    given = value.tolist() if isinstance(value, np.ndarray) else value
    if isinstance(given, list | tuple):
        return list(given)
    if isinstance(given, set | frozenset):
        return sorted(given, key=str)
    if is_missing(given) or is_unlabelled(given):
        return []
    if not isinstance(given, str):
        return [given]
    listed = _listed_text(given.strip())
    if listed is not None:
        return listed
    separator = next((sign for sign in _SEPARATORS if sign in given), None)
    return [part.strip() for part in given.split(separator)] if separator else [given]


def _listed_text(text: str) -> list[object] | None:
    """Return the list that a text is written as, by JSON or by Python; None where it is none."""
    if not (text.startswith("[") and text.endswith("]")):
        return None
    # As spreadsheets and pandas write lists: with double quotes, or with Python's.
    for read in (json.loads, ast.literal_eval):
        try:
            value = read(text)
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            continue
        return list(value) if isinstance(value, list) else None
    return None


def joined_columns(
    given: Records, settings: DataSettings, left: LeftOutRows | None = None
) -> tuple[Records, DataSettings]:
    """Return the records with one column of lists in place of the columns of 0 and 1 that the settings name. With
    `left`, rows with an empty cell among these are put there.

    Raises:
        DataError: one of these is not there, or a cell is neither 0 nor 1; lines are named.
    """
    names = settings.label_columns
    if not names:
        return given, settings
    absent = [name for name in names if name not in given.columns]
    raise_first(
        [
            must_be("data.label_columns", f"columns of {given.source}", f"'{name}'", nearest(name, given.columns))
            for name in absent
        ]
    )
    faults: list[str] = []
    records, wheres = [], []
    for record, where in zip(given.records, given.wheres, strict=True):
        flags = {name: _flag(record.get(name)) for name in names}
        own = {
            name: must_be(f"{where}: column '{name}'", "0 or 1, or yes or no", _shown(record.get(name)))
            for name, flag in flags.items()
            if flag is None
        }
        if left is not None and any(is_unlabelled(record.get(name)) for name in own):
            left.append((where, next(iter(own.values()))))
            continue
        faults += own.values()
        records.append({**record, JOINED: [as_label(name) for name, flag in flags.items() if flag]})
        wheres.append(where)
    raise_first(faults)
    columns = [*(name for name in given.columns if name not in names), JOINED]
    joined = replace(given, records=records, wheres=wheres, columns=columns)
    return joined, settings.model_copy(update={"label_column": JOINED, "label_columns": None, "labels": "multi"})


def flag_columns(records: Sequence[Mapping[str, object]], columns: Sequence[str]) -> list[str]:
    """Return the columns that say yes or no (0, 1, true, false, yes, no) in every row: each may be a label."""
    return [name for name in columns if records and all(_flag(record.get(name)) is not None for record in records)]


def _flag(value: object) -> bool | None:
    """Return whether a cell says that a label is given; None where it says neither."""
    plain = value.item() if isinstance(value, np.generic) else value
    text = str(plain).strip().lower()
    return _FLAGS.get(text)


def _shown(value: object) -> str:
    return "nothing" if is_missing(value) or value == "" else f"{value!r}"[:60]


# --- as targets ------------------------------------------------------------------------------------------------------


class LabelSets(TargetKind):
    """Any number of labels a row, by name: a tuple of them."""

    has_names = True
    hold_out_words = "every label in about the same share"

    @override
    def require(self, rows: Sequence[Row]) -> None:
        names = self.class_names(rows)
        if len(names) < 2:
            got = f"one label, '{names[0]}', in all rows" if names else "none"
            remedy = "For yes or no, give each row one of two labels (data.labels: one)."
            raise DataError(must_be("the labels of the training data", "two or more", got, remedy))

    def hold_out(self, rows: list[Row], fraction: float, seed: int, name: str) -> tuple[list[Row], list[Row]]:
        """Return two parts of the rows with about the same share of each label, rare labels first (iterative
        stratification; Sechidis et al. 2011, On the Stratification of Multi-Label Data)."""
        wanted = count_to_hold_out(rows, fraction, name)
        names = self.class_names(rows)
        labels = self.encode(rows, names).astype(bool)  # (N, C)
        # By seed and split: validation and test are drawn apart.
        order = np.random.default_rng([seed, *name.encode()]).permutation(len(rows))
        left = np.ones(len(rows), dtype=bool)  # (N,)
        held = np.zeros(len(rows), dtype=bool)  # (N,)
        needed = fraction * labels.sum(axis=0)  # (C,): rows with each label that the held part still needs
        while (counts := labels[left].sum(axis=0)).any():
            rarest = int(np.argmin(np.where(counts > 0, counts, len(rows) + 1)))
            own = [place for place in order.tolist() if left[place] and labels[place, rarest]]
            take = min(round(float(needed[rarest])), len(own), wanted - int(held.sum()))
            # One example of a label at least stays to learn from.
            if take == counts[rarest] == labels[:, rarest].sum():
                take -= 1
            for place in own[: max(0, take)]:
                held[place] = True
                needed -= labels[place]
            left[own] = False
        rest = [place for place in order.tolist() if left[place]]
        held[rest[: max(0, wanted - int(held.sum()))]] = True
        return divided(rows, set(np.flatnonzero(held).tolist()))

    @override
    def strata(self, rows: Sequence[Row]) -> np.ndarray:
        return self.encode(rows, self.class_names(rows))

    def limited(self, rows: list[Row], limit: int) -> list[Row]:
        """Return at most so many rows for each label; a row counts for all of its labels."""
        taken: Counter[str] = Counter()
        kept = []
        for row in rows:
            own = row.target or ("",)
            if any(taken[label] < limit for label in own):
                taken.update(own)
                kept.append(row)
        return kept

    @override
    def class_names(self, rows: Iterable[Row]) -> tuple[str, ...]:
        return tuple(sorted({label for row in rows for label in row.target}, key=natural_order))

    @override
    def require_known(self, parts: Mapping[str, Sequence[Row]], class_names: Sequence[str]) -> None:
        faults = []
        known = set(class_names)
        for name in ("validation", "test"):
            unknown = Counter(label for row in parts[name] for label in row.target if label not in known)
            for label, count in unknown.items():
                where = f"the label '{label}' of the {name} split ({counted(count, 'row')})"
                remedy = nearest(label, class_names)
                faults.append(must_be(where, "one of the training split's labels", "a label never trained on", remedy))
        raise_first(faults)

    @override
    def require_of_model(self, rows: Sequence[Row], class_names: Sequence[str]) -> None:
        known = set(class_names)
        unknown = Counter(label for row in rows for label in row.target if known and label not in known)
        raise_first(
            [
                must_be(
                    f"the label '{label}' ({counted(count, 'row')})",
                    "one of the model's",
                    "another",
                    nearest(label, class_names),
                )
                for label, count in unknown.items()
            ]
        )

    def encode(self, rows: Sequence[Row], class_names: Sequence[str]) -> np.ndarray:
        """Return which labels each row has, (N, C) of 0 and 1."""
        ids = {name: index for index, name in enumerate(class_names)}
        labels = np.zeros((len(rows), len(class_names)), dtype=np.uint8)
        for place, row in enumerate(rows):
            labels[place, [ids[label] for label in row.target]] = 1
        return labels

    @override
    def labels_of(self, target: Target) -> tuple[str, ...]:
        own: tuple[str, ...] = target
        return own

    @override
    def counts(self, targets: Targets, class_names: Sequence[str]) -> list[int]:
        found: list[int] = np.asarray(targets).reshape(-1, len(class_names)).sum(axis=0, dtype=np.int64).tolist()
        return found

    @override
    def notes(self, rows: Iterable[Row]) -> list[str]:
        """Return how many labels rows have, which come together most often, and which can't be told from others."""
        sets = [row.target for row in rows]
        if not sets:
            return []
        sizes = np.array([len(own) for own in sets])
        without = counted(int((sizes == 0).sum()), "row")
        notes = [f"labels a row: {sizes.mean():.2f} on average, {sizes.max()} at most; {without} without any"]
        pairs = Counter(pair for own in sets for pair in combinations(sorted(own), 2))
        if pairs:
            told = "; ".join(f"{one} + {other} {count}" for (one, other), count in pairs.most_common(_SHOWN_PAIRS))
            notes.append(f"most often together: {told}")
        counts = Counter(label for own in sets for label in own)
        parts = Counter(part.strip() for label in counts for part in label.split(","))
        joint = [name for name in counts if "," in name and any(parts[part.strip()] > 1 for part in name.split(","))]
        if joint:
            notes.append(f"warning: '{joint[0]}' is one label here: separate several by | or ;, or write lists")
        always = [label for label, count in counts.items() if count == len(sets)]
        if always:
            notes.append(f"warning: {some(map(repr, always))}: on every row, so there is nothing to tell apart")
        return notes

    @override
    def in_words(self, target: Target) -> str:
        return ", ".join(target) or "(no label)"


LABEL_SETS = LabelSets()


def kind_of(found: Found) -> TargetKind:
    """Return what the targets of rows with labels are: one class a row, or any number of labels."""
    is_several = any(isinstance(row.target, tuple) for rows in found.values() for row in rows)
    return LABEL_SETS if is_several else CLASSES


def settled(read: Callable[[DataSettings], Found], settings: DataSettings) -> Found:
    """Return the rows that `read` gives, all of one label or all of several: what one split shows holds for the others.

    Where no row has two labels, an empty list is a row that nobody labelled, and each other list one label.
    """
    found = read(settings)
    sizes = {len(row.target) if isinstance(row.target, tuple) else None for rows in found.values() for row in rows}
    if settings.labels != "auto" or settings.label_columns or sizes <= {None}:
        return found
    several = any(size is not None and size > 1 for size in sizes)
    if several and None not in sizes:
        return found
    return read(settings.model_copy(update={"labels": "multi" if several else "one"}))
