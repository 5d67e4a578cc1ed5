"""Rows that are objects of Python, whatever library they are of: told apart by what they have, not by their class.

Data sets of torch and torchvision, their subsets, frames of pandas and polars, streamed data sets of the Hub, a pair of
arrays, functions that make rows, and whatever else gives one row after the other.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np

from hftransfer.base.errors import DataError, must_be

if TYPE_CHECKING:
    import pandas as pd


_LONGEST_ROW = 3
"""A row that is a tuple has so many parts at most: two texts and a label."""


@runtime_checkable
class MapDataset(Protocol):
    """A data set of torch: an item for each index."""

    def __getitem__(self, index: int, /) -> Any:
        """Return the item at an index."""

    def __len__(self) -> int:
        """Return how many items there are."""


@dataclass
class Objects:
    """Rows as they were given, the columns where they have some, and what people should know of them."""

    records: list[Any]
    columns: list[str] | None = None
    notes: list[str] = field(default_factory=list)


def objects_in(data: Any, allowed: str) -> Objects:
    """Return the rows in an object of Python.

    Raises:
        DataError: there are none in it, or it gives batches.
    """
    if hasattr(data, "batch_sampler") and hasattr(data, "dataset"):
        raise DataError(must_be("data", allowed, "a DataLoader, which gives batches", "Give its .dataset."))
    if callable(data) and not isinstance(data, Iterable) and not hasattr(data, "__getitem__"):
        data = data()  # a function that makes rows: a generator's, say
    if hasattr(data, "to_dicts"):  # polars
        return Objects(list(data.to_dicts()))
    if hasattr(data, "iloc") and hasattr(data, "columns"):
        columns, records = _frame_records(data)
        return Objects(list(records), columns)
    if isinstance(data, tuple) and len(data) == 2 and _are_columns(*data):
        return _paired(data[0], data[1])
    if hasattr(data, "features") and hasattr(data, "take"):  # a streamed data set of the Hub
        return Objects(_named(list(data), _classes_of_features(data.features)))
    if _is_of_torch(data):
        return _of_torch(data)
    if isinstance(data, str | bytes) or not isinstance(data, Iterable):
        raise DataError(must_be("data", allowed, type(data).__name__))
    return Objects(_named(data, {}))


def _frame_records(frame: pd.DataFrame) -> tuple[list[str], list[dict[str, object]]]:
    """Return all columns of a pandas frame, and its records: where two columns have a name, of the last of them."""
    columns = [str(column) for column in frame.columns]
    values = [frame.iloc[:, place].tolist() for place in range(len(columns))]
    return columns, [dict(zip(columns, row, strict=True)) for row in zip(*values, strict=True)]


def _are_columns(inputs: Any, labels: Any) -> bool:
    """Return whether two objects are inputs and their labels, and not two rows: one is an array, or both are lists
    longer than rows are."""
    if hasattr(inputs, "shape"):
        return hasattr(labels, "__len__")
    if not isinstance(inputs, list):
        return False
    return hasattr(labels, "shape") or (isinstance(labels, list) and min(len(inputs), len(labels)) > _LONGEST_ROW)


def _paired(inputs: Any, labels: Any) -> Objects:
    """Return the rows of inputs (N, …) and their N labels.

    Raises:
        DataError: there are not as many of both.
    """
    if len(inputs) != len(labels):
        got = f"{len(inputs)} inputs and {len(labels)} labels"
        raise DataError(must_be("the arrays of data", "of equal length", got))
    return Objects([(one, _plain(label)) for one, label in zip(inputs, labels, strict=True)])


# --- data sets of torch ----------------------------------------------------------------------------------------------


def _is_of_torch(data: object) -> bool:
    """Return whether an object is a data set with an item for each index, and no sequence of Python's or numpy's."""
    is_known = isinstance(data, Sequence | Mapping | np.ndarray) or hasattr(data, "shape")
    return isinstance(data, MapDataset) and not is_known


def _of_torch(data: Any) -> Objects:
    """Return the items of a data set of torch; of a folder of images their files, classes by name."""
    whole, chosen = data, None
    while hasattr(whole, "indices") and hasattr(whole, "dataset"):  # torch's Subset, which may be of another
        chosen = list(whole.indices) if chosen is None else [list(whole.indices)[place] for place in chosen]
        whole = whole.dataset
    notes = []
    classes = _class_names(whole)
    samples = getattr(whole, "samples", None)
    if isinstance(samples, list) and samples and isinstance(samples[0], tuple) and isinstance(samples[0][0], str):
        # The files themselves: a transform would give other pixels, and others at each reading.
        if getattr(whole, "transform", None) is not None:
            notes.append(f"images of {type(whole).__name__} are read from their files, without its transform")
        items = samples if chosen is None else [samples[int(place)] for place in chosen]
    else:
        items = [data[place] for place in range(len(data))]
        if getattr(whole, "transform", None) is not None:
            notes.append(f"images are those that {type(whole).__name__}'s own transform gives, once each")
    return Objects(_named(items, classes), notes=notes)


def _class_names(data: object) -> Mapping[str, Sequence[str]]:
    """Return the names of classes that a data set of torchvision tells, for the labels of its items."""
    names = getattr(data, "classes", None)
    if isinstance(names, list | tuple) and names and all(isinstance(name, str) for name in names):
        return {"": list(names)}
    return {}


def _classes_of_features(features: Mapping[str, Any] | None) -> Mapping[str, Sequence[str]]:
    """Return the names of the classes in each column of a data set of the Hub."""
    return {name: one.names for name, one in (features or {}).items() if hasattr(one, "int2str")}


def _named(items: Iterable[Any], classes: Mapping[str, Sequence[str]]) -> list[Any]:
    """Return items with the names of classes in place of their numbers: by column, or of a pair its second part."""

    def name(value: object, names: Sequence[str] | None) -> object:
        plain = _plain(value)
        if names is None or not isinstance(plain, int) or isinstance(plain, bool) or not 0 <= plain < len(names):
            return plain
        return names[plain]

    def of_one(item: object) -> object:
        if isinstance(item, Mapping):
            return {key: name(value, classes.get(str(key))) for key, value in item.items()}
        if isinstance(item, tuple | list) and len(item) == 2:
            return (item[0], name(item[1], classes.get("")))
        return item

    return [of_one(item) for item in items]


def _plain(value: Any) -> object:
    """Return a number or text of numpy or torch as Python's own; all else as it is."""
    is_alone = getattr(value, "ndim", None) == 0 and hasattr(value, "item")
    return value.item() if is_alone else value
