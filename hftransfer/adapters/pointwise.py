"""timm's networks whose head is a convolution of 1 × 1 on pooled features (BiT's ResNetV2, DPN, DLA): given the linear
layer that it is."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn


class PointwiseHead(nn.Linear):
    """A linear layer whose weight (C, D) is written as that of a convolution, (C, D, 1, 1), and read as either."""

    def _save_to_state_dict(self, destination: dict[str, Any], prefix: str, keep_vars: bool) -> None:
        super()._save_to_state_dict(destination, prefix, keep_vars)
        destination[f"{prefix}weight"] = destination[f"{prefix}weight"][..., None, None]

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *given: Any) -> None:
        weight = state_dict.get(f"{prefix}weight")
        if weight is not None and weight.ndim == 4:
            state_dict = {**state_dict, f"{prefix}weight": weight.flatten(1)}
        super()._load_from_state_dict(state_dict, prefix, *given)


def with_linear_head(network: Any) -> None:
    """Put a linear layer in the place of a timm network's head, where that is a convolution of 1 × 1 on pooled
    features."""
    head = network.get_classifier() if hasattr(network, "get_classifier") else None
    if not isinstance(head, nn.Conv2d) or head.kernel_size != (1, 1) or head.groups != 1:
        return
    owners = [(module, name) for module in network.modules() for name, own in module.named_children() if own is head]
    owner, name = owners[0]
    pool: Any = getattr(owner, "global_pool", None)
    if len(owners) > 1 or not isinstance(getattr(pool, "flatten", None), nn.Module):
        return
    linear = PointwiseHead(head.in_channels, head.out_channels, bias=head.bias is not None)
    linear.to(head.weight)
    with torch.no_grad():
        linear.weight.copy_(head.weight.flatten(1))
        if head.bias is not None:
            linear.bias.copy_(head.bias)
    setattr(owner, name, linear)
    pool.flatten = nn.Flatten(1)
