"""What a model says of several inputs, as a notebook shows it: beside the inputs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypeVar

from hftransfer.base.errors import DataError, counted
from hftransfer.base.html import Fragment, Thumbnail, jpeg_uri
from hftransfer.data.reading import Reader
from hftransfer.predictors.inputs import decoded
from hftransfer.tasks.outcomes import Predicted, SegmentedImage

Told = TypeVar("Told")
_SHOWN, _EDGE_PX, _LONGEST = 24, 128, 300


class Gallery(list[Told]):
    """A list of predictions, which a notebook shows with the first inputs beside; what is made of it, slices and
    pickles too, is a plain list."""

    def __init__(
        self,
        told: Iterable[Told],
        inputs: Sequence[object],
        reader: Reader,
        scoring: str = "softmax",
        pixels: tuple[float, float] | None = None,
    ) -> None:
        super().__init__(told)
        self._inputs = list(inputs[:_SHOWN])
        self._reader, self._scoring, self._pixels = reader, scoring, pixels

    def __reduce__(self) -> tuple[type[list[Told]], tuple[list[Told]]]:
        return list, (list(self),)

    def _repr_html_(self) -> str:
        both = list(zip(self._inputs, self, strict=False))
        more = f"{len(self) - len(both):,} more are not shown" if len(self) > len(both) else ""
        rows = (
            [] if not self._reader.fields else [["input", "told"], *([_text(one), self._told(of)] for one, of in both)]
        )
        tiles = [] if self._reader.fields else [self._tile(one, of) for one, of in both]
        title = counted(len(self), "prediction")
        return Fragment(title, table=rows, tiles=tiles, notes=[more] if more else []).html()

    def _told(self, found: object) -> str:
        line = found.line("", self._scoring) if isinstance(found, Predicted) else str(found)
        return " ".join(line.split())

    def _tile(self, given: object, found: object) -> Thumbnail:
        mask = found if isinstance(found, SegmentedImage) else None
        return thumbnail(given, self._told(found), self._pixels, mask)


def thumbnail(
    given: object, caption: str, pixels: tuple[float, float] | None = None, mask: SegmentedImage | None = None
) -> Thumbnail:
    """Return a small picture of an image, under its mask where it has one; an empty one where its file went
    meanwhile."""
    image = decoded(given, 0, pixels)
    if isinstance(image, DataError):
        return Thumbnail("data:,", caption)
    image = mask.overlay(image) if mask is not None else image
    image.thumbnail((_EDGE_PX, _EDGE_PX))
    return Thumbnail(jpeg_uri(image), caption)


def _text(given: object) -> str:
    parts = list(given.values()) if isinstance(given, dict) else given
    told = " | ".join(map(str, parts)) if isinstance(parts, tuple | list) else str(parts)
    return told if len(told) <= _LONGEST else f"{told[:_LONGEST]}…"
