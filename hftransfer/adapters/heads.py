"""Heads: how the layer that gives a model's logits is found, begun, set from a solution, saved and loaded.

A task names the head that it needs. Importing this imports no torch.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from hftransfer.adapters.checkpoint import Checkpoint
from hftransfer.adapters.families import Modality
from hftransfer.base.errors import ModelError, first_line, must_be

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor, nn
    from transformers import PreTrainedConfig

    from hftransfer.adapters.own_head import OwnHead

    HeadLayer = nn.Linear | nn.Conv2d | OwnHead

_DEVIATION = 0.02
HEAD_FILE = "head.safetensors"


@dataclass(frozen=True)
class Head:
    """One kind of head, and the models of transformers that have it."""

    modality: Modality
    auto_class: str
    """The auto class of transformers that loads a model with this head."""
    ending: str | tuple[str, ...]
    """How the names of such model classes end."""
    words: str
    """Such a model, in the words of an error message."""
    peft_type: str | None = None
    """peft's `task_type` for it."""
    fixed_outputs: int | None = None
    """The number of outputs, where they are not classes with names."""
    decoder: str | None = None
    """The part of the model that is new together with the last layer, by name; None: the last layer alone is."""

    of_tokens: ClassVar[bool] = False
    """Whether it gives logits of each token."""
    of_maps: ClassVar[bool] = False
    """Whether it gives logits of each place of an image."""
    is_new: ClassVar[bool] = True
    """True if training begins with new weights, rather than with those of the checkpoint."""
    writes: ClassVar[bool] = False
    """Whether its outputs are the next tokens of a text."""

    @property
    def names_classes(self) -> bool:
        """Return whether the outputs are classes, named in the model's configuration."""
        return self.fixed_outputs is None

    def outputs(self, config: PreTrainedConfig) -> int:
        """Return how many logits the head of a model with this configuration gives, per example or per token."""
        return len(config.id2label) if self.fixed_outputs is None else self.fixed_outputs

    def fits(self, layer: nn.Module, outputs: int) -> bool:
        """Return whether a model's last layer is such a head with so many outputs: mostly a linear one."""
        from torch import nn

        from hftransfer.adapters.own_head import OwnHead

        if isinstance(layer, OwnHead):
            return layer.outputs == outputs
        return isinstance(layer, nn.Linear) and layer.out_features == outputs

    def is_solvable(self, layer: HeadLayer, features: Sequence[int]) -> bool:
        """Return whether the head can be solved in closed form from features of the shape that enters it."""
        del layer, features
        return False

    def begin(self, layer: HeadLayer) -> None:
        """Give the head small random weights and no bias, as BERT's and ViT's own have (Devlin et al., arXiv
        1810.04805)."""
        from torch.nn import init

        # Small weights say little at first, and bend the features below them little.
        init.normal_(layer.weight, std=_DEVIATION)
        if layer.bias is not None:
            init.zeros_(layer.bias)

    def set(self, layer: HeadLayer, weight: Tensor, bias: Tensor) -> None:
        """Set the head to the linear map with this weight (C, D) and bias (C,)."""
        import torch

        with torch.no_grad():
            # A convolution's weight has two sides more, of length 1.
            layer.weight.copy_(weight[(..., *[None] * (layer.weight.ndim - 2))])  # (C, D), or (C, D, 1, 1)
            if layer.bias is not None:
                layer.bias.copy_(bias)


class LinearHead(Head):
    """A linear layer from pooled features (B, D) to logits (B, C)."""

    def is_solvable(self, layer: HeadLayer, features: Sequence[int]) -> bool:
        """Return whether the features are pooled and the layer has a bias."""
        return len(features) == 2 and layer.bias is not None


class TokenHead(Head):
    """A linear layer from the features of tokens (B, T, D) to logits of each token (B, T, C)."""

    of_tokens = True


