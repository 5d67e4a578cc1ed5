"""Keras on torch as its guide to transfer learning has it; nothing of ours but the data is used."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any


def fit(settings: dict[str, Any]) -> dict[str, Any]:
    """Seconds from reading to the test accuracy: a new dense layer on the frozen network, `fit` for all epochs."""
    keras = _keras()
    began = time.perf_counter()
    (images, labels), (others, wanted) = (_split(keras, settings, name) for name in ("train", "test"))
    base = _frozen(keras, settings)
    inputs = keras.Input(base.input_shape[1:])
    outputs = keras.layers.Dense(int(labels.max()) + 1, activation="softmax")(base(inputs, training=False))
    model = keras.Model(inputs, outputs)
    accuracy = _learned(keras, model, settings, (images, labels), (others, wanted))
    return {"seconds": time.perf_counter() - began, "accuracy": accuracy}


def features_once(settings: dict[str, Any]) -> dict[str, Any]:
    """The same, but the frozen network runs once (`predict`) and the dense layer is fitted on what it gives."""
    keras = _keras()
    began = time.perf_counter()
    splits = [_split(keras, settings, name) for name in ("train", "test")]
    base = _frozen(keras, settings)
    (features, labels), (others, wanted) = (
        (base.predict(images, batch_size=settings["batch_size"], verbose=0), told) for images, told in splits
    )
    inputs = keras.Input(features.shape[1:])
    model = keras.Model(inputs, keras.layers.Dense(int(labels.max()) + 1, activation="softmax")(inputs))
    accuracy = _learned(keras, model, settings, (features, labels), (others, wanted))
    return {"seconds": time.perf_counter() - began, "accuracy": accuracy}


def _keras() -> Any:
    """Keras; importing it is not counted on any side."""
    os.environ["KERAS_BACKEND"] = "torch"
    import keras

    return keras


def _split(keras: Any, settings: dict[str, Any], name: str) -> tuple[Any, Any]:
    """The images of a split as the network takes them, and the numbers of their classes."""
    import numpy as np

    folder, side = Path(settings["data"]) / name, settings["pixels"]
    classes = sorted(entry.name for entry in folder.iterdir())
    files = [(file, number) for number, one in enumerate(classes) for file in sorted((folder / one).iterdir())]
    images = [
        keras.utils.img_to_array(keras.utils.load_img(file, target_size=(side, side), interpolation="bilinear"))
        for file, _ in files
    ]
    pixels = keras.applications.mobilenet_v2.preprocess_input(np.stack(images))
    return pixels, np.array([number for _, number in files])


def _frozen(keras: Any, settings: dict[str, Any]) -> Any:
    """The network below its last layer, frozen."""
    whole = keras.saving.load_model(settings["file"], compile=False)
    base = keras.Model(whole.inputs, whole.layers[-1].input)
    base.trainable = False
    return base


def _learned(keras: Any, model: Any, settings: dict[str, Any], train: Any, test: Any) -> float:
    keras.utils.set_random_seed(settings["seed"])
    optimizer = keras.optimizers.Adam(settings["learning_rate"])
    model.compile(optimizer, loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    model.fit(*train, batch_size=settings["batch_size"], epochs=settings["epochs"], verbose=0)
    _, accuracy = model.evaluate(*test, batch_size=settings["batch_size"], verbose=0)
    return float(accuracy)
