"""Inputs in an order, the best first: as a table, as a sheet of pictures, and as a notebook shows them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TypeVar

from hftransfer.base.errors import OutputError, WriteError, must_be, printable, user_path
from hftransfer.base.html import Fragment
from hftransfer.base.tabular import csv_text
from hftransfer.predictors.gallery import thumbnail

_SHOWN, _ON_SHEET, _LONGEST = 24, 200, 300


@dataclass(frozen=True)
class RankedInput:
    """An input in an order."""

    input: str
    """What a person knows it by: a path, a text, the row of a table."""

    @property
    def caption(self) -> str:
        """The words under its picture."""
        return Path(self.input).name


Kind = TypeVar("Kind", bound=RankedInput)


class Ranked(list[Kind]):
    """Inputs in an order, the best first, and `faults`: why others can't be read; slices and pickles are plain
    lists."""

    def __init__(
        self,
        places: Iterable[Kind],
        values: Sequence[object],
        title: str,
        *,
        of_texts: bool,
        faults: Sequence[str] = (),
    ) -> None:
        super().__init__(places)
        self.faults = list(faults)
        self._values, self.title, self._of_texts = list(values), title, of_texts

    def __reduce__(self) -> tuple[type[list[Kind]], tuple[list[Kind]]]:
        return list, (list(self),)

    def plain(self) -> list[dict[str, object]]:
        """Return it as JSON has it."""
        return [asdict(one) for one in self]

    def csv(self) -> str:
        """Return it as a table, one row an input."""
        rows = self.plain()
        return csv_text(list(rows[0]) if rows else ["input"], [row.values() for row in rows])

    def lines(self) -> list[str]:
        """Return it in lines for a terminal, below a heading where there are several columns."""
        rows = self.plain()
        if not rows:
            return []
        names = [*(name for name in rows[0] if name != "input"), "input"]
        cells = [[_cell(row[name]) for name in names] for row in rows]
        shown = [names, *cells] if len(names) > 2 else cells
        widths = [max(len(row[place]) for row in shown) for place in range(len(names) - 1)]
        return [
            "  ".join([*(text.ljust(width) for text, width in zip(row, widths, strict=False)), row[-1]])
            for row in shown
        ]

    def save(self, folder: str | os.PathLike[str], name: str) -> list[Path]:
        """Return the table and the sheet, `<name>.csv` and `<name>.html`, written into a folder.

        Raises:
            OutputError: they can't be written.
        """
        path = user_path(os.fspath(folder), "the output folder", OutputError)
        files = [path / f"{name}.csv", path / f"{name}.html"]
        try:
            path.mkdir(parents=True, exist_ok=True)
            for file, text in zip(files, (self.csv(), self._fragment(_ON_SHEET).page()), strict=True):
                file.write_text(text, encoding="utf-8", errors="backslashreplace")
        except OSError as error:
            raise WriteError(must_be(f"the folder {path}", "writable", error.strerror or str(error))) from error
        return files

    def _repr_html_(self) -> str:
        return self._fragment(_SHOWN).html()

    def _fragment(self, most: int) -> Fragment:
        more = [f"{len(self) - most:,} more are in the table"] if len(self) > most else []
        more += [f"not read: {fault}" for fault in self.faults[:5]]
        if not self._of_texts:
            both = zip(self[:most], self._values, strict=False)
            return Fragment(self.title, tiles=[thumbnail(value, one.caption) for one, value in both], notes=more)
        rows = [{**row, "input": str(row["input"])[:_LONGEST]} for row in self.plain()[:most]]
        cells = [[_cell(value) for value in row.values()] for row in rows]
        return Fragment(self.title, table=[list(rows[0]), *cells] if rows else [], notes=more)


def _cell(value: object) -> str:
    return f"{value:.4f}" if isinstance(value, float) else printable(str(value))
