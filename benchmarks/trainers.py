"""What the scripts around Hugging Face's Trainer have in common."""

from __future__ import annotations

from typing import Any


def training_arguments(folder: str, epochs: int, learning_rate: float, **more: Any) -> Any:
    """The Trainer's settings as they are by default, without saving and reporting, on the GPU where there is one."""
    import torch
    from transformers import TrainingArguments

    return TrainingArguments(
        folder,
        num_train_epochs=epochs,
        learning_rate=learning_rate,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        use_cpu=not torch.cuda.is_available(),
        **more,
    )


def batched(options: Any) -> dict[str, Any]:
    """The settings that follow from `--batch-size` and `--seed`."""
    size = options.batch_size
    return {"per_device_train_batch_size": size, "per_device_eval_batch_size": size, "seed": options.seed}


def accuracy(found: Any) -> dict[str, float]:
    """The share of the predictions that are right."""
    import numpy as np

    return {"accuracy": float(np.mean(found.predictions.argmax(axis=1) == found.label_ids))}


def photos_and_model(data: str, model: str, cache: str, **more: Any) -> tuple[Any, Any]:
    """The splits of an image folder, decoded when they are asked for, and a classifier with a new head."""
    import datasets
    from transformers import AutoImageProcessor, AutoModelForImageClassification

    photos = datasets.load_dataset("imagefolder", data_dir=data, cache_dir=cache)
    processor = AutoImageProcessor.from_pretrained(model)

    def transform(batch: dict[str, Any]) -> dict[str, Any]:
        encoded = processor(images=[image.convert("RGB") for image in batch["image"]], return_tensors="pt")
        return {"pixel_values": encoded["pixel_values"], "labels": batch["label"]}

    classes = photos["train"].features["label"].num_classes
    classifier = AutoModelForImageClassification.from_pretrained(
        model, num_labels=classes, ignore_mismatched_sizes=True, **more
    )
    return photos.with_transform(transform), classifier
