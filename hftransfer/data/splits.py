"""Training, validation and test examples with class ids: found as given, or held out by a seeded stratified split."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from hftransfer.data.columns import label_notes
from hftransfer.data.roles import Found, Kind
from hftransfer.data.rows import Inspection, QuestionContent, Row, TextContent, digest_rows
from hftransfer.data.settings import DataSettings
from hftransfer.data.tables import raise_first
from hftransfer.errors import DataError, counted, must_be, nearest, some
from hftransfer.progress import Advance, Progress

if TYPE_CHECKING:
    from hftransfer.data.images import PixelRange

NAMES = ("train", "validation", "test")
_DECODING = "decoding every image"
MOST_SKIPPED = 0.05  # share of a data set that `on_error: skip` may leave out


@dataclass(frozen=True)
class Split:
    """The examples of one split, their class ids (N,) and the digests of their content."""

    rows: list[Row]
    labels: np.ndarray
    digests: list[bytes]

    def __len__(self) -> int:
        return len(self.rows)

    def without(self, gone: set[int]) -> Split:
        """The same split less the examples at the positions `gone`."""
        return self.only([index for index in range(len(self)) if index not in gone])

    def only(self, kept: Sequence[int]) -> Split:
        """The same split with the examples at these positions alone."""
        labels = self.labels[np.asarray(kept, dtype=np.int64)]
        return Split([self.rows[i] for i in kept], labels, [self.digests[i] for i in kept])


@dataclass(frozen=True)
class Skipped:
    """An example that was left out and why."""

    split: str
    id: str
    reason: str


@dataclass(frozen=True)
class Splits:
    """All examples of a data set. Class ids follow `class_names`, taken from the training split alone."""

    train: Split
    validation: Split
    test: Split
    class_names: tuple[str, ...]
    skipped: tuple[Skipped, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def pixels(self) -> PixelRange | None:
        """The range of values of deep greyscale images, where there are any."""
        return next((row.pixels for _, split in self.items() for row in split.rows), None)

    def items(self) -> list[tuple[str, Split]]:
        """The splits with their names."""
        return [(name, getattr(self, name)) for name in NAMES]

    def sizes(self) -> dict[str, int]:
        """How many examples each split has."""
        return {name: len(split) for name, split in self.items()}

    def counts(self) -> dict[str, list[int]]:
        """How many examples of each class each split has."""
        classes = len(self.class_names)
        if not classes:
            return {name: [] for name, _ in self.items()}
        return {name: np.bincount(split.labels, minlength=classes).tolist() for name, split in self.items()}

    def fingerprint(self) -> str:
        """A SHA-256 over the content, label and split of every example."""
        digest = hashlib.sha256("\n".join(self.class_names).encode())
        for name, split in self.items():
            for content, label in sorted(zip(split.digests, split.labels.tolist(), strict=True)):
                digest.update(f"{name}:{label}:".encode() + content)
        return digest.hexdigest()


def split_rows(
    found: Mapping[str, list[Row]], settings: DataSettings, seed: int, kind: Kind = "images"
) -> tuple[dict[str, list[Row]], list[str]]:
    """The rows of train, validation and test, held out of the training rows where a split was not given,
    and a note on each split made so.

    Raises:
        DataError: there is nothing to train on, or a class has too few examples to be held out.
    """
    rows = {name: list(found.get(name, [])) for name in NAMES}
    rows["train"] = rows["train"] or list(found.get("all", []))
    if not rows["train"]:
        got = "no rows" if "all" in found or "train" in found else some(found) or "nothing"
        remedy = "" if "all" in found or "train" in found else "Set data.train_split."
        raise DataError(must_be("the data", "a set with a train split", got, remedy))
    grouped = kind == "questions"
    if not grouped:
        _require_two_classes(rows["train"])
    hold_out = _hold_out_groups if grouped else _hold_out
    how = "whole articles" if grouped else "stratified"
    notes = []
    for name, fraction in (("test", settings.test_fraction), ("validation", settings.validation_fraction)):
        if not rows[name] and fraction:
            rows["train"], rows[name] = hold_out(rows["train"], fraction, seed, name)
            notes.append(f"{name}: {fraction:.0%} of the training examples, {how}, seed {seed}")
    if settings.limit is not None:
        rows = {name: _first_of_each_class(part, settings.limit) for name, part in rows.items()}
    return rows, notes


def build_splits(
    found: Mapping[str, list[Row]],
    settings: DataSettings,
    seed: int,
    progress: Progress,
    kind: Kind = "images",
    *,
    decode: bool = False,
) -> Splits:
    """The splits of a data set, every content looked at once: of images header and digest, and pixels if `decode`.

    Raises:
        DataError: as `split_rows`; a label is unknown in training; images are unreadable.
    """
    found = found if isinstance(found, Found) else Found(found)
    parts, notes = split_rows(found, settings, seed, kind)
    class_names: tuple[str, ...] = ()
    if kind != "questions":
        class_names = tuple(sorted({row.label for row in parts["train"]}, key=_natural))
        _require_known_labels(parts, class_names)
    if kind == "texts":
        _require_pairs_throughout(parts)
    total = sum(len(part) for part in parts.values()) + len(found.left_out)
    decode = decode and kind == "images"
    with progress.stage(_DECODING if decode else f"looking at the {kind}", total) as advance:
        seen = {name: _looked_at(part, kind, advance, settings, decode=decode) for name, part in parts.items()}
    faults = [Skipped(one.split, one.id, one.reason) for one in found.left_out]
    for name, part in parts.items():
        faults += [Skipped(name, part[index].id, reason) for index, reason in seen[name].faults.items()]
    check_skipped(faults, total, settings)
    parts, pixels = scaled_alike(parts, seen)
    splits = {
        name: Split(part, _class_ids(part, class_names), seen[name].digests).without(set(seen[name].faults))
        for name, part in parts.items()
    }
    notes = [*found.notes, *notes, *_shared_content(splits, kind)]
    notes += label_notes(row.label for part in parts.values() for row in part) if kind != "questions" else []
    if kind == "images":
        notes += [*on_depth(pixels), *_on_drafts(settings)]
    whole = Splits(splits["train"], splits["validation"], splits["test"], class_names, tuple(faults), tuple(notes))
    require_examples(whole, settings)
    return whole


def scaled_alike(
    parts: Mapping[str, list[Row]], seen: Mapping[str, Inspection]
) -> tuple[dict[str, list[Row]], PixelRange | None]:
    """The rows of every split, deep greyscale images of which have the range of the whole data set, and this range;
    the digests of such images tell of it.

    Raises:
        DataError: no one range fits all of them.
    """
    depths = [depth for one in seen.values() for depth in one.depths.values()]
    if not depths:
        return dict(parts), None
    from hftransfer.data.images import SIXTEEN_BITS, common_range
    from hftransfer.data.inspection import with_range

    pixels = common_range(depths)
    if pixels is None:
        return dict(parts), None
    if pixels != SIXTEEN_BITS:
        for one in seen.values():
            for place in one.depths:
                one.digests[place] = scaled_digest(one.digests[place], pixels)
    return {name: with_range(rows, pixels) for name, rows in parts.items()}, pixels


def scaled_digest(digest: bytes, pixels: PixelRange) -> bytes:
    """What identifies the content of a deep image whose values are scaled from a range."""
    return hashlib.blake2b(digest + repr(tuple(pixels)).encode(), digest_size=16).digest()


def on_depth(pixels: PixelRange | None) -> list[str]:
    """A note on the range of deep greyscale images, where there are any."""
    if pixels is None:
        return []
    told = f"greyscale images of more than 8 bits: their values of {pixels.in_words} become 0 to 255"
    return [f"{told}, and the model keeps this range"]


def few_shots(splits: Splits, shots: int, seed: int) -> Splits:
    """The splits with so many training examples of each class alone, drawn at random, and of validation as many, four
    at most (a quarter beyond 16); the test split is whole. What is drawn first stays when more are drawn.

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
            words = [seed, *label.encode(), *name.encode()]
            own = np.random.default_rng(words).permutation(np.flatnonzero(split.labels == index))
            places += own[:count].tolist()
        drawn[name] = split.only(sorted(places))
    note = f"{counted(shots, 'training example')} of each class, drawn with seed {seed}"
    return replace(splits, train=drawn["train"], validation=drawn["validation"], notes=(*splits.notes, note))


