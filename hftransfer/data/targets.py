"""What the targets of rows are: how rows are held out by them, and how they become what a loss and a metric take."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import ClassVar

import numpy as np
from typing_extensions import override

from hftransfer.base.errors import DataError, counted, must_be, nearest
from hftransfer.base.tabular import is_number
from hftransfer.data.columns import label_notes
from hftransfer.data.rows import Row, Target
from hftransfer.data.tables import raise_first

Targets = np.ndarray | list[Target]
"""The targets of a split as a loss takes them: class ids (N,) of int64, or a list with an entry of each row."""

_MANY_FAULTS = 10
"""Of classes with too few examples: if all are numbers, no classes are meant."""


class TargetKind(ABC):
    """How the targets of a data set are held out, encoded and told."""

    has_names: ClassVar[bool] = False
    """Whether targets are labels with names."""
    needs_every_class: ClassVar[bool] = True
    """Whether there must be training examples of every class."""
    is_one_class: ClassVar[bool] = False
    """Whether a target is one class of several."""
    hold_out_words: ClassVar[str]
    """How rows are held out, for people."""

    def require(self, rows: Sequence[Row]) -> None:
        """Return if something can be learned from these rows.

        Raises:
            DataError: it can't.
        """

    @abstractmethod
    def hold_out(self, rows: list[Row], fraction: float, seed: int, name: str) -> tuple[list[Row], list[Row]]:
        """Return two parts of the rows, the second with this fraction of them for the split `name`; order is kept.

        Raises:
            DataError: no such parts can be made.
        """

    def strata(self, rows: Sequence[Row]) -> np.ndarray:
        """Return what parts of the rows should have in even shares, (N, S) of 0 and 1: classes in their order, say."""
        return np.ones((len(rows), 1), dtype=np.uint8)

    def limited(self, rows: list[Row], limit: int) -> list[Row]:
        """Return at most so many rows, the first."""
        return rows[:limit]

    def class_names(self, rows: Iterable[Row]) -> tuple[str, ...]:
        """Return the names of the classes in their order; none where targets are no classes."""
        del rows
        return ()

    def class_names_of(self, parts: Mapping[str, Sequence[Row]]) -> tuple[str, ...]:
        """Return the names of the classes of all splits: from training alone, since a class that is only tested could
        never be learned."""
        return self.class_names(parts["train"])

    def require_known(self, parts: Mapping[str, Sequence[Row]], class_names: Sequence[str]) -> None:
        """Return if no split has a class that is not in training.

        Raises:
            DataError: some have; all are named.
        """

    def require_of_model(self, rows: Sequence[Row], class_names: Sequence[str]) -> None:
        """Return if a model with these classes can be judged by the rows.

        Raises:
            DataError: a target is none of its own.
        """

    @abstractmethod
    def encode(self, rows: Sequence[Row], class_names: Sequence[str]) -> Targets:
        """Return the targets of rows as losses and metrics take them."""

    def labels_of(self, target: Target) -> tuple[str, ...]:
        """Return the labels of a row, by name; none where targets are no labels."""
        del target
        return ()

    def counts(self, targets: Targets, class_names: Sequence[str]) -> list[int]:
        """Return how many examples of each class there are among encoded targets; none where they are no classes."""
        del targets, class_names
        return []

    def mark(self, target: Target) -> Target:
        """Return what tells an encoded target from others in a fingerprint; it can be compared and printed."""
        return target

    def beyond_words(self, target: Target) -> object:
        """Return what tells a target from others of the same words; None where its words say all."""
        del target
        return None

    def entry(self, split: str, content: bytes, mark: Target) -> bytes:
        """Return what stands for one example in a fingerprint."""
        return f"{split}:{mark}:".encode() + content

    def notes(self, rows: Iterable[Row]) -> list[str]:
        """Return what people should know of the targets."""
        del rows
        return []

    def notes_on(self, parts: Mapping[str, Sequence[Row]]) -> list[str]:
        """Return the same of the rows of all splits."""
        return self.notes(row for rows in parts.values() for row in rows)

    @abstractmethod
    def in_words(self, target: Target) -> str:
        """Return a row's target as people read it."""


