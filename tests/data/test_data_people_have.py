"""Archives, tables and folders as people have them: read right, asked about, or refused in words."""

from __future__ import annotations

import bz2
import gzip
import json
import os
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pandas
import pytest
from PIL import Image

from hftransfer.base.errors import DataError, HftransferError, RecipeError
from hftransfer.base.progress import Progress
from hftransfer.data.depth import PixelRange
from hftransfer.data.images import decode_image, inspect_image
from hftransfer.data.inputs import inputs_of, passed_over
from hftransfer.data.inspection import as_content, decode_row
from hftransfer.data.pictures import IMAGES
from hftransfer.data.questions import QUESTIONS
from hftransfer.data.reading import Reader
from hftransfer.data.roles import Found, affixed_roles
from hftransfer.data.rows import QuestionContent, Row, TextContent
from hftransfer.data.settings import DataSettings
from hftransfer.data.sources import find_rows, rows_from_python
from hftransfer.data.splits import Splits, build_splits, build_test_only, labelled_split
from hftransfer.data.tables import read_table, table_stem, table_suffix
from hftransfer.data.targets import SPANS
from hftransfer.data.texts import TEXTS
from hftransfer.jobs.drafts import draft
from hftransfer.recipe import load_recipe, seen_from
from tests.builders import encoded, faults_of, missing_words, picture, write_classes

SILENT = Progress(None)
SENTENCES = [f"{'a lovely film' if number % 2 else 'an awful film, really'} number {number}" for number in range(40)]


def read(source: Path | str, reader: Reader = IMAGES, **settings: Any) -> Found:
    return find_rows(DataSettings(source=str(source), **settings), SILENT, reader)


def told(source: Path | str, reader: Reader = IMAGES, **settings: Any) -> str:
    with pytest.raises(HftransferError) as error:
        read(source, reader, **settings)
    return faults_of(error)


def split(found: Found, reader: Reader = IMAGES, **settings: Any) -> Splits:
    return build_splits(found, DataSettings(source="memory", **settings), 0, SILENT, reader)


def labels(rows: list[Row]) -> list[str]:
    return sorted({row.target for row in rows})