def require_shots(splits: Splits, shots: int) -> None:
    """Nothing, if every class has so many training examples.

    Raises:
        DataError: one has fewer.
    """
    counts = splits.counts()["train"]
    fewest = int(np.argmin(counts))
    if counts[fewest] < shots:
        allowed = f"at most {counts[fewest]}, the training examples of class '{splits.class_names[fewest]}'"
        raise DataError(must_be("data.shots", allowed, shots))


def build_test_only(found: Found, settings: DataSettings, progress: Progress, *, decode: bool = False) -> Splits:
    """The images to judge a model by that learns nothing: the test split, or where there is none all there are.

    Raises:
        DataError: there are none; some are unreadable.
    """
    rows = list(found.get("test", [])) or [row for part in found.values() for row in part]
    if not rows:
        raise DataError(must_be("the data", "of at least one image", "none"))
    class_names = tuple(sorted({row.label for part in found.values() for row in part}, key=_natural))
    if settings.limit is not None:
        rows = _first_of_each_class(rows, settings.limit)
    with progress.stage(_DECODING if decode else "looking at the images", len(rows)) as advance:
        seen = _looked_at(rows, "images", advance, settings, decode=decode)
    skipped = [Skipped(one.split, one.id, one.reason) for one in found.left_out]
    skipped += [Skipped("test", rows[index].id, reason) for index, reason in seen.faults.items()]
    check_skipped(skipped, len(rows) + len(found.left_out), settings)
    parts, pixels = scaled_alike({"test": rows}, {"test": seen})
    test = Split(parts["test"], _class_ids(rows, class_names), seen.digests).without(set(seen.faults))
    none = Split([], np.zeros(0, dtype=np.int64), [])
    notes = (*found.notes, *label_notes(row.label for row in rows), *on_depth(pixels), *_on_drafts(settings))
    return Splits(none, none, test, class_names, tuple(skipped), notes)


