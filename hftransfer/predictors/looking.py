"""Many inputs as a model sees them: the features of each, kept in the cache where that can be, so that a second look is
quick."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hftransfer.adapters.checkpoint import find_checkpoint
from hftransfer.base.errors import DataError
from hftransfer.base.progress import Progress
from hftransfer.data.depth import PixelRange
from hftransfer.data.inspection import as_content, inspect_rows
from hftransfer.data.reading import NamedInput
from hftransfer.data.rows import Row, TextContent
from hftransfer.data.splits import Split, scaled_alike
from hftransfer.predictors.dual import DualPredictor
from hftransfer.predictors.predictor import Place, Predictor
from hftransfer.tasks.items import ImageItems, Items
from hftransfer.training.activations import ActivationStore, fill_store, key_parts
from hftransfer.training.embeddings import embed, unit


@dataclass(frozen=True)
class Looked:
    """The inputs that could be read, with their features (N, D) in float32, and why others could not."""

    names: list[str]
    values: list[object]
    features: np.ndarray
    faults: list[str]


def weights_of(place: Place) -> str:
    """Return the hash of the weights of the model at a place, by which its features are kept; empty where it has no
    weights of its own, as matrices of LoRA."""
    if place.checkpoint is None and (place.folder / "adapter_config.json").is_file():
        return ""
    checkpoint = place.checkpoint or find_checkpoint(str(place.folder))
    return checkpoint.weights_sha256 if checkpoint is not None else ""


_TOLD = 5


def tell_unread(faults: Sequence[str], progress: Progress) -> None:
    """Say why the first inputs that can't be read are passed over."""
    for fault in faults[:_TOLD]:
        progress.line(f"not read: {fault}")


def look_at(
    model: Predictor | DualPredictor, named: Sequence[NamedInput], weights_sha256: str, progress: Progress
) -> Looked:
    """Return the features of inputs, and why some can't be read; features are kept by the hash of the model's weights,
    where that is given and what enters the head is one row an input.

    Raises:
        DataError: an input is too long.
        ModelError: the model has more than one row of features an input.
    """
    if isinstance(model, Predictor):
        model.require_one_row()
        if not weights_sha256 or not model.adapter.head_is_linear:
            return _computed(model, named, progress)
    elif not weights_sha256:
        return _computed(model, named, progress)
    rows, faults = _rows_of(named, of_texts=bool(model.reader.fields))
    digests = [b""] * len(rows)
    if not model.reader.fields:
        found = inspect_rows([row for _, row in rows])
        if model.pixels is not None:  # as it predicts
            ranged = scaled_alike({"": [row for _, row in rows]}, {"": found}, PixelRange(*model.pixels))[0][""]
            rows = [(place, row) for (place, _), row in zip(rows, ranged, strict=True)]
        faults += found.faults.values()
        rows = [row for place, row in enumerate(rows) if place not in found.faults]
        digests = [digest for place, digest in enumerate(found.digests) if place not in found.faults]
    if not rows:
        return Looked([], [], np.empty((0, 0), np.float32), faults)
    features, bad = _kept(model, [row for _, row in rows], digests, weights_sha256, progress)
    kept = [named[place] for at, (place, _) in enumerate(rows) if at not in bad]
    return Looked([one.name for one in kept], [one.value for one in kept], features, faults + list(bad.values()))


def _rows_of(named: Sequence[NamedInput], *, of_texts: bool) -> tuple[list[tuple[int, Row]], list[str]]:
    """Return the inputs as rows, each with its place, and why others can't be read."""
    rows: list[tuple[int, Row]] = []
    faults: list[str] = []
    for place, one in enumerate(named):
        try:
            if isinstance(one.value, DataError):
                raise one.value
            if of_texts:
                parts = (one.value,) if isinstance(one.value, str) else tuple(one.value)
                content = TextContent(*parts)
                rows.append((place, Row(one.name, content, "")))
            else:
                rows.append((place, Row(one.name, as_content(one.value, one.name), "")))
        except DataError as error:
            faults += error.faults
    return rows, faults


def _kept(
    model: Predictor | DualPredictor, rows: list[Row], digests: list[bytes], weights_sha256: str, progress: Progress
) -> tuple[np.ndarray, dict[int, str]]:
    """Return the features of all rows that can be decoded, from the cache or into it, and why others can't be."""
    if isinstance(model, DualPredictor):
        items: Items = ImageItems(rows, digests, model.dual.images)
        store, bad = embed(
            model.dual.images, items, weights_sha256, model.compute, progress, "looking", stop_at_fault=False
        )
    else:
        adapter, top = model.adapter, len(model.adapter.stages)
        split = Split(rows, [row.target for row in rows], digests)
        items = model.examples(adapter, split, model.data_settings()).items
        store = ActivationStore.in_cache(key_parts(adapter, weights_sha256, top, model.compute), progress.line)
        with progress.stage("looking", len(rows)) as advance:
            bad = fill_store(store, adapter, top, items, model.compute, advance, stop_at_fault=False)
    kept = [digest for place, digest in enumerate(items.digests) if place not in bad]
    features = store.activations(kept).rows(0, len(kept))
    return (unit(features) if isinstance(model, DualPredictor) else features), bad


def _computed(model: Predictor | DualPredictor, named: Sequence[NamedInput], progress: Progress) -> Looked:
    """Return the features of inputs without keeping them."""
    looked = Looked([], [], np.empty((0, 0), np.float32), [])
    rows: list[np.ndarray] = []
    with progress.stage("looking", len(named)) as advance:
        for one, found in zip(named, model.embed_each([each.value for each in named]), strict=True):
            advance(1)
            if isinstance(found, DataError):
                looked.faults.extend(found.faults)
            else:
                looked.names.append(one.name)
                looked.values.append(one.value)
                rows.append(np.asarray(found, dtype=np.float32))
    features = np.stack(rows) if rows else looked.features
    return Looked(looked.names, looked.values, features, looked.faults)


def named_inputs(inputs: Sequence[object]) -> list[NamedInput]:
    """Return inputs from Python with the names that people know them by."""
    return [
        NamedInput(str(one) if isinstance(one, str | Path) else f"input {place}", one)
        for place, one in enumerate(inputs)
    ]
