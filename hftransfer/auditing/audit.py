"""What an audit gives: its findings, as a notebook shows them and as they are saved."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from hftransfer.auditing.findings import KINDS, TITLES, Findings
from hftransfer.auditing.sheets import sheet_of, write_audit
from hftransfer.base.cache import new_folder
from hftransfer.base.errors import OutputError, counted, must_be, user_path
from hftransfer.base.html import Fragment, Thumbnail, small_uri

_ROWS = 12


@dataclass(frozen=True, repr=False)
class Audit(Findings):
    """The faults of a data set: findings kind by kind, the surest first, and notes."""

    def __repr__(self) -> str:
        found = ", ".join(f"{number} {TITLES[kind]}" for kind, number in self.counts().items())
        return f"Audit({counted(self.rows, 'row')}: {found or 'no fault found in single rows'})"

    def save(self, folder: str | os.PathLike[str], title: str = "data") -> Path:
        """Return the folder, with `audit.csv`, `audit.html` and sheets of pictures, as `hftransfer audit` writes it.

        Raises:
            OutputError: the folder holds other files, or can't be written.
        """
        path = user_path(os.fspath(folder), "the output folder", OutputError)
        if path.exists() and (not path.is_dir() or any(path.iterdir())):
            raise OutputError(must_be(f"the output folder {path}", "new or empty", "a folder with files"))
        with new_folder(path) as draft:
            write_audit(draft, self, title)
        return path

    def _repr_html_(self) -> str:
        rows = [[TITLES[one.kind], one.split, one.id, one.label, one.reason] for one in self.findings[:_ROWS]]
        table = [["what", "split", "row", "label", "reason"], *rows] if rows else []
        more = len(self.findings) - len(rows)
        notes = [*([f"{more:,} more: audit.findings, audit.save(folder)"] if more else []), *self.notes]
        drawn = [picture for kind in KINDS if (picture := sheet_of(self, kind)) is not None]
        tiles = [Thumbnail(small_uri(picture), wide=True) for picture in drawn]
        return Fragment(repr(self)[len("Audit(") : -1], table=table, tiles=tiles, notes=notes).html()

    def _repr_png_(self) -> bytes | None:
        """Return the sheet of the first kind that has pictures."""
        return next((picture for kind in KINDS if (picture := sheet_of(self, kind)) is not None), None)
