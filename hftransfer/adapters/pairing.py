"""Two pretrained towers as one native dual encoder, whose pooled outputs a linear projection can be trained on."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import nn

from hftransfer.adapters.base import quiet_transformers, seeded
from hftransfer.adapters.checkpoint import Checkpoint
from hftransfer.adapters.dual import TransformersDual, load_backbone
from hftransfer.adapters.families import FAMILIES
from hftransfer.adapters.loading import load_image_processor, load_tokenizer
from hftransfer.errors import ModelError, must_be

SMALL = 1e-2  # in this range a pooler's tanh is linear to 1e-4
_LARGE = 1e3  # beside the mean over tokens, the residual of the first token vanishes


def pair_towers(image: Checkpoint, text: Checkpoint, width: int, seed: int = 0) -> TransformersDual:
    """A `VisionTextDualEncoderModel` of an image backbone and a text backbone, with new projections to `width`
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
            _make_linear(vision.pooler.dense)
        with torch.no_grad():
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


def mean_pooled_bert(bert: Any) -> Any:
    """A BERT with one layer more, whose pooled output is the mean over tokens (its own mean subtracted, divided by
    its standard deviation), shrunk to where the pooler's tanh is linear.

    The layer's queries and keys are 0, so that each token attends to all equally; values pass as they are, enlarged
    until nothing is left of the residual. The mean is then part of a native model, padding left out as attention does.
    """
    config = copy.deepcopy(bert.config)
    config.num_hidden_layers += 1
    pooled = type(bert)(config)
    pooled.load_state_dict(bert.state_dict(), strict=False)
    layer, width = pooled.encoder.layer[-1], config.hidden_size
    attention, output = layer.attention.self, layer.attention.output
    with torch.no_grad():
        for linear in (attention.query, attention.key, layer.intermediate.dense, layer.output.dense):
            linear.weight.zero_()
            linear.bias.zero_()
        for linear, size in ((attention.value, 1.0), (output.dense, _LARGE)):
            linear.weight.copy_(size * torch.eye(width))
            linear.bias.zero_()
        for norm in (output.LayerNorm, layer.output.LayerNorm):
            norm.weight.fill_(1.0)
            norm.bias.zero_()
    _make_linear(pooled.pooler.dense)
    return pooled.eval()


def native_image_processor(settings: Any) -> Any:
    """A processor of transformers that does what timm's settings say: those of TimmWrapper can't be saved alone."""
    import transformers

    side = int(settings["input_size"][-1])
    return transformers.CLIPImageProcessor(
        size={"shortest_edge": int(side / settings.get("crop_pct", 0.875))},
        crop_size={"height": side, "width": side},
        resample=3 if settings.get("interpolation", "bicubic") == "bicubic" else 2,
        image_mean=settings["mean"],
        image_std=settings["std"],
    )


def _backbone(checkpoint: Checkpoint, kind: str) -> Any:
    where = f"model.{kind} '{checkpoint.name}'"
    return load_backbone(checkpoint, where, "a backbone that transformers loads", may_lack="pooler")  # set here


def _make_linear(dense: nn.Linear) -> None:
    """Nothing; a pooler hands on what it is given, shrunk to where its tanh is linear."""
    with torch.no_grad():
        dense.weight.copy_(SMALL * torch.eye(dense.out_features, dense.in_features))
        dense.bias.zero_()


def _size_px(processor: Any) -> tuple[int, int]:
    size = getattr(processor, "crop_size", None) if getattr(processor, "do_center_crop", None) else None
    size = dict(size or processor.size)
    edge: Any = size.get("shortest_edge", 224)
    return int(size.get("height", edge)), int(size.get("width", edge))
