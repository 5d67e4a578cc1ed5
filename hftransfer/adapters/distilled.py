"""timm's distilled networks (DeiT, LeViT, EfficientFormer, RepViT, …), whose logits are the mean of two heads: given
one head, which both are when they are written."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

_SECOND = "head_dist"


class OneHead:
    """What takes the place of a network's own mean over two heads: the mean of what enters them, through one. Both are
    equal if the heads are."""

    def forward_head(self, x: Tensor, pre_logits: bool = False) -> Tensor:
        """Return the logits (B, C) of what the last block gives, or with `pre_logits` what enters the head (B, D)."""
        features: Tensor = super().forward_head(x, pre_logits=True)  # type: ignore[misc]
        return features if pre_logits else self.head(features)  # type: ignore[attr-defined]


def with_one_head(model: nn.Module, *, is_new: bool) -> set[str]:
    """Give a network with two heads one, where both are equal or it `is_new`; return the names of the tensors of the
    second."""
    names = set()
    for name, owner in list(_owners(model)):
        first, second = owner.head, getattr(owner, _SECOND)
        if not is_new and not _are_equal(first, second):
            continue
        names |= {f"{name}.{_SECOND}.{own}" for own in second.state_dict()}
        owner.head_dist = first
        if hasattr(owner, "distillation"):
            owner.distillation = False
        else:
            kind = type(owner)
            owner.__class__ = type(kind.__name__, (OneHead, kind), {})
    return names


def state_of(model: nn.Module) -> dict[str, Tensor]:
    """Return the tensors of a network by name, the second of two heads as the first, and none in memory that another
    has: transformers writes no such ones."""
    state, seen = model.state_dict(), set[int]()
    for name, owner in _owners(model):
        if isinstance(owner, OneHead) or not getattr(owner, "distillation", True):
            state |= {f"{name}.{_SECOND}.{own}": tensor for own, tensor in owner.head.state_dict().items()}
    for name, tensor in state.items():
        if tensor.data_ptr() in seen:
            state[name] = tensor.clone()
        seen.add(tensor.data_ptr())
    return state


def _owners(model: nn.Module) -> Iterator[tuple[str, Any]]:
    for name, module in model.named_modules():
        heads = [getattr(module, own, None) for own in ("head", _SECOND)]
        if all(isinstance(head, nn.Module) and any(True for _ in head.parameters()) for head in heads):
            yield name, module


def _are_equal(first: nn.Module, second: nn.Module) -> bool:
    one, other = first.state_dict(), second.state_dict()
    return one.keys() == other.keys() and all(torch.equal(tensor, other[name]) for name, tensor in one.items())
