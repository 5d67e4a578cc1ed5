"""Image classifiers of transformers, timm's among them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import torch
from PIL import Image
from torch import Tensor, nn

from hftransfer.adapters.anatomy import Inputs
from hftransfer.adapters.base import Adapter
from hftransfer.adapters.distilled import state_of
from hftransfer.adapters.families import Modality
from hftransfer.adapters.heads import IMAGE_CLASSES, Head
from hftransfer.adapters.libraries import quiet_transformers

if TYPE_CHECKING:
    from transformers import BaseImageProcessor, PreTrainedModel

_LONGEST_RATIO = 8.0


class ImageAdapter(Adapter):
    """A network that takes pixels, with its image processor."""

    modality: ClassVar[Modality] = "image"

    def __init__(
        self,
        model: PreTrainedModel,
        processor: BaseImageProcessor,
        name: str = "",
        family: str = "",
        head: Head = IMAGE_CLASSES,
    ) -> None:
        super().__init__(model, processor, head, name, family)

    def encode(self, examples: Sequence[Image.Image]) -> Inputs:
        """Return `{"pixel_values": (B, 3, H, W)}` in float32, from RGB images; see `pixels_of`."""
        images = [without_long_ends(image) if self._crops_center() else image for image in examples]
        return pixels_of(self.processor, images)

    def processor_settings(self) -> dict[str, object]:
        """Return the image processor's settings and its backend."""
        return settings_of(self.processor)

    def save(self, folder: Path) -> None:
        """Write config, safetensors and the image processor's settings."""
        self.write_network(folder)
        self.save_processor(folder)

    def save_processor(self, folder: Path) -> None:
        """Write the image processor's settings."""
        with quiet_transformers():
            self.processor.save_pretrained(folder)

    def _sample_inputs(self, count: int) -> Inputs:
        # Any image tells the size that the processor brings them to.
        encoded = self.encode([Image.new("RGB", (64, 64))])
        black = encoded["pixel_values"]
        # The second example is no flat colour, on which layers that compare places would give nothing.
        noise = torch.randn(black.shape, generator=torch.Generator().manual_seed(0))
        twice = {name: torch.cat([tensor, tensor])[:count] for name, tensor in encoded.items()}
        return twice | {"pixel_values": torch.cat([torch.zeros_like(black), noise])[:count]}

    def _crops_center(self) -> bool:
        return crops_center(self.processor)


class TimmAdapter(ImageAdapter):
    """A timm network inside transformers' TimmWrapper."""

    def processor_settings(self) -> dict[str, object]:
        """Return the preprocessing settings that timm derives from the checkpoint."""
        return {"class": type(self.processor).__name__, **self.processor.data_config}

    def save(self, folder: Path) -> None:
        """Write config and safetensors: the preprocessing settings are part of this config."""
        if not self.model.config.pretrained_cfg:
            self.model.config.pretrained_cfg = dict(self.processor.pretrained_cfg)
        self.write_network(folder)

    def tensors(self) -> dict[str, Tensor]:
        """Return the network's tensors by name, as plain timm has them."""
        return state_of(self.model)

    def save_processor(self, folder: Path) -> None:
        """Write no file: the settings are those of the base model's configuration."""

    def _find_stages(self) -> list[nn.Module]:
        """Return `blocks` or `stages` as most of timm's networks call them, or `layer1`, `layer2`, … of its ResNets."""
        network = self.model.timm_model
        # Not in a list: timm's ResNets set `layer1` to `layer4` as attributes of their own.
        numbered = [child for name, child in network.named_children() if re.fullmatch(r"layers?_?\d", name)]
        for name in ("blocks", "stages", "layers"):
            if isinstance(getattr(network, name, None), nn.ModuleList | nn.Sequential):
                return list(getattr(network, name))
        return numbered

    def _crops_center(self) -> bool:
        return bool(self.processor.data_config.get("crop_mode", "center") == "center")


def takes_channels_last(model: nn.Module) -> bool:
    """Return whether weights may lie channels-last: the norms of DoRA view them as matrices, which that does not
    allow."""
    return not any("lora_magnitude_vector" in name for name, _ in model.named_parameters())


def conv_network(model: nn.Module) -> bool:
    """Return whether a network is made of convolutions, for which channels-last memory is faster."""
    # A ViT has one, for its patches.
    return sum(isinstance(module, nn.Conv2d) for module in model.modules()) > 4


def without_long_ends(image: Image.Image) -> Image.Image:
    """Return the middle of an extremely long image, where only the middle would be kept: scaling the short edge of
    1×5000 pixels up to 256 first would ask for a gigabyte."""
    if max(image.size) <= _LONGEST_RATIO * min(image.size):
        return image
    width, height = image.size
    # The middle that is kept is longer than any centre crop of it.
    longest = round(_LONGEST_RATIO * min(width, height))
    left, top = max(0, width - longest) // 2, max(0, height - longest) // 2
    return image.crop((left, top, left + min(width, longest), top + min(height, longest)))


def pixels_of(processor: BaseImageProcessor, images: Sequence[Image.Image]) -> Inputs:
    """Return what a processor of transformers makes of images: `{"pixel_values": (B, 3, H, W)}` in float32. Of one that
    keeps their proportions (SigLIP 2's NaFlex), patches (B, N, P·P·3), which of them count (B, N), and how many lie
    below and beside each other (B, 2)."""
    encoded = processor(images=images, return_tensors="pt")
    names = ("pixel_values", "pixel_attention_mask", "spatial_shapes")
    by_patches = "spatial_shapes" in encoded
    return {name: encoded[name] for name in names if name == "pixel_values" or by_patches}


def settings_of(processor: BaseImageProcessor) -> dict[str, object]:
    """Return an image processor's settings and its backend."""
    settings = processor.to_dict()
    settings.pop("_processor_class", None)
    return {"class": type(processor).__name__, **settings}


def crops_center(processor: BaseImageProcessor) -> bool:
    """Return whether an image processor of transformers keeps the middle of an image alone."""
    size = getattr(processor, "size", None)
    if not size or "shortest_edge" not in size:
        return False
    # ConvNeXt's processor, ResNet's too, has a crop_pct instead of the flag, and crops below 384 pixels.
    by_share = getattr(processor, "crop_pct", None) is not None and size["shortest_edge"] < 384
    return bool(getattr(processor, "do_center_crop", None) or by_share)