def table(path: Path, rows: list[tuple[Any, ...]], header: str = "text,label", separator: str = ",") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [header, *(separator.join(f'"{cell}"' for cell in row) for row in rows)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


# --- a column name twice ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".csv", ".tsv"])
def test_a_column_that_is_used_and_there_twice_is_refused_with_both_places(tmp_path: Path, suffix: str) -> None:
    sign = "\t" if suffix == ".tsv" else ","
    path = table(tmp_path / f"t{suffix}", [("a film", "pos", "row 1")], sign.join(("text", "label", "text")), sign)
    words = ("the column 'text' of", "must be unique; got columns 1 and 3")
    assert missing_words(told(path, TEXTS), words) == []


def test_columns_of_a_frame_with_one_name_are_refused_where_they_are_used() -> None:
    frame = pandas.DataFrame([["a", "x", "row 1"], ["b", "y", "row 2"]], columns=["text", "label", "text"])
    with pytest.raises(DataError, match=r"the column 'text' .* got columns 1 and 3"):
        rows_from_python(frame, DataSettings(source="memory"), TEXTS)
    frame.columns = pandas.Index(["text", "label", "label"])
    with pytest.raises(DataError, match=r"the column 'label' .* got columns 2 and 3"):
        rows_from_python(frame, DataSettings(source="memory"), TEXTS)


def test_a_column_there_twice_that_is_not_used_is_none_of_our_business(tmp_path: Path) -> None:
    path = table(tmp_path / "t.csv", [("a film", "pos", "1", "2")], "text,label,id,id")
    assert [row.target for row in read(path, TEXTS)["all"]] == ["pos"]


def test_what_is_predicted_is_no_column_that_is_there_twice(tmp_path: Path) -> None:
    path = table(tmp_path / "t.csv", [("a film", "row 1")], "text,text")
    with pytest.raises(DataError, match="must be unique"):
        inputs_of([str(path)], TEXTS)


@pytest.mark.parametrize("name", ["t.jsonl", "t.json"])
def test_a_key_twice_in_an_object_is_told(tmp_path: Path, name: str) -> None:
    record = '{"text": "a film", "label": "pos", "text": "row 1"}'
    (tmp_path / name).write_text(record if name == "t.jsonl" else f"[{record}]")
    assert missing_words(told(tmp_path / name, TEXTS), ("the key 'text'", "given once")) == []


# --- deep greyscale --------------------------------------------------------------------------------------------------


def deep(values: np.ndarray, form: str = "PNG") -> bytes:
    return encoded(Image.fromarray(values), form)


def write_deep(folder: Path, factor: int) -> tuple[Path, dict[str, np.ndarray]]:
    """Two classes of 8-bit pictures times a factor, in 16 bits; and the pictures by their names."""
    random = np.random.default_rng(0)
    pictures = {}
    for label in ("a", "b"):
        (folder / label).mkdir(parents=True)
        for number in range(6):
            values = random.integers(0, 256, (8, 9)).astype(np.uint16)
            values[0, 0] = 255
            (folder / label / f"{number}.png").write_bytes(deep(values * factor))
            pictures[f"{label}/{number}.png"] = values.astype(np.uint8)
    return folder, pictures


@pytest.mark.parametrize(("bits", "factor"), [(8, 1), (10, 4), (12, 16), (14, 64), (16, 257)])
def test_the_range_of_a_data_set_decides_what_is_white(tmp_path: Path, bits: int, factor: int) -> None:
    folder, pictures = write_deep(tmp_path / "data", factor)
    splits = split(read(folder))
    assert splits.pixels == PixelRange(0, 2**bits - 1)
    assert any(f"values of 0 to {2**bits - 1:,} become 0 to 255" in note for note in splits.notes)
    for _, part in splits.items():
        for row in part.rows:
            ours = np.asarray(decode_row(row))[:, :, 0].astype(int)
            wanted = np.rint(pictures[row.id].astype(float) * factor * 255 / (2**bits - 1))
            assert np.array_equal(ours, wanted)


def test_digests_of_deep_images_tell_of_the_range_they_are_read_by(tmp_path: Path) -> None:
    folder, _ = write_deep(tmp_path / "data", 16)
    alone = split(read(folder))
    (folder / "a" / "bright.png").write_bytes(deep(np.full((8, 9), 60_000, dtype=np.uint16)))
    together = split(read(folder))
    assert together.pixels == PixelRange(0, 65535)
    assert set(alone.train.digests).isdisjoint(together.train.digests)


@pytest.mark.parametrize(
    ("least", "most", "whole", "wanted"),
    [
        (0, 4095, True, (0, 4095)),
        (0, 4096, True, (0, 8191)),
        (-1024, 3071, True, (-1024, 4095)),
        (-1000, 0, True, (-1024, 1)),
        (0, 0, True, (0, 1)),
        (0.0, 0.9, False, (0, 1)),
        (-0.8, 0.7, False, (-1, 1)),
        (0.0, 200.5, False, (0, 255)),
        (-900.0, 3000.0, False, (-1024, 4095)),
    ],
)
def test_ranges_are_powers_of_two_around_the_values(least: float, most: float, whole: bool, wanted: Any) -> None:
    assert PixelRange.around(least, most, whole=whole) == wanted


def test_images_beyond_the_range_of_a_model_are_told_and_not_clipped() -> None:
    content = deep(np.full((4, 4), 40_000, dtype=np.uint16))
    with pytest.raises(DataError, match=r"with values 0 to 4,095, like the .* got values up to 40,000"):
        decode_image(content, "x.png", pixels=PixelRange(0, 4095))
    stray = np.full((20, 20), 2048, dtype=np.uint16)
    stray[0, 0] = 5000  # one bright point is clipped
    assert np.asarray(decode_image(deep(stray), "x.png", pixels=PixelRange(0, 4095)))[0, 0, 0] == 255


def test_deep_images_given_from_python_keep_their_depth() -> None:
    values = np.arange(64, dtype=np.uint16).reshape(8, 8) * 64
    for given in (values, Image.fromarray(values)):
        rows = rows_from_python(
            [(given, "a"), (given + 1 if given is values else given, "b")] * 6, DataSettings(source="m")
        )
        splits = split(rows)
        assert splits.pixels == PixelRange(0, 4095)
        assert np.asarray(decode_row(splits.train.rows[0])).max() == round(4032 / 4095 * 255)
    assert as_content(values, "x").read() == as_content(values.copy(), "x").read()


def test_models_are_judged_by_their_own_range_or_that_of_the_data(tmp_path: Path) -> None:
    folder, _ = write_deep(tmp_path / "data", 16)
    rows = read(folder)["all"]
    own = labelled_split(rows, ("a", "b"), IMAGES, pixels=PixelRange(0, 65535))
    assert {row.pixels for row in own.rows} == {PixelRange(0, 65535)}
    assert {row.pixels for row in labelled_split(rows, ("a", "b"), IMAGES).rows} == {PixelRange(0, 4095)}
    assert {row.pixels for row in build_test_only(read(folder), DataSettings(source="m"), SILENT).test.rows} == {
        PixelRange(0, 4095)
    }


def test_coloured_images_of_few_of_their_16_bits_are_told(tmp_path: Path) -> None:
    import struct
    import zlib

    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    def png(top: int) -> bytes:
        values = np.full((4, 4, 3), top, dtype=">u2")
        lines = b"".join(b"\0" + line.tobytes() for line in values)
        header = struct.pack(">IIBBBBB", 4, 4, 16, 2, 0, 0, 0)
        parts = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(lines)) + chunk(b"IEND", b"")
        return b"\x89PNG\r\n\x1a\n" + parts

    for label in ("a", "b"):
        (tmp_path / label).mkdir()
        for number in range(8):
            (tmp_path / label / f"{number}.png").write_bytes(png(4000 + number))
    with pytest.raises(DataError, match=r"16-bit colour images .* values of at most 12 bits"):
        split(read(tmp_path))
    (tmp_path / "a" / "0.png").write_bytes(png(60_000))
    assert split(read(tmp_path)).pixels is None


# --- folders ---------------------------------------------------------------------------------------------------------


def test_splits_in_the_names_of_folders_are_followed_and_told(tmp_path: Path) -> None:
    for name in ("seg_train", "seg_test"):
        write_classes(tmp_path / name / name, {"red": 2, "blue": 2})
    (tmp_path / "seg_pred" / "seg_pred").mkdir(parents=True)
    picture().save(tmp_path / "seg_pred" / "seg_pred" / "1.png")
    found = read(tmp_path)
    assert {name: labels(rows) for name, rows in found.items()} == {"train": ["blue", "red"], "test": ["blue", "red"]}
    assert missing_words(" ".join(found.notes), ("seg_train is train", "seg_test is test", "seg_pred without")) == []


@pytest.mark.parametrize(
    ("names", "wanted"),
    [
        (["training_set", "test_set"], {"training_set": "train", "test_set": "test"}),
        (["train-v1.1", "dev-v1.1"], {"train-v1.1": "train", "dev-v1.1": "validation"}),
        (["train_station", "test_tube"], {}),
        (["train", "bus"], {}),
        (["cat", "dog"], {}),
        (["train_test", "dog"], {}),
    ],
)
def test_one_word_of_names_that_are_else_alike_names_a_split(names: list[str], wanted: dict[str, str]) -> None:
    assert affixed_roles(names) == wanted


@pytest.mark.parametrize("variant", ["color", "PlantVillage-grayscale", "Segmented"])
def test_variants_of_pictures_are_no_classes(tmp_path: Path, variant: str) -> None:
    for name in (variant, "other"):
        write_classes(tmp_path / name, {"rust": 2, "healthy": 2})
    words = ("must be classes, or splits", "variants of the same pictures", "data.source=")
    assert missing_words(told(tmp_path), words) == []
    assert labels(read(tmp_path / variant)["all"]) == ["healthy", "rust"]


def test_folders_with_like_folders_inside_are_classes_and_that_is_told(tmp_path: Path) -> None:
    for name in ("cat", "dog"):
        write_classes(tmp_path / name, {"front": 2, "side": 2})
    found = read(tmp_path)
    assert labels(found["all"]) == ["cat", "dog"]
    assert missing_words(" ".join(found.notes), ("cat, dog are taken for the classes", "front, side")) == []