def _on_drafts(settings: DataSettings) -> Sequence[str]:
    told = "large JPEG files are read as drafts (data.decode): what is measured is of these"
    return (told,) if settings.decode == "draft" else ()


def _looked_at(rows: list[Row], kind: Kind, advance: Advance, settings: DataSettings, *, decode: bool) -> Inspection:
    """The digests of all contents; texts and questions are always readable."""
    if kind == "images":
        from hftransfer.data.inspection import inspect_rows

        return inspect_rows(rows, advance, decode=decode, max_pixels=settings.max_pixels)
    digests = digest_rows(rows)
    advance(len(rows))
    return Inspection(digests, {})


def _class_ids(rows: Sequence[Row], class_names: Sequence[str]) -> np.ndarray:
    """The class id of every row (N,); zeros where there are no classes."""
    ids = {name: index for index, name in enumerate(class_names)}
    return np.array([ids[row.label] if ids else 0 for row in rows], dtype=np.int64)


def labelled_split(
    rows: list[Row], class_names: Sequence[str], kind: Kind = "texts", pixels: PixelRange | None = None
) -> Split:
    """One split of rows with the class ids of a trained model; without class names, of questions. Deep greyscale images
    have the model's range, `pixels`, or where it has none that of the rows.

    Raises:
        DataError: there are no rows, a label is none of the classes, or images can't be read.
    """
    if not rows:
        raise DataError(must_be("the data", "of at least one row", "none"))
    unknown = Counter(row.label for row in rows if class_names and row.label not in class_names)
    raise_first(
        [
            must_be(f"the label '{label}' ({count} rows)", "one of the model's", "another", nearest(label, class_names))
            for label, count in unknown.items()
        ]
    )
    if kind != "images":
        return Split(rows, _class_ids(rows, class_names), digest_rows(rows))
    from hftransfer.data.inspection import inspect_rows, with_range

    seen = inspect_rows(rows)
    raise_first(list(seen.faults.values()))
    scaled = scaled_alike({"": rows}, {"": seen})[0][""] if pixels is None else with_range(rows, pixels)
    return Split(scaled, _class_ids(rows, class_names), seen.digests)


def check_skipped(skipped: Sequence[Skipped], total: int, settings: DataSettings) -> None:
    """Nothing, if so many unreadable images may be left out.

    Raises:
        DataError: the settings say stop, or more than 5 % would be skipped.
    """
    if not skipped:
        return
    if settings.on_error == "stop":
        more = [f"… and {len(skipped) - 10} more unreadable images."] if len(skipped) > 10 else []
        raise DataError(*(fault.reason for fault in skipped[:10]), *more)
    if len(skipped) > MOST_SKIPPED * total:
        allowed = f"at most {MOST_SKIPPED:.0%} of the images"
        got = f"{len(skipped)} of {total}"
        raise DataError(
            must_be("what data.on_error: skip leaves out", allowed, got, "The first are:"),
            *(fault.reason for fault in skipped[:10]),
        )


def _require_two_classes(rows: Sequence[Row]) -> None:
    names = sorted({row.label for row in rows})
    if len(names) < 2:
        remedy = "A classifier needs at least two classes: one folder, or one label, for each."
        raise DataError(must_be("the training data", "of two or more classes", f"one class, '{names[0]}'", remedy))


def _require_known_labels(parts: dict[str, list[Row]], class_names: Sequence[str]) -> None:
    faults = []
    for name in ("validation", "test"):
        unknown = Counter(row.label for row in parts[name] if row.label not in class_names)
        for label, count in unknown.items():
            where = f"the class '{label}' of the {name} split ({count} examples)"
            remedy = nearest(label, class_names)
            faults.append(must_be(where, "one of the training split's classes", "a class never trained on", remedy))
    raise_first(faults)


