"""The facts about each model family, by the `model_type` in its config.json; imports nothing heavy.

A family is one line: where its stages lie (a path below its base model), and which convolutions LoRA goes to. Another
image or text classifier of transformers is tried without a line here: its stages are then the longest list of blocks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from hftransfer.base.errors import ModelError, must_be

Modality = Literal["image", "text"]


@dataclass(frozen=True)
class Family:
    """A model family: the path of its stages below the base model, and the convolutions that LoRA adapts by default,
    beside all linear layers of the stages."""

    modality: Modality
    stages: str
    lora: tuple[str, ...] = ()
    takes_lora: bool = True
    writes: bool = False
    """Whether it is a decoder, which can write texts."""


FAMILIES: dict[str, Family] = {
    "resnet": Family("image", "encoder.stages", ("convolution",)),
    "efficientnet": Family("image", "encoder.blocks", ("expand_conv", "project_conv")),
    "vit": Family("image", "layers"),
    "deit": Family("image", "layers"),
    "dinov2": Family("image", "encoder.layer"),
    "convnext": Family("image", "encoder.stages"),
    "convnextv2": Family("image", "encoder.stages"),
    "swin": Family("image", "encoder.layers"),
    "clip": Family("image", "vision_model.encoder.layers"),
    "siglip": Family("image", "vision_model.encoder.layers"),
    "siglip2": Family("image", "vision_model.encoder.layers"),
    "metaclip_2": Family("image", "vision_model.encoder.layers"),
    "timm_wrapper": Family("image", "", ("conv_pw", "conv_pwl", "conv1", "conv2", "conv3")),
    "open_clip": Family("image", "", ("conv1", "conv2", "conv3")),
    # Without LoRA: its matrices have no place in Keras' file.
    "keras": Family("image", "stages", takes_lora=False),
    # A network that is given as an object. Without LoRA: its matrices would have no base model to name.
    "torch_module": Family("image", "", takes_lora=False),
    "bert": Family("text", "encoder.layer"),
    "mpnet": Family("text", "encoder.layer"),
    "distilbert": Family("text", "transformer.layer"),
    "roberta": Family("text", "encoder.layer"),
    "xlm-roberta": Family("text", "encoder.layer"),
    "camembert": Family("text", "encoder.layer"),
    "electra": Family("text", "encoder.layer"),
    "deberta-v2": Family("text", "encoder.layer"),
    "modernbert": Family("text", "layers"),
    "gpt2": Family("text", "h", writes=True),
    **{
        name: Family("text", "layers", writes=True)
        for name in ("llama", "mistral", "qwen2", "qwen3", "gemma", "gemma2", "gemma3_text", "olmo2", "smollm3")
    },
}

# Names of dense convolutions that LoRA tries in turn in a family of which nothing is known.
GENERAL_LORA = (("convolution",), ("conv1", "conv2"))


# Families of which transformers (or open_clip) loads an image tower and a text tower into one space.
PAIRED = (
    *("clip", "siglip", "siglip2", "vision-text-dual-encoder", "open_clip", "metaclip_2"),
    *("chinese_clip", "align", "altclip", "clipseg", "blip", "groupvit", "owlvit", "owlv2"),
)


def require_paired(name: str, family: str) -> None:
    """Return if a model may have two towers, as far as its family tells.

    Raises:
        ModelError: it has one alone.
    """
    known = FAMILIES.get(family)
    if known is None or family in PAIRED:
        return
    allowed = "one with an image tower and a text tower, such as CLIP"
    remedy = "Try bundled/dual-encoder, or openai/clip-vit-base-patch32 from the Hub."
    raise ModelError(must_be(f"model '{name}'", allowed, f"the {known.modality} model {family}", remedy))


def require_lora(name: str, of_family: str, strategy: str) -> None:
    """Return if a family's layers can have LoRA's matrices, where the strategy is LoRA.

    Raises:
        ModelError: they can't.
    """
    family = FAMILIES.get(of_family)
    if strategy == "lora" and family is not None and not family.takes_lora:
        remedy = "It has no layers for LoRA; fine-tune its last stages (strategy.unfreeze: 2)."
        where = f"strategy.kind for model '{name}' ({of_family})"
        raise ModelError(must_be(where, "linear-probe or fine-tune", "lora", remedy))


def require_decoder(name: str, of_family: str) -> None:
    """Return if a model may write texts, as far as its family tells.

    Raises:
        ModelError: it can't.
    """
    family = FAMILIES.get(of_family)
    if family is not None and family.modality == "text" and not family.writes:
        got = f"the encoder '{name}' ({of_family}), which reads texts"
        remedy = "Try bundled/smollm2-135m, or a GPT-2, Llama or Qwen from the Hub."
        raise ModelError(must_be("model for task text-generation", "a decoder", got, remedy))


_SEGMENTS_BY_QUERIES = ("detr", "eomt", "eomt_dinov3", "mask2former", "maskformer", "oneformer", "videomt")


def require_maps(name: str, of_family: str) -> None:
    """Return if a model may give features of each place of an image, as far as its family tells.

    Raises:
        ModelError: it is one of Keras, or finds things by queries.
    """
    example = "facebook/dinov2-small, nvidia/mit-b0 or timm/efficientnet_lite0.ra_in1k"
    where, allowed = (
        "model for task image-segmentation",
        "an image backbone, or a segmenter with a class for each place",
    )
    if of_family in _SEGMENTS_BY_QUERIES:
        remedy = f"Such models learn masks of things, not classes of pixels. Try its backbone alone, or {example}."
        raise ModelError(must_be(where, allowed, f"'{name}' ({of_family})", remedy))
    if of_family == "keras":
        remedy = f"Its feature maps can't be used yet. Try the same network from timm, or {example}."
        raise ModelError(must_be(where, allowed, f"the Keras model '{name}'", remedy))


def families_of(modality: Modality) -> list[str]:
    """Return the names of the families known for images or for texts."""
    return [name for name, family in FAMILIES.items() if family.modality == modality]


def require_modality(name: str, of_family: str, task: str, modality: Modality) -> None:
    """Return if a model can serve a task as far as its family tells.

    Raises:
        ModelError: it is a text model for a task on images, or the other way round.
    """
    family = FAMILIES.get(of_family)
    if family is None or family.modality == modality:
        return
    got = f"the {family.modality} model '{name}' ({of_family})"
    examples = {
        "image": "Try bundled/efficientnet-lite0 or a ResNet or ViT from the Hub.",
        "text": "Try bundled/minilm-l6 or a BERT or RoBERTa from the Hub.",
    }
    raise ModelError(
        must_be(
            f"model for task {task}",
            f"{'an image' if modality == 'image' else 'a text'} model",
            got,
            examples[modality],
        )
    )
