"""Which class of a model each label of other data means."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from hftransfer.base.errors import DataError, RecipeError
from hftransfer.data.rows import FileContent, Row
from hftransfer.tasks.label_map import relabelled


def targets(labels: list[str], label_map: Any) -> list[object]:
    rows = [Row(str(place), FileContent(Path("x")), label) for place, label in enumerate(labels)]
    return [row.target for row in relabelled(rows, ("cat", "dog"), label_map)]


@pytest.mark.parametrize("label_map", ["0.0=dog,1.0=cat", {0.0: "dog", 1.0: "cat"}, "0=dog,1=cat"])
def test_whole_numbers_are_one_label_however_they_are_written(label_map: Any) -> None:
    assert targets(["0", "1", "0"], label_map) == ["dog", "cat", "dog"]


def test_a_label_that_is_written_so_stays_itself() -> None:
    assert targets(["1.0", "2"], {"1.0": "dog", "2": "cat"}) == ["dog", "cat"]
    with pytest.raises(RecipeError, match=r"given for every label of the data; got nothing for 2"):
        targets(["1", "2"], "1.0=dog")


def test_numbers_of_classes_without_a_map_are_told_how_they_could_be_meant() -> None:
    with pytest.raises(DataError, match=r"got 0, 1\. Say which is which: --label-map position, .* 0=cat,1=dog"):
        targets(["0", "1"], None)
    assert targets(["0", "cat"], None) == ["0", "cat"]  # told one by one
