"""The whole job: from the start of Python to a trained image classifier and its scores, imports and all.

AutoGluon-MultiModal fine-tunes; ours is the default, a linear probe. What must be equal is the network they begin with
(EfficientNet-Lite0), the photos and the accuracy. AutoGluon's default of 20 epochs is cut to 5, in its favour.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from benchmarks import data
from benchmarks.harness import Benchmark, Side, faster
from benchmarks.rivals import autogluon


def prepare(settings: dict[str, Any]) -> dict[str, Any]:
    """Photos, and the weights as timm keeps them besides, which AutoGluon reads."""
    import torch
    from transformers import AutoModelForImageClassification

    found = data.photos(settings)
    folder = Path(settings["kept"]) / "timm"
    if not folder.exists():
        folder.mkdir()
        model = AutoModelForImageClassification.from_pretrained(found["model"])
        model.timm_model.reset_classifier(0)  # as AutoGluon wants it
        torch.save(model.timm_model.state_dict(), folder / "pytorch_model.bin")
        features = {"num_features": model.timm_model.num_features}
        names = {"architecture": model.config.architecture, "pretrained_cfg": model.config.pretrained_cfg}
        (folder / "config.json").write_text(json.dumps(features | names))
    return found | {"timm_folder": str(folder)}


def ours(settings: dict[str, Any]) -> dict[str, Any]:
    """Our side; all files of a run are written, its page too."""
    import hftransfer as ht

    asked = {"task": "image-classification", "model": settings["model"], "data": settings["data"]}
    result = ht.run({**asked, "train": {"seed": settings["seed"]}}, out=Path(settings["folder"]) / "run")
    return {"accuracy": result.metrics["test"]["accuracy"]}


BENCHMARKS = (
    Benchmark(
        name="whole-job",
        about="from the start of Python to the scores of an image classifier",
        sides=(
            Side("ours", ours),
            Side("AutoGluon-MultiModal", autogluon.job, (faster(5),), environment="autogluon"),
        ),
        settings={"data": data.PHOTOS, "model": "bundled/efficientnet-lite0", "rows": 0, "epochs": 5},
        prepare=prepare,
        warm_up={"rows": 20, "epochs": 1},
        pairs=3,
    ),
)