class Classes(TargetKind):
    """One class of several, by name."""

    has_names = True
    is_one_class = True

    hold_out_words = "stratified"

    @override
    def require(self, rows: Sequence[Row]) -> None:
        names = sorted({row.target for row in rows})
        if len(names) < 2:
            remedy = "A classifier needs at least two classes: one folder, or one label, for each."
            raise DataError(must_be("the training data", "of two or more classes", f"one class, '{names[0]}'", remedy))

    def hold_out(self, rows: list[Row], fraction: float, seed: int, name: str) -> tuple[list[Row], list[Row]]:
        """Return two parts of the rows, each class split in the same proportion."""
        by_class: dict[str, list[int]] = {}
        for index, row in enumerate(rows):
            by_class.setdefault(row.target, []).append(index)
        held: set[int] = set()
        faults = []
        for label in sorted(by_class):
            members = by_class[label]
            count = round(fraction * len(members))
            if not 1 <= count < len(members):
                where = f"data.{name}_fraction"
                allowed = (
                    f"a fraction that leaves examples of each class in both parts (class '{label}' has {len(members)})"
                )
                faults.append(must_be(where, allowed, f"{fraction:g}", _fraction_remedy(len(members), name)))
                continue
            # The generator is seeded per class and split so that adding a class leaves the others' split alone.
            words = [seed, *label.encode(), *name.encode()]
            held.update(np.random.default_rng(words).permutation(members)[:count].tolist())
        if len(faults) > _MANY_FAULTS and all(map(is_number, by_class)):
            allowed = "names of classes for a classification task"
            remedy = "To predict numbers, use task: image-regression or text-regression."
            faults.insert(0, must_be("the labels", allowed, f"{len(by_class)} different numbers", remedy))
        raise_first(faults)
        return divided(rows, held)

    @override
    def strata(self, rows: Sequence[Row]) -> np.ndarray:
        names = self.class_names(rows)
        return np.asarray(self.encode(rows, names)[:, None] == np.arange(len(names)), dtype=np.uint8)

    def limited(self, rows: list[Row], limit: int) -> list[Row]:
        """Return at most so many rows of each class."""
        taken: Counter[str] = Counter()
        kept = []
        for row in rows:
            taken[row.target] += 1
            if taken[row.target] <= limit:
                kept.append(row)
        return kept

    @override
    def class_names(self, rows: Iterable[Row]) -> tuple[str, ...]:
        return tuple(sorted({row.target for row in rows}, key=natural_order))

    @override
    def require_known(self, parts: Mapping[str, Sequence[Row]], class_names: Sequence[str]) -> None:
        faults = []
        for name in ("validation", "test"):
            unknown = Counter(row.target for row in parts[name] if row.target not in class_names)
            for label, count in unknown.items():
                where = f"the class '{label}' of the {name} split ({count} examples)"
                remedy = nearest(label, class_names)
                allowed = "one of the training split's classes"
                faults.append(must_be(where, allowed, "a class never trained on", remedy))
        raise_first(faults)

    @override
    def require_of_model(self, rows: Sequence[Row], class_names: Sequence[str]) -> None:
        unknown = Counter(row.target for row in rows if class_names and row.target not in class_names)
        faults = []
        for label, count in unknown.items():
            where, remedy = f"the label '{label}' ({counted(count, 'row')})", nearest(label, class_names)
            faults.append(must_be(where, "one of the model's", "another", remedy))
        raise_first(faults)

    @override
    def labels_of(self, target: Target) -> tuple[str, ...]:
        return (target,)

    @override
    def counts(self, targets: Targets, class_names: Sequence[str]) -> list[int]:
        found: list[int] = np.bincount(np.asarray(targets), minlength=len(class_names)).tolist()
        return found

    def encode(self, rows: Sequence[Row], class_names: Sequence[str]) -> np.ndarray:
        """Return the class id of every row, (N,) of int64."""
        ids = {name: index for index, name in enumerate(class_names)}
        return np.array([ids[row.target] for row in rows], dtype=np.int64)

    @override
    def notes(self, rows: Iterable[Row]) -> list[str]:
        return label_notes(row.target for row in rows)

    @override
    def in_words(self, target: Target) -> str:
        return str(target)