class ConvHead(Head):
    """A 1×1 convolution from a map (B, D, H, W) to logits of each place (B, C, H, W)."""

    def fits(self, layer: nn.Module, outputs: int) -> bool:
        """Return whether a layer is a dense 1×1 convolution with so many outputs."""
        from torch import nn

        if not isinstance(layer, nn.Conv2d):
            return False
        return layer.out_channels == outputs and layer.kernel_size == (1, 1) and layer.groups == 1


class MapHead(ConvHead):
    """A linear layer from maps of features to logits of each place (B, C, h, w): one on maps of several sizes
    (`PyramidHead`), or the last convolution of a decoder."""

    of_maps = True

    def fits(self, layer: nn.Module, outputs: int) -> bool:
        """Return whether a layer is such a one with so many outputs."""
        return super().fits(layer, outputs) or (
            hasattr(layer, "of_maps") and getattr(layer, "outputs", None) == outputs
        )

    def is_solvable(self, layer: HeadLayer, features: Sequence[int]) -> bool:
        """Return whether the layer has a bias."""
        del features
        return layer.bias is not None


class TiedHead(Head):
    """A language model's own output layer (B, T, D) to (B, T, V); often it is the word embedding too."""

    is_new: ClassVar[bool] = False
    writes: ClassVar[bool] = True

    @property
    def names_classes(self) -> bool:
        """Return False: its outputs are the tokens of a vocabulary."""
        return False

    def outputs(self, config: PreTrainedConfig) -> int:
        """Return the size of the vocabulary."""
        return int(config.get_text_config().vocab_size)


IMAGE_CLASSES = LinearHead(
    "image", "AutoModelForImageClassification", "ForImageClassification", "an image classifier that transformers loads"
)
TEXT_CLASSES = LinearHead(
    "text",
    "AutoModelForSequenceClassification",
    "ForSequenceClassification",
    "a text classifier that transformers loads",
    peft_type="SEQ_CLS",
)
SPANS = TokenHead(
    "text",
    "AutoModelForQuestionAnswering",
    "ForQuestionAnswering",
    "a question answering model that transformers loads",
    peft_type="QUESTION_ANS",
    fixed_outputs=2,  # the logits of a span's start and end
)

TAGS = TokenHead(
    "text",
    "AutoModelForTokenClassification",
    "ForTokenClassification",
    "a token classifier that transformers loads",
    peft_type="TOKEN_CLS",
)

LANGUAGE = TiedHead(
    "text",
    "AutoModelForCausalLM",
    ("ForCausalLM", "LMHeadModel"),
    "a decoder that transformers loads with AutoModelForCausalLM",
    peft_type="CAUSAL_LM",
)

SEGMENTS = MapHead(
    "image",
    "AutoModelForSemanticSegmentation",
    "ForSemanticSegmentation",
    "an image backbone, or a segmentation model, that transformers loads",
)


def save_head(layer: nn.Module, folder: Path) -> None:
    """Write a head's weight (C, D) and bias (C,), or all tensors of one of a person's own, as `head.safetensors`."""
    from safetensors.torch import save_file

    # Cloned: two names of a person's own may be of one tensor.
    tensors = {name: tensor.cpu().contiguous().clone() for name, tensor in layer.state_dict().items()}
    save_file(tensors, folder / HEAD_FILE)


def load_head(layer: nn.Module, checkpoint: Checkpoint) -> None:
    """Give a head the weights in `head.safetensors`.

    Raises:
        ModelError: they are not there, or of another shape.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    from hftransfer.adapters.own_head import OwnHead

    try:
        tensors = load_file(checkpoint.folder / HEAD_FILE)
        if isinstance(layer, OwnHead):
            layer.require_same({name: tuple(tensor.shape) for name, tensor in tensors.items()}, checkpoint.name)
        layer.load_state_dict(tensors)
    except (OSError, SafetensorError, RuntimeError) as error:
        got = f"no head weights ({first_line(error)})"
        raise ModelError(must_be(f"model '{checkpoint.name}'", f"a folder with {HEAD_FILE}", got)) from error
