"""Shards of WebDataset as sources."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path
from typing import TypeAlias

import numpy as np
import pytest

from hftransfer.base.errors import DataError
from hftransfer.base.progress import Progress
from hftransfer.data.images import decode_image
from hftransfer.data.inputs import inputs_of, passed_over
from hftransfer.data.pictures import CAPTIONED_IMAGES, IMAGES
from hftransfer.data.reading import InputColumns, Reader
from hftransfer.data.roles import Found
from hftransfer.data.rows import MemberContent
from hftransfer.data.settings import DataSettings
from hftransfer.data.sources import find_rows
from hftransfer.data.tables import read_table
from hftransfer.data.texts import TEXTS
from tests.builders import faults_of, missing_words, picture

Members: TypeAlias = dict[str, bytes | str]
RED, BLUE = (212, 58, 47), (66, 119, 193)


def png(color: str) -> bytes:
    file = io.BytesIO()
    picture(color).save(file, "PNG")
    return file.getvalue()


def write_shard(path: Path, members: Members, mode: str = "w") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, mode) as shard:  # type: ignore[call-overload]  # the mode is no literal
        for name, content in members.items():
            data = content.encode() if isinstance(content, str) else content
            member = tarfile.TarInfo(name)
            member.size = len(data)
            shard.addfile(member, io.BytesIO(data))
    return path


def colors(start: int, labels: tuple[str, str] = ("1", "0")) -> Members:
    """A red picture of the first label and a blue one of the second."""
    return {
        f"{start:06}.png": png("red"),
        f"{start:06}.cls": labels[0],
        f"{start + 1:06}.png": png("blue"),
        f"{start + 1:06}.cls": labels[1],
    }


def rows_of(source: Path, reader: Reader = IMAGES, **settings: object) -> Found:
    return find_rows(DataSettings.model_validate({"source": str(source), **settings}), Progress(None), reader)


def told(source: Path, reader: Reader = IMAGES) -> str:
    with pytest.raises(DataError) as error:
        rows_of(source, reader)
    return faults_of(error)


def test_an_image_stays_in_its_shard_until_it_is_read(tmp_path: Path) -> None:
    (rows,) = rows_of(write_shard(tmp_path / "pets.tar", colors(7))).values()
    assert [(row.id, row.target) for row in rows] == [
        ("000007.png (pets.tar:1)", "1"),
        ("000008.png (pets.tar:2)", "0"),
    ]
    for row, color in zip(rows, (RED, BLUE), strict=True):
        assert isinstance(row.content, MemberContent)
        assert np.asarray(decode_image(row.content.read(), row.id))[0, 0].tolist() == list(color)


def test_shards_of_numbered_names_are_one_table(tmp_path: Path) -> None:
    for number in range(3):
        write_shard(tmp_path / f"{number:05}.tar", colors(2 * number))
    assert [(name, len(rows)) for name, rows in rows_of(tmp_path).items()] == [("all", 6)]


@pytest.mark.parametrize("before", ["", "pets-", "pets_"])
def test_shards_are_of_the_split_in_their_name(tmp_path: Path, before: str) -> None:
    for split, count in (("train", 3), ("val", 1), ("test", 2)):
        for number in range(count):
            write_shard(tmp_path / f"{before}{split}-{number:06}.tar", colors(2 * number))
    assert {name: len(rows) for name, rows in rows_of(tmp_path).items()} == {"train": 6, "validation": 2, "test": 4}


def test_the_layout_of_clip_benchmark_has_names_of_classes(tmp_path: Path) -> None:
    write_shard(tmp_path / "train" / "0.tar", colors(0))
    write_shard(tmp_path / "train" / "1.tar", colors(2))
    write_shard(tmp_path / "test" / "0.tar", colors(0))
    (tmp_path / "test" / "nshards.txt").write_text("1")
    (tmp_path / "classnames.txt").write_text("the sea\nthe evening sky\n")
    found = rows_of(tmp_path)
    assert {name: [row.target for row in rows] for name, rows in found.items()} == {
        "train": ["the evening sky", "the sea"] * 2,
        "test": ["the evening sky", "the sea"],
    }


def test_fields_of_json_are_columns(tmp_path: Path) -> None:
    members: Members = {"a/1.jpg": png("red"), "a/1.json": json.dumps({"label": "warm", "site": "north"})}
    members |= {"b/1.jpg": png("blue"), "b/1.json": json.dumps({"label": "cold", "site": "south"})}
    (rows,) = rows_of(write_shard(tmp_path / "s.tar", members), group_column="site").values()
    assert [(row.id, row.target, row.group) for row in rows] == [
        ("a/1.jpg (s.tar:1)", "warm", "north"),
        ("b/1.jpg (s.tar:2)", "cold", "south"),
    ]


def test_of_several_images_the_suffix_names_the_column(tmp_path: Path) -> None:
    members: Members = {"1.left.jpg": png("red"), "1.right.jpg": png("blue"), "1.cls": "far"}
    (rows,) = rows_of(write_shard(tmp_path / "s.tar", members), image_column="right").values()
    assert np.asarray(decode_image(rows[0].content.read(), ""))[0, 0].tolist() == list(BLUE)


@pytest.mark.parametrize("folder", ["", "photos/v1.0/"])
def test_names_with_dots_of_their_own_end_at_the_last(tmp_path: Path, folder: str) -> None:
    """Kaggle's cats and dogs are called so; webdataset and datasets make two examples of them."""
    names = [f"{folder}{kind}.{number}" for kind in ("cat", "dog") for number in range(3)]
    members: Members = {}
    for name in names:
        members |= {f"{name}.png": png("red" if "cat" in name else "blue"), f"{name}.cls": name.split("/")[-1][:3]}
    (rows,) = rows_of(write_shard(tmp_path / "pets.tar", members)).values()
    assert [row.target for row in rows] == ["cat"] * 3 + ["dog"] * 3
    contents = [row.content for row in rows]
    found = [content.name for content in contents if isinstance(content, MemberContent)]
    assert found == [f"{own}.png" for own in names]


