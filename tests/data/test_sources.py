"""Rows from wherever they lie: folders, tables, data sets, Python objects."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pandas
import pyarrow
import pyarrow.parquet
import pytest

from hftransfer.base.cache import cache_folder
from hftransfer.base.errors import DataError
from hftransfer.base.progress import Progress
from hftransfer.data.images import decode_image
from hftransfer.data.inputs import inputs_of
from hftransfer.data.inspection import image_of, inspect_rows
from hftransfer.data.pictures import IMAGES
from hftransfer.data.roles import Found
from hftransfer.data.rows import DatasetContent, Row
from hftransfer.data.settings import DataSettings
from hftransfer.data.sources import find_rows, rows_from_python
from hftransfer.data.splits import split_rows
from hftransfer.data.texts import TEXTS
from tests.builders import encoded, faults_of, missing_words, picture, write_classes


def rows_of(source: Any, **settings: Any) -> Found:
    return find_rows(DataSettings(source=str(source), **settings), Progress(None))


def told(source: Any, **settings: Any) -> str:
    """The faults of a source."""
    with pytest.raises(DataError) as error:
        rows_of(source, **settings)
    return faults_of(error)


def told_of_python(data: Any, **settings: Any) -> str:
    with pytest.raises(DataError) as error:
        rows_from_python(data, DataSettings(source="memory", **settings))
    return faults_of(error)


def labels(rows: Iterable[Row]) -> list[str]:
    return [row.target for row in rows]


def pixels(row: Row) -> np.ndarray:
    return np.asarray(decode_image(row.content.read(), row.id))


@pytest.fixture
def images(tmp_path):
    """A folder with a.png (red), b.png (blue) and c.png (green)."""
    for name, color in (("a", "red"), ("b", "blue"), ("c", "green")):
        picture(color).save(tmp_path / f"{name}.png")
    return tmp_path


# --- folders ---------------------------------------------------------------------------------------------------------


def test_a_folder_of_class_folders_is_one_part_to_be_split(tmp_path):
    found = rows_of(write_classes(tmp_path, {"red": 2, "blue": 3}))
    assert list(found) == ["all"]
    assert labels(found["all"]) == ["blue"] * 3 + ["red"] * 2
    assert found["all"][0].id == "blue/000.png"


@pytest.mark.parametrize("validation", ["validation", "val", "valid", "dev", "Val"])
@pytest.mark.parametrize(("train", "test"), [("train", "test"), ("training", "testing")])
def test_splits_are_known_by_their_usual_names(tmp_path, train, validation, test):
    for number, name in enumerate((train, validation, test), start=1):
        write_classes(tmp_path / name, {"red": number, "blue": number})
    found = rows_of(tmp_path)
    assert {name: len(rows) for name, rows in found.items()} == {"train": 2, "validation": 4, "test": 6}
    assert found["validation"][0].id == f"{validation}/blue/000.png"


def test_splits_may_have_names_of_ones_own(tmp_path):
    for name in ("2023", "2024", "2025"):
        write_classes(tmp_path / name, {"red": 1, "blue": 1})
    found = rows_of(tmp_path, train_split="2023", validation_split="2024", test_split="2025")
    assert {name: rows[0].id[:4] for name, rows in found.items()} == {
        "train": "2023",
        "validation": "2024",
        "test": "2025",
    }


def test_a_split_that_is_named_but_not_there_is_told(tmp_path):
    write_classes(tmp_path / "train", {"red": 1, "blue": 1})
    text = told(tmp_path, test_split="trial", validation_split="vall")
    words = ("data.test_split must be a split of", "got 'trial'", "data.validation_split", "got 'vall'")
    assert missing_words(text, words) == []


def test_a_folder_beside_the_splits_is_told(tmp_path):
    for name in ("train", "test", "holdout"):
        write_classes(tmp_path / name, {"red": 1, "blue": 1})
    assert missing_words(told(tmp_path), ("must be splits only; got holdout", "data.test_split")) == []


def test_a_train_may_be_a_vehicle(tmp_path):
    write_classes(tmp_path, {"bus": 2, "car": 2, "train": 3})
    found = rows_of(tmp_path)
    assert sorted(labels(found["all"])) == ["bus", "bus", "car", "car", "train", "train", "train"]
    assert found.notes == ["warning: train/ is taken for a class, as the folders beside it are, and not for a split"]
    assert "a split of" in told(tmp_path, test_split="trial")
    assert "must be splits only; got bus, car" in told(tmp_path, train_split="train")


def test_a_folder_that_is_named_a_split_is_no_class(tmp_path):
    write_classes(tmp_path, {"red": 1, "blue": 1, "train": 1})
    assert "must be splits only; got blue, red" in told(tmp_path, test_split="train")


def test_splits_inside_classes_are_told_of(tmp_path):
    for name in ("red", "blue"):
        for split in ("train", "test"):
            write_classes(tmp_path / name, {split: 1})
    found = rows_of(tmp_path)
    assert labels(found["all"]) == ["blue", "blue", "red", "red"]
    assert missing_words(" ".join(found.notes), ("test, train inside the class folders are put together",)) == []


def test_a_table_beside_class_folders_is_told_of(tmp_path):
    write_classes(tmp_path, {"red": 1, "blue": 1})
    (tmp_path / "labels.csv").write_text("image,label\nred/000.png,x\nblue/000.png,y\n")
    found = rows_of(tmp_path)
    assert labels(found["all"]) == ["x", "y"]
    assert "the rows are those of labels.csv: the folders blue, red beside it are not taken for classes" in found.notes
    # Two tables of one name may hold the same rows.
    (tmp_path / "labels.jsonl").write_text('{"image": "red/000.png", "label": "x"}\n')
    assert missing_words(told(tmp_path), ("tables in", "one per split", "labels.csv, labels.jsonl")) == []


def test_a_split_that_a_table_does_not_have_is_told(tmp_path):
    write_classes(tmp_path, {"red": 1, "blue": 1})
    (tmp_path / "labels.csv").write_text("image,label\nred/000.png,x\nblue/000.png,y\n")
    text = told(tmp_path / "labels.csv", test_split="holdout", train_split="all of it")
    assert missing_words(text, ("data.test_split must be a split of", "'holdout'", "'all of it'")) == []


def test_a_class_called_like_a_split_is_told_of(tmp_path):
    write_classes(tmp_path, {"red": 1, "blue": 1, "test": 1})
    found = rows_of(tmp_path)
    assert labels(found["all"]) == ["blue", "red", "test"]
    assert found.notes == ["warning: test/ is taken for a class, as the folders beside it are, and not for a split"]


def test_two_folders_for_one_split_are_told(tmp_path):
    for name in ("train", "val", "valid"):
        write_classes(tmp_path / name, {"red": 1, "blue": 1})
    assert missing_words(told(tmp_path), ("val", "valid")) == []


def test_images_may_lie_deeper_in_a_class_folder(tmp_path):
    write_classes(tmp_path, {"red": 1, "blue": 1})
    write_classes(tmp_path / "red" / "2024", {"summer": 2})
    found = rows_of(tmp_path)["all"]
    assert labels(found) == ["blue", "red", "red", "red"]
    assert [row.id for row in found[2:]] == ["red/2024/summer/000.png", "red/2024/summer/001.png"]


def test_hidden_files_and_those_of_desktops_are_passed_over(tmp_path):
    write_classes(tmp_path, {"red": 1, "blue": 1})
    for name in (".DS_Store", "red/.DS_Store", "red/Thumbs.db", "blue/desktop.ini", "blue/._000.png"):
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / ".git").mkdir()
    (tmp_path / "__MACOSX" / "red").mkdir(parents=True)
    assert [row.id for row in rows_of(tmp_path)["all"]] == ["blue/000.png", "red/000.png"]


def test_a_loose_file_beside_class_folders_is_told(tmp_path):
    write_classes(tmp_path, {"red": 1, "blue": 1})
    (tmp_path / "splits.txt").touch()
    words = (
        str(tmp_path),
        "a folder of class folders; got the file splits.txt",
        "Move it into the folder of its class",
    )
    assert missing_words(told(tmp_path), words) == []


@pytest.mark.parametrize(
    "name", ["README.md", "readme.txt", "README.roboflow.txt", "LICENSE", "data.yaml", "about.pdf"]
)
def test_notes_beside_class_folders_are_skipped_and_told(tmp_path, name):
    for folder in (tmp_path / "alone", tmp_path / "split" / "train", tmp_path / "split" / "test"):
        write_classes(folder, {"red": 1, "blue": 1})
        (folder / name).write_text("x")
    for folder in (tmp_path / "alone", tmp_path / "split"):
        found = rows_of(folder)
        assert {len(rows) for rows in found.values()} == {2}
        assert f"{name} beside the class folders: skipped" in found.notes
    (tmp_path / "alone" / "readme.png").write_bytes(b"x")  # an image without a class
    assert missing_words(told(tmp_path / "alone"), ("a folder of class folders; got the file readme.png",)) == []


@pytest.mark.parametrize("name", ["README.md", "readme.txt", "LICENSE"])
def test_notes_in_class_folders_are_skipped_and_told_once(tmp_path, name):
    write_classes(tmp_path, {"red": 2, "blue": 1})
    for folder in ("red", "blue"):
        (tmp_path / folder / name).write_text("x")
    found = rows_of(tmp_path)
    assert len(found["all"]) == 3
    assert f"blue/{name}, red/{name} in the class folders: skipped" in found.notes


def test_essays_in_class_folders_may_be_submissions(tmp_path):
    for name in ("late", "early"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "submission.txt").write_text("An essay.")
    assert len(find_rows(DataSettings(source=str(tmp_path)), Progress(None), reader=TEXTS)["all"]) == 2


def test_a_class_folder_with_notes_alone_is_empty(tmp_path):
    write_classes(tmp_path, {"red": 2, "blue": 0})
    (tmp_path / "blue" / "README.md").write_text("x")
    assert missing_words(told(tmp_path), (f"the class folder {tmp_path}/blue must be a folder of images",)) == []


def test_a_loose_file_in_a_split_is_told(tmp_path):
    write_classes(tmp_path / "train", {"red": 1, "blue": 1})
    picture().save(tmp_path / "train" / "stray.png")
    assert missing_words(told(tmp_path), ("train", "the file stray.png")) == []


def test_images_without_class_folders_are_told(images):
    words = ("got the file a.png, b.png, c.png", "Put the images of each class in a folder named after the class")
    assert missing_words(told(images), words) == []


def test_an_empty_folder_is_told(tmp_path):
    words = (str(tmp_path), "a folder with a folder of images per class; got an empty folder")
    assert missing_words(told(tmp_path), words) == []


def test_an_empty_split_is_told(tmp_path):
    write_classes(tmp_path / "train", {"red": 1, "blue": 1})
    (tmp_path / "test").mkdir()
    assert missing_words(told(tmp_path), (f"{tmp_path}/test", "got an empty folder")) == []


def test_every_empty_class_folder_is_told(tmp_path):
    write_classes(tmp_path, {"red": 1, "blue": 0, "green": 0})
    words = (f"the class folder {tmp_path}/blue must be a folder of images", f"the class folder {tmp_path}/green")
    assert missing_words(told(tmp_path), words) == []


def test_a_link_out_of_the_folder_is_refused_unless_allowed(tmp_path):
    data, secret = write_classes(tmp_path / "data", {"red": 1, "blue": 1}), tmp_path / "secret.png"
    picture().save(secret)
    (data / "red" / "link.png").symlink_to(secret)
    words = (f"red/link.png must be inside {data}; got {secret}", "data.allow_outside_paths: true")
    assert missing_words(told(data), words) == []
    assert [row.id for row in rows_of(data, allow_outside_paths=True)["all"]][2] == "red/link.png"


def test_a_class_folder_that_is_a_link_out_is_refused_unless_allowed(tmp_path):
    data = write_classes(tmp_path / "data", {"red": 1, "blue": 1})
    (data / "green").symlink_to(write_classes(tmp_path / "elsewhere", {"green": 2}) / "green")
    assert missing_words(told(data), ("green/000.png must be inside", "green/001.png must be inside")) == []
    assert len(rows_of(data, allow_outside_paths=True)["all"]) == 4


def test_a_link_within_the_folder_is_fine(tmp_path):
    data = write_classes(tmp_path, {"red": 1, "blue": 1})
    (data / "red" / "again.png").symlink_to(data / "red" / "000.png")
    assert len(rows_of(data)["all"]) == 3


def test_a_link_that_leads_in_a_circle_is_told(tmp_path):
    data = write_classes(tmp_path, {"red": 2, "blue": 2})
    (data / "red" / "loop").symlink_to(data / "red")
    assert missing_words(told(data), ("red/loop", "a link back to a folder above")) == []


def test_splits_without_a_training_part_are_not_taken_for_classes(tmp_path):
    for name in ("val", "test"):
        write_classes(tmp_path / name, {"red": 2, "blue": 2})
    found = rows_of(tmp_path)
    assert {name: set(labels(rows)) for name, rows in found.items()} == {
        "validation": {"red", "blue"},
        "test": {"red", "blue"},
    }
    with pytest.raises(DataError, match=r"a set with a train split; got .*Set data.train_split"):
        split_rows(found, DataSettings(source="x"), 0)


def test_classes_may_be_named_like_splits(tmp_path):
    assert set(labels(rows_of(write_classes(tmp_path, {"test": 2, "control": 2}))["all"])) == {"test", "control"}


def test_a_folder_may_be_given_below_home_or_relative(tmp_path, monkeypatch):
    write_classes(tmp_path / "pets", {"red": 1, "blue": 1})
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    assert len(rows_of("~/pets")["all"]) == len(rows_of("pets")["all"]) == len(rows_of("./pets")["all"]) == 2


@pytest.mark.parametrize("source", ["/no/such/folder", "./nowhere", "~/nowhere", "a/b/c", "table.csv", "bad name!"])
def test_a_source_that_is_not_there_is_told(source, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = ("data.source must be an existing folder or CSV / JSONL / Parquet file, a Hub id", f"got '{source}'")
    assert missing_words(told(source), (*words, f"The current folder is {tmp_path}")) == []


def test_the_home_of_nobody_is_told():
    assert missing_words(told("~nosuchuser/pets"), ("data.source", "'~nosuchuser/pets'")) == []


def test_an_unknown_bundled_set_is_told_with_the_nearest():
    words = ("data.source must be a bundled data set", "'bundled/drawn-pet'", "Did you mean 'bundled/drawn-pets'?")
    assert missing_words(told("bundled/drawn-pet"), words) == []


def test_an_unknown_hub_id_offline_is_told_quickly():
    started = time.perf_counter()
    text = told("nobody/no-such-set")
    assert time.perf_counter() - started < 2
    assert missing_words(text, ("data.source", "'nobody/no-such-set'", "HF_HUB_OFFLINE")) == []


# --- tables ----------------------------------------------------------------------------------------------------------

RECORDS = [{"image": "a.png", "label": "red"}, {"image": "b.png", "label": "blue"}, {"image": "c.png", "label": "NA"}]


def write_table(path: Path, records: list[dict[str, Any]]) -> Path:
    frame = pandas.DataFrame(records)
    match path.suffix:
        case ".csv":
            frame.to_csv(path, index=False)
        case ".tsv":
            frame.to_csv(path, index=False, sep="\t")
        case ".jsonl":
            path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
        case ".parquet":
            frame.to_parquet(path)
    return path


KINDS = [".csv", ".tsv", ".jsonl", ".parquet"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_table_of_paths_gives_rows(images, kind):
    rows = rows_of(write_table(images / f"table{kind}", RECORDS))["all"]
    assert labels(rows) == ["red", "blue", "NA"]
    assert np.array_equal(pixels(rows[1]), np.asarray(picture("blue")))
    assert rows[0].id.startswith("a.png (table")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("image", "label"), [("Path", "Category"), ("file_name", "breed"), ("IMG", "class_name")])
def test_columns_are_found_by_their_usual_names(images, kind, image, label):
    records = [{"number": str(i), label: r["label"], image: r["image"]} for i, r in enumerate(RECORDS)]
    assert labels(rows_of(write_table(images / f"t{kind}", records))["all"]) == ["red", "blue", "NA"]


@pytest.mark.parametrize("kind", KINDS)
def test_columns_may_be_named(images, kind):
    records = [{"label": "wrong", "kind": r["label"], "image": "wrong", "photo": r["image"]} for r in RECORDS]
    rows = rows_of(write_table(images / f"t{kind}", records), image_column="photo", label_column="kind")["all"]
    assert labels(rows) == ["red", "blue", "NA"]


def test_a_named_column_that_is_not_there_is_told(images):
    text = told(write_table(images / "t.csv", RECORDS), label_column="lable")
    words = ("data.label_column must be a column of", "t.csv (image, label); got 'lable'", "Did you mean 'label'?")
    assert missing_words(text, words) == []


def test_a_table_without_usual_columns_is_told(images):
    text = told(write_table(images / "t.csv", [{"x": "a.png", "y": "red"}]))
    assert missing_words(text, ("a table with a column such as image; got x, y", "data.image_column=…")) == []


@pytest.mark.parametrize("kind", [".csv", ".tsv", ".jsonl"])
@pytest.mark.parametrize("word", ["NA", "null", "nan", "None", "N/A", "0", "01", "true", "1.0", "-"])
def test_words_that_look_like_nothing_stay_labels(images, kind, word):
    records = [{"image": "a.png", "label": word}, {"image": "b.png", "label": "other"}]
    assert labels(rows_of(write_table(images / f"t{kind}", records))["all"]) == [word, "other"]


def test_labels_in_any_script_stay_as_they_are(images):
    records = [{"image": "a.png", "label": "Größe 猫"}, {"image": "b.png", "label": 'a, "b"\tc'}]
    for kind in (".csv", ".jsonl", ".parquet"):
        assert labels(rows_of(write_table(images / f"t{kind}", records))["all"]) == ["Größe 猫", 'a, "b"\tc']


@pytest.mark.parametrize("kind", [".jsonl", ".parquet"])
def test_whole_numbers_are_names_too(images, kind):
    records = [{"image": "a.png", "label": 0}, {"image": "b.png", "label": 10}]
    assert labels(rows_of(write_table(images / f"t{kind}", records))["all"]) == ["0", "10"]


@pytest.mark.parametrize(("kind", "line"), [(".csv", 3), (".tsv", 3), (".jsonl", 2), (".parquet", 2)])
@pytest.mark.parametrize("nothing", [None, "", "  "])
def test_a_missing_label_is_told_with_its_line(images, kind, line, nothing):
    records: list[dict[str, Any]] = [RECORDS[0], {"image": "b.png", "label": nothing}, RECORDS[2]]
    text = told(write_table(images / f"t{kind}", records))
    assert f"t{kind}:{line}: column 'label' must be a label; got nothing" in text


def test_labels_of_mixed_types_are_told_with_their_lines(images):
    kinds: list[Any] = [0, "cat", 1.5]
    records = [{"image": "a.png", "label": kind} for kind in kinds]
    text = told(write_table(images / "t.jsonl", records))
    words = (
        "t.jsonl:2: column 'label' must be of one type: int, as in the rows before; got 'cat' (str)",
        "Write all labels as names",
        "t.jsonl:3: column 'label' must be a name or a whole number; got 1.5 (float)",
    )
    assert missing_words(text, words) == []


@pytest.mark.parametrize("value", [{"a": 1}, [1, {}], 2.5])
def test_a_label_that_is_no_name_is_told(images, value):
    text = told(write_table(images / "t.jsonl", [{"image": "a.png", "label": value}]))
    shown = repr(value[1] if isinstance(value, list) else value)
    assert missing_words(text, ("t.jsonl:1: column 'label' must be a name or a whole number", shown)) == []


def test_blank_lines_do_not_shift_the_lines_that_are_told(images):
    (images / "t.jsonl").write_text('{"image": "a.png", "label": "x"}\n\n\n{"image": "b.png", "label": null}\n')
    assert "t.jsonl:4: column 'label'" in told(images / "t.jsonl")
    (images / "t.csv").write_text("image,label\na.png,x\n\n\nb.png,\n")
    assert "t.csv:5: column 'label'" in told(images / "t.csv")


def test_a_line_that_is_no_json_object_is_told(images):
    (images / "t.jsonl").write_text('{"image": "a.png", "label": "x"}\n[1]\n{"image": \n')
    words = ("t.jsonl:2 must be a JSON object; got [1]", "t.jsonl:3 must be a JSON object")
    assert missing_words(told(images / "t.jsonl"), words) == []


@pytest.mark.parametrize("kind", [".csv", ".jsonl"])
def test_a_byte_order_mark_is_passed_over(images, kind):
    path = write_table(images / f"t{kind}", RECORDS)
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert len(rows_of(path)["all"]) == 3


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("content", [b"", b"\xff\xfe\x00\x00", b"image,label\n"])
def test_a_table_that_is_none_is_told(tmp_path, kind, content):
    (tmp_path / f"t{kind}").write_bytes(content)
    assert f"t{kind}" in told(tmp_path / f"t{kind}")


def test_a_ragged_csv_is_told(tmp_path):
    (tmp_path / "t.csv").write_text("image,label\na.png,red\nb.png,blue,extra,more\n")
    assert missing_words(told(tmp_path / "t.csv"), ("t.csv:3 must be 2 cells", "got 4")) == []


@pytest.mark.parametrize("value", ["../secret.png", "sub/../../secret.png", "/etc/hostname", "link.png"])
@pytest.mark.parametrize("kind", [".csv", ".parquet"])
def test_a_path_out_of_the_folder_is_refused(tmp_path, kind, value):
    data = tmp_path / "data"
    data.mkdir()
    picture().save(tmp_path / "secret.png")
    (data / "link.png").symlink_to(tmp_path / "secret.png")
    text = told(write_table(data / f"t{kind}", [{"image": value, "label": "x"}]))
    assert (
        missing_words(text, (f"the image path '{value}' (t{kind}:", "inside", "data.allow_outside_paths: true")) == []
    )


def test_a_path_out_of_the_folder_can_be_allowed(tmp_path):
    (tmp_path / "data").mkdir()
    picture().save(tmp_path / "photo.png")
    records = [{"image": "../photo.png", "label": "x"}, {"image": str(tmp_path / "photo.png"), "label": "y"}]
    rows = rows_of(write_table(tmp_path / "data" / "t.csv", records), allow_outside_paths=True)["all"]
    assert [pixels(row).shape for row in rows] == [(32, 40, 3)] * 2


@pytest.mark.parametrize("value", ["https://example.org/a.png", "file:///etc/passwd", "s3://bucket/a.png"])
def test_addresses_are_refused(images, value):
    text = told(write_table(images / "t.csv", [{"image": value, "label": "x"}]), allow_outside_paths=True)
    words = ("t.csv:2 must be a row with a local image path", f"got '{value}'", "Download the images first")
    assert missing_words(text, words) == []


@pytest.mark.parametrize("value", ["~nosuchuser/a.png", "a\0b.png", "x" * 300, ""])
def test_a_path_that_can_be_no_file_is_told(images, value):
    assert "t.jsonl:1" in told(write_table(images / "t.jsonl", [{"image": value, "label": "x"}]))


def test_all_missing_files_are_told_up_to_ten(images):
    records = [{"image": f"no-{number}.png", "label": "x"} for number in range(14)]
    text = told(write_table(images / "t.csv", records))
    words = ("the image path 'no-0.png' (t.csv:2) must be a file inside", "'no-9.png'", "… and 4 more like these")
    assert missing_words(text, words) == []


def test_a_folder_of_tables_is_read_by_split(images):
    for name in ("train", "valid", "test"):
        write_table(images / f"{name}.csv", RECORDS[: 1 if name == "test" else 3])
    found = rows_of(images)
    assert {name: len(rows) for name, rows in found.items()} == {"train": 3, "validation": 3, "test": 1}


def test_a_folder_with_one_table_is_split_later(images):
    write_table(images / "labels.csv", RECORDS)
    assert list(rows_of(images)) == ["all"]


def test_tables_that_are_no_splits_are_told(images):
    write_table(images / "train.csv", RECORDS)
    write_table(images / "extra.csv", RECORDS)
    assert missing_words(told(images), ("one per split; got extra.csv", "train, validation and test")) == []


def test_two_tables_for_one_split_are_told(images):
    for name in ("train.csv", "test.csv", "test.jsonl"):
        write_table(images / name, RECORDS)
    assert missing_words(told(images), ("test.csv", "test.jsonl")) == []


def test_another_kind_of_file_is_told(images):
    text = told(images / "a.png")
    assert (
        missing_words(
            text, ("data.source must be a folder or a .csv, .tsv, .jsonl, .json, .parquet or .tar file", "a.png")
        )
        == []
    )


def test_parquet_may_hold_the_images_themselves(tmp_path):
    records = [
        {"image": {"bytes": encoded(picture("red")), "path": None}, "label": "red"},
        {"image": {"bytes": encoded(picture("blue")), "path": "b.png"}, "label": "blue"},
    ]
    rows = rows_of(write_table(tmp_path / "t.parquet", records))["all"]
    assert np.array_equal(pixels(rows[0]), np.asarray(picture("red")))
    plain = [{"image": record["image"]["bytes"], "label": record["label"]} for record in records]  # type: ignore[index]
    rows = rows_of(write_table(tmp_path / "p.parquet", plain))["all"]
    assert np.array_equal(pixels(rows[1]), np.asarray(picture("blue")))


@pytest.fixture
def large_from_a_byte_on(monkeypatch):
    monkeypatch.setattr("hftransfer.data.parquet_images.MOST_IN_MEMORY_BYTES", 0)


@pytest.mark.usefixtures("large_from_a_byte_on")
def test_images_of_a_large_parquet_file_stay_on_the_disk(tmp_path):
    names = ["red", "blue", "sand"]
    structs = [{"image": {"bytes": encoded(picture(name)), "path": f"{name}.png"}, "label": name} for name in names]
    for file, records in (
        (tmp_path / "t.parquet", structs),
        (tmp_path / "p.parquet", [{"label": one["label"], "image": one["image"]["bytes"]} for one in structs]),  # type: ignore[index]
    ):
        rows = rows_of(write_table(file, records))["all"]
        assert [type(row.content) for row in rows] == [DatasetContent] * 3
        assert [row.id for row in rows] == [f"{file.name}:{number}" for number in (1, 2, 3)]
        for row in reversed(rows):
            assert np.array_equal(pixels(row), np.asarray(picture(row.target)))
        asked = inputs_of([str(file)], IMAGES)
        assert np.array_equal(np.asarray(image_of(asked[2].value, "it")), np.asarray(picture("sand")))


@pytest.mark.usefixtures("large_from_a_byte_on")
def test_a_large_parquet_file_that_was_changed_is_read_anew(tmp_path):
    file = tmp_path / "t.parquet"
    for name in ("red", "blue"):
        write_table(file, [{"image": encoded(picture(name)), "label": name}])
        os.utime(file, ns=(1, 2 if name == "red" else 3))
        (row,) = rows_of(file)["all"]
        assert np.array_equal(pixels(row), np.asarray(picture(name)))


@pytest.mark.usefixtures("large_from_a_byte_on")
def test_a_row_without_image_is_told_and_its_path_is_not_followed(tmp_path):
    (tmp_path / "outside.png").write_bytes(encoded(picture("red")))
    path = str(tmp_path / "outside.png")
    records = [
        {"image": {"bytes": encoded(picture("blue")), "path": None}, "label": "blue"},
        {"image": {"bytes": None, "path": path}, "label": "red"},
    ]
    (tmp_path / "data").mkdir()
    text = told(write_table(tmp_path / "data" / "t.parquet", records))
    assert missing_words(text, ("t.parquet:2", "a row with an image path", "got None")) == []


@pytest.mark.usefixtures("large_from_a_byte_on")
def test_a_large_parquet_file_that_is_damaged_is_told_and_leaves_nothing(tmp_path):
    file = write_table(tmp_path / "t.parquet", [{"image": bytes(range(256)) * 40, "label": "a"}])
    content = bytearray(file.read_bytes())
    content[4:40] = b"\xff" * 36
    file.write_bytes(content)
    assert missing_words(told(file), ("t.parquet must be a readable .parquet table",)) == []
    assert list(cache_folder("data").glob("*parquet*")) == []


@pytest.mark.usefixtures("large_from_a_byte_on")
def test_a_large_parquet_file_may_have_a_name_twice(tmp_path):
    image, other = encoded(picture("red")), encoded(picture("blue"))
    columns = [[image], ["red"], [other], [other]]
    table = pyarrow.table(columns, names=["image", "label", "mask", "mask"])
    pyarrow.parquet.write_table(table, tmp_path / "t.parquet")
    (row,) = rows_of(tmp_path / "t.parquet")["all"]
    assert np.array_equal(pixels(row), np.asarray(picture("red")))


@pytest.mark.usefixtures("large_from_a_byte_on")
def test_large_parquet_files_may_hold_no_images(tmp_path, image_set):
    records = [{"text": "good", "label": "a"}, {"text": "bad", "label": "b"}]
    path = write_table(tmp_path / "t.parquet", records)
    rows = find_rows(DataSettings(source=str(path)), Progress(None), TEXTS)["all"]
    assert [row.content.texts for row in rows] == [("good",), ("bad",)]
    image_set.to_parquet(str(tmp_path / "i.parquet"))
    rows = rows_of(tmp_path / "i.parquet", image_column="photo", label_column="kind")["all"]
    assert labels(rows) == ["sand", "red", "sand"]
    assert np.array_equal(pixels(rows[1]), np.asarray(picture("red")))


def test_class_names_in_parquet_that_datasets_wrote_are_kept(tmp_path, image_set):
    image_set.to_parquet(str(tmp_path / "t.parquet"))
    rows = rows_of(tmp_path / "t.parquet", image_column="photo", label_column="kind")["all"]
    assert labels(rows) == ["sand", "red", "sand"]


# --- data sets -------------------------------------------------------------------------------------------------------


@pytest.fixture
def image_set():
    """A `datasets.Dataset` with an Image and a ClassLabel whose order is not alphabetical."""
    features = datasets.Features({"photo": datasets.Image(), "kind": datasets.ClassLabel(names=["sand", "red"])})
    rows = {"photo": [picture("sand"), picture("red"), picture("sand", 1)], "kind": [0, 1, 0]}
    return datasets.Dataset.from_dict(rows, features=features)


def test_a_dataset_gives_its_class_names(image_set):
    rows = rows_from_python(image_set, DataSettings(source="memory"))["all"]
    assert labels(rows) == ["sand", "red", "sand"]
    assert np.array_equal(pixels(rows[1]), np.asarray(picture("red")))


def test_a_dataset_dict_gives_its_splits(image_set):
    parts = datasets.DatasetDict(train=image_set, val=image_set.select([0]), test=image_set.select([1, 2]))
    found = rows_from_python(parts, DataSettings(source="memory"))
    assert {name: labels(rows) for name, rows in found.items()} == {
        "train": ["sand", "red", "sand"],
        "validation": ["sand"],
        "test": ["red", "sand"],
    }
    assert np.array_equal(pixels(found["test"][1]), np.asarray(picture("sand", 1)))


def test_a_saved_dataset_is_loaded_from_its_folder(image_set, tmp_path):
    image_set.save_to_disk(str(tmp_path / "one"))
    datasets.DatasetDict(train=image_set, test=image_set).save_to_disk(str(tmp_path / "splits"))
    assert {name: labels(rows) for name, rows in rows_of(tmp_path / "one").items()} == {"all": ["sand", "red", "sand"]}
    assert list(rows_of(tmp_path / "splits")) == ["train", "test"]


def test_a_folder_that_only_looks_like_a_saved_dataset_is_told(tmp_path):
    (tmp_path / "dataset_info.json").write_text("{")
    assert str(tmp_path) in told(tmp_path)


def test_paths_in_a_dataset_are_read(images):
    rows = {"image": [str(images / "a.png"), str(images / "b.png")], "label": ["red", "blue"]}
    found = rows_from_python(datasets.Dataset.from_dict(rows), DataSettings(source="memory"))["all"]
    assert labels(found) == ["red", "blue"]
    assert np.array_equal(pixels(found[1]), np.asarray(picture("blue")))


def test_the_row_of_a_dataset_without_label_is_told(image_set):
    features = image_set.features
    rows = {"photo": [picture(), picture()], "kind": [0, -1]}
    text = told_of_python(datasets.Dataset.from_dict(rows, features=features))
    assert "row[1]: column 'kind' must be a label; got nothing" in text


def test_the_row_of_a_dataset_without_image_is_told(image_set):
    rows = {"photo": [picture(), None], "kind": [0, 1]}
    dataset = datasets.Dataset.from_dict(rows, features=image_set.features)

    def look() -> None:
        found = rows_from_python(dataset, DataSettings(source="memory"))
        raise DataError(*inspect_rows(found["all"]).faults.values())

    with pytest.raises(DataError, match=r"row\[1\]"):
        look()


def test_a_dataset_with_several_usual_columns_takes_the_named_one(image_set):
    wider = image_set.add_column("label", ["x", "y", "x"])
    assert labels(rows_from_python(wider, DataSettings(source="memory", label_column="label"))["all"]) == [
        "x",
        "y",
        "x",
    ]
    assert "data.label_column" in told_of_python(wider, label_column="lable")


# --- Python objects --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["pil", "array", "bytes", "path", "string"])
def test_images_from_python_come_in_many_forms(form, tmp_path):
    image = picture("sand")
    image.save(tmp_path / "x.png")
    value = {
        "pil": image,
        "array": np.asarray(image),
        "bytes": encoded(image),
        "path": tmp_path / "x.png",
        "string": str(tmp_path / "x.png"),
    }[form]
    (row,) = rows_from_python([(value, "sand")], DataSettings(source="memory"))["all"]
    assert row.target == "sand"
    assert np.array_equal(pixels(row), np.asarray(image))


def test_rows_from_python_may_be_pairs_dicts_or_a_generator():
    settings = DataSettings(source="memory")
    image = picture()
    for data in (
        [(image, "a"), [image, "b"]],
        ({"image": image, "label": "a"}, {"image": image, "label": "b"}),
        ((image, name) for name in "ab"),
        pandas.DataFrame({"image": [image, image], "label": ["a", "b"]}),
    ):
        assert labels(rows_from_python(data, settings)["all"]) == ["a", "b"]


def test_columns_of_rows_from_python_may_be_named():
    rows = [{"photo": picture(), "kind": "a", "label": "wrong"}]
    settings = DataSettings(source="memory", image_column="photo", label_column="kind")
    assert labels(rows_from_python(rows, settings)["all"]) == ["a"]


def test_splits_from_python_keep_their_roles():
    pair = [(picture(), "a")]
    found = rows_from_python({"train": pair, "valid": pair * 2, "test": pair * 3}, DataSettings(source="memory"))
    assert {name: len(rows) for name, rows in found.items()} == {"train": 1, "validation": 2, "test": 3}


@pytest.mark.parametrize("kind", [np.int64, np.uint8, np.str_])
def test_labels_from_numpy_are_names_too(kind):
    values = np.array([1, 0, 1]).astype(kind)
    rows = rows_from_python([(picture(), label) for label in values], DataSettings(source="memory"))["all"]
    assert labels(rows) == ["1", "0", "1"]


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (3, ("data must be rows of (image, label)", "got int")),
        ("./no-folder", ("data.source must be an existing folder", "got './no-folder'")),
        ([picture()], ("row[0] must be an (image, label) pair or a dict",)),
        ([(picture(), "a", 1)], ("row[0] must be an (image, label) pair",)),
        ([(None, "a")], ("row[0] must be a path, bytes, an open file, a PIL image or a uint8 array; got NoneType",)),
        ([(picture(), None)], ("row[0]: column 'label' must be a label; got nothing",)),
        ([(picture(), "a"), (picture(), 1)], ("row[1]: column 'label' must be of one type: str",)),
        ([{"image": picture()}], ("row[0]", "a column such as label")),
        ({"train": [(picture(), 1.5)]}, ("train[0]: column 'label' must be a name or a whole number",)),
        (pandas.DataFrame({"image": [b"x"], "label": [None]}), ("row[0]", "label")),
    ],
)
def test_objects_that_are_no_rows_are_told(data, words):
    assert missing_words(told_of_python(data), words) == []


def test_a_split_from_python_of_unknown_name_is_told():
    pair = [(picture(), "a")]
    assert "holdout" in told_of_python({"train": pair, "holdout": pair})


def test_both_wrong_columns_are_told(images):
    table = write_table(images / "t.csv", [{"image": "red/000.png", "label": "red"}])
    text = told(table, image_column="imgae", label_column="lable")
    assert missing_words(text, ("data.image_column", "Did you mean 'image'?", "data.label_column", "'label'?")) == []


def test_a_table_with_semicolons_is_read_and_told(images):
    (images / "t.csv").write_text("image;label\na.png;red\nb.png;blue, or so\n")
    found = rows_of(images / "t.csv")
    assert labels(found["all"]) == ["red", "blue, or so"]
    assert found.notes == ["t.csv: columns are separated by semicolons"]
