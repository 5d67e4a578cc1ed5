"""Layers of Keras as modules of torch, and their weights back: channels first here, channels last there.

A map is (B, C, H, W) here and (B, H, W, C) in Keras; all other tensors are the same in both. What has no module of its
own runs as Keras has it, its weights handed to it at each call.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

if TYPE_CHECKING:
    import keras

_Way = Callable[[Tensor], Tensor]
Arguments = Callable[[Sequence[Any]], tuple[Sequence[Any], Mapping[str, Any]]]
"""Puts tensors, of torch or of Keras, into the places that they have in a call: its arguments by place and by name."""


@dataclass(frozen=True)
class Weight:
    """A variable of Keras, and the tensor of a module that stands for it."""

    variable: keras.Variable
    name: str
    """The tensor's name within the module."""
    back: _Way
    """From the module's tensor to the variable's value."""


@dataclass
class Translated:
    """A layer as a module of torch, given its tensors in their order."""

    module: nn.Module
    weights: list[Weight] = field(default_factory=list)


class SamePadding(nn.Module):
    """Zeros, or another value, around a map, as padding "same" has them: where they are odd in number, one more goes
    behind (below and to the right); torch's own convolutions put as many on both sides."""

    def __init__(
        self, kernel: Sequence[int], stride: Sequence[int], dilation: Sequence[int] = (1, 1), value: float = 0.0
    ) -> None:
        super().__init__()
        self.sides = list(zip(kernel, stride, dilation, strict=True))
        self.value = value

    def forward(self, pixels: Tensor) -> Tensor:
        """Return the map (B, C, H, W) with its padding."""
        around: list[int] = []
        for length, (kernel, stride, dilation) in zip(pixels.shape[2:], self.sides, strict=True):
            wanted = (math.ceil(length / stride) - 1) * stride + (kernel - 1) * dilation + 1
            missing = max(wanted - length, 0)
            around = [missing // 2, missing - missing // 2, *around]  # the last side comes first
        return pad(pixels, around, value=self.value) if any(around) else pixels


class OnLast(nn.Module):
    """A module that works on the last side of its input, given a map: on its channels."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, pixels: Tensor) -> Tensor:
        """Return the map (B, C, H, W) of a map (B, D, H, W)."""
        found: Tensor = self.module(pixels.permute(0, 2, 3, 1))  # (B, H, W, C)
        return found.permute(0, 3, 1, 2)


class Merge(nn.Module):
    """Several tensors made one: added, multiplied, or put behind one another."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind

    def forward(self, first: Tensor, *others: Tensor) -> Tensor:
        """Return one tensor, as large as the largest."""
        if self.kind == "Concatenate":
            return torch.cat([first, *others], dim=1)
        for other in others:
            first = first + other if self.kind == "Add" else first * other
        return first


class GlobalPool(nn.Module):
    """The mean, or the most, of each channel over all places of a map."""

    def __init__(self, *, most: bool, keep: bool) -> None:
        super().__init__()
        self.most, self.keep = most, keep

    def forward(self, pixels: Tensor) -> Tensor:
        """Return features (B, C), or (B, C, 1, 1) where sides are kept, of a map (B, C, H, W)."""
        reduce = torch.amax if self.most else torch.mean
        return reduce(pixels, dim=(2, 3), keepdim=self.keep)


class Flat(nn.Module):
    """All numbers of a map in one row, in the order in which Keras has them: channels last."""

    def forward(self, pixels: Tensor) -> Tensor:
        """Return (B, H·W·C) of a map (B, C, H, W), or (B, D) of anything else."""
        return (pixels.permute(0, 2, 3, 1) if pixels.ndim == 4 else pixels).flatten(1)


class _Held:
    """An operation of Keras that copies of a module share."""

    def __init__(self, value: keras.Operation) -> None:
        self.value = value

    def __deepcopy__(self, memo: dict[int, object]) -> _Held:
        return self


class KerasCall(nn.Module):
    """A call of a layer of Keras, or of another operation, by Keras itself; its weights lie here."""

    def __init__(self, operation: keras.Operation, arguments: Arguments) -> None:
        super().__init__()
        self.held, self.arguments = _Held(operation), arguments
        learning, fixed = _variables(operation)
        self.weights = nn.ParameterList(nn.Parameter(_value(variable)) for variable in learning)
        for index, variable in enumerate(fixed):
            self.register_buffer(f"fixed_{index}", _value(variable))
        self.count = len(fixed)

    def forward(self, *tensors: Tensor) -> Tensor | tuple[Tensor, ...]:
        """Return what Keras gives, maps (B, C, H, W) as everywhere here, in the precision of what comes in."""
        import keras

        operation, kind = self.held.value, tensors[0].dtype
        with keras.device(_device(tensors[0])):
            # Layers compute in the precision they were made for; only whole numbers stay what they are.
            args, kwargs = self.arguments([_channels_last(t.float() if t.is_floating_point() else t) for t in tensors])
            if len(self.weights) + self.count:
                fixed = [getattr(self, f"fixed_{index}") for index in range(self.count)]
                values = [[t.float() if t.is_floating_point() else t for t in part] for part in (self.weights, fixed)]
                found, _ = operation.stateless_call(*values, *args, **kwargs)
            else:
                found = operation(*args, **kwargs)
        given = [_channels_first(t).to(kind) for t in (found if isinstance(found, tuple | list) else [found])]
        return given[0] if len(given) == 1 else tuple(given)


def _device(tensor: Tensor) -> str:
    index = "" if tensor.device.index is None else f":{tensor.device.index}"
    return f"{'gpu' if tensor.device.type == 'cuda' else tensor.device.type}{index}"


def _variables(operation: keras.Operation) -> tuple[list[keras.Variable], list[keras.Variable]]:
    return list(getattr(operation, "trainable_variables", ())), list(getattr(operation, "non_trainable_variables", ()))


def _channels_last(tensor: Tensor) -> Tensor:
    return tensor.permute(0, 2, 3, 1) if tensor.ndim == 4 else tensor


def _channels_first(tensor: Tensor) -> Tensor:
    return tensor.permute(0, 3, 1, 2) if tensor.ndim == 4 else tensor


# --- from layers to modules ------------------------------------------------------------------------------------------


def translate(operation: keras.Operation, shapes: Sequence[tuple[int | None, ...]], arguments: Arguments) -> Translated:
    """Return a layer, or another operation, as a module that is given tensors of these shapes (those in Keras).

    `arguments` puts tensors into the places that they have in the call.
    """
    made = None
    maker = _MAKERS.get(type(operation).__name__)
    # What Keras' own LoRA changed has more weights than its kind.
    if maker and type(operation).__module__.startswith("keras.") and not getattr(operation, "lora_enabled", False):
        made = maker(operation, [len(shape) for shape in shapes])
    if made is not None:
        return made
    call = KerasCall(operation, arguments)
    learning, fixed = _variables(operation)
    names = [f"weights.{i}" for i in range(len(learning))] + [f"fixed_{i}" for i in range(len(fixed))]
    return Translated(call, [Weight(v, n, _same) for v, n in zip([*learning, *fixed], names, strict=True)])


def _value(variable: keras.Variable) -> Tensor:
    value: Tensor = variable.value
    return value.detach().clone().cpu()


def _same(tensor: Tensor) -> Tensor:
    return tensor


def _as_kernel(tensor: Tensor) -> Tensor:
    return tensor.permute(3, 2, 0, 1)  # (H, W, D, C) to (C, D, H, W)


def _from_kernel(tensor: Tensor) -> Tensor:
    return tensor.permute(2, 3, 1, 0)


def _as_depthwise(tensor: Tensor) -> Tensor:
    return tensor.permute(2, 3, 0, 1).flatten(0, 1).unsqueeze(1)  # (H, W, D, M) to (D·M, 1, H, W)


def _from_depthwise(multiplier: int) -> _Way:
    return lambda tensor: tensor.reshape(-1, multiplier, *tensor.shape[2:]).permute(2, 3, 0, 1)


def _transposed(tensor: Tensor) -> Tensor:
    return tensor.T


@dataclass
class _Row:
    """Modules one behind another, and which of their tensors stands for which variable."""

    parts: list[nn.Module] = field(default_factory=list)
    weights: list[tuple[int, str, keras.Variable, _Way]] = field(default_factory=list)

    def add(self, module: nn.Module) -> None:
        self.parts.append(module)

    def hold(self, name: str, variable: keras.Variable, to: _Way = _same, back: _Way = _same) -> None:
        """Give the last module the value of a variable."""
        tensor = self.parts[-1].get_parameter(name) if name in dict(self.parts[-1].named_parameters()) else None
        target = tensor if tensor is not None else self.parts[-1].get_buffer(name)
        with torch.no_grad():
            target.copy_(to(_value(variable)))
        self.weights.append((len(self.parts) - 1, name, variable, back))

    def done(self) -> Translated:
        alone = len(self.parts) == 1
        module = self.parts[0] if alone else nn.Sequential(*self.parts)
        named = [Weight(v, name if alone else f"{at}.{name}", back) for at, name, v, back in self.weights]
        return Translated(module, named)


def _activation(function: object) -> nn.Module | None:
    """Return a function of `keras.activations` as a module; None where there is none of the kind."""
    name = getattr(function, "__name__", "")
    known = getattr(function, "__module__", "").startswith("keras.")
    return _ACTIVATIONS[name]() if known and name in _ACTIVATIONS else None


_ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "linear": nn.Identity,
    "relu": nn.ReLU,
    "relu6": nn.ReLU6,
    "silu": nn.SiLU,
    "sigmoid": nn.Sigmoid,
    "gelu": nn.GELU,
    "tanh": nn.Tanh,
    "hard_sigmoid": nn.Hardsigmoid,
    "hard_silu": nn.Hardswish,
    "softmax": lambda: nn.Softmax(dim=1),
}


