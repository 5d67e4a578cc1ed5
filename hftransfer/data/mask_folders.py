"""Folders with images and their masks: which folder holds which, and which mask is whose."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from hftransfer.base.errors import DataError, must_be, some
from hftransfer.data.layouts import IMAGE_FOLDERS, MASK_FOLDERS, files_below, path_fault, visible
from hftransfer.data.mask_files import Mask
from hftransfer.data.mask_labels import NamedValues, named_values
from hftransfer.data.pictures import IMAGE_SUFFIXES
from hftransfer.data.roles import Found, LeftOut, require_named_splits, require_one_each, split_role
from hftransfer.data.rows import FileContent, Row
from hftransfer.data.settings import DataSettings
from hftransfer.data.tables import raise_first

_MASK_SUFFIXES = IMAGE_SUFFIXES | {".npy"}
_LISTS = "ImageSets/Segmentation"
"""Where Pascal VOC says which images are of which split."""
_MOST_TOLD = 5
_FIRST = 20
"""Images by which it is found how masks are named."""


def rows_of_folder(folder: Path, settings: DataSettings, found: Found) -> bool:
    """Return whether a folder holds images and masks: then their rows are in `found`, by split.

    `images/` beside `masks/`, each with a folder for each split or without; the splits first, each with both; or, with
    `data.mask_template`, masks that are named after their images.

    Raises:
        DataError: images have no masks, or a mask folder is empty; all of them are told.
    """
    layout = _layout_of(folder, settings)
    if layout is None:
        return False
    said = named_values(settings.classes, settings.ignore_value, folder)
    faults, masks = list[str](), set[Path]()
    require_one_each({name: role for name, role, _ in layout if role != "all"}, str(folder))
    require_named_splits(settings, {name for name, _, _ in layout}, str(folder))
    for _, role, pair in layout:
        rows, without = _paired(pair, folder, settings, said, found, faults, masks)
        # They count among what `data.on_error: skip` leaves out, and to 5 % of all.
        found.left_out += [LeftOut("train" if role == "all" else role, name, reason) for name, reason in without]
        found[role] = [*found.get(role, []), *rows]
    raise_first(faults, _MOST_TOLD)
    _note_idle(masks, folder, found)
    _split_by_lists(folder, found)
    return True


def _note_idle(masks: set[Path], root: Path, found: Found) -> None:
    """Tell of masks that no image has: the image may have got lost."""
    used = {row.target.content.path for rows in found.values() for row in rows}
    if idle := sorted(file.relative_to(root).as_posix() for file in masks - used):
        found.note(f"masks without an image are left out: {some(idle, 3)}")


@dataclass(frozen=True)
class _Pair:
    """A folder of images and one of masks, which may be the same."""

    images: Path
    masks: Path


def _layout_of(folder: Path, settings: DataSettings) -> list[tuple[str, str, _Pair]] | None:
    """Return the name, the split and the folders of each part; None where there are none of masks."""
    pair = _pair_in(folder)
    inner = [entry for entry in sorted(visible(folder)) if entry.is_dir()]
    if pair is not None:
        splits = [entry for entry in sorted(visible(pair.images)) if entry.is_dir()]
        roles = [(entry.name, role) for entry in splits if (role := split_role(entry.name, settings))]
        if not roles:
            return [("", "all", pair)]
        return [(name, role, _Pair(pair.images / name, _same_split(pair.masks, name))) for name, role in roles]
    by_split = [(entry, split_role(entry.name, settings)) for entry in inner]
    found = [(entry.name, role, own) for entry, role in by_split if role and (own := _pair_in(entry)) is not None]
    if found:
        return found
    if settings.mask_template is not None:
        with_roles = [(entry.name, role, _Pair(entry, entry)) for entry, role in by_split if role]
        return with_roles or [("", "all", _Pair(folder, folder))]
    if len(inner) == 1:
        return _layout_of(inner[0], settings)
    return None


def _same_split(masks: Path, name: str) -> Path:
    """Return the folder of a split's masks: of the same name, or all of them in one folder."""
    own = masks / name
    if own.is_dir():
        return own
    if any(entry.is_dir() for entry in visible(masks)):
        there = some((entry.name for entry in visible(masks)), 3)
        raise DataError(must_be(f"the masks in {masks}", f"in a folder {name}, as the images are", there))
    return masks


def _pair_in(folder: Path) -> _Pair | None:
    if not folder.is_dir():
        return None
    inner = {entry.name.lower(): entry for entry in sorted(visible(folder)) if entry.is_dir()}
    images = [entry for name, entry in inner.items() if name in IMAGE_FOLDERS]
    masks = [entry for name, entry in inner.items() if name in MASK_FOLDERS]
    if len(images) == 1 and masks:
        preferred = [one for one in masks if one.name.lower() in ("masks", "mask", "segmentationclass")]
        return _Pair(images[0], (preferred or masks)[0])
    return None


