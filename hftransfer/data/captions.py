"""Images with their captions: each image once, however many rows it has, and held out as a whole."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from hftransfer.base.errors import DataError, must_be
from hftransfer.base.progress import Progress
from hftransfer.data.depth import SIXTEEN_BITS, Depth, PixelRange
from hftransfer.data.images import common_range
from hftransfer.data.inspection import inspect_rows, with_range
from hftransfer.data.pictures import CAPTIONED_IMAGES, on_depth
from hftransfer.data.roles import Found
from hftransfer.data.rows import Row
from hftransfer.data.settings import DataSettings
from hftransfer.data.splits import Skipped, Split, Splits, check_skipped, held_out, shared_groups
from hftransfer.data.targets import CAPTIONS, scaled_digest


def captions_of(split: Split) -> tuple[list[str], np.ndarray]:
    """Return all captions of a split, and the image that each belongs to, (M,)."""
    texts = [text for own in split.targets for text in own]
    return texts, np.repeat(np.arange(len(split)), [len(own) for own in split.targets])


def build_captioned(
    found: Found, settings: DataSettings, seed: int, progress: Progress, *, decode: bool = False
) -> Splits:
    """Return the splits of captioned images; a split that was not given is held out of the training images, all
    captions of an image together.

    Raises:
        DataError: there are too few images, or some are unreadable.
    """
    given = {"train": [*found.get("train", []), *found.get("all", [])]}
    given |= {name: list(found.get(name, [])) for name in ("validation", "test")}
    seen = _look(given, found, settings, progress, decode=decode)
    parts, notes = dict(seen.parts), list(found.notes)
    for name, fraction in (("test", settings.test_fraction), ("validation", settings.validation_fraction)):
        if not parts[name] and fraction:
            parts["train"], parts[name] = held_out(parts["train"], fraction, seed, name, CAPTIONS, settings)
            how = CAPTIONS.hold_out_words
            how = how if settings.group_column is None else f"whole groups of '{settings.group_column}', {how}"
            notes.append(f"{name}: {fraction:.0%} of the training images, {how}, seed {seed}")
    notes += shared_groups(parts, settings)
    if settings.limit is not None:
        parts = {name: CAPTIONS.limited(rows, settings.limit) for name, rows in parts.items()}
    _require_captions(parts["train"])
    splits = {name: seen.split(rows) for name, rows in parts.items()}
    notes += on_depth(seen.pixels)
    captions = {name: sum(map(len, split.targets)) for name, split in splits.items()}
    notes.append("captions: " + ", ".join(f"{count} {name}" for name, count in captions.items()))
    return Splits(**splits, class_names=(), skipped=seen.skipped, notes=tuple(notes), kind=CAPTIONS, folds=())


def captioned_split(
    rows: Sequence[Row], found: Found, settings: DataSettings, progress: Progress, known: PixelRange | None = None
) -> tuple[Split, Sequence[Skipped]]:
    """Return rows of captioned images as one split to judge a model by, each image once with all its captions, and what
    was left out. Deep greyscale images have the model's range, `known`, or where it has none that of all of them.

    Raises:
        DataError: there are none, or images are unreadable and not to be skipped.
    """
    seen = _look({"test": rows}, found, settings, progress, known=known)
    kept = seen.parts["test"]
    if settings.limit is not None:
        kept = CAPTIONS.limited(kept, settings.limit)
    if not kept:
        raise DataError(must_be("the data", "at least one image with a caption", "none"))
    guessed = on_depth(seen.pixels, "by the range of all that are judged") if known is None else []
    for note in (*found.notes, *guessed):
        progress.line(note)
    progress.line(f"{len(kept)} images with {sum(len(row.target) for row in kept)} captions")
    return seen.split(kept), seen.skipped


@dataclass(frozen=True)
class _Seen:
    """Captioned images, each once."""

    parts: Mapping[str, list[Row]]
    digests: Mapping[int, bytes]
    """By the identity of the row."""
    skipped: tuple[Skipped, ...]
    deep: Collection[bytes]
    """The digests of greyscale images of more than 8 bits."""
    pixels: PixelRange | None
    """The range of their values."""

    def split(self, rows: list[Row]) -> Split:
        """Return some of the images as a split, deep ones scaled from the range of all."""
        digests = [self.digests[id(row)] for row in rows]
        if self.pixels is not None and self.pixels != SIXTEEN_BITS:
            digests = [scaled_digest(digest, self.pixels) if digest in self.deep else digest for digest in digests]
        return Split(with_range(rows, self.pixels), CAPTIONS.encode(rows, ()), digests)


def _look(
    given: Mapping[str, Sequence[Row]],
    found: Found,
    settings: DataSettings,
    progress: Progress,
    *,
    decode: bool = False,
    known: PixelRange | None = None,
) -> _Seen:
    """Return the images of every split, looked at once; they are decoded if `decode`, or where unreadable ones are to
    be left out, so that they are known before any is learned from.

    Raises:
        DataError: images are unreadable and not to be skipped, or too many are.
    """
    decode = decode or settings.on_error == "skip"
    skipped = [Skipped(one.split, one.id, one.reason) for one in found.left_out]
    total = sum(map(len, given.values())) + len(skipped)
    parts, digests, depths = dict[str, list[Row]](), dict[int, bytes](), dict[bytes, Depth]()
    with progress.stage(CAPTIONED_IMAGES.inspects(decode=decode), total) as advance:
        for name, rows in given.items():
            by_digest = _each_image_once(rows, name, skipped, depths, settings, decode=decode)
            parts[name] = list(by_digest.values())
            digests |= {id(row): digest for digest, row in by_digest.items()}
            advance(len(rows))
    check_skipped(skipped, total, settings)
    return _Seen(parts, digests, tuple(skipped), depths.keys(), known or common_range(depths.values()))


def _require_captions(rows: Sequence[Row]) -> None:
    """Return if there are images to learn from, and captions that tell them apart.

    Raises:
        DataError: there are not.
    """
    different = {text for row in rows for text in row.target}
    if 4 * len(different) < len(rows):
        where, got = f"the captions of {len(rows)} images", f"{len(different)} different ones"
        remedy = "Class names are for the task image-classification."
        raise DataError(must_be(where, "mostly different from each other", got, remedy))
    if len(rows) < 2:
        raise DataError(must_be("the training split", "of two or more images", f"{len(rows)}"))


def _each_image_once(
    rows: Sequence[Row],
    name: str,
    skipped: list[Skipped],
    depths: dict[bytes, Depth],
    settings: DataSettings,
    *,
    decode: bool,
) -> dict[bytes, Row]:
    """Return the images by their digests, each with the captions of all its rows; the same content in two files is one
    image."""
    by_file: dict[object, list[int]] = {}
    for index, row in enumerate(rows):
        key = row.content.path or index
        by_file.setdefault(key, []).append(index)
    groups = list(by_file.values())
    firsts = [rows[group[0]] for group in groups]
    seen = inspect_rows(firsts, decode=decode, max_pixels=settings.max_pixels)
    depths.update({seen.digests[place]: depth for place, depth in seen.depths.items()})
    by_content: dict[bytes, list[int]] = {}
    for place, group in enumerate(groups):
        if place in seen.faults:
            skipped.append(Skipped(name, rows[group[0]].id, seen.faults[place]))
        else:
            by_content.setdefault(seen.digests[place], []).extend(group)
    return {
        digest: replace(rows[own[0]], target=tuple(dict.fromkeys(rows[index].target for index in own)))
        for digest, own in by_content.items()
    }
