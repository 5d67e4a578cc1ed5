"""Images with a mask each: found in folders, tables, data sets and Python, looked at before anything is learned."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, cast

import numpy as np
from typing_extensions import override

from hftransfer.base.errors import DataError, counted, must_be, nearest, some
from hftransfer.data.mask_files import Mask, as_mask_content, read_mask
from hftransfer.data.mask_labels import (
    BINARY_NAMES,
    VOID,
    LabelSpace,
    NamedValues,
    in_words,
    is_color,
    named_values,
)
from hftransfer.data.pictures import IMAGE_COLUMNS, OF_IMAGES, Images, table_content
from hftransfer.data.reading import LeftOutRows, Records
from hftransfer.data.roles import Found
from hftransfer.data.rows import Row, read_row
from hftransfer.data.settings import DataSettings
from hftransfer.data.streams import images_of
from hftransfer.data.tables import raise_first
from hftransfer.data.targets import TargetKind, divided

if TYPE_CHECKING:
    from hftransfer.base.progress import Advance

MASK_COLUMNS = (
    *("mask", "masks", "label", "annotation", "segmentation", "semantic_mask", "segmentation_mask", "mask_path"),
    *("labels", "annotations", "semantic_segmentation", "label_path", "mask_file"),
)
_MOST_TOLD, _MOST_SHOWN = 5, 24
_NEAR = 24
"""How far from 0 or 255 a JPEG file's smeared values of two classes are."""


# --- the reader ------------------------------------------------------------------------------------------------------


class MaskedImages(Images):
    """Images with a mask each."""

    usual_task = "image-segmentation"
    python_rows = "(image, mask)"
    own_settings = OF_IMAGES | {"mask_column", "mask_template", "classes", "ignore_value", "size", "tile"}
    usual_columns: ClassVar[Sequence[str]] = ("mask", "annotation", "segmentation")
    describes_files = False
    takes_masks = True
    from_folders = False

    @override
    def target_column(self, settings: DataSettings) -> tuple[str | None, str]:
        return settings.mask_column or settings.label_column, "data.mask_column"

    @override
    def _columns(self, given: Records, settings: DataSettings) -> tuple[str, list[str]]:
        lowered = {column.lower() for column in given.columns}
        usual = [name for name in IMAGE_COLUMNS if name in lowered]
        images = [column for column in given.usual_images if column.lower() not in MASK_COLUMNS]
        return super()._columns(replace(given, usual_images=usual or images, usual_labels=MASK_COLUMNS), settings)

    @override
    def rows(self, given: Records, settings: DataSettings, found: Found, left: LeftOutRows | None) -> list[Row]:
        from hftransfer.data.inspection import as_content

        image_column, (mask_column,) = self._columns(given, settings)
        said, folder = said_of(settings, given.folder), given.folder or Path()
        rows, faults = list[Row](), list[str]()
        for record, where in zip(given.records, given.wheres, strict=True):
            contents = []
            for column, of_memory in ((image_column, as_content), (mask_column, as_mask_content)):
                value = record.get(column)
                try:
                    if given.content is None:
                        contents.append(table_content(value, folder, where, settings))
                    elif value is None:
                        contents.append(given.content(record, column, where))
                    else:
                        contents.append(of_memory(value, where))
                except DataError as error:
                    told = [f"{fault} (column '{column}')" for fault in error.faults]
                    if left is None:
                        faults += told
                    else:
                        left.append((where, " ".join(told)))
            if len(contents) == 2:
                name = str(record.get(image_column)) if contents[0].path is not None else ""
                shown = f"{name} ({where})" if name and given.content is None else where
                rows.append(Row(shown, contents[0], Mask(contents[1], f"the mask of {shown}", said)))
        raise_first(faults)
        return rows

    @override
    def record(self, value: Any, where: str) -> Mapping[str, Any]:
        if isinstance(value, Mapping):
            return value
        if isinstance(value, tuple | list) and len(value) == 2:
            return {"image": value[0], "mask": value[1]}
        raise DataError(must_be(where, "an (image, mask) pair or a dict", type(value).__name__))

    @override
    def of_dataset(
        self, dataset: Any, records: list[dict[str, Any]], given: Records, settings: DataSettings, images: Sequence[str]
    ) -> Records:
        del images
        try:
            image, (mask,) = self._columns(given, settings)
        except DataError:
            return replace(given, records=records)  # told when the rows are made
        contents = {column: images_of(dataset, column) for column in (image, mask)}
        placed = [{**record, image: None, mask: None, _PLACE: place} for place, record in enumerate(records)]
        return replace(
            given,
            records=placed,
            content=lambda record, column, _: contents[column](cast("int", record[_PLACE])),
        )

    @override
    def is_unlabelled(self, given: Records, settings: DataSettings) -> bool:
        del given, settings
        return False

    @override
    def require_alike(self, parts: Mapping[str, Sequence[Row]]) -> None:
        """Return: images with masks are rows of one form."""

    @override
    def of_folder(self, folder: Path, settings: DataSettings, found: Found) -> bool:
        from hftransfer.data.mask_folders import rows_of_folder

        return rows_of_folder(folder, settings, found)


