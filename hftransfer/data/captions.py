"""Images with their captions: each image once, however many rows it has, and held out as a whole."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np

from hftransfer.data.images import SIXTEEN_BITS, Depth, PixelRange, common_range
from hftransfer.data.inspection import inspect_rows, with_range
from hftransfer.data.roles import Found
from hftransfer.data.rows import FileContent, Row
from hftransfer.data.settings import DataSettings
from hftransfer.data.splits import NAMES, Skipped, Split, Splits, check_skipped, on_depth, scaled_digest
from hftransfer.errors import DataError, must_be
from hftransfer.progress import Progress


@dataclass(frozen=True)
class Captioned:
    """The images of one split, the digests of their content, and the captions of each."""

    rows: list[Row]
    digests: list[bytes]
    captions: list[list[str]]

    def __len__(self) -> int:
        return len(self.rows)

    def texts(self) -> tuple[list[str], np.ndarray]:
        """All captions, and the image that each belongs to (M,)."""
        texts = [text for own in self.captions for text in own]
        return texts, np.repeat(np.arange(len(self)), [len(own) for own in self.captions])

    def part(self, places: Sequence[int]) -> Captioned:
        """The images at these places."""
        rows, digests = [self.rows[place] for place in places], [self.digests[place] for place in places]
        return Captioned(rows, digests, [self.captions[place] for place in places])

    def scaled(self, pixels: PixelRange, deep: Collection[bytes]) -> Captioned:
        """The same images, those of more than 8 bits (by their digests) scaled from a range of values."""
        digests = self.digests
        if pixels != SIXTEEN_BITS:
            digests = [scaled_digest(digest, pixels) if digest in deep else digest for digest in digests]
        return Captioned(with_range(self.rows, pixels), digests, self.captions)


@dataclass(frozen=True)
class CaptionedSplits:
    """Images with captions to learn from, to choose by and to test with."""

    splits: dict[str, Captioned]
    skipped: tuple[Skipped, ...]
    notes: tuple[str, ...]

    def sizes(self) -> dict[str, int]:
        """How many images each split has."""
        return {name: len(self.splits[name]) for name in NAMES}

    def as_splits(self) -> Splits:
        """The same images without their captions."""
        parts = {
            name: Split(part.rows, np.zeros(len(part), dtype=np.int64), part.digests)
            for name, part in self.splits.items()
        }
        return Splits(**parts, class_names=(), skipped=self.skipped, notes=self.notes)

    def fingerprint(self) -> str:
        """A SHA-256 over the content, captions and split of every image."""
        digest = hashlib.sha256()
        for name, split in self.splits.items():
            for content, captions in sorted(zip(split.digests, split.captions, strict=True)):
                digest.update(name.encode() + content + repr(captions).encode("utf-8", "surrogatepass"))
        return digest.hexdigest()


def build_captioned(
    found: Found, settings: DataSettings, seed: int, progress: Progress, *, decode: bool = False
) -> CaptionedSplits:
    """The splits of captioned images, where rows are images whose labels are captions; a split that was not given is
    held out of the training images, all captions of an image together.

    Raises:
        DataError: there are too few images, or some are unreadable.
    """
    given = {"train": [*found.get("train", []), *found.get("all", [])]}
    given |= {name: list(found.get(name, [])) for name in ("validation", "test")}
    total = sum(len(rows) for rows in given.values())
    skipped = [Skipped(one.split, one.id, one.reason) for one in found.left_out]
    total += len(skipped)
    splits, notes, depths = {}, list(found.notes), dict[bytes, Depth]()
    with progress.stage("looking at the images", total) as advance:
        for name, rows in given.items():
            splits[name] = _each_image_once(rows, name, skipped, depths, settings, decode=decode)
            advance(len(rows))
    pixels = common_range(depths.values())
    if pixels is not None:
        splits = {name: split.scaled(pixels, depths) for name, split in splits.items()}
        notes += on_depth(pixels)
    check_skipped(skipped, total, settings)
    for name, fraction in (("test", settings.test_fraction), ("validation", settings.validation_fraction)):
        if not len(splits[name]) and fraction:
            order = np.random.default_rng([seed, *name.encode()]).permutation(len(splits["train"])).tolist()
            count = round(fraction * len(order))
            if not 1 <= count < len(order):
                where, got = f"data.{name}_fraction", f"{fraction:g} of {len(order)} images"
                remedy = "Add images with captions." if len(order) < 4 else ""
                raise DataError(must_be(where, "such that images are in both parts", got, remedy))
            train = splits["train"]
            splits[name], splits["train"] = train.part(sorted(order[:count])), train.part(sorted(order[count:]))
            notes.append(f"{name}: {fraction:.0%} of the training images, with all their captions, seed {seed}")
    if settings.limit is not None:
        splits = {name: split.part(range(min(len(split), settings.limit))) for name, split in splits.items()}
    different = {text for own in splits["train"].captions for text in own}
    if 4 * len(different) < len(splits["train"]):
        where, got = f"the captions of {len(splits['train'])} images", f"{len(different)} different ones"
        remedy = "Class names are for the task image-classification."
        raise DataError(must_be(where, "mostly different from each other", got, remedy))
    if len(splits["train"]) < 2:
        raise DataError(must_be("the training split", "of two or more images", f"{len(splits['train'])}"))
    captions = {name: sum(len(own) for own in split.captions) for name, split in splits.items()}
    notes.append("captions: " + ", ".join(f"{count} {name}" for name, count in captions.items()))
    return CaptionedSplits(splits, tuple(skipped), tuple(notes))


def _each_image_once(
    rows: Sequence[Row],
    name: str,
    skipped: list[Skipped],
    depths: dict[bytes, Depth],
    settings: DataSettings,
    *,
    decode: bool,
) -> Captioned:
    """The images, each with the captions of all its rows; the same content in two files is one image."""
    by_file: dict[object, list[int]] = {}
    for index, row in enumerate(rows):
        key = row.content.path if isinstance(row.content, FileContent) else index
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
    captions = [list(dict.fromkeys(rows[index].label for index in own)) for own in by_content.values()]
    return Captioned([rows[own[0]] for own in by_content.values()], list(by_content), captions)
