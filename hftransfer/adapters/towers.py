"""The towers of a dual encoder as adapters, their projections as heads: what a strategy does with any network, it does
with each of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

from PIL import Image
from torch import Tensor, nn

from hftransfer.adapters.anatomy import Inputs
from hftransfer.adapters.base import Adapter
from hftransfer.adapters.dual import DualEncoder
from hftransfer.adapters.images import ImageAdapter
from hftransfer.adapters.texts import TextAdapter


class TowerModel(nn.Module):
    """A tower and its projection; what it calls logits is the embedding (B, D), not normalised."""

    base_model_prefix: ClassVar[str] = "network"  # transformers asks for it where peft loads matrices

    def __init__(self, network: Any, projection: nn.Linear) -> None:
        super().__init__()
        self.network, self.projection = network, projection

    @property
    def config(self) -> Any:
        """The tower's configuration."""
        return self.network.config

    @property
    def base_model(self) -> nn.Module:
        """The tower."""
        network: nn.Module = self.network
        return network

    def forward(self, **inputs: Tensor) -> SimpleNamespace:
        """`logits` (B, D)."""
        return SimpleNamespace(logits=self.projection(self.network(**inputs).pooler_output))


class ImageTowerAdapter(ImageAdapter):
    """The image tower of a dual encoder."""

    def __init__(self, model: TowerModel, dual: DualEncoder) -> None:
        self.dual = dual
        super().__init__(model, None, f"{dual.name}, images", model.config.model_type)

    @property
    def outputs(self) -> int:
        """The width of the common space."""
        return int(self.dual.projections()[0].out_features)

    def encode(self, examples: Sequence[Image.Image]) -> Inputs:
        """`{"pixel_values": (B, 3, H, W)}` in float32, from RGB images."""
        return self.dual.encode_images(examples)

    def processor_settings(self) -> dict[str, Any]:
        """Everything that shapes `encode`."""
        return {"tower": "image", **self.dual.image_settings()}

    def save(self, folder: Path) -> None:
        """Nothing; a tower is written with the other."""

    def save_processor(self, folder: Path) -> None:
        """Nothing; a tower is written with the other."""


class TextTowerAdapter(TextAdapter):
    """The text tower of a dual encoder."""

    def __init__(self, model: TowerModel, dual: Any, *, averages: bool) -> None:
        self.dual, self._averages = dual, averages
        super().__init__(model, dual.tokenizer, f"{dual.name}, texts", model.config.model_type)
        self.max_tokens = min(self.max_tokens, dual.longest)

    @property
    def outputs(self) -> int:
        """The width of the common space."""
        return int(self.dual.projections()[1].out_features)

    def save(self, folder: Path) -> None:
        """Nothing; a tower is written with the other."""

    def _find_stages(self) -> list[nn.Module]:
        """Those of the network; a last layer that only averages the tokens is no stage."""
        found = super()._find_stages()
        return found[:-1] if self._averages else found

    def keep_average(self) -> None:
        """Nothing; a last layer that only averages the tokens, and the pooler behind it, learn nothing."""
        if self._averages:
            network = self.model.network
            for part in (network.encoder.layer[-1], network.pooler):
                part.requires_grad_(False)


def tower_adapters(dual: Any) -> tuple[ImageTowerAdapter, TextTowerAdapter]:
    """Both towers; they share their weights with the dual encoder.

    Raises:
        ModelError: its projections are not linear layers apart, or a tower can't be split below its projection.
    """
    projections = dual.projections()
    networks = dual.model.vision_model, dual.model.text_model
    images, texts = (TowerModel(*parts) for parts in zip(networks, projections, strict=True))
    return ImageTowerAdapter(images, dual), TextTowerAdapter(texts, dual, averages="text" in dual.poolers())


def dual_of_towers(dual: Any, images: Adapter, texts: Adapter) -> DualEncoder:
    """The dual encoder of two towers that were made from its own; LoRA's matrices merged into them."""
    parts: dict[str, nn.Module] = {}
    for adapter, (tower, projection) in (
        (images, ("vision_model", "visual_projection")),
        (texts, ("text_model", "text_projection")),
    ):
        model = (adapter.merged() if adapter.peft is not None else adapter).model
        parts |= {tower: model.network, projection: model.projection}
    found: DualEncoder = dual.with_parts(parts)
    return found