def _finished(row: _Row, layer: keras.Layer) -> Translated | None:
    """Return a row with the layer's activation at its end; None where that has no module."""
    activation = _activation(layer.activation)
    if activation is None:
        return None
    if not isinstance(activation, nn.Identity):
        row.add(activation)
    return row.done()


def _convolve(
    row: _Row,
    layer: keras.layers.Conv2D | keras.layers.DepthwiseConv2D | keras.layers.SeparableConv2D,
    channels: tuple[int, int],
    groups: int,
) -> nn.Conv2d:
    """Add a convolution as a layer describes it, with its padding."""
    kernel, stride, dilation = layer.kernel_size, layer.strides, layer.dilation_rate
    around: tuple[int, int] = (0, 0)
    if layer.padding == "same":
        reach = [(size - 1) * step for size, step in zip(kernel, dilation, strict=True)]
        if set(stride) == {1} and not any(length % 2 for length in reach):
            around = reach[0] // 2, reach[1] // 2
        else:
            row.add(SamePadding(kernel, stride, dilation))
    found = nn.Conv2d(*channels, kernel, stride, around, dilation, groups, bias=layer.use_bias)
    row.add(found)
    return found


def _conv(layer: keras.layers.Conv2D, ranks: list[int]) -> Translated | None:
    if ranks != [4] or layer.data_format != "channels_last":
        return None
    row = _Row()
    *_, into, out = layer.kernel.shape
    _convolve(row, layer, (into * layer.groups, out), layer.groups)
    row.hold("weight", layer.kernel, _as_kernel, _from_kernel)
    if layer.use_bias:
        row.hold("bias", layer.bias)
    return _finished(row, layer)