def _paired(
    pair: _Pair,
    root: Path,
    settings: DataSettings,
    said: NamedValues,
    found: Found,
    faults: list[str],
    seen: set[Path],
) -> tuple[list[Row], list[tuple[str, str]]]:
    """Return the rows of images with their masks, and of images without one that are to be skipped the name and the
    reason; faults are added, and the masks that are `seen`."""
    together = pair.images == pair.masks
    images = [file for file in sorted(files_below(pair.images)) if file.suffix.lower() in IMAGE_SUFFIXES]
    template = settings.mask_template
    if template is not None:
        own = _template(template)
        images = [file for file in images if not together or own.fullmatch(file.name) is None]
        wanted: Mapping[Path, list[Path]] = {file: [_named(template, file, pair)] for file in images}
    else:
        masks = [file for file in sorted(files_below(pair.masks)) if file.suffix.lower() in _MASK_SUFFIXES]
        if not masks:
            faults.append(must_be(f"the mask folder {pair.masks}", "one with a mask for each image", "an empty folder"))
            return [], []
        seen.update(masks)
        wanted = _by_stem(images, masks, pair, found)
    if not images:
        faults.append(must_be(f"the image folder {pair.images}", "a folder of images", "an empty folder"))
    rows, missing = list[Row](), list[str]()
    for file in images:
        there = [one for one in wanted[file] if one.is_file()]
        shown = file.relative_to(root).as_posix()
        if len(there) != 1:
            missing.append(shown if not there else f"{shown} ({len(there)} masks)")
            continue
        for one in (file, there[0]):
            fault = path_fault(one, root, one.relative_to(root).as_posix(), settings)
            faults += [fault] if fault else []
        name = there[0].relative_to(root).as_posix()
        rows.append(Row(shown, FileContent(file), Mask(FileContent(there[0]), name, said)))
    where = f"the masks in {pair.masks}"
    if missing and settings.on_error == "skip" and rows:
        return rows, [(name, must_be(where, "one for each image", f"none for {name}")) for name in missing]
    if missing:
        remedy = "Add it, remove the image, or say how masks are named: data.mask_template='{stem}_mask.png'."
        faults.append(must_be(where, "one for each image", f"none for {some(missing, 4)}", remedy))
    return rows, []


def _template(template: str) -> re.Pattern[str]:
    """Return what the names of masks match."""
    if "{stem}" not in template or ".." in Path(template).parts or Path(template).is_absolute():
        allowed = "a name with {stem} in it, such as {stem}_mask.png, below the folder of masks or images"
        raise DataError(must_be("data.mask_template", allowed, f"'{template}'"))
    parts = Path(template).name.split("{stem}")
    return re.compile(".+".join(re.escape(part).replace(r"\*", ".*") for part in parts), re.IGNORECASE)


def _named(template: str, file: Path, pair: _Pair) -> Path:
    folder = file.parent if pair.images == pair.masks else pair.masks / file.parent.relative_to(pair.images)
    return folder / template.replace("{stem}", file.stem)


def _by_stem(images: Sequence[Path], masks: Sequence[Path], pair: _Pair, found: Found) -> Mapping[Path, list[Path]]:
    """Return the masks of each image: those of its stem, or of it with the same addition for all."""

    def key(file: Path, folder: Path) -> str:
        return file.relative_to(folder).with_suffix("").as_posix()

    of_stem: dict[str, list[Path]] = {}
    for file in masks:
        of_stem.setdefault(key(file, pair.masks), []).append(file)
    stems = {file: key(file, pair.images) for file in images}
    if any(stem in of_stem for stem in stems.values()):
        return {file: of_stem.get(stem, []) for file, stem in stems.items()}
    best, most = dict[Path, str](), 0.5 * len(stems)  # some masks may be missing, but not most
    for before, after in _additions(list(stems.values()), list(of_stem)):
        named = {
            file: f"{Path(stem).parent.as_posix()}/{before}{Path(stem).name}{after}" for file, stem in stems.items()
        }
        named = {file: name.removeprefix("./") for file, name in named.items()}
        if (there := sum(name in of_stem for name in named.values())) > most:
            best, most, told = named, there, f"{before}{{stem}}{after}"
    if best:
        found.note(f"masks are named after their images: '{told}'")
    return {file: of_stem.get(best.get(file, ""), []) for file in images}


def _additions(stems: Sequence[str], masks: Sequence[str]) -> list[tuple[str, str]]:
    """Return what names of masks have before and behind that of one of the first images, whose mask may be missing."""
    names = [Path(mask).name for mask in masks]
    parted = (name.partition(Path(stem).name) for stem in stems[:_FIRST] for name in names)
    return list(dict.fromkeys((before, after) for before, own, after in parted if own))


def _split_by_lists(folder: Path, found: Found) -> None:
    """Part the rows by the lists of Pascal VOC, where they are there and nothing else says the splits."""
    lists = folder / _LISTS
    if set(found) != {"all"} or not (lists / "train.txt").is_file():
        return
    names = {"train": "train.txt", "validation": "val.txt", "test": "test.txt"}
    rows = {Path(row.id).stem: row for row in found["all"]}
    parts = {}
    for role, name in names.items():
        if (lists / name).is_file():
            stems = (lists / name).read_text(encoding="utf-8").split()
            parts[role] = [rows[stem] for stem in stems if stem in rows]
    del found["all"]
    found.update({role: own for role, own in parts.items() if own})
    found.note(f"splits are those of {_LISTS}")