def test_masks_beside_the_images_of_a_class_are_left_out_and_told(tmp_path: Path) -> None:
    for name in ("COVID", "Normal"):
        write_classes(tmp_path / name, {"images": 3, "masks": 3})
    found = read(tmp_path)
    assert {row.id.split("/")[1] for row in found["all"]} == {"images"}
    assert labels(found["all"]) == ["COVID", "Normal"]
    assert "of class folders, images is read, and masks left out" in found.notes


def test_images_beside_masks_are_for_another_task(tmp_path: Path) -> None:
    write_classes(tmp_path, {"images": 3, "masks": 3})
    assert missing_words(told(tmp_path), ("mask or annotation of each image", "for task image-segmentation")) == []


@pytest.mark.parametrize("place", ["PetImages", "archive/PetImages", "train/images", "images/train"])
def test_folders_that_wrap_others_are_followed(tmp_path: Path, place: str) -> None:
    write_classes(tmp_path / place, {"Cat": 2, "Dog": 2})
    (tmp_path / "readme[1].txt").write_text("about these photos")
    found = read(tmp_path) if not place.startswith("train") else read_without(tmp_path / "readme[1].txt", tmp_path)
    assert labels(next(iter(found.values()))) == ["Cat", "Dog"]
    assert any("found in" in note for note in found.notes)


def read_without(stray: Path, folder: Path) -> Found:
    stray.unlink()
    return read(folder)


def test_an_archive_that_holds_itself_again_is_read_once(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "cells"):
        write_classes(folder, {"Parasitized": 2, "Uninfected": 2})
    found = read(tmp_path)
    assert labels(found["all"]) == ["Parasitized", "Uninfected"]
    assert len(found["all"]) == 4
    assert "cells/ contains the other folders again, and is left out" in found.notes


@pytest.mark.parametrize("form", ["csv", "jsonl"])
def test_metadata_in_each_split_says_the_labels(tmp_path: Path, form: str) -> None:
    for name in ("train", "test"):
        write_classes(tmp_path / name, {"photos": 2})
        records = [{"file_name": f"photos/00{n}.png", "label": "ab"[n]} for n in range(2)]
        if form == "csv":
            pandas.DataFrame(records).to_csv(tmp_path / name / "metadata.csv", index=False)
        else:
            lines = "".join(json.dumps(record) + "\n" for record in records)
            (tmp_path / name / "metadata.jsonl").write_text(lines)
    found = read(tmp_path)
    assert {name: [row.target for row in rows] for name, rows in found.items()} == {
        "train": ["a", "b"],
        "test": ["a", "b"],
    }
    if form == "jsonl":  # as datasets reads it (of CSV it leaves files open)
        loaded = datasets.load_dataset("imagefolder", data_dir=str(tmp_path), cache_dir=str(tmp_path / ".cache"))
        assert list(loaded["train"]["label"]) == ["a", "b"]


def test_a_folder_to_judge_by_alone_is_read_though_it_trains_nothing(tmp_path: Path) -> None:
    write_classes(tmp_path / "test", {"red": 2, "blue": 2})
    for name in (None, "test"):
        splits = build_test_only(read(tmp_path, test_split=name), DataSettings(source="m"), SILENT)
        assert splits.sizes() == {"train": 0, "validation": 0, "test": 4}


def test_names_of_folders_are_composed(tmp_path: Path) -> None:
    write_classes(tmp_path / "train", {unicodedata.normalize("NFC", "café"): 2, "niño": 2})
    write_classes(tmp_path / "test", {unicodedata.normalize("NFD", "café"): 2, "niño": 2})
    found = read(tmp_path)
    assert labels(found["train"]) == labels(found["test"]) == ["café", "niño"]


@pytest.mark.parametrize("target", ["", "../blue"])
def test_links_that_leave_their_class_folder_are_refused(tmp_path: Path, target: str) -> None:
    folder = write_classes(tmp_path, {"red": 1, "blue": 1})
    (folder / "red" / "more").symlink_to((folder / "red" / target).resolve() if target else folder)
    text = told(tmp_path)
    wanted = "a link back to a folder above" if not target else "which would have the label 'red'"
    assert missing_words(text, ("red/more", wanted)) == []


def test_a_named_pipe_among_images_is_told_and_not_waited_for(tmp_path: Path) -> None:
    write_classes(tmp_path, {"red": 8, "blue": 8})
    os.mkfifo(tmp_path / "red" / "pipe.png")
    with pytest.raises(DataError, match=r"red/pipe.png must be a readable file; got a pipe"):
        split(read(tmp_path))
    assert "a pipe, a device" in told(tmp_path / "red" / "pipe.png")


# --- tables ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sign", [";", "\t", "|"])
def test_what_separates_columns_is_recognised_and_told(tmp_path: Path, sign: str) -> None:
    path = tmp_path / "t.csv"
    path.write_text(f"text{sign}label\n" + "".join(f"{text}{sign}{n % 2}\n" for n, text in enumerate(SENTENCES)))
    found = read(path, TEXTS)
    assert [row.content.text for row in found["all"]] == SENTENCES  # type: ignore[attr-defined]
    assert "columns are separated by" in found.notes[0]


def test_commas_stay_what_separates_where_there_are_some(tmp_path: Path) -> None:
    path = table(tmp_path / "t.csv", [("one; two", "x"), ("three; four", "y")])
    assert [row.content.text for row in read(path, TEXTS)["all"]] == ["one; two", "three; four"]  # type: ignore[attr-defined]


@pytest.mark.parametrize("packing", [gzip.open, bz2.open])
def test_packed_tables_are_read(tmp_path: Path, packing: Callable[..., Any]) -> None:
    path = tmp_path / f"train.csv.{'gz' if packing is gzip.open else 'bz2'}"
    with packing(path, "wt") as stream:
        stream.write("text,label\na film,x\nanother,y\n")
    assert (table_suffix(path), table_stem(path)) == (".csv", "train")
    assert [row.target for row in read(path, TEXTS)["all"]] == ["x", "y"]
    path.write_bytes(b"no archive")
    assert "a readable .csv table" in told(path, TEXTS)


