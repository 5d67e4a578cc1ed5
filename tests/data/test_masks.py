"""Images with masks: where they are found, what their values mean, and what is told of those that mean nothing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from hftransfer.base.errors import DataError
from hftransfer.base.progress import Progress
from hftransfer.data.mask_labels import LabelSpace, color_value, named_values
from hftransfer.data.masks import MASKED_IMAGES, MASKS, Surveyed, survey
from hftransfer.data.settings import DataSettings
from hftransfer.data.sources import find_rows, rows_from_python
from tests.builders import missing_words, picture

SILENT = Progress(None)
SIZE = (12, 8)
_PARTS = (("image", "images"), ("label", "masks"))
HALVES = np.zeros((8, 12), dtype=np.uint8)
HALVES[:, 6:] = 1


def _write(folder: Path, mask: Any = HALVES, count: int = 3, name: str = "{}.png", **options: Any) -> Path:
    for number in range(count):
        for part in ("images", "masks"):
            (folder / part).mkdir(parents=True, exist_ok=True)
        picture("red", number, SIZE).save(folder / "images" / f"{number}.png")
        own = mask if isinstance(mask, Image.Image) else Image.fromarray(np.asarray(mask))
        own.save(folder / "masks" / name.format(number), **options)
    return folder


def _looked(folder: Path, **settings: Any) -> Surveyed:
    rows = find_rows(DataSettings(source=str(folder), **settings), SILENT, MASKED_IMAGES)
    return survey(rows, lambda _: None, skips=settings.get("on_error") == "skip")


def _faults(folder: Path, **settings: Any) -> str:
    with pytest.raises(DataError) as caught:
        _looked(folder, **settings)
    return " ".join(caught.value.faults)


def test_masks_lie_beside_images_in_the_ways_people_keep_them(tmp_path: Path) -> None:
    flat = _looked(_write(tmp_path / "flat"))
    assert {name: len(rows) for name, rows in flat.parts.items()} == {"all": 3}
    by_split = tmp_path / "by_split"
    for split in ("train", "val"):
        _write(by_split / split)
    assert set(_looked(by_split).parts) == {"train", "validation"}
    inner = tmp_path / "inner"
    for split in ("train", "test"):
        for part in ("images", "masks"):
            (inner / part / split).mkdir(parents=True)
        for number in range(2):
            picture("red", number, SIZE).save(inner / "images" / split / f"{number}.jpg")
            Image.fromarray(HALVES).save(inner / "masks" / split / f"{number}.png")
    assert {name: len(rows) for name, rows in _looked(inner).parts.items()} == {"train": 2, "test": 2}
    added = _write(tmp_path / "added", name="{}_seg.png")
    found = find_rows(DataSettings(source=str(added)), SILENT, MASKED_IMAGES)
    assert "masks are named after their images: '{stem}_seg'" in found.notes
    together = tmp_path / "together"
    together.mkdir()
    for number in range(2):
        picture("red", number, SIZE).save(together / f"{number}.png")
        Image.fromarray(HALVES).save(together / f"{number}_mask.png")
    assert len(_looked(together, mask_template="{stem}_mask.png").parts["all"]) == 2


def test_voc_says_splits_by_lists(tmp_path: Path) -> None:
    root = tmp_path / "VOC2012"
    for number in range(4):
        for part in ("JPEGImages", "SegmentationClass"):
            (root / part).mkdir(parents=True, exist_ok=True)
        picture("red", number, SIZE).save(root / "JPEGImages" / f"{number}.jpg")
        mask = Image.fromarray(np.where(HALVES == 1, 15, 0).astype(np.uint8), "P")
        mask.putpalette([0, 0, 0] * 15 + [192, 128, 128])
        mask.save(root / "SegmentationClass" / f"{number}.png")
    lists = root / "ImageSets" / "Segmentation"
    lists.mkdir(parents=True)
    (lists / "train.txt").write_text("0\n1\n2\n")
    (lists / "val.txt").write_text("3\n")
    found = _looked(root)
    assert {name: len(rows) for name, rows in found.parts.items()} == {"train": 3, "validation": 1}
    assert found.space.values == ((0,), (15,))  # the palette's indices, not its colours


@pytest.mark.parametrize("mode", ["L", "P", "I;16", "1", "npy", "grey RGB"])
def test_every_mode_gives_its_indices(mode: str, tmp_path: Path) -> None:
    folder = _write(tmp_path)
    for number in range(3):
        file = folder / "masks" / f"{number}.png"
        if mode == "npy":
            file.unlink()
            np.save(file.with_suffix(".npy"), HALVES.astype(np.int64))
        elif mode == "P":
            own = Image.fromarray(HALVES, "P")
            own.putpalette([9, 9, 9, 200, 0, 0])
            own.save(file)
        elif mode == "1":
            Image.fromarray(HALVES.astype(bool)).save(file)
        elif mode == "grey RGB":
            Image.fromarray(np.stack([HALVES] * 3, axis=-1)).save(file)
        else:
            kind = {"L": np.uint8, "I;16": np.uint16}[mode]
            Image.fromarray(HALVES.astype(kind)).save(file)
    found = _looked(folder)
    assert (found.parts["all"][0].target.ids() == HALVES).all()
    assert found.space.names == ("background", "foreground")


def test_a_table_of_values_is_told_before_anything_is_learned(tmp_path: Path) -> None:
    mask = np.where(HALVES == 1, 7, 3).astype(np.uint8)
    mask[0] = 255
    found = _looked(_write(tmp_path, mask), classes={"3": "road", "7": "sky"})
    told = "\n".join(found.notes)
    assert missing_words(told, ("mask values:", "3    43.75%       3  road", "255    12.50%       3  (ignored)")) == []
    assert (found.parts["all"][0].target.ids()[0] == -1).all()
    assert found.parts["all"][0].target.pixels == (42, 42)


def test_values_without_a_name_are_never_clipped(tmp_path: Path) -> None:
    mask = HALVES.copy()
    mask[0, 0] = 9
    folder = _write(tmp_path, mask)
    told = _faults(folder, classes=["road", "sky"])
    assert told == (
        "the values of the masks must be those with names (0 road, 1 sky); got 9 (1.04% of the pixels, in 3 masks). "
        "Name the others in data.classes, or leave them out: data.ignore_value."
    )
    assert _looked(folder, classes=["road", "sky"], ignore_value=9).space.ignored == (9,)
    assert _looked(folder).space.names == ("0", "1", "9")  # without names each value is a class


def test_a_class_that_no_training_image_has_is_told(tmp_path: Path) -> None:
    with_third = HALVES.copy()
    with_third[0] = 2
    _write(tmp_path / "train")
    _write(tmp_path / "val")
    _write(tmp_path / "test", with_third)
    own = _looked(tmp_path, classes=["road", "sky", "fence", "dragon"])
    told = MASKS.notes_on(own.parts)  # of the dragon, which no mask has, the look at the masks tells
    assert told == ["warning: no training image has 'fence': nothing can be learned about it"]
    assert "no mask has 'dragon': nothing can be learned about it" in own.notes
    told = MASKS.notes_on({**own.parts, "train": own.parts["test"]})
    assert told == ["no validation image has 'fence': it has no score there"]
    assert MASKS.notes_on(dict.fromkeys(own.parts, own.parts["test"])) == []


def test_several_values_may_be_one_class_and_files_name_them(tmp_path: Path) -> None:
    mask = HALVES.copy()
    mask[0] = 2
    folder = _write(tmp_path, mask)
    joined = _looked(folder, classes={"road": [0, 2], "sky": 1})
    assert joined.space.values == ((0, 2), (1,))
    assert (joined.parts["all"][0].target.ids()[0] == 0).all()
    (folder / "classes.txt").write_text("road\nsky\ncar\n")
    assert _looked(folder).space.names == ("road", "sky", "car")
    (folder / "names.json").write_text(json.dumps({"id2label": {"0": "a", "1": "b", "2": None}}))
    ignoring = _looked(folder, classes=str(folder / "names.json"))
    assert (ignoring.space.names, ignoring.space.ignored) == (("a", "b"), (2,))


def test_colours_need_names(tmp_path: Path) -> None:
    colors = np.where(HALVES[..., None] == 1, (128, 64, 128), (70, 130, 180)).astype(np.uint8)
    folder = _write(tmp_path, colors)
    told = _faults(folder)
    assert missing_words(told, ("2 colours", "#804080", "data.classes")) == []
    found = _looked(folder, classes={"road": "#804080", "sky": [70, 130, 180]})
    assert (found.parts["all"][0].target.ids() == 1 - HALVES).all()
    assert found.space.written == (0, 1)
    assert found.space.colors == ((128, 64, 128), (70, 130, 180))


def test_jpeg_smears_values_and_two_of_them_can_be_told_apart(tmp_path: Path) -> None:
    blocks = np.zeros((64, 64), dtype=np.uint8)
    blocks[11:43, 13:50] = 255
    for number in range(3):
        for part in ("images", "masks"):
            (tmp_path / part).mkdir(exist_ok=True)
        picture("red", number, (64, 64)).save(tmp_path / "images" / f"{number}.png")
        Image.fromarray(blocks).save(tmp_path / "masks" / f"{number}.jpg", quality=60)
    found = _looked(tmp_path)
    assert any("JPEG files, which smear values" in note for note in found.notes)
    assert (found.parts["all"][0].target.ids() == (blocks == 255)).mean() > 0.995
    for number in range(3):
        Image.fromarray(blocks // 4 + 40).save(tmp_path / "masks" / f"{number}.jpg", quality=60)
    assert "lossless files" in _faults(tmp_path)


def test_what_is_missing_is_told_at_once(tmp_path: Path) -> None:
    folder = _write(tmp_path / "one")
    (folder / "masks" / "1.png").unlink()
    assert missing_words(_faults(folder), ("one for each image", "none for images/1.png", "mask_template")) == []
    skipped = find_rows(DataSettings(source=str(folder), on_error="skip"), SILENT, MASKED_IMAGES)
    assert [row.id for row in skipped["all"]] == ["images/0.png", "images/2.png"]
    (left,) = skipped.left_out
    assert (left.split, left.id) == ("train", "images/1.png")
    assert missing_words(left.reason, ("one for each image", "none for images/1.png")) == []
    gone = _write(tmp_path / "gone")
    rows = find_rows(DataSettings(source=str(gone)), SILENT, MASKED_IMAGES)
    (gone / "images" / "1.png").unlink()
    with pytest.raises(DataError, match=r"images/1.png must be a readable file"):
        survey(rows, lambda _: None)
    lost = _write(tmp_path / "lost")
    (lost / "images" / "1.png").unlink()
    known = find_rows(DataSettings(source=str(lost)), SILENT, MASKED_IMAGES)
    assert known.notes == ["masks without an image are left out: masks/1.png"]
    # The same of masks that are named after their images, with something before or behind.
    for file in (folder / "masks").iterdir():
        file.rename(file.with_name(f"{file.stem}_mask.png"))
    named = find_rows(DataSettings(source=str(folder), on_error="skip"), SILENT, MASKED_IMAGES)
    assert [row.id for row in named["all"]] == ["images/0.png", "images/2.png"]
    assert [left.id for left in named.left_out] == ["images/1.png"]
    assert "none for images/1.png." in _faults(folder)
    # Where no image has a mask there is nothing to go on with.
    for place, file in enumerate(sorted((folder / "masks").iterdir())):
        file.rename(file.with_name(f"{'ab'[place]}.png"))
    assert "one for each image" in _faults(folder, on_error="skip")
    empty = _write(tmp_path / "two")
    for file in (empty / "masks").iterdir():
        file.unlink()
    assert "an empty folder" in _faults(empty)
    other = _write(tmp_path / "three")
    Image.fromarray(HALVES[:4]).save(other / "masks" / "0.png")
    told = _faults(other)
    assert missing_words(told, ("masks/0.png", "12 × 8 pixels", "12 × 4", "nearest neighbour")) == []
    turned = _write(tmp_path / "turned")
    Image.fromarray(np.rot90(HALVES)).save(turned / "masks" / "0.png")
    assert "Turn the mask as its photo is turned" in _faults(turned)
    kept = _looked(other, on_error="skip")
    assert (len(kept.parts["all"]), len(kept.left_out)) == (2, 1)
    single = _write(tmp_path / "four", np.zeros((8, 12), dtype=np.uint8))
    assert "of two classes or more" in _faults(single)
    broken = _write(tmp_path / "five")
    (broken / "masks" / "2.png").write_bytes(b"no picture")
    assert "a mask that Pillow reads; got one that can't be read (something else)" in _faults(broken)


def test_templates_and_links_stay_in_their_folder(tmp_path: Path) -> None:
    folder = _write(tmp_path / "data")
    assert "data.mask_template" in _faults(folder, mask_template="../{stem}.png")
    secret = tmp_path / "secret.png"
    Image.fromarray(HALVES).save(secret)
    (folder / "masks" / "0.png").unlink()
    (folder / "masks" / "0.png").symlink_to(secret)
    assert "inside" in _faults(folder)


def test_rows_come_from_python_tables_and_data_sets(tmp_path: Path) -> None:
    palette = Image.fromarray(HALVES, "P")
    palette.putpalette([1, 2, 3, 4, 5, 6])
    pairs = [(picture("red", 0, SIZE), HALVES), (picture("red", 1, SIZE), palette)]
    found = survey(rows_from_python(pairs, DataSettings(source="memory"), MASKED_IMAGES), lambda _: None)
    assert [(row.target.ids() == HALVES).all() for row in found.parts["all"]] == [True, True]
    folder = _write(tmp_path)
    (folder / "table.csv").write_text("image,mask\n" + "".join(f"images/{n}.png,masks/{n}.png\n" for n in range(3)))
    rows = find_rows(DataSettings(source=str(folder / "table.csv")), SILENT, MASKED_IMAGES)
    assert len(survey(rows, lambda _: None).parts["all"]) == 3
    import datasets

    files = {column: [str(folder / part / f"{n}.png") for n in range(3)] for column, part in _PARTS}
    data = datasets.Dataset.from_dict(files)
    data = data.cast_column("image", datasets.Image()).cast_column("label", datasets.Image())
    own = survey(rows_from_python(data, DataSettings(source="memory"), MASKED_IMAGES), lambda _: None)
    assert (own.parts["all"][2].target.ids() == HALVES).all()


def test_ids_of_unknown_values_are_refused() -> None:
    space = LabelSpace(("a", "b"), ((0,), (color_value(1, 2, 3),)))
    assert space.ids(np.array([[0, color_value(1, 2, 3)]])).tolist() == [[0, 1]]
    with pytest.raises(ValueError, match="the value 7"):
        space.ids(np.array([[7]]))


@pytest.mark.parametrize(
    ("classes", "told"),
    [
        (["road"], "two names or more"),
        (["road", "road"], "each given once"),
        ({"road": "x"}, "an index, or a colour"),
        ({"road": 1, "sky": 1}, "of one class"),
        ("nowhere.txt", "a file with the names"),
    ],
)
def test_names_that_name_nothing_are_told(classes: Any, told: str) -> None:
    with pytest.raises(DataError, match=told):
        named_values(classes, None)