MASKED_IMAGES = MaskedImages()
_PLACE = "\0place"  # no column has this name


def said_of(settings: DataSettings, folder: Path | None) -> NamedValues:
    """Return what the settings, or a file in the folder of the data, say of the values of masks."""
    return named_values(settings.classes, settings.ignore_value, folder)


# --- a first look at all masks ---------------------------------------------------------------------------------------


@dataclass
class _Seen:
    """A first look at one mask."""

    counts: dict[int, int] = field(default_factory=dict)
    """Pixels by value."""
    is_jpeg: bool = False
    digest: bytes = b""
    fault: str | None = None


@dataclass(frozen=True)
class Surveyed:
    """Rows by split whose masks were looked at, with their classes, those left out with the reasons, and what to tell.

    `notes` begins with the table of values.
    """

    parts: dict[str, list[Row]]
    space: LabelSpace
    left_out: list[tuple[str, str, str]]
    notes: list[str]


def survey(
    parts: Mapping[str, Sequence[Row]],
    advance: Advance,
    *,
    skips: bool = False,
    known: LabelSpace | None = None,
) -> Surveyed:
    """Return the rows with the classes of their masks, every mask read once; `known` are the classes of a model.

    Raises:
        DataError: masks are missing, unreadable or of another size than their images, or their values have no meaning;
            all of it is told.
    """
    rows = [(name, row) for name, own in parts.items() for row in own]
    seen = _look_at_all([row for _, row in rows], advance)
    bad = [place for place, one in enumerate(seen) if one.fault is not None]
    if bad and not skips:
        raise_first([seen[place].fault or "" for place in bad], _MOST_TOLD)
    sound = [place for place in range(len(rows)) if seen[place].fault is None]
    if not sound:
        raise DataError(must_be("the data", "images with masks", "none that can be read" if rows else "none"))
    said = rows[sound[0]][1].target.said
    pixels, images = Counter[int](), Counter[int]()
    for place in sound:
        pixels.update(seen[place].counts)
        images.update(seen[place].counts.keys())
    space, notes = _space_of(pixels, images, [seen[place] for place in sound], said, known)
    kept: dict[str, list[Row]] = {name: [] for name in parts}
    for place in sound:
        name, row = rows[place]
        counts = _by_class(seen[place].counts, space)
        mask = replace(row.target, space=space, pixels=counts, digest=seen[place].digest)
        kept[name].append(replace(row, target=mask))
    left = [(rows[place][0], rows[place][1].id, str(seen[place].fault)) for place in bad]
    notes = [*_table(pixels, images, space), *notes, *_on_emptiness(kept, space)]
    return Surveyed(kept, space, left, notes)


def _look_at_all(rows: Sequence[Row], advance: Advance) -> list[_Seen]:
    found: list[_Seen] = []
    # Pillow lets other threads run while it decodes; in parts, so that progress shows.
    with ThreadPoolExecutor(4) as pool:
        for start in range(0, len(rows), 64):
            found += pool.map(_look_at, rows[start : start + 64])
            advance(len(found) - start)
    return found


def _look_at(row: Row) -> _Seen:
    from hftransfer.data.images import upright_size

    mask: Mask = row.target
    try:
        read = read_mask(mask.content, mask.name)
        size = upright_size(read_row(row), row.id)
    except DataError as error:
        return _Seen(fault=" ".join(error.faults))
    height, width = read.values.shape
    if (width, height) != size:
        remedy = "Scale the mask by nearest neighbour, so that both have one size."
        if (height, width) == size:
            remedy = "Turn the mask as its photo is turned (by the EXIF tag)."
        return _Seen(
            fault=must_be(mask.name, f"of its image's {size[0]} × {size[1]} pixels", f"{width} × {height}", remedy)
        )
    values, counts = np.unique(read.values, return_counts=True)
    return _Seen(dict(zip(values.tolist(), counts.tolist(), strict=True)), read.is_jpeg, read.digest)


