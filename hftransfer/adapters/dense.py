"""A backbone's maps of features under one linear layer: a class for each place, for which transformers has no class.

The layer is linear, so that it goes to each map at its own size, and the logits are enlarged and added up: the same as
one layer on all maps enlarged and joined, at a small part of the numbers.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from hftransfer.adapters.families import FAMILIES
from hftransfer.adapters.images import ImageAdapter
from hftransfer.adapters.on_backbone import OnBackbone

if TYPE_CHECKING:
    from transformers import PreTrainedModel

Grid = tuple[int, int, int]
"""The channels, rows and columns of a map."""
_LEAST_STRIDE = 2
"""Maps as fine as the image itself know nothing of things. Those of stride 2 draw what is thin: with them poles of
CamVid rose from 0.13 to 0.15 of IoU, all classes from 0.525 to 0.530."""
MapsForm = Literal["blocks", "timm", "open_clip", "pyramid", "tokens"]
"""How the maps of a backbone are found."""


class PyramidHead(nn.Module):
    """A linear layer from maps of several sizes, laid out as one vector (B, N), to logits (B, C, H, W) at the size of
    the finest."""

    def __init__(self, grids: Sequence[Grid], classes: int) -> None:
        super().__init__()
        self.grids = tuple(grids)
        width = sum(grid[0] for grid in grids)
        self.weight = nn.Parameter(torch.zeros(classes, width))
        self.bias = nn.Parameter(torch.zeros(classes))
        self.outputs = classes

    def forward(self, flat: Tensor) -> Tensor:
        """Return the logits (B, C, H, W) of maps laid out one after the other (B, N)."""
        return self.of_maps(apart(flat, self.grids))

    def of_maps(self, maps: Sequence[Tensor]) -> Tensor:
        """Return the logits (B, C, H, W) of maps (B, D, h, w), the finest first."""
        size = maps[0].shape[-2:]
        parts = torch.split(self.weight, [one.shape[1] for one in maps], dim=1)
        total: Tensor | None = None
        for weight, own in zip(parts, maps, strict=True):
            logits = torch.einsum("cd,bdhw->bchw", weight, own.to(weight.dtype))  # (B, C, h, w)
            if own.shape[-2:] != size:
                logits = interpolate(logits, size=size, mode="bilinear", align_corners=False)
            total = logits if total is None else total + logits
        assert total is not None
        return total + self.bias[:, None, None]


def apart(flat: Tensor, grids: Sequence[Grid]) -> list[Tensor]:
    """Return the maps (B, D, h, w) that lie one after the other in a vector (B, N)."""
    parts = torch.split(flat, [math.prod(grid) for grid in grids], dim=1)
    return [torch.unflatten(part, 1, grid) for part, grid in zip(parts, grids, strict=True)]


class DenseClassifier(OnBackbone):
    """A backbone of images, its maps of features, and one linear layer to the classes of each place."""

    head: PyramidHead

    def __init__(self, backbone: PreTrainedModel, classes: int, size: tuple[int, int]) -> None:
        super().__init__(backbone)
        self.form = form_of(backbone)
        with torch.no_grad():
            maps = self.maps(torch.zeros(1, 3, *size))
        self.head = PyramidHead([(own.shape[1], own.shape[2], own.shape[3]) for own in maps], classes)

    def maps(self, pixel_values: Tensor) -> list[Tensor]:
        """Return the maps (B, D, h, w) of pixels (B, 3, H, W), the finest first."""
        return _MAPS[self.form](self.backbone, pixel_values)

    def forward(self, pixel_values: Tensor) -> SimpleNamespace:
        """Return `logits` (B, C, h, w), as fine as the finest map."""
        maps = self.maps(pixel_values)
        if torch.compiler.is_exporting():  # a graph takes pictures of any size
            return SimpleNamespace(logits=self.head.of_maps(maps))
        self.head.grids = tuple((own.shape[1], own.shape[2], own.shape[3]) for own in maps)
        flat = torch.cat([own.flatten(1) for own in maps], dim=1)  # (B, N)
        return SimpleNamespace(logits=self.head(flat.to(self.head.weight.dtype)))


def form_of(backbone: Any) -> MapsForm:
    """Return how the maps of a backbone are found: of timm's mobile networks after each stage of blocks, of its others
    and of open_clip's towers by their own methods, of transformers' as hidden states that are maps, or tokens."""
    if hasattr(backbone, "tower_stages"):
        return "open_clip"
    if hasattr(backbone, "timm_model"):
        return (
            "blocks" if all(hasattr(backbone.timm_model, name) for name in ("conv_stem", "bn1", "blocks")) else "timm"
        )
    return "tokens" if getattr(backbone.config, "patch_size", None) and not _makes_pyramid(backbone) else "pyramid"


def _makes_pyramid(backbone: Any) -> bool:
    # MobileViT's patches are those of its maps.
    return len(getattr(backbone.config, "depths", None) or ()) > 1 or backbone.config.model_type.startswith("mobilevit")


def _of_blocks(network: Any, pixels: Tensor) -> list[Tensor]:
    found, hidden = [], network.bn1(network.conv_stem(pixels))
    for stage in network.blocks:
        hidden = stage(hidden)
        found.append(hidden)
    return _coarse(found, pixels)


def _of_timm(network: Any, pixels: Tensor) -> list[Tensor]:
    return _last_or_coarse(
        network.forward_intermediates(pixels, norm=True, output_fmt="NCHW", intermediates_only=True), pixels
    )


def _last_or_coarse(found: Sequence[Tensor], pixels: Tensor) -> list[Tensor]:
    """Return the maps of a network that makes a pyramid of them; of one with maps of one size the last."""
    is_pyramid = len({own.shape[-2:] for own in found}) > 1
    return _coarse(found, pixels) if is_pyramid else list(found[-1:])


def _of_hidden_states(backbone: Any, pixels: Tensor) -> list[Tensor]:
    out = backbone(pixel_values=pixels, output_hidden_states=True)
    hidden = getattr(out, "reshaped_hidden_states", None) or out.hidden_states
    return _coarse(list({own.shape[-2:]: own for own in hidden}.values()), pixels)  # the last of each size


def _of_tokens(backbone: Any, pixels: Tensor) -> list[Tensor]:
    takes = inspect.signature(backbone.forward).parameters
    more = {"interpolate_pos_encoding": True} if "interpolate_pos_encoding" in takes else {}
    return [_unrolled(backbone(pixel_values=pixels, **more).last_hidden_state, pixels, backbone.config)]


def _unrolled(tokens: Tensor, pixels: Tensor, config: Any) -> Tensor:
    """Return tokens (B, T, D) as a map (B, D, h, w), without those before the patches."""
    patch = config.patch_size
    sides = (patch, patch) if isinstance(patch, int) else tuple(patch)
    rows, columns = pixels.shape[2] // sides[0], pixels.shape[3] // sides[1]
    own = tokens[:, tokens.shape[1] - rows * columns :]
    return torch.unflatten(own.transpose(1, 2), 2, (rows, columns))


def _coarse(maps: Sequence[Tensor], pixels: Tensor) -> list[Tensor]:
    """Return the maps of stride 2 and more, the finest first; the last alone where none is so coarse."""
    coarse = [own for own in maps if own.shape[-2] * _LEAST_STRIDE <= pixels.shape[-2]]
    return sorted(coarse or list(maps)[-1:], key=lambda own: -own.shape[-2])


_MAPS: dict[MapsForm, Callable[[Any, Tensor], list[Tensor]]] = {
    "blocks": lambda backbone, pixels: _of_blocks(backbone.timm_model, pixels),
    "timm": lambda backbone, pixels: _of_timm(backbone.timm_model, pixels),
    "open_clip": lambda tower, pixels: _last_or_coarse(tower.maps(pixels), pixels),
    "pyramid": _of_hidden_states,
    "tokens": _of_tokens,
}


class DenseAdapter(ImageAdapter):
    """A backbone under a linear layer on its maps."""

    keeps_in_16_bits = True

    def _find_stages(self) -> list[nn.Module]:
        """Return the stages as the family has them; of an image tower alone the way to them is shorter."""
        own: list[nn.Module] | None = getattr(self.model.backbone, "tower_stages", None)
        if own is not None:
            return own
        try:
            return super()._find_stages()
        except AttributeError:
            way = FAMILIES[self.family].stages.removeprefix("vision_model.")
            return list(self.model.backbone.get_submodule(way).children())

    def save(self, folder: Path) -> None:
        """Write the native backbone, the image processor, and the head into `head.safetensors`."""
        self.model.save(folder)
        self.save_processor(folder)
