"""What LoRA's matrices and frozen layers cost in training, made cheaper while the numbers stay.

peft writes a layer as `layer(x) + up(down(dropout(x))) * scaling`. Three of its results are as large as the layer's
own, and each layer keeps its dropped input for the gradient. Here the product is added to what the layer gave at once,
and what is kept is the input itself, which several layers share, and a byte for each element.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from hftransfer.training.devices import Compute
from hftransfer.training.dropout import Streams, dropping_of

_CAST = (nn.Linear, nn.Conv1d, nn.Conv2d)


@contextmanager
def frozen_cast(model: nn.Module, compute: Compute) -> Iterator[None]:
    """Hold the weights of frozen linear layers and convolutions in the computation's precision within the block.

    Autocast casts those that learn once, but frozen ones anew at each call (torch 2.14). A word embedding that shares
    its weight with an output layer keeps it as it is.
    """
    if compute.precision == "fp32":
        yield
        return
    before = [
        (module, name, own)
        for module in model.modules()
        if type(module) in _CAST
        for name, own in module._parameters.items()
        if own is not None and own.dtype == torch.float32 and not own.requires_grad
    ]
    cast: dict[nn.Parameter, nn.Parameter] = {}
    try:
        for module, name, own in before:
            if own not in cast:
                cast[own] = nn.Parameter(own.detach().to(compute.dtype), requires_grad=False)
            module._parameters[name] = cast[own]
        yield
    finally:
        for module, name, own in before:
            module._parameters[name] = own


@contextmanager
def quick_lora(layers: Sequence[Any], streams: Streams) -> Iterator[None]:
    """Have peft's linear layers computed in one step within the block, with dropout from these streams."""
    cast = _Cast()
    try:
        for layer in layers:
            layer.forward = partial(_forward, layer, streams, cast)
        yield
    finally:
        for layer in layers:
            del layer.forward


def lora_layers(model: nn.Module) -> list[Any]:
    """Return peft's linear layers that have one pair of matrices, neither merged nor of another kind than LoRA."""
    found: list[Any] = [layer for layer in model.modules() if hasattr(layer, "lora_A")]
    if not found:
        return []
    from peft.tuners.lora import Linear

    return [
        layer
        for layer in found
        if type(layer) is Linear
        and not (layer.disable_adapters or layer.merged or layer.lora_variant)
        and len(layer.active_adapters) == 1
        and layer.lora_B[layer.active_adapters[0]].bias is None
    ]


class _Cast:
    """The casts of what layers are given to the precision they compute in; one where several are given the same."""

    def __init__(self) -> None:
        self._given: Tensor | None = None
        self._cast: Tensor | None = None

    def __call__(self, values: Tensor) -> Tensor:
        device = values.device.type
        if not torch.is_autocast_enabled(device):
            return values
        if self._given is not values or self._cast is None:
            self._given, self._cast = values, values.to(torch.get_autocast_dtype(device))
        return self._cast


def _forward(layer: Any, streams: Streams, cast: _Cast, values: Tensor) -> Tensor:
    """Return what peft's layer does of values (..., D): (..., N)."""
    values = cast(values)
    (name,) = layer.active_adapters
    drop = layer.lora_dropout[name]
    share = drop.p if isinstance(drop, nn.Dropout) and drop.training else 0.0
    result = layer.base_layer(values)
    down, up = layer.lora_A[name].weight.to(result.dtype), layer.lora_B[name].weight.to(result.dtype)
    kept, scale = dropping_of(values.shape, share, streams) if share else (None, 1.0)
    added: Callable[..., Tensor] = _Added.apply
    return added(result, values, down, up, kept, scale, layer.scaling[name])


class _Added(torch.autograd.Function):
    """result + scaling · dropped(values) · downᵀ · upᵀ."""

    @staticmethod
    def forward(
        context: Any,
        result: Tensor,
        values: Tensor,
        down: Tensor,
        up: Tensor,
        kept: Tensor | None,
        scale: float,
        scaling: float,
    ) -> Tensor:
        """Return the sum (..., N) of result (..., N) and the product for values (..., D), with down (R, D) and up
        (N, R)."""
        dropped = _dropped(values, kept, scale)  # (M, D)
        low = (dropped @ down.T).mul_(scaling)  # (M, R)
        context.save_for_backward(values, down, up, kept, low)
        context.scale, context.scaling = scale, scaling
        found = torch.addmm(result.reshape(-1, up.shape[0]), low, up.T)
        # No view to autograd: some networks change what a layer gives in place (Longformer its queries).
        return torch.ops.aten._unsafe_view(found, result.shape)  # type: ignore[no-any-return]

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients of result, values, down and up."""
        values, down, up, kept, low = context.saved_tensors
        gradient = gradients[0].reshape(-1, up.shape[0])  # (M, N)
        of_low = (gradient @ up).mul_(context.scaling)  # (M, R)
        of_down = of_low.T @ _dropped(values, kept, context.scale)  # (R, D)
        of_values = None
        if context.needs_input_grad[1]:
            of_values = (of_low @ down).view(values.shape)
            if kept is not None:
                of_values.mul_(kept).mul_(context.scale)
        return gradients[0], of_values, of_down, gradient.T @ low, None, None, None


def _dropped(values: Tensor, kept: Tensor | None, scale: float) -> Tensor:
    """Return values (..., D) as (M, D), dropped and scaled."""
    flat = values.reshape(-1, values.shape[-1])
    return flat if kept is None else (flat * kept.view(flat.shape)).mul_(scale)
