"""Parts of masks whose class is likely wrong: what a layer on frozen maps that never saw the image says of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import torch
from scipy import ndimage

from hftransfer.auditing.findings import Finding
from hftransfer.data.splits import Splits
from hftransfer.tasks.pixels import Tile
from hftransfer.training.maps import StoredMaps, solve_at

_FOLDS, _L2 = 2, 0.01
_SURE, _DOUBTFUL = 0.8, 0.05
"""The least probability of another class, and the most of the given one, in a part that is told."""
_LEAST_SHARE = 0.01
"""Of the image, that a part has: thin ones are borders that were drawn a little off."""


class _Part(NamedTuple):
    """A part of an image: its share, what it is called, what it looks like, how sure that is, and where it is."""

    share: float
    given: int
    likely: int
    sure: float
    box: tuple[float, float, float, float]


def mask_findings(splits: Splits, maps: Mapping[str, StoredMaps], seed: int) -> list[Finding]:
    """Return the images with a part that is likely of another class, the largest first. Copies of an image are in one
    fold."""
    copies: dict[bytes, int] = {}
    folds: dict[str, np.ndarray] = {}
    random = np.random.default_rng(seed).integers(0, _FOLDS, sum(splits.sizes().values()) + 1)
    for name, own in maps.items():
        digests = getattr(splits, name).digests
        numbers = [copies.setdefault(digests[tile.question], len(copies)) for tile in own.targets.items.tiles]
        folds[name] = random[numbers]
    found = list[Finding]()
    for fold in range(_FOLDS):
        kept = {name: np.flatnonzero(folds[name] != fold).tolist() for name in maps}
        seen = [maps[name].only(places) for name, places in kept.items() if places]
        if not seen:
            continue
        head = solve_at(seen, len(splits.class_names), _L2, seed)
        for name, own in maps.items():
            for item in np.flatnonzero(folds[name] == fold).tolist():
                with torch.inference_mode():
                    chances = head.of_maps(own.maps(item))[0].softmax(dim=0).numpy()  # (C, h, w)
                part = _worst_part(chances, own.targets.labels(item, *chances.shape[1:]))
                if part is not None:
                    tile = own.targets.items.tiles[item]
                    row = getattr(splits, name).rows[tile.question]
                    found.append(_finding(splits, name, row.id, _in_image(part, tile)))
    return sorted(found, key=lambda one: -one.score)


def _worst_part(chances: np.ndarray, labels: np.ndarray) -> _Part | None:
    """Return the largest part (h, w) that is surely of another class than its label, if there is one."""
    likely, sure = chances.argmax(axis=0), chances.max(axis=0)
    given = np.take_along_axis(chances, np.maximum(labels, 0)[None].astype(np.int64), axis=0)[0]
    doubtful = (labels >= 0) & (likely != labels) & (sure >= _SURE) & (given <= _DOUBTFUL)
    best: _Part | None = None
    for kind in np.unique(likely[doubtful]).tolist():
        parts, _ = ndimage.label(doubtful & (likely == kind))
        for number, place in enumerate(ndimage.find_objects(parts), start=1):
            inside = parts == number
            share = float(inside.mean())
            if place is None or share < _LEAST_SHARE or (best is not None and share <= best.share):
                continue
            rows, columns = place
            height, width = labels.shape
            box = columns.start / width, rows.start / height, columns.stop / width, rows.stop / height
            called = int(np.bincount(labels[inside].astype(np.int64)).argmax())
            best = _Part(share, called, kind, float(sure[inside].mean()), box)
    return best


def _in_image(part: _Part, tile: Tile) -> _Part:
    """Return a part of a tile as one of the whole image."""
    (left, top, right, bottom), (width, height) = tile.box, tile.size
    across, down = (right - left) / width, (bottom - top) / height
    x, y = left / width, top / height
    box = x + part.box[0] * across, y + part.box[1] * down, x + part.box[2] * across, y + part.box[3] * down
    return part._replace(share=part.share * across * down, box=box)


def _finding(splits: Splits, split: str, id: str, part: _Part) -> Finding:
    names = splits.class_names
    where = ", ".join(f"{edge:.0%}" for edge in part.box)
    reason = (
        f"{part.share:.1%} of the image, called '{names[part.given]}', looks like '{names[part.likely]}' "
        f"({part.sure:.0%}) by a layer trained without it; left, top, right, bottom: {where}"
    )
    region = ",".join(f"{edge:.3g}" for edge in part.box)
    score = part.share * part.sure
    return Finding("label", split, id, names[part.given], reason, score, names[part.likely], region=region)
