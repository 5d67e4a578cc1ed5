"""Cross-validation: all rows of a source together, dealt to folds, and the splits of each fold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from hftransfer.base.errors import counted
from hftransfer.data.groups import folds_of
from hftransfer.data.roles import Found
from hftransfer.data.rows import Row
from hftransfer.data.settings import DataSettings
from hftransfer.data.splits import Split, Splits, held_out
from hftransfer.data.targets import TargetKind


def together(found: Mapping[str, list[Row]], settings: DataSettings, kind: TargetKind) -> Found:
    """Return all rows of a source as rows to train on; splits that were given are told to be taken together."""
    rows = [row for part in found.values() for row in part]
    whole = Found({"train": rows if settings.limit is None else kind.limited(rows, settings.limit)})
    if isinstance(found, Found):
        whole.notes, whole.left_out, whole.target_column = list(found.notes), list(found.left_out), found.target_column
    given = [f"{len(part):,} {name}" for name, part in found.items() if part and name != "all"]
    if len(given) > 1:
        whole.note(f"the given splits ({', '.join(given)}) are taken together: data.folds tests every example once")
    return whole


def undivided(settings: DataSettings) -> DataSettings:
    """Return the settings by which all rows are one training split."""
    return settings.model_copy(update={"test_fraction": 0.0, "validation_fraction": 0.0, "limit": None, "folds": None})


def in_folds(whole: Splits, settings: DataSettings, seed: int) -> Splits:
    """Return the same splits, all rows of which are training rows, with the fold of each, and what is to be known.

    Raises:
        DataError: there are fewer groups or rows than folds; a class can't be trained on and tested.
    """
    assert settings.folds is not None
    folds = folds_of(whole.train.rows, settings.folds, seed, whole.kind)
    sizes = np.bincount(folds, minlength=settings.folds)
    # Fewer groups of a class than folds may leave one without rows.
    how = f"{whole.kind.hold_out_words}, seed {seed}"
    if settings.group_column is not None:
        groups = len({row.group for row in whole.train.rows})
        how = f"{counted(groups, 'whole group')} of '{settings.group_column}', seed {seed}"
    notes = [
        f"{settings.folds} folds of {_spoken(sizes)} examples, each tested by a model of the others, {how}; of those "
        f"others {settings.validation_fraction:.0%} are for validation",
        *_in_several(whole.train, folds),
    ]
    return replace(whole, folds=tuple(folds), notes=(*whole.notes, *notes))


def splits_of_fold(whole: Splits, fold: int, settings: DataSettings, seed: int) -> Splits:
    """Return the splits by which a fold is tested: validation is held out of the others.

    Raises:
        DataError: nothing can be held out.
    """
    rows = whole.train.rows
    others = [rows[place] for place, own in enumerate(whole.folds) if own != fold]
    _, held = held_out(others, settings.validation_fraction, seed, "validation", whole.kind, settings)
    chosen = {id(row) for row in held}
    parts: dict[str, list[int]] = {"train": [], "validation": [], "test": []}
    for place, own in enumerate(whole.folds):
        name = "test" if own == fold else "validation" if id(rows[place]) in chosen else "train"
        parts[name].append(place)
    train, validation, test = (whole.train.only(places) for places in parts.values())
    return replace(whole, train=train, validation=validation, test=test, folds=(), notes=())


def joined(parts: Sequence[Split]) -> Split:
    """Return the examples of several splits, one after the other."""
    rows = [row for part in parts for row in part.rows]
    digests = [digest for part in parts for digest in part.digests]
    if all(isinstance(part.targets, np.ndarray) for part in parts):
        return Split(rows, np.concatenate([part.targets for part in parts]), digests)
    return Split(rows, [target for part in parts for target in part.targets], digests)


def _spoken(sizes: np.ndarray) -> str:
    least, most = int(sizes.min()), int(sizes.max())
    return f"{least:,}" if least == most else f"{least:,} to {most:,}"


def _in_several(whole: Split, folds: Sequence[int]) -> list[str]:
    """Return a note where the very same content is in several folds: scores are too good."""
    first: dict[bytes, int] = {}
    again = [
        place for place, digest in enumerate(whole.digests) if folds[first.setdefault(digest, place)] != folds[place]
    ]
    if not again:
        return []
    examples = f"{counted(len(again), 'example')} {'is' if len(again) == 1 else 'are'}"
    return [f"warning: {examples} in another fold too (such as {whole.rows[again[0]].id}): scores are too good"]
