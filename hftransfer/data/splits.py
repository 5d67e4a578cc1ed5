"""Training, validation and test examples with encoded targets: found as given, or held out by a seeded split."""

from __future__ import annotations

import hashlib
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np

from hftransfer.base.errors import DataError, counted, must_be, some
from hftransfer.base.html import Fragment
from hftransfer.base.progress import Progress
from hftransfer.data.groups import hold_out_groups, require_groups
from hftransfer.data.pictures import IMAGES
from hftransfer.data.reading import Reader
from hftransfer.data.roles import Found
from hftransfer.data.rows import Inspection, Row
from hftransfer.data.settings import SKIPS, DataSettings
from hftransfer.data.tables import raise_first
from hftransfer.data.targets import CLASSES, TargetKind, Targets, TooFewRows, scaled_digest

if TYPE_CHECKING:
    from hftransfer.data.depth import PixelRange

NAMES = ("train", "validation", "test")


def shown_split(names: Container[str]) -> str:
    """Return the split whose scores are shown first: the test split, where there is one, else validation."""
    return "test" if "test" in names else "validation"


_SHOWN_CLASSES, _SHOWN_ROWS = 20, 8
MOST_SKIPPED = 0.05  # share of a data set that `on_error: skip` may leave out


@dataclass(frozen=True)
class Split:
    """The examples of one split, their encoded targets and the digests of their content."""

    rows: list[Row]
    targets: Targets
    digests: list[bytes]

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def class_ids(self) -> np.ndarray:
        """The targets (N,) of int64, where they are classes."""
        assert isinstance(self.targets, np.ndarray)
        return self.targets

    def without(self, gone: set[int]) -> Split:
        """Return the same split less the examples at the positions `gone`."""
        return self.only([index for index in range(len(self)) if index not in gone])

    def only(self, kept: Sequence[int]) -> Split:
        """Return the same split with the examples at these positions alone."""
        targets: Targets
        if isinstance(self.targets, np.ndarray):
            targets = self.targets[np.asarray(kept, dtype=np.int64)]
        else:
            targets = [self.targets[place] for place in kept]
        return Split([self.rows[place] for place in kept], targets, [self.digests[place] for place in kept])


@dataclass(frozen=True)
class Skipped:
    """An example that was left out and why."""

    split: str
    id: str
    reason: str