def _space_of(
    pixels: Counter[int],
    images: Counter[int],
    seen: Sequence[_Seen],
    said: NamedValues,
    known: LabelSpace | None,
) -> tuple[LabelSpace, list[str]]:
    """Return the classes of values, and what is to be told.

    Raises:
        DataError: values have no meaning, or there is one alone.
    """
    notes = list[str]()
    jpegs = sum(one.is_jpeg for one in seen)
    smeared = bool(jpegs) and len(pixels) > 2
    if smeared:
        pixels, images = _unsmeared(pixels, seen, jpegs)
        notes.append(
            f"warning: {counted(jpegs, 'mask')} are JPEG files, which smear values: each pixel is the nearer one of 0 "
            "and 255; save masks as PNG"
        )
    ignored = set(said.ignored or ())
    # Of two values 255 is the thing itself: masks of one thing are often 0 and 255.
    if said.ignored is None and VOID in pixels and not _is_named(VOID, said, known) and len(pixels) > 2:
        ignored.add(VOID)
        share = pixels[VOID] / sum(pixels.values())
        notes.append(
            f"the value {VOID} ({share:.1%} of the pixels, in {counted(images[VOID], 'mask')}) is ignored "
            "(data.ignore_value)"
        )
    values = sorted(value for value in pixels if value not in ignored)
    if said.source:
        notes.append(f"the names of classes are those in {said.source}")
    if said.names is None and known is not None:
        return replace(known, ignored=tuple(sorted({*known.ignored, *ignored})), smeared=smeared), [
            *notes,
            *_require_known_values(values, known, pixels),
        ]
    if said.names is None:
        space = _unnamed_space(values, tuple(sorted(ignored)), smeared=smeared)
    else:
        of_name = tuple(tuple(value for value, of in said.of_value if of == name) for name in said.names)
        space = LabelSpace(said.names, of_name, tuple(sorted(ignored)), smeared=smeared)
        _require_named(values, space, pixels, images)
    notes += _require_several(space, pixels)
    unseen = (name for name, own in zip(space.names, space.values, strict=True) if not any(v in pixels for v in own))
    return replace(space, unseen=tuple(unseen)), notes


def _require_several(space: LabelSpace, pixels: Counter[int]) -> list[str]:
    """Return what is to be told of classes that no mask has.

    Raises:
        DataError: there is one class alone.
    """
    there = [name for name, own in zip(space.names, space.values, strict=True) if any(v in pixels for v in own)]
    if len(there) < 2:
        got = f"'{there[0]}' alone" if there else "none"
        remedy = "A mask of one thing has two: the thing, and the background."
        raise DataError(must_be("the masks", "of two classes or more", got, remedy))
    absent = some(f"'{name}'" for name in space.names if name not in there)
    return [f"no mask has {absent}: nothing can be learned about it"] if absent else []


def _is_named(value: int, said: NamedValues, known: LabelSpace | None) -> bool:
    named = {one for one, _ in said.of_value} | {one for own in (known.values if known else ()) for one in own}
    return value in named


def _unsmeared(pixels: Counter[int], seen: Sequence[_Seen], jpegs: int) -> tuple[Counter[int], Counter[int]]:
    """Return the pixels and images of 0 and 255, where JPEG files hold these two alone.

    Raises:
        DataError: they hold others.
    """
    near = sum(count for value, count in pixels.items() if value <= _NEAR or VOID - _NEAR <= value <= VOID)
    if jpegs < len(seen) or near < 0.95 * sum(pixels.values()):
        got = f"{counted(jpegs, 'JPEG file')} with {len(pixels)} values, which JPEG smears at every border"
        remedy = "Save them as PNG from where they were made: JPEG can't be undone."
        raise DataError(must_be("the masks", "lossless files, such as PNG", got, remedy))
    both, images = Counter[int](), Counter[int]()
    for one in seen:
        own = Counter[int]()
        for value, count in one.counts.items():
            own[VOID if value >= 128 else 0] += count
        one.counts = dict(own)
        both.update(own)
        images.update(own.keys())
    return both, images