@pytest.mark.parametrize("name", ["T.CSV", "t.Tsv", "t.JSONL", "t.PARQUET", "t.JSON"])
def test_suffixes_may_be_in_capitals(tmp_path: Path, name: str) -> None:
    frame = pandas.DataFrame({"text": ["a", "b"], "label": ["x", "y"]})
    path = tmp_path / name
    match name.lower().rsplit(".")[-1]:
        case "csv":
            frame.to_csv(path, index=False)
        case "tsv":
            frame.to_csv(path, index=False, sep="\t")
        case "parquet":
            frame.to_parquet(path)
        case "jsonl":
            frame.to_json(path, orient="records", lines=True)
        case _:
            frame.to_json(path, orient="records")
    for source in (path, tmp_path):
        assert [row.target for row in read(source, TEXTS)["all"]] == ["x", "y"]


def test_encodings_are_named_or_recognised_by_their_mark(tmp_path: Path) -> None:
    text = "text,label\nun café,x\ndeux cafés,y\n"
    (tmp_path / "l.csv").write_bytes(text.encode("latin-1"))
    words = ("must be a UTF-8 text file; got byte 17 (line 2), 0xe9", "data.encoding: latin-1")
    assert missing_words(told(tmp_path / "l.csv", TEXTS), words) == []
    (tmp_path / "u.csv").write_bytes(text.encode("utf-16"))
    for name, settings in (("l.csv", {"encoding": "latin-1"}), ("u.csv", {})):
        found = read(tmp_path / name, TEXTS, **settings)
        assert [row.content.text for row in found["all"]] == ["un café", "deux cafés"]  # type: ignore[attr-defined]
    assert read(tmp_path / "u.csv", TEXTS).notes == ["u.csv is read as utf-16"]
    with pytest.raises(RecipeError, match="one that Python knows"):
        load_recipe({"task": "text-classification", "model": "x", "data": {"source": "x", "encoding": "klingon"}})


def test_folders_as_the_hub_leaves_them_are_read(tmp_path: Path) -> None:
    features = datasets.Features(
        {"sentence": datasets.Value("string"), "label": datasets.ClassLabel(names=["neg", "pos"])}
    )
    rows = datasets.Dataset.from_dict(
        {"sentence": SENTENCES, "label": [n % 2 for n in range(len(SENTENCES))]}, features=features
    )
    (tmp_path / "data").mkdir()
    (tmp_path / "README.md").write_text("a card")
    for shard in range(2):
        rows.shard(2, shard).to_parquet(tmp_path / "data" / f"train-0000{shard}-of-00002.parquet")
    rows.select(range(10)).to_parquet(tmp_path / "data" / "test-00000-of-00001-0123abcd.parquet")
    found = read(tmp_path, TEXTS)
    assert {name: len(part) for name, part in found.items()} == {"train": 40, "test": 10}
    assert labels(found["train"]) == ["neg", "pos"]


def test_one_of_several_configurations_is_asked_for(tmp_path: Path) -> None:
    for name in ("easy", "hard"):
        table(tmp_path / name / "train.csv", [(name, "x"), (name, "y")])
    assert missing_words(told(tmp_path, TEXTS), ("easy, hard", "data.config=easy")) == []
    assert {row.content.text for row in read(tmp_path, TEXTS, config="hard")["train"]} == {"hard"}  # type: ignore[attr-defined]


