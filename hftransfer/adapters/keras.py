"""Image models of Keras, run by torch, and written back as Keras' own file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

import torch
from PIL import Image
from torch import Tensor, nn
from transformers import PreTrainedConfig

from hftransfer.adapters.anatomy import Inputs, alike
from hftransfer.adapters.base import Adapter
from hftransfer.adapters.checkpoint import Checkpoint, sidecar
from hftransfer.adapters.heads import Head
from hftransfer.adapters.images import ImageAdapter
from hftransfer.adapters.keras_files import KERAS_FILE
from hftransfer.adapters.keras_graph import Stage, Step, flattened, given_to, stages_of, steps_of
from hftransfer.adapters.keras_layers import Weight
from hftransfer.adapters.keras_pixels import Mode, Preprocessing, mode_of, preprocessing_for
from hftransfer.adapters.libraries import keras_on_torch, other_keras_backend, quiet_keras
from hftransfer.base.errors import ModelError, first_line, must_be

if TYPE_CHECKING:
    import keras

_PROBLEMS = {"sigmoid": "multi_label_classification", "linear": None, "softmax": None}
_ACTIVATIONS = {"softmax": "softmax", "sigmoid": "sigmoid", "none": "linear"}
_ARITHMETIC = ("Rescaling", "Normalization", "TrueDivide", "Divide", "Subtract", "Multiply", "Add", "GetItem", "Stack")


class _Source:
    """The model of Keras that a network was made of, to which its weights go back; copies of the network share it."""

    def __init__(self, features: keras.Model, weights: Sequence[tuple[str, Weight]]) -> None:
        self.features, self.weights = features, weights

    def __deepcopy__(self, memo: dict[int, object]) -> _Source:
        return self


class KerasBody(nn.Module):
    """The stages of a network of Keras, from pixels (B, 3, H, W) to features (B, D)."""

    def __init__(self, stages: Sequence[Stage], *, bgr: bool) -> None:
        super().__init__()
        self.stages = nn.ModuleList(stages)
        self.bgr = bgr

    def forward(self, pixel_values: Tensor) -> Tensor:
        """Return features (B, D) of pixels (B, 3, H, W), red first."""
        # Images are red first everywhere outside the network.
        hidden = pixel_values.flip(1) if self.bgr else pixel_values
        for stage in self.stages:
            hidden = stage(hidden)
        return hidden


class KerasClassifier(nn.Module):
    """A network of Keras as modules of torch, and one linear layer on its features."""

    def __init__(self, body: KerasBody, head: nn.Linear, source: _Source, config: PreTrainedConfig) -> None:
        super().__init__()
        self.body, self.head, self.source, self.config = body, head, source, config

    @property
    def base_model(self) -> nn.Module:
        """The network below the head."""
        return self.body

    def forward(self, pixel_values: Tensor) -> SimpleNamespace:
        """Return `logits` (B, C) of pixels (B, 3, H, W)."""
        return SimpleNamespace(logits=self.head(self.body(pixel_values)))

    def native(self, activation: str) -> keras.Model:
        """Return the model of Keras with the weights that are here, and the head as its last layer."""
        keras = keras_on_torch()
        state, features = self.state_dict(), self.source.features
        with keras.device("cpu"):
            for name, weight in self.source.weights:
                weight.variable.assign(weight.back(state[name].detach().cpu()).contiguous())
            # "head", or what is left: names of layers are unique.
            taken = {layer.name for layer in features.layers}
            name = next(name for name in ("head", *(f"head_{n}" for n in range(len(taken) + 1))) if name not in taken)
            layer = keras.layers.Dense(self.head.out_features, activation=activation, name=name)
            model = keras.Model(features.inputs, layer(features.outputs[0]), name=features.name)
            layer.set_weights([self.head.weight.detach().cpu().numpy().T, self.head.bias.detach().cpu().numpy()])
        return model


class KerasAdapter(ImageAdapter):
    """An image model of Keras on torch; its artifact is Keras' own."""

    takes_own_head = False

    def __init__(
        self, model: KerasClassifier, processor: Preprocessing, checkpoint: Checkpoint, head: Head, notes: Sequence[str]
    ) -> None:
        self.notes = tuple(notes)
        super().__init__(model, processor, checkpoint.name, "keras", head)

    def encode(self, examples: Sequence[Image.Image]) -> Inputs:
        """Return `{"pixel_values": (B, 3, H, W)}` in float32, from RGB images."""
        return {"pixel_values": self.processor(examples)}

    def processor_settings(self) -> dict[str, object]:
        """Return the range, order and size of the pixels."""
        return dict(self.processor.settings())

    def save(self, folder: Path) -> None:
        """Write `model.keras`, which gives probabilities (numbers, of a regression), and what its pixels are."""
        with quiet_keras():
            self.model.native(_ACTIVATIONS[self.scoring]).save(folder / KERAS_FILE)
        self.save_processor(folder)

    def save_processor(self, folder: Path) -> None:
        """Write what the model's pixels are."""
        self.processor.save(folder)

    def _crops_center(self) -> bool:
        return False


