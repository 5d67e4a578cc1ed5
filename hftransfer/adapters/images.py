"""Image classifiers of transformers, timm's among them.

A family is a class that says where its head and stages lie; a family without one is tried as `AnyImageClassifier`,
which looks for the head by itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

from PIL import Image
from torch import Tensor, nn

from hftransfer.adapters.base import Adapter, Inputs, quiet_transformers
from hftransfer.errors import ModelError, must_be

_HEAD_NAMES = ("classifier", "head", "fc", "score", "cls_classifier")
_STAGE_LISTS = ("layers", "layer", "stages", "blocks")
_LONGEST_RATIO = 8.0


class ImageClassifier(Adapter):
    """A transformers `…ForImageClassification` with its image processor."""

    modality: ClassVar[Literal["image", "text", "image-text"]] = "image"
    offers = frozenset({"pooled"})

    head_path: ClassVar[str] = ""
    stages_path: ClassVar[str] = ""

    def __init__(self, model: Any, processor: Any, name: str = "") -> None:
        self.model = model.eval()
        self.processor = processor
        self.name = name or type(model).__name__
        self.head = self._find_head()
        self.stages = self._find_stages()

    def twin(self, model: nn.Module) -> ImageClassifier:
        """The same adapter around another copy of its model."""
        return type(self)(model, self.processor, self.name)

    def encode(self, examples: Sequence[Image.Image]) -> Inputs:
        """`{"pixel_values": (B, 3, H, W)}` in float32, from RGB images."""
        images = [self._without_long_ends(image) for image in examples]
        encoded = self.processor(images=images, return_tensors="pt")
        return {"pixel_values": encoded["pixel_values"]}

    def features(self, inputs: Inputs) -> Tensor:
        """What enters the head: (B, D)."""
        caught: list[Tensor] = []

        def catch(_: nn.Module, args: tuple[Tensor, ...]) -> None:
            caught.append(args[0])

        with self.head.register_forward_pre_hook(catch):
            self.model(**inputs)
        (features,) = caught
        return features

    def processor_settings(self) -> dict[str, Any]:
        """The image processor's settings and its backend."""
        settings = self.processor.to_dict()
        settings.pop("_processor_class", None)
        return {"class": type(self.processor).__name__, **settings}

    def save(self, folder: Path) -> None:
        """Nothing; writes config, safetensors and the image processor's settings."""
        with quiet_transformers():
            self.model.save_pretrained(folder)
            self.processor.save_pretrained(folder)

    def _find_head(self) -> nn.Linear:
        if self.head_path:
            candidates = [self.model.get_submodule(self.head_path)]
        else:
            candidates = [getattr(self.model, name) for name in _HEAD_NAMES if hasattr(self.model, name)]
        for candidate in candidates:
            layers = [module for module in candidate.modules() if isinstance(module, nn.Linear)]
            if len(layers) == 1 and layers[0].out_features == len(self.model.config.id2label):
                return layers[0]
        found = ", ".join(name for name, _ in self.model.named_children())
        allowed = "one whose head is a single linear layer from features to classes"
        raise ModelError(
            must_be(f"model '{self.name}'", allowed, f"none such in {type(self.model).__name__} ({found})")
        )

    def _find_stages(self) -> list[nn.Module]:
        """The longest list of blocks; its order is the order of the network."""
        if self.stages_path:
            return list(self.model.get_submodule(self.stages_path).children())
        lists = [
            module
            for name, module in self.model.named_modules()
            if isinstance(module, nn.ModuleList | nn.Sequential) and name.rsplit(".", 1)[-1] in _STAGE_LISTS
        ]
        return list(lists[0]) if lists else []

    def _without_long_ends(self, image: Image.Image) -> Image.Image:
        """The middle of an extremely long image where only the middle would be kept: scaling the short edge of
        1×5000 pixels up to 256 first would ask for a gigabyte."""
        if not self._crops_center() or max(image.size) <= _LONGEST_RATIO * min(image.size):
            return image
        width, height = image.size
        longest = round(_LONGEST_RATIO * min(width, height))
        left, top = max(0, width - longest) // 2, max(0, height - longest) // 2
        return image.crop((left, top, left + min(width, longest), top + min(height, longest)))

    def _crops_center(self) -> bool:
        size = getattr(self.processor, "size", None)
        if not size or "shortest_edge" not in size:
            return False
        # ConvNeXt's processor, ResNet's too, has a crop_pct instead of the flag, and crops below 384 pixels.
        by_share = getattr(self.processor, "crop_pct", None) is not None and size["shortest_edge"] < 384
        return bool(getattr(self.processor, "do_center_crop", None) or by_share)


class AnyImageClassifier(ImageClassifier):
    """Any other family whose head can be found."""


class ResNet(ImageClassifier):
    """Deep residual networks (He et al., arXiv 1512.03385)."""

    head_path = "classifier"
    stages_path = "resnet.encoder.stages"


class ViT(ImageClassifier):
    """Vision transformers (Dosovitskiy et al., arXiv 2010.11929)."""

    head_path = "classifier"
    stages_path = "vit.layers"


class Timm(ImageClassifier):
    """Any timm network inside transformers' TimmWrapper."""

    def processor_settings(self) -> dict[str, Any]:
        """The preprocessing settings that timm derives from the checkpoint."""
        return {"class": type(self.processor).__name__, **self.processor.data_config}

    def save(self, folder: Path) -> None:
        """Nothing; writes config and safetensors: the preprocessing settings are part of this config."""
        if not self.model.config.pretrained_cfg:
            self.model.config.pretrained_cfg = dict(self.processor.pretrained_cfg)
        with quiet_transformers():
            self.model.save_pretrained(folder)

    def _find_head(self) -> nn.Linear:
        head = self.model.timm_model.get_classifier()
        if not isinstance(head, nn.Linear):
            allowed = "one whose head is a single linear layer from features to classes"
            raise ModelError(must_be(f"model '{self.name}'", allowed, type(head).__name__))
        return head

    def _find_stages(self) -> list[nn.Module]:
        return list(getattr(self.model.timm_model, "blocks", None) or super()._find_stages())

    def _crops_center(self) -> bool:
        return bool(self.processor.data_config.get("crop_mode", "center") == "center")


def conv_network(model: nn.Module) -> bool:
    """Whether a network is made of convolutions, for which channels-last memory is faster."""
    return sum(isinstance(module, nn.Conv2d) for module in model.modules()) > 4
