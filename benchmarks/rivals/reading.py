"""What sentences are read with, in whatever environment."""

from __future__ import annotations

import csv
from pathlib import Path


def read_column(file: str | Path, name: str) -> list[str]:
    """A column of a CSV file."""
    with Path(file).open(newline="", encoding="utf-8") as stream:
        return [row[name] for row in csv.DictReader(stream)]


def read_split(folder: str, split: str) -> tuple[list[str], list[str]]:
    """The texts and labels of a split."""
    file = Path(folder) / f"{split}.csv"
    return read_column(file, "text"), read_column(file, "label")