class GroupedSpans(TargetKind):
    """The answers to a question as spans of its context; questions on one article stay together."""

    hold_out_words = "whole articles"

    def hold_out(self, rows: list[Row], fraction: float, seed: int, name: str) -> tuple[list[Row], list[Row]]:
        """Return two parts of the rows that share no article: articles drawn at random, each taken if it brings the
        held part nearer to the fraction of rows asked for."""
        groups: dict[Hashable, list[int]] = {}
        for index, row in enumerate(rows):
            groups.setdefault(getattr(row.content, "group", row.id), []).append(index)
        if len(groups) < 2:
            remedy = f"Add questions on other articles, or give a {name} split of your own."
            raise DataError(
                must_be(f"the number of articles (to hold out {name} questions)", "2 or more", len(groups), remedy)
            )
        # Sorted, so that the draw rests on the articles alone and not on the order of their files.
        names = sorted(groups, key=str)
        order = np.random.default_rng([seed, *name.encode()]).permutation(len(names))
        drawn = [groups[names[place]] for place in order]
        held: set[int] = set()
        # Where they can, two articles stay: one to train on, one for the next part to be held out.
        free = max(1, len(drawn) - 2)
        for members in drawn:
            if free and len(held) + len(members) / 2 < fraction * len(rows):
                held.update(members)
                free -= 1
        if not held:
            # No article is small enough for the fraction: the smallest is held out all the same.
            held.update(sorted(drawn, key=len)[0])
        return divided(rows, held)

    def encode(self, rows: Sequence[Row], class_names: Sequence[str]) -> list[Target]:
        """Return the answers of each row."""
        del class_names
        return [row.target for row in rows]

    @override
    def notes_on(self, parts: Mapping[str, Sequence[Row]]) -> list[str]:
        """Return a warning where validation can't tell from which score on there is no answer."""
        learned, validation = parts.get("train", ()), parts.get("validation", ())
        if not validation or all(row.target for row in learned) or not all(row.target for row in validation):
            return []
        return [
            "warning: training has questions without an answer and validation has none: from which score on there is "
            "no answer can't be tuned, and the higher score counts"
        ]

    def mark(self, target: Target) -> Target:
        """Return 0: the digest of a question's content holds its answers already."""
        del target
        return 0

    @override
    def in_words(self, target: Target) -> str:
        return " / ".join(dict.fromkeys(answer.text for answer in target)) or "(no answer)"


class Captions(TargetKind):
    """The captions of an image."""

    hold_out_words = "with all their captions"

    def hold_out(self, rows: list[Row], fraction: float, seed: int, name: str) -> tuple[list[Row], list[Row]]:
        """Return two parts of the images, drawn at random."""
        order = np.random.default_rng([seed, *name.encode()]).permutation(len(rows)).tolist()
        count = round(fraction * len(order))
        if not 1 <= count < len(order):
            where, got = f"data.{name}_fraction", f"{fraction:g} of {len(order)} images"
            remedy = "Add images with captions." if len(order) < 4 else ""
            raise DataError(must_be(where, "a fraction that leaves images in both parts", got, remedy))
        return divided(rows, set(order[:count]))

    def encode(self, rows: Sequence[Row], class_names: Sequence[str]) -> list[list[str]]:
        """Return the captions of each image."""
        del class_names
        return [list(row.target) for row in rows]

    @override
    def entry(self, split: str, content: bytes, mark: Target) -> bytes:
        # Captions of damaged files may hold half of a surrogate pair, which plain UTF-8 refuses.
        return split.encode() + content + repr(mark).encode("utf-8", "surrogatepass")

    def in_words(self, target: Target) -> str:
        """Return nothing: captions are no labels by which rows are compared."""
        del target
        return ""


CLASSES, SPANS, CAPTIONS = Classes(), GroupedSpans(), Captions()


def scaled_digest(digest: bytes, pixels: tuple[float, float]) -> bytes:
    """Return what identifies the content of a deep image whose values are scaled from a range."""
    return hashlib.blake2b(digest + repr(tuple(pixels)).encode(), digest_size=16).digest()


class TooFewRows(DataError):
    """The rows are too few to hold some out."""


def count_to_hold_out(rows: Sequence[Row], fraction: float, name: str) -> int:
    """Return how many rows are held out for the split `name`: one at least.

    Raises:
        TooFewRows: one part would be empty.
    """
    count = max(1, round(fraction * len(rows)))
    if count >= len(rows):
        allowed = f"such that both parts of {counted(len(rows), 'row')} have some"
        raise TooFewRows(must_be(f"data.{name}_fraction", allowed, f"{fraction:g}"))
    return count


def divided(rows: list[Row], held: set[int]) -> tuple[list[Row], list[Row]]:
    """Return the rows in two parts, the second with those at the positions `held`; order is kept."""
    kept = [row for index, row in enumerate(rows) if index not in held]
    return kept, [row for index, row in enumerate(rows) if index in held]


def _fraction_remedy(members: int, name: str) -> str:
    if members < 3:
        return f"Add examples of this class, remove it, or give a {name} split of your own."
    return f"Choose one between {0.5 / members + 0.005:.2f} and {1 - 0.5 / members - 0.005:.2f}."


def natural_order(name: str) -> tuple[int, int, str]:
    """Return a key that orders whole numbers as numbers, then names as texts."""
    # Classes that are numbers keep their order: 9 before 10.
    return (0, int(name), name) if name.isdecimal() else (1, 0, name)
