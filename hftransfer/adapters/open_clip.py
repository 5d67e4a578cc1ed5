"""The image tower of an open_clip model under a linear head."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import torch
from PIL import Image
from torch import Tensor, nn
from transformers import PreTrainedConfig

from hftransfer.adapters.anatomy import Inputs
from hftransfer.adapters.base import Adapter
from hftransfer.adapters.checkpoint import OPEN_CLIP_CONFIG, OPEN_CLIP_WEIGHTS, Checkpoint, sidecar
from hftransfer.adapters.heads import load_head, save_head
from hftransfer.adapters.images import ImageAdapter, without_long_ends
from hftransfer.adapters.projections import pooled_of
from hftransfer.adapters.sizes import require_small_images
from hftransfer.base.errors import HftransferError, ModelError, first_line, must_be

if TYPE_CHECKING:
    from open_clip import CLIP
    from transformers import BaseImageProcessor


class OpenClipClassifier(nn.Module):
    """An open_clip model, its image embedding (B, D) not normalised, and one linear layer."""

    def __init__(self, clip: CLIP, class_names: Sequence[str], width: int) -> None:
        super().__init__()
        self.clip = clip
        self.head = nn.Linear(width, len(class_names))
        self.config = PreTrainedConfig(id2label=dict(enumerate(class_names)))

    @property
    def base_model(self) -> nn.Module:
        """The image tower."""
        visual: nn.Module = self.clip.visual
        return visual

    def forward(self, pixel_values: Tensor) -> SimpleNamespace:
        """Return `logits` (B, C) of pixels (B, 3, H, W)."""
        return SimpleNamespace(logits=self.head(pooled_of(self.clip.visual(pixel_values))))


class OpenClipAdapter(ImageAdapter):
    """The image tower of an open_clip model; the processor is open_clip's own transform."""

    def __init__(
        self, model: OpenClipClassifier, processor: Callable[[Image.Image], Tensor], name: str, folder: Path
    ) -> None:
        self.folder = folder
        super().__init__(model, processor, name, "open_clip")

    def encode(self, examples: Sequence[Image.Image]) -> Inputs:
        """Return `{"pixel_values": (B, 3, H, W)}` in float32, from RGB images."""
        images = [without_long_ends(image) if self._crops_center() else image for image in examples]
        return {"pixel_values": torch.stack([self.processor(image) for image in images])}

    def processor_settings(self) -> dict[str, object]:
        """Return the transform, step by step."""
        return {"class": "open_clip", "steps": repr(self.processor)}

    def save(self, folder: Path) -> None:
        """Write open_clip's layout with the trained tower, and the head into `head.safetensors`."""
        save_clip(self.model.clip, self.folder, folder)
        save_head(self.head, folder)

    def save_processor(self, folder: Path) -> None:
        """Write no file: the transform is that of the base model."""

    def _find_stages(self) -> list[nn.Module]:
        return stages_of_visual(self.model.clip.visual)

    def _crops_center(self) -> bool:
        return "CenterCrop" in repr(self.processor)


class OpenClipMaps(nn.Module):
    """The image tower of an open_clip model as a backbone of maps, in place of one of transformers."""

    def __init__(self, clip: CLIP, class_names: Sequence[str], source: Path) -> None:
        super().__init__()
        self.clip, self.source = clip, source
        self.config = PreTrainedConfig(id2label=dict(enumerate(class_names)))

    @property
    def tower_stages(self) -> list[nn.Module]:
        """The stages from input to output."""
        return stages_of_visual(self.clip.visual)

    def maps(self, pixel_values: Tensor) -> list[Tensor]:
        """Return the maps (B, D, h, w) after each stage of pixels (B, 3, H, W)."""
        found = self.clip.visual.forward_intermediates(
            pixel_values, normalize_intermediates=True, intermediates_only=True, output_fmt="NCHW"
        )
        maps: list[Tensor] = found["image_intermediates"]
        return maps

    def save_pretrained(self, folder: Path) -> None:
        """Write open_clip's layout with the trained tower and the size of images that it is for now."""
        save_clip(self.clip, self.source, folder)
        file, size = folder / OPEN_CLIP_CONFIG, self.clip.visual.image_size
        settings = json.loads(file.read_text(encoding="utf-8"))
        settings["model_cfg"]["vision_cfg"]["image_size"] = size if isinstance(size, int) else list(size)
        file.write_text(json.dumps(settings, indent=2), encoding="utf-8")


def load_open_clip_maps(
    checkpoint: Checkpoint, class_names: Sequence[str] | None, size: tuple[int, int] | None
) -> tuple[OpenClipMaps, BaseImageProcessor]:
    """Return the image tower of a folder in open_clip's layout for images of a size (height, width), its own where
    None, and an image processor that does what its transform does.

    Raises:
        ModelError: open_clip can't load it, or its images have one size alone.
    """
    from transformers import SegformerImageProcessor

    clip, _ = load_clip(checkpoint, size)
    settings = checkpoint.config.get("preprocess_cfg")
    known: dict[str, Any] = settings if isinstance(settings, dict) else {}
    height, width = size or as_pair(clip.visual.image_size)
    processor = SegformerImageProcessor(
        size={"height": height, "width": width},
        resample={"bilinear": 2, "nearest": 0}.get(str(known.get("interpolation")), 3),
        image_mean=list(known.get("mean") or clip.visual.image_mean),
        image_std=list(known.get("std") or clip.visual.image_std),
        do_reduce_labels=False,
    )
    names = class_names if class_names is not None else sidecar(checkpoint.folder).get("class_names") or ()
    return OpenClipMaps(clip, names, checkpoint.folder), processor


