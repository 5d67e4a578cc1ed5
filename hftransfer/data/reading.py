"""How rows are read: the contract of the readers, one for each kind of input, and what they are given."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from hftransfer.base.errors import DataError, must_be
from hftransfer.data.columns import LABEL_COLUMNS, column_of, is_unlabelled
from hftransfer.data.roles import Found
from hftransfer.data.rows import Content, Inspection, Row, Target, digest_rows
from hftransfer.data.settings import DataSettings, NamedColumns
from hftransfer.data.tables import Table, raise_first, read_table

if TYPE_CHECKING:
    import datasets

    from hftransfer.base.progress import Advance
    from hftransfer.data.depth import PixelRange

LeftOutRows = list[tuple[str, str]]
"""Rows that are left out, each with its name and the reason."""


@dataclass(frozen=True)
class Records:
    """Records with the place of each, all columns of them, and what they are of."""

    records: Sequence[Mapping[str, object]]
    wheres: Sequence[str]
    columns: Sequence[str]
    source: object
    folder: Path | None = None
    """The folder that paths in a table count from."""
    content: Callable[[Mapping[str, object], str, str], Content] | None = None
    """The image of a record in a column, by its place, where objects are in memory."""
    usual_images: Sequence[str] = ()
    usual_labels: Sequence[str] = LABEL_COLUMNS

    def only(self, places: Sequence[int]) -> Records:
        """Return the records at these places."""
        records, wheres = [self.records[place] for place in places], [self.wheres[place] for place in places]
        return replace(self, records=records, wheres=wheres)

    def values(self, column: str) -> list[object]:
        """Return the values in a column."""
        return [record.get(column) for record in self.records]


@dataclass(frozen=True)
class InputColumns:
    """The columns of tables that are predicted from: those that are given, that the model learned from, or of usual
    names."""

    first: str | None = None
    """The one with images, texts or questions."""
    second: str | None = None
    """The one with the second of two texts, or contexts."""
    pairs: bool = False
    """Whether the model takes pairs of texts."""
    learned: NamedColumns = field(default_factory=dict)
    """The columns that the model learned from, by the settings that named them."""

    def first_among(self, columns: Sequence[str], *settings: str) -> str | None:
        """Return the column that is given as the first, else that by one of these settings, if it is there."""
        return self.first or self._learned_among(columns, settings)

    def second_among(self, columns: Sequence[str], *settings: str) -> str | None:
        """Return the column that is given as the second, else that by one of these settings, if it is there."""
        return self.second or self._learned_among(columns, settings)

    def _learned_among(self, columns: Sequence[str], settings: Sequence[str]) -> str | None:
        known = [self.learned.get(setting) for setting in settings]
        return next((name for name in known if isinstance(name, str) and name in columns), None)


@dataclass(frozen=True)
class NamedInput:
    """An input as the model takes it, or the error that says why it can't be read; and what a person knows it by."""

    name: str
    value: Any


def read_each(given: Records, read: Callable[[Mapping[str, object], str], Row], left: LeftOutRows | None) -> list[Row]:
    """Return the row that each record is read as, by the record and its place; those that can't be read are put to
    those that are left out, where there is a list of them.

    Raises:
        DataError: records can't be read, and none may be left out; all are told.
    """
    rows, faults = list[Row](), list[str]()
    for record, where in zip(given.records, given.wheres, strict=True):
        try:
            rows.append(read(record, where))
        except DataError as error:
            if left is None:
                faults += error.faults
            else:
                left.append((where, " ".join(error.faults)))
    raise_first(faults)
    return rows


