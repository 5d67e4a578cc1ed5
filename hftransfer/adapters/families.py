"""Which model families serve which task, by the `model_type` in their config.json; imports nothing heavy."""

from __future__ import annotations

from hftransfer.adapters.checkpoint import Checkpoint
from hftransfer.errors import ModelError, must_be

IMAGE_FAMILIES = ("resnet", "vit", "timm_wrapper")
"""Families with an adapter of their own; other image classifiers are tried with the general one."""

TEXT_FAMILIES = (
    "bert",
    "distilbert",
    "roberta",
    "electra",
    "deberta-v2",
    "modernbert",
    "mpnet",
    "gpt2",
    "llama",
)


def require_image_model(checkpoint: Checkpoint) -> None:
    """Nothing, if a checkpoint can be an image classifier as far as its configuration tells.

    Raises:
        ModelError: it is a text model.
    """
    if checkpoint.family in TEXT_FAMILIES:
        got = f"the text model '{checkpoint.name}' ({checkpoint.family})"
        remedy = "Try bundled/efficientnet-lite0 or a ResNet or ViT from the Hub."
        raise ModelError(must_be("model for task image-classification", "an image model", got, remedy))
