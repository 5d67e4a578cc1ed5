"""Rows that are objects of other libraries: torch, torchvision, numpy, the Hub's streams, functions."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, Dataset, Subset, TensorDataset

import hftransfer as ht
from hftransfer.base.errors import DataError
from hftransfer.base.progress import Progress
from hftransfer.data.pictures import IMAGES
from hftransfer.data.settings import DataSettings
from hftransfer.data.sources import rows_from_python
from hftransfer.data.texts import TEXTS
from tests.builders import TinyModels, picture, write_classes

MEMORY = DataSettings(source="memory")
COLOURS = ("red", "blue")


class Pictures(Dataset[Any]):
    """A data set of torch, as a person writes one."""

    def __init__(self, count: int, *, as_dicts: bool = False, classes: tuple[str, ...] = ()) -> None:
        self.count, self.as_dicts = count, as_dicts
        if classes:
            self.classes = list(classes)

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> Any:
        if index >= self.count:
            raise IndexError(index)
        image, label = picture(COLOURS[index % 2], index), torch.tensor(index % 2)
        return {"image": image, "label": label} if self.as_dicts else (image, label)


def _targets(data: object, reader: Any = IMAGES, role: str = "all") -> list[Any]:
    return [row.target for row in rows_from_python(data, MEMORY, reader)[role]]


@pytest.mark.parametrize("as_dicts", [False, True])
def test_a_data_set_of_torch(as_dicts: bool) -> None:
    assert _targets(Pictures(4, as_dicts=as_dicts)) == ["0", "1", "0", "1"]
    assert _targets({"train": Pictures(4), "test": Pictures(2)}, role="test") == ["0", "1"]


def test_its_classes_are_names_and_subsets_keep_them() -> None:
    whole = Pictures(6, classes=COLOURS)
    assert _targets(whole)[:2] == ["red", "blue"]
    part = Subset(Subset(whole, [1, 2, 3, 5]), [0, 3])
    assert _targets(part) == ["blue", "blue"]


def test_a_folder_of_images_of_torchvision_is_read_from_its_files(tmp_path: Path) -> None:
    from torchvision.datasets import ImageFolder
    from torchvision.transforms import ToTensor

    folder = write_classes(tmp_path, {"cat": 3, "dog": 2})
    found = rows_from_python(ImageFolder(str(folder), transform=ToTensor()), MEMORY, IMAGES)
    assert [row.target for row in found["all"]] == ["cat"] * 3 + ["dog"] * 2
    assert found["all"][0].content.path == folder / "cat" / found["all"][0].content.path.name  # type: ignore[union-attr]
    assert "without its transform" in found.notes[0]
    part = Subset(ImageFolder(str(folder)), [0, 4])
    assert _targets(part) == ["cat", "dog"]


def test_a_data_set_of_tensors() -> None:
    images = torch.stack([torch.full((3, 8, 8), 10 * number, dtype=torch.uint8) for number in range(3)])
    found = rows_from_python(TensorDataset(images, torch.tensor([0, 1, 0])), MEMORY, IMAGES)["all"]
    assert [row.target for row in found] == ["0", "1", "0"]


@pytest.mark.parametrize("labels", [np.array([1, 0]), [1, 0], torch.tensor([1, 0])])
def test_arrays_of_inputs_and_labels(labels: Any) -> None:
    assert _targets((np.zeros((2, 8, 8, 3), np.uint8), labels)) == ["1", "0"]
    assert _targets((np.array(["a film", "a play"]), labels), TEXTS) == ["1", "0"]
    with pytest.raises(DataError, match="the arrays of data must be of equal length; got 3 inputs and 2 labels"):
        _targets((np.zeros((3, 8, 8, 3), np.uint8), labels))


def test_lists_of_texts_and_of_labels() -> None:
    texts = ["a film", "a play", "a song", "a poem"]
    vectors = np.array([[1, 0, 1], [0, 1, 0], [1, 1, 0], [0, 0, 0]])
    wanted = [("0", "2"), ("1",), ("0", "1"), ()]
    assert _targets((texts, vectors), TEXTS) == wanted
    assert _targets((texts, vectors.tolist()), TEXTS) == wanted
    assert _targets((texts, list("abab")), TEXTS) == list("abab")
    rows = (["a film", "a"], ["a play", "b"])  # two rows stay two rows
    assert _targets(rows, TEXTS) == ["a", "b"]


def test_generators_and_functions_are_read_once() -> None:
    def rows() -> Iterator[tuple[Any, str]]:
        for number in range(4):
            yield picture("red", number), COLOURS[number % 2]

    assert _targets(rows()) == ["red", "blue"] * 2
    assert _targets(rows) == ["red", "blue"] * 2
    assert _targets({"train": rows(), "validation": rows}, role="validation") == ["red", "blue"] * 2


def test_a_streamed_data_set_of_the_hub() -> None:
    features = datasets.Features({"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["neg", "pos"])})
    stored = datasets.Dataset.from_list([{"text": "good", "label": 1}, {"text": "bad", "label": 0}], features=features)
    assert _targets(stored.to_iterable_dataset(), TEXTS) == ["pos", "neg"]


def test_a_loader_is_told_for_what_it_is() -> None:
    with pytest.raises(DataError, match=r"got a DataLoader, which gives batches\. Give its \.dataset"):
        _targets(DataLoader(Pictures(4)))


def test_a_model_learns_from_a_data_set_of_torch(tiny: TinyModels) -> None:
    model = ht.fit(
        "image-classification",
        model=tiny("resnet"),
        train=Pictures(20, classes=COLOURS),
        test=Pictures(4, classes=COLOURS),
        progress=Progress(None),
    )
    assert model.class_names == ("blue", "red")
    assert model.metrics["test"]["accuracy"] == 1.0
