"""Data sets that stay on the Hub: what is fetched when, and that it is what a downloaded one holds."""

from __future__ import annotations

import io
import shutil
import tarfile
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import datasets
import numpy as np
import pyarrow.parquet
import pytest
from PIL import Image

import hftransfer as ht
from hftransfer.base.errors import DataError, FetchError, RecipeError
from hftransfer.base.progress import Progress
from hftransfer.data import streams
from hftransfer.data.inspection import decode_row, tile_of
from hftransfer.data.mask_files import read_mask
from hftransfer.data.rows import Row, StreamedContent, StreamedMember, read_content, read_row
from hftransfer.data.settings import DataSettings
from hftransfer.data.sources import find_rows
from hftransfer.data.streams import HubShards, StreamedDataset
from tests.builders import NO_PICTURES, TinyModels, load_model

SILENT = Progress(None)
FEATURES = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=["plain", "striped"])})
ROWS, GROUP = 48, 8


def _png(number: int) -> Image.Image:
    pixels = np.random.default_rng(number).integers(0, 90, (24, 24, 3)).astype(np.uint8)
    if number % 2:
        pixels[::4] = 255
    return Image.fromarray(pixels)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two Parquet files of striped and plain pictures, in groups of eight rows."""
    where = tmp_path_factory.mktemp("pets")
    for part in range(2):
        numbers = range(part * ROWS // 2, (part + 1) * ROWS // 2)
        columns = {"image": [_png(number) for number in numbers], "label": [number % 2 for number in numbers]}
        made = datasets.Dataset.from_dict(columns, features=FEATURES)
        made.to_parquet(str(where / f"train-0000{part}-of-00002.parquet"), batch_size=GROUP)
    return where


@pytest.fixture
def fetched(folder: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The groups of rows whose images were fetched, as `org/pets` lies in that folder."""
    found: list[str] = []
    files = sorted(map(str, folder.glob("*.parquet")))
    builder = SimpleNamespace(
        config=SimpleNamespace(data_files={"train": files}),
        as_streaming_dataset=lambda _: SimpleNamespace(features=FEATURES),
    )
    monkeypatch.setattr(datasets, "load_dataset_builder", lambda *_, **__: builder)
    monkeypatch.setattr(streams, "_HELD", streams._Held())
    whole = pyarrow.parquet.ParquetFile

    class Noted(whole):  # type: ignore[valid-type, misc]
        def read_row_group(self, group: int, columns: list[str]) -> Any:
            found.append(f"group {group}")
            return super().read_row_group(group, columns=columns)

    monkeypatch.setattr(pyarrow.parquet, "ParquetFile", Noted)
    monkeypatch.setattr(HubShards, "of", lambda *_: None)
    return found


def _dataset(folder: Path) -> StreamedDataset:
    return StreamedDataset(tuple(streams._Remote(str(file)) for file in sorted(folder.glob("*.parquet"))), FEATURES)


def test_rows_are_those_of_the_files(folder: Path) -> None:
    own, there = _dataset(folder), datasets.load_dataset(str(folder), split="train")
    there = there.cast_column("image", datasets.Image(decode=False))
    assert len(own) == len(there) == ROWS
    assert own.select_columns(["label"]).to_list() == there.select_columns(["label"]).to_list()
    for place in (0, 7, 8, 23, 24, 47):
        assert own.image(place, "image") == there[place]["image"]["bytes"]
    assert len({own.identity(place, "image") for place in range(ROWS)}) == ROWS
    assert _dataset(folder).identity(30, "image") == own.identity(30, "image")


def test_a_first_look_fetches_no_image_and_a_row_its_group_once(fetched: list[str]) -> None:
    found = find_rows(DataSettings(source="org/pets", streaming=True), SILENT)
    assert [row.target for row in found["train"][:3]] == ["plain", "striped", "plain"]
    assert any("copies of one in two splits are not looked for" in note for note in found.notes)
    assert fetched == []
    for row in found["train"]:
        assert isinstance(row.content, StreamedContent)
        assert read_row(row).startswith(b"\x89PNG")
    assert len(fetched) == ROWS // GROUP


