"""Labels as vectors of 0 and 1, as torch's loss of several labels takes them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hftransfer.base.progress import Progress
from hftransfer.data.settings import DataSettings
from hftransfer.data.sources import find_rows, rows_from_python
from hftransfer.data.texts import TEXTS

VECTORS = [[0, 1, 0, 0, 0], [1, 1, 0, 0, 0], [0, 0, 0, 0, 1], [0, 0, 0, 0, 0]]
NAMES = [("1",), ("0", "1"), ("4",), ()]


def _targets(labels: list[Any]) -> list[object]:
    given = [(f"a {place}", own) for place, own in enumerate(labels)]
    rows = rows_from_python(given, DataSettings(source="memory"), TEXTS)
    return [row.target for part in rows.values() for row in part]


@pytest.mark.parametrize("kind", [int, float, bool, np.asarray])
def test_vectors_of_0_and_1_say_which_labels_hold(kind: Any) -> None:
    vectors = [kind(own) if kind is np.asarray else [kind(flag) for flag in own] for own in VECTORS]
    assert _targets(vectors) == NAMES


def test_tables_with_vectors_say_so(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    rows = [{"text": f"a {place}", "labels": [float(flag) for flag in own]} for place, own in enumerate(VECTORS)]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    found = find_rows(DataSettings(source=str(file)), Progress(None), TEXTS)
    assert [row.target for part in found.values() for row in part] == NAMES
    assert any("lists of 0 and 1, one for each of 5 labels" in note for note in found.notes)


@pytest.mark.parametrize(
    ("labels", "names"),
    [
        ([[0, 3], [1], []], [("0", "3"), ("1",), ()]),
        ([[0], [1], [0, 1]], [("0",), ("1",), ("0", "1")]),
        ([[0, 1], [0, 1]], [("0", "1"), ("0", "1")]),
        ([["0", "1"], ["1", "2"]], [("0", "1"), ("1", "2")]),
        ([[0, 1], [1, 0], [1, 1]], [("1",), ("0",), ("0", "1")]),
    ],
)
def test_numbers_of_labels_are_names(labels: list[Any], names: list[object]) -> None:
    assert _targets(labels) == names