def test_texts_beside_images_are_captions(tmp_path: Path) -> None:
    members: Members = {"1.webp": png("red"), "1.txt": "a red wall", "2.webp": png("blue"), "2.txt": "the sky"}
    (rows,) = rows_of(write_shard(tmp_path / "s.tar", members), CAPTIONED_IMAGES).values()
    assert [row.target for row in rows] == ["a red wall", "the sky"]


def test_texts_without_images_are_texts(tmp_path: Path) -> None:
    members: Members = {"1.txt": "loved it", "1.cls": "pos", "2.txt": "a bore", "2.cls": "neg"}
    (rows,) = rows_of(write_shard(tmp_path / "s.tar", members), TEXTS).values()
    assert [(row.content.texts, row.target) for row in rows] == [(("loved it",), "pos"), (("a bore",), "neg")]


def test_tables_in_folders_of_splits_are_read(tmp_path: Path) -> None:
    for split in ("train", "test"):
        (tmp_path / split).mkdir()
        (tmp_path / split / "0000.csv").write_text("text,label\nloved it,pos\na bore,neg\n")
    assert {name: len(rows) for name, rows in rows_of(tmp_path, TEXTS).items()} == {"train": 2, "test": 2}


@pytest.mark.parametrize("name", ["1.jpg", "cat.100.jpg"])
def test_an_archive_of_class_folders_is_told(tmp_path: Path, name: str) -> None:
    text = told(write_shard(tmp_path / "pets.tar", {f"cat/{name}": png("red"), f"dog/{name}": png("blue")}))
    assert missing_words(text, ("pets.tar must be a WebDataset shard", ".cls or .json", "Unpack it first")) == []


def test_a_compressed_shard_is_told(tmp_path: Path) -> None:
    text = told(write_shard(tmp_path / "pets.tar.gz", colors(0), "w:gz"))
    assert missing_words(text, ("data.source must be", "pets.tar.gz", "Unpack it first")) == []


