"""Maps of what speaks for a class in an image: class activation maps through the grad-cam library, and occlusion."""

from __future__ import annotations

import importlib
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from hftransfer.attribution.network import PixelModel, Spot, find_spot
from hftransfer.base.errors import RecipeError, must_be, nearest
from hftransfer.base.extras import require_extra

CAMS = {
    "gradcam": "GradCAM",
    "gradcam++": "GradCAMPlusPlus",
    "hirescam": "HiResCAM",
    "layercam": "LayerCAM",
    "xgradcam": "XGradCAM",
    "eigencam": "EigenCAM",
    "eigengradcam": "EigenGradCAM",
}
METHODS = ("auto", *CAMS, "occlusion", "rollout")
# Places of the occluding square along each side; it covers two of them and more.
_WINDOWS = 7
_AT_ONCE = 32
# Of the largest value of a map in size, or the logits it comes from: what is less is no evidence.
_ROUNDING = 1e-5


def require_method(method: str) -> None:
    """Return if there is such a method.

    Raises:
        RecipeError: there is none.
        ModelError: the library for it is not installed.
    """
    if method not in METHODS:
        raise RecipeError(must_be("the method", "one that is known", f"'{method}'", nearest(method, METHODS)))
    if method in CAMS:
        require_extra("explain", f"the method {method}")


def method_for(method: str, spot: Spot) -> str:
    """Return the method that `auto` stands for: Grad-CAM (Selvaraju et al., arXiv 1610.02391) where the last map is one
    of convolutions; occlusion where it is one of tokens, on which gradients point at a class far less surely."""
    if method != "auto":
        return method
    return "occlusion" if spot.of_tokens else "gradcam"


def class_maps(
    network: PixelModel, pixels: Tensor, targets: Sequence[int], method: str = "auto", spot: Spot | None = None
) -> np.ndarray:
    """Return what in each image (B, 3, H, W) speaks for its target class, (B, H, W) in [0, 1].

    Raises:
        RecipeError: there is no such method, or it doesn't fit the model.
        ModelError: the model has no layer that is a map, or the library is not installed.
    """
    require_method(method)
    spot = spot or find_spot(network)
    chosen = method_for(method, spot)
    if method == "auto" and chosen == "gradcam":
        found = grad_cam(network, pixels, targets, spot)
    elif chosen == "occlusion":
        found = occlusion(network, pixels, targets)
    elif chosen == "rollout":
        found = rollout(network, pixels, spot)
    else:
        found = _cam(network, pixels, targets, CAMS[chosen], spot)
    return found


def grad_cam(network: PixelModel, pixels: Tensor, targets: Sequence[int], spot: Spot) -> np.ndarray:
    """Return the channels of the last map, weighted by the mean gradient of the target's logit, what is positive of
    their sum (Selvaraju et al., equations 1 and 2): (B, H, W) in [0, 1]. The grad-cam library's takes seconds to
    import."""
    kept: list[Tensor] = []
    handle = spot.layer.register_forward_hook(lambda _, __, output: kept.append(output))
    try:
        with torch.enable_grad():
            # From the pixels on, so that gradients reach the map through frozen layers.
            logits = network(pixels.clone().requires_grad_())
            # No image's logit depends on another image: one backward pass of the sum serves all.
            chosen = logits.gather(1, torch.tensor(targets, device=logits.device)[:, None]).sum()
            gradient = torch.autograd.grad(chosen, kept[0])[0]
    finally:
        handle.remove()
    maps, slopes = spot.as_map(kept[0].detach()), spot.as_map(gradient)  # (B, D, h, w)
    weighted = (slopes.mean(dim=(2, 3), keepdim=True) * maps).sum(dim=1)  # (B, h, w)
    found = weighted.float().cpu().numpy()
    return upscaled(found, tuple(pixels.shape[2:]), _ROUNDING * np.abs(found).max(axis=(1, 2)))


def _cam(network: PixelModel, pixels: Tensor, targets: Sequence[int], name: str, spot: Spot) -> np.ndarray:
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    kind = getattr(importlib.import_module("pytorch_grad_cam"), name)
    with torch.enable_grad(), kind(network, [spot.layer], reshape_transform=spot.as_map) as cam:
        cam.compute_input_gradient = True  # so that gradients flow through frozen layers
        parts = [
            cam(pixels[at : at + _AT_ONCE], [ClassifierOutputTarget(t) for t in targets[at : at + _AT_ONCE]])
            for at in range(0, len(pixels), _AT_ONCE)
        ]
    return np.concatenate(parts).astype(np.float32)


