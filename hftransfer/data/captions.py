"""Images with their captions: each image once, however many rows it has, and held out as a whole."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

import numpy as np

from hftransfer.base.errors import DataError, must_be
from hftransfer.base.progress import Progress
from hftransfer.data.depth import SIXTEEN_BITS, Depth, PixelRange
from hftransfer.data.images import common_range
from hftransfer.data.inspection import inspect_rows, with_range
from hftransfer.data.pictures import on_depth
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
    total = sum(len(rows) for rows in given.values())
    skipped = [Skipped(one.split, one.id, one.reason) for one in found.left_out]
    total += len(skipped)
    parts: dict[str, list[Row]] = {}
    digests: dict[int, bytes] = {}
    notes, depths = list(found.notes), dict[bytes, Depth]()
    with progress.stage("looking at the images", total) as advance:
        for name, rows in given.items():
            by_digest = _each_image_once(rows, name, skipped, depths, settings, decode=decode)
            parts[name] = list(by_digest.values())
            digests |= {id(row): digest for digest, row in by_digest.items()}
            advance(len(rows))
    check_skipped(skipped, total, settings)
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
    pixels = common_range(depths.values())
    splits = {name: _split(rows, [digests[id(row)] for row in rows], depths, pixels) for name, rows in parts.items()}
    notes += on_depth(pixels)
    captions = {name: sum(map(len, split.targets)) for name, split in splits.items()}
    notes.append("captions: " + ", ".join(f"{count} {name}" for name, count in captions.items()))
    return Splits(**splits, class_names=(), skipped=tuple(skipped), notes=tuple(notes), kind=CAPTIONS, folds=())


def captioned_split(
    rows: Sequence[Row], found: Found, settings: DataSettings, progress: Progress
) -> tuple[Split, list[Skipped]]:
    """Return rows of captioned images as one split to judge a model by, each image once with all its captions, and what
    was left out.

    Raises:
        DataError: there are none, or images are unreadable and not to be skipped.
    """
    skipped = [Skipped(one.split, one.id, one.reason) for one in found.left_out]
    total, depths = len(rows) + len(skipped), dict[bytes, Depth]()
    with progress.stage("looking at the images", len(rows)) as advance:
        by_digest = _each_image_once(rows, "test", skipped, depths, settings, decode=settings.on_error == "skip")
        advance(len(rows))
    check_skipped(skipped, total, settings)
    kept = list(by_digest.values())
    if settings.limit is not None:
        kept = CAPTIONS.limited(kept, settings.limit)
    if not kept:
        raise DataError(must_be("the data", "at least one image with a caption", "none"))
    digest_of = {id(row): digest for digest, row in by_digest.items()}
    pixels = common_range(depths.values())
    for note in found.notes:
        progress.line(note)
    for note in on_depth(pixels, "by the range of all that are judged"):
        progress.line(note)
    progress.line(f"{len(kept)} images with {sum(len(row.target) for row in kept)} captions")
    return _split(kept, [digest_of[id(row)] for row in kept], depths, pixels), skipped


def _split(rows: list[Row], digests: list[bytes], deep: Collection[bytes], pixels: PixelRange | None) -> Split:
    """Return a split of these images, those of more than 8 bits (by their digests) scaled from a range of values."""
    if pixels is not None and pixels != SIXTEEN_BITS:
        digests = [scaled_digest(digest, pixels) if digest in deep else digest for digest in digests]
    return Split(with_range(rows, pixels), CAPTIONS.encode(rows, ()), digests)


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
