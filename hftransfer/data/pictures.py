"""Images as inputs: read from folders, tables, data sets and Python, with labels or with captions."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, cast

from typing_extensions import override

from hftransfer.base.errors import DataError, must_be, user_path
from hftransfer.data.columns import (
    column_of,
    first_of,
    is_unlabelled,
    label_names,
    numbered_columns,
    passed_over,
    spread,
)
from hftransfer.data.label_sets import OF_LABELS, OfLabels
from hftransfer.data.layouts import MASK_FOLDERS, path_fault, visible
from hftransfer.data.reading import InputColumns, LeftOutRows, NamedInput, Records, require_some_sound
from hftransfer.data.roles import Found
from hftransfer.data.rows import IMAGE_SUFFIXES as IMAGE_SUFFIXES
from hftransfer.data.rows import (
    AbsentContent,
    BytesContent,
    Content,
    DatasetContent,
    FileContent,
    Inspection,
    Row,
    StoredImage,
    StreamedContent,
    Target,
    stored_in,
)
from hftransfer.data.settings import DataSettings
from hftransfer.data.streams import images_of
from hftransfer.data.tables import Table, raise_first

if TYPE_CHECKING:
    import datasets

    from hftransfer.base.progress import Advance
    from hftransfer.data.depth import PixelRange

IMAGE_COLUMNS = (
    *("image", "img", "image_path", "path", "file", "file_name", "filename", "filepath", "file_path"),
    "image_name",
)


CAPTION_COLUMNS = ("caption", "captions", "text", "title", "comment", "description")
"""The usual names of columns with captions; the first may be numbered."""
OF_IMAGES = frozenset({"image_column", "decode", "max_pixels"})
"""Settings of images."""


class Images(OfLabels):
    """Images with a label each."""

    inputs = "images"
    one = "image"
    modality = "image"
    usual_columns: ClassVar[Sequence[str]] = IMAGE_COLUMNS
    usual_task = "image-classification"
    numbers_task = "image-regression"
    python_rows = "(image, label)"
    own_settings = OF_IMAGES | OF_LABELS
    suffix = ".jpg"
    decodes = True
    describes_files = True
    mask_folders = MASK_FOLDERS
    side_files = frozenset({".aae", ".xmp", ".thm"})

    # --- rows --------------------------------------------------------------------------------------------------------

    @override
    def columns(self, given: Records, settings: DataSettings) -> list[str]:
        image, targets = self._columns(given, settings)
        return [image, *targets]

    def _columns(self, given: Records, settings: DataSettings) -> tuple[str, list[str]]:
        """Return the column with the images and those with the targets, as named or by their usual names."""
        found: list[str] = []
        faults: list[str] = []
        named_target, setting = self.target_column(settings)
        for named, usual, where in (
            (settings.image_column, given.usual_images or IMAGE_COLUMNS, "data.image_column"),
            (named_target, given.usual_labels, setting),
        ):
            try:
                found.append(column_of(named, usual, given.columns, where, given.source))
            except DataError as error:
                faults += error.faults
        raise_first(faults)
        return found[0], [found[1]]

    def rows(self, given: Records, settings: DataSettings, found: Found, left: LeftOutRows | None) -> list[Row]:
        """Return the rows of records; with `left`, an image that is not there becomes one that can't be read."""
        image_column, target_columns = self._columns(given, settings)
        targets, places = self._targets(given, target_columns, settings, found, left)
        folder = given.folder or Path()
        paths = _ImageFolder()
        if given.content is None:
            paths = _ImageFolder.of(folder, given.values(image_column), found)
        rows, faults = [], []
        for place, target in zip(places, targets, strict=True):
            record, where = given.records[place], given.wheres[place]
            value = stored_in(record.get(image_column))
            content: Content
            try:
                if given.content is not None:
                    content = given.content(record, image_column, where)
                else:
                    content = table_content(paths.path(value), folder, where, settings)
            except _NotThere as error:
                if left is None:
                    faults.append(str(error))
                    continue
                content = AbsentContent(str(error))
            except DataError as error:
                faults.append(str(error))
                continue
            is_named = given.content is None and value
            rows.append(Row(_name_of(value, content, where) if is_named else where, content, target))
        raise_first(faults)
        return rows

    def _targets(
        self, given: Records, columns: Sequence[str], settings: DataSettings, found: Found, left: LeftOutRows | None
    ) -> tuple[list[Target], list[int]]:
        """Return the labels, and the record that each is of. With `left`, rows without a label are put there."""
        column = columns[0]
        cells = given.values(column)
        unfit = self.unfit_targets(cells, given.wheres, column, settings) if left is not None else {}
        if left is not None:
            left += [(given.wheres[place], told) for place, told in unfit.items()]
        places = [place for place in range(len(given.wheres)) if place not in unfit]
        wheres = [given.wheres[place] for place in places]
        labels = self.targets([cells[place] for place in places], wheres, column, settings, found)
        for note in passed_over(column, settings.label_column, given.usual_labels, given.columns, "labels"):
            found.note(note)
        return labels, places

    @override
    def record(self, value: object, where: str) -> Mapping[str, object]:
        if isinstance(value, Mapping):
            return value
        if isinstance(value, tuple | list) and len(value) == 2:
            return {"image": value[0], "label": value[1]}
        raise DataError(must_be(where, "an (image, label) pair or a dict", type(value).__name__))

    def of_dataset(
        self,
        dataset: datasets.Dataset,
        records: list[dict[str, object]],
        given: Records,
        settings: DataSettings,
        images: Sequence[str],
    ) -> Records:
        """Return the records with the place of each in its data set, where its images stay."""
        del images
        try:
            column, _ = self._columns(given, settings)
        except DataError:
            return replace(given, records=records)  # told when the rows are made
        image = images_of(dataset, column)
        placed = [{**record, _PLACE: place} for place, record in enumerate(records)]
        return replace(given, records=placed, content=lambda record, _, __: image(cast(int, record[_PLACE])))

    @override
    def in_memory(self, given: Records) -> Records:
        from hftransfer.data.inspection import as_content

        def content(record: Mapping[str, object], column: str, where: str) -> Content:
            return as_content(record.get(column), where)

        return replace(given, content=content, source=given.wheres[0])

    @override
    def inspect(
        self, rows: list[Row], advance: Advance, settings: DataSettings | None = None, *, decode: bool = False
    ) -> Inspection:
        from hftransfer.data.inspection import inspect_rows

        return inspect_rows(rows, advance, decode=decode, max_pixels=settings.max_pixels if settings else None)

    @override
    def is_of_folder(self, suffixes: set[str]) -> bool:
        return super().is_of_folder(suffixes) and (".txt" not in suffixes or bool(suffixes & IMAGE_SUFFIXES))

    @override
    def inspects(self, *, decode: bool) -> str:
        return "decoding every image" if decode else "looking at the images"

    @override
    def notes(self, pixels: PixelRange | None, settings: DataSettings) -> list[str]:
        return [*on_depth(pixels), *on_drafts(settings)]

    # --- inputs to predict -------------------------------------------------------------------------------------------

    @override
    def alone(self, name: str, path: Path | None) -> NamedInput:
        return NamedInput(name, path if path is not None else name)

    @override
    def of_file(self, file: Path) -> NamedInput:
        return NamedInput(str(file), file)

    @override
    def of_table(self, path: Path, table: Table, columns: InputColumns, *, name: str) -> list[NamedInput]:
        named = columns.first_among(table.columns, "image_column")
        column = column_of(named, IMAGE_COLUMNS, table.columns, "--column", path)
        return require_some_sound(self._of_cells(path, name, table, column))

    def _of_cells(self, path: Path, name: str, table: Table, column: str) -> Iterator[NamedInput]:
        settings = DataSettings(source=str(path), allow_outside_paths=True)
        for record, number in zip(table.records, table.numbers, strict=True):
            value, where = stored_in(record.get(column)), f"{name}:{number}"
            named = str(value) if isinstance(value, str) and value else where
            try:
                content = table_content(value, path.parent, where, settings)
            except DataError as error:
                yield NamedInput(named, error)
                continue
            if content.path is not None:
                yield NamedInput(named, content.path)
            else:
                yield NamedInput(_name_of(value, content, where), content)

    def is_beside(self, file: Path, *, is_table: bool) -> bool:
        """Return whether a file is a table, a note or a text, by its name."""
        return super().is_beside(file, is_table=is_table) or file.suffix.lower() == ".txt"


