"""Attention in bfloat16 for processors, where torch's own is slow.

Without AMX torch's kernel reckons in float32. Plain matrix products and a softmax took 0.65 of its time forward
(ViT-Tiny, 32 images of 197 tokens), backward a third of it, of short texts a sixteenth. With AMX it is quick forward
(half the time of the products for ViT-Tiny, 0.3 to 0.9 of it for texts; torch 2.14) and slow backward: of both together
the products take 0.2 to 0.65 of its time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from hftransfer.training.devices import has_amx

# Of more the scores of all pairs would take much memory, and less would be gained.
_MOST_TOKENS = 256


@dataclass(frozen=True)
class AttentionCall:
    """A call of torch's scaled_dot_product_attention, its arguments by torch's own names and in its order (2.10)."""

    query: Tensor
    key: Tensor
    value: Tensor
    attn_mask: Tensor | None = None
    dropout_p: float = 0.0
    is_causal: bool = False
    scale: float | None = None
    enable_gqa: bool = False

    @property
    def is_quick(self) -> bool:
        """Return whether `attend`, with nothing to drop, is quicker than torch's own."""
        if self.dropout_p or self.query.device.type != "cpu" or self.key.shape[-2] > _MOST_TOKENS:
            return False
        autocasts = torch.is_autocast_enabled("cpu")
        return (torch.get_autocast_dtype("cpu") if autocasts else self.query.dtype) is torch.bfloat16

    def attend(self, drop: Callable[[Tensor, float], Tensor] | None = None) -> Tensor:
        """Return scaled dot-product attention (B, heads, T, D); `drop` drops weights, with the call's probability.

        Source: Vaswani et al., arXiv 1706.03762, section 3.2.1.
        """
        query, key, value = self.query, self.key, self.value  # (B, heads, T, D)
        device = query.device.type
        if torch.is_autocast_enabled(device):
            query, key, value = (given.to(torch.get_autocast_dtype(device)) for given in (query, key, value))
        if self.enable_gqa:
            # Several heads of queries share one of keys and values (grouped-query attention).
            repeats = query.shape[-3] // key.shape[-3]
            key, value = key.repeat_interleave(repeats, -3), value.repeat_interleave(repeats, -3)
        with torch.autocast(device, enabled=False):  # the softmax, too, in the precision of what it is given
            scores = query @ (key * (self.scale or query.shape[-1] ** -0.5)).transpose(-2, -1)  # (B, heads, T, T)
            # The least number, not -inf: a row that is masked throughout would be NaN.
            least = torch.finfo(scores.dtype).min
            mask = self.attn_mask  # (…, T, T)
            if self.is_causal:
                mask = torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device).tril()  # (T, T)
            if mask is not None and mask.dtype == torch.bool:
                scores = scores.masked_fill(~mask, least)
            elif mask is not None:
                scores = scores + mask.clamp(min=least).to(scores.dtype)
            weights = scores.softmax(dim=-1)  # (B, heads, T, T)
            return (weights if drop is None else drop(weights, self.dropout_p)) @ value  # (B, heads, T, D)


def attention_call(function: object, args: Sequence[Any], named: Mapping[str, Any]) -> AttentionCall | None:
    """Return the call, if it is one of torch's attention, whichever arguments it has by place or by name."""
    if function is not functional.scaled_dot_product_attention:
        return None
    return AttentionCall(*args, **named)


def quick_attention(model: nn.Module, device: torch.device, dtype: torch.dtype) -> AbstractContextManager[object]:
    """Return a context in which a network that does not learn attends as quickly as it can.

    Not one of torch's own attention modules: they have a quick way that no function may be put in place of. With AMX
    torch's kernel is the quickest forward: the passes of ViT-Tiny and MiniLM take 0.9 of the time.
    """
    if device.type != "cpu" or dtype is not torch.bfloat16 or has_amx():
        return nullcontext()
    own = any(isinstance(module, nn.MultiheadAttention) for module in model.modules())
    return nullcontext() if own else _QuickAttention()


class _QuickAttention(TorchFunctionMode):
    def __torch_function__(
        self,
        function: Callable[..., object],
        types: object,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> object:
        del types
        named = kwargs or {}
        call = attention_call(function, args, named)
        return call.attend() if call is not None and call.is_quick else function(*args, **named)
