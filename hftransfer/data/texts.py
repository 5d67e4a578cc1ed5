"""Texts and pairs of texts as inputs: read from tables, folders, data sets and Python."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from typing_extensions import override

from hftransfer.base.errors import DataError, must_be, nearest
from hftransfer.data.columns import LABEL_COLUMNS, column_of, in_lower_case, is_missing, once, passed_over
from hftransfer.data.label_sets import OF_LABELS, OfLabels
from hftransfer.data.pictures import IMAGE_SUFFIXES
from hftransfer.data.reading import (
    InputColumns,
    LeftOutRows,
    NamedInput,
    Reader,
    Records,
    plain_lines,
    require_some_sound,
)
from hftransfer.data.roles import Found
from hftransfer.data.rows import FileContent, Row, TextContent, read_row
from hftransfer.data.settings import DataSettings
from hftransfer.data.tables import STDIN, TABLE_SUFFIXES, Table, decoded_text, objects_in, raise_first

# A column with texts, and that of a second text which goes with it.
# They are those of GLUE (MRPC, RTE, STS-B, MNLI, QQP, QNLI) and of the data sets of SetFit.
_PAIRS = {
    "sentence1": "sentence2",
    "premise": "hypothesis",
    "question1": "question2",
    "text1": "text2",
    "question": "sentence",
    # As tokenizers, pipelines and data sets for cross-encoders call them.
    "text": "text_pair",
    "text_a": "text_b",
    "sentence_a": "sentence_b",
}
_SINGLES = ("text", "sentence", "review", "content", "comment", "tweet", "body", "title")
TEXT_COLUMNS = tuple(dict.fromkeys((*_SINGLES, *_PAIRS)))


@dataclass(frozen=True)
class TextColumns:
    """The columns with the texts, with the second texts (None where there are none) and with the labels."""

    text: str
    pair: str | None
    label: str

    @property
    def names(self) -> list[str]:
        """The names of the columns that are read."""
        return [column for column in (self.text, self.pair, self.label) if column is not None]

    def notes(self, columns: Sequence[str], settings: DataSettings, usual_labels: Sequence[str]) -> list[str]:
        """Return what people should know of columns that were passed over."""
        texts = passed_over(self.text, settings.text_column, _SINGLES, columns, "texts")
        return [*texts, *passed_over(self.label, settings.label_column, usual_labels, columns, "labels")]

    def rows(
        self, given: Records, settings: DataSettings, found: Found, left: LeftOutRows | None, reader: Reader
    ) -> list[Row]:
        """Return the rows of records; texts stay as they are (`NA`, `null`, empty). With `left`, rows that lack a text
        or a target, as the reader reads it, are put there with the reason.

        Raises:
            DataError: values are no texts or no targets; lines are named.
        """
        if left is not None:
            unfit = reader.unfit_targets(given.values(self.label), given.wheres, self.label, settings)
            given = given.only(
                [
                    place
                    for place, record in enumerate(given.records)
                    if not self._left_out(record, given.wheres[place], left, unfit.get(place))
                ]
            )
        labels = reader.targets(given.values(self.label), given.wheres, self.label, settings, found)
        faults, rows = [], []
        for record, where, label in zip(given.records, given.wheres, labels, strict=True):
            text, pair = record.get(self.text), record.get(self.pair) if self.pair else None
            if not isinstance(text, str):
                faults.append(_no_text(where, self.text, text))
            if self.pair and not isinstance(pair, str):
                faults.append(_no_text(where, self.pair, pair))
            rows.append(Row(where, TextContent(str(text), cast(str | None, pair)), label))
        raise_first(faults)
        return rows

    def _left_out(self, record: Mapping[str, object], where: str, left: LeftOutRows, unfit: str | None) -> bool:
        """Return whether a row lacks a text or its target, and was put to those that are left out."""
        for column in (self.text, self.pair):
            if column is not None and is_missing(record.get(column)):
                left.append((where, _no_text(where, column, None)))
                return True
        if unfit is not None:
            left.append((where, unfit))
        return unfit is not None


def text_columns(
    columns: Sequence[str], settings: DataSettings, source: object, label_columns: Sequence[str] = LABEL_COLUMNS
) -> TextColumns:
    """Return the columns that are read of those there are.

    Raises:
        DataError: a column is missing; all that are, at once.
    """
    found: dict[str, str] = {}
    faults: list[str] = []
    for named, usual, where in (
        (settings.text_column, _usual_columns(columns), "data.text_column"),
        (settings.label_column, label_columns, "data.label_column"),
    ):
        try:
            found[where] = column_of(named, usual, columns, where, source)
        except DataError as error:
            faults += error.faults
    pair, text = settings.text_pair_column, found.get("data.text_column")
    if pair is not None and pair not in columns:
        faults.append(must_be("data.text_pair_column", f"a column of {source}", f"'{pair}'", nearest(pair, columns)))
    elif pair is not None and pair == text:
        remedy = "Name both: data.text_column=… data.text_pair_column=…"
        faults.append(must_be("data.text_pair_column", "a different column from that of the text", f"'{pair}'", remedy))
    raise_first(faults)
    if pair is None and settings.text_column is None:
        pair = _partner(found["data.text_column"], columns)
    if pair is not None:
        once(pair, columns, source)
    return TextColumns(found["data.text_column"], pair, found["data.label_column"])


def text_column_of(named: str | None, columns: Sequence[str], where: str, source: object) -> str:
    """Return the column with texts: the one that is named, or one of the usual names.

    Raises:
        DataError: there is none.
    """
    return column_of(named, _usual_columns(columns), columns, where, source)


def pair_column_of(named: str | None, text: str, columns: Sequence[str], where: str, source: object) -> str:
    """Return the column with the second texts: the one that is named, or the one that goes with the first.

    Raises:
        DataError: there is none.
    """
    partner = _partner(text, columns)
    return column_of(named or partner, tuple(dict.fromkeys(_PAIRS.values())), columns, where, source)


def _usual_columns(columns: Sequence[str]) -> tuple[str, ...]:
    """Return the usual names of columns with texts, those of whole pairs first."""
    lowered = {column.lower() for column in columns}
    return (*(first for first, second in _PAIRS.items() if second in lowered), *TEXT_COLUMNS)


def _partner(text: str, columns: Sequence[str]) -> str | None:
    """Return the column that usually goes with one of texts, if it is there."""
    lowered = in_lower_case(columns)
    return lowered.get(_PAIRS.get(text.lower(), ""))


def _no_text(where: str, column: str, value: object) -> str:
    if is_missing(value):
        got = "nothing"
        remedy = "Leave the row out or write an empty text (pandas: read_csv(…, keep_default_na=False))."
    else:
        got = f"{str(value)[:60]} ({type(value).__name__})"
        remedy = "Write it as a text, in quotes."
    return must_be(f"{where}: column '{column}'", "a text", got, remedy)


OF_TEXTS = frozenset({"text_column", "text_pair_column", "max_tokens"})
"""Settings of texts."""


class Texts(OfLabels):
    """Texts, or pairs of them, with a label each."""

    inputs = "texts"
    one = "text"
    modality = "text"
    usual_columns = TEXT_COLUMNS
    usual_task = "text-classification"
    numbers_task = "text-regression"
    python_rows = "(text, label)"
    own_settings = OF_TEXTS | OF_LABELS
    suffix = ".txt"
    fields = ("text",)

    @override
    def columns(self, given: Records, settings: DataSettings) -> list[str]:
        return text_columns(given.columns, settings, given.source, given.usual_labels).names

    @override
    def rows(self, given: Records, settings: DataSettings, found: Found, left: LeftOutRows | None) -> list[Row]:
        read = text_columns(given.columns, settings, given.source, given.usual_labels)
        for note in read.notes(given.columns, settings, given.usual_labels):
            found.note(note)
        return read.rows(given, settings, found, left, self)

    def record(self, value: object, where: str) -> Mapping[str, object]:
        """Return (text, label), ((text, text), label), (text, text, label) or a dict as a record."""
        if isinstance(value, Mapping):
            return value
        if isinstance(value, tuple | list) and len(value) == 2:
            text, label = value
            if isinstance(text, tuple | list) and len(text) == 2:
                return {"sentence1": text[0], "sentence2": text[1], "label": label}
            return {"text": text, "label": label}
        if isinstance(value, tuple | list) and len(value) == 3:
            return {"sentence1": value[0], "sentence2": value[1], "label": value[2]}
        allowed = "a (text, label) pair, ((text, text), label) or a dict"
        raise DataError(must_be(where, allowed, type(value).__name__))

    @override
    def is_of_folder(self, suffixes: set[str]) -> bool:
        return ".txt" in suffixes

    @override
    def of_files(self, rows: list[Row], settings: DataSettings) -> list[Row]:
        images = any(Path(row.id).suffix.lower() in IMAGE_SUFFIXES for row in rows)
        remedy = "Images are for task image-classification." if images else ""
        faults: list[str] = []
        read = [_text_of_file(row, remedy, settings.encoding, faults) for row in rows]
        raise_first(faults)
        return read

    def require_alike(self, parts: Mapping[str, Sequence[Row]]) -> None:
        """Return if the texts of all splits are pairs, or of none."""
        forms = {name: len(rows[0].content.texts) == 2 for name, rows in parts.items() if rows}
        words = {True: "pairs of texts", False: "single texts"}
        other = [name for name, form in forms.items() if form is not forms["train"]]
        raise_first(
            [
                must_be(
                    f"the {name} split", f"made of {words[forms['train']]}, like the training split", words[forms[name]]
                )
                for name in other
            ]
        )

    # --- inputs to predict -------------------------------------------------------------------------------------------

    def is_pattern(self, name: str) -> bool:
        """Return whether a name with `*` or `?`, as questions have too, ends as files of texts do."""
        return name.endswith((".txt", *TABLE_SUFFIXES))

    @override
    def lines(self, lines: Iterable[str], columns: InputColumns) -> Iterator[NamedInput]:
        """Return a text for each line, empty ones but the last included, so that answers stay beside their lines; of
        JSON objects with a column of texts one for each of them, as of a table."""
        kept = [line.rstrip("\r\n").removeprefix("\ufeff") for line in lines]  # Windows marks the beginning
        while kept and not kept[-1].strip():
            kept.pop()
        if (table := objects_in(kept)) is not None:
            yield from self.of_table(Path(STDIN), table, columns, name=STDIN)
        else:
            yield from plain_lines(kept, columns)

    @override
    def alone(self, name: str, path: Path | None) -> NamedInput:
        if path is not None and path.suffix and path.is_file():
            return self.of_file(path)
        if len(name.split()) == 1 and Path(name).suffix.lower() in IMAGE_SUFFIXES:
            got = f"'{name[:200]}', which looks like the path of an image that does not exist"
            raise DataError(must_be("the input", "a text, a .txt file or a table", got, "This model takes texts."))
        return NamedInput(name, name)

    @override
    def of_file(self, file: Path) -> NamedInput:
        return NamedInput(str(file), _text_in(file))

    @override
    def of_table(self, path: Path, table: Table, columns: InputColumns, *, name: str) -> list[NamedInput]:
        named = columns.first_among(table.columns, "text_column")
        first, second = text_column_of(named, table.columns, "--column", path), None
        if columns.pairs:
            named = columns.second_among(table.columns, "text_pair_column")
            second = pair_column_of(named, first, table.columns, "--pair-column", path)
        return require_some_sound(self._of_cells(name, table, first, second))

    def _of_cells(self, name: str, table: Table, first: str, second: str | None) -> Iterator[NamedInput]:
        wanted = [first] if second is None else [first, second]
        for where, values in texts_in(name, table, wanted):
            if isinstance(values, DataError):
                yield NamedInput(where, values)
            else:
                yield NamedInput(values[0], values[0] if second is None else (values[0], values[1]))


TEXTS = Texts()


def texts_in(name: str, table: Table, wanted: Sequence[str]) -> Iterator[tuple[str, DataError | list[str]]]:
    """Yield the place of each row of a table with its texts in some columns, or the error where one is missing."""
    for record, number in zip(table.records, table.numbers, strict=True):
        where = f"{name}:{number}"
        values = [record.get(column) for column in wanted]
        absent = [column for column, value in zip(wanted, values, strict=True) if not isinstance(value, str)]
        if absent:
            got = "nothing" if is_missing(record.get(absent[0])) else repr(record.get(absent[0]))[:60]
            yield where, DataError(must_be(f"{where}: column '{absent[0]}'", "a text", got))
        else:
            yield where, [str(value) for value in values]


def _text_of_file(row: Row, remedy: str, encoding: str | None, faults: list[str]) -> Row:
    """Return the row with its file's text; why it has none is put to the faults."""
    text = ""
    try:
        if not row.id.lower().endswith(".txt"):
            raise DataError(must_be(row.id, "a .txt file, like the others in the folder", "another file", remedy))
        text, _ = decoded_text(read_row(row), row.id, encoding)
    except DataError as error:
        faults += error.faults
    return Row(row.id, TextContent(text), row.target, group=row.group)


def _text_in(file: Path) -> str | DataError:
    """Return the text in a .txt file, or why there is none."""
    if file.suffix.lower() != ".txt":
        is_image = file.suffix.lower() in IMAGE_SUFFIXES
        held = "images" if is_image else "something else, going by its name"
        remedy = "This model takes texts." if is_image else "Pass its lines on standard input: - < FILE."
        return DataError(must_be(f"the input '{file}'", "a text, a .txt file or a table", f"a file of {held}", remedy))
    try:
        return decoded_text(FileContent(file).read(), str(file))[0]
    except OSError as error:
        return DataError(must_be(str(file), "a readable file", error.strerror or str(error)))
    except DataError as error:
        return error
