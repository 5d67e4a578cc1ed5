"""Our side of most comparisons: a recipe, run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

_NOT_COUNTED = ("total", "report", "save")


def recipe_of(settings: dict[str, Any], task: str, strategy: dict[str, Any], **train: Any) -> dict[str, Any]:
    """A recipe over the data and the model of a comparison."""
    return {
        "task": task,
        "model": settings["model"],
        "data": settings["data"],
        "strategy": strategy,
        "train": {"seed": settings["seed"], "checkpoint_every_minutes": None, **train},
    }


def trained(settings: dict[str, Any], task: str, strategy: dict[str, Any], **train: Any) -> dict[str, Any]:
    """Seconds from reading data and weights to the scores, validation included and the run's page left out; and the
    accuracy on the test split."""
    return run(recipe_of(settings, task, strategy, **train), settings)


def stepped(settings: dict[str, Any], task: str, strategy: dict[str, Any], **train: Any) -> dict[str, Any]:
    """The same of a strategy that steps, through all epochs, with the batch size and rate that all sides share."""
    more = {"epochs": settings["epochs"], "batch_size": settings["batch_size"], "patience": None, **train}
    return trained(settings, task, {"learning_rate": settings["learning_rate"], **strategy}, **more)


def run(recipe: dict[str, Any], settings: dict[str, Any]) -> dict[str, Any]:
    """Seconds of all stages of a run but its page, and the accuracy on the test split."""
    import_all()
    import hftransfer
    from hftransfer.base.progress import Progress

    folder = Path(settings["folder"]) / "run"
    metrics = hftransfer.run(recipe, out=folder, progress=Progress(None)).metrics
    stages = metrics["seconds"]
    seconds = sum(taken for stage, taken in stages.items() if stage not in _NOT_COUNTED)
    return {"seconds": seconds, "stages": stages, "accuracy": metrics["test"].get("accuracy")}


def metrics_of(settings: dict[str, Any]) -> dict[str, Any]:
    """All that the run measured."""
    found: dict[str, Any] = json.loads((Path(settings["folder"]) / "run" / "metrics.json").read_text(encoding="utf-8"))
    return found


def import_all() -> None:
    """Nothing; what a run imports on its way is imported."""
    import accelerate
    import datasets
    import evaluate
    import peft
    import timm
    import transformers
    from transformers import AutoImageProcessor, AutoModelForImageClassification, AutoModelForSequenceClassification

    from hftransfer.jobs import run as pipeline
    from hftransfer.jobs import training
    from hftransfer.training import activations, devices, loop, solver, transfer

    del accelerate, datasets, evaluate, peft, timm, transformers, pipeline, training
    del AutoImageProcessor, AutoModelForImageClassification, AutoModelForSequenceClassification
    del activations, devices, loop, solver, transfer
