"""Folders of files: which of them are splits, which are classes, and which are neither.

Archives wrap folders in others, keep variants of the same pictures (colour, greyscale) above the classes, and masks
beside images; none of that is a class.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from hftransfer.base.errors import DataError, must_be, some
from hftransfer.data.columns import as_label
from hftransfer.data.reading import Reader
from hftransfer.data.roles import Found, affixed_roles, require_named_splits, require_one_each, split_role
from hftransfer.data.rows import FileContent, Row
from hftransfer.data.settings import DataSettings
from hftransfer.data.tables import raise_first, table_stem, table_suffix

_IGNORED = {"thumbs.db", "desktop.ini"}
IMAGE_FOLDERS = frozenset({"images", "image", "imgs", "img", "photos", "pictures", "jpegimages", "rgb"})
MASK_FOLDERS = frozenset(
    {"masks", "mask", "annotations", "annotation", "labels", "segmentation", "segmentations", "segmentationclass"}
    | {"groundtruth", "ground_truth", "gt", "trimaps", "bboxes", "xmls"}
)
_VARIANTS = frozenset(
    {"color", "colour", "grayscale", "greyscale", "gray", "grey", "segmented", "original", "originals", "augmented"}
    | {"augmentation", "cropped", "raw", "processed", "preprocessed", "resized", "enhanced", "thermal", "depth", "rgb"}
)
_DEEPEST = 8
ONE_HOT = "_classes"
"""The name of a table with a column for each class."""

TableRows = Callable[[Path, str], list[Row]]
"""What reads the rows of a table that says which image of a folder has which label."""
ARCHIVES = (".zip", ".tgz", ".tar.gz", ".tar.xz", ".rar", ".7z")
"""How names of archives end, which are not looked into."""


@dataclass(frozen=True)
class Walked:
    """A file below a folder, whether links were followed to it, and whether it is a link back to a folder above."""

    path: Path
    by_link: bool = False
    is_loop: bool = False


def visible(folder: Path) -> Iterator[Path]:
    """Yield the entries of a folder but hidden ones and what desktops leave there."""
    with os.scandir(folder) as entries:
        for entry in entries:
            if not entry.name.startswith((".", "__MACOSX")) and entry.name.lower() not in _IGNORED:
                yield Path(entry.path)


def walk(folder: Path, above: frozenset[Path] = frozenset(), *, by_link: bool = False) -> Iterator[Walked]:
    """Yield the files in a folder and all folders in it; a link back to a folder above comes as such, and is not
    followed."""
    # Links are told by where they lead: the same folder may have several names.
    real = folder.resolve()
    if real in above:
        yield Walked(folder, by_link=True, is_loop=True)
        return
    for entry in visible(folder):
        linked = by_link or entry.is_symlink()
        if entry.is_dir():
            yield from walk(entry, above | {real}, by_link=linked)
        else:
            yield Walked(entry, linked)


def files_below(folder: Path) -> Iterator[Path]:
    """Yield the files in a folder and all folders in it; links back to a folder above are passed over."""
    return (walked.path for walked in walk(folder) if not walked.is_loop)


def files_once(folder: Path) -> list[Path]:
    """Return the same files; those that links lead to, and that lie in the folder by themselves, are given once."""
    files = [walked for walked in walk(folder) if not walked.is_loop]
    if not any(walked.by_link for walked in files):
        return [walked.path for walked in files]
    own = {walked.path.resolve() for walked in files if not walked.by_link}
    return [walked.path for walked in files if not walked.by_link or walked.path.resolve() not in own]


_READMES = frozenset({"readme", "license", "licence"})
_SUFFIXES_OF_NOTES = frozenset({"", ".txt", ".csv", ".json"})


def is_notes(stem: str) -> bool:
    """Return whether a file is none of the data, by its name: what the Hub and Kaggle put beside them."""
    notes = {"dataset_infos", "dataset-metadata", "dataset_info", "croissant"}
    return stem in notes | _READMES or "submission" in stem


def name_below(path: Path, folder: Path) -> str:
    """Return the name of a file with the folders around it, as far as they are inside a folder: several files in it may
    have one name."""
    return path.relative_to(folder).as_posix() if folder in path.parents else path.name


def path_fault(file: Path, root: Path, name: str, settings: DataSettings) -> str | None:
    """Why a file may not be read: it is a link out of the data's folder."""
    if settings.allow_outside_paths:
        return None
    resolved = file.resolve()
    if resolved.is_relative_to(root.resolve()):
        return None
    remedy = "Set data.allow_outside_paths: true if this is intended."
    return must_be(name, f"inside {root}", f"{resolved}", remedy)


