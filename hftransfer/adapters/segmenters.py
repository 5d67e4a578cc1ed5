"""From a checkpoint to a network that gives a class for each place of an image: a backbone under a linear layer, a
backbone under a decoder, or a segmenter whose head is replaced."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import torch

from hftransfer.adapters.checkpoint import Checkpoint, object_in
from hftransfer.adapters.dense import DenseAdapter, DenseClassifier
from hftransfer.adapters.heads import Head, load_head
from hftransfer.adapters.images import ImageAdapter
from hftransfer.adapters.processors import load_image_processor
from hftransfer.adapters.sizes import require_fitting_model, require_small_images
from hftransfer.base.errors import HftransferError, ModelError, first_line, must_be, some

if TYPE_CHECKING:
    from transformers import BaseImageProcessor, PreTrainedConfig, PreTrainedModel

_VISION = {"clip": "CLIPVisionModel", "siglip": "SiglipVisionModel"}
"""The class of transformers with the image tower alone, by the family of the whole."""
_UNUSED = ("pooler.", "classifier.", "vision_model.head.", "head.", "text_model.", "text_projection")
_USUAL_PX = 224
_RESAMPLES = {"nearest": 0, "lanczos": 1, "bilinear": 2, "bicubic": 3, "box": 4}


@dataclass(frozen=True)
class MapForm:
    """The network to make of a checkpoint: its head, the classes (None: those it has), the size of images, and whether
    a linear layer alone is to lie on the backbone."""

    head: Head
    class_names: tuple[str, ...] | None
    size: tuple[int, int] | None
    pooling: Literal["dense", "native"]


def load_segmenter(checkpoint: Checkpoint, form: MapForm) -> ImageAdapter:
    """Return the adapter of a checkpoint as a segmenter.

    Raises:
        ModelError: none can be made of it.
    """
    return _dense(checkpoint, form)


def is_segmenter(checkpoint: Checkpoint) -> bool:
    """Return whether a checkpoint is a segmenter already."""
    return any(name.endswith("ForSemanticSegmentation") for name in checkpoint.architectures)


# --- a linear layer on a backbone ------------------------------------------------------------------------------------


def _dense(checkpoint: Checkpoint, form: MapForm) -> DenseAdapter:
    backbone = _backbone(checkpoint, form.class_names)
    processor = sized_processor(_processor_of(checkpoint, form), form.size)
    size = size_of(processor)
    _require_whole_patches(checkpoint.name, backbone.config, size)
    classes = len(backbone.config.id2label)
    model = DenseClassifier(backbone, classes, size)
    if form.class_names is None:
        load_head(model.head, checkpoint)  # type: ignore[arg-type]
    return DenseAdapter(model, processor, checkpoint.name, checkpoint.family, form.head)


def _processor_of(checkpoint: Checkpoint, form: MapForm) -> BaseImageProcessor:
    """Return the image processor of a pretrained backbone, or the one that lies beside a trained layer: of timm's
    networks transformers would look into their configuration alone."""
    from transformers import SegformerImageProcessor

    if form.class_names is None and (checkpoint.folder / "preprocessor_config.json").is_file():
        require_small_images(checkpoint.name, object_in(checkpoint.folder / "preprocessor_config.json"))
        return SegformerImageProcessor.from_pretrained(str(checkpoint.folder))
    return load_image_processor(checkpoint)


def _backbone(checkpoint: Checkpoint, class_names: Sequence[str] | None) -> PreTrainedModel:
    """Return the bare backbone with all its weights.

    Raises:
        ModelError: the checkpoint has none, or lacks weights.
    """
    import transformers

    name, folder = checkpoint.name, str(checkpoint.folder)
    auto_class = getattr(transformers, _VISION.get(checkpoint.family, "AutoModel"))
    try:
        config = transformers.AutoConfig.from_pretrained(folder, trust_remote_code=False)
        config = getattr(config, "vision_config", config) if checkpoint.family in _VISION else config
        named(config, class_names)
        if config.model_type == "timm_wrapper":
            config.model_args = {**(config.model_args or {}), **_free_size(config.architecture)}
            config.model_args.pop("num_classes", None)
        require_fitting_model(name, auto_class, config, checkpoint.shapes)
        model, info = auto_class.from_pretrained(
            folder,
            config=config,
            dtype=torch.float32,
            use_safetensors=True,
            trust_remote_code=False,
            output_loading_info=True,
        )
    except HftransferError:
        raise
    except Exception as error:  # whatever transformers comes upon in a configuration
        got = f"{checkpoint.family} ({first_line(error)})"
        raise ModelError(must_be(f"model '{name}'", "an image backbone that transformers loads", got)) from error
    absent = [key for key in info["missing_keys"] if not key.startswith(_UNUSED)]
    if absent:
        remedy = "Missing weights are never filled with random ones."
        raise ModelError(
            must_be(f"model '{name}'", "a checkpoint with all its weights", f"no {some(sorted(absent), 1)}", remedy)
        )
    if getattr(model, "pooler", None) is not None and any(key.startswith("pooler.") for key in info["missing_keys"]):
        model.pooler = None  # the checkpoint has none, and nothing reads it
    found: PreTrainedModel = model.eval()
    return found


def named(config: PreTrainedConfig, class_names: Sequence[str] | None) -> None:
    """Give a configuration the names of classes."""
    if class_names is None:
        return
    config.num_labels = len(class_names)
    config.id2label = dict(enumerate(class_names))
    config.label2id = {label: index for index, label in enumerate(class_names)}
    if hasattr(config, "label_names"):
        config.label_names = list(class_names)


def _free_size(architecture: str) -> dict[str, bool]:
    """Return what timm is told so that a network of tokens takes images of any size; its position embeddings are then
    interpolated."""
    import timm

    try:
        with torch.device("meta"):
            timm.create_model(architecture, pretrained=False, dynamic_img_size=True)
    except (TypeError, RuntimeError, ValueError, NotImplementedError):
        return {}
    return {"dynamic_img_size": True}


def _require_whole_patches(name: str, config: PreTrainedConfig, size: tuple[int, int]) -> None:
    """Return if an image is a whole number of patches.

    Raises:
        ModelError: it is not.
    """
    patch = getattr(config, "patch_size", None)
    if patch is None or config.model_type in ("swin", "swinv2"):
        return
    sides = (patch, patch) if isinstance(patch, int) else tuple(patch)
    if any(edge % side for edge, side in zip(size, sides, strict=True)):
        near = [max(side, round(edge / side) * side) for edge, side in zip(size, sides, strict=True)]
        allowed = f"multiples of {sides[0]}, the patches of '{name}'"
        raise ModelError(must_be("data.size", allowed, f"{list(size)}", f"The nearest is {near}."))


# --- the size of images ----------------------------------------------------------------------------------------------


def sized_processor(processor: BaseImageProcessor, size: tuple[int, int] | None) -> BaseImageProcessor:
    """Return an image processor that brings the whole of every image to one size, (height, width), and normalises as
    the given one does; that one's own size where None is given."""
    from transformers import SegformerImageProcessor

    height, width = size or size_of(processor)
    told = processor.data_config if hasattr(processor, "data_config") else {}
    mean = told.get("mean") or getattr(processor, "image_mean", None)
    std = told.get("std") or getattr(processor, "image_std", None)
    resample = _RESAMPLES.get(str(told.get("interpolation"))) or getattr(processor, "resample", 2)
    if getattr(processor, "do_flip_channel_order", False):  # no other processor does it
        processor.size, processor.crop_size = ({"height": height, "width": width} for _ in range(2))
        return processor
    return SegformerImageProcessor(
        size={"height": height, "width": width},
        resample=int(resample),
        image_mean=list(mean) if mean is not None else None,
        image_std=list(std) if std is not None else None,
        do_normalize=bool(told) or bool(getattr(processor, "do_normalize", True)),
        rescale_factor=1 / 255 if told else getattr(processor, "rescale_factor", 1 / 255),
        do_reduce_labels=False,
    )


def size_of(processor: Any) -> tuple[int, int]:
    """Return the height and width that an image processor brings images to."""
    if hasattr(processor, "data_config"):
        _, height, width = processor.data_config["input_size"]
        return int(height), int(width)
    size: Any = getattr(processor, "size", None) or {}
    if getattr(processor, "do_center_crop", False) and getattr(processor, "crop_size", None):
        size = processor.crop_size
    plain = dict(size) if not isinstance(size, int) else {"shortest_edge": size}
    if plain.get("height"):
        return int(plain["height"]), int(plain["width"])
    edge = int(plain.get("shortest_edge") or _USUAL_PX)
    return edge, edge
