"""From a checkpoint to a network that gives a class for each place of an image: a backbone under a linear layer, a
backbone under a decoder, or a segmenter whose head is replaced."""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from hftransfer.adapters.anatomy import Reached, alike, logits_of
from hftransfer.adapters.base import Activations, stages_of
from hftransfer.adapters.checkpoint import Checkpoint, object_in
from hftransfer.adapters.dense import DenseAdapter, DenseClassifier
from hftransfer.adapters.heads import HEAD_FILE, Head, load_head
from hftransfer.adapters.images import ImageAdapter, takes_channels_last
from hftransfer.adapters.libraries import FAULTS_OF_MODELS
from hftransfer.adapters.open_clip import load_open_clip_maps
from hftransfer.adapters.parts import Parts
from hftransfer.adapters.pretrained import (
    config_of,
    lacking,
    loading,
    model_of,
    name_classes,
    require_whole,
    without_new_pooler,
)
from hftransfer.adapters.processors import load_image_processor
from hftransfer.adapters.scoring import require_names
from hftransfer.adapters.sizes import require_small_images
from hftransfer.base.errors import ModelError, first_line, must_be

if TYPE_CHECKING:
    from transformers import BaseImageProcessor, PreTrainedConfig, PreTrainedModel

_VISION = {"clip": "CLIPVisionModel", "siglip": "SiglipVisionModel"}
"""The class of transformers with the image tower alone, by the family of the whole."""
_UNUSED = ("pooler.", "classifier.", "vision_model.head.", "head.", "text_model.", "text_projection")
_USUAL_PX = 224
DECODER_WIDTH = 64
"""The channels of a new decoder."""
_OWN_DECODERS = {
    "segformer": "decode_head",
    **dict.fromkeys(("mobilevit", "mobilevitv2", "mobilenet_v2"), "segmentation_head"),
}
"""The part of a family's own segmenter that lies on its backbone, where that is no pyramid for another decoder."""
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
    if form.class_names is None and (checkpoint.folder / HEAD_FILE).is_file():
        return _dense(checkpoint, form)
    if form.class_names is None or is_segmenter(checkpoint):
        return _native(checkpoint, form)
    if form.pooling == "native":
        if (backbone := pyramid_backbone(checkpoint)) is not None:
            processor = sized_processor(load_image_processor(checkpoint), form.size)
            if _gives_what_it_says(backbone, size_of(processor)):
                return _decoder(checkpoint, form, backbone, processor)
        if checkpoint.family in _OWN_DECODERS:
            return _native(checkpoint, replace(form, head=replace(form.head, decoder=_OWN_DECODERS[checkpoint.family])))
    return _dense(checkpoint, form)


def is_segmenter(checkpoint: Checkpoint) -> bool:
    """Return whether a checkpoint is a segmenter already."""
    return any(name.endswith("ForSemanticSegmentation") for name in checkpoint.architectures)


class SegmenterAdapter(ImageAdapter):
    """A native segmenter: a backbone under a decoder that reads several of its stages."""

    joins_stages = True

    def _find_split(self, known: Parts | None = None) -> None:
        super()._find_split(known)
        self.split.narrow = []  # every place of a map is read
        self._learns, self._layout = False, torch.contiguous_format
        if not self.split.head_gives_logits and not self.split.is_known:
            self.split.head_gives_logits = self._enlarges()

    def _enlarges(self) -> bool:
        """Return whether the logits are what the last layer gives, enlarged alone: it then gives logits as well."""
        inputs, caught = self.sample_inputs(1), list[Tensor]()
        hook = self.head.register_forward_hook(lambda _, __, output: caught.append(output))
        with hook, torch.no_grad():
            logits = logits_of(self.model(**inputs))
        size = logits.shape[-2:]
        return any(
            alike(interpolate(caught[-1], size=size, mode="bilinear", align_corners=corners), logits)
            for corners in (False, True)
        )

    def _require_split(self) -> None:
        """Return: no boundary between stages is computed at."""

    def _find_stages(self) -> list[nn.Module]:
        """Return the stages of the backbone, as its family has them."""
        backbone = getattr(self.model, "backbone", None)
        if backbone is None:
            return super()._find_stages()
        if (network := getattr(backbone, "_backbone", None)) is not None:
            children = dict(network.named_children())
            if lists := [children[name] for name in ("blocks", "stages") if name in children]:
                return list(lists[0].children())
            return [child for name, child in children.items() if re.fullmatch(r"[a-z]+_?\d", name)]
        return stages_of(backbone, backbone.config.model_type)

    def learn_mode(self, boundary: int, *, on: bool) -> None:
        """Switch what learns to train mode, or all to eval mode; BatchNorm stays as it was pretrained, but in a decoder
        that begins anew, where it learns its statistics."""
        super().learn_mode(boundary, on=on)
        self._learns = on and boundary < len(self.stages)
        if self._learns:
            # Channels-last is 1.2 to 1.7 times as fast on CPU.
            # FSDP's shares of weights can't be laid out anew.
            is_shared = any(hasattr(parameter, "placements") for parameter in self.model.parameters())
            fits = takes_channels_last(self.model) and not is_shared
            self._layout = torch.channels_last if fits else torch.contiguous_format
            if not is_shared:
                self.model.to(memory_format=self._layout)
            for module in self.model.modules():
                if not any(parameter.requires_grad for parameter in module.parameters()):
                    module.eval()
            for norm in self._new_norms():
                norm.train()

    def _new_norms(self) -> list[nn.Module]:
        parts = [module for part in self.split.new_parts for module in part.modules()]
        norms = [one for one in parts if isinstance(one, nn.modules.batchnorm._BatchNorm)]
        return [one for one in norms if one.weight is not None and one.weight.requires_grad]

    def learning_buffers(self) -> dict[str, Tensor]:
        """Return the running statistics of a decoder that begins anew."""
        names = {module: name for name, module in self.model.named_modules()}
        return {
            f"{names[norm]}.{kind}": getattr(norm, kind)
            for norm in self._new_norms()
            for kind in ("running_mean", "running_var", "num_batches_tracked")
        }

    def above(self, activations: Activations, boundary: int) -> Tensor:
        """Return the logits (B, C, h, w); in training as the last layer gives them, before they are enlarged."""
        if not self._learns or boundary == len(self.stages):
            return super().above(activations, boundary)
        alone = len(next(iter(activations.values()))) == 1
        for norm in self._new_norms():
            norm.train(not alone)  # one example has no statistics where a map is pooled to a point
        caught: list[Tensor] = []

        def catch(_: nn.Module, __: object, output: Tensor) -> None:
            caught.append(output)
            raise Reached

        given = {
            name: own.contiguous(memory_format=self._layout) if own.ndim == 4 else own
            for name, own in activations.items()
        }
        with self.head.register_forward_hook(catch), suppress(Reached):
            self.model(**given)
        return caught[0]


