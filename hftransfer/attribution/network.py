"""An image model as something to ask: pixels in, logits out, and the layer whose output still is a map."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn.functional import normalize

from hftransfer.adapters.anatomy import Inputs, logits_of
from hftransfer.adapters.base import Adapter
from hftransfer.adapters.scoring import scores_of
from hftransfer.base.errors import ModelError, must_be

_NORMS = ("Norm", "norm")
_LEAST_SIDE = 2


class PixelModel(nn.Module):
    """A model whose logits (B, C) follow from pixels (B, 3, H, W) alone; gradients go through all of it."""

    def __init__(self, adapter: Adapter, texts: Tensor | None = None, scale: float = 1.0) -> None:
        super().__init__()
        self.model: nn.Module = adapter.model
        self.adapter = adapter
        self.texts, self.scale = texts, scale
        """Of a dual encoder: the normalised embeddings (L, D) of what images are compared with."""
        self.region: Region = None
        """Of a segmenter: the part of the image that is asked about; None: where each class is predicted."""
        self._shares = torch.empty(0)

    def forward(self, pixel_values: Tensor) -> Tensor:
        """Return the logits (B, C)."""
        logits = logits_of(self.model(pixel_values=pixel_values))
        if logits.ndim == 4:
            return self._of_places(logits)
        if self.texts is None:
            return logits
        scores: Tensor = self.scale * normalize(logits, dim=-1) @ self.texts.T  # (B, L)
        return scores

    def _of_places(self, logits: Tensor) -> Tensor:
        """Return the mean logit (B, C) of each class over the places (B, C, h, w) that are asked about: as in
        Seg-Grad-CAM (Vinogradova et al., arXiv 2002.11434)."""
        best = logits.argmax(dim=1, keepdim=True)  # (B, 1, h, w)
        classes = torch.arange(logits.shape[1], device=logits.device)[:, None, None]
        predicted = (best == classes).to(logits.dtype)  # (B, C, h, w)
        asked = torch.ones_like(predicted)
        if self.region is None:
            asked = torch.where(predicted.sum(dim=(2, 3), keepdim=True) > 0, predicted, asked)
        elif self.region != "all":
            left, top, right, bottom = self.region
            rows, columns = logits.shape[2:]
            asked = torch.zeros_like(predicted)
            first_row, first_column = int(top * rows), int(left * columns)
            asked[..., first_row : max(first_row + 1, round(bottom * rows)), :] = 1
            asked[..., :first_column] = 0
            asked[..., max(first_column + 1, round(right * columns)) :] = 0
        self._shares = ((predicted * asked).sum(dim=(2, 3)) / asked.sum(dim=(2, 3))).detach()
        if self.region is None:
            self._shares = predicted.mean(dim=(2, 3)).detach()
        return (logits * asked).sum(dim=(2, 3)) / asked.sum(dim=(2, 3))

    def scores(self, logits: Tensor) -> Tensor:
        """Return what logits (B, C) are as scores: of prompts their probabilities, of one alone its cosine; of a
        segmenter the share of the places asked about that each class has."""
        if self.adapter.head_port.of_maps:
            return self._shares
        if self.texts is None:
            return scores_of(logits, self.adapter.scoring)
        return scores_of(logits, "softmax") if logits.shape[1] > 1 else logits.float() / self.scale

    def encode(self, images: Sequence[Image.Image]) -> Tensor:
        """Return pixels (B, 3, H, W) on the model's device.

        Raises:
            ModelError: the model takes more than pixels.
        """
        return self.pixels_in(self.adapter.encode(images)).to(next(self.model.parameters()).device)

    def pixels_in(self, inputs: Inputs) -> Tensor:
        """Return the pixels (B, 3, H, W) among inputs.

        Raises:
            ModelError: there is more than pixels: patches come with their places (SigLIP 2's NaFlex).
        """
        pixels, beside = inputs["pixel_values"], sorted(set(inputs) - {"pixel_values"})
        if beside:
            allowed, got = "one that takes images as pixels of one size", f"one that takes {' and '.join(beside)} too"
            raise ModelError(must_be(f"model '{self.adapter.name}'", allowed, got))
        return pixels

    def seen(self, pixels: Tensor) -> np.ndarray:
        """Return what the model saw, (B, H, W, 3) in [0, 1]: resized and cropped by its own preprocessing, which is
        undone by what it makes of black and of white."""
        # Preprocessing scales each channel linearly: two colours give its factor and its offset.
        black, white = (
            self.encode([Image.new("RGB", (64, 64), shade)])[:, :, :1, :1] for shade in ((0, 0, 0), (255, 255, 255))
        )
        shown = ((pixels - black) / (white - black)).clamp(0, 1)  # (B, 3, H, W)
        found: np.ndarray = shown.permute(0, 2, 3, 1).cpu().numpy()
        return found


Region = tuple[float, float, float, float] | Literal["all"] | None
"""Left, top, right and bottom of a part of an image, as shares of its sides."""


@dataclass(frozen=True)
class Spot:
    """A layer whose output is a map over the image."""

    layer: nn.Module
    grid: tuple[int, int]
    as_map: Callable[[Tensor], Tensor]
    """Its output as (B, C, h, w)."""
    of_tokens: bool


def find_spot(network: PixelModel, target: int = 0) -> Spot:
    """Return the last layer whose output is a map over the image and whose every place the logit depends on.

    Found by one backward pass over noise. A map has as many places as what a stage takes or gives: a pooled vector of
    1,024 numbers is no map of 32 × 32 places. Behind the last attention of a network that reads its class token alone,
    gradients of all other tokens are zero by construction: no layer there is chosen.

    Raises:
        ModelError: there is no such layer, or the model takes more than pixels.
    """
    adapter = network.adapter
    pixels = network.pixels_in(adapter.sample_inputs(2))[1:].detach().requires_grad_()
    candidates = dict.fromkeys([*adapter.trace.after_stages, *adapter.stages])
    for stage in adapter.stages:
        candidates |= {m: None for m in stage.modules() if any(part in type(m).__name__ for part in _NORMS)}
    outputs: list[tuple[nn.Module, Tensor]] = []

    def keep(module: nn.Module, _: object, output: object) -> None:
        if isinstance(output, Tensor) and output.requires_grad:
            outputs.append((module, output))

    handles = [module.register_forward_hook(keep) for module in candidates]
    asked, network.region = network.region, "all"
    try:
        with torch.enable_grad():
            logit = network(pixels)[0, target]
            gradients = torch.autograd.grad(logit, [output for _, output in outputs], allow_unused=True)
    finally:
        network.region = asked
        for handle in handles:
            handle.remove()
    size = int(pixels.shape[2]), int(pixels.shape[3])
    grids = _grids_of_stages(adapter, size)
    # From the logits downwards: the map nearest to them is taken.
    for (module, output), gradient in reversed(list(zip(outputs, gradients, strict=True))):
        spot = _spot_at(module, output, size)
        if spot is None or gradient is None or (grids and spot.grid not in grids):
            continue
        if _is_alive(spot.as_map(gradient)):
            return spot
    raise ModelError(must_be(f"model '{adapter.name}'", "one with a layer that is a map over the image", "none"))


def _grids_of_stages(adapter: Adapter, size: tuple[int, int]) -> set[tuple[int, int]]:
    """Return the rows and columns of all maps that stages take and give; none where the whole network is one stage."""
    seen = adapter.trace
    taken = [value for args, kwargs in seen.stage_arguments for value in (*args, *kwargs.values())]
    given = [part for one in seen.stage_outputs for part in (one if isinstance(one, tuple | list) else (one,))]
    tensors = [value for value in (*taken, *given) if isinstance(value, Tensor)]
    spots = [_spot_at(adapter.model, tensor, size) for tensor in tensors]
    return {spot.grid for spot in spots if spot is not None} - {size}  # pixels are no map


def _is_alive(gradient: Tensor) -> bool:
    """Return whether the logit depends on the half of all places at least."""
    return float((gradient.abs().sum(dim=1) > 0).float().mean()) >= 0.5


def _spot_at(layer: nn.Module, output: Tensor, size: tuple[int, int]) -> Spot | None:
    """Return the map that a layer gave of one image, if it is one: with several channels, in one piece (not in
    windows)."""
    height, width = size
    if len(output) != 1:
        return None
    if output.ndim == 4:
        for (rows, columns, channels), to_map in (((2, 3, 1), _same), ((1, 2, 3), _channels_first)):
            grid = output.shape[rows], output.shape[columns]
            fills = min(grid) >= _LEAST_SIDE and grid[0] * width == grid[1] * height and grid[0] <= height
            if fills and output.shape[channels] > 1:
                return Spot(layer, grid, to_map, of_tokens=False)
    if output.ndim == 3 and output.shape[2] > 1:
        for prefix in range(17):  # class and register tokens come first
            if (found := _grid_of(output.shape[1] - prefix, size)) is not None:
                return Spot(layer, found, _Unrolled(prefix, found), of_tokens=True)
    return None


def _grid_of(tokens: int, size: tuple[int, int]) -> tuple[int, int] | None:
    """Return the rows and columns of so many square patches that fill an image."""
    height, width = size
    rows = round((tokens * height / width) ** 0.5) if tokens > 0 else 0
    if rows < _LEAST_SIDE or tokens % rows or rows * width != (tokens // rows) * height or height % rows:
        return None
    return rows, tokens // rows


def _same(tensor: Tensor) -> Tensor:
    return tensor


def _channels_first(tensor: Tensor) -> Tensor:
    return tensor.permute(0, 3, 1, 2)


@dataclass(frozen=True)
class _Unrolled:
    """Tokens (B, T, D) as a map (B, D, h, w), without those before the patches."""

    prefix: int
    grid: tuple[int, int]

    def __call__(self, tokens: Tensor) -> Tensor:
        return tokens[:, self.prefix :].reshape(len(tokens), *self.grid, -1).permute(0, 3, 1, 2)
