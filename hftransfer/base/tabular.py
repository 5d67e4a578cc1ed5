"""Tables as CSV that a program reads back and a spreadsheet opens without running anything in it."""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Iterable, Sequence

from hftransfer.base.errors import printable

_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?")
_FORMULA = ("=", "+", "-", "@", "\t", "\n")


def csv_text(columns: Sequence[str], rows: Iterable[Iterable[object]]) -> str:
    """Return a table as CSV, lines ended by a newline. A text that a spreadsheet would take for a formula begins with
    `'` (as OWASP's "CSV Injection" advises); control characters are written as escapes."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow([cell(value) for value in columns])
    writer.writerows([cell(value) for value in row] for row in rows)
    return buffer.getvalue()


def is_number(text: str) -> bool:
    """Return whether a text is a number as programs write it."""
    return _NUMBER.fullmatch(text) is not None


def cell(value: object) -> object:
    """Return the value as a cell of a table: a text shows, steers nothing, and is no formula; what is no number is an
    empty cell."""
    if not isinstance(value, str):
        return "" if isinstance(value, float) and math.isnan(value) else value
    shown = printable(value)
    return f"'{shown}" if shown.startswith(_FORMULA) and not is_number(shown) else shown
