"""Scripts around Hugging Face's Trainer, as its documents write them."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

Adapt = Callable[[Any], Any]


def trained(settings: dict[str, Any], kind: str, adapt: Adapt = lambda model: model) -> dict[str, Any]:
    """Seconds from reading data and weights to the scores on the test split, and the accuracy there.

    `adapt` freezes what does not learn. With `bf16` in the settings the Trainer computes in bfloat16, with `grouped`
    texts of like length share a batch.
    """
    import datasets
    import torch
    from transformers import (
        AutoImageProcessor,
        AutoModelForImageClassification,
        AutoModelForSequenceClassification,
        AutoTokenizer,
        Trainer,
        TrainingArguments,
    )

    del AutoImageProcessor, AutoModelForImageClassification, AutoModelForSequenceClassification
    del AutoTokenizer, TrainingArguments  # imported, so that the clock does not see it
    datasets.disable_progress_bars()
    torch.manual_seed(settings["seed"])
    began = time.perf_counter()
    parts = _images(settings) if kind == "images" else _texts(settings)
    more = {**_tuned(settings), "remove_unused_columns": kind == "texts"}
    arguments = training_arguments(settings, label_names=["labels"], **more)
    model = adapt(parts.pop("model"))
    trainer = Trainer(model=model, args=arguments, compute_metrics=_accuracy, **parts)
    trainer.train()
    scores = trainer.evaluate()
    return {"seconds": time.perf_counter() - began, "accuracy": scores["eval_accuracy"]}


def trained_on_texts(settings: dict[str, Any], model: Any, tokenizer: Any, parts: dict[str, Any]) -> Any:
    """The Trainer, trained on tokenised texts by its usual settings, each batch padded to its longest."""
    from transformers import DataCollatorWithPadding, Trainer

    trainer = Trainer(
        model=model,
        args=training_arguments(settings, **_tuned(settings)),
        train_dataset=parts["train"],
        eval_dataset=parts["validation"],
        data_collator=DataCollatorWithPadding(tokenizer),
    )
    trainer.train()
    return trainer


def _tuned(settings: dict[str, Any]) -> dict[str, Any]:
    """What makes it faster than it is by default, where the settings say so."""
    grouped = {"train_sampling_strategy": "group_by_length"} if settings.get("grouped") else {}
    return {"bf16": bool(settings.get("bf16")), **grouped}


def training_arguments(settings: dict[str, Any], **more: Any) -> Any:
    """The Trainer's settings as they are by default, without saving and reporting, on the GPU where there is one."""
    import torch
    from transformers import TrainingArguments

    return TrainingArguments(
        settings["folder"],
        num_train_epochs=settings["epochs"],
        learning_rate=settings["learning_rate"],
        per_device_train_batch_size=settings["batch_size"],
        per_device_eval_batch_size=settings["batch_size"],
        seed=settings["seed"],
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        use_cpu=not torch.cuda.is_available(),
        **more,
    )


def only(names: list[str]) -> Adapt:
    """What lets the parameters of these names learn and freezes the others."""

    def adapt(model: Any) -> Any:
        learning = {name for name, _ in model.named_parameters()} & set(names)
        if len(learning) != len(names):
            raise ValueError(f"the model lacks {sorted(set(names) - learning)[:3]}")
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(name in learning)
        return model

    return adapt


def head_only(model: Any) -> Any:
    """The model, its classifier alone to learn."""
    model.requires_grad_(False)
    head = model.classifier if hasattr(model, "classifier") else model.timm_model.get_classifier()
    head.requires_grad_(True)
    return model


def _images(settings: dict[str, Any]) -> dict[str, Any]:
    import datasets
    import torch
    from transformers import AutoImageProcessor, AutoModelForImageClassification

    photos = datasets.load_dataset("imagefolder", data_dir=settings["data"], cache_dir=settings["folder"])
    processor = AutoImageProcessor.from_pretrained(settings["model"])

    def transform(batch: dict[str, Any]) -> dict[str, Any]:
        images = [image.convert("RGB") for image in batch["image"]]
        encoded = processor(images=images, return_tensors="pt")
        return {"pixel_values": encoded["pixel_values"], "labels": batch["label"]}

    model = AutoModelForImageClassification.from_pretrained(
        settings["model"],
        num_labels=photos["train"].features["label"].num_classes,
        ignore_mismatched_sizes=True,
        dtype=torch.float32,
    )
    photos = photos.with_transform(transform)
    return {"model": model, "train_dataset": photos["train"], "eval_dataset": photos["test"]}


def _texts(settings: dict[str, Any]) -> dict[str, Any]:
    import datasets
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer, DataCollatorWithPadding

    files = {name: str(Path(settings["data"]) / f"{name}.csv") for name in ("train", "test")}
    texts = datasets.load_dataset("csv", data_files=files, cache_dir=settings["folder"], keep_default_na=False)
    names = sorted(set(texts["train"]["label"]))
    tokenizer = AutoTokenizer.from_pretrained(settings["model"])

    def encode(rows: dict[str, Any]) -> dict[str, Any]:
        labels = [names.index(label) for label in rows["label"]]
        return {**tokenizer(rows["text"], truncation=True), "labels": labels}

    encoded = texts.map(encode, batched=True, remove_columns=texts["train"].column_names)
    model = AutoModelForSequenceClassification.from_pretrained(
        settings["model"], num_labels=len(names), dtype=torch.float32
    )
    return {
        "model": model,
        "train_dataset": encoded["train"],
        "eval_dataset": encoded["test"],
        "data_collator": DataCollatorWithPadding(tokenizer),
    }


def _accuracy(found: Any) -> dict[str, float]:
    """The share of the predictions that are right."""
    import numpy as np

    return {"accuracy": float(np.mean(found.predictions.argmax(axis=1) == found.label_ids))}
