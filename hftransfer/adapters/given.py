"""Models that a person holds as objects: written where checkpoints lie, in their library's own layout.

What is written is a model like any other from there on: its weights have a hash, its activations are kept, and what is
made of it names it. A network of torch that belongs to no library stays an object (see `modules.py`).
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import torch
from torch import Tensor, nn

from hftransfer.adapters.anatomy import alike
from hftransfer.adapters.checkpoint import OPEN_CLIP_CONFIG, OPEN_CLIP_WEIGHTS, Checkpoint, find_checkpoint
from hftransfer.adapters.libraries import quiet_transformers
from hftransfer.adapters.modules import GivenModule, digest_of
from hftransfer.adapters.open_clip import as_pair, transform_of
from hftransfer.base.cache import cache_folder, new_entry
from hftransfer.base.errors import ModelError, must_be

if TYPE_CHECKING:
    from open_clip import CLIP
    from PIL import Image
    from transformers import BaseImageProcessor, PreTrainedModel, PreTrainedTokenizerBase, ProcessorMixin

    Processor: TypeAlias = (
        "PreTrainedTokenizerBase | BaseImageProcessor | ProcessorMixin | Callable[[Image.Image], Tensor]"
    )


def given_checkpoint(model: object, processor: Processor | None = None) -> Checkpoint:
    """Return the checkpoint of a model that is an object: of transformers, timm or open_clip in its own layout, in the
    cache; of another network of torch with the object itself.

    `processor` makes the model's inputs: of transformers its image processor or tokenizer, of a network of torch a
    callable from an RGB image to pixels (3, H, W). timm's and open_clip's models bring their own.

    Raises:
        ModelError: it is no model, or the processor is missing.
    """
    if not isinstance(model, nn.Module):
        allowed = "a Hub id, a folder, bundled/<name>, or a model of transformers, timm, open_clip or torch"
        raise ModelError(must_be("model", allowed, type(model).__name__))
    if hasattr(model, "merge_and_unload"):
        remedy = "Merge it first: model.merge_and_unload()."
        raise ModelError(must_be("model", "a model without peft adapters", type(model).__name__, remedy))
    library = type(model).__module__.partition(".")[0]
    if library == "transformers" and hasattr(model, "save_pretrained"):
        return _of_transformers(model, processor)
    if library == "timm" and hasattr(model, "pretrained_cfg"):
        return _of_timm(model)
    if library == "open_clip" and (found := _of_open_clip(model)) is not None:
        return found
    if library == "open_clip":  # of an architecture that open_clip has no name for: the image tower alone
        processor = processor or transform_of(model, getattr(model.visual, "preprocess_cfg", {}))
        model = model.visual
    given = given_module(model, processor)
    # No file lies below it: all that is known of the model is the object.
    return Checkpoint(given.name, Path(os.devnull), module=given)


def given_module(module: object, processor: object) -> GivenModule:
    """Return a network of torch with what makes its pixels.

    Raises:
        ModelError: it is none, or that is missing.
    """
    if not isinstance(module, nn.Module):
        raise ModelError(must_be("module", "a network of torch", type(module).__name__))
    if not callable(processor):
        remedy = "For torchvision's own weights: processor=weights.transforms()."
        allowed = "given with a network of torch: a callable from an RGB image to pixels (3, H, W)"
        raise ModelError(must_be("processor", allowed, type(processor).__name__, remedy))
    return GivenModule(module, processor)


def _of_transformers(model: PreTrainedModel, processor: Processor | None) -> Checkpoint:
    if model.config.model_type == "timm_wrapper":
        return _of_timm(model.timm_model if hasattr(model, "timm_model") else model)
    if processor is None:
        remedy = "Its image processor or tokenizer, as AutoProcessor.from_pretrained gives it."
        raise ModelError(must_be("processor", f"given with a {type(model).__name__}", "none", remedy))
    save_processor = getattr(processor, "save_pretrained", None)
    if save_processor is None:
        got, allowed = type(processor).__name__, "an image processor or tokenizer of transformers"
        raise ModelError(must_be("processor", f"{allowed} with a {type(model).__name__}", got))

    def write(folder: Path) -> None:
        with quiet_transformers():
            model.save_pretrained(folder)
            save_processor(folder)

    return _written(model, f"{model.config!r}\n{processor!r}", write)


def _of_timm(model: nn.Module) -> Checkpoint:
    from timm.models import save_for_hf

    return _written(model, repr(model), lambda folder: save_for_hf(model, str(folder), safe_serialization=True))


def _of_open_clip(clip: CLIP) -> Checkpoint | None:
    """Return the checkpoint of a model of open_clip, which is known among its architectures by sides and outputs; None
    where it is none of them."""
    from safetensors.torch import save_file

    found = _architecture_of(clip)
    if found is None:
        return None
    visual = clip.visual
    preprocess = {
        **getattr(visual, "preprocess_cfg", {}),
        "mean": getattr(visual, "image_mean", None),
        "std": getattr(visual, "image_std", None),
    }
    settings = {"model_cfg": found, "preprocess_cfg": {key: value for key, value in preprocess.items() if value}}

    def write(folder: Path) -> None:
        tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in clip.state_dict().items()}
        save_file(tensors, folder / OPEN_CLIP_WEIGHTS)
        (folder / OPEN_CLIP_CONFIG).write_text(json.dumps(settings, indent=1), encoding="utf-8")

    return _written(clip, json.dumps(settings, sort_keys=True, default=str), write, "open_clip:local-dir:")


def _architecture_of(clip: CLIP) -> dict[str, object] | None:
    """Return the settings of the architecture of open_clip that gives what a model gives."""
    import open_clip

    shapes = {name: tensor.shape for name, tensor in clip.state_dict().items()}
    height, width = as_pair(clip.visual.image_size)
    noise = torch.randn(1, 3, height, width, generator=torch.Generator().manual_seed(0))
    for name in open_clip.list_models():
        settings = open_clip.get_model_config(name)
        if not _may_be(clip, settings):
            continue
        with torch.device("meta"):
            other = _built(name, "meta")
        if {key: tensor.shape for key, tensor in other.state_dict().items()} != shapes:
            continue
        # Two architectures of the same sides may differ in their activation.
        other = _built(name)
        other.load_state_dict(clip.state_dict())
        with torch.no_grad():
            parameter = next(clip.parameters())
            wanted = clip.eval().visual(noise.to(parameter.device, parameter.dtype)).float().cpu()
            if alike(other.eval().visual(noise), wanted):
                return dict(settings)
    return None


def _built(name: str, device: str = "cpu") -> CLIP:
    """Return a model of open_clip's architecture with this name, its weights at random."""
    import open_clip

    logging.disable(logging.WARNING)  # which says that the weights are random
    try:
        return open_clip.create_model(name, pretrained=None, load_weights=False, device=device)
    finally:
        logging.disable(logging.NOTSET)