def _depthwise(layer: keras.layers.DepthwiseConv2D, ranks: list[int]) -> Translated | None:
    if ranks != [4] or layer.data_format != "channels_last":
        return None
    row = _Row()
    *_, into, multiplier = layer.kernel.shape
    _convolve(row, layer, (into, into * multiplier), into)
    row.hold("weight", layer.kernel, _as_depthwise, _from_depthwise(multiplier))
    if layer.use_bias:
        row.hold("bias", layer.bias)
    return _finished(row, layer)


def _separable(layer: keras.layers.SeparableConv2D, ranks: list[int]) -> Translated | None:
    if ranks != [4] or layer.data_format != "channels_last":
        return None
    row = _Row()
    *_, into, multiplier = layer.depthwise_kernel.shape
    _convolve(row, layer, (into, into * multiplier), into).bias = None  # only what follows has one
    row.hold("weight", layer.depthwise_kernel, _as_depthwise, _from_depthwise(multiplier))
    row.add(nn.Conv2d(into * multiplier, layer.filters, 1, bias=layer.use_bias))
    row.hold("weight", layer.pointwise_kernel, _as_kernel, _from_kernel)
    if layer.use_bias:
        row.hold("bias", layer.bias)
    return _finished(row, layer)


def _dense(layer: keras.layers.Dense, ranks: list[int]) -> Translated | None:
    if layer.quantization_mode or (ranks == [4] and getattr(layer.activation, "__name__", "") == "softmax"):
        return None
    row, (into, out) = _Row(), layer.kernel.shape
    linear = nn.Linear(into, out, bias=layer.use_bias)
    row.add(OnLast(linear) if ranks == [4] else linear)
    before = "module." if ranks == [4] else ""
    row.hold(f"{before}weight", layer.kernel, _transposed, _transposed)
    if layer.use_bias:
        row.hold(f"{before}bias", layer.bias)
    return _finished(row, layer)


def _batch_norm(layer: keras.layers.BatchNormalization, ranks: list[int]) -> Translated | None:
    axes = layer.axis if isinstance(layer.axis, list | tuple) else [layer.axis]
    if ranks not in ([4], [2]) or list(axes) not in ([-1], [ranks[0] - 1]) or getattr(layer, "renorm", False):
        return None
    kind: type[nn.BatchNorm2d | nn.BatchNorm1d] = nn.BatchNorm2d if ranks == [4] else nn.BatchNorm1d
    # Keras' momentum is the share that stays, torch's the share that is new.
    norm = kind(layer.moving_mean.shape[0], eps=layer.epsilon, momentum=1 - layer.momentum)
    # A scale or shift that Keras lacks must not learn here: there would be no place to write it to.
    for name, there in (("weight", layer.scale), ("bias", layer.center)):
        if not there:
            fixed = getattr(norm, name).detach().clone()
            delattr(norm, name)
            norm.register_buffer(name, fixed, persistent=False)
    row = _Row([norm])
    for name, variable in (("weight", layer.gamma), ("bias", layer.beta)):
        if variable is not None:
            row.hold(name, variable)
    row.hold("running_mean", layer.moving_mean)
    row.hold("running_var", layer.moving_variance)
    return row.done()


