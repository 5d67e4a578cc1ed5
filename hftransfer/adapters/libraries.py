"""How other libraries are called: quietly, from a seed, and their errors as errors of a model."""

from __future__ import annotations

import json
import logging
import os
import random
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

from hftransfer.base.errors import HftransferError, ModelError, first_line, must_be
from hftransfer.base.extras import require_extra

# What a model's own code raises when it is called in a way that it is not made for.
FAULTS_OF_MODELS = (
    *(RuntimeError, ValueError, TypeError, AttributeError, LookupError, AssertionError),
    *(ArithmeticError, MemoryError),
)


@contextmanager
def damage_as_model_error(name: str) -> Iterator[None]:
    """Raise what libraries meet in a model's files as an error of the model.

    Raises:
        ModelError: its files are damaged, or do not fit together.
    """
    try:
        yield
    except HftransferError:
        raise
    except (*FAULTS_OF_MODELS, ImportError, OSError) as error:
        got = f"something else ({type(error).__name__}: {first_line(error)})"
        raise ModelError(must_be(f"model '{name}'", "one whose files fit together", got)) from error


@contextmanager
def quiet_peft() -> Iterator[None]:
    """Silence peft's warnings: of layers whose kind it can't tell, and of names that transformers will change."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """Silence transformers' loading bars and notes within the block."""
    from transformers.utils import logging as transformers_logging

    level = transformers_logging.get_verbosity()
    bars = transformers_logging.is_progress_bar_enabled()
    transformers_logging.set_verbosity(logging.CRITICAL)
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        transformers_logging.set_verbosity(level)
        if bars:
            transformers_logging.enable_progress_bar()


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Draw torch's random numbers from a seed within the block; afterwards they go on as before."""
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


# --- Keras -----------------------------------------------------------------------------------------------------------


# What a person had set, where torch was chosen over it.
_OTHER_BACKENDS: list[str] = []


def keras_on_torch() -> ModuleType:
    """Return Keras on its torch backend, which is chosen before Keras is imported.

    Raises:
        ModelError: Keras is not installed, or was imported on another backend before.
    """
    require_extra("keras", "models of Keras")
    if "keras" not in sys.modules:
        _OTHER_BACKENDS.extend(filter(None, [_chosen_keras_backend()]))
        os.environ["KERAS_BACKEND"] = "torch"
    import keras

    found = str(keras.backend.backend())
    if found != "torch":
        remedy = "Set KERAS_BACKEND=torch before keras is imported, or import hftransfer's models first."
        got = f"{found}, on which this process imported it"
        raise ModelError(must_be("the backend of Keras", "torch", got, remedy))
    module: ModuleType = keras
    return module


def other_keras_backend() -> str | None:
    """Return the backend that a person had set for Keras, over which torch was chosen; None where there is none."""
    return _OTHER_BACKENDS[-1] if _OTHER_BACKENDS else None


def _chosen_keras_backend() -> str | None:
    """Return the backend that a person chose for Keras, if it is not torch; None where none was chosen.

    Keras writes `keras.json` itself, with tensorflow in it: that is no choice.
    """
    told = os.environ.get("KERAS_BACKEND")
    if told is None:
        home = Path(os.environ.get("KERAS_HOME", "~/.keras")).expanduser()
        try:
            told = json.loads((home / "keras.json").read_text(encoding="utf-8")).get("backend")
        except (OSError, ValueError, AttributeError):
            return None
        told = None if told == "tensorflow" else told
    return told if told not in (None, "torch") else None


@contextmanager
def quiet_keras() -> Iterator[None]:
    """Silence Keras' warnings: of .h5 as an old format, of models that aren't compiled, of numpy's ways."""
    log = logging.getLogger("absl")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        log.setLevel(level)


@contextmanager
def seeded_keras(seed: int) -> Iterator[None]:
    """Let Keras draw from a seed within the block; numbers of torch, numpy and Python go on as before."""
    import numpy as np

    keras = keras_on_torch()
    plain, arrays = random.getstate(), np.random.get_state()
    with seeded(seed):
        keras.utils.set_random_seed(seed)
        try:
            yield
        finally:
            random.setstate(plain)
            np.random.set_state(arrays)


@contextmanager
def keras_without_network(*, offline: bool) -> Iterator[None]:
    """Let Keras fetch no file within the block, where a person works offline.

    Raises:
        OSError: it would have to.
    """
    from keras.src.utils import file_utils

    def refuse(*_: object, **__: object) -> None:
        raise OSError("not fetched: HF_HUB_OFFLINE is set")

    fetch = file_utils.urlretrieve
    if offline:
        file_utils.urlretrieve = refuse
    try:
        yield
    finally:
        file_utils.urlretrieve = fetch
