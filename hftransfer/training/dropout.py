"""Dropout with cheap random numbers, for processors.

torch draws a 53-bit number from a serial Mersenne twister for every element it may drop: on a CPU that took a sixth of
a step of MiniLM on long texts and a quarter of one with LoRA. Here four elements share one 64-bit number of SFC64, a
generator seeded from torch's own at each call, so that `torch.manual_seed` still decides everything.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode

_LEVELS = 1 << 16


def cheap_dropout(device: torch.device) -> Any:
    """A context in which dropout, attention's too, is cheap; on other devices than CPUs it is so already."""
    return _CheapDropout() if device.type == "cpu" else nullcontext()


def dropout(values: Tensor, p: float) -> Tensor:
    """The values, each dropped with probability p (in steps of 1/65536), the others scaled by 1 / (1 - p).

    Source: Srivastava et al., Journal of Machine Learning Research 15 (2014).
    """
    dropped = round(p * _LEVELS)
    bits = _random_bits(values.numel()).view(values.shape)
    kept = torch.empty_like(values, memory_format=torch.contiguous_format, requires_grad=False)
    torch.ge(bits, dropped - _LEVELS // 2, out=kept)
    return values * kept.mul_(_LEVELS / (_LEVELS - dropped))


def attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    """Scaled dot-product attention (B, heads, T, D) with dropout of its weights, as torch documents its own.

    Source: Vaswani et al., arXiv 1706.03762, section 3.2.1.
    """
    if enable_gqa:
        repeats = query.shape[-3] // key.shape[-3]
        key, value = key.repeat_interleave(repeats, -3), value.repeat_interleave(repeats, -3)
    scores = query @ (key * (scale or query.shape[-1] ** -0.5)).transpose(-2, -1)
    if is_causal:
        attn_mask = torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device).tril()
    if attn_mask is not None and attn_mask.dtype == torch.bool:
        scores = scores.masked_fill(~attn_mask, torch.finfo(scores.dtype).min)
    elif attn_mask is not None:
        scores = scores + attn_mask
    return dropout(scores.softmax(dim=-1), dropout_p) @ value


def _random_bits(count: int) -> Tensor:
    """Evenly distributed int16 numbers (count,)."""
    seed = int(torch.randint(1 << 62, (1,)))
    return torch.from_numpy(np.random.SFC64(seed).random_raw(-(-count // 4)).view(np.int16)[:count])


class _CheapDropout(TorchFunctionMode):
    def __torch_function__(
        self, function: Callable[..., Any], types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        del types
        named = kwargs or {}
        if function is functional.dropout:
            return _dropout_or_torchs(function, *args, **named)
        if function is functional.scaled_dot_product_attention and 0 < named.get("dropout_p", 0.0) < 1:
            return attention(*args, **named)
        return function(*args, **named)


def _dropout_or_torchs(
    torchs: Callable[..., Any], input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False
) -> Any:
    if training and not inplace and 0 < p < 1 and input.is_floating_point():
        return dropout(input, p)
    return torchs(input, p, training, inplace)