def _unnamed_space(values: Sequence[int], ignored: tuple[int, ...], *, smeared: bool) -> LabelSpace:
    """Return the classes of values that nobody named: of two such as 0 and 255 background and foreground, else their
    numbers.

    Raises:
        DataError: they are colours.
    """
    colors = [value for value in values if is_color(value)]
    if colors:
        got = f"{counted(len(colors), 'colour')} ({some(map(in_words, colors), 6)})"
        remedy = 'Say which class each is: data.classes: {road: "#804080", sky: [70, 130, 180]}.'
        raise DataError(must_be("the masks", "indices, or colours with names in data.classes", got, remedy))
    # Two such values are what tools write for a thing and what lies around it.
    if tuple(values) in ((0, VOID), (0, 1)):
        return LabelSpace(BINARY_NAMES, tuple((value,) for value in values), ignored, smeared)
    if len(values) > VOID:
        got = f"{len(values)} values"
        remedy = "These look like instances, or grey photographs: segmentation needs a class for each pixel."
        raise DataError(must_be("the masks", f"masks of at most {VOID} values", got, remedy))
    return LabelSpace(tuple(map(str, values)), tuple((value,) for value in values), ignored, smeared)


def _require_named(values: Sequence[int], space: LabelSpace, pixels: Counter[int], images: Counter[int]) -> None:
    named = {value for own in space.values for value in own}
    strange = [value for value in values if value not in named]
    if not strange:
        return
    total = sum(pixels.values())
    told = (f"{in_words(v)} ({pixels[v] / total:.2%} of the pixels, in {counted(images[v], 'mask')})" for v in strange)
    pairs = (f"{in_words(v)} {name}" for name, own in zip(space.names, space.values, strict=True) for v in own)
    remedy = "Name the others in data.classes, or leave them out: data.ignore_value."
    raise DataError(must_be("the values of the masks", f"those with names ({some(pairs)})", some(told, 8), remedy))


def _require_known_values(values: Sequence[int], known: LabelSpace, pixels: Counter[int]) -> list[str]:
    """Return nothing: all values are a model's.

    Raises:
        DataError: some are not.
    """
    named = {value for own in known.values for value in own}
    strange = [value for value in values if value not in named]
    if strange:
        total = sum(pixels.values())
        told = some((f"{in_words(v)} ({pixels[v] / total:.2%} of the pixels)" for v in strange), 8)
        pairs = zip(known.names, known.values, strict=True)
        allowed = f"the model's ({some(f'{in_words(own[-1])} {name}' for name, own in pairs)})"
        remedy = "Say what they mean: data.classes."
        raise DataError(must_be("the values of the masks", allowed, told, remedy))
    return []


def _by_class(counts: Mapping[int, int], space: LabelSpace) -> tuple[int, ...]:
    return tuple(sum(counts.get(value, 0) for value in own) for own in space.values)


def _table(pixels: Counter[int], images: Counter[int], space: LabelSpace) -> list[str]:
    """Return the table of values: share of pixels, images, class."""
    if space.smeared:
        return []
    names = {value: name for name, own in zip(space.names, space.values, strict=True) for value in own}
    total = sum(pixels.values())
    lines = ["mask values:  value    pixels  images  class"]
    shown = sorted(pixels)
    for value in shown[:_MOST_SHOWN]:
        told = names.get(value, "(ignored)")
        lines.append(f"{in_words(value):>19}  {pixels[value] / total:>8.2%}  {images[value]:>6}  {told}")
    if len(shown) > _MOST_SHOWN:
        lines.append(f"… and {len(shown) - _MOST_SHOWN} more values")
    return lines


def _on_emptiness(parts: Mapping[str, Sequence[Row]], space: LabelSpace) -> list[str]:
    masks = [row.target.pixels for rows in parts.values() for row in rows]
    empty = sum(sum(own) == 0 for own in masks)
    first = sum(own[0] > 0 and own[0] == sum(own) for own in masks)
    notes = []
    if empty:
        notes.append(f"warning: {counted(empty, 'mask')} contain only ignored pixels: nothing is learned from them")
    if first and 2 * first >= len(masks):
        notes.append(f"warning: {first} of {len(masks)} masks are '{space.names[0]}' alone")
    return notes


# --- the target kind -------------------------------------------------------------------------------------------------