@pytest.mark.parametrize("hidden", [-1, None])
def test_a_split_whose_labels_are_hidden_is_left_out_with_a_note(hidden: int | None) -> None:
    features = datasets.Features({"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["neg", "pos"])})

    def part(values: list[int | None]) -> datasets.Dataset:
        return datasets.Dataset.from_dict({"text": SENTENCES, "label": values}, features=features)

    given = datasets.DatasetDict(train=part([n % 2 for n in range(40)]), test=part([hidden] * 40))
    found = rows_from_python(given, DataSettings(source="memory"), TEXTS)
    assert list(found) == ["train"]
    assert "the test split is left out" in found.notes[0]
    assert split(found, TEXTS).sizes()["test"] == 8  # held out of training
    with pytest.raises(DataError, match=r"data.test_split must be a split with labels"):
        rows_from_python(given, DataSettings(source="memory", test_split="test"), TEXTS)


def test_a_test_table_without_labels_and_a_sample_submission_are_left_out(tmp_path: Path) -> None:
    table(tmp_path / "train.csv", [(text, n % 2) for n, text in enumerate(SENTENCES)])
    table(tmp_path / "test.csv", [(1, "an unseen film")], "id,text")
    table(tmp_path / "sample_submission.csv", [(1, 0)], "id,label")
    found = read(tmp_path, TEXTS)
    assert list(found) == ["train"]
    assert "the test split is left out: its rows have no labels" in found.notes[0]


def test_labels_of_minus_one_are_labels_where_they_are_learned(tmp_path: Path) -> None:
    table(tmp_path / "train.csv", [("a", -1), ("b", 1)])
    table(tmp_path / "test.csv", [("c", -1)])
    assert [row.target for row in read(tmp_path, TEXTS)["test"]] == ["-1"]
    table(tmp_path / "train.csv", [("a", 0), ("b", 1)])
    assert "test" not in read(tmp_path, TEXTS)


def test_class_ids_beyond_the_classes_are_told_in_every_form(tmp_path: Path) -> None:
    names = datasets.Features({"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["neg", "pos"])})
    plain = datasets.Dataset.from_dict({"text": ["a", "b"], "label": [0, 7]})
    cast = plain.cast(names)  # datasets 5.2 does not look at the range
    with pytest.raises(DataError, match=r"row\[1\]: column 'label' must be a class id of 0 to 1 \(neg, pos\).* got 7"):
        rows_from_python(cast, DataSettings(source="memory"), TEXTS)
    cast.to_parquet(tmp_path / "t.parquet")
    assert missing_words(told(tmp_path / "t.parquet", TEXTS), ("t.parquet:2", "a class id of 0 to 1", "got 7")) == []


def test_names_in_a_column_that_claims_class_ids_stay_names(tmp_path: Path) -> None:
    import pyarrow
    import pyarrow.parquet

    said = {"info": {"features": {"label": {"names": ["neg", "pos"], "_type": "ClassLabel"}}}}
    columns = pyarrow.table({"text": ["a", "b"], "label": ["good", "bad"]})
    columns = columns.replace_schema_metadata({"huggingface": json.dumps(said)})
    pyarrow.parquet.write_table(columns, tmp_path / "t.parquet")
    assert [row.target for row in read(tmp_path / "t.parquet", TEXTS)["all"]] == ["good", "bad"]


def test_squads_own_file_is_read_as_the_hub_has_it(tmp_path: Path) -> None:
    towns = ["Bern", "Graz", "Lund"]
    articles = [
        {
            "title": town,
            "paragraphs": [
                {
                    "context": f"The fair was in {town}.",
                    "qas": [
                        {"id": town, "question": "Where?", "answers": [{"text": town, "answer_start": 16}]},
                        {
                            "id": f"no {town}",
                            "question": "When?",
                            "is_impossible": True,
                            "answers": [],
                            "plausible_answers": [{"text": town, "answer_start": 16}],
                        },
                    ],
                }
            ],
        }
        for town in towns
    ]
    (tmp_path / "dev-v2.0.json").write_text(json.dumps({"version": "v2.0", "data": articles}))
    rows = read(tmp_path / "dev-v2.0.json", QUESTIONS)["all"]
    contents = [row.content for row in rows if isinstance(row.content, QuestionContent)]
    assert [content.id for content in contents] == [name for town in towns for name in (town, f"no {town}")]
    assert [len(row.target) for row in rows] == [1, 0] * 3
    assert {content.group for content in contents} == set(towns)


@pytest.mark.parametrize(
    "document",
    [
        [{"text": "a", "label": "x"}, {"text": "b", "label": "y"}],
        {"data": [{"text": "a", "label": "x"}, {"text": "b", "label": "y"}]},
        {"version": "1", "rows": [{"text": "a", "label": "x"}, {"text": "b", "label": "y"}]},
    ],
)
def test_lists_of_objects_are_tables(tmp_path: Path, document: Any) -> None:
    (tmp_path / "t.json").write_text(json.dumps(document, indent=1))
    assert [row.target for row in read(tmp_path / "t.json", TEXTS)["all"]] == ["x", "y"]


@pytest.mark.parametrize("content", ["{", "[1, 2]", '"text"', '{"a": 1} {"b": 2}', "[" * 5000])
def test_json_that_is_no_table_is_told(tmp_path: Path, content: str) -> None:
    (tmp_path / "t.json").write_text(content)
    assert missing_words(told(tmp_path / "t.json", TEXTS), ("t.json must be",)) == []


def test_a_split_column_is_followed_or_named(tmp_path: Path) -> None:
    rows = [(text, n % 2, ["train", "train", "val", "test"][n % 4]) for n, text in enumerate(SENTENCES)]
    found = read(table(tmp_path / "t.csv", rows, "text,label,split"), TEXTS)
    assert {name: len(part) for name, part in found.items()} == {"train": 20, "validation": 10, "test": 10}
    assert found.notes == ["splits follow the column 'split': 20 train, 10 validation, 10 test"]
    odd = [(text, n % 2, "abc"[n % 3]) for n, text in enumerate(SENTENCES)]
    found = read(table(tmp_path / "o.csv", odd, "text,label,split"), TEXTS)
    assert list(found) == ["all"]
    assert found.notes == ["the column 'split' is ignored: its values are 'a', 'b', 'c'"]
    text = told(tmp_path / "o.csv", TEXTS, split_column="split")
    assert missing_words(text, ("the column 'split'", "of train, validation and test", "data.train_split")) == []
    named = read(tmp_path / "o.csv", TEXTS, split_column="split", train_split="a", validation_split="b", test_split="c")
    assert {name: len(part) for name, part in named.items()} == {"train": 14, "validation": 13, "test": 13}


def _photo_folder(folder: Path) -> datasets.Dataset:
    write_classes(folder, {"cat": 3, "dog": 3})
    found = datasets.load_dataset("imagefolder", data_dir=str(folder), cache_dir=str(folder.parent / "cache"))
    return found["train"].cast_column("label", datasets.Value("string"))


@pytest.mark.parametrize(("form", "name"), [("parquet", "rows.parquet"), ("json", "rows.jsonl")])
def test_files_that_datasets_writes_name_images_and_do_not_hold_them(form: str, name: str, tmp_path: Path) -> None:
    # 5.2.0 writes {"bytes": None, "path": "/…/cat/000.png"}, where push_to_hub and save_to_disk write bytes.
    photos = _photo_folder(tmp_path / "photos")
    source = tmp_path / name
    getattr(photos, f"to_{form}")(str(source))
    found = read(source)["all"]
    assert [decode_row(row).getpixel((0, 0)) for row in found] == [one["image"].getpixel((0, 0)) for one in photos]
    assert found[0].id.startswith(str(tmp_path / "photos"))
    (tmp_path / "elsewhere").mkdir()
    source = source.rename(tmp_path / "elsewhere" / name)
    assert "must be inside" in told(source)
    assert len(read(source, allow_outside_paths=True)["all"]) == 6


def test_frames_of_parquet_files_with_images_are_read(tmp_path: Path) -> None:
    # pandas gives {"bytes": …, "path": …} of an image column of the Hub.
    photos = _photo_folder(tmp_path / "photos").cast_column("image", datasets.Image(decode=False))
    rows = [{**row, "image": {"bytes": Path(row["image"]["path"]).read_bytes(), "path": "0.png"}} for row in photos]
    pandas.DataFrame(rows).to_parquet(tmp_path / "t.parquet")
    for data in (pandas.read_parquet(tmp_path / "t.parquet"), rows, [(row["image"], row["label"]) for row in rows]):
        found = rows_from_python(data, DataSettings(source="memory"))["all"]
        assert [row.content.read() for row in found] == [row["image"]["bytes"] for row in rows]
    named = as_content({"bytes": None, "path": str(tmp_path / "t.parquet")}, "row[0]")
    assert named.path == tmp_path / "t.parquet"
    assert as_content({"bytes": b"", "path": str(tmp_path / "t.parquet")}, "row[0]") == named
    assert as_content({"bytes": bytearray(b"held"), "path": "elsewhere"}, "row[0]").read() == b"held"


def test_a_split_column_is_followed_in_frames_sets_and_records() -> None:
    records = [{"text": t, "label": n % 2, "split": ["train", "test"][n % 4 == 0]} for n, t in enumerate(SENTENCES)]
    for data in (records, pandas.DataFrame(records), datasets.Dataset.from_list(records)):
        found = rows_from_python(data, DataSettings(source="memory"), TEXTS)
        assert {name: len(part) for name, part in found.items()} == {"train": 30, "test": 10}


def test_images_that_are_not_there_are_left_out_where_such_rows_may_be(tmp_path: Path) -> None:
    write_classes(tmp_path, {"a": 20, "b": 20})
    files = [f"{label}/{n:03}.png" for label in "ab" for n in range(20)]
    rows = [(name, name[0]) for name in files] + [("a/gone.png", "a")]
    path = table(tmp_path / "t.csv", rows, "image,label")
    assert "a/gone.png" in told(path)
    splits = split(read(path, on_error="skip"), on_error="skip")
    assert [(one.id, "none there" in one.reason) for one in splits.skipped] == [("a/gone.png (t.csv:42)", True)]
    outside = table(tmp_path / "o.csv", [*rows, ("../../secret.png", "a")], "image,label")
    assert "must be inside" in told(outside, on_error="skip")  # a way out is no missing image


def test_rows_without_text_label_or_place_of_the_answer_are_left_out_where_such_may_be(tmp_path: Path) -> None:
    records = [{"text": text, "label": n % 2} for n, text in enumerate(SENTENCES)]
    broken = [*records, {"text": None, "label": 0}, {"text": "a", "label": None}]
    path = tmp_path / "t.jsonl"
    path.write_text("".join(json.dumps(record) + "\n" for record in broken))
    assert "t.jsonl:42: column 'label' must be a label; got nothing. data.on_error=skip leaves" in told(path, TEXTS)
    splits = split(read(path, TEXTS, on_error="skip"), TEXTS, on_error="skip")
    assert [one.id for one in splits.skipped] == ["t.jsonl:41", "t.jsonl:42"]
    questions = [
        {
            "question": "Where?",
            "context": f"In {n} Bern.",
            "answers": {"text": ["Bern"], "answer_start": [f"In {n} ".__len__()]},
        }
        for n in range(30)
    ]
    questions[3]["answers"] = {"text": ["Bern"], "answer_start": [0]}
    with pytest.raises(DataError, match="answer_start must be where 'Bern' starts"):
        rows_from_python(questions, DataSettings(source="memory"), QUESTIONS)
    skipping = DataSettings(source="memory", on_error="skip")
    kept = build_splits(rows_from_python(questions, skipping, QUESTIONS), skipping, 0, SILENT, QUESTIONS, SPANS)
    assert [one.id for one in kept.skipped] == ["row[3]"]
    assert sum(kept.sizes().values()) == 29


def test_paths_of_windows_and_of_folders_beside_the_table_lead_to_images(tmp_path: Path) -> None:
    write_classes(tmp_path / "train", {"x": 2})
    rows = read(table(tmp_path / "w.csv", [(r"train\x\000.png", "a"), (r"train\x\001.png", "b")], "image,label"))["all"]
    assert [decode_row(row).size for row in rows] == [(40, 32)] * 2
    (tmp_path / "w.csv").unlink()
    for n in range(2):
        (tmp_path / "train" / "x" / f"00{n}.png").rename(tmp_path / "train" / f"id{n}.png")
    found = read(table(tmp_path / "labels.csv", [("id0", "a"), ("id1", "b")], "id,breed"), image_column="id")
    assert [decode_row(row).size for row in found["all"]] == [(40, 32)] * 2
    assert found.notes == ["image paths count from train/, and end in .png"]


# --- labels ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "wanted"),
    [
        ([1, 2.0, np.float32(1)], ["1", "2", "1"]),
        (["1", "2.0", "1.0"], ["1", "2", "1"]),
        (["1.0", "2.5"], ["1.0", "2.5"]),
        (["v1.0", "1.0"], ["v1.0", "1.0"]),
        (["café", unicodedata.normalize("NFD", "café")], ["café", "café"]),
    ],
)
def test_one_label_in_several_forms_is_one_label(values: list[Any], wanted: list[str]) -> None:
    found = rows_from_python([("a text", value) for value in values], DataSettings(source="memory"), TEXTS)
    assert [row.target for row in found["all"]] == wanted


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (
            ["billing|urgent", "billing", "urgent"],
            ("'billing|urgent' look like several labels at once", "data.labels: multi"),
        ),
        (["x;y", "y;z", "z"], ("look like several labels at once",)),
        (["animal, pet", "animal"], ("'animal, pet' is one class here, and a part of it another", "| or ;")),
        (["Cat", "cat", "dog"], ("'Cat' (10), 'cat' (10) differ only by case or spaces",)),
    ],
)
def test_joint_labels_and_labels_in_several_cases_are_told(given: list[str], words: tuple[str, ...]) -> None:
    rows = [(f"a text {n} {label}", label) for label in given for n in range(10)]
    splits = split(rows_from_python(rows, DataSettings(source="memory", labels="one"), TEXTS), TEXTS)
    assert missing_words(" ".join(splits.notes), ("warning: ", *words)) == []


def test_a_sign_in_labels_that_joins_nothing_is_not_warned_of() -> None:
    rows = [(f"a text {n} {label}", label) for label in ("a|b", "c;d", "e") for n in range(10)]
    notes = split(rows_from_python(rows, DataSettings(source="memory"), TEXTS), TEXTS).notes
    assert not [note for note in notes if "warning" in note]


# --- what is no image ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n", ("a Git LFS pointer", "git lfs pull")),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(64), ("a HEIC photo", "pip install pillow-heif")),
        (b"%PDF-1.7 ...", ("a PDF document",)),
        (b"<!DOCTYPE html><html>404</html>", ("a web page",)),
        (b"<?xml version='1.0'?><svg/>", ("an SVG drawing",)),
        (bytes(128) + b"DICM" + bytes(64), ("a DICOM file", "Export it")),
        (b"PK\x03\x04" + bytes(64), ("a ZIP archive", "Unpack it")),
        (b"no picture", ("something else",)),
    ],
)
def test_what_a_file_is_that_is_no_image_is_named(content: bytes, words: tuple[str, ...]) -> None:
    with pytest.raises(DataError) as error:
        inspect_image(content, "x")
    assert missing_words(faults_of(error), words) == []


