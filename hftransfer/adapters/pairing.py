"""Two pretrained towers as one native dual encoder, whose pooled outputs a linear projection can be trained on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

from hftransfer.adapters.checkpoint import Checkpoint
from hftransfer.adapters.dual import TransformersDual, load_backbone
from hftransfer.adapters.families import FAMILIES
from hftransfer.adapters.libraries import quiet_transformers, seeded
from hftransfer.adapters.mean_pooling import make_linear, mean_pooled_bert, native_image_processor
from hftransfer.adapters.processors import load_image_processor, load_tokenizer
from hftransfer.base.errors import ModelError, must_be

if TYPE_CHECKING:
    from transformers import BaseImageProcessor, PreTrainedModel


def pair_towers(image: Checkpoint, text: Checkpoint, width: int, seed: int = 0) -> TransformersDual:
    """Return a `VisionTextDualEncoderModel` of an image backbone and a text backbone, with new projections to `width`
    dimensions, in float32 and eval mode.

    A ViT's pooled output is its first token, a BERT's the mean over tokens, as its sentence embeddings are made.

    Raises:
        ModelError: a checkpoint is of the other kind, or its backbone gives no pooled output.
    """
    import transformers

    for checkpoint, kind in ((image, "image"), (text, "text")):
        family = FAMILIES.get(checkpoint.family)
        if family is not None and (family.modality != kind or checkpoint.family in ("clip", "siglip", "open_clip")):
            got = f"'{checkpoint.name}' ({checkpoint.family})"
            raise ModelError(must_be(f"model.{kind}", f"{'an' if kind == 'image' else 'a'} {kind} backbone", got))
    with quiet_transformers(), seeded(seed):
        vision, language = _backbone(image, "image"), _backbone(text, "text")
        processor, tokenizer = load_image_processor(image), load_tokenizer(text)
        if hasattr(vision, "timm_model"):
            processor = native_image_processor(vision.config.pretrained_cfg)
        if isinstance(getattr(getattr(vision, "pooler", None), "dense", None), nn.Linear):
            # A trained tanh would bend what the projection gets; here it is nearly the identity.
            make_linear(vision.pooler.dense)
        with torch.no_grad():
            # Not all backbones pool, and some give a map: one black image tells.
            pooled = getattr(vision(torch.zeros(1, 3, *_size_px(processor))), "pooler_output", None)
        if pooled is None or pooled.ndim != 2:
            allowed = "an image backbone whose pooled output is one vector"
            raise ModelError(must_be("model.image", allowed, f"'{image.name}' ({image.family})"))
        vision.config.hidden_size = pooled.shape[1]  # some configurations have no such number
        if not hasattr(getattr(language, "encoder", None), "layer") or getattr(language, "pooler", None) is None:
            allowed = "a text backbone with a pooler, of BERT's kind"
            raise ModelError(must_be("model.text", allowed, f"'{text.name}' ({text.family})"))
        language = mean_pooled_bert(language)
        config = transformers.VisionTextDualEncoderConfig.from_vision_text_configs(
            vision.config, language.config, projection_dim=width
        )
        for part in (config.vision_config, config.text_config):
            part._name_or_path = ""
        model = transformers.VisionTextDualEncoderModel(config=config, vision_model=vision, text_model=language)
    return TransformersDual(model, processor, tokenizer, f"{image.name} + {text.name}", "vision-text-dual-encoder")


def _backbone(checkpoint: Checkpoint, kind: str) -> PreTrainedModel:
    where = f"model.{kind} '{checkpoint.name}'"
    return load_backbone(checkpoint, where, "a backbone that transformers loads", may_lack="pooler")  # set here


def _size_px(processor: BaseImageProcessor) -> tuple[int, int]:
    cropped = getattr(processor, "crop_size", None) if getattr(processor, "do_center_crop", None) else None
    size: dict[str, int] = dict(cropped or processor.size)
    edge = size.get("shortest_edge", 224)
    return int(size.get("height", edge)), int(size.get("width", edge))