@dataclass(frozen=True)
class FolderReader:
    """Reads folders of classes below `root`; what was recognised is noted in `found`."""

    root: Path
    settings: DataSettings
    reader: Reader
    found: Found
    table_rows: TableRows

    def read(self, folder: Path, depth: int = 0) -> Found:
        """Return the rows of a folder by split.

        Raises:
            DataError: its folders are no splits and no classes, or files in them may not be read.
        """
        folders = sorted(entry for entry in visible(folder) if entry.is_dir())
        if not folders and not list(visible(folder)):
            allowed = f"a folder with a folder of {self.reader.inputs} per class"
            raise DataError(must_be(f"data.source {folder}", allowed, "an empty folder"))
        roles = {entry: split_role(entry.name, self.settings) for entry in folders}
        # Archives often wrap all in a folder of their own name.
        inner = self._wrapped(folder, folders)
        if inner is not None and not any(roles.values()) and depth < _DEEPEST:
            return self.read(inner, depth + 1)
        require_named_splits(self.settings, {entry.name for entry in folders}, str(folder))
        if "train" not in roles.values():
            affixed = affixed_roles([entry.name for entry in folders])
            if affixed:
                return self._affixed(folders, affixed)
            named = any(role and getattr(self.settings, f"{role}_split") == one.name for one, role in roles.items())
            if not folders or not (named or all(roles.values())):
                return self._classes_alone(folder, roles)
        stray = [entry.name for entry, role in roles.items() if role is None]
        if stray and self._has_class_train(roles):
            return self._classes_alone(folder, roles)
        if stray:
            remedy = "Name splits train, validation and test, or set data.validation_split / data.test_split."
            raise DataError(must_be(f"folders in {folder}", "splits only", some(stray), remedy))
        require_one_each({entry.name: role for entry, role in roles.items()}, str(folder))
        for entry, role in roles.items():
            if role == "train" or not self._has_no_classes(entry, role):
                self.found[role or ""] = self._class_rows(entry)
        return self.found

    def _classes_alone(self, folder: Path, roles: Mapping[Path, str | None]) -> Found:
        """Return the rows of a folder of classes, which is not split; classes named like splits are told of."""
        for entry in (entry for entry, role in roles.items() if role):
            told = f"{entry.name}/ is taken for a class, as the folders beside it are, and not for a split"
            self.found.note(f"warning: {told}")
        self.found["all"] = self._class_rows(folder)
        return self.found

    def _has_class_train(self, roles: Mapping[Path, str | None]) -> bool:
        """Return whether a folder `train` is one of vehicles: the only one named like a split, and like those beside it
        without folders or tables in it."""
        inside = (entry for folder in roles for entry in visible(folder))
        alone = self.settings.train_split is None and [*filter(None, roles.values())] == ["train"]
        return alone and not any(entry.is_dir() or table_suffix(entry) for entry in inside)

    def _has_no_classes(self, folder: Path, role: str | None) -> bool:
        """Return whether a folder holds files alone, as the tests of competitions, whose labels are hidden; that is
        noted."""
        entries = list(visible(folder))
        if getattr(self.settings, f"{role}_split") is not None or not entries or any(e.is_dir() for e in entries):
            return False
        if any(table_suffix(entry) for entry in entries):
            return False
        self.found.note(f"the {role} split is left out: {folder.name}/ has no folders of classes")
        return True

    def _wrapped(self, folder: Path, folders: Sequence[Path]) -> Path | None:
        """Return the one folder that holds all the others: of an archive's name, or `images` beside masks; None if none
        does.

        Raises:
            DataError: images lie beside masks, and are in no folders of classes.
        """
        pictures = self._beside_masks(folders)
        if pictures is not None:
            if not any(entry.is_dir() for entry in visible(pictures)):
                others = some(entry.name for entry in folders if entry != pictures)
                got = f"images in {pictures.name} beside {others}, which look like a mask or annotation of each image"
                allowed = f"a folder with a folder of {self.reader.inputs} per class"
                remedy = "Masks are for task image-segmentation. Classes are given by folders, or by a table."
                raise DataError(must_be(f"data.source {folder}", allowed, got, remedy))
            others = some(entry.name for entry in folders if entry != pictures)
            self.found.note(f"the images are found in {self._shown(pictures)}; {others} beside it are left out")
            return pictures
        if len(folders) != 1 or not any(entry.is_dir() for entry in visible(folders[0])):
            return None
        loose = [entry.name for entry in visible(folder) if not entry.is_dir()]
        beside = f"; {some(loose, 3)} beside it {'is' if len(loose) == 1 else 'are'} skipped" if loose else ""
        self.found.note(f"the {self.reader.inputs} are found in {self._shown(folders[0])}{beside}")
        return folders[0]

    def _beside_masks(self, folders: Sequence[Path]) -> Path | None:
        """Return the folder of images where the others hold what belongs to each: masks, boxes."""
        pictures = [entry for entry in folders if entry.name.lower() in IMAGE_FOLDERS]
        masks = [entry for entry in folders if entry.name.lower() in self.reader.mask_folders]
        if len(pictures) == 1 and masks and len(folders) == 1 + len(masks):
            return pictures[0]
        return None

    def _affixed(self, folders: Sequence[Path], roles: dict[str, str]) -> Found:
        """Return the rows of splits named as in `seg_train`, `seg_test`; folders beside them without classes are left
        out."""
        rest = [entry for entry in folders if entry.name not in roles]
        for entry in rest:
            if _holds_classes(entry):
                remedy = "Name splits train, validation and test, or set data.train_split, data.test_split."
                raise DataError(must_be(f"folders in {entry.parent}", "splits only", entry.name, remedy))
        require_one_each(roles, str(folders[0].parent))
        told = ", ".join(f"{name} is {role}" for name, role in roles.items())
        left = f"; {some(entry.name for entry in rest)} without classes left out" if rest else ""
        self.found.note(f"splits by the folders' names: {told}{left}")
        for entry in folders:
            if entry.name in roles:
                self.found[roles[entry.name]] = self._class_rows(entry)
        return self.found

    def _class_rows(self, folder: Path, depth: int = 0) -> list[Row]:
        entries = sorted(visible(folder))
        tables = [entry for entry in entries if table_suffix(entry) and entry.is_file()]
        described = [entry for entry in tables if table_stem(entry).lower() in ("metadata", ONE_HOT)]
        if described and self.reader.describes_files:
            self.found.note(f"the labels of {self._shown(folder)} are those in {described[0].name}")
            return self.table_rows(described[0], folder.name)
        classes = [entry for entry in entries if entry.is_dir()]
        notes = [entry for entry in entries if classes and self._is_note(entry)]
        loose = [entry.name for entry in entries if not entry.is_dir() and entry not in notes]
        inner = self._wrapped(folder, classes) if folder != self.root else None
        if inner is not None and depth < _DEEPEST:
            return self._class_rows(inner, depth + 1)
        if loose:
            remedy = "Move it into the folder of its class, or remove it."
            if not classes:
                remedy = f"Put the {self.reader.inputs} of each class in a folder named after the class."
            if any(name.lower().endswith(ARCHIVES) for name in loose):
                remedy = "Unpack archives first."
            raise DataError(must_be(f"{folder}", "a folder of class folders", f"the file {some(loose, 3)}", remedy))
        if notes:
            self.found.note(f"{some((entry.name for entry in notes), 3)} beside the class folders: skipped")
        if not classes:
            allowed = f"a folder with a folder of {self.reader.inputs} per class"
            raise DataError(must_be(f"{folder}", allowed, "an empty folder"))
        rows: list[Row] = []
        faults: list[str] = []
        inside: list[str] = []
        for label in self._without_copies(folder, classes):
            self._rows_of_class(label, rows, faults, inside)
        raise_first(faults)
        if inside:
            self.found.note(f"{some(inside, 3)} in the class folders: skipped")
        return rows

    def _is_note(self, entry: Path) -> bool:
        """Return whether an entry is a file that people keep beside class folders, and that is no input: a table may
        hold the classes, and is none unless its name says so."""
        if entry.is_dir():
            return False
        # Other texts may list the classes, or splits.
        suffix = entry.suffix.lower()
        named = is_notes(entry.name.lower().split(".")[0]) and suffix in _SUFFIXES_OF_NOTES
        return named or suffix in self.reader.note_suffixes

    def _is_readme(self, file: Path) -> bool:
        """Return whether a file in a class folder is none of the inputs by its name; one of an essay may be
        `submission.txt`."""
        known = file.suffix.lower() in self.reader.note_suffixes | _SUFFIXES_OF_NOTES
        return known and file.name.lower().split(".")[0] in _READMES

    def _without_copies(self, folder: Path, classes: list[Path]) -> list[Path]:
        """Return the class folders less one that holds all of them again, as archives that were packed twice do.

        Raises:
            DataError: the folders are variants of the same pictures, not classes.
        """
        # Folders in class folders tell whether these are classes, or variants of the same classes.
        inside = {entry: {one.name for one in visible(entry) if one.is_dir()} for entry in classes}
        names = {entry.name for entry in classes}
        again = [entry for entry in classes if len(names) > 2 and names - {entry.name} <= inside[entry]]
        if again:
            self.found.note(f"{self._shown(again[0])} contains the other folders again, and is left out")
            return [entry for entry in classes if entry not in again]
        common = set.intersection(*inside.values()) if len(classes) > 1 else set()
        if len(common) < 2 or common <= IMAGE_FOLDERS | MASK_FOLDERS | {name.capitalize() for name in MASK_FOLDERS}:
            return classes
        told = [entry.name for entry in classes]
        if all(split_role(name, self.settings) for name in common):
            pooled = f"{some(sorted(common), 3)} inside the class folders are put together, and split anew"
            self.found.note(f"warning: {pooled}: to keep them, put them above the classes (train/{told[0]})")
            return classes
        numbered = all(re.fullmatch(r"[^\W\d_]*[\W_]*\d+", name) for name in told)  # years, folds, scanners
        if numbered or any(set(re.split(r"[\W_]+", name.lower())) & _VARIANTS for name in told):
            kinds = "parts" if numbered else "variants"
            got = f"what looks like {kinds} of the same pictures: each contains {some(sorted(common), 3)}"
            remedy = f"Name one of them: data.source={folder / told[0]}"
            raise DataError(must_be(f"the folders {some(told)} in {folder}", "classes, or splits", got, remedy))
        self.found.note(
            f"warning: the folders {some(told, 3)} are taken for the classes, though all hold "
            f"{some(sorted(common), 3)}: where those are the classes, name one folder as data.source"
        )
        return classes

    def _rows_of_class(self, label: Path, rows: list[Row], faults: list[str], notes: list[str]) -> None:
        """Add the rows of a class folder, why files of it may not be read, and the names of those that are none."""
        inner = [entry for entry in visible(label) if entry.is_dir()]
        pictures = self._beside_masks([one for one in inner if one.name.lower() in IMAGE_FOLDERS | MASK_FOLDERS])
        above = frozenset({self.root.resolve(), label.parent.resolve()})
        below = sorted(walk(pictures or label, above), key=lambda walked: walked.path)
        files = [walked for walked in below if not self._is_readme(walked.path)]
        notes += [self._name(walked.path) for walked in below if self._is_readme(walked.path)]
        if pictures is not None:
            masks = ", ".join(sorted(entry.name for entry in inner if entry != pictures))
            self.found.note(f"of class folders, {pictures.name} is read, and {masks} left out")
        if not files:
            faults.append(must_be(f"the class folder {label}", f"a folder of {self.reader.inputs}", "an empty folder"))
        name = as_label(label.name)
        own = label.parent.resolve() / label.name
        for walked in files:
            shown = self._name(walked.path)
            fault = self._link_fault(walked, own, shown) if walked.by_link or label.is_symlink() else None
            if fault:
                faults.append(fault)
            elif walked.path.suffix.lower() in self.reader.side_files:
                self.found.note(f"files such as {walked.path.name} beside images are skipped")
            elif not walked.is_loop:
                rows.append(Row(shown, FileContent(walked.path), name))

    def _link_fault(self, walked: Walked, own: Path, shown: str) -> str | None:
        """Why a file that a link leads to may not be read as one of a class."""
        if walked.is_loop:
            return must_be(shown, f"inside the class folder {own}", "a link back to a folder above", "Remove it.")
        fault = path_fault(walked.path, self.root, shown, self.settings)
        if fault or self.settings.allow_outside_paths or walked.path.resolve().is_relative_to(own):
            return fault
        got = f"a link to {walked.path.resolve()}, which would have the label '{own.name}'"
        remedy = "Copy the file, or set data.allow_outside_paths: true if this is intended."
        return must_be(shown, f"inside the class folder {own}", got, remedy)

    def _name(self, path: Path) -> str:
        return path.relative_to(self.root).as_posix()

    def _shown(self, folder: Path) -> str:
        return f"{self._name(folder)}/"


def _holds_classes(folder: Path, depth: int = 0) -> bool:
    """Return whether several folders lie in a folder, or in the only one in it."""
    folders = [entry for entry in visible(folder) if entry.is_dir()]
    return len(folders) > 1 or (len(folders) == 1 and depth < _DEEPEST and _holds_classes(folders[0], depth + 1))


def is_layout_of_splits(folder: Path, settings: DataSettings) -> bool:
    """Return whether a folder holds one for training, by its name."""
    names = [entry.name for entry in visible(folder) if entry.is_dir()]
    return "train" in {split_role(name, settings) for name in names} or bool(affixed_roles(names))
