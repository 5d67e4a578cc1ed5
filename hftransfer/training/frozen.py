"""Copies of what stays as it is, made for quick passes: on the device, in its precision, BatchNorm a part of the
convolutions before it, weights packed as the processor multiplies them.

In eval mode BatchNorm scales and shifts each channel, which a convolution's own weights and bias can do as well
(Jacob et al., arXiv 1712.05877, section 3.2).
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol, Self, TypeVar

import numpy as np
import torch
from PIL import Image
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

from hftransfer.adapters.anatomy import Inputs, alike, followed
from hftransfer.adapters.base import Activations
from hftransfer.adapters.images import conv_network, takes_channels_last
from hftransfer.base.errors import ModelError
from hftransfer.training.devices import Compute
from hftransfer.training.packed import pack_convolutions, pack_linear

if TYPE_CHECKING:
    from transformers import PreTrainedModel


class Frozen(Protocol):
    """A network below a boundary: that of an adapter, or a tower of a dual encoder."""

    model: PreTrainedModel

    @property
    def stages(self) -> list[nn.Module]:
        """The stages from input to output."""

    @property
    def modality(self) -> str:
        """Return what goes in: image or text."""

    def encode(self, examples: Sequence[Any]) -> Inputs:
        """Return what the model takes, from raw examples."""

    def with_model(self, model: nn.Module) -> Self:
        """Return the same around another copy of the model."""

    def below(self, inputs: Inputs, boundary: int) -> Activations:
        """Return the activations at the boundary."""

    def processor_settings(self) -> dict[str, object]:
        """Return everything that shapes the inputs, as plain values."""


F = TypeVar("F", bound=Frozen)
_MOST_OUTPUTS = 4096
"""Of a last layer that is computed in float32."""


def frozen_twin(frozen: F, compute: Compute) -> F:
    """Return the same around a copy of its model for passes without learning: on the device, in its precision; of
    networks of convolutions channels-last, BatchNorm a part of them; on CPU with packed convolutions, in bfloat16 also
    linear layers.

    The model itself is not touched; in float32 on its own device with nothing to rearrange it is the model of the twin.

    Raises:
        ModelError: the network can't compute in this precision.
    """
    convolves = conv_network(frozen.model)
    model = _folded(frozen) if convolves and frozen.modality == "image" else frozen.model
    converted = _converted(model, compute, channels_last=convolves and takes_channels_last(model))
    try:
        twin = frozen.with_model(converted)
    except ModelError as error:
        if compute.precision == "fp32":
            raise
        raise ModelError(*error.faults, f"That was in {compute.precision}: try precision fp32.") from error
    if compute.precision != "fp32":
        _keep_head(twin, frozen)
    if compute.device.type == "cpu":
        if compute.precision == "bf16":
            pack_linear(twin.model)
        if convolves and frozen.modality == "image" and twin.model is not frozen.model:
            inputs = _examples(twin)
            pack_convolutions(twin.model, lambda: twin.below(inputs, len(twin.stages))["hidden"])
    return twin


@contextmanager
def head_in_float32(head: nn.Module | None) -> Iterator[None]:
    """Meanwhile a last layer is computed in float32, whatever the network below it is: numbers such as years lie closer
    to each other than bfloat16 resolves (8 near 2000)."""
    if head is None or not _is_exact(head) or "forward" in vars(head):
        yield
        return
    head.forward = _exact_forward(head)
    try:
        yield
    finally:
        del head.forward


def _keep_head(twin: Frozen, original: Frozen) -> None:
    """Let the last layer of a copy be what it was, and compute in float32."""
    own, before = getattr(twin, "head", None), getattr(original, "head", None)
    if isinstance(own, nn.Module) and isinstance(before, nn.Module) and own is not before and _is_exact(before):
        device = next(own.parameters()).device
        for name, parameter in before.named_parameters(recurse=False):
            # A parameter of its own: it may be shared with an embedding, which stays in the other precision.
            setattr(own, name, nn.Parameter(parameter.detach().to(device), requires_grad=False))
        own.forward = _exact_forward(own)


def _is_exact(head: nn.Module) -> bool:
    """Return whether a last layer is one in float32; one of a whole vocabulary would take long so."""
    weight = getattr(head, "weight", None)
    if not isinstance(weight, nn.Parameter) or any(head.children()):
        return False
    return weight.dtype is torch.float32 and len(weight) <= _MOST_OUTPUTS


def _exact_forward(head: nn.Module) -> Callable[..., torch.Tensor]:
    own, device = head.forward, next(head.parameters()).device.type

    def forward(features: torch.Tensor, *more: Any) -> torch.Tensor:
        with torch.autocast(device, enabled=False):
            found: torch.Tensor = own(features.float(), *more)
        return found

    return forward


def _examples(frozen: Frozen) -> Inputs:
    """Return the inputs of two small examples, flat colour and noise, on the model's device and in its precision."""
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    weight = next(frozen.model.parameters())
    inputs = frozen.encode([Image.new("RGB", (64, 64)), Image.fromarray(noise)])
    return {
        name: tensor.to(weight.device, weight.dtype if tensor.is_floating_point() else tensor.dtype)
        for name, tensor in inputs.items()
    }


def _converted(model: nn.Module, compute: Compute, *, channels_last: bool) -> nn.Module:
    """Return a copy in the precision; BatchNorm stays in float32: its statistics span more than 16 bits resolve; so do
    parts that a model names (`in_float32`)."""
    if compute.precision == "fp32" and compute.device.type == "cpu" and not channels_last:
        return model
    twin = copy.deepcopy(model).eval()
    twin.to(compute.device)
    if compute.precision != "fp32":
        twin.to(compute.dtype)
        for module in twin.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.float()
        for name in getattr(twin, "in_float32", ()):
            getattr(twin, name).float()
    if channels_last:
        twin.to(memory_format=torch.channels_last)
    return twin


def _folded(frozen: Frozen) -> nn.Module:
    """Return a copy of the model whose convolutions do what the BatchNorm layers right behind them did; the model
    itself where there are none, or where two small examples would not come out the same."""
    top, inputs = len(frozen.stages), _examples(frozen)
    original: nn.Module = frozen.model
    with torch.no_grad():
        _, pairs, wanted = followed(
            original, lambda: frozen.below(inputs, top)["hidden"], _is_convolution, _has_statistics
        )
        if not pairs:
            return original
        model = copy.deepcopy(original)
        names = {module: name for name, module in original.named_modules()}
        for convolution, norm in pairs.items():
            _fold(model, names[convolution], names[norm])
        return model if alike(frozen.with_model(model).below(inputs, top)["hidden"], wanted) else original


def _is_convolution(module: nn.Module) -> bool:
    return isinstance(module, nn.Conv2d)


def _has_statistics(module: nn.Module) -> bool:
    return isinstance(module, nn.BatchNorm2d) and module.running_mean is not None


def _fold(model: nn.Module, convolution: str, norm: str) -> None:
    """Let a convolution do what a BatchNorm did, of which an activation may be left (timm's BatchNormAct2d)."""
    conv: Any = model.get_submodule(convolution)
    bn: Any = model.get_submodule(norm)
    conv.weight, conv.bias = fuse_conv_bn_weights(
        conv.weight, conv.bias, bn.running_mean, bn.running_var, bn.eps, bn.weight, bn.bias
    )
    model.set_submodule(norm, getattr(bn, "act", nn.Identity()))
