"""AutoGluon-MultiModal on an image folder, as its documents have it; nothing of ours but the data is used."""

# mypy: disable-error-code="import-not-found, import-untyped"
from __future__ import annotations

from pathlib import Path
from typing import Any


def job(settings: dict[str, Any]) -> dict[str, Any]:
    """The accuracy on the test split of a network that was fine-tuned as AutoGluon does it."""
    import pandas
    from autogluon.multimodal import MultiModalPredictor

    def read(split: str) -> pandas.DataFrame:
        files = sorted((Path(settings["data"]) / split).glob("*/*"))
        return pandas.DataFrame({"image": [str(file) for file in files], "label": [file.parent.name for file in files]})

    predictor = MultiModalPredictor(label="label", path=str(Path(settings["folder"]) / "predictor"), verbosity=0)
    predictor.fit(
        read("train"),
        tuning_data=read("validation"),
        hyperparameters={
            "model.names": ["timm_image"],
            "model.timm_image.checkpoint_name": settings["timm_folder"],
            "optim.max_epochs": settings["epochs"],
            "env.num_gpus": 0,
        },
        seed=settings["seed"],
    )
    return {"accuracy": float(predictor.evaluate(read("test"), metrics=["accuracy"])["accuracy"])}