@dataclass(frozen=True)
class _Cut:
    """A model of Keras below its head, and what is known of that head."""

    features: keras.Model
    activation: str | None = None
    weight: Tensor | None = None
    """(C, D)."""
    bias: Tensor | None = None
    """(C,)."""
    names: tuple[str, ...] = ()
    """Those of the model, and of models that were inside it."""


def load_keras(
    checkpoint: Checkpoint, class_names: Sequence[str] | None, head: Head, problem_type: str | None = None
) -> Adapter:
    """Return the adapter of a model in Keras' file; without class names, with the head that it ends with.

    Raises:
        ModelError: Keras can't load it, it is no functional model for images, or there is no head.
    """
    name = checkpoint.name
    keras = keras_on_torch()
    with keras.device("cpu"), quiet_keras():
        cut = _cut_at_head(_read(checkpoint), name)
        steps, start = steps_of(cut.features, name)
        processor = _preprocessing(checkpoint, cut, steps)
        stages, weights = stages_of(steps, start)
    width = cut.features.output_shape[-1]
    config = _config_of(checkpoint, class_names, cut, problem_type)
    linear = nn.Linear(width, head.outputs(config))
    body = KerasBody(stages, bgr=processor.bgr)
    if class_names is None:
        assert cut.weight is not None
        assert cut.bias is not None
        head.set(linear, cut.weight, cut.bias)
    model = KerasClassifier(body, linear, _Source(cut.features, ()), config).eval()
    names = {id(module): way for way, module in model.named_modules()}
    model.source.weights = [(f"{names[id(module)]}.{weight.name}", weight) for module, weight in weights]
    if not sidecar(checkpoint.folder):  # what we wrote ourselves was compared when it was made
        _require_equal(model, processor, name)
    return KerasAdapter(model, processor, checkpoint, head, _notes(checkpoint, processor))


def _notes(checkpoint: Checkpoint, processor: Preprocessing) -> list[str]:
    notes = [f"pixels: {processor.mode}, {processor.height} × {processor.width}, resized as {processor.resizing} does"]
    if checkpoint.name.endswith("/none"):
        notes.append(f"the weights of {checkpoint.name} are random: it has learned nothing yet")
    if (chosen := other_keras_backend()) is not None:
        notes.append(f"Keras is set to the backend {chosen}, but it runs on torch here")
    return notes


def _read(checkpoint: Checkpoint) -> keras.Model:
    """Return the model in a file, every layer learning.

    Raises:
        ModelError: Keras can't load it.
    """
    keras = keras_on_torch()
    assert checkpoint.keras is not None
    try:
        model = keras.saving.load_model(checkpoint.keras.path, compile=False, safe_mode=True)
    except Exception as error:  # whatever Keras comes upon in a file
        got = f"something else ({first_line(error)})"
        raise ModelError(must_be(f"model '{checkpoint.name}'", "one that Keras loads", got)) from error
    # A frozen layer's weights count among those that never learn: what learns is the strategy's matter here.
    model.trainable = True
    return model


