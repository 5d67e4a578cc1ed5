"""Splits less the examples that turned out to be unreadable when they were decoded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from hftransfer.data.settings import DataSettings
from hftransfer.data.splits import Skipped, Splits, check_skipped, require_examples


def without_test_faults(splits: Splits, faults: Mapping[int, str], settings: DataSettings) -> Splits:
    """Return the splits less the test images that could not be decoded, where nothing is trained.

    Raises:
        DataError: they are not to be skipped, or too many.
    """
    skipped = [Skipped("test", splits.test.rows[row].id, reason) for row, reason in sorted(faults.items())]
    check_skipped([*splits.skipped, *skipped], len(splits.skipped) + len(splits.test), settings)
    return replace(splits, test=splits.test.without(set(faults)), skipped=(*splits.skipped, *skipped))


def without_faults(splits: Splits, faults: Mapping[int, str], settings: DataSettings) -> Splits:
    """Return the splits less the rows, counted through all splits, that could not be decoded.

    Raises:
        DataError: they are not to be skipped, or too many, or leave too little.
    """
    parts, skipped, start = {}, list(splits.skipped), 0
    total = len(splits.skipped) + sum(splits.sizes().values())
    for name, split in splits.items():
        gone = {row - start for row in faults if start <= row < start + len(split)}
        skipped += [Skipped(name, split.rows[row].id, faults[start + row]) for row in sorted(gone)]
        parts[name] = split.without(gone)
        start += len(split)
    check_skipped(skipped, total, settings)
    rest = replace(
        splits,
        train=parts["train"],
        validation=parts["validation"],
        test=parts["test"],
        skipped=tuple(skipped),
    )
    require_examples(rest, settings)
    return rest
