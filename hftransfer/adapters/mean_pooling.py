"""Parts of a native dual encoder: a BERT whose pooled output is the mean over tokens, and timm's preprocessing."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

import torch
from torch import nn

from hftransfer.base.plain import JsonObject

if TYPE_CHECKING:
    from transformers import BaseImageProcessor, BertModel

SMALL = 1e-2  # in this range a pooler's tanh is linear to 1e-4
_LARGE = 1e3  # beside the mean over tokens, the residual of the first token vanishes


def mean_pooled_bert(bert: BertModel) -> BertModel:
    """Return a BERT with one layer more, whose pooled output is the mean over tokens (its own mean subtracted, divided
    by its standard deviation), shrunk to where the pooler's tanh is linear.

    The layer's queries and keys are 0, so that each token attends to all equally; values pass as they are, enlarged
    until nothing is left of the residual. The mean is then part of a native model, padding left out as attention does.
    """
    config = copy.deepcopy(bert.config)
    config.num_hidden_layers += 1
    pooled = type(bert)(config)
    # Not strict: the layer that was added has no weights there.
    pooled.load_state_dict(bert.state_dict(), strict=False)
    layer, width = pooled.encoder.layer[-1], config.hidden_size
    attention, output = layer.attention.self, layer.attention.output
    with torch.no_grad():
        for linear in (attention.query, attention.key, layer.intermediate.dense, layer.output.dense):
            linear.weight.zero_()
            linear.bias.zero_()
        # Values pass as they are, and enlarged: beside them the residual vanishes.
        for linear, size in ((attention.value, 1.0), (output.dense, _LARGE)):
            linear.weight.copy_(size * torch.eye(width))
            linear.bias.zero_()
        for norm in (output.LayerNorm, layer.output.LayerNorm):
            norm.weight.fill_(1.0)
            norm.bias.zero_()
    make_linear(pooled.pooler.dense)
    return pooled.eval()


def native_image_processor(settings: JsonObject) -> BaseImageProcessor:
    """Return a processor of transformers that does what timm's settings say: those of TimmWrapper can't be saved
    alone."""
    import transformers

    side = int(settings["input_size"][-1])
    return transformers.CLIPImageProcessor(
        size={"shortest_edge": int(side / settings.get("crop_pct", 0.875))},
        crop_size={"height": side, "width": side},
        resample=3 if settings.get("interpolation", "bicubic") == "bicubic" else 2,
        image_mean=settings["mean"],
        image_std=settings["std"],
    )


def make_linear(dense: nn.Linear) -> None:
    """Let a pooler hand on its input, shrunk to where its tanh is linear."""
    with torch.no_grad():
        dense.weight.copy_(SMALL * torch.eye(dense.out_features, dense.in_features))
        dense.bias.zero_()