def _cut_at_head(model: keras.Model, name: str) -> _Cut:
    """Return a model below its head: the dense layer that it ends with, or else whole; maps are averaged over their
    places."""
    keras = keras_on_torch()
    steps, _ = steps_of(model, name)
    names = tuple(_names_in(model))
    last, activation = steps[-1], None
    # The activation may be a layer of its own behind the dense one.
    if last.kind in ("Softmax", "Activation") and len(steps) > 1:
        activation, last = ("softmax" if last.kind == "Softmax" else last.operation.activation.__name__), steps[-2]
    layer = last.operation
    own = getattr(getattr(layer, "activation", None), "__name__", "")
    activation = own if own != "linear" or activation is None else activation
    outer = model.layers[-1] if not isinstance(model.layers[-1], keras.Model) else None
    if last.kind == "Dense" and activation in _PROBLEMS and len(last.shape) == 2:
        if layer is not outer and outer is not steps[-1].operation:  # it lies in a model inside
            return replace(_cut_at_head(flattened(model, name), name), names=names)
        bias = layer.bias.value if layer.use_bias else torch.zeros(layer.units)
        # Keras has a kernel (D, C), torch a weight (C, D).
        weight = layer.kernel.value.detach().T.contiguous()
        below = keras.Model(model.inputs, given_to(layer, model), name=model.name)
        return _Cut(below, activation, weight, bias.detach().clone(), names)
    output = model.outputs[0]
    if len(output.shape) == 4:
        output = keras.layers.GlobalAveragePooling2D()(output)
    if len(output.shape) != 2 or output.shape[-1] is None:
        got = f"an output of shape {tuple(output.shape)}"
        raise ModelError(must_be(f"model '{name}'", "one that makes features or a map of an image", got))
    return _Cut(keras.Model(model.inputs, output, name=model.name), names=names)


def _config_of(
    checkpoint: Checkpoint, class_names: Sequence[str] | None, cut: _Cut, problem_type: str | None
) -> PreTrainedConfig:
    """Return the names of the classes, and what the head is for.

    Raises:
        ModelError: there is no head, or its names are those of another.
    """
    name = checkpoint.name
    if class_names is not None:
        return PreTrainedConfig(id2label=dict(enumerate(class_names)), problem_type=problem_type)
    if cut.weight is None:
        remedy = "Train a head: this model only makes features."
        raise ModelError(must_be(f"model '{name}'", "a checkpoint with all its head weights", "no head", remedy))
    said = sidecar(checkpoint.folder)
    names = said.get("class_names") or [f"LABEL_{index}" for index in range(len(cut.weight))]
    if len(names) != len(cut.weight):
        got = f"{len(names)}, beside a head with {len(cut.weight)} outputs"
        raise ModelError(must_be(f"class_names of model '{name}'", "one for each output", got))
    kind = "regression" if "regression" in str(said.get("task", "")) else _PROBLEMS[cut.activation or "linear"]
    return PreTrainedConfig(id2label=dict(enumerate(names)), problem_type=kind)


def _preprocessing(checkpoint: Checkpoint, cut: _Cut, steps: Sequence[Step]) -> Preprocessing:
    """Return the range and size of the pixels that a model takes."""
    shape = tuple(cut.features.inputs[0].shape)
    if len(shape) != 4 or shape[-1] != 3:
        got = f"an input of shape {shape}"
        allowed = "one that takes RGB images, channels last: (None, height, width, 3)"
        raise ModelError(must_be(f"model '{checkpoint.name}'", allowed, got))
    found: Mode | None = "none" if _begins_with_arithmetic(steps) else mode_of(cut.names)
    return preprocessing_for(checkpoint.folder, checkpoint.name, found, (shape[1], shape[2]))


def _begins_with_arithmetic(steps: Sequence[Step]) -> bool:
    """Return whether a network scales or shifts its pixels itself, before its first layer with weights that learn."""
    for step in steps:
        if step.kind in _ARITHMETIC:
            return True
        if step.learns:
            return False
    return False


def _names_in(model: keras.Model) -> list[str]:
    """Return the names of a model and of those inside it."""
    inner = [layer for layer in getattr(model, "layers", ()) if hasattr(layer, "layers")]
    return [model.name, *(name for layer in inner for name in _names_in(layer))]


def _require_equal(model: KerasClassifier, processor: Preprocessing, name: str) -> None:
    """Return if a network gives the features that Keras gives.

    Raises:
        ModelError: it doesn't: a layer does something else than its kind.
    """
    keras = keras_on_torch()
    noise = torch.randint(0, 256, (1, 3, processor.height, processor.width), generator=torch.Generator().manual_seed(0))
    # About the range that the network was trained on: a layer that clips would hide differences else.
    pixels = noise.float() / 127.5 - 1 if processor.mode in ("tf", "torch", "unit") else noise.float()
    with torch.no_grad(), keras.device("cpu"):
        ours = model.body(pixels)
        there = pixels.flip(1) if processor.bgr else pixels
        wanted = model.source.features(there.permute(0, 2, 3, 1).contiguous(), training=False)
    if not alike(ours, wanted.float()):
        got = f"a difference of {float((ours - wanted).abs().max()):.2g} to Keras' own features"
        raise ModelError(must_be(f"model '{name}'", "one that computes the same in torch's layers", got))
