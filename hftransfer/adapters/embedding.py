"""A linear head on the normalised image embedding of a dual encoder: its weights may be the texts that name the classes
(CLIP; Radford et al., arXiv 2103.00020, section 3.1.1), and training then starts from zero-shot."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import ClassVar

import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn.functional import normalize
from transformers import PreTrainedConfig

from hftransfer.adapters.anatomy import Inputs
from hftransfer.adapters.checkpoint import Checkpoint, sidecar
from hftransfer.adapters.dual import DualEncoder, load_dual
from hftransfer.adapters.heads import load_head, save_head
from hftransfer.adapters.images import ImageAdapter
from hftransfer.adapters.open_clip import stages_of_visual
from hftransfer.adapters.projections import TowerModel, Unprojected
from hftransfer.base.errors import ModelError, must_be


class EmbeddingClassifier(nn.Module):
    """An image tower, its embedding (B, D) normalised, and one linear layer."""

    base_model_prefix: ClassVar[str] = "tower"  # transformers asks for it where peft loads matrices
    in_float32: ClassVar[tuple[str, ...]] = ("head",)

    def __init__(self, tower: TowerModel, class_names: Sequence[str], width: int) -> None:
        super().__init__()
        self.tower = tower
        self.head = nn.Linear(width, len(class_names))
        # Names of classes are looked up in `config.id2label`, as in transformers' own models.
        self.config = PreTrainedConfig(id2label=dict(enumerate(class_names)))

    @property
    def base_model(self) -> nn.Module:
        """The image tower."""
        return self.tower

    def forward(self, pixel_values: Tensor) -> SimpleNamespace:
        """Return `logits` (B, C) of pixels (B, 3, H, W). What lies behind the tower is computed in float32: logits are
        cosines times a large scale."""
        embedded = self.tower(pixel_values=pixel_values).logits  # (B, D)
        with torch.autocast(embedded.device.type, enabled=False):
            return SimpleNamespace(logits=self.head(normalize(embedded.float(), dim=-1)))


class EmbeddingAdapter(ImageAdapter):
    """A dual encoder as an image classifier; its text tower is kept, and written with it."""

    def __init__(self, model: EmbeddingClassifier, dual: DualEncoder) -> None:
        self.dual = dual
        super().__init__(model, None, dual.name, "")

    def encode(self, examples: Sequence[Image.Image]) -> Inputs:
        """Return `{"pixel_values": (B, 3, H, W)}` in float32, from RGB images."""
        return self.dual.encode_images(examples)

    def processor_settings(self) -> dict[str, object]:
        """Return everything that shapes `encode`."""
        return {"normalised": True, **self.dual.image_settings()}

    def save(self, folder: Path) -> None:
        """Write the native dual encoder with the trained tower, and the head into `head.safetensors`."""
        self.trained_dual().save(folder)
        save_head(self.head, folder)

    def trained_dual(self) -> DualEncoder:
        """Return the dual encoder with the image tower as it is now."""
        return self.dual.with_towers({"image": self.model.tower})

    def save_processor(self, folder: Path) -> None:
        """Write no file: preprocessing is that of the base model."""

    def _find_stages(self) -> list[nn.Module]:
        if self.dual.family == "open_clip":
            return stages_of_visual(self.model.tower.network)
        return super()._find_stages()


def load_embedding_classifier(checkpoint: Checkpoint, class_names: Sequence[str] | None) -> EmbeddingAdapter:
    """Return the classifier on a dual encoder's image embedding; without class names, with the head that lies beside
    it.

    Raises:
        ModelError: the model has no text tower or no image tower apart, or there is no head.
    """
    names = class_names if class_names is not None else sidecar(checkpoint.folder).get("class_names")
    if not names:
        raise ModelError(must_be(f"model '{checkpoint.name}'", "a checkpoint with all its head weights", "no head"))
    dual = load_dual(checkpoint)
    dual.require_towers("image")
    tower = dual.tower("image")
    width = tower.projection.out_features
    if isinstance(tower.projection, Unprojected):
        tower.projection = nn.Identity()  # type: ignore[assignment] # which has nothing to learn
    model = EmbeddingClassifier(tower, names, width)
    # A head for new classes waits to be trained; without them the saved one is wanted.
    if class_names is None:
        load_head(model.head, checkpoint)
    return EmbeddingAdapter(model, dual)