def test_git_lfs_pointers_are_no_tables(tmp_path: Path) -> None:
    for name in ("t.csv", "t.parquet", "t.jsonl"):
        (tmp_path / name).write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n")
        assert "a Git LFS pointer" in told(tmp_path / name, TEXTS)


# --- huge pictures ---------------------------------------------------------------------------------------------------


def test_a_huge_picture_comes_reduced_upright_and_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    y, x = np.mgrid[0:300, 0:500]
    values = np.stack([x % 256, y % 256, (x + y) // 4 % 256], axis=2).astype(np.uint8)
    image = Image.fromarray(values)
    exif = Image.Exif()
    exif[0x0112] = 6
    content = encoded(image, "PNG", exif=exif)
    whole = decode_image(content, "x")
    monkeypatch.setattr("hftransfer.data.images._HUGE_PX", 100_000)
    monkeypatch.setattr("hftransfer.data.images._REDUCED_PX", 40_000)
    monkeypatch.setattr("hftransfer.data.images._REDUCED_EDGE_PX", 100)
    small = decode_image(content, "x")
    assert whole.size == (300, 500)
    assert small.size == (150, 250)
    wanted = np.asarray(whole.reduce(2)).astype(int)
    assert np.abs(np.asarray(small).astype(int) - wanted).max() <= 1
    grey = deep(np.full((300, 500), 2048, dtype=np.uint16))
    assert np.unique(np.asarray(decode_image(grey, "x", pixels=PixelRange(0, 4095)))).tolist() == [128]


def test_images_above_a_number_of_pixels_are_told_or_left_out(tmp_path: Path) -> None:
    write_classes(tmp_path, {"red": 20, "blue": 20})
    picture(size=(80, 80)).save(tmp_path / "red" / "large.png")
    with pytest.raises(DataError, match=r"red/large.png must be an image of at most 6,000 pixels"):
        split(read(tmp_path), max_pixels=6000)
    splits = split(read(tmp_path), max_pixels=6000, on_error="skip")
    assert [one.id for one in splits.skipped] == ["red/large.png"]


def test_a_lack_of_memory_is_no_fault_of_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_memory(*_: Any) -> None:
        raise MemoryError

    monkeypatch.setattr("hftransfer.data.images.to_rgb", no_memory)
    with pytest.raises(HftransferError, match="an image that fits into memory") as error:
        decode_image(encoded(picture()), "x")
    assert not isinstance(error.value, DataError)  # which data.on_error: skip would leave out


# --- what is predicted -----------------------------------------------------------------------------------------------


def test_every_file_of_a_folder_is_predicted_or_told(tmp_path: Path) -> None:
    for name in ("a.jpg", "B.JPG", "c.jpe", "downloaded"):
        picture().save(tmp_path / name, format="JPEG")
    (tmp_path / "phone.HEIC").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(64))
    (tmp_path / "notes.txt").write_text("notes")
    names = [Path(one.name).name for one in inputs_of([str(tmp_path)], IMAGES)]
    assert names == ["B.JPG", "a.jpg", "c.jpe", "downloaded", "phone.HEIC"]


def test_the_rest_of_a_table_is_predicted(tmp_path: Path) -> None:
    picture().save(tmp_path / "a.png")
    path = table(tmp_path / "t.csv", [("a.png",), ("gone.png",)], "image")
    sound, gone = inputs_of([str(path)], IMAGES)
    assert sound.value == tmp_path / "a.png"
    assert isinstance(gone.value, DataError)
    assert missing_words(gone.value.faults[0], ("gone.png", "t.csv:3", "none there")) == []


@pytest.mark.parametrize("name", ["photo.jpg", "PHOTO.PNG", "report.pdf"])
def test_a_file_given_to_a_model_of_texts_is_no_text(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"x")
    (one,) = inputs_of([str(tmp_path / name)], TEXTS)
    assert isinstance(one.value, DataError)
    assert missing_words(one.value.faults[0], (name, "a text, a .txt file or a table")) == []


def test_texts_that_name_no_file_are_texts() -> None:
    given = ["look at photo.jpg", "what a film"]
    assert [one.value for one in inputs_of(given, TEXTS)] == given
    with pytest.raises(DataError, match=r"'photo.jpg', which looks like the path of an image that does not exist"):
        inputs_of(["photo.jpg"], TEXTS)


# --- a first recipe --------------------------------------------------------------------------------------------------


def test_init_names_data_from_the_recipe_and_holds_out_what_there_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_classes(tmp_path / "data" / "pets", {"cat": 2, "dog": 2})
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "data")
    file = tmp_path / "elsewhere" / "r.yaml"
    file.write_text(draft("pets", out=file))
    assert 'source: "../data/pets"' in file.read_text()
    for folder in (tmp_path, tmp_path / "elsewhere", tmp_path / "data"):
        monkeypatch.chdir(folder)
        recipe = load_recipe(file).recipe
        splits = build_splits(find_rows(recipe.data, SILENT), recipe.data, 0, SILENT)
        assert splits.sizes() == {"train": 2, "validation": 2, "test": 0}


