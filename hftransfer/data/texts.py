"""Rows of texts, from the records of a table, a data set or Python."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hftransfer.data.columns import LABEL_COLUMNS, column_of, label_names
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
TEXT_COLUMNS = (*_PAIRS, "text", "sentence", "review", "content", "comment", "tweet", "title", "body")


def text_rows(
    records: Sequence[Mapping[str, Any]],
    wheres: Sequence[str],
    columns: Sequence[str],
    settings: DataSettings,
    source: object,
) -> list[Row]:
    """The rows of records with a text, or a pair of texts, and a label; texts stay as they are (`NA`, `null`, empty).

    Raises:
        DataError: columns are missing, or values are no texts or no labels; lines are named.
    """
    text, pair, label = _columns(settings, columns, source)
    labels = label_names([record.get(label) for record in records], wheres, label)
    faults, rows = [], []
    for record, where, name in zip(records, wheres, labels, strict=True):
        given = {column: record.get(column) for column in (text, pair) if column is not None}
        wrong = {column: value for column, value in given.items() if not isinstance(value, str)}
        for column, value in wrong.items():
            shown = "nothing" if value is None or value != value else f"{str(value)[:60]} ({type(value).__name__})"
            faults.append(must_be(f"{where}: column '{column}'", "a text", shown, "Write it as a text, in quotes."))
        if not wrong:
            first, second = record[text], None if pair is None else record[pair]
            rows.append(Row(where, TextContent(first, second), name))
    raise_first(faults)
    return rows


def _columns(settings: DataSettings, columns: Sequence[str], source: object) -> tuple[str, str | None, str]:
    """The columns of the text, of its pair (None where there is none) and of the label; all faults at once."""
    found: dict[str, str] = {}
    faults: list[str] = []
    for named, usual, where in (
        (settings.text_column, TEXT_COLUMNS, "data.text_column"),
        (settings.label_column, LABEL_COLUMNS, "data.label_column"),
    ):
        try:
            found[where] = column_of(named, usual, columns, where, source)
        except DataError as error:
            faults += error.faults
    pair = settings.text_pair_column
    if pair is not None and pair not in columns:
        faults.append(must_be("data.text_pair_column", f"a column of {source}", f"'{pair}'", nearest(pair, columns)))
    raise_first(faults)
    text = found["data.text_column"]
    if pair is None and settings.text_column is None:
        partner = _PAIRS.get(text.lower())
        pair = next((column for column in columns if column.lower() == partner), None)
    return text, pair, found["data.label_column"]


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