class Masks(TargetKind):
    """A class for each pixel of an image."""

    hold_out_words = "images at random, none with the last of a class"
    needs_every_class = False

    @override
    def hold_out(self, rows: list[Row], fraction: float, seed: int, name: str) -> tuple[list[Row], list[Row]]:
        wanted = round(fraction * len(rows))
        left = Counter(place for row in rows for place in _present(row))
        held: set[int] = set()
        for place in np.random.default_rng([seed, *name.encode()]).permutation(len(rows)).tolist():
            own = _present(rows[place])
            # An image with the last of a class stays: a class that training never sees can't be learned.
            if len(held) < wanted and all(left[label] > 1 for label in own):
                held.add(place)
                left.subtract(own)
        if not held:
            where, got = f"data.{name}_fraction", f"{fraction:g} of {counted(len(rows), 'image')}"
            remedy = f"Add images, or give a {name} split of your own."
            raise DataError(
                must_be(where, "a fraction that leaves images in both parts, and every class in the first", got, remedy)
            )
        return divided(rows, held)

    @override
    def strata(self, rows: Sequence[Row]) -> np.ndarray:
        """Return which classes each image has, (N, C) of 0 and 1."""
        found = np.zeros((len(rows), len(self.class_names(rows))), dtype=np.uint8)
        for number, row in enumerate(rows):
            found[number, list(_present(row))] = 1
        return found

    @override
    def class_names(self, rows: Iterable[Row]) -> tuple[str, ...]:
        first = next(iter(rows))
        return tuple(first.target.space.names)

    @override
    def require_of_model(self, rows: Sequence[Row], class_names: Sequence[str]) -> None:
        unknown = [name for name in rows[0].target.space.names if name not in class_names]
        if unknown:
            remedy = nearest(unknown[0], class_names)
            raise DataError(
                must_be("the classes of the masks", "the model's", some(f"'{one}'" for one in unknown), remedy)
            )

    @override
    def encode(self, rows: Sequence[Row], class_names: Sequence[str]) -> list[Mask]:
        """Return the masks, their class ids those of `class_names`."""
        return [_in_order(row.target, tuple(class_names)) for row in rows]

    @override
    def counts(self, targets: Any, class_names: Sequence[str]) -> list[int]:
        """Return how many images have each class."""
        return [sum(mask.pixels[place] > 0 for mask in targets) for place in range(len(class_names))]

    @override
    def notes_on(self, parts: Mapping[str, Sequence[Row]]) -> list[str]:
        """Return a warning of classes that no training image has, and a note of those that others lack."""
        present = {name: {place for row in rows for place in _present(row)} for name, rows in parts.items()}
        names = self.class_names(row for rows in parts.values() for row in rows)
        learned = present.get("train", set())
        notes = []
        told_before = {name for rows in parts.values() for row in rows[:1] for name in row.target.space.unseen}
        missing = [name for place, name in enumerate(names) if place not in learned and name not in told_before]
        if missing:
            told = some(f"'{name}'" for name in missing)
            notes.append(f"warning: no training image has {told}: nothing can be learned about it")
        for part in ("validation", "test"):
            absent = [names[place] for place in sorted(learned - present.get(part, learned))]
            if parts.get(part) and absent:
                told = some(f"'{name}'" for name in absent)
                notes.append(f"no {part} image has {told}: it has no score there")
        return notes

    @override
    def mark(self, target: Mask) -> str:
        return target.digest.hex()

    @override
    def beyond_words(self, target: Mask) -> str:
        return target.digest.hex()

    @override
    def in_words(self, target: Mask) -> str:
        names = target.space.names if target.space else ()
        return ", ".join(name for name, count in zip(names, target.pixels, strict=True) if count)


MASKS = Masks()


def _present(row: Row) -> list[int]:
    return [place for place, count in enumerate(row.target.pixels) if count]


def _in_order(mask: Mask, names: tuple[str, ...]) -> Mask:
    """Return a mask whose class ids are the places of these names."""
    space = mask.space
    assert space is not None
    if space.names == names:
        return mask
    own = dict(zip(space.names, zip(space.values, mask.pixels, strict=True), strict=True))
    # A class that these masks lack has no values: no pixel is of it.
    values = tuple(own[name][0] if name in own else () for name in names)
    pixels = tuple(own[name][1] if name in own else 0 for name in names)
    return replace(mask, space=replace(space, names=names, values=values), pixels=pixels)
