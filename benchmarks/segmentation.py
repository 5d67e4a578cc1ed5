"""Masks: a linear layer solved on a frozen backbone beside a Trainer that steps it, and a decoder fine-tuned beside
segmentation_models.pytorch's U-Net with the same encoder.

The data are a folder with `images/` and `masks/` by split. The accuracy that is told is the mean IoU on the test
split.
"""

from __future__ import annotations

import time
from typing import Any

from benchmarks import data, ours
from benchmarks.harness import Benchmark, Goal, Measured, Side, faster
from benchmarks.rivals.masks import images_and_masks, mean_iou


def prepare(settings: dict[str, Any]) -> dict[str, Any]:
    """The model's folder; the data must be given."""
    if not settings["data"]:
        raise SystemExit("--data must be a folder with images/ and masks/, each with train, validation and test")
    found = data.model(settings)
    return {**found, "data": data.copied_masks(settings)}


def our_probe(settings: dict[str, Any]) -> dict[str, Any]:
    """Our side: maps once, and the layer solved on them."""
    recipe = ours.recipe_of(settings, "image-segmentation", {"kind": "linear-probe"}, cache="off")
    recipe["data"] = {"source": settings["data"], "size": settings["size"]}
    found = ours.run(recipe, settings)
    return {"seconds": found["seconds"], "accuracy": ours.metrics_of(settings)["test"]["mean_iou"]}


def trainer_probe(settings: dict[str, Any]) -> dict[str, Any]:
    """The Trainer on the same layer and the same frozen network, through all epochs, with the better learning rate
    of 0.003 (mean IoU 0.532) and 0.01 (0.504)."""
    import torch
    from torch.nn.functional import interpolate
    from torch.utils.data import Dataset
    from transformers import Trainer

    from benchmarks.trainers import training_arguments
    from hftransfer.adapters.checkpoint import find_checkpoint
    from hftransfer.adapters.heads import SEGMENTS
    from hftransfer.adapters.loading import load_adapter

    class Pictures(Dataset[dict[str, Any]]):
        def __init__(self, split: str) -> None:
            self.images, self.masks = images_and_masks(settings["data"], split, settings["size"])

        def __len__(self) -> int:
            return len(self.images)

        def __getitem__(self, place: int) -> dict[str, Any]:
            pixels = torch.from_numpy(self.images[place]).permute(2, 0, 1).float() / 127.5 - 1
            return {"pixel_values": pixels, "labels": torch.from_numpy(self.masks[place]).long()}

    class Layer(torch.nn.Module):
        def __init__(self, inner: Any) -> None:
            super().__init__()
            self.inner = inner

        def forward(self, pixel_values: Any, labels: Any = None) -> Any:
            with torch.no_grad():
                maps = self.inner.maps(pixel_values)
            logits = self.inner.head.of_maps(maps)
            logits = interpolate(logits, size=pixel_values.shape[2:], mode="bilinear", align_corners=False)
            loss = torch.nn.functional.cross_entropy(logits, labels, ignore_index=255)
            return {"loss": loss, "logits": logits.argmax(1)}

    torch.manual_seed(settings["seed"])
    began = time.perf_counter()
    checkpoint = find_checkpoint(settings["model"])
    assert checkpoint is not None
    names = tuple(map(str, range(settings["classes"])))
    height, width = settings["size"]
    adapter = load_adapter(checkpoint, names, head=SEGMENTS, pooling="dense", size=(height, width))
    model = Layer(adapter.model)
    model.requires_grad_(False)
    model.inner.head.requires_grad_(True)
    arguments = training_arguments(settings, label_names=["labels"], remove_unused_columns=False)
    trainer = Trainer(model=model, args=arguments, train_dataset=Pictures("train"))
    trainer.train()
    test = Pictures("test")
    given = trainer.predict(test).predictions
    score = mean_iou(test.masks, given, settings["classes"])
    return {"seconds": time.perf_counter() - began, "accuracy": score}


def our_decoder(settings: dict[str, Any]) -> dict[str, Any]:
    """Our side: UPerNet's decoder with few channels on the whole network, judged in every epoch."""
    strategy = {
        "kind": "fine-tune",
        "learning_rate": settings["learning_rate"],
        "head_lr": settings["learning_rate"],
    }
    more = {"epochs": settings["epochs"], "batch_size": settings["batch_size"], "patience": None}
    recipe = ours.recipe_of(settings, "image-segmentation", strategy, **more)
    recipe["data"] = {"source": settings["data"], "size": settings["size"]}
    found = ours.run(recipe, settings)
    return {"seconds": found["seconds"], "accuracy": ours.metrics_of(settings)["test"]["mean_iou"]}


def rival_unet(settings: dict[str, Any]) -> dict[str, Any]:
    """segmentation_models.pytorch's U-Net, stepped by a plain loop as its documents write it."""
    from benchmarks.rivals import unet

    return unet.trained(settings)


def our_growth(settings: dict[str, Any]) -> dict[str, Any]:
    """The probe on so many copies of every image: what memory that is no mapped file comes to."""
    return our_probe(settings)


def _memory(own: Measured, other: Measured) -> float:
    return other.anonymous_bytes / own.anonymous_bytes


_DATA = {"data": data.SCENES, "model": "bundled/efficientnet-lite0", "size": [240, 320], "classes": 11, "rows": 0}

BENCHMARKS = (
    Benchmark(
        name="probe-masks",
        about="a linear layer on a frozen backbone's maps: solved, beside a Trainer that steps it",
        sides=(Side("ours", our_probe), Side("Trainer, 20 epochs", trainer_probe, (faster(15),))),
        settings={**_DATA, "epochs": 20, "batch_size": 8, "learning_rate": 3e-3},
        prepare=prepare,
        warm_up={"rows": 16, "epochs": 1},
        pairs=1,
    ),
    Benchmark(
        name="fine-tune-masks",
        about="a decoder on the whole network, beside segmentation_models.pytorch's U-Net",
        sides=(
            Side("ours", our_decoder),
            Side("U-Net", rival_unet, (faster(1 / 0.6),), environment="unet"),
        ),
        settings={**_DATA, "epochs": 10, "batch_size": 8, "learning_rate": 1e-3},
        prepare=prepare,
        warm_up={"rows": 16, "epochs": 1},
        pairs=1,
    ),
    Benchmark(
        name="growth-masks",
        about="the probe on ten times the images: memory that is no mapped file",
        sides=(
            Side("ours", our_growth),
            Side("ten times the images", our_growth, (Goal("memory", _memory, 1.15, at_most=True),), {"times": 10}),
        ),
        settings={**_DATA, "times": 1},
        prepare=prepare,
        warm_up={"rows": 16, "times": 1},
        pairs=1,
    ),
)
