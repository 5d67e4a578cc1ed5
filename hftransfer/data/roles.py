"""Which folder, table or value stands for which split, and the rows of a source by split."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from hftransfer.base.errors import DataError, must_be, nearest, some
from hftransfer.data.rows import Row
from hftransfer.data.settings import DataSettings

SPLIT_NAMES = {
    "train": ("train", "training"),
    "validation": ("validation", "val", "valid", "dev"),
    "test": ("test", "testing"),
}
_NUMBERED = re.compile(r"(.*?)[-_.]?\d+")
_SHARD = re.compile(r"(.+?)[-_.]\d{5}-of-\d{5}(-[0-9a-f]+)?")


@dataclass(frozen=True)
class LeftOut:
    """A row that can't be read and was left out while a source was read: its split, its name and the reason."""

    split: str
    id: str
    reason: str


class Found(dict[str, list[Row]]):
    """The rows of a source by split; the name "all" stands for data not split yet.

    `notes` tell people what was recognised, `left_out` are rows that can't be read (`data.on_error: skip`),
    `target_column` is where numbers were found, and `labels_told` are the labels that have columns of 0 and 1 in all
    tables, where labels have such columns.
    """

    def __init__(self, rows: Mapping[str, list[Row]] | Iterable[tuple[str, list[Row]]] = ()) -> None:
        super().__init__(rows)
        self.notes: list[str] = []
        self.left_out: list[LeftOut] = []
        self.target_column = ""
        self.labels_told: tuple[str, ...] | None = None

    def tell_labels(self, names: Iterable[str]) -> None:
        """Note the labels that have columns in a table."""
        before = self.labels_told
        self.labels_told = tuple(name for name in names if before is None or name in before)

    def note(self, text: str) -> None:
        """Add a note, once."""
        if text not in self.notes:
            self.notes.append(text)


def split_role(name: str, settings: DataSettings) -> str | None:
    """Which split a folder, table or part of that name is: train, validation, test, or none of these."""
    for role in SPLIT_NAMES:
        if getattr(settings, f"{role}_split") == name:
            return role
    for role, usual in SPLIT_NAMES.items():
        if getattr(settings, f"{role}_split") is None and name.lower() in usual:
            return role
    return None


def without_shard(name: str, *, numbered: bool = False) -> str:
    """Return the name of a split without the number of its part: `train` of `train-00000-of-00002`; where parts are
    `numbered`, as WebDataset's are, of `train-000017`, too."""
    matched = _SHARD.fullmatch(name) or (_NUMBERED.fullmatch(name) if numbered else None)
    return matched[1] if matched else name


def affixed_roles(names: Collection[str]) -> dict[str, str]:
    """Return the roles of names such as `seg_train` and `seg_test`, or `training_set` and `test_set`: those in which
    one word names a split, and the others are the same. Empty where there is not training and another split among them.
    """
    words = {name: [word for word in re.split(r"[-_. ]+", name.lower()) if word] for name in names}
    roles: dict[str, tuple[str, tuple[str, ...]]] = {}
    for name, own in words.items():
        of_word = {word: role for word in own for role, usual in SPLIT_NAMES.items() if word in usual}
        if len(of_word) == 1:
            ((word, role),) = of_word.items()
            roles[name] = role, tuple(other for other in own if other != word)
    rests = {rest for role, rest in roles.values() if role == "train"}
    if len(rests) != 1:
        return {}
    alike = {name: role for name, (role, rest) in roles.items() if rest in rests}
    return alike if len(set(alike.values())) > 1 else {}


def require_named_splits(settings: DataSettings, present: Collection[str], source: str) -> None:
    """Return if the splits that the settings name are there.

    Raises:
        DataError: with all that are not.
    """
    faults = []
    for role in SPLIT_NAMES:
        named = getattr(settings, f"{role}_split")
        if named is not None and named not in present:
            faults.append(must_be(f"data.{role}_split", f"a split of {source}", f"'{named}'", nearest(named, present)))
    if faults:
        raise DataError(*faults)


def require_one_each(roles: Mapping[str, str | None], where: str) -> None:
    """Return if no two folders, tables or objects are the same split.

    Raises:
        DataError: some are.
    """
    for role in SPLIT_NAMES:
        same = [name for name, own in roles.items() if own == role]
        if len(same) > 1:
            remedy = f"Keep one, or name it with data.{role}_split."
            raise DataError(must_be(f"the {role} split in {where}", "given once", some(same), remedy))
