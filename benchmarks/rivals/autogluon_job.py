"""AutoGluon-MultiModal on an image folder, as its documents have it; nothing of ours is imported."""

import json
import sys
from pathlib import Path

import pandas
from autogluon.multimodal import MultiModalPredictor


def read(folder: str, split: str) -> pandas.DataFrame:
    """The files and labels of a split."""
    files = sorted((Path(folder) / split).glob("*/*"))
    return pandas.DataFrame({"image": [str(file) for file in files], "label": [file.parent.name for file in files]})


if __name__ == "__main__":  # its data loaders start processes that read this file again
    settings = json.loads(sys.argv[1])
    predictor = MultiModalPredictor(label="label", path=str(Path(settings["folder"]) / "predictor"), verbosity=0)
    predictor.fit(
        read(settings["data"], "train"),
        tuning_data=read(settings["data"], "validation"),
        hyperparameters={
            "model.names": ["timm_image"],
            "model.timm_image.checkpoint_name": settings["timm_folder"],
            "optim.max_epochs": settings["epochs"],
            "env.num_gpus": 0,
        },
        seed=settings["seed"],
    )
    scores = predictor.evaluate(read(settings["data"], "test"), metrics=["accuracy"])
    print("\n" + json.dumps({"accuracy": float(scores["accuracy"])}))