def test_a_run_is_that_of_the_downloaded_set_and_fetches_each_image_once(
    tiny: TinyModels, folder: Path, tmp_path: Path, fetched: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "_MOST_HELD_BYTES", 1)  # two groups at most
    recipe = {"task": "image-classification", "model": str(tiny("resnet")), "output": {**NO_PICTURES, "report": False}}
    runs = {}
    for name, data in (("streamed", {"source": "org/pets", "streaming": True}), ("here", {"source": str(folder)})):
        settings = {**recipe, "data": data, "train": {"cache": "off", "precision": "fp32"}}
        runs[name] = ht.run(settings, out=tmp_path / name, progress=SILENT)
    assert len(fetched) == ROWS // GROUP  # though three splits lie mixed in each
    wanted, own = (runs[name].metrics["test"] for name in ("here", "streamed"))
    assert own["accuracy"] == wanted["accuracy"]
    assert own["log_loss"] == pytest.approx(wanted["log_loss"], rel=1e-5)


def test_what_can_not_be_decoded_is_skipped(
    tiny: TinyModels, folder: Path, tmp_path: Path, fetched: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = StreamedDataset.image
    monkeypatch.setattr(
        StreamedDataset, "image", lambda self, place, column: b"nothing" if place == 5 else whole(self, place, column)
    )
    recipe = {
        "task": "image-classification",
        "model": str(tiny("resnet")),
        "data": {"source": "org/pets", "streaming": True},
        "train": {"cache": "off"},
        "output": NO_PICTURES,
    }
    with pytest.raises(DataError, match=r"train\[5\] must be an image that Pillow reads"):
        ht.run(recipe, out=tmp_path / "stops", progress=SILENT)
    done = ht.run(recipe, {"data.on_error": "skip"}, out=tmp_path / "skips", progress=SILENT)
    assert sum(done.metrics["examples"].values()) == ROWS - 1


def test_a_connection_that_is_lost_after_training_loses_no_model(
    tiny: TinyModels, tmp_path: Path, fetched: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, read = StreamedDataset.image, list[int]()

    def image(self: StreamedDataset, place: int, column: str) -> bytes:
        read.append(place)
        if len(read) > ROWS:
            raise ConnectionError("train.parquet could not be fetched (gone)")
        return whole(self, place, column)

    monkeypatch.setattr(StreamedDataset, "image", image)
    recipe = {
        "task": "image-classification",
        "model": str(tiny("resnet")),
        "data": {"source": "org/pets", "streaming": True},
        "train": {"cache": "off"},
    }
    told = io.StringIO()
    done = ht.run(recipe, out=tmp_path / "run", progress=Progress(told))
    assert len(read) > ROWS
    for name in ("examples.png", "mistakes.png", "report.html"):
        assert f"{name} could not be written (train[" in told.getvalue()
    assert "fetched (gone)" in told.getvalue()
    assert done.metrics["test"]["accuracy"] > 0
    assert load_model(tmp_path / "run").class_names == ("plain", "striped")


def test_a_connection_that_is_lost_is_no_fault_of_a_row(
    tiny: TinyModels, tmp_path: Path, fetched: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = list[int]()

    def image(self: StreamedDataset, place: int, column: str) -> bytes:
        del self, column
        asked.append(place)
        raise ConnectionError("train.parquet could not be fetched (gone)")

    monkeypatch.setattr(StreamedDataset, "image", image)
    recipe = {
        "task": "image-classification",
        "model": str(tiny("resnet")),
        "data": {"source": "org/pets", "streaming": True, "on_error": "skip"},
        "train": {"cache": "off"},
    }
    with pytest.raises(FetchError, match=r"must be one that can be fetched; got .* run it again"):
        ht.run(recipe, out=tmp_path / "run", progress=SILENT)
    assert len(asked) == 1
    assert fetched == []


@pytest.mark.parametrize("kind", ["binary", "struct"])
def test_bytes_of_images_are_not_fetched_with_the_labels(
    kind: str, folder: Path, fetched: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    feature: Any = datasets.Value("binary")
    if kind == "struct":
        feature = {"bytes": datasets.Value("binary"), "path": datasets.Value("string")}
    features = datasets.Features({"image": feature, "label": FEATURES["label"]})
    builder = datasets.load_dataset_builder("org/pets")
    monkeypatch.setattr(builder, "as_streaming_dataset", lambda _: SimpleNamespace(features=features))
    read: list[str] = []
    whole = streams._Remote.records

    def records(self: streams._Remote, names: Sequence[str]) -> Any:
        read.extend(names)
        return whole(self, names)

    monkeypatch.setattr(streams._Remote, "records", records)
    found = find_rows(DataSettings(source="org/pets", streaming=True), SILENT)
    assert read == ["label", "label"]
    assert read_row(found["train"][0]).startswith(b"\x89PNG")


@pytest.mark.parametrize("streaming", [True, False])
def test_a_split_that_is_not_there_is_told(
    shards: Path, folder: Path, streaming: bool, fetched: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    downloaded = datasets.load_dataset(str(folder))
    monkeypatch.setattr(datasets, "load_dataset", lambda *_, **__: downloaded)
    settings = DataSettings(source="org/pets", streaming=streaming, test_split="trian")
    with pytest.raises(DataError, match=r"got '?trian'?\. Did you mean 'train'"):
        find_rows(settings, SILENT)
    with pytest.raises(DataError, match=r"data.test_split must be a split of .*; got 'tset'. Did you mean 'test'"):
        find_rows(DataSettings(source=str(shards), test_split="tset"), SILENT)


def test_deep_images_whose_range_is_unknown_are_told() -> None:
    for depth, fault in ((np.uint8, False), (np.uint16, True)):
        picture = io.BytesIO()
        Image.fromarray(np.full((24, 24), 200, depth)).save(picture, "PNG")
        content = picture.getvalue()
        dataset = SimpleNamespace(image=lambda *_, own=content: own, identity=lambda *_: b"1")
        row = Row("train[3]", StreamedContent(cast("Any", dataset), "image", 3), "plain")
        if fault:
            with pytest.raises(DataError, match=r"train\[3\] must be an image of 8 bits with data.streaming"):
                decode_row(row)
        else:
            assert decode_row(row).getpixel((0, 0)) == (200, 200, 200)


@pytest.mark.parametrize(
    ("strategy", "train", "words"),
    [
        ({"kind": "fine-tune"}, {}, "left out with strategy.kind: fine-tune of the whole network"),
        ({"kind": "lora"}, {}, "left out with strategy.kind: lora of the whole network"),
        ({"kind": "fine-tune", "unfreeze": 1}, {"augment": "light"}, "train.augment: light and no train.views"),
        ({"kind": "fine-tune", "unfreeze": 1}, {"mixup": 0.2}, "left out with train.mixup"),
        ({"kind": "fine-tune", "unfreeze": 1}, {"cache": "off"}, "left out with train.cache: off"),
    ],
)
def test_images_are_not_fetched_in_each_epoch(strategy: dict[str, Any], train: dict[str, Any], words: str) -> None:
    recipe = {"task": "image-classification", "model": "org/model", "data": {"source": "org/pets", "streaming": True}}
    with pytest.raises(RecipeError, match=words):
        ht.check({**recipe, "strategy": strategy, "train": train})


def test_a_training_that_turns_out_to_read_images_again_is_refused(
    tiny: TinyModels, tmp_path: Path, fetched: list[str]
) -> None:
    model = tiny("resnet")
    recipe = {
        "task": "image-classification",
        "model": str(model),
        "data": {"source": "org/pets", "streaming": True},
        "strategy": {"kind": "fine-tune", "unfreeze": ["resnet.embedder"]},
    }
    with pytest.raises(RecipeError, match="left out where nothing that frozen layers give is kept"):
        ht.run(recipe, out=tmp_path / "run", progress=SILENT)
    assert fetched == []


def test_other_files_and_slices_are_told(fetched: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    settings = DataSettings(source="org/pets", streaming=True)
    with pytest.raises(DataError, match=r"must be one of train; got train\[:10%\]. data.limit"):
        find_rows(settings.model_copy(update={"train_split": "train[:10%]"}), SILENT)
    monkeypatch.setattr(streams, "_MOST_GROUP_BYTES", 10)
    with pytest.raises(DataError, match="groups of rows of at most 0 MiB"):
        find_rows(settings, SILENT)
    builder = SimpleNamespace(config=SimpleNamespace(data_files={"train": ["hf://datasets/org/pets@1/a.csv"]}))
    monkeypatch.setattr(datasets, "load_dataset_builder", lambda *_, **__: builder)
    with pytest.raises(
        DataError, match=r"must be a data set in Parquet files or WebDataset shards; got a.csv. .*refs/convert/parquet"
    ):
        find_rows(settings, SILENT)


def test_what_is_here_is_read_where_it_lies(folder: Path) -> None:
    found = find_rows(DataSettings(source=str(folder), streaming=True), SILENT)
    assert any("data.streaming has no effect" in note for note in found.notes)


# --- shards of WebDataset --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """CLIP_benchmark's layout: a folder of shards for each split, the names of classes above."""
    root = tmp_path_factory.mktemp("wds")
    (root / "classnames.txt").write_text("plain\nstriped\n")
    for split, first in (("train", 0), ("test", 100)):
        (root / split).mkdir()
        for part in range(2):
            with tarfile.open(root / split / f"{part}.tar", "w") as shard:
                for number in range(first + part * 12, first + part * 12 + 12):
                    picture = io.BytesIO()
                    _png(number).save(picture, "PNG")
                    for suffix, content in (("png", picture.getvalue()), ("cls", str(number % 2).encode())):
                        member = tarfile.TarInfo(f"s{number}.{suffix}")
                        member.size = len(content)
                        shard.addfile(member, io.BytesIO(content))
        (root / split / "nshards.txt").write_text("2")
    return root


@pytest.mark.parametrize("streaming", [True, False])
def test_shards_have_their_splits_and_names(shards: Path, streaming: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    files = tuple(file.relative_to(shards).as_posix() for file in sorted(shards.rglob("*.tar")))
    hub = HubShards("org/pets", None, "1", files)
    monkeypatch.setattr(HubShards, "of", lambda *_: hub)
    monkeypatch.setattr(HubShards, "fetched", lambda _: shards)
    whole = streams._opened
    here = "hf://datasets/org/pets@1", str(shards)
    monkeypatch.setattr(streams, "_opened", lambda url, **settings: whole(url.replace(*here), **settings))
    monkeypatch.setattr(streams, "_BLOCK_BYTES", 700)  # images lie in several
    found = find_rows(DataSettings(source="org/pets", streaming=streaming), SILENT)
    assert {name: len(rows) for name, rows in found.items()} == {"train": 24, "test": 24}
    assert [row.target for row in found["test"][:2]] == ["plain", "striped"]
    assert isinstance(found["train"][0].content, StreamedMember) == streaming
    wanted = find_rows(DataSettings(source=str(shards)), SILENT)
    for name in ("train", "test"):
        assert [(row.target, read_row(row)) for row in found[name]] == [
            (row.target, read_row(row)) for row in wanted[name]
        ]
        if streaming:
            assert len({row.content.identity for row in found[name]}) == 24
            assert [row.id.partition(" ")[2] for row in found[name][::12]] == [f"({name}/0.tar:1)", f"({name}/1.tar:1)"]


def test_to_test_a_model_no_other_shards_are_fetched(shards: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = tuple(file.relative_to(shards).as_posix() for file in sorted(shards.rglob("*.tar")))
    opened: list[str] = []
    whole, hub = streams._opened, HubShards("org/pets", None, "1", files)

    def noted(url: str, **settings: object) -> Any:
        opened.append(url.removeprefix("hf://datasets/org/pets@1/"))
        return whole(url.replace("hf://datasets/org/pets@1", str(shards)), **settings)

    monkeypatch.setattr(HubShards, "of", lambda *_: hub)
    monkeypatch.setattr(streams, "_opened", noted)
    found = find_rows(DataSettings(source="org/pets", streaming=True), SILENT, to_test=True)
    assert {name: len(rows) for name, rows in found.items()} == {"test": 24}
    assert {name for name in opened if name.endswith(".tar")} == {"test/0.tar", "test/1.tar"}
    assert any("those of the test split alone are fetched" in note for note in found.notes)


def test_a_folder_of_test_shards_alone_is_a_split(shards: Path, tmp_path: Path) -> None:
    shutil.copytree(shards / "test", tmp_path / "test")
    found = find_rows(DataSettings(source=str(tmp_path)), SILENT)
    assert {name: len(rows) for name, rows in found.items()} == {"test": 24}


def test_what_can_not_be_fetched_names_the_file(tmp_path: Path, folder: Path) -> None:
    broken = tmp_path / "train.parquet"
    broken.write_bytes(b"no table at all, though long enough to look for an end")
    with pytest.raises(ConnectionError, match=r"train.parquet could not be fetched"):
        streams._Remote(str(broken))


def test_a_lost_connection_is_no_fault_of_a_mask_either() -> None:
    def image(*_: object) -> bytes:
        raise ConnectionError("train.parquet could not be fetched (gone)")

    content = StreamedContent(cast("Any", SimpleNamespace(image=image, identity=lambda *_: b"1")), "mask", 3)
    with pytest.raises(FetchError, match=r"train\[3\] must be one that can be fetched; got train.parquet"):
        read_mask(content, "train[3]")
    with pytest.raises(FetchError, match=r"train\[3\] must be one that can be fetched"):
        read_content(content, "train[3]")
    assert tile_of(Row("train[3]", content, "plain")) is None