class Reader(ABC):
    """Reads the inputs of one kind: as rows to learn from, and as inputs to predict.

    `inputs` and `one` are the words for many and one, `usual_columns` those by which a table of such rows is known,
    `usual_task` the task that they are usually for, and `python_rows` how they look in Python.
    """

    inputs: ClassVar[str]
    one: ClassVar[str]
    modality: ClassVar[Literal["image", "text"]]
    usual_columns: ClassVar[Sequence[str]]
    usual_task: ClassVar[str]
    python_rows: ClassVar[str]

    own_settings: ClassVar[frozenset[str]] = frozenset()
    """Settings of data that not all readers have, and this one has."""
    decodes: ClassVar[bool] = False
    """Whether inputs are decoded when they are needed, and may turn out to be unsound then."""
    takes_masks: ClassVar[bool] = False
    """Whether each input has a mask."""
    from_folders: ClassVar[bool] = True
    """Whether a folder of files for each class holds such rows."""
    suffix: ClassVar[str]
    """The usual suffix of a file with one input; empty where inputs are no files."""
    describes_files: ClassVar[bool] = False
    """Whether a table beside files may say the label of each."""
    mask_folders: ClassVar[frozenset[str]] = frozenset()
    """Names of folders that hold what belongs to each input, and no input."""
    side_files: ClassVar[frozenset[str]] = frozenset()
    """Suffixes of what phones and editors keep beside an input."""
    own_tables: ClassVar[tuple[str, ...]] = ()
    """Suffixes of files that `table` reads, beside those of tables."""
    note_suffixes: ClassVar[frozenset[str]] = frozenset(
        {".md", ".rst", ".xml", ".html", ".htm", ".yaml", ".yml", ".ini", ".log", ".pdf", ".xmp", ".aae"}
    )
    """Suffixes of what people keep in a folder of inputs, and is none."""
    fields: ClassVar[tuple[str, ...]] = ()
    """The texts of one input by name, as a request has them; none where an input is a file."""

    # --- rows --------------------------------------------------------------------------------------------------------

    def table(self, path: Path, encoding: str | None) -> Table:
        """Return the records of a file with rows.

        Raises:
            DataError: it can't be read as such.
        """
        return read_table(path, encoding)

    def target_column(self, settings: DataSettings) -> tuple[str | None, str]:
        """Return the column with targets, if it is named, and the setting that names it."""
        return settings.label_column, "data.label_column"

    @abstractmethod
    def columns(self, given: Records, settings: DataSettings) -> list[str]:
        """Return the columns that are read.

        Raises:
            DataError: some are missing; all that are, at once.
        """

    @abstractmethod
    def rows(self, given: Records, settings: DataSettings, found: Found, left: LeftOutRows | None) -> list[Row]:
        """Return the rows of records, and note in `found` what people should know. With `left`, rows that can't be
        read are put there.

        Raises:
            DataError: values are not as they must be; lines are named.
        """

    def targets(
        self, values: Sequence[object], wheres: Sequence[str], column: str, settings: DataSettings, found: Found
    ) -> list[Target]:
        """Return the target in each cell of a column, and note in `found` what people should know.

        Raises:
            DataError: a cell holds something else; lines are named.
        """
        raise NotImplementedError

    def unfit_targets(
        self, values: Sequence[object], wheres: Sequence[str], column: str, settings: DataSettings
    ) -> dict[int, str]:
        """Return the cells of a column, by their place, whose rows may be left out for them, and why."""
        raise NotImplementedError

    @abstractmethod
    def record(self, value: object, where: str) -> Mapping[str, object]:
        """Return an example given from Python as a record.

        Raises:
            DataError: it is none.
        """

    def is_unlabelled(self, given: Records, settings: DataSettings) -> bool:
        """Return whether rows have no targets at all: no such column, or nothing in it; not where a column is named
        that is not there."""
        try:
            column = column_of(
                settings.label_column, given.usual_labels, given.columns, "data.label_column", given.source
            )
        except DataError:
            lowered = {name.lower() for name in given.columns}
            return settings.label_column is None and lowered.isdisjoint(given.usual_labels)
        return all(is_unlabelled(value) for value in given.values(column))

    def is_of_folder(self, suffixes: set[str]) -> bool:
        """Return whether files with these suffixes may hold such rows, one in each file."""
        del suffixes
        return self.from_folders

    def of_folder(self, folder: Path, settings: DataSettings, found: Found) -> bool:
        """Return whether a folder is laid out as such rows alone are: then they are in `found`, by split.

        Raises:
            DataError: it is, and something is missing; all of it is told.
        """
        del folder, settings, found
        return False

    def of_files(self, rows: list[Row], settings: DataSettings) -> list[Row]:
        """Return rows found as files with the contents that a model takes.

        Raises:
            DataError: files hold something else; all are named.
        """
        del settings
        return rows

    def of_dataset(
        self,
        dataset: datasets.Dataset,
        records: list[dict[str, object]],
        given: Records,
        settings: DataSettings,
        images: Sequence[str],
    ) -> Records:
        """Return the records of a `datasets.Dataset` with what reads its images, which lie in the columns `images`."""
        del dataset, settings, images
        return replace(given, records=records)

    def in_memory(self, given: Records) -> Records:
        """Return the records of objects in memory with what reads their contents."""
        return given

    def inspect(
        self, rows: list[Row], advance: Advance, settings: DataSettings | None = None, *, decode: bool = False
    ) -> Inspection:
        """Return the digest of every row, and which can't be read; images are decoded in full if `decode`."""
        del settings, decode
        digests = digest_rows(rows)
        advance(len(rows))
        return Inspection(digests, {})

    def compared_texts(self, row: Row) -> tuple[str, ...]:
        """Return the texts by which rows are found to be copies of each other."""
        return row.content.texts

    def inspects(self, *, decode: bool) -> str:
        """Return what `inspect` does, for a progress bar."""
        del decode
        return f"looking at the {self.inputs}"

    def require_alike(self, parts: Mapping[str, Sequence[Row]]) -> None:
        """Return if the rows of all splits are of one form.

        Raises:
            DataError: they are not.
        """

    def notes(self, pixels: PixelRange | None, settings: DataSettings) -> list[str]:
        """Return what people should know of how inputs are read."""
        del pixels, settings
        return []

    # --- inputs to predict -------------------------------------------------------------------------------------------

    def lines(self, lines: Iterable[str], columns: InputColumns) -> Iterator[NamedInput]:
        """Return an input for each line of standard input but empty ones."""
        yield from plain_lines([text for line in lines if (text := line.rstrip("\r\n"))], columns)

    def is_pattern(self, name: str) -> bool:
        """Return whether a name with `*` or `?` is meant for files."""
        del name
        return True

    @abstractmethod
    def alone(self, name: str, path: Path | None) -> NamedInput:
        """Return the input of a name that is no table, folder or pattern; `path` is its path, where it can be one.

        Raises:
            DataError: it is no input.
        """

    @abstractmethod
    def of_file(self, file: Path) -> NamedInput:
        """Return the input in a file of a folder."""

    @abstractmethod
    def of_table(self, path: Path, table: Table, columns: InputColumns, *, name: str) -> list[NamedInput]:
        """Return an input for each row of a table, which people know by `name`.

        Raises:
            DataError: it has no such columns, or no row is sound.
        """

    def is_beside(self, file: Path, *, is_table: bool) -> bool:
        """Return whether a file is, by its name, what people and cameras keep beside inputs."""
        return is_table or file.suffix.lower() in self.note_suffixes

    def from_fields(self, values: Mapping[str, str]) -> object:
        """Return the input of a request with `fields`."""
        return values[self.fields[0]]


def plain_lines(lines: Iterable[str], columns: InputColumns) -> Iterator[NamedInput]:
    """Yield an input for each line of standard input that is a text.

    Raises:
        DataError: a column is named, and lines have none.
    """
    named = {"--column": columns.first, "--pair-column": columns.second}
    raise_first(
        [
            must_be(option, "left out for lines of text (lines of JSON objects have columns)", f"'{value}'")
            for option, value in named.items()
            if value is not None
        ]
    )
    yield from (NamedInput(text, text) for text in lines)


def require_some_sound(rows: Iterable[NamedInput]) -> list[NamedInput]:
    """Return the rows of a table, those at fault among them, if some are sound.

    Raises:
        DataError: none is; with all faults, of which who asks for several inputs tells the first.
    """
    read = list(rows)
    faults = [fault for row in read if isinstance(row.value, DataError) for fault in row.value.faults]
    if faults and all(isinstance(row.value, DataError) for row in read):
        raise DataError(*faults)
    return read