def _require_pairs_throughout(parts: dict[str, list[Row]]) -> None:
    """Nothing, if the texts of all splits are pairs, or of none.

    Raises:
        DataError: they are not.
    """
    forms = {name: _is_pair(rows[0]) for name, rows in parts.items() if rows}
    words = {True: "pairs of texts", False: "single texts"}
    other = [name for name, form in forms.items() if form is not forms["train"]]
    raise_first(
        [
            must_be(f"the {name} split", f"of {words[forms['train']]} as the training split", words[forms[name]])
            for name in other
        ]
    )


def _is_pair(row: Row) -> bool:
    return isinstance(row.content, TextContent) and row.content.pair is not None


def require_examples(splits: Splits, settings: DataSettings) -> None:
    """Nothing, if every split has examples and the training split some of every class.

    Raises:
        DataError: it has not.
    """
    for name, split in splits.items():
        if len(split) == 0 and (name != "test" or settings.test_fraction):
            raise DataError(must_be(f"the {name} split", "of at least one readable example", "none"))
    missing = [splits.class_names[i] for i, count in enumerate(splits.counts()["train"]) if count == 0]
    if missing:
        raise DataError(must_be("the training split", "of readable images of every class", f"none of {some(missing)}"))


def _hold_out(rows: list[Row], fraction: float, seed: int, name: str) -> tuple[list[Row], list[Row]]:
    """Two parts of the rows, each class split in the same proportion; order kept."""
    by_class: dict[str, list[int]] = {}
    for index, row in enumerate(rows):
        by_class.setdefault(row.label, []).append(index)
    held: set[int] = set()
    faults = []
    for label in sorted(by_class):
        members = by_class[label]
        count = round(fraction * len(members))
        if not 1 <= count < len(members):
            where = f"data.{name}_fraction"
            allowed = f"such that each class has examples in both parts (class '{label}' has {len(members)})"
            faults.append(must_be(where, allowed, f"{fraction:g}", _fraction_remedy(len(members), name)))
            continue
        # The generator is seeded per class and split so that adding a class leaves the others' split alone.
        words = [seed, *label.encode(), *name.encode()]
        held.update(np.random.default_rng(words).permutation(members)[:count].tolist())
    raise_first(faults)
    kept = [row for index, row in enumerate(rows) if index not in held]
    return kept, [row for index, row in enumerate(rows) if index in held]


def _hold_out_groups(rows: list[Row], fraction: float, seed: int, name: str) -> tuple[list[Row], list[Row]]:
    """Two parts of the rows that share no article: articles drawn at random, each taken if it brings the held part
    nearer to the fraction of rows asked for; order kept."""
    groups: dict[str, list[int]] = {}
    for index, row in enumerate(rows):
        groups.setdefault(row.content.group if isinstance(row.content, QuestionContent) else row.id, []).append(index)
    if len(groups) < 2:
        remedy = f"Add questions on other articles, or give a {name} split of your own."
        raise DataError(must_be(f"the articles to hold {name} questions out of", "two or more", len(groups), remedy))
    names = sorted(groups)
    drawn = [groups[names[place]] for place in np.random.default_rng([seed, *name.encode()]).permutation(len(names))]
    held: set[int] = set()
    free = max(1, len(drawn) - 2)  # where they can, two stay: one to train on, one for the next part to be held out
    for members in drawn:
        if free and len(held) + len(members) / 2 < fraction * len(rows):
            held.update(members)
            free -= 1
    if not held:
        held.update(sorted(drawn, key=len)[0])
    kept = [row for index, row in enumerate(rows) if index not in held]
    return kept, [row for index, row in enumerate(rows) if index in held]


def _fraction_remedy(members: int, name: str) -> str:
    if members < 3:
        return f"Add examples of this class, remove it, or give a {name} split of your own."
    return f"Choose one between {0.5 / members + 0.005:.2f} and {1 - 0.5 / members - 0.005:.2f}."


def _first_of_each_class(rows: list[Row], limit: int) -> list[Row]:
    taken: Counter[str] = Counter()
    kept = []
    for row in rows:
        taken[row.label] += 1
        if taken[row.label] <= limit:
            kept.append(row)
    return kept


def _shared_content(splits: dict[str, Split], kind: Kind) -> list[str]:
    """A note for every pair of splits that hold the very same content: scores on it are too good."""
    notes = []
    for first, second in (("train", "validation"), ("train", "test"), ("validation", "test")):
        shared = set(splits[first].digests) & set(splits[second].digests)
        if shared:
            example = next(
                r.id for r, d in zip(splits[second].rows, splits[second].digests, strict=True) if d in shared
            )
            notes.append(f"warning: {len(shared)} {kind} are in both {first} and {second} (such as {example})")
    return notes


def _natural(name: str) -> tuple[int, int, str]:
    """Whole numbers in their order, then names in theirs."""
    return (0, int(name), name) if name.isdecimal() else (1, 0, name)