# --- a segmenter whose last layer is replaced ------------------------------------------------------------------------


def _native(checkpoint: Checkpoint, form: MapForm) -> SegmenterAdapter:
    import transformers

    name = checkpoint.name
    with loading(f"model '{name}'", form.head.words, checkpoint.family):
        config = config_of(checkpoint)
        if form.class_names is not None:
            name_classes(config, form.class_names)
        else:
            require_names(config.id2label, name)
        if hasattr(config, "use_auxiliary_head"):
            config.use_auxiliary_head = False  # it helps training from scratch alone, and would hide the last layer
        kind = transformers.AutoModelForSemanticSegmentation
        model, info = model_of(kind, checkpoint, config, new_head=form.class_names is not None)
    processor = load_image_processor(checkpoint)
    if form.size is not None or form.class_names is not None:
        processor = sized_processor(processor, form.size)
    adapter = SegmenterAdapter(model.eval(), processor, name, checkpoint.family, form.head)
    absent = lacking(info)
    adapter.fresh = frozenset(absent)
    if form.class_names is not None:
        absent -= adapter.split.new_parameters()
        if form.head.decoder is not None:
            absent = {key for key in absent if not key.startswith(f"{form.head.decoder}.")}  # statistics too
        else:
            adapter.begin_head()
    require_whole(f"model '{name}'", absent)
    return adapter


# --- a backbone under a new decoder ----------------------------------------------------------------------------------


def pyramid_backbone(checkpoint: Checkpoint) -> PreTrainedModel | None:
    """Return a checkpoint's backbone as transformers puts it below a decoder; None where it has no such class."""
    import transformers
    from transformers.models.auto.modeling_auto import MODEL_FOR_BACKBONE_MAPPING_NAMES

    if checkpoint.family == "timm_wrapper":
        return _timm_backbone(checkpoint)
    if checkpoint.family not in MODEL_FOR_BACKBONE_MAPPING_NAMES:
        return None
    config = config_of(checkpoint)
    stages = len(getattr(config, "stage_names", ())) - 1
    if stages < 1:
        return None
    wanted = sorted({max(1, round(stages * share)) for share in (0.25, 0.5, 0.75, 1.0)})
    # AutoBackbone asks the Hub for a timm model of this name before it looks at a local folder.
    kind = getattr(transformers, MODEL_FOR_BACKBONE_MAPPING_NAMES[checkpoint.family])
    config.out_indices = wanted
    backbone, info = model_of(kind, checkpoint, config)
    # Norms of single stages are new in a backbone, and begin as they should.
    absent = [key for key in info["missing_keys"] if not re.search(r"(^|\.)(hidden_states_norms|layernorm)\b", key)]
    require_whole(f"model '{checkpoint.name}'", absent)
    return backbone


