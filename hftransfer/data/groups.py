"""Rows of one group (a patient, a site, a video) kept together, and rows dealt to parts that are as alike as that
allows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hftransfer.base.errors import DataError, counted, must_be, some
from hftransfer.data.rows import Row
from hftransfer.data.tables import raise_first
from hftransfer.data.targets import TargetKind, divided

_DRAWS = 16
"""Groups are dealt so often, and the most even deal is taken: the first is often poor where they are few."""
_MOST_DRAWN_AGAIN = 4_000
_TO_BE_BOTH = "in at least {}, to be both trained on and tested"
_ADD = "Add examples of it, or remove it."


def group_of(row: Row) -> object:
    """Return what names the rows that are never parted from a row; None where it stands for itself."""
    return row.group if row.group is not None else getattr(row.content, "group", None)


def deal(
    counts: np.ndarray,
    sizes: np.ndarray,
    shares: Sequence[float],
    seed: Sequence[int],
    pinned: np.ndarray | None = None,
) -> np.ndarray:
    """Return the part (G,) of each group, so that parts have about these shares of the rows of every stratum.

    `counts` (G, S) are the rows of each group in each stratum, `sizes` (G,) those in all; `pinned` groups (G,) go to
    part 0. The largest and rarest come first, each to the part in which the squared distance from what it should hold,
    over that, grows least. A rest that lacks a stratum, and then a part that does, are avoided where some draw of the
    order avoids them.
    """
    columns = np.column_stack([counts, sizes]).astype(np.float64)  # (G, S + 1), the last: all rows
    columns = columns[:, columns.sum(axis=0) > 0]
    totals = columns.sum(axis=0)
    wanted = np.outer(shares, totals)  # (P, S + 1)
    weight = (columns / totals).sum(axis=1)  # (G,)
    draws = _DRAWS if len(columns) <= _MOST_DRAWN_AGAIN and sizes.max() > 1 else 1
    best, found = None, np.zeros(len(columns), dtype=np.int64)
    for draw in range(draws):
        random = np.random.default_rng([*seed, draw])
        # Later draws blur the order, so that groups of like size change places.
        blur = weight * (1 + random.random(len(weight)) * draw / draws)
        order = np.lexsort((random.random(len(weight)), -blur))
        parts, held = _dealt(columns, wanted, order, pinned)
        lacking = (held == totals).sum(), (held == 0).sum(), float(((held - wanted) ** 2 / wanted).sum())
        if best is None or lacking < best:
            best, found = lacking, parts
    return found


def _dealt(
    columns: np.ndarray, wanted: np.ndarray, order: np.ndarray, pinned: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray]:
    """Return the part (G,) of each group, and what each part holds (P, S + 1), for one order of the groups."""
    held, parts = np.zeros_like(wanted), np.zeros(len(columns), dtype=np.int64)
    for group in order.tolist():
        own = np.flatnonzero(columns[group])
        more = columns[group, own]
        growth = (more * (more + 2 * held[:, own]) / wanted[:, own] - 2 * more).sum(axis=1)  # (P,)
        part = 0 if pinned is not None and pinned[group] else int(growth.argmin())
        parts[group] = part
        held[part, own] += more
    return parts, held


def require_groups(rows: Sequence[Row], parts: Sequence[str], column: str) -> None:
    """Return if there are as many groups as parts.

    Raises:
        DataError: there are fewer.
    """
    names = sorted({str(row.group) for row in rows})
    if len(names) < len(parts):
        allowed = f"a column of at least {len(parts)} groups, one each for {', '.join(parts)}"
        remedy = "Add groups, give splits of your own, or leave data.group_column out."
        raise DataError(must_be(f"the column '{column}' (data.group_column)", allowed, some(names), remedy))


def hold_out_groups(
    rows: list[Row], fraction: float, seed: int, name: str, kind: TargetKind
) -> tuple[list[Row], list[Row]]:
    """Return two parts of the rows that share no group, the second with about this fraction of them for the split
    `name`, strata as even as the groups allow; order is kept.

    Raises:
        DataError: all rows of a class to be tested lie in one group.
    """
    members = _members(rows)
    strata = kind.strata(rows)  # (N, S)
    counts = np.array([strata[own].sum(axis=0) for own in members])  # (G, S)
    alone = np.asarray(np.count_nonzero(counts, axis=0) == 1)  # (S,): the strata that lie in one group
    if name == "test":
        _require_not_alone(rows, members, counts, kind)
    # What lies in one group alone is learned: else it would be tested, and never trained on.
    pinned = np.asarray((counts[:, alone] > 0).any(axis=1))  # (G,)
    sizes = np.array([len(own) for own in members])
    parts = deal(counts, sizes, (1 - fraction, fraction), (seed, *name.encode()), pinned)
    if not parts.any():
        free = [place for place in range(len(members)) if not pinned[place]]
        if not free:
            allowed = f"enough to hold one out for {name} and keep every class in the others"
            remedy = f"Add groups, or give a {name} split of your own."
            raise DataError(must_be("the groups of the rows (data.group_column)", allowed, f"{len(members)}", remedy))
        parts[min(free, key=lambda place: sizes[place])] = 1
    # Where they can, two groups stay after the test: one to train on, one for validation.
    most = max(1, len(members) - (2 if name == "test" else 1))
    while parts.sum() > most:
        parts[max(np.flatnonzero(parts).tolist(), key=lambda place: sizes[place])] = 0
    return divided(rows, {place for group in np.flatnonzero(parts).tolist() for place in members[group]})


def folds_of(rows: Sequence[Row], count: int, seed: int, kind: TargetKind) -> list[int]:
    """Return the fold of each row, from 0: those of one group in one, strata as even as that allows.

    Raises:
        DataError: there are fewer groups or rows than folds; a class can't be in training and test.
    """
    members = _members(rows)
    if len(members) < count:
        what = "groups" if any(row.group is not None for row in rows) else "independent rows"
        remedy = "Choose fewer folds." if len(members) > 1 else ""
        raise DataError(must_be("data.folds", f"at most {len(members)}, the number of {what}", count, remedy))
    if kind.is_one_class and len(members) == len(rows):
        return _folds_of_classes(rows, count, seed, kind)
    strata = kind.strata(rows)
    counts = np.array([strata[own].sum(axis=0) for own in members])  # (G, S)
    _require_not_alone(rows, members, counts, kind)
    sizes = np.array([len(own) for own in members])
    parts = deal(counts, sizes, [1 / count] * count, (seed, *b"folds"))
    folds = np.zeros(len(rows), dtype=np.int64)
    for group, own in enumerate(members):
        folds[own] = parts[group]
    return [int(fold) for fold in folds]


def _folds_of_classes(rows: Sequence[Row], count: int, seed: int, kind: TargetKind) -> list[int]:
    """Return the fold of each row, the rows of each class shuffled and dealt in turn."""
    names = kind.class_names(rows)
    ids = np.asarray(kind.encode(rows, names))  # (N,)
    sizes = np.bincount(ids, minlength=len(names))
    if sizes.min() < 2:
        few = names[int(sizes.argmin())]
        raise DataError(must_be(f"the class '{few}'", _TO_BE_BOTH.format("two rows"), "one row", _ADD))
    random = np.random.default_rng([seed, *b"folds"])
    order = np.lexsort((random.random(len(rows)), ids))
    folds = np.empty(len(rows), dtype=np.int64)
    # On and on over the classes: no fold has more than one row more than another, of a class or in all.
    folds[order] = np.arange(len(rows)) % count
    return [int(fold) for fold in folds]


def _require_not_alone(rows: Sequence[Row], members: Sequence[list[int]], counts: np.ndarray, kind: TargetKind) -> None:
    """Return if every class lies in two groups at least.

    Raises:
        DataError: some lie in one.
    """
    if not kind.is_one_class:
        return
    faults = []
    for place, label in enumerate(kind.class_names(rows)):
        groups = np.flatnonzero(counts[:, place]).tolist()
        if len(groups) > 1:
            continue
        name, count = group_of(rows[members[groups[0]][0]]), int(counts[groups[0], place])
        got = "one row" if name is None else f"group '{name}' alone ({counted(count, 'row')})"
        faults.append(must_be(f"the class '{label}'", _TO_BE_BOTH.format("two groups"), got, _ADD))
    raise_first(faults)


def _members(rows: Sequence[Row]) -> list[list[int]]:
    """Return the places of the rows of each group, groups by name; a row without one stands for itself."""
    named: dict[str, list[int]] = {}
    single = []
    for place, row in enumerate(rows):
        key = group_of(row)
        if key is None:
            single.append([place])
        else:
            named.setdefault(str(key), []).append(place)
    # Sorted, so that the deal rests on the groups alone and not on the order of their files.
    return [*(named[key] for key in sorted(named)), *single]
