"""Dropout with cheap random numbers that belong to examples, for processors.

torch draws a 53-bit number from a serial Mersenne twister for every element it may drop: on a CPU that took a sixth of
a step of MiniLM on long texts and a quarter of one with LoRA. Here four elements share one 64-bit number of SFC64.
Each example of a batch has a generator of its own, seeded by seed, step and the example's place in the batch: so the
same elements are dropped however a batch is divided into parts or over processes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from hftransfer.training.attention import attention_call

_LEVELS = 1 << 16


class Streams:
    """Random numbers for one part of a batch: a generator for each example, and one for what belongs to none."""

    def __init__(self, seed: int, step: int, places: Sequence[int]) -> None:
        self._own = [np.random.SFC64([seed, step, 1 + place]) for place in places]
        self._shared = np.random.SFC64([seed, step])

    def bits(self, shape: Sequence[int]) -> np.ndarray:
        """Return evenly distributed int16 numbers; along the first dimension, if examples lie there, each from its
        own."""
        count = math.prod(shape)
        examples = len(self._own)
        # A shape that no example's rows divide belongs to none: a number for each layer, say.
        if not shape or not examples or shape[0] % examples:
            return _draw(self._shared, count).reshape(shape)
        each = [_draw(own, count // examples) for own in self._own]
        return np.stack(each).reshape(shape)


def _draw(generator: np.random.SFC64, count: int) -> np.ndarray:
    # Each raw number has 64 bits, enough for four.
    return generator.random_raw(-(-count // 4)).view(np.int16)[:count]


def cheap_dropout(device: torch.device, streams: Streams) -> AbstractContextManager[object]:
    """Return a context in which dropout, attention's and that of whole layers too, draws from these streams; on other
    devices than CPUs it is cheap already."""
    return _CheapDropout(streams) if device.type == "cpu" else nullcontext()


def dropout(values: Tensor, p: float, streams: Streams) -> Tensor:
    """Return the values, each dropped with probability p (in steps of 1/65536), the others scaled by 1 / (1 - p).

    Source: Srivastava et al., Journal of Machine Learning Research 15 (2014).
    """
    dropping: Callable[[Tensor, Tensor, float], Tensor] = _Dropping.apply
    return dropping(values, *dropping_of(values.shape, p, streams))


def dropping_of(shape: Sequence[int], p: float, streams: Streams) -> tuple[Tensor, float]:
    """Return which elements are kept (1; others 0), each dropped with probability p (in steps of 1/65536), and what
    those that are kept are multiplied with."""
    dropped = round(p * _LEVELS)
    # Bits are evenly distributed from -32768 on: below the threshold lie p of all.
    # NumPy compares int16 ten times as fast as torch 2.14 on a CPU; and whole numbers become others three times as fast
    # as truth values do.
    kept = np.asarray(streams.bits(shape) >= dropped - _LEVELS // 2)
    return torch.from_numpy(kept).view(torch.uint8), _LEVELS / (_LEVELS - dropped)


class _Dropping(torch.autograd.Function):
    """The product of values with what is kept of them, of which the gradient needs a byte each and not a number."""

    @staticmethod
    def forward(context: Any, values: Tensor, kept: Tensor, scale: float) -> Tensor:
        """Return the values that are kept, scaled; zeros for the others."""
        context.save_for_backward(kept)
        context.scale = scale
        return values * _factors(values, kept, scale)

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        """Return the gradient of the values."""
        (kept,) = context.saved_tensors
        return gradients[0] * _factors(gradients[0], kept, context.scale), None, None


def _factors(like: Tensor, kept: Tensor, scale: float) -> Tensor:
    return kept.to(like.dtype).mul_(scale)


class _CheapDropout(TorchFunctionMode):
    def __init__(self, streams: Streams) -> None:
        super().__init__()
        self._streams = streams

    def __torch_function__(
        self,
        function: Callable[..., object],
        types: object,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> object:
        del types
        named = kwargs or {}
        if function is functional.dropout:
            return self._dropout(*args, **named)
        call = attention_call(function, args, named)
        if call is not None and 0 < call.dropout_p < 1:
            return call.attend(drop=partial(dropout, streams=self._streams))
        if call is not None and call.is_quick:
            return call.attend()
        if function is torch.rand and isinstance(args[0], Sequence):  # transformers' stochastic depth
            return self._shares(args[0]).to(named.get("dtype") or torch.get_default_dtype())
        if function is Tensor.bernoulli_ and len(args) == 2:  # timm's
            values, p = args
            return values.copy_(self._shares(values.shape) < p)
        return function(*args, **named)

    def _dropout(self, input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
        # What is left, with nothing to draw or in place, is torch's own.
        if training and not inplace and 0 < p < 1 and input.is_floating_point():
            return dropout(input, p, self._streams)
        return functional.dropout(input, p, training, inplace)

    def _shares(self, shape: Sequence[int]) -> Tensor:
        """Return evenly distributed numbers in [0, 1), in steps of 1/65536."""
        return (torch.from_numpy(self._streams.bits(shape)).float() + _LEVELS // 2) / _LEVELS