def _gives_what_it_says(backbone: PreTrainedModel, size: tuple[int, int]) -> bool:
    """Return whether a backbone's maps (B, D, h, w) have the channels that it says: timm's Swin and MambaOut give
    (B, h, w, D), and HGNetV2 of transformers has others."""
    try:
        with torch.no_grad():
            maps = backbone.eval()(torch.zeros(1, 3, *size)).feature_maps
    except FAULTS_OF_MODELS:
        return False
    return [own.shape[1] for own in maps] == list(backbone.channels)


def _timm_backbone(checkpoint: Checkpoint) -> PreTrainedModel | None:
    """Return a timm network as a backbone with maps of stride 4 and more; None where it has none of several sizes."""
    from transformers import TimmBackbone, TimmBackboneConfig

    whole = _backbone(checkpoint, None)
    network: Any = whole.timm_model
    info = getattr(network, "feature_info", None)
    if not isinstance(info, list) or len({entry.get("reduction") for entry in info}) < 3:
        return None
    wanted = [place for place, entry in enumerate(info) if entry["reduction"] >= 4]
    config = TimmBackboneConfig(
        backbone=whole.config.architecture, out_indices=wanted, features_only=True, use_pretrained_backbone=False
    )
    backbone: PreTrainedModel = TimmBackbone(config)
    given, own = network.state_dict(), backbone.state_dict()
    names = {key: key.removeprefix("_backbone.") for key in own}
    # Where stages are picked from a list, timm writes `stages_0` for `stages.0`.
    found = {
        key: given.get(name, given.get(re.sub(r"^([a-z]+)_(\d+)\.", r"\1.\2.", name))) for key, name in names.items()
    }
    if any(value is None or value.shape != own[key].shape for key, value in found.items()):
        return None
    backbone.load_state_dict(found)
    return backbone


def _decoder(
    checkpoint: Checkpoint, form: MapForm, backbone: PreTrainedModel, processor: BaseImageProcessor
) -> SegmenterAdapter:
    """Return a backbone under UPerNet's decoder (Xiao et al., arXiv 1807.10221), with random weights and few
    channels."""
    from transformers import UperNetConfig, UperNetForSemanticSegmentation

    config = UperNetConfig(
        backbone_config=backbone.config, hidden_size=DECODER_WIDTH, use_auxiliary_head=False, num_labels=2
    )
    assert form.class_names is not None  # a trained one is a segmenter already
    name_classes(config, form.class_names)
    model = UperNetForSemanticSegmentation(config)
    model.backbone.load_state_dict(backbone.state_dict())
    _require_whole_patches(checkpoint.name, backbone.config, size_of(processor))
    head = replace(form.head, decoder="decode_head")
    adapter = SegmenterAdapter(model.eval(), processor, checkpoint.name, checkpoint.family, head)
    adapter.fresh = frozenset(f"decode_head.{name}" for name, _ in model.decode_head.named_parameters())
    return adapter


# --- a linear layer on a backbone ------------------------------------------------------------------------------------


def _dense(checkpoint: Checkpoint, form: MapForm) -> DenseAdapter:
    backbone: Any
    if checkpoint.family == "open_clip":
        backbone, processor = load_open_clip_maps(checkpoint, form.class_names, form.size)
    else:
        backbone = _backbone(checkpoint, form.class_names)
        processor = sized_processor(_processor_of(checkpoint, form), form.size)
    size = size_of(processor)
    _require_whole_patches(checkpoint.name, backbone.config, size)
    classes = len(backbone.config.id2label)
    try:
        model = DenseClassifier(backbone, classes, size)
    except FAULTS_OF_MODELS as error:  # it has no maps, or none of images of this size
        got = f"{checkpoint.family} ({first_line(error)})"
        allowed = f"one whose features are maps, of images of {size[0]} × {size[1]} pixels"
        remedy = "A network made for one size takes no other: leave data.size out." if form.size is not None else ""
        raise ModelError(must_be(f"model '{checkpoint.name}'", allowed, got, remedy)) from error
    if form.class_names is None:
        load_head(model.head, checkpoint)
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

    where = f"model '{checkpoint.name}'"
    kind = getattr(transformers, _VISION.get(checkpoint.family, "AutoModel"))
    with loading(where, "an image backbone that transformers loads", checkpoint.family):
        config = config_of(checkpoint)
        config = getattr(config, "vision_config", config) if checkpoint.family in _VISION else config
        if class_names is not None:
            name_classes(config, class_names)
        if config.model_type == "timm_wrapper":
            config.model_args = {**(config.model_args or {}), **_free_size(config.architecture)}
            config.model_args.pop("num_classes", None)
        model, info = model_of(kind, checkpoint, config)
    require_whole(where, [key for key in info["missing_keys"] if not key.startswith(_UNUSED)])
    without_new_pooler(model, info)
    return model.eval()


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
    # Some networks' patches overlap: images are a whole number of steps from one to the next.
    patch = getattr(config, "patch_stride", None) or getattr(config, "patch_size", None)
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
        resample=resample,
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