@torch.inference_mode()
def occlusion(network: PixelModel, pixels: Tensor, targets: Sequence[int]) -> np.ndarray:
    """Return how much the logit of the target, over the best of all others, falls where a square of mid-grey hides the
    image (Zeiler and Fergus, arXiv 1311.2901, section 4.2): (B, H, W) in [0, 1]. The square is two sevenths of the
    image's sides and moves by one; a place's value is the mean over the squares that hide it."""
    height, width = pixels.shape[2:]
    rows, columns = (np.linspace(0, side, _WINDOWS + 1).round().astype(int) for side in (height, width))
    found, least = np.zeros((len(pixels), _WINDOWS, _WINDOWS), np.float32), np.zeros(len(pixels), np.float32)
    for index, (image, target) in enumerate(zip(pixels, targets, strict=True)):
        # From outside the image on: a place at the border is hidden as often as any other.
        places = [(row, column) for row in range(-1, _WINDOWS) for column in range(-1, _WINDOWS)]
        hidden = image.repeat(len(places), 1, 1, 1)  # (P, 3, H, W), P places of the square
        for copy, (row, column) in zip(hidden, places, strict=True):
            top, left = rows[max(row, 0)], columns[max(column, 0)]
            copy[:, top : rows[min(row + 2, _WINDOWS)], left : columns[min(column + 2, _WINDOWS)]] = 0
        # The image as it is goes along in the same batches.
        whole, *others = _margins(network, torch.cat([image[None], hidden]), target)
        falls = np.zeros((_WINDOWS, _WINDOWS))  # (7, 7)
        for (row, column), margin in zip(places, others, strict=True):
            falls[max(row, 0) : row + 2, max(column, 0) : column + 2] += whole - margin
        found[index] = falls / 4  # each place is hidden by four squares
        least[index] = _ROUNDING * max(1.0, abs(whole))
    return upscaled(found, (height, width), least)


def _margins(network: PixelModel, pixels: Tensor, target: int) -> list[float]:
    """Return by how much the target's logit is above the best other (B,); its logit alone, where there is no other."""
    logits = torch.cat(
        [network(pixels[at : at + _AT_ONCE]) for at in range(0, len(pixels), _AT_ONCE)]
    ).float()  # (B, C)
    own = logits[:, target]  # (B,)
    if logits.shape[1] == 1:
        return own.tolist()
    rest = torch.cat([logits[:, :target], logits[:, target + 1 :]], dim=1)  # (B, C - 1)
    return (own - rest.logsumexp(dim=1)).tolist()


@torch.inference_mode()
def rollout(network: PixelModel, pixels: Tensor, spot: Spot) -> np.ndarray:
    """Return where attention comes from, whatever the class (attention rollout; Abnar and Zuidema, arXiv 2005.00928,
    section 3): (B, H, W) in [0, 1].

    Raises:
        RecipeError: the model has no attention over patches.
    """
    attentions = _attentions(network, pixels) if spot.of_tokens else []
    if any(len(one) != len(pixels) for one in attentions):
        attentions = []  # windows of images, each with an attention of its own
    if not attentions:
        fitting = ", ".join(name for name in METHODS if name != "rollout")
        name = network.adapter.name
        got = "rollout, which wants attention over patches, told by transformers"
        raise RecipeError(must_be(f"the method for {name}", fitting, got))
    count = attentions[0].shape[-1]
    rolled = torch.eye(count).expand(len(pixels), count, count)  # (B, T, T)
    for attention in attentions:
        # Half of it passes by the attention, through the residual connection.
        mixed = 0.5 * attention.mean(dim=1).cpu() + 0.5 * torch.eye(count)  # (B, T, T)
        rolled = mixed / mixed.sum(dim=-1, keepdim=True) @ rolled
    prefix = count - spot.grid[0] * spot.grid[1]
    # The class token stands for the image where there is one; else all tokens are pooled.
    reached = rolled[:, 0] if prefix else rolled.mean(dim=1)  # (B, T)
    return upscaled(reached[:, prefix:].reshape(-1, *spot.grid).numpy(), tuple(pixels.shape[2:]))


def _attentions(network: PixelModel, pixels: Tensor) -> list[Tensor]:
    """Return the attention (B, heads, T, T) of every stage; none where a network doesn't tell them."""
    before = getattr(network.model.config, "_attn_implementation", None)
    try:
        # transformers' other implementations do not tell their weights.
        network.adapter.model.set_attn_implementation("eager")
        outputs = network.model(pixel_values=pixels, output_attentions=True)
        return [one for one in outputs.attentions or () if one.ndim == 4 and one.shape[-1] == one.shape[-2]]
    except (AttributeError, TypeError, ValueError, RuntimeError):
        return []
    finally:
        if before is not None and hasattr(network.model, "set_attn_implementation"):
            network.adapter.model.set_attn_implementation(before)


def upscaled(maps: np.ndarray, size: tuple[int, ...], least: np.ndarray | float = 0.0) -> np.ndarray:
    """Return maps (B, h, w) smoothly enlarged to (B, H, W), the largest value 1. What speaks against the class, and
    what is not above `least` (of each map: rounding), is set to 0 first: enlarged, it would lend its surroundings
    evidence."""
    rows = np.asarray(least, np.float32).reshape(-1, 1, 1)
    coarse = torch.from_numpy(np.where(maps > rows, maps, 0).clip(min=0).astype(np.float32))
    large = interpolate(coarse[:, None], size, mode="bicubic", align_corners=False)[:, 0].clamp(min=0)  # (B, H, W)
    most = large.amax(dim=(1, 2), keepdim=True)
    found: np.ndarray = (large / most.clamp(min=1e-12)).numpy()
    return found


def is_blank(found: np.ndarray) -> bool:
    """Return whether a map is the same everywhere: it marks no place."""
    return float(np.ptp(found)) < _ROUNDING