@dataclass(frozen=True, repr=False)
class Splits:
    """All examples of a data set. Class ids follow `class_names`, taken from the training split alone; where targets
    are no classes there are no names."""

    train: Split
    validation: Split
    test: Split
    class_names: tuple[str, ...]
    skipped: tuple[Skipped, ...] = ()
    notes: tuple[str, ...] = ()
    kind: TargetKind = CLASSES
    folds: tuple[int, ...] = ()
    """Of a cross-validation: the fold, from 0, of each training row; all rows are."""

    @property
    def pixels(self) -> PixelRange | None:
        """The range of values of deep greyscale images, where there are any."""
        return next((row.pixels for _, split in self.items() for row in split.rows), None)

    @property
    def has_pairs(self) -> bool:
        """Return whether each row has two texts."""
        return any(len(row.content.texts) == 2 for row in self.train.rows[:1])

    def __repr__(self) -> str:
        sizes = ", ".join(f"{number:,} {name}" for name, number in self.sizes().items())
        names = self.class_names
        classes = f"; {counted(len(names), 'class')}: {some(names, 4)}" if names else ""
        return f"Splits({sizes}{classes})"

    def _repr_html_(self) -> str:
        counts = self.counts() if self.class_names else {}
        table = [["class" if counts else "", *self.sizes()]]
        for place, name in list(enumerate(self.class_names))[:_SHOWN_CLASSES]:
            table.append([name, *(f"{part[place]:,}" for part in counts.values())])
        table.append(["all", *(f"{number:,}" for number in self.sizes().values())])
        from hftransfer.data.inspection import tile_of

        # Evenly from all rows: in many data sets those of a class lie together.
        shown = self.train.rows[:: max(1, len(self.train) // _SHOWN_ROWS)][:_SHOWN_ROWS]
        tiles = [tile for row in shown if (tile := tile_of(row)) is not None]
        return Fragment(repr(self)[len("Splits(") : -1], table=table, tiles=tiles, notes=self.notes).html()

    def items(self) -> list[tuple[str, Split]]:
        """Return the splits with their names."""
        return [(name, getattr(self, name)) for name in NAMES]

    def sizes(self) -> dict[str, int]:
        """Return how many examples each split has."""
        return {name: len(split) for name, split in self.items()}

    def counts(self) -> dict[str, list[int]]:
        """Return how many examples of each class each split has."""
        return {name: self.kind.counts(split.targets, self.class_names) for name, split in self.items()}

    def fingerprint(self) -> str:
        """Return a SHA-256 over the content, target and split of every example."""
        digest = hashlib.sha256("\n".join(self.class_names).encode())
        for name, split in self.items():
            targets = split.targets.tolist() if isinstance(split.targets, np.ndarray) else split.targets
            marks = [self.kind.mark(target) for target in targets]
            # Sorted: the same examples in another order are the same data.
            for content, mark in sorted(zip(split.digests, marks, strict=True)):
                digest.update(self.kind.entry(name, content, mark))
        for content, fold in sorted(zip(self.train.digests, self.folds, strict=False)):
            digest.update(b"%d" % fold + content)
        return digest.hexdigest()


def split_rows(
    found: Mapping[str, list[Row]], settings: DataSettings, seed: int, kind: TargetKind = CLASSES
) -> tuple[dict[str, list[Row]], list[str]]:
    """Return the rows of train, validation and test, held out of the training rows where a split was not given, and a
    note on each split made so.

    Raises:
        DataError: there is nothing to train on, or a class has too few examples to be held out.
    """
    rows = {name: list(found.get(name, [])) for name in NAMES}
    rows["train"] = rows["train"] or list(found.get("all", []))
    if not rows["train"]:
        got = "no rows" if "all" in found or "train" in found else some(found) or "nothing"
        remedy = "" if "all" in found or "train" in found else "Set data.train_split."
        raise DataError(must_be("the data", "a set with a train split", got, remedy))
    kind.require(rows["train"])
    fractions = {"test": settings.test_fraction, "validation": settings.validation_fraction}
    # The test split is held out first: validation then comes from what is left.
    wanted = {name: fraction for name, fraction in fractions.items() if not rows[name] and fraction}
    if settings.group_column is not None:
        require_groups(rows["train"], ("train", *wanted), settings.group_column)
    notes, whole = [], len(rows["train"])
    for name, fraction in wanted.items():
        try:
            rows["train"], rows[name] = held_out(rows["train"], fraction, seed, name, kind, settings)
        except TooFewRows as error:
            raise DataError(_too_few(whole, {one: len(rows[one]) for one in ("train", *wanted)}, wanted)) from error
        how = kind.hold_out_words
        if settings.group_column is not None:
            groups = len({row.group for row in rows[name]})
            how = f"{counted(groups, 'whole group')} of '{settings.group_column}' ({counted(len(rows[name]), 'row')})"
        notes.append(f"{name}: {fraction:.0%} of the training examples, {how}, seed {seed}")
    if settings.limit is not None:
        # After holding out, so that a limit does not change which rows are tested.
        rows = {name: kind.limited(part, settings.limit) for name, part in rows.items()}
    return rows, notes


def _too_few(rows: int, sizes: Mapping[str, int], wanted: Mapping[str, float]) -> str:
    """Return what each split would get of rows that are too few for all of them."""
    *first, last = sizes
    allowed = f"at least {len(sizes)} rows, one each for {', '.join(first)} and {last}"
    got = f"{counted(rows, 'row')}: {', '.join(f'{size} for {name}' for name, size in sizes.items())}"
    if rows >= len(sizes):
        allowed = f"rows for {', '.join(first)} and {last} by their fractions"
        remedy = f"Add rows, or set smaller fractions: {' and '.join(f'data.{name}_fraction' for name in wanted)}."
        return must_be("the data", allowed, got, remedy)
    files = " and ".join(f"a {name} file" for name in wanted)
    remedy = f"Add rows, or give {files} of your own, as in validation.jsonl beside train.jsonl."
    remedy += " Without a test: data.test_fraction: 0." if "test" in wanted else ""
    return must_be("the data", allowed, got, remedy)


def held_out(
    rows: list[Row], fraction: float, seed: int, name: str, kind: TargetKind, settings: DataSettings
) -> tuple[list[Row], list[Row]]:
    """Return two parts of the rows, the second for the split `name`: by groups where a column says those.

    Raises:
        DataError: no such parts can be made.
    """
    if settings.group_column is None:
        return kind.hold_out(rows, fraction, seed, name)
    return hold_out_groups(rows, fraction, seed, name, kind)


def build_splits(
    found: Mapping[str, list[Row]],
    settings: DataSettings,
    seed: int,
    progress: Progress,
    reader: Reader = IMAGES,
    kind: TargetKind = CLASSES,
    *,
    decode: bool = False,
) -> Splits:
    """Return the splits of a data set, every content looked at once: of images header and digest, and pixels if
    `decode`.

    Raises:
        DataError: as `split_rows`; a label is unknown in training; images are unreadable.
    """
    found = found if isinstance(found, Found) else Found(found)
    left = [Skipped(one.split, one.id, one.reason) for one in found.left_out]
    # Before all else: what is left may be too little for splits, and why is told here.
    check_skipped(left, sum(map(len, found.values())) + len(left), settings)
    parts, notes = split_rows(found, settings, seed, kind)
    class_names = kind.class_names_of(parts)
    kind.require_known(parts, class_names)
    reader.require_alike(parts)
    total = sum(len(part) for part in parts.values()) + len(found.left_out)
    with progress.stage(reader.inspects(decode=decode), total) as advance:
        seen = {name: reader.inspect(part, advance, settings, decode=decode) for name, part in parts.items()}
    faults = list(left)
    for name, part in parts.items():
        faults += [Skipped(name, part[index].id, reason) for index, reason in seen[name].faults.items()]
    check_skipped(faults, total, settings)
    parts, pixels = scaled_alike(parts, seen)
    splits = {
        name: Split(part, kind.encode(part, class_names), seen[name].digests).without(set(seen[name].faults))
        for name, part in parts.items()
    }
    notes = [*found.notes, *notes, *shared_content(splits, reader.inputs), *shared_groups(parts, settings)]
    notes += contradictions(splits, reader, kind)
    notes += kind.notes_on(parts)
    notes += reader.notes(pixels, settings)
    whole = Splits(**splits, class_names=class_names, skipped=tuple(faults), notes=tuple(notes), kind=kind, folds=())
    require_examples(whole, settings)
    return whole


def scaled_alike(
    parts: Mapping[str, list[Row]], seen: Mapping[str, Inspection], known: PixelRange | None = None
) -> tuple[dict[str, list[Row]], PixelRange | None]:
    """Return the rows of every split, deep greyscale images of which have the range of the whole data set, and this
    range; the digests of such images tell of it. A model's `known` range is taken as it is.

    Raises:
        DataError: no one range fits all of them.
    """
    depths = [depth for one in seen.values() for depth in one.depths.values()]
    if not depths and known is None:
        return dict(parts), None
    from hftransfer.data.depth import SIXTEEN_BITS
    from hftransfer.data.images import common_range
    from hftransfer.data.inspection import with_range

    pixels = known or common_range(depths)
    if pixels is None:
        return dict(parts), None
    if pixels != SIXTEEN_BITS:
        for one in seen.values():
            for place in one.depths:
                one.digests[place] = scaled_digest(one.digests[place], pixels)
    return {name: with_range(rows, pixels) for name, rows in parts.items()}, pixels


def few_shots(splits: Splits, shots: int, seed: int) -> Splits:
    """Return the splits with so many training examples of each class alone, drawn at random, and of validation as many,
    four at most (a quarter beyond 16); the test split is whole. What is drawn first stays when more are drawn.

    Raises:
        DataError: a class has fewer training examples.
    """
    require_shots(splits, shots)
    wanted = {"train": shots, "validation": max(min(shots, 4), shots // 4)}
    drawn = {}
    for name, count in wanted.items():
        split: Split = getattr(splits, name)
        places = []
        for index, label in enumerate(splits.class_names):
            # By class and split: what is drawn of one does not depend on the others.
            words = [seed, *label.encode(), *name.encode()]
            own = np.random.default_rng(words).permutation(np.flatnonzero(split.class_ids == index))
            places += own[:count].tolist()
        drawn[name] = split.only(sorted(places))
    note = f"{counted(shots, 'training example')} of each class, drawn with seed {seed}"
    return replace(splits, train=drawn["train"], validation=drawn["validation"], notes=(*splits.notes, note))


def require_shots(splits: Splits, shots: int) -> None:
    """Return if every class has so many training examples.

    Raises:
        DataError: one has fewer.
    """
    counts = splits.counts()["train"]
    fewest = int(np.argmin(counts))
    if counts[fewest] < shots:
        allowed = f"at most {counts[fewest]}, the training examples of class '{splits.class_names[fewest]}'"
        raise DataError(must_be("data.shots", allowed, shots))


def build_test_only(
    found: Found,
    settings: DataSettings,
    progress: Progress,
    reader: Reader = IMAGES,
    *,
    decode: bool = False,
    known: PixelRange | None = None,
) -> Splits:
    """Return the examples to judge a model by that learns nothing here: the test split, or where there is none all of
    them. Deep greyscale images have the model's range, `known`, or where it has none that of all that are judged.

    Raises:
        DataError: there are none; some are unreadable.
    """
    rows = list(found.get("test", [])) or [row for part in found.values() for row in part]
    left = [Skipped(one.split, one.id, one.reason) for one in found.left_out]
    check_skipped(left, len(rows) + len(left), settings)
    if not rows:
        raise DataError(must_be("the data", f"at least one {reader.one}", "none"))
    class_names = CLASSES.class_names(row for part in found.values() for row in part)
    if settings.limit is not None:
        rows = CLASSES.limited(rows, settings.limit)
    with progress.stage(reader.inspects(decode=decode), len(rows)) as advance:
        seen = reader.inspect(rows, advance, settings, decode=decode)
    skipped = [*left]
    skipped += [Skipped("test", rows[index].id, reason) for index, reason in seen.faults.items()]
    check_skipped(skipped, len(rows) + len(found.left_out), settings)
    parts, pixels = scaled_alike({"test": rows}, {"test": seen}, known)
    test = Split(parts["test"], CLASSES.encode(rows, class_names), seen.digests).without(set(seen.faults))
    none = Split([], np.zeros(0, dtype=np.int64), [])
    notes = (*found.notes, *CLASSES.notes(rows), *(reader.notes(pixels, settings) if known is None else ()))
    return Splits(none, none, test, class_names, tuple(skipped), notes)


def labelled_split(
    rows: list[Row],
    class_names: Sequence[str],
    reader: Reader,
    kind: TargetKind = CLASSES,
    pixels: PixelRange | None = None,
) -> Split:
    """Return one split of rows with targets as a trained model's. Deep greyscale images have the model's range,
    `pixels`, or where it has none that of the rows.

    Raises:
        DataError: there are no rows, a label is none of the classes, or images can't be read.
    """
    if not rows:
        raise DataError(must_be("the data", "at least one row", "none"))
    kind.require_of_model(rows, class_names)
    seen = reader.inspect(rows, lambda _: None)
    raise_first(list(seen.faults.values()))
    scaled = scaled_alike({"": rows}, {"": seen}, pixels)[0][""]
    return Split(scaled, kind.encode(rows, class_names), seen.digests)


def check_skipped(skipped: Sequence[Skipped], total: int, settings: DataSettings) -> None:
    """Return if so many unreadable rows may be left out.

    Raises:
        DataError: the settings say stop, or more than 5 % would be skipped.
    """
    if not skipped:
        return
    if settings.on_error == "stop":
        more = [f"… and {len(skipped) - 10} more such rows."] if len(skipped) > 10 else []
        *first, last = *(fault.reason for fault in skipped[:10]), *more
        raise DataError(*first, f"{last} {SKIPS}")
    if len(skipped) > MOST_SKIPPED * total:
        allowed = f"at most {MOST_SKIPPED:.0%} of all rows"
        got = f"{len(skipped)} of {total}"
        raise DataError(
            must_be("what data.on_error: skip leaves out", allowed, got, "The first are:"),
            *(fault.reason for fault in skipped[:10]),
        )


def require_examples(splits: Splits, settings: DataSettings) -> None:
    """Return if every split has examples and the training split some of every class.

    Raises:
        DataError: it has not.
    """
    fractions = {"validation": settings.validation_fraction, "test": settings.test_fraction}
    for name, split in splits.items():
        if len(split) == 0 and fractions.get(name, 1.0):
            raise DataError(must_be(f"the {name} split", "at least one readable example", "none"))
    missing = [splits.class_names[i] for i, count in enumerate(splits.counts()["train"]) if count == 0]
    if missing and splits.kind.needs_every_class:
        raise DataError(
            must_be("the training split", "made of readable images of every class", f"none of {some(missing)}")
        )


def shared_groups(parts: Mapping[str, Sequence[Row]], settings: DataSettings) -> list[str]:
    """Return a note for every pair of splits that were given so that they share groups: scores are too good."""
    notes = []
    for first, second in combinations([name for name in NAMES if parts[name]], 2):
        shared = {row.group for row in parts[first]} & {row.group for row in parts[second]} - {None}
        if shared:
            there = [row for row in parts[second] if row.group in shared]
            groups = (
                f"{counted(len(shared), 'group')} of '{settings.group_column}' ({some(sorted(map(str, shared)), 3)})"
            )
            notes.append(
                f"warning: {groups} {'is' if len(shared) == 1 else 'are'} in both {first} and {second}: "
                f"{len(there):,} of {len(parts[second]):,} {second} rows (such as {there[0].id}); scores on them are "
                "too good. Without the given splits, whole groups are held out"
            )
    return notes


def shared_content(splits: Mapping[str, Split], inputs: str) -> list[str]:
    """Return a note for every pair of splits that hold the very same content: scores on it are too good."""
    notes = []
    for first, second in (("train", "validation"), ("train", "test"), ("validation", "test")):
        shared = set(splits[first].digests) & set(splits[second].digests)
        if shared:
            example = next(
                r.id for r, d in zip(splits[second].rows, splits[second].digests, strict=True) if d in shared
            )
            told = f"{counted(len(shared), inputs.removesuffix('s'))} {'is' if len(shared) == 1 else 'are'} in both"
            notes.append(f"warning: {told} {first} and {second} (such as {example})")
    return notes


def contradictions(splits: Mapping[str, Split], reader: Reader, kind: TargetKind) -> list[str]:
    """Return a note where rows of the very same content have different labels: at most one of them can be learned."""
    if not kind.has_names:
        return []
    seen: dict[bytes, Row] = {}
    found: dict[bytes, tuple[Row, Row]] = {}
    for split in splits.values():
        for row, digest in zip(split.rows, split.digests, strict=True):
            first = seen.setdefault(digest, row)
            if first is not row and set(kind.labels_of(row.target)) != set(kind.labels_of(first.target)):
                found.setdefault(digest, (first, row))
    if not found:
        return []
    have = "has rows" if len(found) == 1 else "have rows"
    one, other = next(iter(found.values()))
    told = counted(len(found), reader.one)
    return [f"warning: {told} {have} with different labels (such as {one.id} and {other.id})"]