def test_paths_in_a_recipe_count_from_its_folder_and_those_of_overrides_from_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for place in ("a/photos", "b/photos", "b/only"):
        (tmp_path / place).mkdir(parents=True)
    text = "task: image-classification\nmodel: bundled/efficientnet-lite0\ndata: {source: %s}\n"
    for source in ("photos", "only", "user/set"):
        (tmp_path / "a" / f"{source[:4]}.yaml").write_text(text % source)
    monkeypatch.chdir(tmp_path / "b")
    assert load_recipe("../a/phot.yaml").recipe.data.source == "../a/photos"
    assert load_recipe("../a/only.yaml").recipe.data.source == "only"  # nothing there from the recipe's folder
    assert load_recipe("../a/user.yaml").recipe.data.source == "user/set"
    assert load_recipe("../a/phot.yaml", ["data.source=photos"]).recipe.data.source == "photos"
    run = tmp_path / "runs" / "x" / "1"
    written = seen_from(load_recipe("../a/phot.yaml").recipe, run)
    assert written.data.source == "../../../a/photos"
    assert written.model.name == "bundled/efficientnet-lite0"


def test_init_tells_what_it_recognised_and_what_is_odd(tmp_path: Path) -> None:
    rows = [(text, ["billing|urgent", "billing", "urgent"][n % 3]) for n, text in enumerate(SENTENCES[:39])]
    text = draft(str(table(tmp_path / "t.csv", rows, "text;label", ";")))
    words = (
        "# t.csv: columns are separated by semicolons",
        "# the column 'label' has several labels per row (joined by '|')",
    )
    assert missing_words(text, words) == []
    write_classes(tmp_path / "judge" / "test", {"red": 2, "blue": 2})
    with pytest.raises(DataError, match="data with a split to train on"):
        draft(str(tmp_path / "judge"))


