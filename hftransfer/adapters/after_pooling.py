"""The layers that sentence-transformers puts behind a pooled text, as their folders say."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional

from hftransfer.adapters.checkpoint import Checkpoint, object_in
from hftransfer.base.errors import ModelError, first_line, must_be

if TYPE_CHECKING:
    from hftransfer.base.plain import JsonObject

_ACTIVATIONS: dict[str, type[nn.Module]] = {
    kind.__name__: kind for kind in (nn.Identity, nn.Tanh, nn.ReLU, nn.GELU, nn.SiLU, nn.Sigmoid, nn.ELU, nn.LeakyReLU)
}
_FEATURES = "sentence_embedding"


def after_pooling(checkpoint: Checkpoint) -> nn.Sequential:
    """Return what follows the pooling of a folder of sentence-transformers, from (N, D) to (N, E); of another model
    nothing.

    Raises:
        ModelError: tokens are pooled, or go on, in a way that is not known here, or a layer's weights are missing.
    """
    layers = nn.Sequential()
    if checkpoint.whole is None:
        return layers
    _require_plain_inputs(checkpoint)
    if checkpoint.pools_otherwise:
        allowed = "by the mean of all tokens, the first one or the last one"
        raise ModelError(must_be(f"the pooling of '{checkpoint.name}'", allowed, "another"))
    is_pooled = False
    for place, (kind, folder) in enumerate(checkpoint.sentence_modules):
        if kind == "Pooling":
            is_pooled = True
        elif is_pooled:
            layers.append(_layer(kind, folder))
        elif place > 0:  # the first is the backbone, which old folders call BERT
            allowed = "a Transformer, its Pooling, and layers behind that"
            raise ModelError(must_be(f"the modules of '{checkpoint.name}'", allowed, f"{kind} before the Pooling"))
    return layers.eval().requires_grad_(False)


def _require_plain_inputs(checkpoint: Checkpoint) -> None:
    """Return if texts are embedded as they are, and whole.

    Raises:
        ModelError: the folder says that a prompt goes before each, or that the first numbers alone are kept.
    """
    assert checkpoint.whole is not None
    said = object_in(checkpoint.whole / "config_sentence_transformers.json")
    given = [f"{key}: {said[key]}" for key in ("default_prompt_name", "truncate_dim") if said.get(key)]
    if given:
        where = f"config_sentence_transformers.json of '{checkpoint.name}'"
        remedy = "Set them to null in the file; put the prompt before the texts, or keep the first numbers, yourself."
        raise ModelError(must_be(where, "without default_prompt_name and truncate_dim", ", ".join(given), remedy))


def _layer(kind: str, folder: Path) -> nn.Module:
    if kind == "Normalize":
        return _Unit()
    if kind == "Dropout":  # nothing is dropped where nothing learns
        return nn.Identity()
    settings = object_in(folder / "config.json")
    try:
        if kind == "LayerNorm":
            return _filled(_Norm(int(settings["dimension"])), folder)
        if kind == "Dense" and settings.get("module_input_name", _FEATURES) == _FEATURES:
            return _filled(_Dense(settings), folder)
    except (KeyError, TypeError, ValueError) as error:
        allowed = f"the settings of a {kind} layer"
        raise ModelError(must_be(str(folder / "config.json"), allowed, f"others ({first_line(error)})")) from error
    allowed = "Dense, LayerNorm, Dropout or Normalize, on the pooled text"
    raise ModelError(must_be(f"the layer in {folder}", allowed, f"{kind}"))


def _filled(layer: nn.Module, folder: Path) -> nn.Module:
    file = folder / "model.safetensors"
    if not file.is_file():
        raise ModelError(must_be(f"the layer in {folder}", "one with its weights in model.safetensors", "none there"))
    try:
        layer.load_state_dict(load_file(file))
    except (SafetensorError, RuntimeError, OSError) as error:
        raise ModelError(must_be(str(file), "the weights of that layer", f"others ({first_line(error)})")) from error
    return layer.float()


class _Dense(nn.Module):
    """A linear layer and a function of its outputs, beside which the inputs may be added again."""

    def __init__(self, settings: JsonObject) -> None:
        super().__init__()
        inputs, outputs = int(settings["in_features"]), int(settings["out_features"])
        name = str(settings.get("activation_function", "torch.nn.modules.activation.Tanh"))
        self.linear = nn.Linear(inputs, outputs, bias=settings.get("bias", True) is not False)
        # A name in a file is looked up, never imported.
        if not name.startswith("torch.nn.") or name.rpartition(".")[2] not in _ACTIVATIONS:
            raise ValueError(f"activation_function {name}")
        self.activation = _ACTIVATIONS[name.rpartition(".")[2]]()
        self.adds_inputs = settings.get("use_residual") is True
        if self.adds_inputs and inputs != outputs:
            self.residual = nn.Linear(inputs, outputs, bias=False)

    def forward(self, features: Tensor) -> Tensor:
        """Return the outputs (N, E) from features (N, D)."""
        made: Tensor = self.activation(self.linear(features))
        if not self.adds_inputs:
            return made
        return made + (self.residual(features) if hasattr(self, "residual") else features)


class _Norm(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)

    def forward(self, features: Tensor) -> Tensor:
        made: Tensor = self.norm(features)
        return made


class _Unit(nn.Module):
    def forward(self, features: Tensor) -> Tensor:
        return functional.normalize(features, dim=-1)


@torch.inference_mode()
def gone_through(layers: nn.Sequential, features: Tensor) -> Tensor:
    """Return what the layers make of features (N, D), in float32."""
    made: Tensor = layers(features.float())
    return made