class CaptionedImages(Images):
    """Images with captions: one a record, or several."""

    usual_task = "image-text"
    python_rows = "(image, caption)"
    own_settings = OF_IMAGES | {"caption_column"}

    @override
    def target_column(self, settings: DataSettings) -> tuple[str | None, str]:
        return settings.caption_column or settings.label_column, "data.caption_column"

    def _columns(self, given: Records, settings: DataSettings) -> tuple[str, list[str]]:
        """Return the column with the images and those with captions: where there is none of the name, or of the first
        usual one, several that are numbered (caption_0, caption_1, …) stand for it."""
        named, _ = self.target_column(settings)
        wanted = named or CAPTION_COLUMNS[0]
        numbered = numbered_columns(wanted, given.columns) if first_of([wanted], given.columns) is None else []
        if numbered:
            settings = settings.model_copy(update={"caption_column": numbered[0]})
        image, target = super()._columns(replace(given, usual_labels=CAPTION_COLUMNS), settings)
        return image, numbered or target

    def _targets(
        self, given: Records, columns: Sequence[str], settings: DataSettings, found: Found, left: LeftOutRows | None
    ) -> tuple[list[str], list[int]]:
        """Return the captions, and the record that each is of; one of several that is empty is none. With `left`, rows
        without any are put there."""
        del settings, found
        cells = [given.values(column) for column in columns]
        together = [list(own) for own in zip(*cells, strict=True)] if len(cells) > 1 else list(cells[0])
        values, places = spread(together)
        told = {place for value, place in zip(values, places, strict=True) if not is_unlabelled(value)}
        kept = [
            (value, place)
            for value, place in zip(values, places, strict=True)
            if not is_unlabelled(value) or (left is None and place not in told)  # told by `label_names`
        ]
        if left is not None:
            bare = [given.wheres[place] for place in range(len(given.wheres)) if place not in told]
            left += [(where, must_be(f"{where}: column '{columns[0]}'", "a caption", "nothing")) for where in bare]
        written = [str(value).strip() for value, place in kept if place in told]
        if written and all(_NUMBER.fullmatch(text) for text in written):
            remedy = "To predict numbers from images, use task image-regression."
            where = f"the column '{columns[0]}' of {given.source}"
            raise DataError(must_be(where, "captions", "only numbers", remedy))
        places = [place for _, place in kept]
        wheres = [given.wheres[place] for place in places]
        return label_names([value for value, _ in kept], wheres, columns[0], "a caption"), places

    @override
    def record(self, value: object, where: str) -> Mapping[str, object]:
        found = super().record(value, where)
        return found if isinstance(value, Mapping) else {"image": found["image"], "caption": found["label"]}

    @override
    def is_unlabelled(self, given: Records, settings: DataSettings) -> bool:
        """Return False: rows without captions are told as such."""
        del given, settings
        return False