def test_tables_read_as_before_have_no_notes(tmp_path: Path) -> None:
    read_ = read_table(table(tmp_path / "t.csv", [("a", "x")]))
    assert (read_.notes, read_.columns, read_.numbers) == ([], ["text", "label"], [2])
    assert isinstance(read(tmp_path / "t.csv", TEXTS)["all"][0].content, TextContent)


def test_files_beside_images_that_are_not_read_are_named(tmp_path: Path) -> None:
    picture().save(tmp_path / "a.png")
    for name in ("notes.txt", "a.xmp", "labels.csv"):
        (tmp_path / name).write_text("x")
    assert [Path(name).name for name in passed_over([str(tmp_path), "a text"], IMAGES)] == [
        "a.xmp",
        "labels.csv",
        "notes.txt",
    ]


@pytest.mark.parametrize("pixels", [[0, 0], [9, 1], [0, float("nan")], ["a", "b"], [1]])
def test_a_range_in_a_model_folder_that_is_none_is_told(tmp_path: Path, pixels: list[Any]) -> None:
    from hftransfer.tasks.facts import ModelFacts

    with pytest.raises(ValueError, match="pixels"):
        ModelFacts.model_validate({"pixels": pixels})


# --- what a second look found ----------------------------------------------------------------------------------------


def test_frames_to_train_on_say_by_a_column_which_rows_are_for_what() -> None:
    frame = pandas.DataFrame({"text": SENTENCES, "label": [n % 2 for n in range(40)], "split": ["train", "test"] * 20})
    found = rows_from_python({"train": frame}, DataSettings(source="memory"), TEXTS)
    assert {name: len(rows) for name, rows in found.items()} == {"train": 20, "test": 20}
    passed = rows_from_python({"train": frame}, DataSettings(source="memory", split_column="none"), TEXTS)
    assert {name: len(rows) for name, rows in passed.items()} == {"all": 40}


def test_a_split_column_with_empty_cells_is_asked_about(tmp_path: Path) -> None:
    rows = [(text, n % 2, ["train", "", "test"][n % 3]) for n, text in enumerate(SENTENCES)]
    text = told(table(tmp_path / "t.csv", rows, "text,label,split"), TEXTS)
    words = ("the column 'split'", "train, validation or test in every row; got '' (13 rows)", "data.split_column=none")
    assert missing_words(text, words) == []
    assert len(read(tmp_path / "t.csv", TEXTS, split_column="none")["all"]) == 40


@pytest.mark.parametrize("names", [("2023", "2024"), ("fold1", "fold2", "fold3")])
def test_numbered_folders_with_the_same_classes_are_no_classes(tmp_path: Path, names: tuple[str, ...]) -> None:
    for name in names:
        write_classes(tmp_path / name, {"cat": 2, "dog": 2})
    assert missing_words(told(tmp_path), ("what looks like parts of the same pictures", "data.source=")) == []


def test_a_flat_test_folder_without_labels_is_left_out_with_a_note(tmp_path: Path) -> None:
    write_classes(tmp_path / "train", {"cat": 2, "dog": 2})
    (tmp_path / "test").mkdir()
    picture().save(tmp_path / "test" / "1.png")
    found = read(tmp_path)
    assert list(found) == ["train"]
    assert "the test split is left out: test/ has no folders of classes" in found.notes
    assert "Put the images of each class" in told(tmp_path, test_split="test")


def test_side_files_of_phones_are_passed_over_and_videos_named(tmp_path: Path) -> None:
    write_classes(tmp_path, {"cat": 8, "dog": 8})
    (tmp_path / "cat" / "IMG_1.AAE").write_text("<plist/>")
    assert "files such as IMG_1.AAE beside images are skipped" in read(tmp_path).notes
    (tmp_path / "cat" / "IMG_2.MOV").write_bytes(b"\0\0\0\x14ftypqt  " + bytes(64))
    with pytest.raises(DataError, match=r"IMG_2.MOV must be an image that Pillow reads; got a video"):
        split(read(tmp_path))


def test_one_example_of_a_class_is_told_by_init(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"examples of class '(cat|dog)' must be 2 or more; got 1"):
        draft(str(write_classes(tmp_path, {"cat": 1, "dog": 1})))


def test_init_is_told_of_columns(tmp_path: Path) -> None:
    path = table(tmp_path / "t.csv", [(text, "ab"[n % 2]) for n, text in enumerate(SENTENCES)], "remark,feeling")
    chosen = ["text_column=remark", "data.label_column=feeling", "test_fraction=0.5"]
    text = draft(str(path), settings=chosen)
    words = ('label_column: "feeling"', 'text_column: "remark"', "test_fraction: 0.5")
    assert missing_words(text, words) == []
    assert text.count("test_fraction") == 1
    with pytest.raises(RecipeError, match="a setting must be key=value"):
        draft(str(path), settings=["feeling"])
