"""Which class of a trained model each label of other data means."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal, cast, get_args

from hftransfer.base.errors import DataError, RecipeError, must_be, nearest, some
from hftransfer.data.rows import Row, Target

Order = Literal["position", "text-order", "natural-order"]
LabelMap = Mapping[Any, Any] | Order
"""Which class of a model each label of data means: name by name, or by their order."""


def relabelled(rows: list[Row], class_names: Sequence[str], label_map: LabelMap | None) -> list[Row]:
    """Return the rows with labels of the model's; without a map as they are.

    By position whole numbers are the numbers of classes, and other labels, in their order, the classes in theirs. The
    order is told where it may be two: torchvision and datasets have class folders in that of texts (breed_1, breed_10,
    breed_2), timm's scripts in natural order.

    Raises:
        RecipeError: the map does not fit the model's classes or the data's labels.
        DataError: without a map, labels are not the model's, and the ones or the others are numbers alone.
    """
    present = sorted({label for row in rows for label in _labels_in(row.target)})
    unknown = [label for label in present if label not in class_names]
    if label_map is None:
        are_numbers = unknown == present and all(re.fullmatch(r"\d{1,9}", label) for label in present)
        if unknown and (are_numbers or all(re.fullmatch(r"LABEL_\d+", name) for name in class_names)):
            example = ",".join(f"{label}={name}" for label, name in zip(present[:2], class_names, strict=False))
            remedy = f"Say which is which: --label-map position, or one by one, as in --label-map {example}."
            raise DataError(
                must_be("the labels of the data", f"the model's ({some(class_names)})", some(present), remedy)
            )
        return rows
    given: object = label_map_of(label_map) if isinstance(label_map, str) else label_map
    if isinstance(given, str):
        meant = _by_order(present, class_names, cast("Order", given))
    elif isinstance(given, Mapping):
        meant = _named(given, class_names)
    else:
        allowed = "a mapping of labels to classes, or position, text-order or natural-order"
        raise RecipeError(must_be("label_map", allowed, type(given).__name__))
    # As in tables, 1.0 and 1 are one label.
    meant = {label if label in present else re.sub(r"^(-?\d+)\.0+$", r"\1", label): n for label, n in meant.items()}
    faults = [
        must_be(
            f"the class of '{label}' in the label map", "one of the model's", f"'{name}'", nearest(name, class_names)
        )
        for label, name in meant.items()
        if name not in class_names
    ]
    # A label that isn't there is misspelt where one that is there has no class.
    if any(label not in meant for label in present):
        strangers = [label for label in meant if label not in present]
        faults += [
            must_be("the label map", "of labels of the data", f"'{label}'", nearest(label, present))
            for label in strangers
        ]
    absent = [label for label in unknown if label not in meant]
    if absent:
        faults.append(must_be("the label map", "given for every label of the data", f"nothing for {some(absent)}"))
    if faults:
        raise RecipeError(*faults)
    return [replace(row, target=_mapped(row.target, meant)) for row in rows]


def mapped_labels(labels: Sequence[str], class_names: Sequence[str], label_map: LabelMap | None) -> tuple[str, ...]:
    """Return what labels of data are called by the model; by an order every class has one."""
    given = label_map_of(label_map) if isinstance(label_map, str) else label_map
    if isinstance(given, str):
        return tuple(class_names)
    meant = _named(given, class_names) if given is not None else {}
    return tuple(meant.get(label, label) for label in labels)


def _named(given: Mapping[Any, Any], class_names: Sequence[str]) -> dict[str, str]:
    """Return a map of texts to texts; whole numbers stand for labels as they are written, and for classes by number."""
    numbered = dict(enumerate(class_names))
    return {str(label): numbered.get(name, str(name)) for label, name in given.items()}


def _labels_in(target: Target) -> tuple[str, ...]:
    """Return the labels of a row: one, or several."""
    return target if isinstance(target, tuple) else (target,)


def _mapped(target: Target, meant: Mapping[str, str]) -> Target:
    if isinstance(target, tuple):
        return tuple(dict.fromkeys(meant.get(label, label) for label in target))
    return meant.get(target, target)


def _by_order(present: Sequence[str], class_names: Sequence[str], order: Order) -> dict[str, str]:
    if order == "position" and all(re.fullmatch(r"\d{1,9}", label) for label in present):
        beyond = [label for label in present if int(label) >= len(class_names)]
        if beyond:
            allowed = f"numbers from 0 to {len(class_names) - 1} for a label map by position"
            remedy = "natural-order takes them in their order, whatever the first one is."
            raise RecipeError(must_be("the labels of the data", allowed, some(beyond), remedy))
        return {label: class_names[int(label)] for label in present}
    if len(present) != len(class_names):
        remedy = "Name them one by one: neg=LABEL_0,pos=LABEL_1."
        allowed = f"as many as the model's for a label map by position ({len(class_names)})"
        raise RecipeError(must_be("the labels of the data", allowed, some(present), remedy))
    by_text, natural = sorted(present), sorted(present, key=_naturally)
    if order == "position" and by_text != natural:
        remedy = (
            "text-order is that of class folders in torchvision and datasets, natural-order that in timm's scripts."
        )
        got = f"{some(by_text)} as texts, {some(natural)} in natural order"
        raise RecipeError(must_be("the label map", "text-order or natural-order where they differ", got, remedy))
    return dict(zip(natural if order == "natural-order" else by_text, class_names, strict=True))


def _naturally(label: str) -> list[str | int]:
    """Return a key that orders numbers within labels as numbers, and letters whatever their case."""
    # Words and numbers alternate, the first is a word (or empty).
    return [int(part) if place % 2 else part for place, part in enumerate(re.split(r"([0-9]+)", label.lower()))]


def label_map_of(text: str) -> LabelMap:
    """Return the label map that a person wrote: the name of an order, or `neg=LABEL_0,pos=LABEL_1`.

    Raises:
        RecipeError: it is neither.
    """
    for order in get_args(Order):
        if text.strip() == order:
            return cast("Order", order)
    parts = [part.rpartition("=") for part in text.split(",")]
    found = {label.strip(): name.strip() for label, _, name in parts}
    if any(not (label.strip() and name.strip()) for label, _, name in parts) or len(found) < len(parts):
        allowed = "position, text-order, natural-order, or pairs of a label and a class, as in neg=LABEL_0,pos=LABEL_1"
        raise RecipeError(must_be("--label-map", allowed, f"'{text}'"))
    return found
