"""Shards of WebDataset: tar files in which the members `0017.jpg`, `0017.cls` and `0017.json` are one example.

Only the headers and the small members are read: an image stays where it is in its shard until it is needed, so that
memory grows with the number of examples and not with their size.
"""

from __future__ import annotations

import json
import tarfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path, PurePath, PurePosixPath
from typing import BinaryIO

from hftransfer.base.errors import DataError, must_be, some
from hftransfer.data.rows import IMAGE_SUFFIXES, MemberContent, StoredImage

SHARD = ".tar"
CLASS_NAMES = "classnames.txt"
"""The names of the classes, a line each, as CLIP_benchmark lays them beside its shards."""
_MOST_BYTES = 1 << 20
"""A member that is no image is a label, a text or a record: it is no larger than this."""


def read_shard(path: Path) -> tuple[list[dict[str, object]], list[str]]:
    """Return the examples of a shard as records, and all columns, as `shard_records` finds them.

    Raises:
        DataError: as `shard_records`.
    """

    def image_of(member: tarfile.TarInfo) -> StoredImage:
        return MemberContent(path, member.name, member.offset_data, member.size)

    with path.open("rb") as file:
        return shard_records(file, path, image_of, _class_names(path))


def shard_records(
    file: BinaryIO, path: PurePath, image_of: Callable[[tarfile.TarInfo], StoredImage], names: Sequence[str]
) -> tuple[list[dict[str, object]], list[str]]:
    """Return the examples of a shard at a path as records, in the order of their first members, and all columns;
    `image_of` gives the image that a member is, `names` are those of the classes.

    An example's name ends at the first dot of its members' names. So `cat.0.jpg` and `cat.1.jpg` would be one example,
    and with them all cats of Kaggle's cats and dogs: where every member has two suffixes, and the last alone makes
    whole examples, names end at the last dot.

    An image is the column `image`, `.cls` the column `label` (with the class's name, where `classnames.txt` lies beside
    the shard or in a folder above it), `.txt` is `caption` beside an image and `text` without one, and the fields of
    `.json` are columns of their own. Of `0017.seg.png` the column is `seg`.

    Raises:
        DataError: it is no tar file, or its members are not of this form.
    """
    records: dict[str, dict[str, object]] = {}
    try:
        with tarfile.open(fileobj=file, mode="r:") as shard:
            members = [member for member in shard if member.isreg() and not _is_hidden(member)]
            divided = _at_last_dot if _is_at_last_dot(members) else _at_first_dot
            for member in members:
                key, field = divided(member)
                _put(records.setdefault(key, {}), field, shard, member, path, image_of)
    except (tarfile.TarError, EOFError) as error:
        raise DataError(must_be(str(path), "a readable tar file, not compressed", str(error))) from error
    for record in records.values():
        if "txt" in record:
            record["caption" if "image" in record else "text"] = record.pop("txt")
    columns = list(dict.fromkeys(column for record in records.values() for column in record))
    is_of_folders = any("/" in key for key in records) and all(
        isinstance(value, StoredImage) for record in records.values() for value in record.values()
    )
    if is_of_folders:
        remedy = "Unpack it first, if it holds a folder of images for each class."
        got = f"images alone, such as {some(list(records)[:2])}"
        raise DataError(must_be(str(path), "a WebDataset shard, with a .cls or .json beside each image", got, remedy))
    if names:
        for record in records.values():
            if "label" in record:
                record["label"] = _named(record["label"], names, path)
    return list(records.values()), columns


def _is_hidden(member: tarfile.TarInfo) -> bool:
    return PurePosixPath(member.name).name.startswith(".")


def _at_first_dot(member: tarfile.TarInfo) -> tuple[str, str]:
    """Return the name of the example that a member belongs to, and the field that it is."""
    name = PurePosixPath(member.name)
    stem, _, field = name.name.partition(".")
    return str(name.with_name(stem)), field.lower()


def _at_last_dot(member: tarfile.TarInfo) -> tuple[str, str]:
    stem, _, field = member.name.rpartition(".")
    return stem, field.lower()


def _is_at_last_dot(members: Sequence[tarfile.TarInfo]) -> bool:
    """Return whether names have to end at the last dot: no member has one suffix alone, and divided so all examples
    have the same fields, an image or a text and something beside it."""
    if not members or any("." not in _at_first_dot(member)[1] for member in members):
        return False
    fields: dict[str, list[str]] = {}
    for member in members:
        key, field = _at_last_dot(member)
        fields.setdefault(key, []).append(field)
    kinds = {tuple(sorted("image" if f".{one}" in IMAGE_SUFFIXES else one for one in own)) for own in fields.values()}
    (kind,) = kinds if len(kinds) == 1 else ((),)
    return len(kind) > 1 and len(kind) == len(set(kind))


def _put(
    record: dict[str, object],
    field: str,
    shard: tarfile.TarFile,
    member: tarfile.TarInfo,
    path: PurePath,
    image_of: Callable[[tarfile.TarInfo], StoredImage],
) -> None:
    """Add what a member holds to the record of its example.

    Raises:
        DataError: it is too large, or not what its suffix says.
    """
    named, _, kind = field.rpartition(".")
    if f".{kind}" in IMAGE_SUFFIXES:
        record[named or "image"] = image_of(member)
        return
    if kind not in ("cls", "txt", "text", "json"):
        return
    where = f"{path.name}: {member.name}"
    if member.size > _MOST_BYTES:
        raise DataError(must_be(where, f"at most {_MOST_BYTES:,} bytes", f"{member.size:,}"))
    content = shard.extractfile(member)
    assert content is not None  # a regular file has one
    try:
        text = content.read().decode("utf-8-sig")
        found = json.loads(text) if kind == "json" else text.strip() if kind == "cls" else text
    except ValueError as error:
        allowed = "JSON" if kind == "json" else "UTF-8 text"
        raise DataError(must_be(where, allowed, str(error))) from error
    if kind == "json" and not named:
        if not isinstance(found, Mapping):
            raise DataError(must_be(where, "a JSON object", type(found).__name__))
        record.update({str(column): value for column, value in found.items() if column not in record})
    elif kind == "cls":
        record[named or "label"] = found
    else:
        record[named or kind] = found


def _class_names(path: Path) -> list[str]:
    """Return the names of the classes by their ids; none where no file says them."""
    for folder in (path.parent, path.parent.parent):
        if (file := folder / CLASS_NAMES).is_file():
            return names_in(file.read_text(encoding="utf-8"))
    return []


def names_in(text: str) -> list[str]:
    """Return the names of classes, a line each."""
    return [line.strip() for line in text.splitlines() if line.strip()]


def _named(label: object, names: Sequence[str], path: PurePath) -> object:
    """Return the name of a class id written as text; what is no number as it is.

    Raises:
        DataError: there is no name for an id.
    """
    if not isinstance(label, str) or not label.isdecimal():
        return label
    if int(label) >= len(names):
        allowed = f"a file with a line for every class id of {path.name}"
        raise DataError(must_be(CLASS_NAMES, allowed, f"{len(names)} lines, and the id {label}"))
    return names[int(label)]