@pytest.mark.parametrize(
    ("members", "words"),
    [
        ({"1.jpg": b"-", "1.json": "[1]"}, ("s.tar: 1.json must be a JSON object", "got list")),
        ({"1.jpg": b"-", "1.json": "{"}, ("s.tar: 1.json must be JSON",)),
        ({"1.jpg": b"-", "1.cls": b"\xff\xfe\xfa"}, ("s.tar: 1.cls must be UTF-8 text",)),
        ({"1.jpg": b"-", "1.cls": b"0" * 1_048_577}, ("s.tar: 1.cls must be at most 1,048,576 bytes",)),
    ],
)
def test_members_that_are_not_what_they_say_are_told(tmp_path: Path, members: Members, words: tuple[str, ...]) -> None:
    assert missing_words(told(write_shard(tmp_path / "s.tar", members)), words) == []


def test_what_is_no_tar_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "s.tar").write_bytes(b"no tar at all" * 100)
    assert missing_words(told(tmp_path / "s.tar"), ("s.tar must be a readable tar file",)) == []


def test_a_class_id_without_a_name_is_told(tmp_path: Path) -> None:
    (tmp_path / "classnames.txt").write_text("cat\n")
    text = told(write_shard(tmp_path / "s.tar", colors(0)))
    assert (
        missing_words(text, ("classnames.txt must be a file with a line for every class id", "1 lines, and the id 1"))
        == []
    )


def test_a_folder_of_compressed_shards_is_told(tmp_path: Path) -> None:
    for split in ("train", "test"):
        write_shard(tmp_path / split / "0.tar.gz", colors(0), "w:gz")
    assert missing_words(told(tmp_path), ("0.tar.gz", "Unpack archives first.")) == []


def test_a_shard_without_labels_is_read_as_inputs(tmp_path: Path) -> None:
    path = write_shard(tmp_path / "s.tar", {"1.png": png("red"), "2.png": png("blue")})
    table = read_table(path)
    assert [one.name for one in IMAGES.of_table(path, table, InputColumns(), name=path.name)] == [
        "1.png (s.tar:1)",
        "2.png (s.tar:2)",
    ]


def test_a_folder_of_shards_is_read_as_inputs(tmp_path: Path) -> None:
    for number in range(2):
        write_shard(tmp_path / f"{number}.tar", colors(2 * number))
    (tmp_path / "classnames.txt").write_text("dog\ncat\n", encoding="utf-8")
    given = inputs_of([str(tmp_path)], IMAGES)
    assert [one.name for one in given] == [f"{n:06}.png ({n // 2}.tar:{n % 2 + 1})" for n in range(4)]
    assert all(isinstance(one.value, MemberContent) for one in given)
    assert [Path(name).name for name in passed_over([str(tmp_path)], IMAGES)] == ["classnames.txt"]


def test_tables_beside_photos_are_no_inputs(tmp_path: Path) -> None:
    write_shard(tmp_path / "0.tar", colors(0))
    picture("red").save(tmp_path / "photo.png")
    assert [Path(one.name).name for one in inputs_of([str(tmp_path)], IMAGES)] == ["photo.png"]
    assert [Path(name).name for name in passed_over([str(tmp_path)], IMAGES)] == ["0.tar"]


def test_rows_of_tables_with_one_name_are_told_apart(tmp_path: Path) -> None:
    for split in ("train", "test"):
        write_shard(tmp_path / split / "0.tar", colors(0))
    found = rows_of(tmp_path)
    assert [row.id for row in found["test"]] == ["000000.png (test/0.tar:1)", "000001.png (test/0.tar:2)"]
    assert not {row.id for row in found["test"]} & {row.id for row in found["train"]}
    names = [one.name for one in inputs_of([str(tmp_path)], IMAGES)]
    assert names[::2] == ["000000.png (test/0.tar:1)", "000000.png (train/0.tar:1)"]