IMAGES, CAPTIONED_IMAGES = Images(), CaptionedImages()

_NUMBER = re.compile(r"[+-]?\d+([.,]\d+)?([eE][+-]?\d+)?")
_PLACE = "\0place"  # no column has this name


def on_depth(pixels: PixelRange | None, then: str = "and the model keeps this range") -> list[str]:
    """Return a note on the range of deep greyscale images and where it comes from or goes, where there are any."""
    if pixels is None:
        return []
    told = f"greyscale images of more than 8 bits: their values of {pixels.in_words} become 0 to 255"
    return [f"{told}, {then}"]


def on_drafts(settings: DataSettings) -> list[str]:
    """Return a note where images are read as drafts."""
    told = "large JPEG files are read as drafts (data.decode): the scores are those of the drafts"
    return [told] if settings.decode == "draft" else []


# --- paths in tables -------------------------------------------------------------------------------------------------


class _NotThere(DataError):
    """The image of a row is not there: such rows may be left out."""


class _ImageFolder:
    """How the cells of a table lead to images: from a folder beside the table, with a suffix that they lack."""

    def __init__(self, before: str = "", suffix: str = "") -> None:
        self.before, self.suffix = before, suffix

    @classmethod
    def of(cls, folder: Path, values: Sequence[object], found: Found) -> _ImageFolder:
        """Look for the first images: as they are written, else in the folders beside the table and with usual
        suffixes. What is found so is noted."""
        first = [value for value in map(stored_in, values) if isinstance(value, str) and value.strip()][:3]
        if not first or any("://" in value or "\0" in value or len(value) > 255 for value in first):
            return cls()
        if any(_is_file(folder / written) for value in first for written in (value, value.replace("\\", "/"))):
            return cls()
        # Tables often name files that lie in a folder beside them, without its name.
        beside = ["", *(f"{entry.name}/" for entry in sorted(visible(folder)) if entry.is_dir())]
        for before, suffix in itertools.product(beside[:100], ("", ".jpg", ".jpeg", ".png", ".JPG", ".JPEG", ".PNG")):
            if (before or suffix) and all(_is_file(folder / f"{before}{value}{suffix}") for value in first):
                told = f"from {before}" if before else "from the folder of the table"
                found.note(f"image paths count {told}" + (f", and end in {suffix}" if suffix else ""))
                return cls(before, suffix)
        return cls()

    def path(self, value: object) -> object:
        """Return the path in a cell as it leads to the image."""
        return f"{self.before}{value}{self.suffix}" if isinstance(value, str) and value else value


def _name_of(value: object, content: Content, where: str) -> str:
    """Return what a person knows an image in a table by: what its cell names, and the place of that; of bytes, which
    name nothing, the place alone."""
    return where if isinstance(content, BytesContent | DatasetContent | StreamedContent) else f"{value} ({where})"


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def table_content(value: object, folder: Path, where: str, settings: DataSettings) -> Content:
    """Return the image in a cell of a table: a path from the folder of the table, or bytes.

    Raises:
        DataError: it is neither, or there is no such file.
    """
    value = stored_in(value)
    if isinstance(value, StoredImage):
        return value
    if isinstance(value, bytes):
        return BytesContent(value)
    if not isinstance(value, str) or not value:
        raise _NotThere(must_be(where, "a row with an image path", repr(value)))
    if "://" in value:
        raise DataError(must_be(where, "a row with a local image path", f"'{value}'", "Download the images first."))
    file = folder / user_path(value, where, DataError)
    if "\\" in value and not _is_file(file):  # as written on Windows
        file = folder / user_path(value.replace("\\", "/"), where, DataError)
    shown = f"the image path '{value[:200]}' ({where})"
    try:
        fault = path_fault(file, folder, shown, settings)
        there = file.exists()
    except OSError:  # a name too long
        fault, there = None, False
    if fault:
        raise DataError(fault)
    if not there:
        remedy = "Paths count from the folder of the table."
        raise _NotThere(must_be(shown, f"a file inside {folder.resolve()}", "none there", remedy))
    return FileContent(file)
