"""A head of ours on a native backbone: the form for which transformers has no class."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from torch import nn

from hftransfer.adapters.heads import save_head
from hftransfer.adapters.libraries import quiet_transformers

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedModel


class OnBackbone(nn.Module):
    """A backbone of transformers under a `head`, which a class made of this one adds."""

    base_model_prefix: ClassVar[str] = "backbone"  # peft asks models with experts for it
    in_float32: ClassVar[tuple[str, ...]] = ("head",)  # so that features are kept as exact as they are computed
    head: nn.Module

    def __init__(self, backbone: PreTrainedModel) -> None:
        super().__init__()
        self.backbone = backbone

    @property
    def config(self) -> PreTrainedConfig:
        """The backbone's configuration."""
        return self.backbone.config

    @property
    def base_model(self) -> nn.Module:
        """The backbone."""
        backbone: nn.Module = self.backbone
        return backbone

    def save(self, folder: Path) -> None:
        """Write the native backbone, and the head into `head.safetensors`."""
        with quiet_transformers():
            self.backbone.save_pretrained(folder)
        save_head(self.head, folder)
