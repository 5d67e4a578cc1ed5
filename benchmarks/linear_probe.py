"""Linear probes: a frozen network and one linear layer on top, against the Trainer and what solves such a layer too."""

from __future__ import annotations

from typing import Any

from benchmarks import data, ours, trainers
from benchmarks.harness import Benchmark, Side, faster
from benchmarks.rivals import sentence_transformers, setfit


def our_photos(settings: dict[str, Any]) -> dict[str, Any]:
    """Our side: activations once, then L-BFGS with the L2 strength chosen on the validation split."""
    return ours.trained(settings, "image-classification", {"kind": "linear-probe"}, cache="off")


def trainer_photos(settings: dict[str, Any]) -> dict[str, Any]:
    """The Trainer, all frozen but the classifier."""
    return trainers.trained(settings, "images", trainers.head_only)


def our_texts(settings: dict[str, Any]) -> dict[str, Any]:
    """Our side, on the mean over tokens."""
    return ours.trained(settings, "text-classification", {"kind": "linear-probe"}, cache="off")


def trainer_texts(settings: dict[str, Any]) -> dict[str, Any]:
    """The Trainer, all frozen but the classifier on BERT's pooler."""
    return trainers.trained(settings, "texts", trainers.head_only)


_SHARED = {"rows": 0, "epochs": 10, "learning_rate": 5e-3, "batch_size": 32}
_WARM_UP = {"rows": 20, "epochs": 1}

BENCHMARKS = (
    Benchmark(
        name="probe-photos",
        about="a linear probe on photos: the Trainer steps its head, ours is solved",
        sides=(
            Side("ours", our_photos),
            Side("Trainer, frozen", trainer_photos, (faster(15),)),
            Side("Trainer, frozen, bf16", trainer_photos, (faster(6),), {"bf16": True}, bf16=True),
        ),
        settings={"data": data.PHOTOS, "model": data.IMAGE_MODEL, **_SHARED},
        prepare=data.photos,
        warm_up=_WARM_UP,
        small={"rows": 60, "epochs": 5},
    ),
    Benchmark(
        name="probe-text",
        about="a linear probe on sentences: the Trainer steps its head, the others solve it",
        sides=(
            Side("ours", our_texts),
            Side("Trainer, frozen", trainer_texts, (faster(20),)),
            Side(
                "sentence-transformers + scikit-learn",
                sentence_transformers.encode_and_solve,
                (faster(2.5),),
                environment="sentence-transformers",
            ),
            Side("SetFit's head", setfit.head, (faster(2.5),), environment="setfit"),
        ),
        settings={"data": data.SENTENCES, "model": data.TEXT_MODEL, **_SHARED},
        prepare=data.sentences,
        warm_up=_WARM_UP,
        small={"rows": 200, "epochs": 3},
    ),
)
