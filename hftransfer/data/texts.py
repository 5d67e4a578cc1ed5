"""Rows of texts, from the records of a table, a data set or Python."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hftransfer.data.columns import LABEL_COLUMNS, column_of, is_missing, is_unlabelled, label_names, once, passed_over
from hftransfer.data.rows import Row, TextContent
from hftransfer.data.settings import DataSettings
from hftransfer.data.tables import raise_first
from hftransfer.errors import DataError, must_be, nearest

# A column with texts, and that of a second text which goes with it.
_PAIRS = {
    "sentence1": "sentence2",
    "premise": "hypothesis",
    "question1": "question2",
    "text1": "text2",
    "question": "sentence",
}
_SINGLES = ("text", "sentence", "review", "content", "comment", "tweet", "body", "title")
TEXT_COLUMNS = (*_SINGLES, *_PAIRS)


@dataclass(frozen=True)
class TextReader:
    """The columns with the texts, with the second texts (None where there are none) and with the labels."""

    text: str
    pair: str | None
    label: str

    @property
    def columns(self) -> list[str]:
        """The names of the columns that are read."""
        return [column for column in (self.text, self.pair, self.label) if column is not None]

    def notes(self, columns: Sequence[str], settings: DataSettings, usual_labels: Sequence[str]) -> list[str]:
        """What people should know of columns that were passed over."""
        texts = passed_over(self.text, settings.text_column, _SINGLES, columns, "texts")
        return [*texts, *passed_over(self.label, settings.label_column, usual_labels, columns, "labels")]

    def rows(
        self, records: Sequence[Mapping[str, Any]], wheres: Sequence[str], left: list[tuple[str, str]] | None = None
    ) -> list[Row]:
        """The rows of records; texts stay as they are (`NA`, `null`, empty). With `left`, rows that lack a text or a
        label are put there with the reason.

        Raises:
            DataError: values are no texts or no labels; lines are named.
        """
        if left is not None:
            kept = [place for place in range(len(wheres)) if not self._left_out(records[place], wheres[place], left)]
            records, wheres = [records[place] for place in kept], [wheres[place] for place in kept]
        labels = label_names([record.get(self.label) for record in records], wheres, self.label)
        faults, rows = [], []
        for record, where, label in zip(records, wheres, labels, strict=True):
            text, pair = record.get(self.text), record.get(self.pair) if self.pair else None
            if not isinstance(text, str):
                faults.append(_no_text(where, self.text, text))
            if self.pair and not isinstance(pair, str):
                faults.append(_no_text(where, self.pair, pair))
            rows.append(Row(where, TextContent(str(text), pair), label))
        raise_first(faults)
        return rows

    def _left_out(self, record: Mapping[str, Any], where: str, left: list[tuple[str, str]]) -> bool:
        """Whether a row lacks a text or its label, and was put to those that are left out."""
        for column in (self.text, self.pair):
            if column is not None and is_missing(record.get(column)):
                left.append((where, _no_text(where, column, None)))
                return True
        if is_unlabelled(record.get(self.label)):
            left.append((where, must_be(f"{where}: column '{self.label}'", "a label", "nothing")))
            return True
        return False


def text_reader(
    columns: Sequence[str], settings: DataSettings, source: object, label_columns: Sequence[str] = LABEL_COLUMNS
) -> TextReader:
    """The reader of records with these columns.

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
        faults.append(must_be("data.text_pair_column", "another column than that of the text", f"'{pair}'", remedy))
    raise_first(faults)
    if pair is None and settings.text_column is None:
        pair = _partner(found["data.text_column"], columns)
    if pair is not None:
        once(pair, columns, source)
    return TextReader(found["data.text_column"], pair, found["data.label_column"])


def text_column_of(named: str | None, columns: Sequence[str], where: str, source: object) -> str:
    """The column with texts: the one that is named, or one of the usual names.

    Raises:
        DataError: there is none.
    """
    return column_of(named, _usual_columns(columns), columns, where, source)


def pair_column_of(named: str | None, text: str, columns: Sequence[str], where: str, source: object) -> str:
    """The column with the second texts: the one that is named, or the one that goes with the first.

    Raises:
        DataError: there is none.
    """
    partner = _partner(text, columns)
    return column_of(named or partner, tuple(dict.fromkeys(_PAIRS.values())), columns, where, source)


def _usual_columns(columns: Sequence[str]) -> tuple[str, ...]:
    """The usual names of columns with texts, those of whole pairs first."""
    lowered = {column.lower() for column in columns}
    return (*(first for first, second in _PAIRS.items() if second in lowered), *TEXT_COLUMNS)


def _partner(text: str, columns: Sequence[str]) -> str | None:
    """The column that usually goes with one of texts, if it is there."""
    lowered = {column.lower(): column for column in reversed(columns)}
    return lowered.get(_PAIRS.get(text.lower(), ""))


def _no_text(where: str, column: str, value: Any) -> str:
    if is_missing(value):
        got = "nothing"
        remedy = "Leave the row out or write an empty text (pandas: read_csv(…, keep_default_na=False))."
    else:
        got = f"{str(value)[:60]} ({type(value).__name__})"
        remedy = "Write it as a text, in quotes."
    return must_be(f"{where}: column '{column}'", "a text", got, remedy)


def text_record(record: Any, where: str) -> Mapping[str, Any]:
    """One example given from Python as a record: (text, label), ((text, text), label), (text, text, label) or a dict.

    Raises:
        DataError: it is none of these.
    """
    if isinstance(record, Mapping):
        return record
    if isinstance(record, tuple | list) and len(record) == 2:
        text, label = record
        if isinstance(text, tuple | list) and len(text) == 2:
            return {"sentence1": text[0], "sentence2": text[1], "label": label}
        return {"text": text, "label": label}
    if isinstance(record, tuple | list) and len(record) == 3:
        return {"sentence1": record[0], "sentence2": record[1], "label": record[2]}
    allowed = "a (text, label) pair, ((text, text), label) or a dict"
    raise DataError(must_be(where, allowed, type(record).__name__))