def as_pair(size: int | Sequence[int]) -> tuple[int, int]:
    """Return height and width of images whose size is one edge, or both."""
    height, width = (size, size) if isinstance(size, int) else size
    return height, width


def stages_of_visual(visual: nn.Module) -> list[nn.Module]:
    """Return an image tower's transformer blocks, its ResNet layers, or the blocks or stages of a timm network."""
    for owner, name in ((getattr(visual, "transformer", None), "resblocks"), (visual, "trunk")):
        blocks = getattr(owner, name, None)
        if name == "trunk" and blocks is not None:
            blocks = getattr(blocks, "blocks", None) or getattr(blocks, "stages", None)
        if isinstance(blocks, nn.ModuleList | nn.Sequential):
            return list(blocks)
    return [getattr(visual, f"layer{n}") for n in range(1, 5) if hasattr(visual, f"layer{n}")]


def save_clip(clip: CLIP, source: Path, folder: Path) -> None:
    """Write a model in open_clip's layout, with the configuration and tokenizer of the folder `source`."""
    from safetensors.torch import save_file

    tensors = {name: tensor.contiguous() for name, tensor in clip.state_dict().items()}
    save_file(tensors, folder / OPEN_CLIP_WEIGHTS)
    for pattern in ("*.json", "*.txt"):
        for file in source.glob(pattern):
            # These are of transformers' layout and ours: the model would be taken for theirs.
            if file.name not in ("config.json", "hftransfer.json"):
                shutil.copyfile(file, folder / file.name)


def load_open_clip(checkpoint: Checkpoint, class_names: Sequence[str] | None) -> Adapter:
    """Return the adapter of a folder in open_clip's layout; without class names, with the head that lies in it.

    Raises:
        ModelError: open_clip can't load it, or there is no head.
    """
    folder, name = checkpoint.folder, checkpoint.name
    names = class_names if class_names is not None else sidecar(folder).get("class_names")
    if not names:
        remedy = "Train one: this folder holds an image tower alone."
        raise ModelError(must_be(f"model '{name}'", "a checkpoint with all its head weights", "no head", remedy))
    clip, transform = load_clip(checkpoint)
    size = clip.visual.image_size
    with torch.no_grad():
        height, width = as_pair(size)
        # Architectures name their width in different places: one black image tells it for all.
        embedding_width = pooled_of(clip.visual(torch.zeros(1, 3, height, width))).shape[1]
    model = OpenClipClassifier(clip, names, embedding_width)
    if class_names is None:
        load_head(model.head, checkpoint)
    return OpenClipAdapter(model, transform, name, folder)


def load_clip(
    checkpoint: Checkpoint, size: tuple[int, int] | None = None
) -> tuple[CLIP, Callable[[Image.Image], Tensor]]:
    """Return the model of a folder in open_clip's layout, in eval mode, and its image transform; for images of another
    size (height, width) its position embeddings are interpolated.

    Raises:
        ModelError: open_clip can't load it, or not for images of this size.
    """
    import open_clip

    folder = checkpoint.folder
    try:
        _require_plain_sizes(checkpoint)
        clip = open_clip.create_model(
            f"local-dir:{folder}", require_pretrained=True, weights_only=True, force_image_size=size
        )
        settings = json.loads((folder / OPEN_CLIP_CONFIG).read_text(encoding="utf-8")).get("preprocess_cfg", {})
        return clip.eval(), transform_of(clip, settings)
    except HftransferError:
        raise
    except Exception as error:  # whatever open_clip comes upon in a configuration
        got = f"something else ({first_line(error)})"
        raise ModelError(must_be(f"model '{checkpoint.name}'", "a model that open_clip loads", got)) from error


def transform_of(clip: CLIP, settings: Mapping[str, Any]) -> Callable[[Image.Image], Tensor]:
    """Return the image transform of a model with these settings of its preprocessing."""
    from open_clip.transform import PreprocessCfg, image_transform_v2

    # Files of other versions have settings that this one does not know.
    known = {key: value for key, value in settings.items() if key in PreprocessCfg.__dataclass_fields__}
    preprocess = PreprocessCfg(**{"size": clip.visual.image_size, **known})
    transform: Callable[[Image.Image], Tensor] = image_transform_v2(preprocess, is_train=False)
    return transform


def _require_plain_sizes(checkpoint: Checkpoint) -> None:
    """Return if the towers' sizes are such as their weights have: open_clip takes memory for all it is told to build.

    Raises:
        ModelError: one is larger than any side of a tensor.
    """
    settings = checkpoint.config.get("model_cfg")
    # Some settings are no sides of a tensor: image sizes, contexts.
    largest = max(_LARGEST_SETTING, *(max(shape, default=0) for shape in checkpoint.shapes.values()))
    for part in [settings, *settings.values()] if isinstance(settings, dict) else []:
        for key, value in part.items() if isinstance(part, dict) else ():
            if isinstance(value, int | float) and value > largest:
                where = f"{key} of model '{checkpoint.name}'"
                raise ModelError(must_be(where, f"{largest:,} at most, as its weights are", value))
    require_small_images(checkpoint.name, checkpoint.config.get("preprocess_cfg"))


_LARGEST_SETTING = 4096
