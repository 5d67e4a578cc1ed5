"""Numbers as targets: read from cells, held out by quantiles, and told of."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from decimal import Decimal

import numpy as np
from typing_extensions import override

from hftransfer.base.errors import DataError, must_be
from hftransfer.base.plain import shown_value
from hftransfer.data.columns import NUMBER_COLUMNS, is_unlabelled
from hftransfer.data.pictures import OF_IMAGES, Images
from hftransfer.data.reading import LeftOutRows, Reader, Records
from hftransfer.data.roles import Found
from hftransfer.data.rows import Row, Target
from hftransfer.data.settings import DataSettings
from hftransfer.data.tables import raise_first
from hftransfer.data.targets import TargetKind, count_to_hold_out, divided
from hftransfer.data.texts import OF_TEXTS, Texts

_FEW_VALUES = 10
_LARGEST = 1e15
"""A network computes in float32, in which squares of larger numbers come near infinity."""
_STEPS_IN_DEVIATION = 10
"""Fewer steps of float32 in a standard deviation would round what was learned."""
_PLAIN = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_WITH_COMMA = re.compile(r"[+-]?\d+,\d+")
_USUAL_NAME, _NO_NAMES = "value", ("label", "labels", "target")


# --- how they are written --------------------------------------------------------------------------------------------


def number_of(value: object, where: str) -> float:
    """Return the number in a cell: of Python, numpy or pandas, or a text such as 3.8 or 1e-3.

    Raises:
        DataError: it is none, or not finite.
    """
    plain = value.item() if isinstance(value, np.generic) else value
    if isinstance(value, np.float32 | np.float16):
        plain = float(str(value))  # 3.8, as it was meant, and not 3.799999952316284
    if is_unlabelled(value) and not isinstance(plain, float):
        raise DataError(must_be(where, "a number", "nothing", _LEAVES_OUT))
    if isinstance(plain, bool) or not isinstance(plain, int | float | Decimal | str):
        raise DataError(must_be(where, "a number", f"{str(value)[:60]} ({type(value).__name__})"))
    if isinstance(plain, str):
        text = plain.strip()
        if _WITH_COMMA.fullmatch(text):
            point, none = text.replace(",", "."), text.replace(",", "")
            remedy = (
                f"Write {point} or {none}: hftransfer does not guess whether a comma separates thousands or decimals."
            )
            raise DataError(must_be(where, "a number with a decimal point", f"'{text}'", remedy))
        if text.lower().lstrip("+-") in ("nan", "inf", "infinity"):
            raise DataError(must_be(where, "a finite number", f"'{text}'", _LEAVES_OUT))
        if not _PLAIN.fullmatch(text):
            remedy = "For classes with names, use a classification task."
            raise DataError(must_be(where, "a number", f"'{text[:60]}'", remedy))
        plain = text
    try:
        found = float(plain)
    except OverflowError:
        found = math.inf
    if not math.isfinite(found):
        raise DataError(must_be(where, "a finite number", f"{found}", _LEAVES_OUT))
    if abs(found) > _LARGEST:
        raise DataError(must_be(where, f"between -{_LARGEST:g} and {_LARGEST:g}", f"{found:g}", _LEAVES_OUT))
    return found


_LEAVES_OUT = "Set data.on_error: skip to leave such rows out (at most 5 %)."


def read_numbers(values: Sequence[object], wheres: Sequence[str], column: str) -> list[float]:
    """Return the number in each cell of a column.

    Raises:
        DataError: some hold none; lines are named.
    """
    numbers, faults = list[float](), list[str]()
    for value, where in zip(values, wheres, strict=True):
        try:
            numbers.append(number_of(value, f"{where}: column '{column}'"))
        except DataError as error:
            faults += error.faults
    raise_first(faults)
    return numbers


class OfNumbers(Reader):
    """Reads the target of each row as a number, whatever the input is."""

    @override
    def columns(self, given: Records, settings: DataSettings) -> list[str]:
        return super().columns(_with_usual_names(given), settings)  # type: ignore[safe-super] # a reader of inputs

    @override
    def rows(self, given: Records, settings: DataSettings, found: Found, left: LeftOutRows | None) -> list[Row]:
        return super().rows(_with_usual_names(given), settings, found, left)  # type: ignore[safe-super]

    @override
    def is_unlabelled(self, given: Records, settings: DataSettings) -> bool:
        return super().is_unlabelled(_with_usual_names(given), settings)

    @override
    def of_files(self, rows: list[Row], settings: DataSettings) -> list[Row]:
        """Return the rows with the number that each folder is named by."""
        read, faults = list[Row](), list[str]()
        for row in super().of_files(rows, settings):
            target = row.target
            try:
                target = number_of(target, f"the folder of {row.id}") if isinstance(target, str) else target
            except DataError as error:
                faults += error.faults
            read.append(replace(row, target=target))
        raise_first(faults)
        return read

    @override
    def targets(
        self, values: Sequence[object], wheres: Sequence[str], column: str, settings: DataSettings, found: Found
    ) -> list[float]:
        del settings
        found.target_column = column
        return read_numbers(values, wheres, column)

    @override
    def unfit_targets(
        self, values: Sequence[object], wheres: Sequence[str], column: str, settings: DataSettings
    ) -> dict[int, str]:
        del settings
        told = {}
        for place, (value, where) in enumerate(zip(values, wheres, strict=True)):
            try:
                number_of(value, f"{where}: column '{column}'")
            except DataError as error:
                told[place] = str(error)
        return told


class NumberedTexts(OfNumbers, Texts):
    """Texts, or pairs of them, with a number each."""

    usual_task = "text-regression"
    python_rows = "(text, number)"
    own_settings = OF_TEXTS | {"coverage"}


class NumberedImages(OfNumbers, Images):
    """Images with a number each."""

    usual_task = "image-regression"
    python_rows = "(image, number)"
    own_settings = OF_IMAGES | {"coverage"}


NUMBERED_TEXTS, NUMBERED_IMAGES = NumberedTexts(), NumberedImages()


def _with_usual_names(given: Records) -> Records:
    # A data set may name its own columns of classes, which are no numbers.
    return replace(given, usual_labels=NUMBER_COLUMNS)


# --- as targets ------------------------------------------------------------------------------------------------------


class Numbers(TargetKind):
    """One number a row; `name` is that of its column, and `classes_task` the task for which its values are classes."""

    hold_out_words = "low, middle and high numbers in the same share"

    def __init__(self, name: str = "", classes_task: str = "") -> None:
        self.name = name if name and name not in _NO_NAMES else _USUAL_NAME
        self.classes_task = classes_task

    @override
    def require(self, rows: Sequence[Row]) -> None:
        values = {row.target for row in rows}
        if len(values) < 2:
            got = f"{shown_value(values.pop())} in all of them" if values else "none"
            remedy = "Nothing can be learned from a single number: is it the right column (data.label_column)?"
            raise DataError(must_be("the numbers of the training data", "different from each other", got, remedy))
        numbers = np.asarray([row.target for row in rows], dtype=np.float64)
        step, deviation = float(np.spacing(np.float32(np.abs(numbers).max()))), float(numbers.std())
        if step > deviation / _STEPS_IN_DEVIATION:
            allowed = "further apart than a network can tell: it computes in float32"
            got = f"a standard deviation of {shown_value(deviation)} where neighbours in float32 lie {step:g} apart"
            remedy = f"Subtract {shown_value(float(numbers.min()))} from all of them, and add it to predictions."
            raise DataError(must_be("the numbers of the training data", allowed, got, remedy))

    def hold_out(self, rows: list[Row], fraction: float, seed: int, name: str) -> tuple[list[Row], list[Row]]:
        """Return two parts of the rows: in the order of their numbers, equal ones shuffled, the rows are cut into as
        many bins as there are rows to hold out, and one of each bin is drawn."""
        count = count_to_hold_out(rows, fraction, name)
        random = np.random.default_rng([seed, *name.encode()])
        order = np.lexsort((random.random(len(rows)), [row.target for row in rows]))
        return divided(rows, {int(random.choice(own)) for own in np.array_split(order, count)})

    @override
    def strata(self, rows: Sequence[Row]) -> np.ndarray:
        """Return in which fifth of all numbers each is, (N, 5) of 0 and 1."""
        values = self.encode(rows, ())
        place = np.searchsorted(np.quantile(values, [0.2, 0.4, 0.6, 0.8]), values)  # (N,)
        return np.asarray(place[:, None] == np.arange(5), dtype=np.uint8)

    def encode(self, rows: Sequence[Row], class_names: Sequence[str]) -> np.ndarray:
        """Return the numbers (N,) in float64."""
        del class_names
        return np.array([row.target for row in rows], dtype=np.float64)

    @override
    def notes_on(self, parts: Mapping[str, Sequence[Row]]) -> list[str]:
        """Return what the numbers of each split are like, and whether they may be classes."""
        told = [f"{self.name}, {name}: {_in_words(rows)}" for name, rows in parts.items() if rows]
        return [*told, *self.notes(row for rows in parts.values() for row in rows)]

    @override
    def notes(self, rows: Iterable[Row]) -> list[str]:
        values = {row.target for row in rows}
        if not self.classes_task or not 0 < len(values) <= _FEW_VALUES:
            return []
        shown = ", ".join(shown_value(value) for value in sorted(values))
        return [
            f"the numbers are {shown} alone: here they are estimated as numbers, between which there may be others; if "
            f"each is a class of its own, that is task {self.classes_task}"
        ]

    @override
    def in_words(self, target: Target) -> str:
        return shown_value(target)


def _in_words(rows: Sequence[Row]) -> str:
    values = np.array([row.target for row in rows])
    least, median, most = np.quantile(values, [0.0, 0.5, 1.0]).tolist()
    mean, deviation = shown_value(values.mean(), 4), shown_value(values.std(), 4)
    return (
        f"{shown_value(least)} to {shown_value(most)}, median {shown_value(median)}, mean {mean}, deviation {deviation}"
    )