def _layer_norm(layer: keras.layers.LayerNormalization, ranks: list[int]) -> Translated | None:
    axes = layer.axis if isinstance(layer.axis, list | tuple) else [layer.axis]
    if list(axes) not in ([-1], [ranks[0] - 1]) or getattr(layer, "rms_scaling", False):
        return None
    if not (layer.center and layer.scale):
        return None
    row = _Row()
    norm = nn.LayerNorm(layer.gamma.shape[0], eps=layer.epsilon)
    row.add(OnLast(norm) if ranks == [4] else norm)
    before = "module." if ranks == [4] else ""
    row.hold(f"{before}weight", layer.gamma)
    row.hold(f"{before}bias", layer.beta)
    return row.done()


def _relu(layer: keras.layers.ReLU, ranks: list[int]) -> Translated | None:
    del ranks
    if layer.threshold or layer.negative_slope or layer.max_value not in (None, 6):
        return None
    return Translated(nn.ReLU() if layer.max_value is None else nn.ReLU6())


def _activated(layer: keras.layers.Activation, ranks: list[int]) -> Translated | None:
    name = getattr(layer.activation, "__name__", "")
    found = _activation(layer.activation)
    return Translated(found) if found is not None and (name != "softmax" or ranks in ([2], [4])) else None


def _merge(operation: keras.Operation, ranks: list[int]) -> Translated | None:
    kind = type(operation).__name__
    if len(ranks) < 2 or len(set(ranks)) != 1:
        return None
    if kind == "Concatenate" and (ranks[0] not in (2, 4) or operation.axis not in (-1, ranks[0] - 1)):
        return None
    return Translated(Merge(kind))


def _zeros(layer: keras.layers.ZeroPadding2D, ranks: list[int]) -> Translated | None:
    del ranks
    (top, bottom), (left, right) = layer.padding
    return Translated(nn.ZeroPad2d((left, right, top, bottom))) if layer.data_format == "channels_last" else None


def _pool(layer: keras.layers.MaxPooling2D | keras.layers.AveragePooling2D, ranks: list[int]) -> Translated | None:
    del ranks
    most = type(layer).__name__ == "MaxPooling2D"
    kernel, stride = layer.pool_size, layer.strides
    if layer.data_format != "channels_last" or (layer.padding == "same" and not most):
        return None  # torch counts the padding's places in a mean, or counts them otherwise
    row = _Row([SamePadding(kernel, stride, value=-torch.inf)] if layer.padding == "same" else [])
    row.add(nn.MaxPool2d(kernel, stride) if most else nn.AvgPool2d(kernel, stride))
    return row.done()


def _pool_all(
    layer: keras.layers.GlobalAveragePooling2D | keras.layers.GlobalMaxPooling2D, ranks: list[int]
) -> Translated | None:
    del ranks
    if layer.data_format != "channels_last":
        return None
    return Translated(GlobalPool(most="Max" in type(layer).__name__, keep=layer.keepdims))


def _drop(layer: keras.layers.Dropout, ranks: list[int]) -> Translated | None:
    del ranks
    return Translated(nn.Dropout(layer.rate)) if layer.noise_shape is None else None


def _flatten(layer: keras.layers.Flatten, ranks: list[int]) -> Translated | None:
    del ranks
    return Translated(Flat()) if layer.data_format == "channels_last" else None


_MAKERS: dict[str, Callable[[keras.Operation, list[int]], Translated | None]] = {
    "Conv2D": _conv,
    "DepthwiseConv2D": _depthwise,
    "SeparableConv2D": _separable,
    "Dense": _dense,
    "BatchNormalization": _batch_norm,
    "LayerNormalization": _layer_norm,
    "ReLU": _relu,
    "Activation": _activated,
    "Add": _merge,
    "Multiply": _merge,
    "Concatenate": _merge,
    "ZeroPadding2D": _zeros,
    "MaxPooling2D": _pool,
    "AveragePooling2D": _pool,
    "GlobalAveragePooling2D": _pool_all,
    "GlobalMaxPooling2D": _pool_all,
    "Dropout": _drop,
    "Flatten": _flatten,
}
