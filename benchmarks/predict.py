"""Prediction: `transformers.pipeline` against ours, with the same model and image files.

Loading is left out. The pipeline is asked for one file after the other, as its documents do, or for all in batches.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from benchmarks import data
from benchmarks.harness import Benchmark, Side, faster


def _files(settings: dict[str, Any]) -> list[str]:
    return sorted(str(file) for file in Path(settings["data"]).glob("*/*"))


def ours(settings: dict[str, Any]) -> dict[str, Any]:
    """Our side, in float32."""
    import hftransfer as ht

    model, files = ht.load(settings["model"]), _files(settings)
    model.predict(files[:1])
    began = time.perf_counter()
    labels = [found.label for found in model.predict(files)]
    return {"seconds": time.perf_counter() - began, "predictions": labels}


def pipeline_loop(settings: dict[str, Any]) -> dict[str, Any]:
    """The pipeline, with `batches` in the settings over all files at once."""
    from transformers import pipeline

    classify, files = pipeline("image-classification", model=settings["model"]), _files(settings)
    classify(files[0])
    began = time.perf_counter()
    if settings.get("batches"):
        labels = [found[0]["label"] for found in classify(files, batch_size=settings["batches"])]
    else:
        labels = [classify(file)[0]["label"] for file in files]
    return {"seconds": time.perf_counter() - began, "predictions": labels}


BENCHMARKS = (
    Benchmark(
        name="predict",
        about="image files labelled by a model that is loaded, in float32",
        sides=(
            Side("ours", ours),
            Side("pipeline, one by one", pipeline_loop, (faster(),)),
            Side("pipeline, batches of 32", pipeline_loop, (faster(),), {"batches": 32}),
        ),
        settings={"data": data.PHOTOS, "model": data.IMAGE_MODEL, "images": 1000},
        prepare=data.image_files,
        warm_up={"images": 32},
    ),
)
