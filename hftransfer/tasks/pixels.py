"""Images and their masks as a network takes them: whole or in overlapping tiles, changed together, and the share of
each class in each place of a map."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Literal, cast

import numpy as np
from PIL import Image
from typing_extensions import override

from hftransfer.data.mask_labels import IGNORED
from hftransfer.data.rows import Row
from hftransfer.tasks.contract import Examples
from hftransfer.tasks.items import Augment, Encoder, ImageItems

if TYPE_CHECKING:
    from hftransfer.data.mask_files import Mask

Box = tuple[int, int, int, int]
"""Left, top, right and bottom in pixels, the last two not counted."""
_OVERLAP = 4
"""Neighbouring tiles share a part of their edge: one over this."""


@dataclass(frozen=True)
class Tile:
    """A part of an image, `question` being its row, and the part of that which it decides: `core` parts the image."""

    question: int
    box: Box
    core: Box
    size: tuple[int, int]
    """The width and height of the whole image."""


def tiles_of(row: int, size: tuple[int, int], edge: int | None) -> list[Tile]:
    """Return an image of a size (width, height) as squares of an edge, neighbours of which overlap by a quarter and
    meet in the middle of what they share; as one piece where it is no larger, or no edge is given."""
    width, height = size
    if edge is None or max(size) <= edge:
        return [Tile(row, (0, 0, width, height), (0, 0, width, height), size)]
    columns, rows = _cuts(width, edge), _cuts(height, edge)
    return [Tile(row, (x[0], y[0], x[1], y[1]), (x[2], y[2], x[3], y[3]), size) for y in rows for x in columns]


def _cuts(length: int, edge: int) -> list[tuple[int, int, int, int]]:
    """Return the start and end of each piece of a length, and those of what it decides."""
    if length <= edge:
        return [(0, length, 0, length)]
    count = -(-(length - edge) // (edge - edge // _OVERLAP)) + 1
    starts = [round(place * (length - edge) / (count - 1)) for place in range(count)]
    borders = [0, *((after + before + edge) // 2 for before, after in pairwise(starts)), length]
    return [(start, start + edge, borders[k], borders[k + 1]) for k, start in enumerate(starts)]


class PixelItems(ImageItems):
    """Images, or tiles of them."""

    def __init__(
        self,
        rows: Sequence[Row],
        digests: Sequence[bytes],
        tiles: Sequence[Tile],
        adapter: Encoder,
        augment: Augment | None = None,
        decode: Literal["exact", "draft"] = "exact",
    ) -> None:
        self.tiles = tiles
        own = [_digest(digests[tile.question], tile) for tile in tiles]
        super().__init__([rows[tile.question] for tile in tiles], own, adapter, augment, decode)

    @override
    def _shown(self, image: Image.Image, item: int) -> Image.Image:
        tile = self.tiles[item]
        if tile.size != (tile.box[2], tile.box[3]) or tile.box[:2] != (0, 0):
            image = image.crop(tile.box)
        return super()._shown(image, item)

    def only(self, chosen: Sequence[int]) -> PixelItems:
        """Return some of the items."""
        own = copy.copy(self)
        own.rows, own.tiles = [self.rows[place] for place in chosen], [self.tiles[place] for place in chosen]
        own.digests = [self.digests[place] for place in chosen]
        return own

    def ids(self, item: int) -> np.ndarray:
        """Return the class ids (H, W) of what the network sees of an image, -1 for what counts nowhere."""
        tile, mask = self.tiles[item], cast("Mask", self.rows[item].target)
        left, top, right, bottom = tile.box
        ids = mask.ids()[top:bottom, left:right]
        change = self.change_of(item, (ids.shape[1], ids.shape[0]))
        return np.asarray(ids if change is None else change.mask(ids, IGNORED))


def _digest(digest: bytes, tile: Tile) -> bytes:
    if tile.box == (0, 0, *tile.size):
        return digest
    return hashlib.blake2b(digest + repr(tile.box).encode(), digest_size=16).digest()


def tiles_in(examples: Examples) -> Sequence[Tile]:
    """Return the tiles of a split's images, one an item."""
    return cast("Sequence[Tile]", examples.windows)


# --- masks at the size of maps ---------------------------------------------------------------------------------------


def at_size(ids: np.ndarray, rows: int, columns: int) -> np.ndarray:
    """Return class ids (H, W) at another size (rows, columns): of each place the one in its middle."""
    height, width = ids.shape
    down = ((np.arange(rows) + 0.5) * height / rows).astype(np.int64)
    across = ((np.arange(columns) + 0.5) * width / columns).astype(np.int64)
    return np.asarray(ids[down[:, None], across])


def shares(ids: np.ndarray, rows: int, columns: int, classes: int, places: np.ndarray | None = None) -> np.ndarray:
    """Return the share of each class in cells of a grid (n, C), of all or of those at `places` (n,); what is ignored
    has none, so that shares of a cell may add up to less than 1."""
    fine = max(1, min(8, round(min(ids.shape[0] / rows, ids.shape[1] / columns))))
    sampled = at_size(ids, rows * fine, columns * fine).reshape(rows, fine, columns, fine)
    cells = sampled.transpose(0, 2, 1, 3).reshape(rows * columns, fine * fine)  # (n, s)
    cells = cells if places is None else cells[places]
    count = len(cells)
    flat = np.where(cells < 0, classes, cells) + (classes + 1) * np.arange(count)[:, None]
    found = np.bincount(flat.ravel(), minlength=count * (classes + 1)).reshape(count, classes + 1)
    return np.asarray(found[:, :classes] / (fine * fine), dtype=np.float32)


@dataclass(frozen=True)
class MapTargets:
    """The targets of a linear layer on maps: the share of each class in the cells of each item."""

    items: PixelItems
    classes: int

    def __len__(self) -> int:
        return len(self.items.tiles)

    def only(self, chosen: Sequence[int]) -> MapTargets:
        """Return those of some items."""
        return MapTargets(self.items.only(chosen), self.classes)

    def pixels(self) -> np.ndarray:
        """Return how many pixels of each class there are, (C,)."""
        found = {id(row): row for row in self.items.rows}  # once each, whatever tiles it has
        return np.asarray(np.sum([cast("Mask", row.target).pixels for row in found.values()], axis=0))

    def shares(self, item: int, rows: int, columns: int, places: np.ndarray | None = None) -> np.ndarray:
        """Return the shares (n, C) in the cells of an item's grid, or in those at `places`."""
        return shares(self.items.ids(item), rows, columns, self.classes, places)

    def labels(self, item: int, rows: int, columns: int) -> np.ndarray:
        """Return the class ids (rows, columns), -1 for what is ignored."""
        return at_size(self.items.ids(item), rows, columns)


def each_row(tiles: Sequence[Tile]) -> Iterator[tuple[int, list[int]]]:
    """Yield each row with the places of its tiles."""
    by_row: dict[int, list[int]] = {}
    for place, tile in enumerate(tiles):
        by_row.setdefault(tile.question, []).append(place)
    yield from by_row.items()
