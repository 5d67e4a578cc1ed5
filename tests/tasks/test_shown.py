"""Which examples a page shows."""

from __future__ import annotations

import pytest

from hftransfer.tasks.shown import both_ends


@pytest.mark.parametrize(
    ("count", "first", "last"),
    [(0, [], []), (1, [0], []), (5, [0, 1, 2], [4, 3]), (6, [0, 1, 2], [5, 4, 3]), (40, [0, 1, 2, 3], [39, 38, 37])],
)
def test_few_examples_are_shown_once(count: int, first: list[int], last: list[int]) -> None:
    assert both_ends(range(count), 4, 3) == (first, last)
