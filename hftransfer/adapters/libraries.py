"""How other libraries are called: quietly, from a seed, and their errors as errors of a model."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from hftransfer.base.errors import HftransferError, ModelError, first_line, must_be

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