def _may_be(clip: CLIP, settings: Mapping[str, object]) -> bool:
    """Return whether a model may be of these settings, as far as numbers tell that cost no building."""
    vision, text = settings.get("vision_cfg"), settings.get("text_cfg")
    if not isinstance(vision, dict) or not isinstance(text, dict) or "hf_model_name" in text:
        return False  # a tower of transformers is configured by a file on the Hub
    visual = clip.visual
    blocks = getattr(getattr(visual, "transformer", None), "resblocks", None)
    kinds = {
        "timm": (hasattr(visual, "trunk"), "timm_model_name" in vision),
        "convolutions": (hasattr(visual, "layer1"), isinstance(vision.get("layers"), list)),
        "depth": (len(blocks) if blocks is not None else None, vision.get("layers") if blocks is not None else None),
    }
    is_as_large = as_pair(vision.get("image_size", 224)) == as_pair(visual.image_size)
    return is_as_large and all(there == asked for there, asked in kinds.values())


def _written(model: nn.Module, settings: str, write: Callable[[Path], object], before: str = "") -> Checkpoint:
    """Return the checkpoint that `write` writes of a model, found again where it was written before."""
    digest = digest_of(model, f"{type(model).__qualname__}\n{settings}")
    folder = cache_folder("models") / f"{type(model).__name__}-{digest.hexdigest()[:12]}"
    if not folder.is_dir():
        with new_entry(folder) as draft:
            write(draft)
    found = find_checkpoint(f"{before}{folder}")
    assert found is not None
    return found
